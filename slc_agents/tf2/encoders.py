"""Encoders: what stands before the perceptrons where an observation is an image, or a Dict of images and vectors.

An encoder is a `tf.Module`, made as `encoder(observation_space, **encoder_kwargs)`, with

- `n_features`: the size of what it gives;
- a call of an observation -> [B, n_features]: of a tensor [B, *shape], for Dict observations a dict of these, float32
  in the environment's own layout. Images come scaled to [0, 1], all else normalised where the policy normalises.

`Encoded` puts one in front of an actor or a critic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import tensorflow as tf
from gymnasium import spaces

from slc_agents.learner.images import NATURE_CNN, NATURE_FEATURES, Channels, CnnPlan, image_module, is_image
from slc_agents.spaces import observation_boxes
from slc_agents.tf2.networks import Convolution, Dense, Tensor

__all__ = [
    "CnnEncoder",
    "DetachedEncoder",
    "Encoded",
    "EncodedActor",
    "Encoder",
    "MultiInputEncoder",
    "TensorObservation",
    "Unflatten",
]

TensorObservation: TypeAlias = "Tensor | dict[str, Tensor]"
Encoder: TypeAlias = Callable[[TensorObservation], Tensor]  # a tf.Module that can be called


class CnnEncoder(tf.Module):
    """Convolutions without padding, each with a ReLU, and a dense layer with a ReLU: those of Mnih et al. 2015.

    Stacked frames become channels.

    Args:
        observation_space: A uint8 Box; see `slc_agents.learner.images.is_image`.
        cnn_layers: Channels, kernel and stride of each convolution.
        cnn_features: Size of what it gives.
        channels: Where the image has its channels; see `slc_agents.learner.images.channel_axis`.

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
        self._plan = CnnPlan.of(observation_space, cnn_layers, cnn_features, channels)
        self.n_features = self._plan.n_features
        self.convolutions = [Convolution(n_inputs, *layer) for n_inputs, layer in self._plan.convolutions]
        self.output = Dense(self._plan.n_flat, self.n_features, tf.nn.relu)

    def __call__(self, observation: Tensor) -> Tensor:
        """Maps images [B, *shape] to features [B, n_features]."""
        x = tf.reshape(observation, [-1, *self._plan.shape])
        # To [B, H, W, stack * C]: TensorFlow has no convolutions of another layout on a CPU.
        x = tf.transpose(x, [0, 3, 4, 1, 2] if self._plan.channels == "first" else [0, 2, 3, 1, 4])
        height, width, stack, n_channels = x.shape[1:]
        x = tf.reshape(x, [-1, height, width, stack * n_channels])
        for convolution in self.convolutions:
            x = tf.nn.relu(convolution(x))
        flat = tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [-1, self._plan.n_flat])  # in the order of the archive
        return self.output(flat)


class MultiInputEncoder(tf.Module):
    """A `CnnEncoder` for each image of a Dict, whose features are joined with all its other values, flattened.

    First come the images, then the rest, each in the order of their keys.

    Args:
        observation_space: A Dict of boxes.
        cnn_layers: Channels, kernel and stride of each convolution, for all images.
        cnn_features: Features of each image.
        channels: Where images have their channels.

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
        self._vectors = {key: math.prod(box.shape) for key, box in boxes.items() if key not in images}  # and sizes
        self._images: dict[str, str] = {}  # an image's key: its encoder's name
        self.n_features = sum(self._vectors.values())
        for i, key in enumerate(images):
            try:
                encoder = CnnEncoder(boxes[key], cnn_layers=cnn_layers, cnn_features=cnn_features, channels=channels)
            except ValueError as error:
                raise type(error)(f"observation space, key {key!r}: {error}") from error
            self._images[key] = image_module(key, i)
            setattr(self, self._images[key], encoder)
            self.n_features += encoder.n_features

    def __call__(self, observation: dict[str, Tensor]) -> Tensor:
        """Maps images and vectors [B, *shape] to features [B, n_features]."""
        parts = [getattr(self, name)(observation[key]) for key, name in self._images.items()]
        parts += [tf.reshape(observation[key], [-1, size]) for key, size in self._vectors.items()]
        return tf.concat(parts, axis=1)


class Unflatten(tf.Module):
    """Gives a flat observation [B, n], joined in some order of its keys, its shapes and keys back.

    Args:
        observation_space: A Box or a Dict of boxes.
        keys: The order.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], keys: Sequence[str]) -> None:
        super().__init__()
        boxes = observation_boxes(observation_space)
        self._shapes = {key: tuple(boxes[key].shape) for key in keys}
        self._is_dict = isinstance(observation_space, spaces.Dict)

    def __call__(self, flat: Tensor) -> TensorObservation:
        """Maps [B, n] to [B, *shape], or a dict of these."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = zip(self._shapes.items(), tf.split(flat, sizes, axis=1), strict=True)
        shaped = {key: tf.reshape(part, [-1, *shape]) for (key, shape), part in parts}
        return shaped if self._is_dict else shaped[""]


class Encoded(tf.Module):
    """A net that sees observations through an encoder: `head(encoder(observation), ...)`.

    Args:
        unflatten: Gives flat observations their shapes back.
        encoder: From observations to features.
        head: The net on the features: an actor or a critic.
    """

    def __init__(self, unflatten: Unflatten, encoder: Encoder, head: Any) -> None:
        super().__init__()
        self.unflatten, self.encoder, self.head = unflatten, encoder, head

    def __call__(self, observation: Tensor, *inputs: Tensor) -> Any:
        """Returns what the head does of the features of a flat observation [B, n], and of its other inputs."""
        return self.head(self.encoder(self.unflatten(observation)), *inputs)


class EncodedActor(Encoded):
    """An actor that sees observations through an encoder."""

    def mean_action(self, observation: Tensor) -> Tensor:
        """Returns the deterministic action [B, n_actions] for a flat observation [B, n]."""
        return self.head.mean_action(self.encoder(self.unflatten(observation)))


class DetachedEncoder(tf.Module):
    """Uses another net's encoder, but never trains it: no gradient passes, and its variables aren't this module's.

    Args:
        encoder: The other net's.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._encoder = _Borrowed(encoder)

    @property
    def encoder(self) -> Encoder:
        """The other net's."""
        return self._encoder.module

    def __call__(self, observation: TensorObservation) -> Tensor:
        """Maps observations to features, as the other net's encoder does."""
        return tf.stop_gradient(self.encoder(observation))


class _Borrowed:
    """Holds a module, which inside of it doesn't become a part of another one."""

    def __init__(self, module: Encoder) -> None:
        self.module = module
