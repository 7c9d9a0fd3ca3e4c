"""An archive's manifest: settings in plain JSON, and placeholders for what JSON can't express."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import ArchiveError, UntrustedCodeError

__all__ = ["Decoder", "encode"]

CODE, NON_FINITE, ARRAY = "$code", "$float", "$array"  # keys of the placeholders


def encode(value: Any, name: str, code: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None) -> Any:
    """Returns a JSON-able value; what has none goes into `arrays` or `code`, and a placeholder stands for it.

    Args:
        value: Any object; mappings with string keys, lists and tuples are walked through.
        name: Its name, under which `code` has it.
        code: Takes what only code can express, by name.
        arrays: Takes arrays of numbers; None: they are code.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {NON_FINITE: str(value)}  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: encode(item, f"{name}.{key}", code, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{name}.{i}", code, arrays) for i, item in enumerate(value)]
    if (
        arrays is not None
        and isinstance(value, np.ndarray)
        and value.dtype.kind in "biuf"
        and value.dtype.itemsize <= 8
    ):
        place = f"state/{len(arrays)}"  # a number: what a name may contain is the user's business
        arrays[place] = value
        return {ARRAY: place}
    code[name] = value
    return {CODE: name}


class Decoder:
    """Reads what `encode` wrote. The archive's code is run only where it is needed, and only if it is trusted.

    Args:
        path: The archive, for error messages.
        read_code: Reads the pickled code.
        trust: Whether it may be run.
        read_array: Reads an array by its name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        read_code: Callable[[], bytes | None],
        trust: bool,
        read_array: Callable[[str], NDArray[Any]],
    ) -> None:
        self.path, self.read_code, self.trust, self.read_array = path, read_code, trust, read_array
        self.objects: dict[str, Any] | None = None
        self._arrays_read: set[str] = set()

    def decode(self, value: Any) -> Any:
        """Returns the value that `encode` was given; tuples come back as lists."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if set(value) == {NON_FINITE}:
            return float(value[NON_FINITE])
        if set(value) == {CODE}:
            return self._run(value[CODE])
        if set(value) == {ARRAY}:
            return self._read_array(value[ARRAY])
        return {key: self.decode(item) for key, item in value.items()}

    def _read_array(self, place: Any) -> NDArray[Any]:
        # Each is written for one place: so a small file can't ask for a large array again and again.
        if not isinstance(place, str) or not place.startswith("state/") or place in self._arrays_read:
            raise ArchiveError(f"{self.path}: {place!r} is no array of its own")
        self._arrays_read.add(place)
        return self.read_array(place)

    def _run(self, name: str) -> Any:
        if not self.trust:
            raise UntrustedCodeError(
                f"{self.path}: {name!r} is code of the file's author. If you trust them, load with trust=True "
                f"(on the command line: --trust)"
            )
        if self.objects is None:
            pickled = self.read_code()
            self.objects = {} if pickled is None else cloudpickle.loads(pickled)
        if name not in self.objects:
            raise ArchiveError(f"{self.path}: {name!r} needs code that the archive doesn't have")
        return self.objects[name]
