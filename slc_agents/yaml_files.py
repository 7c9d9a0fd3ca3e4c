"""Reading YAML that others wrote: it is small and flat, and nothing is made of it before that is known."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

import yaml

from slc_agents.errors import ConfigError, check_path

__all__ = ["MAX_DEPTH", "compose", "explained", "read_text", "refuse"]

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16  # of brackets and indentation; a schedule needs 2, policy_kwargs 4
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def read_text(path: str | os.PathLike[str]) -> str:
    """Reads a file of settings.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is a folder, too large or no text.
    """
    path = check_path("path", path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no settings file {path}; check the path") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; a YAML file of settings is needed") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 1024} KiB; settings are a page of YAML")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not a text in UTF-8 ({error})") from None


def compose(text: str, source: str, *, anchors: bool = False) -> yaml.Node | None:
    """Returns a text's YAML as nodes, of which no value has been made; None where there is nothing in it.

    Args:
        text: The text.
        source: What it is, for messages: a file or an option.
        anchors: Whether anchors, aliases and tags are let through. What they mean is then the caller's to see to:
            nodes may contain each other many times, or themselves.

    Raises:
        ConfigError: If it isn't YAML, is nested deeply, or has what isn't let through.
    """
    with explained(source):
        _check_tokens(text, source, anchors=anchors)
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        return node


def _check_tokens(text: str, source: str, *, anchors: bool) -> None:
    """Refuses what makes YAML more than values, before anything is made of it."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, (yaml.AliasToken, yaml.AnchorToken)) and not anchors:
            refuse(source, token.start_mark, "anchors (&name) and aliases (*name) are not allowed; write the value out")
        if isinstance(token, yaml.TagToken) and not anchors:
            refuse(source, token.start_mark, f"tags are not allowed; received {''.join(filter(None, token.value))!r}")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            refuse(source, token.start_mark, f"is nested more than {MAX_DEPTH} levels deep")


@contextlib.contextmanager
def explained(source: str) -> Iterator[None]:
    """Makes a `ConfigError` that says the file and the line of what goes wrong while YAML is read."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        refuse(source, error.problem_mark, f"is not valid YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from None
    except ConfigError:
        raise
    except ValueError as error:  # what looks like a date or a number, and is none
        raise ConfigError(f"{source}: has a value that can't be read: {error}") from None


def refuse(source: str, mark: yaml.Mark | None, problem: str) -> NoReturn:
    """Raises a `ConfigError` that says the file and, where it is known, the line."""
    where = source if mark is None else f"{source}:{mark.line + 1}"
    raise ConfigError(f"{where}: {problem}")
