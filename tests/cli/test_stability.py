"""`slc-agents stability`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slc_agents import LAC, SAC
from slc_agents.cli.formatting import with_interval
from slc_agents.evaluation import measure_stability

Command = Callable[..., Any]
SHORT = ("--episodes", 3, "--max-ep-len", 12, "--steady-from", 4)


@pytest.fixture
def model(command: Command) -> LAC:
    model = LAC("MlpPolicy", "slc/Oscillator-v1", seed=0, alpha3=0.5, policy_kwargs={"hidden_sizes": [8]})
    model.save("run/agent.zip")
    return model


def test_it_says_what_was_measured_and_writes_it(command: Command, model: LAC) -> None:
    code, out, err = command("stability", "run", *SHORT)
    assert (code, err) == (0, "")
    result = measure_stability(model, n_episodes=3, max_ep_len=12, steady_from=4)
    for phase in result.phases:
        for estimate in (phase.drift, phase.alpha3_max, phase.delta, phase.cost, phase.lyapunov_value):
            assert with_interval(*estimate) in out
        assert f"{phase.first} to {phase.last}" in out
    assert "mean of L' - L + alpha3 c, alpha3 = 0.5" in out
    assert f"L in the steady phase: {with_interval(*result.decay)} times" in out
    assert "death rate: 0% [0%, 56%]" in out
    assert "it certifies nothing" in out
    assert "guarantee" not in out
    assert json.loads(Path("run/stability/stability.json").read_text())["decay"] == list(result.decay)
    assert Path("run/stability/stability.png").read_bytes().startswith(b"\x89PNG")
    assert "figure: run/stability/stability.png\n" in out


def test_options_act(command: Command, model: LAC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slc_agents.cli.stability.save_figure", lambda figure, out: None)
    assert command("stability", "run/agent.zip", *SHORT, "--seed", 3, "--stochastic", "--out", "x").code == 0
    found = json.loads(Path("x/stability.json").read_text())
    assert (found["seed"], found["deterministic"], found["steady_from"], found["episode_limit"]) == (3, False, 4, 12)


def test_where_no_episode_lives_that_long(command: Command) -> None:
    LAC("MlpPolicy", "slc/CartPoleCost-v1", seed=0, policy_kwargs={"hidden_sizes": [8]}).save("run/agent.zip")
    code, out, _ = command("stability", "run", "--episodes", 2, "--steady-from", 200)
    assert code == 0
    assert "L in the steady phase: not reached\n" in out
    assert "death rate: 100% [34%, 100%]" in out


def test_other_agents_have_no_lyapunov_function(command: Command, model: LAC) -> None:
    SAC("MlpPolicy", "slc/Oscillator-v1", opt_type="minimize", policy_kwargs={"hidden_sizes": [8]}).save("sac.zip")
    code, out, err = command("stability", "sac.zip")
    assert (code, out) == (1, "")
    assert "class SAC, which has no Lyapunov function" in err
    assert "LAC has one" in err
    code, _, err = command("stability", "run", "--env", "Pendulum-v1")
    assert code == 1
    assert "observation space" in err
