"""Encoders: what stands before the perceptrons where an observation is an image, or a Dict of images and vectors.

An encoder is an `nn.Module`, made as `encoder(observation_space, **encoder_kwargs)`, with

- `n_features`: the size of what it gives;
- `forward(observation)` -> [B, n_features]: of a tensor [B, *shape], for Dict observations a dict of these, float32 in
  the environment's own layout. Images come scaled to [0, 1], all else normalised where the policy normalises.

`Encoded` puts one in front of an actor or a critic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slc_agents.learner.images import NATURE_CNN, NATURE_FEATURES, Channels, CnnPlan, image_module, is_image
from slc_agents.pytorch.networks import Dense
from slc_agents.spaces import observation_boxes

__all__ = [
    "CnnEncoder",
    "DetachedEncoder",
    "Encoded",
    "EncodedActor",
    "MultiInputEncoder",
    "TensorObservation",
    "Unflatten",
]

TensorObservation: TypeAlias = "Tensor | dict[str, Tensor]"


class CnnEncoder(nn.Module):
    """Convolutions without padding, each with a ReLU, and a dense layer with a ReLU: those of Mnih et al. 2015.

    Stacked frames become channels.

    Args:
        observation_space: A uint8 Box; see `is_image`.
        cnn_layers: Channels, kernel and stride of each convolution.
        cnn_features: Size of what it gives.
        channels: Where the image has its channels; see `channel_axis`.

    Raises:
        UnsupportedSpaceError: If the space is no image.
        ValueError: If a value is out of range, or the image is too small for the convolutions.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        *,
        cnn_layers: Sequence[Sequence[int]] = NATURE_CNN,
        cnn_features: int = NATURE_FEATURES,
        channels: Channels | None = None,
    ) -> None:
        super().__init__()
        plan = CnnPlan.of(observation_space, cnn_layers, cnn_features, channels)
        self.shape, self.channels, self.n_features = plan.shape, plan.channels, plan.n_features
        self.convolutions = nn.ModuleList(
            nn.Conv2d(n_inputs, *layer, dtype=torch.float32) for n_inputs, layer in plan.convolutions
        )
        self.output = Dense(plan.n_flat, self.n_features, nn.ReLU)

    def forward(self, observation: Tensor) -> Tensor:
        """Maps images [B, *shape] to features [B, n_features]."""
        x = observation.reshape(observation.shape[0], *self.shape)
        if self.channels == "last":
            x = x.permute(0, 1, 4, 2, 3)
        x = x.flatten(1, 2)  # [B, stack * C, H, W]
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        features: Tensor = self.output(x.flatten(1))
        return features


class MultiInputEncoder(nn.Module):
    """A `CnnEncoder` for each image of a Dict, whose features are joined with all its other values, flattened.

    First come the images, then the rest, each in the order of their keys.

    Args:
        observation_space: A Dict of boxes.
        cnn_layers: Channels, kernel and stride of each convolution, for all images.
        cnn_features: Features of each image.
        channels: Where images have their channels; see `channel_axis`.

    Raises:
        ValueError: If a value is out of range, or an image is too small for the convolutions; it names the key.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        *,
        cnn_layers: Sequence[Sequence[int]] = NATURE_CNN,
        cnn_features: int = NATURE_FEATURES,
        channels: Channels | None = None,
    ) -> None:
        super().__init__()
        boxes = observation_boxes(observation_space)
        images = [key for key, box in boxes.items() if is_image(box)]
        self.vectors = {key: math.prod(box.shape) for key, box in boxes.items() if key not in images}  # and sizes
        self.images: dict[str, str] = {}  # an image's key: its encoder's name
        n_features = sum(self.vectors.values())
        for i, key in enumerate(images):
            try:
                encoder = CnnEncoder(boxes[key], cnn_layers=cnn_layers, cnn_features=cnn_features, channels=channels)
            except ValueError as error:
                raise type(error)(f"observation space, key {key!r}: {error}") from error
            self.images[key] = image_module(key, i)
            self.add_module(self.images[key], encoder)
            n_features += encoder.n_features
        self.n_features = n_features

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """Maps images and vectors [B, *shape] to features [B, n_features]."""
        parts = [getattr(self, name)(observation[key]) for key, name in self.images.items()]
        parts += [observation[key].reshape(-1, size) for key, size in self.vectors.items()]
        return torch.cat(parts, dim=1)


class Unflatten(nn.Module):
    """Gives a flat observation [B, n], joined in some order of its keys, its shapes and keys back.

    Args:
        observation_space: A Box or a Dict of boxes.
        keys: The order.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], keys: Sequence[str]) -> None:
        super().__init__()
        boxes = observation_boxes(observation_space)
        self.shapes = {key: tuple(boxes[key].shape) for key in keys}
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.is_dict = isinstance(observation_space, spaces.Dict)

    def forward(self, flat: Tensor) -> TensorObservation:
        """Maps [B, n] to [B, *shape], or a dict of these."""
        parts = torch.split(flat, self.sizes, dim=1)
        shaped = {
            key: part.reshape(part.shape[0], *shape)
            for (key, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        return shaped if self.is_dict else shaped[""]


class Encoded(nn.Module):
    """A net that sees observations through an encoder: `head(encoder(observation), ...)`.

    Args:
        unflatten: Gives flat observations their shapes back.
        encoder: From observations to features.
        head: The net on the features: an actor or a critic.
    """

    def __init__(self, unflatten: Unflatten, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.unflatten, self.encoder, self.head = unflatten, encoder, head

    def forward(self, observation: Tensor, *inputs: Tensor) -> Any:
        """Returns what the head does of the features of a flat observation [B, n], and of its other inputs."""
        return self.head(self.encoder(self.unflatten(observation)), *inputs)


class EncodedActor(Encoded):
    """An actor that sees observations through an encoder."""

    def mean_action(self, observation: Tensor) -> Tensor:
        """Returns the deterministic action [B, n_actions] for a flat observation [B, n]."""
        action: Tensor = self.head.mean_action(self.encoder(self.unflatten(observation)))  # type: ignore[operator]
        return action


class DetachedEncoder(nn.Module):
    """Uses another net's encoder, but never trains it: no gradient passes, and its parameters aren't this module's.

    Args:
        encoder: The other net's.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._encoder = (encoder,)  # inside a tuple it doesn't become a part of this module

    @property
    def encoder(self) -> nn.Module:
        """The other net's."""
        return self._encoder[0]

    def forward(self, observation: TensorObservation) -> Tensor:
        """Maps observations to features, as the other net's encoder does."""
        features: Tensor = self.encoder(observation)
        return features.detach()
