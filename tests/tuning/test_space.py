"""Search spaces: files that are read, files that are refused, and what is drawn from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.samplers import RandomSampler

from slc_agents import LACConfig, SACConfig
from slc_agents.agents.loading import AGENTS
from slc_agents.errors import ConfigError
from slc_agents.tuning import SearchSpace
from slc_agents.tuning.space import Choices, Range, lay
from slc_agents.tuning.study import open_study

UNITS = {"timesteps": 20_000, "action_dimensions": 3}


def space_of(**values: Any) -> SearchSpace:
    return SearchSpace.from_dict(values, SACConfig)


def one(name: str, **description: Any) -> Any:
    """The only value of a space of one parameter for what Optuna would draw."""
    return SearchSpace.from_dict({name: description}, SACConfig).parameters[0]


def test_every_algorithm_s_own_space_is_valid() -> None:
    for name, agent in AGENTS.items():
        space = SearchSpace.default(name.lower(), agent.config_class)
        space.check({}, UNITS, agent.config_class, lambda config: None)
        assert SearchSpace.from_dict(space.to_dict(), agent.config_class).parameters == space.parameters


def test_the_space_of_sac_holds_what_matters() -> None:
    space = SearchSpace.default("sac", SACConfig)
    names = {name for parameter in space.parameters for name in parameter.names}
    assert names >= {
        *("lr_a", "lr_c", "lr_alpha", "gamma", "polyak", "batch_size", "update_every", "steps_per_update"),
        *("start_steps", "alpha", "target_entropy", "policy_kwargs.hidden_sizes", "policy_kwargs.activation"),
        *("policy_kwargs.n_critics", "policy_kwargs.normalize_observations"),
    }
    with pytest.raises(ConfigError, match="no search space for ppo, only for lac, sac"):
        SearchSpace.default("ppo", SACConfig)


def test_the_space_of_lac_holds_what_it_adds() -> None:
    space = SearchSpace.default("lac", LACConfig)
    names = {name for parameter in space.parameters for name in parameter.names}
    assert names >= {"alpha3", "horizon_length", "lr_labda", "policy_kwargs.n_critics"}


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        """
lr_a: {low: 1e-5, high: 1.0e-2, log: true}
gamma: {low: .9, high: .9999, complement: true, log: true}
update_every, steps_per_update: {choices: [1, 10]}
policy_kwargs.hidden_sizes: {choices: {small: [64, 64], large: [256, 256]}}
policy_kwargs.n_critics: {low: 2, high: 4}
batch_size: {low: 32, high: 512, step: 32}
"""
    )
    space = SearchSpace.read(path, SACConfig)
    assert space.parameters == (
        Range(names=("lr_a",), low=1e-5, high=1e-2, log=True),
        Range(names=("gamma",), low=0.9, high=0.9999, log=True, complement=True),
        Choices(names=("update_every", "steps_per_update"), choices={1: 1, 10: 10}),
        Choices(names=("policy_kwargs.hidden_sizes",), choices={"small": [64, 64], "large": [256, 256]}),
        Range(names=("policy_kwargs.n_critics",), low=2, high=4, integer=True),
        Range(names=("batch_size",), low=32, high=512, step=32, integer=True),
    )
    assert SearchSpace.from_dict(
        yaml.safe_load(yaml.safe_dump(space.to_dict(), sort_keys=False)), SACConfig
    ) == SearchSpace(space.parameters, dict.fromkeys(space.places, "space"))
    assert set(space.distributions()) == {
        *("lr_a", "1 - gamma", "update_every, steps_per_update"),
        *("policy_kwargs.hidden_sizes", "policy_kwargs.n_critics", "batch_size"),
    }


def test_what_is_drawn_becomes_hyperparameters() -> None:
    space = SearchSpace.from_dict(
        {
            "gamma": {"low": 0.9, "high": 0.9999, "complement": True, "log": True},
            "update_every, steps_per_update": {"choices": [1, 10]},
            "start_steps": {"low": 0.0, "high": 0.1, "times": "timesteps"},
            "target_entropy": {"low": -2, "high": -0.5, "times": "action_dimensions"},
            "policy_kwargs.hidden_sizes": {"choices": [[8], [16, 16]]},
            "lr_a": {"low": 1e-5, "high": 1e-2, "log": True},
        },
        SACConfig,
    )
    drawn = {
        "1 - gamma": 0.0123456,
        "update_every, steps_per_update": 10,
        "start_steps / timesteps": 0.012344,
        "target_entropy / action_dimensions": -1.5,
        "policy_kwargs.hidden_sizes": "[16, 16]",
    }
    values = space.values(drawn, UNITS)
    assert values == {
        "gamma": 0.98765,
        "update_every": 10,
        "steps_per_update": 10,
        "start_steps": 247,
        "target_entropy": -4.5,
        "policy_kwargs.hidden_sizes": [16, 16],
    }
    assert type(values["start_steps"]) is int
    assert space.values({}, UNITS) == {}


def test_values_stay_inside_their_range() -> None:
    parameter = one("lr_a", low=1.23456e-5, high=9.87654e-3)
    assert [parameter.value(end, UNITS) for end in parameter.drawn] == [1.235e-5, 9.87654e-3]
    assert parameter.value(0.001234567, UNITS) == 0.001235
    stepped = one("polyak", low=0.9, high=0.99, step=0.0001)
    assert stepped.value(0.98765, UNITS) == 0.98765


def test_what_optuna_draws_is_valid() -> None:
    """Each distribution is drawn from at random: every config that comes out is one."""
    space = SearchSpace.default("sac", SACConfig)
    distributions = space.distributions()
    study = open_study(None, "study", "minimize")
    study.sampler = RandomSampler(seed=0)
    configs = []
    for _ in range(30):
        trial = study.ask(distributions)
        assert set(trial.params) == set(distributions)
        configs.append(SACConfig(**lay({}, space.values(trial.params, UNITS))))
    assert len({config.gamma for config in configs}) > 20
    assert {config.update_every for config in configs} == {1, 8, 32, 100}
    assert all(config.update_every == config.steps_per_update for config in configs)
    assert all(0.9 <= config.gamma <= 0.9999 and 0 <= config.start_steps <= 2000 for config in configs)
    # As many orders of magnitude below as above the middle.
    assert 8 < sum(1 - config.gamma < 0.0032 for config in configs) < 22


def test_what_is_fixed_is_not_searched() -> None:
    space = SearchSpace.from_dict(
        {
            "lr_a": {"low": 1e-5, "high": 1e-2},
            "update_every, steps_per_update": {"choices": [1, 10]},
            "policy_kwargs.n_critics": {"low": 2, "high": 4},
            "policy_kwargs.activation": {"choices": ["ReLU", "Tanh"]},
        },
        SACConfig,
    )
    assert list(space.without({}).to_dict()) == list(space.to_dict())
    fixed = {"lr_a": 1e-3, "update_every": 5, "policy_kwargs": {"n_critics": 2}, "gamma": 0.9}
    assert list(space.without(fixed).to_dict()) == ["policy_kwargs.activation"]
    whole = space_of(policy_kwargs={"choices": {"a": {"n_critics": 2}, "b": {"n_critics": 3}}})
    assert whole.without({"policy_kwargs": {"activation": "Tanh"}}).parameters == ()


def test_what_a_fixed_temperature_leaves_without_effect_is_not_searched() -> None:
    space = SearchSpace.from_dict(
        {
            "lr_alpha": {"low": 1e-5, "high": 1e-2},
            "lr_c, lr_alpha_final": {"low": 1e-5, "high": 1e-2},
            "target_entropy": {"low": -2.0, "high": -0.25},
            "alpha": {"low": 0.01, "high": 1.0},
        },
        SACConfig,
    )
    fixed = SACConfig(adaptive_temperature=False)
    assert list(space.effective(fixed).to_dict()) == ["lr_c, lr_alpha_final", "alpha"]
    assert space.effective(SACConfig()) is space
    searched = SearchSpace.from_dict({**space.to_dict(), "adaptive_temperature": {"choices": [True, False]}}, SACConfig)
    assert searched.effective(fixed) is searched


def test_values_are_laid_on_settings() -> None:
    settings = {"gamma": 0.9, "policy_kwargs": {"n_critics": 2, "activation": "Tanh"}}
    laid = lay(settings, {"gamma": 0.8, "policy_kwargs.n_critics": 3, "alpha": 1.0})
    assert laid == {"gamma": 0.8, "policy_kwargs": {"n_critics": 3, "activation": "Tanh"}, "alpha": 1.0}
    assert settings == {"gamma": 0.9, "policy_kwargs": {"n_critics": 2, "activation": "Tanh"}}
    assert lay({"policy_kwargs": None}, {"policy_kwargs.n_critics": 3}) == {"policy_kwargs": {"n_critics": 3}}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gama: {low: 0, high: 1}", ["'gama'", "did you mean 'gamma'?"]),
        ("tau: {low: 0, high: 1}", ["'tau'", "polyak"]),
        ("gamma: 0.9", ["received 0.9", "{low: ..., high: ...}"]),
        ("gamma: [0.9, 0.99]", ["{choices: [...]}"]),
        ("gamma: {min: 0, max: 1}", ["{low: ..., high: ...}"]),
        ("gamma: {low: 0, max: 1}", ["'max'", "here it is high"]),
        ("gamma: {low: 0}", ["high is missing"]),
        ("gamma: {low: 0.9, high: 0.9}", ["low=0.9, high=0.9", "less than"]),
        ("gamma: {low: zero, high: 1}", ["low='zero'", "finite number"]),
        ("gamma: {low: true, high: 2}", ["low=True", "finite number"]),
        ("gamma: {low: 0, high: .inf}", ["high=inf", "finite number"]),
        ("gamma: {low: 0, high: 1, log: yes please}", ["log='yes please'", "true or false"]),
        ("lr_a: {low: 0, high: 1, log: true}", ["above 0", "low is 0"]),
        ("gamma: {low: 0.9, high: 1, log: true, complement: true}", ["above 0", "1 - high is 0"]),
        ("batch_size: {low: 1, high: 5, complement: true}", ["complement", "whole numbers"]),
        ("batch_size: {low: 1.5, high: 5}", ["low=1.5", "whole numbers"]),
        ("batch_size: {low: 10, high: 25, step: 10}", ["step=10", "whole number of steps"]),
        ("batch_size: {low: 10, high: 30, step: 10, log: true}", ["step=10", "without log"]),
        ("lr_a: {low: 1, high: 2, step: -1}", ["step=-1"]),
        ("start_steps: {low: 0, high: 1, times: steps}", ["times='steps'", "timesteps, action_dimensions"]),
        ("batch_size: {choices: []}", ["choices=[]", "at least one"]),
        ("batch_size: {choices: 64}", ["choices=64", "list"]),
        ("batch_size: {choices: [64, 64]}", ["64 is there already"]),
        ("batch_size: {choices: [64], log: true}", ["'log'", "choices"]),
        ("seed: {choices: [1, 2]}", ["seed can't be searched", "one of its own"]),
        ("opt_type: {choices: [minimize, maximize]}", ["opt_type can't be searched"]),
        ("gamma.x: {low: 0, high: 1}", ["gamma.x is no hyperparameter", "policy_kwargs.n_critics"]),
        ("policy_kwargs.: {low: 0, high: 1}", ["policy_kwargs. is no hyperparameter"]),
        ("lr_a, lr_a: {low: 0, high: 1}", ["lr_a is set by another line"]),
        ("alpha, lr_c: {low: 0, high: 1}", ["alpha is set by another line"]),
        ("policy_kwargs: {choices: [1]}", ["policy_kwargs is set by another line"]),
    ],
)
def test_errors_say_the_line(tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"alpha: {{low: 0.1, high: 1}}\npolicy_kwargs.n_critics: {{low: 2, high: 3}}\n{line}\n")
    with pytest.raises(ConfigError) as error:
        SearchSpace.read(path, SACConfig)
    assert str(error.value).startswith(f"{path}:3: ")
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"gamma": {"low": 0.9, "high": 1.1}}, ["gamma=1.1", "less than or equal to 1"]),
        ({"batch_size": {"low": 0, "high": 10}}, ["batch_size=0", "greater than or equal to 1"]),
        ({"lr_decay_type": {"choices": ["linear", "cosine"]}}, ["'cosine'", "'exponential'"]),
        ({"start_steps": {"low": -0.1, "high": 0.1, "times": "timesteps"}}, ["start_steps=-2000"]),
        ({"lr_a": {"choices": [1e-3, {"type": "linear"}]}}, ["lr_a"]),
    ],
)
def test_values_that_no_config_takes(values: dict[str, Any], words: list[str]) -> None:
    (key,) = values
    with pytest.raises(ConfigError) as error:
        SearchSpace.from_dict(values, SACConfig).check({}, UNITS, SACConfig, lambda config: None)
    assert str(error.value).startswith(f"space: {key}: ")
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


def test_a_schedule_may_be_a_choice() -> None:
    schedule = {"type": "linear", "initial": 1e-3, "final": 1e-5}
    parameter = one("lr_a", choices={"falling": schedule, "constant": 1e-3})
    assert parameter.value("falling", UNITS) == schedule
    assert random.Random(0).choice(parameter.examples()) in ("falling", "constant")


def test_the_policy_is_tried_where_it_is_concerned() -> None:
    tried: list[Any] = []
    values = {"gamma": {"low": 0, "high": 1}, "policy_kwargs.n_critics": {"low": 2, "high": 4}}
    SearchSpace.from_dict(values, SACConfig).check({"alpha": 0.5}, UNITS, SACConfig, tried.append)
    assert [(config.policy_kwargs, config.alpha) for config in tried] == [
        ({"n_critics": 2}, 0.5),
        ({"n_critics": 4}, 0.5),
    ]

    def refuse(config: Any) -> None:
        raise ValueError("policy_kwargs: no")

    with pytest.raises(ConfigError, match=r"space: policy_kwargs\.n_critics: policy_kwargs: no"):
        SearchSpace.from_dict(values, SACConfig).check({}, UNITS, SACConfig, refuse)
