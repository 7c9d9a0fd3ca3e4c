"""The YAML files in which RL Baselines3 Zoo keeps hyperparameters: a mapping from environments' ids to settings.

They use what YAML has beyond values: anchors, aliases, merge keys (`<<: *defaults`) and tags (`!!float 1e6`). These are
understood here, on YAML's nodes, and bounded: an entry that unfolds into more than a page is refused. Other tags are,
and no Python object is made but numbers, texts, True, False, None, lists and dicts.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from yaml.constructor import SafeConstructor

from slc_agents.compat.sb3.python_values import parse_python
from slc_agents.errors import ConfigError, check_flag, check_number, check_whole_number
from slc_agents.yaml_files import MAX_DEPTH, compose, explained, read_text, refuse

__all__ = ["ZooEntry", "read_entry"]

CheckedT = TypeVar("CheckedT")

DEFAULTS: Mapping[str, Any] = {  # of stable_baselines3.SAC, version 2.9, and of one environment
    "n_envs": 1,
    "learning_rate": 3e-4,
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "batch_size": 256,
    "tau": 0.005,
    "gamma": 0.99,
    "train_freq": 1,
    "gradient_steps": 1,
    "n_steps": 1,
    "ent_coef": "auto",
    "target_update_interval": 1,
    "target_entropy": "auto",
    "use_sde": False,
    "sde_sample_freq": -1,
    "use_sde_at_warmup": False,
    "normalize": False,
}
DEFAULT = "default"  # the entry for environments that have none of their own
MAX_NODES = 2000  # values, keys and containers that an entry may unfold into; usual are 50
_YAML = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null"))
_CONTAINERS = {yaml.MappingNode: f"{_YAML}map", yaml.SequenceNode: f"{_YAML}seq"}
_MERGE = f"{_YAML}merge"


@dataclass(frozen=True)
class ZooEntry:
    """An environment's settings as they stand in a file.

    Attributes:
        path: The file.
        env_id: The environment's id.
        is_default: Whether the file has no settings of its own for it.
        values: The values by key.
        lines: The line of each key, from 1; that of a merged one is where it stands.
    """

    path: Path
    env_id: str
    is_default: bool
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def value(self, key: str) -> Any:
        """Returns a value; that of Stable-Baselines3's SAC where the file has none or null."""
        found = self.values.get(key)
        return DEFAULTS.get(key) if found is None else found

    def python(self, key: str) -> Any:
        """Returns a value, of which a text is Python."""
        found = self.value(key)
        try:
            return parse_python(found) if isinstance(found, str) else found
        except ValueError as error:
            raise self.refusal(key, str(error)) from None

    def number(self, key: str) -> float:
        """Returns a finite number."""
        return self._checked(key, check_number)

    def whole_number(self, key: str, minimum: int = 1) -> int:
        """Returns a whole number of at least `minimum`."""
        return self._checked(key, check_whole_number, minimum)

    def flag(self, key: str) -> bool:
        """Returns True or False."""
        return self._checked(key, check_flag)

    def _checked(self, key: str, check: Callable[..., CheckedT], *limits: int) -> CheckedT:
        found = self.value(key)
        with contextlib.suppress(ValueError):  # YAML reads 1e-3 as a text
            found = float(found) if isinstance(found, str) else found
        try:
            return check(key, found, *limits)
        except (TypeError, ValueError) as error:
            raise self.refusal(key, str(error).removeprefix(f"{key}={found!r}: ")) from None

    def refusal(self, key: str, problem: str) -> ConfigError:
        """Returns the error for a key's value; where the file has none, for its default."""
        if key not in self.lines:
            return ConfigError(f"{self.path}, {self.env_id}: {key} isn't set ({self.value(key)!r} then): {problem}")
        return ConfigError(f"{self.path}:{self.lines[key]}: {key}: {_shown(self.values[key])}: {problem}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_entry(path: str | os.PathLike[str], env_id: str) -> ZooEntry:
    """Reads an environment's settings.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is not such a file, or has nothing for that environment.
    """
    text, path = read_text(path), Path(path)
    source = str(path)
    root = compose(text, source, anchors=True)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{source}: settings by environments' ids are needed, `Pendulum-v1: ...`")
    entries: dict[str, yaml.Node] = {}
    lines: dict[str, int] = {}
    for key, node in root.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value == env_id and env_id in entries:
                refuse(source, key.start_mark, f"{env_id!r} is there already, in line {lines[env_id]}")
            entries[key.value], lines[key.value] = node, key.start_mark.line + 1
    found = entries.get(env_id, entries.get(DEFAULT))
    if found is None:
        nearest = difflib.get_close_matches(env_id, entries, n=3)
        hint = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else f"it has {', '.join(entries)}"
        raise ConfigError(f"{source}: has no settings for {env_id!r}; {hint:.1000}")
    if not isinstance(found, yaml.MappingNode):
        refuse(source, found.start_mark, f"{env_id}: settings are lines of `key: value`")
    reader = _Reader(source)
    with explained(source):
        items = list(reader.items(found, MAX_DEPTH))
        values = {key.value: reader.value(value, MAX_DEPTH) for key, value in items}
    return ZooEntry(
        path, env_id, env_id not in entries, values, {key.value: key.start_mark.line + 1 for key, _ in items}
    )


class _Reader:
    """Makes values of nodes, and counts them: an alias is followed each time that it stands there.

    Args:
        source: The file, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._constructor = SafeConstructor()
        self._n_nodes = 0

    def value(self, node: yaml.Node, depth: int) -> Any:
        """Returns the value of a node; `depth` is how deep its parts may be nested."""
        self._count(node, depth)
        if isinstance(node, yaml.MappingNode) and node.tag == _CONTAINERS[yaml.MappingNode]:
            return {key.value: self.value(item, depth - 1) for key, item in self.items(node, depth - 1)}
        if isinstance(node, yaml.SequenceNode) and node.tag == _CONTAINERS[yaml.SequenceNode]:
            return [self.value(item, depth - 1) for item in node.value]
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            refuse(self.source, node.start_mark, f"has the tag {node.tag!r:.60}; allowed are !!float and its like")
        try:
            return self._constructor.construct_object(node)
        except (ValueError, KeyError, IndexError):  # a tag's word for something that it isn't
            kind = node.tag.removeprefix(_YAML)
            refuse(self.source, node.start_mark, f"{node.value!r:.60} can't be read as YAML's {kind}")

    def items(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Yields a mapping's keys and values: its own, and those that it merges and has not itself."""
        own: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        merged: yaml.Node | None = None
        for key, value in node.value:
            self._count(key, depth)
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_YAML}str", _MERGE):
                refuse(self.source, key.start_mark, f"a key must be a name; received {key.value!r:.60}")
            if key.value in own or (key.tag == _MERGE and merged is not None):
                refuse(self.source, key.start_mark, f"the key {key.value!r:.60} is there already")
            if key.tag == _MERGE:
                merged = value
            else:
                own[key.value] = key, value
        yield from own.values()
        seen = set(own)
        for other in self._merged(merged):
            self._count(other, depth)
            if not isinstance(other, yaml.MappingNode):
                refuse(self.source, other.start_mark, "<< takes a mapping, *name, or a list of these")
            for key, value in self.items(other, depth - 1):
                if key.value not in seen:
                    seen.add(key.value)
                    yield key, value

    @staticmethod
    def _merged(node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._n_nodes += 1
        if depth <= 0:
            refuse(self.source, node.start_mark, f"is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if self._n_nodes > MAX_NODES:
            refuse(self.source, node.start_mark, f"unfolds into more than {MAX_NODES} values; settings are a page")
