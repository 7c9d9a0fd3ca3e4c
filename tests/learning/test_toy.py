"""Learning, seen in seconds: tasks whose best action is known, so that whatever is wrong shows."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from slc_agents import SAC
from tests.support.wait import Wait


class Match(gymnasium.Env[Any, Any]):
    """The best action is the observation. One step an episode; a cost instead of a reward, where asked for."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-3.0, 1.0, (1,), np.float32)  # lopsided on purpose

    def __init__(self, sign: float = -1.0, scale: float = 1.0) -> None:
        self.sign, self.scale = sign, scale
        self.observation_space = spaces.Box(-scale, scale, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.wanted = self.np_random.uniform(-1.0, 1.0)
        return np.array([self.wanted * self.scale], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), self.sign * float((action[0] - self.wanted) ** 2), True, False, {}


FAST: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": [32, 32]},
    "lr_a": 3e-3,
    "lr_c": 3e-3,
    "lr_alpha": 3e-3,
    "lr_decay_type": "constant",
    "update_every": 1,
    "update_after": 50,
    "steps_per_update": 1,
    "batch_size": 64,
    "num_test_episodes": 0,
    "steps_per_epoch": 1000,
    "seed": 0,
}


def mean_error(model: SAC, scale: float = 1.0) -> float:
    wanted = np.linspace(-0.95, 0.95, 41, dtype=np.float32)[:, None]
    actions, _ = model.predict(wanted * np.float32(scale), deterministic=True)
    return float(np.abs(actions - wanted).mean())


def test_rewards_are_maximized() -> None:
    model = SAC("MlpPolicy", Match(-1.0), **FAST)
    assert mean_error(model) > 0.4
    assert mean_error(model.learn(1500)) < 0.12


def test_costs_are_minimized() -> None:
    model = SAC("MlpPolicy", Match(+1.0), opt_type="minimize", **FAST)
    assert mean_error(model.learn(1500)) < 0.12


def test_normalisation_makes_large_observations_learnable() -> None:
    scale = 3000.0
    options = {**FAST, "policy_kwargs": {"hidden_sizes": [32, 32], "normalize_observations": True}}
    model = SAC("MlpPolicy", Match(-1.0, scale), **options)
    assert mean_error(model.learn(1500), scale) < 0.15


@pytest.mark.parametrize(("terminates", "value"), [(True, 1 / (1 - 0.9 * 0.8)), (False, 1 / (1 - 0.9))])
def test_a_truncation_bootstraps_and_a_termination_does_not(terminates: bool, value: float) -> None:
    """All states look alike: with gamma = 0.9 and no entropy Q = 1 + 0.9 Q, but where one step in five may end it."""
    options = {**FAST, "gamma": 0.9, "alpha": 0.0, "adaptive_temperature": False, "polyak": 0.9}
    model = SAC("MlpPolicy", Wait(terminates=terminates), **options).learn(1500)
    q = model.policy.critic(torch.zeros(1, 1), torch.zeros(1, 1)).mean().item()
    assert q == pytest.approx(value, rel=0.12)
