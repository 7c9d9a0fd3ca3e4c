"""What is searched: hyperparameters with their ranges and choices, as data.

A space is a file of the kind that the zoo's settings are, in which each hyperparameter has a range or choices:

    lr_a: {low: 1.0e-5, high: 1.0e-2, log: true}
    gamma: {low: 0.9, high: 0.9999, complement: true, log: true}           # the logarithm of 1 - gamma
    target_entropy: {low: -2, high: -0.5, times: action_dimensions}        # for each dimension of the actions
    batch_size: {choices: [64, 128, 256]}
    update_every, steps_per_update: {choices: [1, 10]}                     # the same value for both
    policy_kwargs.hidden_sizes: {choices: {small: [64, 64], large: [256, 256]}}

This module knows no searcher but for `distribution`, which says a range to Optuna.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from slc_agents.agents.config import FOREIGN_NAMES, AgentConfig
from slc_agents.errors import ConfigError, reject_unknown_keywords
from slc_agents.zoo import read_config_file

if TYPE_CHECKING:
    import optuna

__all__ = ["NOT_SEARCHED", "Choices", "Parameter", "Range", "SearchSpace", "lay"]

SPACES = Path(__file__).resolve().parent / "spaces"
DIGITS = 4  # significant ones of a value: more would say nothing, and make a file hard to read
NESTED = "policy_kwargs"  # the hyperparameter whose keywords are searched one by one, as policy_kwargs.n_critics
NOT_SEARCHED = {
    "opt_type": "it says what a trial's value means",
    "max_ep_len": "it changes what a trial's value means",
    "seed": "each trial has one of its own",
    "epochs": "all trials are equally long",
    "num_test_episodes": "a trial is judged by evaluations of its own",
    "logger_kwargs": "a trial writes no files",
    "save_freq": "a trial writes no files",
    "export": "a trial writes no files",
}
# What a temperature that is fixed leaves without effect.
OF_LEARNED_TEMPERATURE = frozenset(("lr_alpha", "lr_alpha_final", "lr_alpha_decay_type", "target_entropy"))

Unit: TypeAlias = Literal["timesteps", "action_dimensions"]
Units: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """One dimension of a search space.

    Attributes:
        names: The hyperparameters that get its value; `policy_kwargs.NAME` is a keyword of the policy.
    """

    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is called in a file."""
        return ", ".join(self.names)

    @property
    def name(self) -> str:
        """What it is called in a study."""
        return self.key

    @abstractmethod
    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Returns what Optuna draws from."""

    @abstractmethod
    def value(self, drawn: Any, units: Units) -> Any:
        """Returns the hyperparameters' value for what was drawn.

        Args:
            drawn: What was drawn from the distribution.
            units: What `times` stands for.
        """

    @abstractmethod
    def examples(self) -> list[Any]:
        """Returns what may be drawn, as far as it takes to see that all of it is valid."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns it as it stands in a file."""


@dataclass(frozen=True, kw_only=True)
class Range(Parameter):
    """Numbers between two.

    Attributes:
        low: The lowest value.
        high: The highest value.
        log: Whether orders of magnitude are equally likely.
        step: Distance between two values that are tried; None: all of them.
        complement: Whether it is 1 - value that is drawn.
        times: What the numbers are multiples of; None: of 1.
        integer: Whether the values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    complement: bool = False
    times: Unit | None = None
    integer: bool = False

    @property
    def name(self) -> str:
        """What it is called in a study, where its numbers are those that are drawn."""
        return f"1 - {self.key}" if self.complement else f"{self.key} / {self.times}" if self.times else self.key

    @property
    def drawn(self) -> tuple[float, float]:
        """Between which numbers is drawn."""
        return (_tidy(1 - self.high), _tidy(1 - self.low)) if self.complement else (self.low, self.high)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Returns what Optuna draws from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high = self.drawn
        if self.integer and self.times is None:
            return IntDistribution(int(low), int(high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(low, high, log=self.log, step=self.step)

    def value(self, drawn: Any, units: Units) -> Any:
        """Returns the hyperparameters' value for what was drawn, with few digits and inside the range."""
        low, high = self.drawn
        number = float(drawn)
        if self.step is None:
            number = min(max(float(f"{number:.{DIGITS}g}"), low), high)
        if self.complement:
            number = 1 - number
        if self.times is not None:
            number *= units[self.times]
        return round(number) if self.integer else _tidy(number)

    def examples(self) -> list[Any]:
        """Returns the ends."""
        return list(self.drawn)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as it stands in a file."""
        default = {"log": False, "step": None, "complement": False, "times": None}
        optional = {name: getattr(self, name) for name in default if getattr(self, name) != default[name]}
        whole = self.integer and self.times is None
        low, high = (int(self.low), int(self.high)) if whole else (self.low, self.high)
        return {"low": low, "high": high, **optional}


@dataclass(frozen=True, kw_only=True)
class Choices(Parameter):
    """Some values.

    Attributes:
        choices: The values by what they are called in a study: themselves, where they are plain.
    """

    choices: Mapping[Any, Any]

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Returns what Optuna draws from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(tuple(self.choices))

    def value(self, drawn: Any, units: Units) -> Any:
        """Returns the hyperparameters' value for what was drawn."""
        return self.choices[drawn]

    def examples(self) -> list[Any]:
        """Returns the names of all."""
        return list(self.choices)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as it stands in a file."""
        plain = all(name is value for name, value in self.choices.items())
        return {"choices": list(self.choices) if plain else dict(self.choices)}


@dataclass(frozen=True)
class SearchSpace:
    """What is searched.

    Attributes:
        parameters: Its dimensions.
        places: Where each of them stands, for messages, by key.
    """

    parameters: tuple[Parameter, ...]
    places: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def default(cls, algo: str, config_class: type[AgentConfig]) -> SearchSpace:
        """Returns the space of an algorithm.

        Args:
            algo: Name of the algorithm, such as `sac`.
            config_class: Its config class.

        Raises:
            ConfigError: If there is none.
        """
        spaces = {path.stem: path for path in sorted(SPACES.glob("*.yaml"))}
        if algo not in spaces:
            raise ConfigError(
                f"space=None: there is no search space for {algo}, only for {', '.join(spaces)}. Give one of your own"
            )
        return cls.read(spaces[algo], config_class)

    @classmethod
    def read(cls, path: str | os.PathLike[str], config_class: type[AgentConfig]) -> SearchSpace:
        """Reads a space from a YAML file.

        Args:
            path: The file.
            config_class: The config class whose fields are searched.

        Raises:
            FileNotFoundError: If there is no such file.
            ConfigError: If it isn't valid; the message says the line.
        """
        file = read_config_file(path)
        places = {path[0]: str(place) for path, place in file.places.items() if len(path) == 1}
        return cls._make(file.values, places, config_class)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], config_class: type[AgentConfig]) -> SearchSpace:
        """Makes a space of a mapping like that of a file.

        Args:
            values: The ranges and choices, by the names of hyperparameters.
            config_class: The config class whose fields are searched.

        Raises:
            ConfigError: If it isn't valid.
        """
        return cls._make(values, dict.fromkeys(values, "space"), config_class)

    @classmethod
    def _make(
        cls, values: Mapping[str, Any], places: Mapping[str, str], config_class: type[AgentConfig]
    ) -> SearchSpace:
        parameters: list[Parameter] = []
        for key, description in values.items():
            with _placed(places[key], key):
                parameters.append(_read_parameter(key, description, config_class))
                _refuse_overlap(parameters)
        by_key = {parameter.key: places[key] for parameter, key in zip(parameters, values, strict=True)}
        return cls(tuple(parameters), by_key)

    def without(self, fixed: Mapping[str, Any]) -> SearchSpace:
        """Returns the space without the parameters one of whose hyperparameters is fixed.

        Args:
            fixed: Hyperparameters with their values; of `policy_kwargs`, its keywords are those that are fixed.
        """
        names = set(fixed)
        if isinstance(fixed.get(NESTED), Mapping):
            names |= {f"{NESTED}.{keyword}" for keyword in fixed[NESTED]}
            names.discard(NESTED)
        left = [
            parameter
            for parameter in self.parameters
            if not any(name in names or (name == NESTED and NESTED in fixed) for name in parameter.names)
        ]
        return dataclasses.replace(self, parameters=tuple(left))

    def effective(self, config: AgentConfig) -> SearchSpace:
        """Returns the space without the parameters that nothing depends on: those of a temperature that is fixed.

        Args:
            config: The settings that the values are laid on.
        """
        is_searched = any("adaptive_temperature" in parameter.names for parameter in self.parameters)
        if config.adaptive_temperature or is_searched:
            return self
        left = [parameter for parameter in self.parameters if not OF_LEARNED_TEMPERATURE.issuperset(parameter.names)]
        return dataclasses.replace(self, parameters=tuple(left))

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Returns what Optuna draws from, by the parameters' names in a study."""
        return {parameter.name: parameter.distribution() for parameter in self.parameters}

    def values(self, drawn: Mapping[str, Any], units: Units) -> dict[str, Any]:
        """Returns hyperparameters for what was drawn, fit for `lay`.

        Args:
            drawn: What was drawn of each parameter, by its name in a study; what is missing stays as it is.
            units: What `times` stands for.
        """
        return {
            name: parameter.value(drawn[parameter.name], units)
            for parameter in self.parameters
            if parameter.name in drawn
            for name in parameter.names
        }

    def check(
        self, settings: Mapping[str, Any], units: Units, config_class: type[AgentConfig], try_out: Callable[[Any], None]
    ) -> None:
        """Raises a `ConfigError` unless each value, laid on the settings alone, is valid.

        Args:
            settings: Hyperparameters that the space's are laid on.
            units: What `times` stands for.
            config_class: What validates them.
            try_out: Raises an error if an agent with that config can't be made; asked where the policy is concerned.
        """
        for parameter in self.parameters:
            concerns_policy = any(name.partition(".")[0] == NESTED for name in parameter.names)
            for drawn in parameter.examples():
                value = parameter.value(drawn, units)
                with _placed(self.places.get(parameter.key, "space"), parameter.key):
                    config = config_class(**lay(settings, dict.fromkeys(parameter.names, value)))
                    if concerns_policy:
                        try_out(config)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as it stands in a file."""
        return {parameter.key: parameter.to_dict() for parameter in self.parameters}


def lay(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Lays values on settings, and returns the result.

    Args:
        settings: Hyperparameters by name.
        values: What replaces them; `policy_kwargs.NAME` replaces one keyword of the policy.
    """
    laid = dict(settings)
    for name, value in values.items():
        outer, nested, keyword = name.partition(".")
        laid[outer] = {**(laid.get(outer) or {}), keyword: value} if nested else value
    return laid


def _read_parameter(key: str, description: Any, config_class: type[AgentConfig]) -> Parameter:
    names = tuple(name.strip() for name in key.split(","))
    for name in names:
        _check_name(name, config_class)
    if not isinstance(description, Mapping) or not {"low", "high", "choices"} & set(description):
        raise ConfigError(
            f"a range {{low: ..., high: ...}} or {{choices: [...]}} is needed; received {description!r:.60}. A value "
            "that stays is no part of a space, but of the settings"
        )
    if "choices" in description:
        reject_unknown_keywords(description, ["choices"], "a parameter with choices", _SPELLINGS)
        return Choices(names=names, choices=_read_choices(description["choices"]))
    keywords = [one.name for one in dataclasses.fields(Range) if one.name not in ("names", "integer")]
    reject_unknown_keywords(description, keywords, "a range", _SPELLINGS)
    return _read_range(names, description, config_class)


_SPELLINGS = {
    **dict.fromkeys(("min", "lower", "from"), "here it is low"),
    **dict.fromkeys(("max", "upper", "to"), "here it is high"),
    **dict.fromkeys(("values", "categorical", "options"), "here it is choices"),
}


def _check_name(name: str, config_class: type[AgentConfig]) -> None:
    outer, nested, keyword = name.partition(".")
    fields = [one.name for one in dataclasses.fields(config_class)]
    reject_unknown_keywords([outer], fields, config_class.__name__, FOREIGN_NAMES)
    if nested and (outer != NESTED or not keyword.isidentifier()):
        raise ConfigError(f"{name} is no hyperparameter; only those of the policy have a dot, as {NESTED}.n_critics")
    if outer in NOT_SEARCHED:
        raise ConfigError(f"{outer} can't be searched: {NOT_SEARCHED[outer]}")


def _refuse_overlap(parameters: list[Parameter]) -> None:
    """Refuses the last one where it sets what it or another one sets already."""
    *earlier, last = parameters
    names = [name for parameter in earlier for name in parameter.names]
    for name in last.names:
        outer = name.partition(".")[0]
        if name in names or outer in names or (name == NESTED and any(n.startswith(f"{NESTED}.") for n in names)):
            raise ConfigError(f"{name} is set by another line of the space already")
        names.append(name)


def _read_choices(choices: Any) -> dict[Any, Any]:
    if not isinstance(choices, (list, tuple, Mapping)) or not choices:
        raise ConfigError(
            f"choices={choices!r}: a list of values, or a mapping from names to values, with at least one is needed"
        )
    if isinstance(choices, Mapping):
        return dict(choices)
    named: dict[Any, Any] = {}
    for value in choices:
        name = value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value)
        if name in named:
            raise ConfigError(f"choices: {value!r} is there already")
        named[name] = value
    return named


def _read_range(names: tuple[str, ...], description: Mapping[str, Any], config_class: type[AgentConfig]) -> Range:
    missing = [name for name in ("low", "high") if name not in description]
    if missing:
        raise ConfigError(f"{missing[0]} is missing; a range has low and high")
    low, high = (_number(name, description[name]) for name in ("low", "high"))
    step = None if description.get("step") is None else _number("step", description["step"])
    log, complement = (_flag(name, description.get(name, False)) for name in ("log", "complement"))
    times = description.get("times")
    if times not in (None, *typing.get_args(Unit)):
        raise ConfigError(f"times={times!r}: allowed are {', '.join(typing.get_args(Unit))}")
    bounds = [description["low"], description["high"]]
    integer = any(_is_integer(name, bounds, config_class) for name in names)
    read = Range(
        names=names, low=low, high=high, log=log, step=step, complement=complement, times=times, integer=integer
    )
    _check_range(read)
    return read


def _check_range(read: Range) -> None:
    if not read.low < read.high:
        raise ConfigError(f"low={read.low:g}, high={read.high:g}: low must be less than high")
    if read.complement and (read.times or read.integer):
        raise ConfigError("complement: true is for numbers near 1, and goes neither with times nor with whole numbers")
    if read.log and read.drawn[0] <= 0:
        what = "1 - high" if read.complement else "low"
        raise ConfigError(f"log: true needs numbers above 0; {what} is {read.drawn[0]:g}")
    if read.step is not None:
        steps = (read.high - read.low) / read.step if read.step > 0 else 0.5
        if read.log or not math.isclose(steps, round(steps)):
            raise ConfigError(f"step={read.step:g}: a whole number of steps leads from low to high, without log: true")
    if read.integer and not read.times:
        for name, number in (("low", read.low), ("high", read.high), ("step", read.step or 1)):
            if number != int(number):
                raise ConfigError(f"{name}={number:g}: whole numbers are needed here")


def _is_integer(name: str, bounds: list[Any], config_class: type[AgentConfig]) -> bool:
    """Whether a hyperparameter takes whole numbers; of a policy's keyword, the ends of its range say so."""
    if name.startswith(f"{NESTED}."):
        return all(isinstance(bound, int) for bound in bounds)
    hint = next(keyword.annotation for keyword in config_class.keywords() if keyword.name == name)
    return int in (hint, *typing.get_args(hint))


def _number(name: str, value: Any) -> float:
    try:  # YAML takes 1e-5 for a text
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name}={value!r}: a finite number is needed")
    return number


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}={value!r}: true or false is needed")
    return bool(value)


def _tidy(number: float) -> float:
    """Takes away what the computer's arithmetic has added: 1 - 0.9999 is 0.0001."""
    return float(f"{number:.12g}")


@contextmanager
def _placed(place: str, key: str) -> Iterator[None]:
    """Says in an error where the parameter stands that it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: {key}: {error}") from error
