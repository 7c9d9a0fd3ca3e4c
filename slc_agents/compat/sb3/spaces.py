"""Spaces as Stable-Baselines3's files show them: in the words in which numpy and gymnasium print them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents.errors import ArchiveError, UnsupportedSpaceError

__all__ = ["PrintedBox", "PrintedSpace", "fit_space", "make_space", "parse_space"]

_TYPE = re.compile(r"<class '(?:gymnasium|gym)\.spaces\.(?P<kind>[\w.]+)'>")
# One key of a Dict as gymnasium prints it: 'key': Box(low, high, shape, dtype); an OrderedDict has a comma after it.
_ITEM = re.compile(
    r"""(?P<quote>['"])(?P<key>[^'"\\]+)(?P=quote)\s*[:,]\s*"""
    r"Box\((?P<low>[^(),]+),\s*(?P<high>[^(),]+),\s*\((?P<shape>[\d\s,]*)\),\s*(?P<dtype>\w+)\)"
)
_MAX_SIZE = 2**27  # numbers in an observation; more would be a damaged file's
_BETWEEN_ITEMS = re.compile(r"(?:OrderedDict|Dict|[\s,(){}\[\]])*")


@dataclass(frozen=True)
class PrintedBox:
    """A box whose bounds are unknown (None) where they were printed with "..." in their midst."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: NDArray[Any] | None
    high: NDArray[Any] | None

    @property
    def is_image(self) -> bool:
        """Whether Stable-Baselines3 can have taken it for an image: that is, if its bounds are 0 and 255."""
        ends = ((self.low, 0), (self.high, 255))
        return (
            self.dtype == np.uint8
            and len(self.shape) == 3
            and all(bound is None or bool((bound == end).all()) for bound, end in ends)
        )

    def as_image(self) -> PrintedBox:
        """Returns it with the bounds that every image has."""
        return PrintedBox(self.shape, self.dtype, np.zeros((), np.uint8), np.full((), 255, np.uint8))

    def fits(self, box: spaces.Box) -> bool:
        """Whether a box is this one, as far as it is known."""
        ends = ((self.low, box.low), (self.high, box.high))
        return (
            self.shape == box.shape
            and self.dtype == box.dtype
            and all(bound is None or np.allclose(bound, end) for bound, end in ends)
        )


PrintedSpace: TypeAlias = "PrintedBox | dict[str, PrintedBox]"


def parse_space(entry: Any, name: str) -> PrintedSpace:
    """Reads a space from the attributes that a file shows of it.

    Args:
        entry: The file's entry.
        name: What to call it in errors.

    Returns:
        The box; for a Dict its boxes by key, in the file's order.

    Raises:
        UnsupportedSpaceError: If it is of another kind.
        ArchiveError: If it can't be read.
    """
    found = _TYPE.fullmatch(str(entry.get(":type:"))) if isinstance(entry, Mapping) else None
    if found is None:
        raise ArchiveError(f"{name}: the file shows no space of gymnasium's or gym's")
    kind = found["kind"].rpartition(".")[2]
    try:
        if kind == "Box":
            shape = entry["_shape"] if entry.get("_shape") is not None else entry["shape"]  # as old versions of gym
            return _parse_box(tuple(map(int, shape)), entry["dtype"], *(_texts(entry, end) for end in ("low", "high")))
        if kind == "Dict":
            return _parse_dict(entry["spaces"])
    except (ArithmeticError, KeyError, MemoryError, TypeError, ValueError) as error:
        raise ArchiveError(f"{name}: can't be read from what the file shows of it ({error!r})") from error
    raise UnsupportedSpaceError(f"{name}: the file has a {kind}; allowed are Box and a Dict of Boxes")


def _texts(entry: Mapping[str, Any], end: str) -> tuple[str, ...]:
    """Returns what the file says about a bound: the array as printed, and what gymnasium's repr is made of."""
    return tuple(text for key in (end, f"{end}_repr") if isinstance(text := entry.get(key), str))


def _parse_box(shape: tuple[int, ...], dtype: str, low: tuple[str, ...], high: tuple[str, ...]) -> PrintedBox:
    kind = np.dtype(dtype)
    if kind.kind not in "fiub" or min(shape, default=1) < 1 or math.prod(shape) > _MAX_SIZE:
        raise ValueError(f"dtype {dtype}, shape {shape}")
    return PrintedBox(shape, kind, _parse_bound(low, shape, kind), _parse_bound(high, shape, kind))


def _parse_bound(texts: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    for text in texts:
        words = re.sub(r"[\[\]]", " ", text).split()
        if "..." in words:
            continue
        values = np.array([float(word) if dtype.kind == "f" else int(float(word)) for word in words], dtype)
        if values.size == math.prod(shape):
            return values.reshape(shape)
        if values.size == 1:  # gymnasium prints a bound that is the same everywhere once
            return values.reshape(())
        raise ValueError(f"{values.size} numbers for the shape {shape}")
    return None


def _parse_dict(text: str) -> dict[str, PrintedBox]:
    boxes: dict[str, PrintedBox] = {}
    end = 0
    for item in _ITEM.finditer(text):
        if not _BETWEEN_ITEMS.fullmatch(text, end, item.start()):
            break
        shape = tuple(int(size) for size in item["shape"].replace(",", " ").split())
        boxes[item["key"]] = _parse_box(shape, item["dtype"], (item["low"],), (item["high"],))
        end = item.end()
    if not boxes or not _BETWEEN_ITEMS.fullmatch(text, end):
        raise ValueError(f"a Dict of Boxes is needed; it has {text[end : end + 80]!r}")
    return boxes


def make_space(printed: PrintedSpace, name: str) -> gymnasium.Space[Any]:
    """Makes the space.

    Raises:
        ArchiveError: If its bounds are not known.
    """
    if isinstance(printed, dict):
        return spaces.Dict({key: make_space(box, f"{name}, key {key!r}") for key, box in printed.items()})
    if printed.low is None or printed.high is None:
        raise ArchiveError(
            f"{name}: of its {math.prod(printed.shape)} bounds the file shows the first and the last ones only. Give "
            "the environment: load_agent(..., env=...)"
        )
    low, high = (np.broadcast_to(bound, printed.shape) for bound in (printed.low, printed.high))
    return spaces.Box(low, high, printed.shape, printed.dtype.type)


def fit_space(printed: PrintedSpace, space: gymnasium.Space[Any], name: str, *, images: bool) -> bool:
    """Checks the space of an environment against that of a file, whose images have their channels first.

    Args:
        printed: The file's.
        space: The environment's.
        name: What to call it in errors.
        images: Whether images may have their channels last in the environment.

    Returns:
        Whether they have.

    Raises:
        ValueError: If the spaces differ.
    """
    theirs = printed if isinstance(printed, dict) else {"": printed}
    ours = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
    differ = ValueError(f"env: its {name} is {space}; the file's is {printed}. They must be the same")
    if isinstance(printed, dict) != isinstance(space, spaces.Dict) or set(theirs) != set(ours):
        raise differ
    layouts: set[bool] = set()  # of the images: whether channels are last
    for key, box in theirs.items():
        other = ours[key]
        if not isinstance(other, spaces.Box):
            raise differ
        if images and box.is_image:
            channels, height, width = box.shape
            last = PrintedBox((height, width, channels), box.dtype, *(box.as_image().low, box.as_image().high))
            fitting = {is_last for is_last, one in ((False, box), (True, last)) if one.fits(other)}
            if not fitting:
                raise differ
            # As the file has them, where both would fit: Stable-Baselines3 leaves such images as they are.
            layouts.add(fitting == {True})
        elif not box.fits(other):
            raise differ
    if len(layouts) > 1:
        raise ValueError(f"env: in its {name} some images have their channels first and some last; all or none must")
    return layouts == {True}
