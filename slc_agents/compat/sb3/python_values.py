"""Values that RL Baselines3 Zoo writes as Python in its files, such as "dict(net_arch=[64, 64])".

There they are run. Here their text is parsed, and what it can be made of is listed below: nothing is looked up or
called.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slc_agents.yaml_files import MAX_DEPTH

__all__ = ["TorchName", "parse_python"]

MAX_LENGTH = 4096  # characters
TORCH = ("nn", "torch", "th")  # as their files call torch and its module of networks


@dataclass(frozen=True)
class TorchName:
    """A name in torch, such as `nn.ReLU`, that stands where a class is meant.

    Attributes:
        path: The name as it was written.
    """

    path: str

    @property
    def last(self) -> str:
        """What stands after its last dot."""
        return self.path.rpartition(".")[2]

    def __repr__(self) -> str:
        return self.path


def parse_python(text: str) -> Any:
    """Reads a value: a number, text, True, False or None; a list, tuple or dict of values, or dict(name=value, ...).

    A name in torch is a `TorchName`.

    Raises:
        ValueError: If the text is anything else; it says which part of it.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the parser, about a stranger's style
            parsed = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"is no value in Python ({error.args[0] if error.args else type(error).__name__})") from None
    return _Reader(text).read(parsed.body, MAX_DEPTH)


class _Reader:
    """Makes values of a syntax tree.

    Args:
        text: What it was parsed from, for messages.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, node: ast.expr, depth: int) -> Any:
        """Returns the value of a node; `depth` is how deep its parts may be nested."""
        if depth == 0:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                if not isinstance(number, bool):
                    return -number
            case ast.List():
                return [self.read(item, depth - 1) for item in node.elts]
            case ast.Tuple():
                return tuple(self.read(item, depth - 1) for item in node.elts)
            case ast.Dict():
                return self._dict(zip(map(self._key, node.keys), node.values, strict=True), depth)
            case ast.Call(func=ast.Name(id="dict"), args=[]):
                return self._dict(((self._keyword(one), one.value) for one in node.keywords), depth)
            case ast.Attribute() if (path := _dotted(node)) is not None:
                return TorchName(path)
        raise self._refusal(node)

    def _dict(self, items: Iterable[tuple[str, ast.expr]], depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in items:
            if key in values:
                raise ValueError(f"has {key!r} twice")
            values[key] = self.read(value, depth - 1)
        return values

    def _key(self, node: ast.expr | None) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise ValueError("has ** in a dict") if node is None else self._refusal(node)

    @staticmethod
    def _keyword(keyword: ast.keyword) -> str:
        if keyword.arg is None:
            raise ValueError("has ** in a dict")
        return keyword.arg

    def _refusal(self, node: ast.expr) -> ValueError:
        return ValueError(
            f"has {ast.get_source_segment(self.text, node)!r:.60}, which would have to be run. It may hold numbers, "
            "texts, True, False, None, lists, tuples, dicts and names such as nn.ReLU"
        )


def _dotted(node: ast.expr) -> str | None:
    """Returns a name in torch as it was written; None for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) and node.id in TORCH else None
