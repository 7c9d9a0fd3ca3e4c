"""The hyperparameters' types, ranges, messages and signature."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import io
import json
import pickle
import pydoc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import nn

import slc_agents.agents.lac
import slc_agents.agents.sac
from slc_agents import LAC, SAC, LACConfig, SACConfig
from slc_agents.agents.config import AgentConfig
from slc_agents.errors import ConfigError
from slc_agents.schedulers import ConstantScheduler, ExponentialScheduler, LinearScheduler

NAMES = [field.name for field in dataclasses.fields(SACConfig)]
COUNTS = [
    "n_envs",
    "max_ep_len",
    "epochs",
    "steps_per_epoch",
    "update_every",
    "steps_per_update",
    "batch_size",
    "replay_size",
    "save_freq",
]
COUNTS_FROM_0 = ["start_steps", "update_after", "num_test_episodes", "seed"]
FRACTIONS = ["gamma", "polyak"]
RATES = ["lr_a", "lr_c", "lr_alpha"]
FINAL_RATES = ["lr_a_final", "lr_c_final", "lr_alpha_final"]
BOOLS = ["adaptive_temperature", "export"]
DECAY_TYPES = ["lr_decay_type", "lr_a_decay_type", "lr_c_decay_type", "lr_alpha_decay_type"]

BAD: list[tuple[str, Any, str]] = [
    ("start_policy_parts", ["weights"], "'networks', 'temperature', 'optimizers' or 'buffer'"),
    ("start_policy_parts", [], "at least 1 item"),
    *[(name, value, "greater than or equal to 1") for name in COUNTS for value in (0, -1)],
    *[(name, -1, "greater than or equal to 0") for name in COUNTS_FROM_0],
    *[(name, 1.5, "integer") for name in COUNTS + COUNTS_FROM_0],
    *[(name, "many", "integer") for name in COUNTS + COUNTS_FROM_0],
    *[
        (name, True, "not a bool")
        for name in COUNTS + COUNTS_FROM_0 + FRACTIONS + ["alpha", "target_entropy", *FINAL_RATES]
    ],
    *[(name, np.True_, "not a bool") for name in ["batch_size", "gamma"]],
    *[(name, [1], "integer") for name in COUNTS],
    *[(name, None, "integer") for name in COUNTS + COUNTS_FROM_0 if name not in ("max_ep_len", "seed")],
    *[(name, value, "1") for name in FRACTIONS for value in (1.0001, 2)],
    *[(name, -0.1, "greater than or equal to 0") for name in [*FRACTIONS, "alpha", *FINAL_RATES]],
    *[
        (name, float(x), "finite")
        for name in [*FRACTIONS, "alpha", "target_entropy", *FINAL_RATES]
        for x in ("nan", "inf")
    ],
    *[(name, "x", "number") for name in [*FRACTIONS, "alpha", "target_entropy", *RATES, *FINAL_RATES]],
    *[(name, value, ">= 0") for name in RATES for value in (-1e-3, float("nan"), float("inf"), True, None, [1e-3])],
    *[(name, value, "bool") for name in BOOLS for value in (0, 1, "yes", None)],
    *[(name, value, "'linear', 'exponential' or 'constant'") for name in DECAY_TYPES for value in ("cosine", 3)],
    ("lr_decay_type", None, "'linear', 'exponential' or 'constant'"),
    ("opt_type", "max", "'maximize' or 'minimize'"),
    ("opt_type", None, "'maximize' or 'minimize'"),
    ("lr_decay_ref", "steps", "'epoch' or 'step'"),
    ("device", 0, "string"),
    ("policy_kwargs", [("hidden_sizes", [8])], "dictionary"),
    ("logger_kwargs", None, "dictionary"),
    ("compute_kwargs", None, "dictionary"),
    ("lr_a", {"type": "cosine"}, "'constant', 'linear', 'exponential'"),
    ("lr_c", {"type": "linear", "initial": 1e-3}, "initial, final"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_bad_values_name_the_field_the_value_and_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SACConfig(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}=")
    assert repr(value.item() if isinstance(value, np.generic) else value) in message
    assert allowed in message
    assert isinstance(caught.value, ValueError)
    assert "pydantic" not in message


def test_every_field_with_a_range_is_tried() -> None:
    assert set(NAMES) - {name for name, _, _ in BAD} == {"start_policy"}  # a path or anything that has parameters


LAC_NAMES = [field.name for field in dataclasses.fields(LACConfig)]
LAC_BAD: list[tuple[str, Any, str]] = [
    ("opt_type", "maximize", "must be 'minimize': LAC needs a cost"),
    *[("opt_type", value, "must be 'minimize'") for value in ("max", None, 1)],
    *[("alpha3", value, "greater than or equal to 0") for value in (-0.1, -5)],
    *[(name, value, "greater than 0") for name in ("labda", "labda_min") for value in (0, -1)],
    *[(name, 1.01, "less than or equal to 1") for name in ("labda", "labda_min")],
    *[(name, "x", "number") for name in ("alpha3", "labda", "labda_min", "lr_labda", "lr_labda_final")],
    *[(name, True, "not a bool") for name in ("alpha3", "labda", "horizon_length", "terminal_horizon")],
    *[("lr_labda", value, ">= 0") for value in (-1e-3, float("nan"), None)],
    ("lr_labda_final", -1e-3, "greater than or equal to 0"),
    ("lr_labda_decay_type", "cosine", "'linear', 'exponential' or 'constant'"),
    ("horizon_length", -1, "greater than or equal to 0"),
    ("horizon_length", 1.5, "integer"),
    ("terminal_horizon", 0, "greater than or equal to 1"),
    ("terminal_horizon", "many", "integer"),
    *[("terminal_cost", value, "'absorbing' or 'zero'") for value in ("Zero", None, 0)],
]


@pytest.mark.parametrize(("name", "value", "allowed"), LAC_BAD)
def test_bad_values_of_lac_are_named_too(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LACConfig(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r}")
    assert allowed in message
    assert "pydantic" not in message


def test_every_field_of_lac_with_a_range_is_tried() -> None:
    assert {name for name, _, _ in LAC_BAD} == {"opt_type", *LAC_NAMES} - (set(NAMES) - {"opt_type"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labda": 1e-5}, "labda=1e-05: .*labda_min=0.0001"),
        ({"labda": 0.2, "labda_min": 0.3}, "labda=0.2: .*labda_min=0.3"),
        ({"replay_size": 59, "n_envs": 3, "horizon_length": 20}, "replay_size=59: .*60 transitions"),
        ({"terminal_cost": "zero", "horizon_length": 5}, "terminal_cost='zero': with horizon_length=5"),
        ({"terminal_horizon": 9, "horizon_length": 5}, "terminal_horizon=9: with "),
        ({"terminal_horizon": 9}, "terminal_horizon=9: with terminal_cost='restart'"),
        ({"terminal_horizon": 9, "terminal_cost": "zero"}, "terminal_horizon=9: with terminal_cost='zero'"),
        ({"lr_labda": ConstantScheduler(1e-3), "lr_labda_final": 1e-4}, "lr_labda_final=0.0001"),
        ({"alpha": 0}, "alpha=0: .*adaptive_temperature=False"),
    ],
)
def test_contradictions_of_lac(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LACConfig(**fields)
    assert LACConfig(replay_size=60, n_envs=3, horizon_length=20).horizon_length == 20


def test_costs_keep_their_sign_with_lac_alone() -> None:
    assert LACConfig().reward_sign == 1.0
    assert SACConfig(opt_type="minimize").reward_sign == -1.0


@pytest.mark.parametrize(
    ("fields", "target", "value"),
    [
        ({"gamma": 0.5}, (1.0, 0.5), (0.0, 1.0)),
        ({"gamma": 0.5, "terminal_cost": "absorbing", "terminal_horizon": 3}, (1.75, 0.0), (1.75, 0.0)),
        ({"gamma": 1.0, "terminal_cost": "absorbing", "terminal_horizon": 7}, (7.0, 0.0), (7.0, 0.0)),
        ({"gamma": 0.0, "terminal_cost": "absorbing", "terminal_horizon": 400}, (1.0, 0.0), (1.0, 0.0)),
        ({"terminal_cost": "zero"}, (1.0, 0.0), (0.0, 0.0)),
    ],
)
def test_what_stands_for_all_that_would_follow_an_end(
    fields: dict[str, Any], target: tuple[float, float], value: tuple[float, float]
) -> None:
    config = LACConfig(**fields)
    assert (config.terminal_target, config.terminal_value) == (target, value)


def test_a_finite_horizon_counts_the_last_cost_to_its_end() -> None:
    config = LACConfig(horizon_length=5)
    assert config.terminal_value == (5.0, 0.0)
    assert config.absorbing_factor(400) == 5.0


def test_several_mistakes_are_all_named() -> None:
    with pytest.raises(ConfigError, match=r"gamma=2.*; .*epochs=0|epochs=0.*; .*gamma=2"):
        SACConfig(gamma=2, epochs=0)


GOOD: list[tuple[str, Any, Any]] = [
    ("batch_size", np.int64(32), 32),
    ("batch_size", np.float64(32.0), 32),
    ("batch_size", 32.0, 32),
    ("replay_size", 1e5, 100_000),
    ("replay_size", "1e5", 100_000),
    ("replay_size", "1_000", 1000),
    ("seed", "12345678901234567890", 12345678901234567890),
    ("seed", 0, 0),
    ("seed", np.uint32(7), 7),
    ("gamma", np.float32(0.5), 0.5),
    ("gamma", 1, 1.0),
    ("gamma", 0, 0.0),
    ("polyak", "0.5", 0.5),
    ("alpha", "1e-2", 0.01),
    ("target_entropy", -3, -3.0),
    ("target_entropy", np.float64(0.5), 0.5),
    ("lr_a", "1e-3", 1e-3),
    ("lr_a", np.float64(1e-3), 1e-3),
    ("lr_a", 0, 0.0),
    ("lr_a_final", "1e-5", 1e-5),
    ("lr_a_final", 1.0, 1.0),  # it may rise
    ("lr_a_final", 0, 0.0),
    ("adaptive_temperature", np.False_, False),
    ("max_ep_len", None, None),
    ("start_policy", Path("a") / "b", str(Path("a") / "b")),
    ("lr_a", {"type": "linear", "initial": "1e-3", "final": 1e-5}, LinearScheduler(1e-3, 1e-5)),
    ("lr_c", {"type": "constant", "value": 1}, ConstantScheduler(1.0)),
]


@pytest.mark.parametrize(("name", "value", "taken"), GOOD)
def test_values_are_taken_in_every_spelling(name: str, value: Any, taken: Any) -> None:
    result = getattr(SACConfig(**{name: value}), name)
    assert result == taken
    assert type(result) is type(taken)


# -- several fields at once --------------------------------------------------------------------------------------------


def test_a_learned_temperature_starts_above_0() -> None:
    with pytest.raises(ConfigError, match=r"alpha=0.*adaptive_temperature=False"):
        SACConfig(alpha=0)
    assert SACConfig(alpha=0, adaptive_temperature=False).alpha == 0


def test_export_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match=r"export=True.*output_dir"):
        SACConfig(export=True)
    assert SACConfig(export=True, logger_kwargs={"output_dir": "x"}).export


@pytest.mark.parametrize("rate", RATES)
def test_an_exponential_decay_needs_positive_rates(rate: str) -> None:
    for fields in (
        {rate: 0.0, "lr_decay_type": "exponential"},
        {f"{rate}_final": 0.0, f"{rate}_decay_type": "exponential"},
    ):
        with pytest.raises(ConfigError, match=f"{rate}=.*exponential.*> 0"):
            SACConfig(**fields)  # type: ignore[arg-type]
    assert SACConfig(**{f"{rate}_final": 0.0, f"{rate}_decay_type": "constant", "lr_decay_type": "exponential"})  # type: ignore[arg-type]


def half(progress: float) -> float:
    return 1e-3 * (1 - progress / 2)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("schedule", [half, LinearScheduler(1e-3, 1e-4), {"type": "constant", "value": 1e-3}])
def test_a_schedule_contradicts_a_final_rate_and_a_decay_type(rate: str, schedule: Any) -> None:
    for companion, value in ((f"{rate}_final", 1e-5), (f"{rate}_decay_type", "constant"), (f"{rate}_final", 1e-10)):
        with pytest.raises(ValueError, match=f"{companion}={value!r}.*{rate} is a schedule"):
            SACConfig(**{rate: schedule, companion: value})
    config = SACConfig(**{rate: schedule, "lr_decay_type": "exponential"})  # that of the others
    made = config.make_schedule(rate)
    assert made(1.0) == {"half": 5e-4, "linear": 1e-4}.get(
        getattr(schedule, "__name__", getattr(schedule, "type", "")), 1e-3
    )


@pytest.mark.parametrize("rate", RATES)
def test_schedules_from_numbers(rate: str) -> None:
    fields: dict[str, Any] = {rate: 1e-2, f"{rate}_final": 1e-4}
    assert SACConfig(**fields).make_schedule(rate) == LinearScheduler(1e-2, 1e-4)
    assert SACConfig(**fields, lr_decay_type="exponential").make_schedule(rate) == ExponentialScheduler(1e-2, 1e-4)
    assert SACConfig(**fields, lr_decay_type="constant").make_schedule(rate) == ConstantScheduler(1e-2)
    own = {f"{rate}_decay_type": "exponential"}
    assert SACConfig(**fields, **own, lr_decay_type="constant").make_schedule(rate) == ExponentialScheduler(1e-2, 1e-4)
    others = [other for other in RATES if other != rate]
    assert all(SACConfig(**fields, **own).make_schedule(other).type == "linear" for other in others)  # type: ignore[attr-defined]


# -- unknown keywords --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("lr_aa", "'lr_a'"),
        ("epoch", "'epochs'"),
        ("batchsize", "'batch_size'"),
        ("adaptive_temp", "'adaptive_temperature'"),
        ("update_evry", "'update_every'"),
        ("learning_rate", "lr_a, lr_c and lr_alpha"),
        ("tau", "polyak"),
        ("ent_coef", "alpha"),
        ("learning_starts", "update_after"),
        ("train_freq", "update_every"),
        ("gradient_steps", "steps_per_update"),
        ("buffer_size", "replay_size"),
        ("target_update_interval", "polyak"),
        ("tensorboard_log", "logger_kwargs"),
        ("env_fn", "env"),
        ("actor_critic", "policy"),
        ("ac_kwargs", "policy_kwargs"),
        ("net_arch", "policy_kwargs"),
        ("activation_fn", "policy_kwargs={'activation'"),
        ("hidden_sizes", "policy_kwargs={'hidden_sizes'"),
        ("n_critics", "policy_kwargs={'n_critics'"),
        ("zzzzz", "lr_a"),  # nothing is near: all are listed
    ],
)
def test_unknown_keywords_name_the_nearest_or_the_equivalent(keyword: str, hint: str) -> None:
    for make in (
        SACConfig,
        lambda **fields: SACConfig().replace(**fields),
        lambda **fields: SAC("MlpPolicy", "Pendulum-v1", **fields),
        lambda **fields: SAC("MlpPolicy", "Pendulum-v1", SACConfig(), **fields),
    ):
        with pytest.raises(TypeError) as caught:
            make(**{keyword: 1})
        assert repr(keyword) in str(caught.value)
        assert hint in str(caught.value)


def test_unknown_logger_keys_are_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"output_dri.*output_dir"):
        SACConfig(logger_kwargs={"output_dri": "x"})


# -- a config as a value -----------------------------------------------------------------------------------------------


def test_a_config_is_frozen_and_equal_by_value() -> None:
    config = SACConfig(lr_a=1e-3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lr_a = 1.0  # type: ignore[misc]
    assert config == SACConfig(lr_a=1e-3) != SACConfig()
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(TypeError):
        SACConfig("minimize")  # type: ignore[misc]


def test_what_becomes_of_the_caller_s_dicts_does_not_change_it() -> None:
    policy_kwargs: dict[str, Any] = {"hidden_sizes": {"actor": [8]}}
    logger_kwargs: dict[str, Any] = {"sinks": ["csv"]}
    config = SACConfig(policy_kwargs=policy_kwargs, logger_kwargs=logger_kwargs)
    policy_kwargs["hidden_sizes"]["actor"].append(9)
    logger_kwargs["sinks"].append("wandb")
    assert config.policy_kwargs == {"hidden_sizes": {"actor": [8]}}
    assert config.logger_kwargs == {"sinks": ["csv"]}
    assert SACConfig().logger_kwargs is not SACConfig().logger_kwargs


def test_replace_gives_a_validated_copy() -> None:
    config = SACConfig(lr_a=1e-3, gamma=0.5)
    other = config.replace(gamma=0.6, seed=np.int64(3))
    assert (other.gamma, other.seed, other.lr_a, config.gamma, config.seed) == (0.6, 3, 1e-3, 0.5, None)
    assert type(other) is SACConfig
    with pytest.raises(ConfigError, match="gamma=7"):
        config.replace(gamma=7)
    with pytest.raises(ConfigError, match="alpha=0"):
        config.replace(alpha=0)


def test_replace_between_numbers_and_schedules() -> None:
    schedule = LinearScheduler(1e-2, 1e-3)
    config = SACConfig().replace(lr_a=schedule)
    assert config.make_schedule("lr_a") is schedule
    assert config.replace(seed=1).make_schedule("lr_a") is schedule
    assert config.replace(lr_a=1e-2).make_schedule("lr_a") == LinearScheduler(1e-2, 1e-10)
    assert config.replace(lr_a=1e-2, lr_a_final=1e-4).make_schedule("lr_a") == LinearScheduler(1e-2, 1e-4)
    # What belonged to the number goes with it; what is given beside the schedule contradicts it.
    own = SACConfig(lr_a_final=1e-5, lr_a_decay_type="constant", lr_c_final=1e-5).replace(lr_a=schedule)
    assert own.make_schedule("lr_a") is schedule
    assert own.make_schedule("lr_c") == LinearScheduler(3e-4, 1e-5)
    with pytest.raises(ConfigError, match="lr_a_final"):
        SACConfig().replace(lr_a=schedule, lr_a_final=1e-5)


FULL: dict[str, Any] = {
    "opt_type": "minimize",
    "policy_kwargs": {
        "hidden_sizes": {"actor": (8, 9), "critic": np.array([7])},
        "activation": {"actor": nn.Tanh, "critic": "ELU"},
        "output_activation": nn.Identity,
        "n_critics": np.int64(3),
    },
    "lr_a": LinearScheduler(1e-3, 1e-5),
    "lr_c": ConstantScheduler(1e-3),
    "lr_alpha": 3e-4,
    "seed": 2**40,
    "start_policy": Path("somewhere"),
    "start_policy_parts": ("networks", "buffer"),
    "logger_kwargs": {"output_dir": Path("out"), "sinks": ("csv",)},
    "export": True,
}


@pytest.mark.parametrize("fields", [{}, FULL])
def test_round_trips_through_yaml_and_json(fields: dict[str, Any]) -> None:
    config = SACConfig(**fields)
    plain = config.to_dict()
    assert list(plain) == NAMES
    for loaded in (yaml.safe_load(yaml.safe_dump(plain)), json.loads(json.dumps(plain))):
        again = SACConfig(**loaded)
        assert again.to_dict() == plain
        for rate in RATES:
            assert again.make_schedule(rate) == config.make_schedule(rate)
    if fields:
        assert plain["policy_kwargs"] == {
            "hidden_sizes": {"actor": [8, 9], "critic": [7]},
            "activation": {"actor": "Tanh", "critic": "ELU"},
            "output_activation": "Identity",
            "n_critics": 3,
        }
        assert plain["lr_a"] == {"type": "linear", "initial": 1e-3, "final": 1e-5}


def test_settings_of_lac_round_trip_through_yaml() -> None:
    config = LACConfig(alpha3=1.0, lr_labda=LinearScheduler(1e-3, 1e-5), horizon_length=5)
    plain = config.to_dict()
    assert list(plain) == LAC_NAMES
    assert LACConfig(**yaml.safe_load(yaml.safe_dump(plain))) == config


def test_what_only_code_can_say_stays_the_object_it_is() -> None:
    class Own(nn.Module):
        pass

    plain = SACConfig(lr_a=half, policy_kwargs={"activation": Own, "layer": nn.Linear, "gate": nn.Sigmoid}).to_dict()
    assert plain["lr_a"] is half
    assert plain["policy_kwargs"] == {"activation": Own, "layer": nn.Linear, "gate": nn.Sigmoid}


@pytest.mark.parametrize(("config", "names"), [(SACConfig, NAMES), (LACConfig, LAC_NAMES)])
def test_every_field_is_described(config: type[AgentConfig], names: list[str]) -> None:
    descriptions = config.descriptions()
    assert set(descriptions) == set(names)
    assert all(len(text) >= 15 and text.endswith(".") for text in descriptions.values())
    assert "return" not in AgentConfig.descriptions()


# -- the signature -----------------------------------------------------------------------------------------------------

OWN = ["policy", "env", "config", "eval_env", "verbose"]


AGENTS = {
    "SAC": (SAC, SACConfig, slc_agents.agents.sac, NAMES),
    "LAC": (LAC, LACConfig, slc_agents.agents.lac, LAC_NAMES),
}


def written_signature(name: str) -> list[tuple[str, Any]]:
    """Names and defaults of the __init__ that stands under TYPE_CHECKING for editors."""
    tree = ast.parse(Path(str(AGENTS[name][2].__file__)).read_text())
    [agent] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    [guard] = [node for node in agent.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    [init] = [node for node in guard.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    positional = [arg.arg for arg in init.args.args][1:]
    defaults = [ast.literal_eval(node) for node in init.args.defaults]
    keywords = [
        (arg.arg, ast.literal_eval(node))
        for arg, node in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if node
    ]
    return [*zip(positional, defaults, strict=True), *keywords]


def expected_signature(name: str) -> list[tuple[str, Any]]:
    _, config_class, _, names = AGENTS[name]
    defaults = config_class()
    fields = [(field, getattr(defaults, field)) for field in names]
    return [("policy", "MlpPolicy"), ("env", None), ("config", None), ("eval_env", None), ("verbose", 0), *fields]


@pytest.mark.parametrize("name", AGENTS)
def test_the_written_signature_equals_the_config(name: str) -> None:
    written = [(field, {} if default is ... else default) for field, default in written_signature(name)]
    assert written == expected_signature(name)


@pytest.mark.parametrize("name", AGENTS)
def test_inspect_shows_every_keyword_with_its_default(name: str) -> None:
    parameters = inspect.signature(AGENTS[name][0]).parameters
    assert list(parameters) == OWN + AGENTS[name][3]
    for field, default in expected_signature(name):
        if field != "logger_kwargs":  # a new dict each time
            assert parameters[field].default == default, field


def test_help_shows_the_hyperparameters() -> None:
    for agent, word in ((SAC, "steps_per_update"), (LAC, "terminal_horizon")):
        text = io.StringIO()
        pydoc.Helper(output=text)(agent)
        assert "lr_a" in text.getvalue()
        assert word in text.getvalue()
