"""An archive's manifest: settings in plain JSON, and placeholders for what JSON can't express."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from slc_agents.errors import ArchiveError, UntrustedCodeError

__all__ = ["Decoder", "encode"]

CODE, NON_FINITE = "$code", "$float"  # keys of the placeholders


def encode(value: Any, name: str, code: dict[str, Any]) -> Any:
    """Returns a JSON-able value; what has none goes into `code`, and a placeholder stands for it.

    Args:
        value: Any object; mappings with string keys, lists and tuples are walked through.
        name: Its name, under which `code` has it.
        code: Takes what only code can express, by name.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {NON_FINITE: str(value)}  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: encode(item, f"{name}.{key}", code) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{name}.{i}", code) for i, item in enumerate(value)]
    code[name] = value
    return {CODE: name}


class Decoder:
    """Reads what `encode` wrote. The archive's code is run only where it is needed, and only if it is trusted.

    Args:
        path: The archive, for error messages.
        read_code: Reads the pickled code.
        trust: Whether it may be run.
    """

    def __init__(self, path: str | os.PathLike[str], read_code: Callable[[], bytes | None], trust: bool) -> None:
        self.path, self.read_code, self.trust = path, read_code, trust
        self.objects: dict[str, Any] | None = None

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
        return {key: self.decode(item) for key, item in value.items()}

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
