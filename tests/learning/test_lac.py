"""LAC learns: on a linear plant with quadratic costs, whose best controller is known; and its values are right."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents import LAC
from slc_agents.evaluation import evaluate_policy
from tests.support.wait import Wait

FAST: dict[str, Any] = {
    "alpha3": 1.0,  # it goes on minimising costs
    "alpha": 0.1,
    "gamma": 0.95,
    "policy_kwargs": {"hidden_sizes": [32, 32]},
    "lr_a": 2e-3,
    "lr_c": 3e-3,
    "lr_alpha": 3e-3,
    "lr_labda": 3e-3,
    "lr_decay_type": "constant",
    "start_steps": 100,
    "update_after": 100,
    "update_every": 1,
    "steps_per_update": 1,
    "batch_size": 64,
    "num_test_episodes": 0,
    "steps_per_epoch": 500,
}


class Plant(gymnasium.Env[Any, Any]):
    """A spring with a damper, pushed; 40 steps."""

    A = np.array([[1.0, 0.2], [-0.1, 0.95]])
    B = np.array([[0.0], [0.2]])
    Q, R = np.diag([1.0, 0.1]), np.array([[0.1]])
    observation_space = spaces.Box(-2.0, 2.0, (2,), np.float64)
    action_space = spaces.Box(-3.0, 3.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-1.0, 1.0, 2), 0
        return self.x, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        u = np.asarray(action, np.float64)
        cost = float(self.x @ self.Q @ self.x + u @ self.R @ u)
        self.x, self.t = np.clip(self.A @ self.x + self.B @ u, -2.0, 2.0), self.t + 1
        return self.x, cost, False, self.t == 40, {}


class Linear:
    """u = -K x."""

    def __init__(self, gain: NDArray[np.float64]) -> None:
        self.gain = gain

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return np.clip(-observation @ self.gain.T, -3.0, 3.0).astype(np.float32), state


def lqr() -> NDArray[np.float64]:
    """The gain that minimises the sum of all costs: the Riccati equation, iterated."""
    a, b, p = Plant.A, Plant.B, Plant.Q
    for _ in range(500):
        gain: NDArray[np.float64] = np.linalg.solve(Plant.R + b.T @ p @ b, b.T @ p @ a)
        p = Plant.Q + a.T @ p @ (a - b @ gain)
    return gain


def cost(model: Any) -> float:
    mean = evaluate_policy(model, Plant, 50, seed=5)[0]
    return float(mean)  # type: ignore[arg-type]


def test_it_comes_near_the_best_controller() -> None:
    best, idle = cost(Linear(lqr())), cost(Linear(np.zeros((1, 2))))
    model = LAC("MlpPolicy", Plant, seed=0, **FAST)
    assert idle > 7 * best
    assert cost(model.learn(1000)) < 1.5 * best


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "allowed"),
    [({}, 1.1), ({"policy_kwargs": {"hidden_sizes": [32, 32], "n_critics": 2}}, 1.1), ({"horizon_length": 8}, 1.35)],
    ids=["infinite", "two critics", "finite"],
)
def test_it_reaches_the_best_controller(changes: dict[str, Any], allowed: float) -> None:
    best = cost(Linear(lqr()))
    for seed in range(3):
        assert cost(LAC("MlpPolicy", Plant, seed=seed, **{**FAST, **changes}).learn(3000)) < allowed * best


ABSORBED = (1 - 0.9**10) / (1 - 0.9)  # ten steps, of which each counts 0.9 of the one before


@pytest.mark.parametrize(
    ("terminates", "changes", "value"),
    [
        (False, {}, 1 / (1 - 0.9)),
        # All states look alike: four steps in five are followed by another one, and one by what stands for the rest.
        (True, {"terminal_cost": "absorbing", "terminal_horizon": 10}, (1 - 0.2 + 0.2 * ABSORBED) / (1 - 0.8 * 0.9)),
        (True, {}, 1 / (1 - 0.9)),  # the next episode goes on where this one has ended
        (True, {"terminal_cost": "zero"}, 1 / (1 - 0.8 * 0.9)),
        (True, {"horizon_length": 3}, 3.0),
    ],
    ids=["cut off", "absorbing", "restart", "nothing follows", "finite horizon"],
)
def test_the_lyapunov_function_becomes_what_costs_are_to_come(
    terminates: bool, changes: dict[str, Any], value: float
) -> None:
    options = {**FAST, "gamma": 0.9, "polyak": 0.8, "alpha": 0.0, "adaptive_temperature": False, "lr_c": 1e-2}
    options |= {"policy_kwargs": {"hidden_sizes": [8]}, "update_every": 20, "steps_per_update": 20, "start_steps": 0}
    model = LAC("MlpPolicy", Wait(terminates=terminates), seed=0, **{**options, **changes}).learn(600)
    found = model.policy.critic(torch.zeros(1, 1), torch.zeros(1, 1)).item()
    assert found == pytest.approx(value, rel=0.12)
