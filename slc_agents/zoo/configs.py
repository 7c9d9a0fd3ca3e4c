"""The zoo's settings: plain YAML, in which every key is a hyperparameter and no value is ever run.

A file is read as YAML of plain values, once it was seen to be small, flat and free of anchors, aliases and tags. It may
inherit another file's settings, which its own replace, and name a policy. Then the config class validates them, as it
validates keywords; an error says the file and the line.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import yaml

from slc_agents.errors import ConfigError, check_path, reject_unknown_keywords
from slc_agents.yaml_files import compose, explained, read_text, refuse
from slc_agents.zoo_files import ZOO_PREFIX, agent_name, folder_names, missing, zoo_configs_folder

if TYPE_CHECKING:
    from slc_agents.agents.config import AgentConfig

    ConfigT = TypeVar("ConfigT", bound=AgentConfig)

__all__ = [
    "DEFAULT",
    "DEFAULT_POLICY",
    "INHERITS",
    "POLICY",
    "ConfigFile",
    "Place",
    "config_path",
    "find_settings",
    "list_configs",
    "load_config",
    "load_config_file",
    "parse_yaml",
    "read_config_file",
]

DEFAULT = "default"  # name of the settings to begin with where nothing is known of an environment
INHERITS = "inherits"  # the key that names the settings which a file's own replace
POLICY = "policy"  # the key that names the policy, which is no hyperparameter
DEFAULT_POLICY = "MlpPolicy"
_VERSION = re.compile(r"-v\d+$")  # how ids of environments end
KEYWORDS = "_kwargs"  # how hyperparameters end that hold keywords, which are inherited one by one


def list_configs() -> list[str]:
    """Returns the names of the settings for environments, such as `sac/Pendulum-v1`.

    Names without a version are no environment's: `default`, for one of which nothing is known, and what several
    environments' settings inherit.
    """
    return sorted(name for name in _configs() if _VERSION.search(name))


def config_path(algo: str, env_id: str) -> Path:
    """Returns the file of the settings of an algorithm for an environment.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment; or `default`.

    Raises:
        FileNotFoundError: If there is none; the message says which there are, and the nearest.
    """
    configs = _configs()
    name = agent_name(algo, env_id)
    if name not in configs:
        error = missing("settings", name, configs)
        default = f"{algo.lower()}/{DEFAULT}"
        raise FileNotFoundError(f"{error}. Of these, {default} is for any environment") if default in configs else error
    return configs[name]


def load_config(algo: str, env_id: str, **overrides: Any) -> AgentConfig:
    """Loads the settings of an algorithm for an environment.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment; or `default`, for one of which nothing is known.
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
        path: The file, a mapping from hyperparameters to values; see the zoo's files. Or, as `zoo:sac/Pendulum-v1`, one
            of these.
        config_class: The class that validates it.
        **overrides: Hyperparameters that replace those of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If the file is not valid; the message says the line.
        TypeError: If an override is not a hyperparameter.
    """
    return read_config_file(path).make(config_class, **overrides)


def find_settings(algo: str, env_id: str, path: str | os.PathLike[str] | None = None) -> tuple[ConfigFile, str]:
    """Finds the settings that a training starts from: a file's, else the zoo's for the environment, else the defaults.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment, or `module:id`.
        path: The file; or, as `zoo:sac/default`, one of the zoo's. None: none is asked for.

    Returns:
        The settings, without a value where all are the defaults, and what to call where they come from.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If the file can't be read; see `read_config_file`.
    """
    from slc_agents.agents.loading import agent_class

    if path is not None:
        return read_config_file(path), os.fspath(path)
    name = agent_name(algo, env_id.rpartition(":")[2])
    if name in list_configs():
        return read_config_file(_configs()[name]), f"the zoo's for {name}"
    defaults = f"the defaults of {agent_class(algo).config_class.__name__}, since the zoo has none for {name}"
    return ConfigFile(Path(), {}, {}), defaults


class Place(NamedTuple):
    """Where something stands.

    Attributes:
        path: The file.
        line: The line of it, from 1.
    """

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class ConfigFile:
    """Settings as they stand in a file, with those that it inherits; not validated yet.

    Attributes:
        path: The file.
        values: The values by key.
        places: Where each key stands: `("gamma",)`, and inside mappings `("policy_kwargs", "n_critics")`.
    """

    path: Path
    values: Mapping[str, Any]
    places: Mapping[tuple[str, ...], Place]

    @property
    def policy(self) -> str:
        """The policy's name.

        Raises:
            ConfigError: If it is no name.
        """
        policy = self.values.get(POLICY, DEFAULT_POLICY)
        if not isinstance(policy, str):
            raise ConfigError(f"{self.places[POLICY,]}: {POLICY}: received {policy!r:.60}; a name is needed")
        return policy

    def make(self, config_class: type[ConfigT], **overrides: Any) -> ConfigT:
        """Makes the config object; see `load_config_file`."""
        from slc_agents.agents.config import FOREIGN_NAMES

        names = [field.name for field in dataclasses.fields(config_class)]
        reject_unknown_keywords(overrides, names, config_class.__name__, FOREIGN_NAMES)
        values = {key: value for key, value in self.values.items() if key != POLICY}
        for key, value in values.items():
            try:
                reject_unknown_keywords([key], names, config_class.__name__, FOREIGN_NAMES)
            except TypeError as error:
                raise ConfigError(f"{self.places[key,]}: {error} (received {key}: {value!r:.80})") from None
        with self.placing_errors(overrides):
            return config_class(**{**_without_companions(values, overrides), **overrides})

    @contextmanager
    def placing_errors(self, overrides: Collection[str] = ()) -> Iterator[None]:
        """Says file and line in an error about one of the values, whoever finds it.

        Args:
            overrides: Keys of values that are not the file's.
        """
        try:
            yield
        except (TypeError, ValueError) as error:
            # An error begins with the name of what it is about, or says in which mapping of keywords that is.
            found = re.match(r"\w+(?==|:| of )", str(error)) or re.search(rf"\w+{KEYWORDS}\b", str(error))
            key = found[0] if found else ""
            if key in overrides or (key,) not in self.places:
                raise
            raise ConfigError(f"{self._place_of(key, str(error))}: {error}{self._hint(key)}") from error

    def _place_of(self, key: str, message: str) -> Place:
        """Returns where what a message about a key complains of stands: the key, or one inside its mapping."""
        words = re.findall(r"\w+", message.removeprefix(f"{key}={self.values[key]!r}"))
        path: tuple[str, ...] = (key,)
        while inner := [(*path, word) for word in words if (*path, word) in self.places]:
            path = inner[0]
        return self.places[path]

    def _hint(self, key: str) -> str:
        value = self.values[key]
        if not isinstance(value, str) or not _EXPRESSION.search(value):
            return ""
        schedule = ", or a schedule: {type: linear, initial: 1.0e-3, final: 1.0e-5}" if key.startswith("lr_") else ""
        return f". Nothing in a settings file is run: write the value itself{schedule}"


# What other programs run, where a value is meant: `lin_1e-3`, `dict(net_arch=[400, 300])`, `2 * 3`, `lambda x: x`.
_EXPRESSION = re.compile(r"[()*]|\blambda\b|^lin_|^[\d.]+ *[-+/] *[\d.]")


def read_config_file(path: str | os.PathLike[str]) -> ConfigFile:
    """Reads settings from a YAML file, without validating the values.

    Where it says `inherits: NAME`, it begins with the settings of that file: of the same folder, or, as
    `zoo:sac/Pendulum-v1`, of the zoo. A value of its own replaces the inherited one; in `policy_kwargs` and other
    mappings of keywords each keyword does. A schedule replaces a rate with its final rate and decay type.

    Args:
        path: The file; or, as `zoo:sac/Pendulum-v1`, one of the zoo's.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is not plain YAML with one value for each key, or inherits what isn't there, or itself.
    """
    if isinstance(path, str) and path.startswith(ZOO_PREFIX):
        path = config_path(*_split_name(path.removeprefix(ZOO_PREFIX)))
    files = [_read_alone(check_path("path", path))]
    while INHERITS in files[-1].values:
        files.append(_read_alone(_inherited_path(files)))
    merged = files.pop()
    while files:
        merged = _replace_inherited(merged, files.pop())
    return merged


def _split_name(name: str) -> tuple[str, str]:
    algo, _, env_id = name.partition("/")
    return algo, env_id


def _inherited_path(files: list[ConfigFile]) -> Path:
    """Returns the file that the last of `files` inherits; the ones before it have led there."""
    file = files[-1]
    name, place = file.values[INHERITS], file.places[INHERITS,]
    if not isinstance(name, str):
        raise ConfigError(
            f"{place}: {INHERITS}: received {name!r:.60}; the name of settings is needed, as in {DEFAULT}"
        )
    # Names are looked for in a list of the files that are there, so none leads out of their folder.
    in_zoo = name.startswith(ZOO_PREFIX)
    names = _configs() if in_zoo else folder_names(file.path.parent, "*.yaml")
    key = name.removeprefix(ZOO_PREFIX)
    if key not in names:
        whose = "the zoo's settings" if in_zoo else f"the settings beside it (the zoo's are called {ZOO_PREFIX}NAME)"
        prefix = ZOO_PREFIX if in_zoo else ""
        choice = _choice(key, names, prefix)
        raise ConfigError(f"{place}: {INHERITS}: {name!r:.200} is not one of {whose}{choice}")
    led_by = [one.path.resolve() for one in files]
    if names[key].resolve() in led_by:
        raise ConfigError(
            f"{place}: {INHERITS}: {name!r} inherits, by way of others or itself, from this file; remove one of these "
            "lines"
        )
    return names[key]


def _choice(name: str, names: Collection[str], prefix: str) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {prefix + nearest[0]!r}?" if nearest else f": {', '.join(names) or 'there are none'}"


def _replace_inherited(inherited: ConfigFile, own: ConfigFile) -> ConfigFile:
    """Returns what a file says, in front of what it inherits."""
    own_values = {key: value for key, value in own.values.items() if key != INHERITS}
    values = _without_companions(inherited.values, own_values)
    for key, value in own_values.items():
        values[key] = _overlay(values.get(key), value) if key.endswith(KEYWORDS) else value
    places = {path: own.places.get(path) or inherited.places[path] for path in _paths(values)}
    return ConfigFile(own.path, values, places)


def _overlay(inherited: Any, own: Any) -> Any:
    """Returns a value in front of the inherited one: of two mappings, key by key."""
    if not (isinstance(inherited, Mapping) and isinstance(own, Mapping)):
        return own
    return {**inherited, **{key: _overlay(inherited.get(key), value) for key, value in own.items()}}


def _without_companions(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values without the final rates and decay types of rates that become schedules, which have their own."""
    gone = {
        f"{key}_{companion}"
        for key, value in changes.items()
        if key.startswith("lr_") and (isinstance(value, Mapping) or callable(value))
        for companion in ("final", "decay_type")
    }
    return {key: value for key, value in values.items() if key not in gone}


def _paths(values: Mapping[str, Any], outer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the path to each key, also of mappings inside."""
    for key, value in values.items():
        yield (*outer, key)
        if isinstance(value, Mapping):
            yield from _paths(value, (*outer, key))


def _read_alone(path: Path) -> ConfigFile:
    """Reads a file, and not what it inherits."""
    text = read_text(path)
    values, node = _parse(text, str(path))
    if node is None:
        return ConfigFile(path, {}, {})
    if not isinstance(node, yaml.MappingNode):
        refuse(str(path), node.start_mark, f"settings are lines of `key: value`; received {values!r:.60}")
    return ConfigFile(path, values, {keys: Place(path, line) for keys, line in _key_lines(node)})


def _key_lines(node: yaml.MappingNode, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yields the path to each key with its line, also of mappings inside."""
    for key, value in node.value:
        yield (*outer, key.value), key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield from _key_lines(value, (*outer, key.value))


def parse_yaml(text: str, source: str) -> Any:
    """Reads a text in the YAML that the zoo's files are written in.

    Args:
        text: The text.
        source: What it is, for messages: a file or an option.

    Raises:
        ConfigError: If it isn't YAML, or has anchors, aliases, tags or duplicate keys.
    """
    return _parse(text, source)[0]


class _Loader(yaml.SafeLoader):
    """Makes plain values alone; 1e-3 is a number, as in YAML 1.2, which is a text in YAML 1.1."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\.[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+.")
)


def _parse(text: str, source: str) -> tuple[Any, yaml.Node | None]:
    compose(text, source)  # refuses what is more than values
    loader = _Loader(text)
    try:
        with explained(source):
            node = loader.get_single_node()
            _check_keys(node, source)
            return (None if node is None else loader.construct_document(node)), node
    finally:
        loader.dispose()


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
