"""The tutorial's plant does what its equations say, and the tutorial shows the code of `examples/ball_and_beam`."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents import LAC
from slc_agents.envs import check_env
from slc_agents.envs.disturbances import ParameterChange
from slc_agents.evaluation import evaluate_robustness

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "ball_and_beam"
ID = "BallAndBeam-v0"


@pytest.fixture
def module() -> Iterator[Any]:
    gymnasium.registry.pop(ID, None)  # the tutorial registers it too
    spec = importlib.util.spec_from_file_location("ball_and_beam", FOLDER / "ball_and_beam.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    yield loaded
    gymnasium.registry.pop(ID, None)


def put(plant: Any, *state: float, target: float = 0.0) -> Any:
    plant.reset(seed=0)
    plant.state, plant.target = np.array(state), target
    return plant


def test_the_tutorial_shows_the_example() -> None:
    page = (ROOT / "docs/tutorials/plant_to_controller.md").read_text(encoding="utf-8")
    code = (FOLDER / "ball_and_beam.py").read_text(encoding="utf-8")
    parts = [ast.get_source_segment(code, part) for part in ast.parse(code).body if isinstance(part, ast.ClassDef)]
    assert len(parts) == 2
    for part in parts:
        assert f"\n{part}\n```\n" in page


@pytest.mark.parametrize(("inertia", "divisor"), [(0.4, 1.4), (2 / 3, 5 / 3)])
def test_on_a_beam_at_rest_the_acceleration_is_constant(module: Any, inertia: float, divisor: float) -> None:
    plant = put(module.BallAndBeam(), 0.1, 0.0, 0.1)
    plant.friction, plant.inertia = 0.0, inertia
    observation, *_ = plant.step(np.array([0.1], np.float32))
    a = -9.81 * np.sin(0.1) / divisor
    assert observation[1] == pytest.approx(a * 0.05, rel=1e-5)
    assert observation[0] == pytest.approx(0.1 + a * 0.05**2 / 2, abs=2e-4)  # Euler's steps
    assert observation[2] == pytest.approx(0.1)


def test_the_servo_lags_and_its_turning_flings_the_ball_outwards(module: Any) -> None:
    plant = put(module.BallAndBeam(), 0.2, 0.0, 0.0)
    plant.substeps, plant.gravity, plant.friction = 1_000, 0.0, 0.0
    observation, *_ = plant.step(np.array([0.2], np.float32))
    assert observation[2] == pytest.approx(0.2 * (1 - np.exp(-0.5)), rel=1e-3)
    squared = 2.0**2 * 0.1 / 2 * (1 - np.exp(-1.0))  # the integral of theta_rate², which falls from 2 rad/s
    assert observation[1] == pytest.approx(0.2 * squared / 1.4, rel=1e-2)


def test_cost_end_and_reference(module: Any) -> None:
    plant = put(module.BallAndBeam(), 0.3, 0.0, 0.0, target=0.1)
    plant.friction = 0.0
    _, cost, terminated, _, info = plant.step(np.zeros(1, np.float32))
    assert (cost, terminated) == (pytest.approx(4.0), False)
    assert (info["reference"], info["state_of_interest"]) == (0.1, pytest.approx(0.3))
    assert info["reference_error"] == pytest.approx(0.2)
    plant = put(module.BallAndBeam(), 0.495, 0.5, 0.0, target=0.495)
    _, cost, terminated, *_ = plant.step(np.zeros(1, np.float32))
    assert terminated
    assert cost > 100


def test_it_keeps_the_rules_and_its_parameters_act(module: Any) -> None:
    check_env(ID)
    env = ParameterChange(gymnasium.make(ID), factors={"lag": 3.0})
    env.reset(seed=0)
    put(env.unwrapped, 0.0, 0.0, 0.0)
    env.unwrapped.substeps = 1_000  # type: ignore[attr-defined]
    assert env.step(np.array([0.2], np.float32))[0][2] == pytest.approx(0.2 * (1 - np.exp(-0.05 / 0.3)), rel=1e-3)
    env.close()
    assert env.unwrapped.lag == 0.1  # type: ignore[attr-defined]


def test_the_controller_by_hand_brings_the_ball_to_its_target(module: Any) -> None:
    class Nothing:
        def predict(self, observation: Any, state: Any = None, *args: Any, **keywords: Any) -> Any:
            return np.zeros((len(observation), 1), np.float32), state

    agents = {"LQR": module.LQR(module.BallAndBeam()), "nothing": Nothing()}
    result = evaluate_robustness(agents, "action-bias", [0.0], env=ID, n_episodes=20, opt_type="minimize")
    lqr, nothing = result.rows()
    assert lqr["death_rate"] == 0
    assert lqr["cost"] < nothing["cost"] / 5
    error = result.outcome("LQR", 0.0).tracking_errors
    assert error is not None
    assert error.mean() < 0.06


def test_what_was_exported_runs_the_loop_without_the_package(module: Any, tmp_path: Path) -> None:
    model = LAC("MlpPolicy", ID, seed=0, policy_kwargs={"hidden_sizes": [4]})
    model.export(tmp_path / "policy.pt")
    run = subprocess.run(
        [sys.executable, FOLDER / "run_policy.py", tmp_path / "policy.pt", "3"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        timeout=200,
    )
    rewards = [model_cost(model, seed) for seed in range(3)]
    assert run.stdout.startswith(f"cost {np.mean(rewards):.2f}"[:-1])  # but for rounding


def model_cost(model: Any, seed: int) -> float:
    env, total, ended = gymnasium.make(ID), 0.0, False
    observation, _ = env.reset(seed=seed)
    while not ended:
        action, _ = model.predict(observation, deterministic=True)
        observation, cost, terminated, truncated, _ = env.step(action)
        total, ended = total + float(cost), terminated or truncated
    return total
