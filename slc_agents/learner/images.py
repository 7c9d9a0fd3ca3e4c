"""What images are, and how encoders see them: the same for each backend."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from slc_agents.errors import UnsupportedSpaceError, check_whole_number

__all__ = [
    "NATURE_CNN",
    "NATURE_FEATURES",
    "NOTHING_TO_NORMALIZE",
    "Channels",
    "CnnLayer",
    "CnnPlan",
    "channel_axis",
    "check_dict",
    "check_encoder",
    "check_image",
    "check_share",
    "choose_encoder",
    "image_module",
    "is_image",
    "make_encoder",
]

Channels: TypeAlias = Literal["first", "last"]
CnnLayer: TypeAlias = tuple[int, int, int]  # channels, kernel, stride

NATURE_CNN: tuple[CnnLayer, ...] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # Mnih et al. 2015, Nature 518, Methods
NATURE_FEATURES = 512
NOTHING_TO_NORMALIZE = (
    "policy_kwargs: normalize_observations=True; all that this policy observes are images, which are divided by 255 "
    "instead. Leave it out"
)


def is_image(box: spaces.Box) -> bool:
    """Says whether a box is an image: uint8, and [H, W], [C, H, W], [H, W, C], [stack, C, H, W] or [stack, H, W, C]."""
    return box.dtype == np.uint8 and len(box.shape) in (2, 3, 4)


def channel_axis(shape: Sequence[int], channels: Channels | None = None) -> Channels:
    """Says where an image [..., a, b, c] has its channels.

    Args:
        shape: The image's, of at least three dimensions.
        channels: "first" or "last" settles it. None: the smaller one of a and c counts the channels, and c does
            where they are equal. A stack of grey images [stack, H, W] so is one with its channels first.
    """
    return channels or ("first" if shape[-3] < shape[-1] else "last")


@dataclass(frozen=True)
class CnnPlan:
    """What a `CnnEncoder` consists of.

    Attributes:
        shape: The image's as [stack, C, H, W] or [stack, H, W, C], whatever is missing.
        channels: Which of these.
        convolutions: Of each convolution its input channels, and its channels, kernel and stride.
        n_flat: Numbers that the last one gives.
        n_features: Size of what the encoder gives.
    """

    shape: tuple[int, ...]
    channels: Channels
    convolutions: tuple[tuple[int, CnnLayer], ...]
    n_flat: int
    n_features: int

    @classmethod
    def of(
        cls, observation_space: gymnasium.Space[Any], cnn_layers: Any, cnn_features: Any, channels: Channels | None
    ) -> CnnPlan:
        """Makes it of a space, and of an encoder's keywords.

        Raises:
            UnsupportedSpaceError: If the space is no image.
            ValueError: If a value is out of range, or the image is too small for the convolutions.
        """
        if not isinstance(observation_space, spaces.Box) or not is_image(observation_space):
            raise UnsupportedSpaceError(
                f"observation space: received {observation_space}, which is no image: a uint8 Box of 2 to 4 dimensions"
            )
        layers = _check_layers(cnn_layers)
        if channels not in (None, "first", "last"):
            raise ValueError(f"policy_kwargs: channels={channels!r}; allowed are 'first', 'last' and None")
        n_features = check_whole_number("policy_kwargs: cnn_features", cnn_features)
        given = observation_space.shape
        shape = {2: (1, 1, *given), 3: (1, *given), 4: given}[len(given)]
        axis = "first" if len(given) == 2 else channel_axis(shape, channels)
        stack, *image = shape
        n_channels, height, width = image if axis == "first" else (image[2], *image[:2])
        _check_size(height, width, layers, given)
        convolutions, n = [], stack * n_channels
        for layer in layers:
            convolutions.append((n, layer))
            n, kernel, stride = layer
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return cls(shape, axis, tuple(convolutions), n * height * width, n_features)


def image_module(key: str, i: int) -> str:
    """Returns the name of the encoder of a Dict's `i`th image.

    Names of modules can't hold everything that keys can; and not all that they can is free ("forward").
    """
    return f"image_{key if key.isascii() and key.isidentifier() else i}"


def check_image(space: gymnasium.Space[Any], *, has_own_encoder: bool) -> None:
    """Raises `UnsupportedSpaceError` unless `CnnPolicy` is for a space."""
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpaceError(
            f"observation space: CnnPolicy is for images; received {space}. Use 'MultiInputPolicy' for a Dict"
        )
    if not has_own_encoder and not is_image(space):
        raise UnsupportedSpaceError(
            f"observation space: CnnPolicy is for images, uint8 from 0 to 255 of 2 to 4 dimensions; received "
            f"{space}. Use 'MlpPolicy' for vectors; convert images of another type to uint8, or give an encoder "
            "of your own (policy_kwargs={'encoder': ...})"
        )


def check_dict(space: gymnasium.Space[Any]) -> None:
    """Raises `UnsupportedSpaceError` unless `MultiInputPolicy` is for a space."""
    if not isinstance(space, spaces.Dict):
        raise UnsupportedSpaceError(
            f"observation space: MultiInputPolicy is for a Dict of boxes; received {space}. Use "
            f"{'CnnPolicy' if isinstance(space, spaces.Box) and is_image(space) else 'MlpPolicy'!r}"
        )


def choose_encoder(
    own: Callable[..., Any],
    cnn: Mapping[str, Any],
    encoder: Callable[..., Any] | None,
    encoder_kwargs: Mapping[str, Any] | None,
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns what makes an encoder, and its keywords: the policy's own with those of `cnn`, or the user's."""
    if encoder is None:
        if encoder_kwargs:
            raise ValueError(
                f"policy_kwargs: encoder_kwargs={encoder_kwargs!r} without an encoder; the policy's own has "
                f"{', '.join(cnn)}, beside encoder_kwargs, not in it"
            )
        return own, dict(cnn)
    if not callable(encoder):
        raise ValueError(f"policy_kwargs: encoder={encoder!r}; a class that makes encoders is needed")
    if encoder_kwargs is not None and not isinstance(encoder_kwargs, Mapping):
        raise ValueError(f"policy_kwargs: encoder_kwargs={encoder_kwargs!r}; a dictionary of keywords is needed")
    defaults = {"cnn_layers": NATURE_CNN, "cnn_features": NATURE_FEATURES, "channels": None}
    for name, value in cnn.items():
        if value is not defaults[name]:  # it was given
            raise ValueError(
                f"policy_kwargs: {name}={value!r} is for the policy's own encoder; give yours what it takes in "
                "encoder_kwargs"
            )
    return encoder, dict(encoder_kwargs or {})


def make_encoder(make: Callable[..., Any], space: gymnasium.Space[Any], kwargs: Mapping[str, Any]) -> Any:
    """Calls what makes an encoder.

    Raises:
        TypeError: If it can't be called so.
    """
    try:
        return make(space, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"policy_kwargs: encoder: it can't be called as encoder(observation_space, **encoder_kwargs) with "
            f"encoder_kwargs={dict(kwargs)!r}: {error}"
        ) from error


def check_encoder(encoder: Any, module_class: type, named: str) -> Any:
    """Returns an encoder.

    Args:
        encoder: The encoder.
        module_class: The class of the backend's modules.
        named: What that is called.

    Raises:
        TypeError: If it isn't one.
    """
    n_features = getattr(encoder, "n_features", None)
    if not isinstance(encoder, module_class) or not isinstance(n_features, (int, np.integer)) or n_features < 1:
        raise TypeError(
            f"policy_kwargs: the encoder is {type(encoder).__name__} with n_features={n_features!r}; {named} "
            "whose attribute n_features says the size of what it gives is needed"
        )
    return encoder


def check_share(share_encoder: Any) -> bool:
    """Returns whether actor and critics have one encoder; raises a `ValueError` unless that is True or False."""
    if not isinstance(share_encoder, (bool, np.bool_)):
        raise ValueError(f"policy_kwargs: share_encoder={share_encoder!r}; True or False is needed")
    return bool(share_encoder)


def _check_layers(layers: Any) -> list[CnnLayer]:
    try:
        checked = [tuple(map(operator.index, layer)) for layer in layers]
        valid = len(checked) > 0 and all(len(layer) == 3 and min(layer) > 0 for layer in checked)
        valid = valid and not any(isinstance(number, bool) for layer in layers for number in layer)
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(
            f"policy_kwargs: cnn_layers={layers!r}; a list of at least one (channels, kernel, stride), each a positive "
            "whole number, is needed"
        )
    return [(layer[0], layer[1], layer[2]) for layer in checked]


def _check_size(height: int, width: int, layers: Sequence[CnnLayer], shape: tuple[int, ...]) -> None:
    smallest = 1
    for _, kernel, stride in reversed(layers):
        smallest = (smallest - 1) * stride + kernel
    if min(height, width) < smallest:
        raise ValueError(
            f"policy_kwargs: cnn_layers={[*layers]!r} need images of at least {smallest}x{smallest} pixels; the space "
            f"of shape {shape} has {height}x{width}. Give smaller kernels or strides, such as "
            "cnn_layers=[(16, 3, 2), (32, 3, 2)]; or larger images (gymnasium.wrappers.ResizeObservation); or, where "
            "the channels were taken for another dimension, channels='first' or 'last'"
        )
