"""The package's own errors, and the checks that raise them.

Every error that names a user's mistake says what was received, what is allowed and what to do about it.
Each class also derives from the built-in error that a caller would expect, so `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
import importlib
import math
import operator
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = [
    "ArchiveError",
    "ConfigError",
    "EnvStateError",
    "ExportError",
    "HubError",
    "InvalidEnvironmentError",
    "MissingDependencyError",
    "NonFiniteError",
    "NotResumableError",
    "RenderError",
    "SlcAgentsError",
    "UnsupportedSpaceError",
    "UntrustedCodeError",
    "check_flag",
    "check_number",
    "check_path",
    "check_positive",
    "check_whole_number",
    "reject_unknown_keywords",
    "require",
]


class SlcAgentsError(Exception):
    """Base of all errors that this package raises on its own account."""


class ConfigError(SlcAgentsError, ValueError):
    """A hyperparameter's value is out of range, of the wrong type, or contradicts another one."""


class UnsupportedSpaceError(SlcAgentsError, ValueError):
    """An observation or action space that the agent can't work with."""


class InvalidEnvironmentError(SlcAgentsError, ValueError):
    """An environment breaks a rule of gymnasium's, or one that the agents add."""


class RenderError(SlcAgentsError, RuntimeError):
    """An environment can't be drawn, here or at all."""


class NonFiniteError(SlcAgentsError, ValueError):
    """A NaN or an infinity turned up in an observation, a reward, an action or a loss."""


class ArchiveError(SlcAgentsError, ValueError):
    """A file is not an agent archive, is damaged, is too new, or doesn't fit what it is loaded into."""


class UntrustedCodeError(ArchiveError):
    """An archive needs code of its author's that is only run with `trust=True`."""


class ExportError(SlcAgentsError, RuntimeError):
    """A policy can't be exported, or what was exported doesn't compute what it does."""


class HubError(SlcAgentsError, OSError):
    """The Hugging Face hub doesn't have what was asked for, refuses what was sent, or can't be reached."""


class NotResumableError(SlcAgentsError, RuntimeError):
    """There is no interrupted run to go on with."""


class EnvStateError(SlcAgentsError, RuntimeError):
    """Where an environment stands can't be known, or not be restored."""


class MissingDependencyError(SlcAgentsError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports an optional dependency.

    Args:
        module: Name of the module to import.
        extra: The extra of this package that installs it.
        purpose: What it is needed for, as the subject of a sentence.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {module!r}, which can't be imported ({error}); "
            f"install it with: pip install 'slc-agents[{extra}]'"
        ) from error


def reject_unknown_keywords(
    received: Iterable[str], allowed: Iterable[str], owner: str, foreign_names: Mapping[str, str] | None = None
) -> None:
    """Raises a `TypeError` that names the nearest valid keyword for one that is not allowed.

    Args:
        received: Keywords that were given.
        allowed: Keywords that are valid.
        owner: Whose keywords they are, as the subject of a sentence.
        foreign_names: What other libraries call things, and what to say of it: "here it is ...".
    """
    allowed, foreign_names = list(allowed), foreign_names or {}
    for name in received:
        if name in allowed:
            continue
        nearest = difflib.get_close_matches(name, [*allowed, *foreign_names], n=1)
        if name in foreign_names:
            hint = foreign_names[name]
        elif nearest and nearest[0] in foreign_names:
            hint = f"{nearest[0]!r} would be another library's name: {foreign_names[nearest[0]]}"
        elif nearest:
            hint = f"did you mean {nearest[0]!r}?"
        else:
            hint = f"allowed are {', '.join(allowed)}"
        raise TypeError(f"{owner} has no keyword {name!r}; {hint}")


def check_flag(name: str, value: Any) -> bool:
    """Returns a bool; "False", which would count as true, is none.

    Args:
        name: Its name, for the error message.
        value: What was received.

    Raises:
        TypeError: If it is neither True nor False.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: True or False is needed")
    return bool(value)


def check_number(name: str, value: Any, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    """Returns a finite number as a float; True is none.

    Args:
        name: Its name, for the error message.
        value: What was received.
        minimum: The smallest that is allowed.
        maximum: The largest that is allowed.

    Raises:
        ValueError: If it is no finite number, or out of range.
    """
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not minimum <= number <= maximum:
        limits = {minimum: f" of at least {minimum:g}", maximum: f" of at most {maximum:g}"}
        shown = " and".join(text for limit, text in limits.items() if math.isfinite(limit))
        raise ValueError(f"{name}={value!r}: a finite number{shown} is needed")
    return number


def check_positive(name: str, value: Any) -> float:
    """Returns a finite number above 0 as a float; True is none.

    Args:
        name: Its name, for the error message.
        value: What was received.

    Raises:
        ValueError: If it is no finite number, or not above 0.
    """
    number = check_number(name, value)
    if number <= 0:
        raise ValueError(f"{name}={value!r}: a finite number above 0 is needed")
    return number


def check_path(name: str, value: Any) -> Path:
    """Returns a path.

    Args:
        name: Its name, for the error message.
        value: What was received.

    Raises:
        TypeError: If it is neither a text nor an `os.PathLike` that gives one.
        ValueError: If it is empty.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name}={value!r}: a path is needed, a text or a pathlib.Path")
    if not text or "\0" in text:
        raise ValueError(f"{name}={value!r}: the path of a file or folder is needed")
    return Path(text)


def check_whole_number(name: str, value: Any, minimum: int = 1) -> int:
    """Returns a whole number as an int; 5e3 is one, True is not.

    Args:
        name: Its name, for the error message.
        value: What was received.
        minimum: The smallest that is allowed.

    Raises:
        ValueError: If it is no whole number, or too small.
    """
    try:
        number = operator.index(int(value) if isinstance(value, float) and value.is_integer() else value)
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or number < minimum:
        raise ValueError(f"{name}={value!r}: a whole number of at least {minimum} is needed")
    return number
