"""Each hyperparameter is an option, and arrives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slc_agents import LACConfig, SACConfig
from slc_agents.cli.flags import given_hyperparameters
from slc_agents.cli.main import build_parser
from slc_agents.schedulers import ConstantScheduler, LinearScheduler

Command = Callable[..., Any]
# For each field: what is typed, and what the config then holds; none of them is the default.
VALUES: dict[str, tuple[list[str], Any]] = {
    "opt_type": (["minimize"], "minimize"),
    "n_envs": (["3"], 3),
    "policy_kwargs": (["{hidden_sizes: {actor: [64, 64]}}"], {"hidden_sizes": {"actor": [64, 64]}}),
    "max_ep_len": (["50"], 50),
    "epochs": (["7"], 7),
    "steps_per_epoch": (["1e3"], 1000),
    "start_steps": (["11"], 11),
    "update_every": (["12"], 12),
    "update_after": (["13"], 13),
    "steps_per_update": (["14"], 14),
    "num_test_episodes": (["0"], 0),
    "alpha": (["0.5"], 0.5),
    "gamma": ([".9"], 0.9),
    "polyak": (["9e-1"], 0.9),
    "target_entropy": (["-2.5"], -2.5),
    "adaptive_temperature": ([], False),
    "lr_a": (["{type: linear, initial: 1e-3, final: 1e-5}"], LinearScheduler(1e-3, 1e-5)),
    "lr_c": (["1e-3"], 1e-3),
    "lr_alpha": (["0.25"], 0.25),
    "lr_a_final": (["1e-6"], 1e-6),
    "lr_c_final": (["1e-7"], 1e-7),
    "lr_alpha_final": (["0"], 0.0),
    "lr_decay_type": (["constant"], "constant"),
    "lr_a_decay_type": (["exponential"], "exponential"),
    "lr_c_decay_type": (["constant"], "constant"),
    "lr_alpha_decay_type": (["linear"], "linear"),
    "lr_decay_ref": (["step"], "step"),
    "batch_size": (["32"], 32),
    "replay_size": (["1_000"], 1000),
    "seed": (["5"], 5),
    "device": (["cuda:0"], "cuda:0"),
    "compute_kwargs": (["{precision: bfloat16, num_threads: 1}"], {"precision": "bfloat16", "num_threads": 1}),
    "logger_kwargs": (
        ["{output_dir: x, sinks: [csv, tensorboard]}"],
        {"output_dir": "x", "sinks": ["csv", "tensorboard"]},
    ),
    "save_freq": (["2"], 2),
    "start_policy": (["zoo:sac/Pendulum-v1"], "zoo:sac/Pendulum-v1"),
    "start_policy_parts": (["[networks, buffer]"], ("networks", "buffer")),
    "export": ([], True),
}


OF_LAC: dict[str, tuple[list[str], Any]] = {
    "alpha3": (["1"], 1.0),
    "labda": ([".5"], 0.5),
    "labda_min": (["1e-3"], 1e-3),
    "lr_labda": (["{type: constant, value: 1e-3}"], ConstantScheduler(1e-3)),
    "lr_labda_final": (["1e-6"], 1e-6),
    "lr_labda_decay_type": (["exponential"], "exponential"),
    "horizon_length": (["5"], 5),
    "terminal_cost": (["zero"], "zero"),
    "terminal_horizon": (["250"], 250),
}
NEEDED_BY: dict[str, dict[str, Any]] = {"terminal_horizon": {"terminal_cost": "absorbing"}}


def given(*arguments: str, algo: str = "sac") -> dict[str, Any]:
    return given_hyperparameters(build_parser().parse_args(["train", algo, "Pendulum-v1", *arguments]))


def test_the_table_is_complete() -> None:
    assert list(VALUES) == [field.name for field in dataclasses.fields(SACConfig)]
    assert {*VALUES, *OF_LAC} == {field.name for field in dataclasses.fields(LACConfig)}


@pytest.mark.parametrize("name", OF_LAC)
def test_an_option_of_lac_reaches_its_field(name: str) -> None:
    typed, expected = OF_LAC[name]
    received = given(f"--{name.replace('_', '-')}", *typed, algo="lac")
    assert list(received) == [name]
    config = LACConfig(**received, **NEEDED_BY.get(name, {}))
    assert getattr(config, name) == expected
    assert type(getattr(config, name)) is type(expected)
    assert getattr(LACConfig(), name) != expected


def test_the_help_says_whose_an_option_is(command: Command) -> None:
    out = " ".join(command("train", "--help").out.split())
    for name, text in LACConfig.descriptions().items():
        if name in OF_LAC:
            start = text.split(":")[0]
            assert f"--{name.replace('_', '-')} " in out
            assert f"Only lac. {start}" in out
    assert "minimize for lac" in out


@pytest.mark.parametrize("name", VALUES)
def test_an_option_reaches_its_field(name: str) -> None:
    typed, expected = VALUES[name]
    flag = f"--{'' if expected is not False else 'no-'}{name.replace('_', '-')}"
    received = given(flag, *typed)
    assert list(received) == [name]
    needed = {"export": {"logger_kwargs": {"output_dir": "x"}}, "start_policy_parts": {"start_policy": "x"}}
    config = SACConfig(**received, **needed.get(name, {}))
    assert getattr(config, name) == expected
    assert type(getattr(config, name)) is type(expected)
    assert getattr(SACConfig(), name) != expected


def test_only_options_that_are_given_count() -> None:
    assert given() == {}
    assert given("--no-export", "--adaptive-temperature") == {"export": False, "adaptive_temperature": True}


@pytest.mark.parametrize("text", ["None", "null", "~"])
def test_nothing(text: str) -> None:
    assert given("--max-ep-len", text) == {"max_ep_len": None}


def test_paths_are_no_yaml() -> None:
    assert given("--start-policy", "runs/x: y #1", "--device", "1") == {"start_policy": "runs/x: y #1", "device": "1"}


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("20000", 20_000), ("1e6", 1_000_000), ("1_000", 1000)])
def test_whole_numbers(text: str, number: int) -> None:
    args = build_parser().parse_args(["train", "sac", "Pendulum-v1", "--total-timesteps", text])
    assert args.total_timesteps == number
    assert type(args.total_timesteps) is int


def test_the_help_has_each_option_with_its_text_and_default(command: Command) -> None:
    out = " ".join(command("train", "--help").out.split())
    for name, text in SACConfig.descriptions().items():
        assert f"--{name.replace('_', '-')}" in out
        assert text.split(":")[0] in out
    assert "(default: 0.0001)" in out
    assert "(default: 1000000)" in out


def test_options_reach_the_run(small: list[str], command: Command) -> None:
    assert command("train", "sac", "Pendulum-v1", *small, "--out", "x", "--gamma", ".5", "--export").code == 0
    text = Path("x/config.yaml").read_text()
    assert "gamma: 0.5\n" in text
    assert "export: true\n" in text
    assert Path("x/policy.pt").exists()
