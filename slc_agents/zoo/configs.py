"""The zoo's settings: plain YAML, in which every key is a hyperparameter and no value is ever run.

A file is read with `yaml.safe_load`, once it was seen to be small, flat and free of anchors, aliases and tags.
Then the config class validates it, as it validates keywords; an error says the file and the line.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from slc_agents.errors import ConfigError, reject_unknown_keywords
from slc_agents.yaml_files import compose, explained, read_text, refuse
from slc_agents.zoo_files import agent_name, folder_names, missing, zoo_configs_folder

if TYPE_CHECKING:
    from slc_agents.agents.config import AgentConfig

    ConfigT = TypeVar("ConfigT", bound=AgentConfig)

__all__ = [
    "ConfigFile",
    "config_path",
    "list_configs",
    "load_config",
    "load_config_file",
    "parse_yaml",
    "read_config_file",
]


def list_configs() -> list[str]:
    """Returns the names of the settings that there are, such as `sac/Pendulum-v1`."""
    return sorted(_configs())


def config_path(algo: str, env_id: str) -> Path:
    """Returns the file of the settings of an algorithm for an environment.

    Raises:
        FileNotFoundError: If there is none; the message says which there are, and the nearest.
    """
    configs = _configs()
    name = agent_name(algo, env_id)
    if name not in configs:
        raise missing("settings", name, configs)
    return configs[name]


def load_config(algo: str, env_id: str, **overrides: Any) -> AgentConfig:
    """Loads the settings of an algorithm for an environment.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment.
        **overrides: Hyperparameters that replace those of the file.

    Returns:
        A config object of the algorithm's class.

    Raises:
        FileNotFoundError: If there are none; the message says which there are, and the nearest.
        ConfigError: If the file is not valid.
    """
    from slc_agents.agents.loading import agent_class

    return load_config_file(config_path(algo, env_id), agent_class(algo).config_class, **overrides)


def load_config_file(path: str | os.PathLike[str], config_class: type[ConfigT], **overrides: Any) -> ConfigT:
    """Loads settings from a YAML file.

    Args:
        path: The file: a mapping from hyperparameters to values; see the zoo's files.
        config_class: The class that validates it.
        **overrides: Hyperparameters that replace those of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If the file is not valid; the message says the line.
        TypeError: If an override is not a hyperparameter.
    """
    return read_config_file(path).make(config_class, **overrides)


@dataclass(frozen=True)
class ConfigFile:
    """Settings as they stand in a file, not validated yet.

    Attributes:
        path: The file.
        values: Its values by key.
        lines: The line of each key, from 1.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def make(self, config_class: type[ConfigT], **overrides: Any) -> ConfigT:
        """Makes the config object; see `load_config_file`."""
        from slc_agents.agents.config import FOREIGN_NAMES

        names = [field.name for field in dataclasses.fields(config_class)]
        reject_unknown_keywords(overrides, names, config_class.__name__, FOREIGN_NAMES)
        for key, value in self.values.items():
            try:
                reject_unknown_keywords([key], names, config_class.__name__, FOREIGN_NAMES)
            except TypeError as error:
                raise ConfigError(f"{self.path}:{self.lines[key]}: {error} (received {key}: {value!r})") from None
        values = {**self.values, **overrides}
        try:
            return config_class(**values)
        except (ConfigError, TypeError) as error:
            line = self._line_of(str(error), overrides)
            if line is None:
                raise
            raise ConfigError(f"{self.path}:{line}: {error}") from None

    def _line_of(self, message: str, overrides: Mapping[str, Any]) -> int | None:
        """Returns the line of the key that a message names first; None if that key is not the file's."""
        for word in re.findall(r"\w+", message):
            if word in overrides:
                return None
            if word in self.lines:
                return self.lines[word]
        return None


def read_config_file(path: str | os.PathLike[str]) -> ConfigFile:
    """Reads settings from a YAML file, without validating the values.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is not plain YAML with one value for each key.
    """
    text, path = read_text(path), Path(path)
    values, node = _parse(text, str(path))
    if node is None:
        return ConfigFile(path, {}, {})
    if not isinstance(node, yaml.MappingNode):
        refuse(str(path), node.start_mark, f"settings are lines of `key: value`; received {values!r:.60}")
    return ConfigFile(path, values, {key.value: key.start_mark.line + 1 for key, _ in node.value})


def parse_yaml(text: str, source: str) -> Any:
    """Reads a text in the YAML that the zoo's files are written in.

    Args:
        text: The text.
        source: What it is, for messages: a file or an option.

    Raises:
        ConfigError: If it isn't YAML, or has anchors, aliases, tags or duplicate keys.
    """
    return _parse(text, source)[0]


def _parse(text: str, source: str) -> tuple[Any, yaml.Node | None]:
    node = compose(text, source)
    _check_keys(node, source)
    with explained(source):
        return yaml.safe_load(text), node


def _check_keys(node: yaml.Node | None, source: str) -> None:
    """Refuses keys that are no names, and keys that are there twice, of which YAML would drop one in silence."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, source)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                refuse(source, key.start_mark, f"a key must be a name; received {key.value!r:.60}")
            if key.value in first:
                refuse(source, key.start_mark, f"the key {key.value!r} is there already, in line {first[key.value]}")
            first[key.value] = key.start_mark.line + 1
            _check_keys(value, source)


def _configs() -> dict[str, Path]:
    return folder_names(zoo_configs_folder(), "*/*.yaml")
