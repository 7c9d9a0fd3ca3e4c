"""A warm start learns a changed task faster than a cold one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from slc_agents import SAC
from slc_agents.evaluation import evaluate_policy

SETTINGS: dict[str, Any] = {"lr_a": 1e-3, "lr_c": 1e-3, "lr_alpha": 1e-3, "lr_decay_type": "constant"}
SETTINGS |= {"update_after": 100, "update_every": 1, "steps_per_update": 1, "num_test_episodes": 0}
SETTINGS |= {"policy_kwargs": {"hidden_sizes": [64, 64]}}
SEEDS = (0, 1, 2)


def heavier() -> gym.Env[Any, Any]:
    """A pendulum that weighs and measures more."""
    env = gym.make("Pendulum-v1")
    env.unwrapped.m, env.unwrapped.l = 1.1, 1.1  # type: ignore[attr-defined]
    return env


@pytest.mark.slow
def test_a_warm_start_learns_a_changed_task_faster(tmp_path: Path) -> None:
    SAC("MlpPolicy", "Pendulum-v1", seed=0, **SETTINGS).learn(8_000).save(tmp_path / "teacher")

    def score(seed: int, start: Path | None) -> float:
        model = SAC("MlpPolicy", heavier, seed=seed, start_policy=start, **SETTINGS).learn(1_500)
        return evaluate_policy(model, heavier, 20, seed=100 + seed)[0]

    warm = [score(seed, tmp_path / "teacher.zip") for seed in SEEDS]
    cold = [score(seed, None) for seed in SEEDS]
    print(f"after 1,500 steps: warm {np.round(warm)}, cold {np.round(cold)}")
    assert np.mean(warm) > np.mean(cold) + 300
    assert min(warm) > max(cold)
