"""Options for hyperparameters, made from the config classes: a new field is a new option, with its documentation."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from slc_agents.agents.config import FOREIGN_NAMES, AgentConfig
from slc_agents.errors import ConfigError, check_whole_number
from slc_agents.zoo import parse_yaml

__all__ = [
    "add_hyperparameters",
    "given_hyperparameters",
    "numbers",
    "output_file",
    "positive_int",
    "positive_number",
    "seed",
    "suggestion",
    "whole_numbers",
]

PREFIX = "hyperparameter."
MAX_NUMBERS = 1000  # of a list; more are a slip of the finger
TEXTS = ("device", "start_policy")  # taken as they stand: a path need not be YAML


def add_hyperparameters(
    parser: argparse.ArgumentParser,
    config_classes: Mapping[str, type[AgentConfig]],
    *,
    without: Collection[str] = (),
) -> None:
    """Adds an option for each hyperparameter of each algorithm.

    Args:
        parser: The command's parser.
        config_classes: The config classes by the algorithms' names.
        without: Hyperparameters that the command has no use for.
    """
    group = parser.add_argument_group(
        "hyperparameters",
        "Those that are not given are the settings file's, or have their defaults. A value is read as YAML and is "
        "validated as in Python. A learning rate may be a schedule: "
        "--lr-a '{type: linear, initial: 1e-3, final: 1e-5}'.",
    )
    fields: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    for algo, config_class in config_classes.items():
        for field in dataclasses.fields(config_class):
            fields.setdefault(field.name, {})[algo] = field
    for name, by_algo in fields.items():
        if name in without:
            continue
        config_class = config_classes[next(iter(by_algo))]
        only = "" if len(by_algo) == len(config_classes) else f"Only {', '.join(by_algo)}. "
        text = f"{only}{config_class.descriptions()[name]} (default: {_defaults(by_algo)})".replace("%", "%%")
        flag, dest = _flag(name), PREFIX + name
        annotation = config_class.__pydantic_fields__[name].annotation  # type: ignore[attr-defined]
        if annotation is bool:
            group.add_argument(
                flag, dest=dest, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
            )
        else:
            group.add_argument(
                flag,
                dest=dest,
                type=_Value(flag, as_text=name in TEXTS),
                metavar="RATE" if name in config_class.rates else "NAME" if name in TEXTS else _metavar(annotation),
                default=argparse.SUPPRESS,
                help=text,
            )


def given_hyperparameters(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the hyperparameters that were given as options, by name."""
    return {name.removeprefix(PREFIX): value for name, value in vars(args).items() if name.startswith(PREFIX)}


def positive_int(text: str) -> int:
    """Reads a whole number of at least 1, which may be written as 1e6 or 1_000_000; the type of an option."""
    try:
        number = float(text)
        if number >= 1 and number.is_integer():
            return int(number) if "e" in text.lower() else int(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 1 is needed")


def output_file(text: str) -> Path:
    """Reads the path of a file to write; the type of an option."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is a folder; the path of a file is needed")
    return Path(text)


def positive_number(text: str) -> float:
    """Reads a finite number above 0; the type of an option."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: a number above 0 is needed")
    return number


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """Reads whole numbers such as `0..4`, `0,3,7` or `0..2,10`.

    Args:
        text: What was given.
        what: What one of them is, for error messages.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?", part)
        if match is None:
            raise argparse.ArgumentTypeError(
                f"{text!r}: {part.strip()!r} is neither a {what} nor a range of them; such as 0..4 or 0,3,7 are needed"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise argparse.ArgumentTypeError(f"{text!r}: the range {part.strip()} goes down; {last}..{first} is needed")
        if last - first + len(found) >= MAX_NUMBERS:
            raise argparse.ArgumentTypeError(f"{text!r}: these are more than {MAX_NUMBERS} {what}s")
        found += range(first, last + 1)
    twice = [number for i, number in enumerate(found) if number in found[:i]]
    if twice:
        raise argparse.ArgumentTypeError(f"{text!r}: {what} {twice[0]} is there twice")
    return tuple(found)


def numbers(text: str) -> tuple[float, ...]:
    """Reads finite numbers such as `0,0.5,1`; the type of an option."""
    try:
        read = tuple(float(part) for part in text.split(","))
    except ValueError:
        read = (math.nan,)
    if not all(map(math.isfinite, read)):
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas between them are needed, such as 0,0.5,1")
    return read


def seed(text: str) -> int:
    """Reads a seed, a whole number of at least 0; the type of an option."""
    try:
        return check_whole_number("seed", int(text), 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 0 is needed") from None


def suggestion(parser: argparse.ArgumentParser, flag: str) -> str:
    """Returns what to say about an option that the parser doesn't have."""
    flag = flag.split("=", 1)[0]
    foreign = FOREIGN_NAMES.get(flag.lstrip("-").replace("-", "_"))
    has_hyperparameters = "--lr-a" in parser._option_string_actions
    if foreign is not None and has_hyperparameters:
        names = "|".join(field.name for field in dataclasses.fields(AgentConfig))
        return "; " + re.sub(rf"\b({names})\b", lambda name: _flag(name[0]), foreign)
    nearest = difflib.get_close_matches(flag, parser._option_string_actions, n=3)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else "; --help lists them"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class _Value:
    """Reads an option's value as YAML, in which PyYAML takes 1e3 for a text; it is a number."""

    def __init__(self, flag: str, *, as_text: bool) -> None:
        self.flag, self.as_text = flag, as_text

    def __call__(self, text: str) -> Any:
        if text in ("None", "null"):
            return None
        if self.as_text:
            return text
        try:
            value = parse_yaml(text, self.flag)
        except ConfigError as error:
            problem = str(error).removeprefix(f"{self.flag}:").partition(" ")[2]  # a line's number says nothing here
            raise argparse.ArgumentTypeError(f"{text!r}: {problem}") from None
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value


def _metavar(annotation: Any) -> str:
    """Returns how an option's value is called in the help."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "{" + ",".join(arguments) + "}"
    if origin in (typing.Union, types.UnionType):
        return _metavar(next(argument for argument in arguments if argument is not type(None)))
    if origin is typing.Annotated:
        return _metavar(arguments[0])
    return {int: "N", float: "X", dict: "YAML", str: "NAME"}.get(origin or annotation, "VALUE")


def _defaults(by_algo: Mapping[str, dataclasses.Field[Any]]) -> str:
    shown = {algo: _default(field) for algo, field in by_algo.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{value} for {algo}" for algo, value in shown.items())


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return str(field.default_factory())
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
