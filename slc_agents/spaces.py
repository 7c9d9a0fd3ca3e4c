"""What an agent needs to know about gymnasium's spaces, and the conversions between the user's units and its own.

Observations are a Box, or a flat Dict of Boxes. Inside the agent they are float32 (uint8, as images are, stays uint8
until it is sampled), and actions are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents.errors import ArchiveError, UnsupportedSpaceError
from slc_agents.transition import Array, Observation

__all__ = [
    "MAX_FLOAT32",
    "ActionScale",
    "check_action_space",
    "check_observation_space",
    "convert_observation",
    "map_observation",
    "observation_boxes",
    "observation_size",
    "row_not_finite",
    "space_from_dict",
    "space_to_dict",
    "storage_dtype",
    "to_batch",
]

NUMBERS = "biuf"  # kinds of dtypes
MAX_FLOAT32 = float(np.finfo(np.float32).max)  # agents compute in float32: what is larger is infinite to them


def check_observation_space(space: gymnasium.Space[Any]) -> None:
    """Raises `UnsupportedSpaceError`, which says why, unless the space is a Box or a flat Dict of Boxes."""
    if isinstance(space, spaces.Box):
        if np.prod(space.shape) == 0:
            raise UnsupportedSpaceError(f"observation space: received shape {space.shape}: there is nothing to observe")
        return
    if isinstance(space, spaces.Dict):
        if not space.spaces:
            raise UnsupportedSpaceError("the observation space is an empty Dict: there is nothing to observe")
        for key, subspace in space.spaces.items():
            if not isinstance(subspace, spaces.Box):
                raise UnsupportedSpaceError(
                    f"observation space, key {key!r}: received {subspace}; only Box is supported inside a Dict. "
                    "Wrap the environment in gymnasium.wrappers.FlattenObservation"
                )
            if not isinstance(key, str) or not key or "/" in key:
                raise UnsupportedSpaceError(
                    f"observation space, key {key!r}: a key must be a text, not empty and without '/'"
                )
            check_observation_space(subspace)
        return
    raise UnsupportedSpaceError(
        f"observation space: received {space}; allowed are Box and a Dict of Boxes. "
        "Wrap the environment in gymnasium.wrappers.FlattenObservation"
    )


def check_action_space(space: gymnasium.Space[Any]) -> None:
    """Raises `UnsupportedSpaceError`, which says why, unless the space is a Box with finite bounds."""
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpaceError(
            f"action space: received {space}; allowed is a Box with finite bounds. "
            "This agent is for continuous actions only"
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise UnsupportedSpaceError(f"action space: received dtype {space.dtype}; allowed are floating-point actions")
    if space.shape == () or np.prod(space.shape) == 0:
        raise UnsupportedSpaceError(
            f"action space: received shape {space.shape}; at least one dimension and one action is needed"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise UnsupportedSpaceError(
            f"action space: received {space}, whose bounds are not finite. The policy's actions are scaled to the "
            "bounds; wrap the environment in gymnasium.wrappers.RescaleAction or give the Box finite bounds"
        )
    if not (space.low < space.high).all():
        raise UnsupportedSpaceError(f"action space: received {space}; each lower bound must be below its upper bound")


def observation_boxes(space: gymnasium.Space[Any]) -> dict[str, spaces.Box]:
    """Returns the boxes of a supported observation space by key, in sorted order; a plain Box has the key ''.

    Equal Dict spaces may have their keys in different orders, depending on how they were made. The networks' inputs
    must not.
    """
    if isinstance(space, spaces.Dict):
        return {key: box for key, box in sorted(space.spaces.items()) if isinstance(box, spaces.Box)}
    assert isinstance(space, spaces.Box)  # noqa: S101 - checked by check_observation_space where it entered
    return {"": space}


def observation_size(space: gymnasium.Space[Any]) -> int:
    """Returns how many numbers an observation has when it is flattened."""
    return sum(int(np.prod(box.shape)) for box in observation_boxes(space).values())


def storage_dtype(box: spaces.Box) -> type[np.uint8 | np.float32]:
    """Returns the dtype in which observations of `box` are kept: uint8 as it is, float32 for all else."""
    return np.uint8 if box.dtype == np.uint8 else np.float32


def map_observation(function: Callable[[Array], Array], observation: Observation) -> Observation:
    """Applies a function to an observation's array, or to each array of a Dict observation."""
    if isinstance(observation, dict):
        return {key: function(value) for key, value in observation.items()}
    return function(observation)


def convert_observation(observation: Any, space: gymnasium.Space[Any]) -> Observation:
    """Copies an observation (batched or not) of the user's into the agent's dtypes."""
    if isinstance(space, spaces.Dict):
        return {
            key: _converted(observation[key], box, f"observation {key!r}")
            for key, box in observation_boxes(space).items()
        }
    return _converted(observation, observation_boxes(space)[""], "observation")


def _converted(values: Any, box: spaces.Box, name: str) -> Array:
    dtype = storage_dtype(box)
    if type(values) is np.ndarray and values.dtype == dtype:
        return values.copy()
    if getattr(getattr(values, "dtype", None), "kind", "O") not in NUMBERS:
        values = _as_numbers(values, box, name)
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found, and named, where it matters
        converted = np.array(values, dtype)
        # A cast would silently make a black image of one that was scaled to [0, 1].
        if dtype is np.uint8 and getattr(values, "dtype", None) != dtype and not np.array_equal(converted, values):
            raise ValueError(
                f"{name}: the space's dtype is uint8, but the values, from {np.min(values):g} to {np.max(values):g}, "
                "are not whole numbers from 0 to 255. Give images unscaled"
            )
    return converted


def _as_numbers(values: Any, box: spaces.Box, name: str) -> Array:
    """Makes an array of what is none yet; a text that looks like a number is none."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name}: received {values!r:.80}, which is no array of numbers ({error}). The space has {box.shape}, with "
            "or without a leading batch dimension"
        ) from error
    if array.dtype.kind not in NUMBERS:
        raise ValueError(
            f"{name}: received {values!r:.80}, of dtype {array.dtype}; real numbers are needed. The space has "
            f"{box.shape}, with or without a leading batch dimension"
        )
    return array


def row_not_finite(array: Array) -> int | None:
    """Returns the first row of an array [n, ...] that holds a NaN, or what float32 can't hold; None if none does."""
    # The sum of the squares is the cheapest look at all values; only one that is too large costs the exact look.
    if array.dtype.kind != "f" or float(np.vdot(array, array)) <= MAX_FLOAT32**2:
        return None
    bad = ~(np.abs(array) <= MAX_FLOAT32)
    rows = bad.reshape(len(array), -1).any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def to_batch(observation: Any, space: gymnasium.Space[Any]) -> tuple[Observation, bool]:
    """Converts a single or batched observation into a batched one.

    Returns:
        The observation with a leading batch dimension, and whether it came with one.

    Raises:
        ValueError: If the shape or the keys fit neither a single observation nor a batch.
    """
    if type(observation) is np.ndarray and isinstance(space, spaces.Box):  # the commonest case, without detours
        array = _converted(observation, space, "observation")
        if array.shape == space.shape:
            return array[None], False
        if array.ndim > 0 and array.shape[1:] == space.shape:
            return array, True
    boxes = observation_boxes(space)
    if isinstance(space, spaces.Dict) and (not isinstance(observation, Mapping) or set(observation) != set(boxes)):
        keys = sorted(observation) if isinstance(observation, Mapping) else type(observation).__name__
        raise ValueError(f"observation: received {keys}; a mapping with the keys {sorted(boxes)} is needed")
    if isinstance(observation, Mapping) and not isinstance(space, spaces.Dict):
        raise ValueError(f"observation: received a mapping; an array of shape {boxes[''].shape} is needed")
    converted = convert_observation(observation, space)
    arrays = converted if isinstance(converted, dict) else {"": converted}
    batched = {array.shape[1:] == boxes[key].shape and array.ndim > 0 for key, array in arrays.items()}
    single = {array.shape == boxes[key].shape for key, array in arrays.items()}
    if single == {True}:
        return map_observation(lambda array: array[None], converted), False
    if batched == {True}:
        if len({len(array) for array in arrays.values()}) > 1:
            raise ValueError("observation: the keys have different batch sizes")
        return converted, True
    received: Any = {key: array.shape for key, array in arrays.items()}
    expected: Any = {key: box.shape for key, box in boxes.items()}
    if not isinstance(space, spaces.Dict):
        received, expected = received[""], expected[""]
    raise ValueError(
        f"observation: received shape {received}; the space has {expected}, with or without a leading batch dimension"
    )


class ActionScale:
    """Scales actions from [-1, 1], flat, to an environment's bounds, shape and dtype, and back."""

    def __init__(self, space: spaces.Box) -> None:
        check_action_space(space)
        self.space = space
        self.size = int(np.prod(space.shape))
        # Half ranges, not the range: high - low overflows for the widest boxes.
        self.low = space.low.reshape(-1).astype(np.float64)
        self.high = space.high.reshape(-1).astype(np.float64)
        self.half_range = self.high / 2 - self.low / 2
        self.center = self.high / 2 + self.low / 2
        # For what is done for each action, and adds up: numpy is quicker with a row than in making one of a vector.
        self._low_row, self._high_row = self.low[None], self.high[None]
        self._dtype, self._shape = space.dtype, space.shape

    def to_env(self, action: NDArray[np.floating[Any]]) -> Array:
        """Maps actions [B, size] in [-1, 1] to the environment's [B, *shape], inside its bounds."""
        # Weighted, not center + half range * action: -1 and 1 then give the bounds to the last bit.
        weight = 0.5 + 0.5 * action.astype(np.float64)
        scaled = self._low_row * (1.0 - weight)
        scaled += self._high_row * weight
        inside = scaled.clip(self._low_row, self._high_row, out=scaled)
        return inside.astype(self._dtype).reshape(len(action), *self._shape)

    def from_env(self, action: Array) -> NDArray[np.float32]:
        """Maps an environment's actions [B, *shape] to [B, size] in [-1, 1]; those outside its bounds to its bounds."""
        scaled = (action.reshape(len(action), -1).astype(np.float64) - self.center) / self.half_range
        return scaled.clip(-1.0, 1.0).astype(np.float32)


def space_to_dict(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Describes a supported space in JSON-able values."""
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: space_to_dict(box) for key, box in space.spaces.items()}}
    assert isinstance(space, spaces.Box)  # noqa: S101 - checked where it entered the agent
    return {
        "type": "Box",
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": _bounds_to_json(space.low),
        "high": _bounds_to_json(space.high),
    }


def space_from_dict(description: Mapping[str, Any]) -> gymnasium.Space[Any]:
    """Makes the space that `space_to_dict` described.

    Raises:
        ArchiveError: If it describes no supported space.
    """
    try:
        if description["type"] == "Dict":
            return spaces.Dict({key: space_from_dict(value) for key, value in description["spaces"].items()})
        if description["type"] != "Box":
            raise ValueError(f"type {description['type']!r}")
        shape, dtype = tuple(map(int, description["shape"])), np.dtype(description["dtype"])
        if dtype.kind not in "fiub":
            raise ValueError(f"dtype {dtype}")
        low, high = (np.broadcast_to(_bounds_from_json(description[end], dtype), shape) for end in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, MemoryError) as error:
        raise ArchiveError(f"not the description of a supported space: {error}") from error


def _bounds_to_json(bounds: NDArray[Any]) -> Any:
    # An image's bounds are one number thousands of times over.
    if bounds.size and (bounds == bounds.flat[0]).all():
        bounds = bounds.reshape(-1)[0]
    return _replace(bounds.tolist(), {float("inf"): "inf", float("-inf"): "-inf"})  # JSON has no infinities


def _bounds_from_json(bounds: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.array(_replace(bounds, {"inf": float("inf"), "-inf": float("-inf")}), dtype)


def _replace(values: Any, replacements: Mapping[Any, Any]) -> Any:
    if isinstance(values, list):
        return [_replace(value, replacements) for value in values]
    return replacements.get(values, values)
