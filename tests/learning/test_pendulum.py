"""Pendulum-v1, learned: the promise of the README, over five seeds. Slow."""

from __future__ import annotations

import numpy as np
import pytest

from slc_agents import SAC, zoo
from slc_agents.evaluation import evaluate_policy


def train(kind: str, seed: int) -> SAC:
    if kind == "defaults":
        return SAC("MlpPolicy", "Pendulum-v1", seed=seed).learn(20_000)
    model = zoo.make("sac", "Pendulum-v1", seed=seed)
    assert isinstance(model, SAC)
    return model.learn(10_000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["defaults", "zoo"])
def test_pendulum(kind: str) -> None:
    """The defaults in 20,000 steps, the zoo file's settings in 10,000: at least -180 on average, -230 for each seed."""
    means = []
    for seed in range(5):
        mean, _ = evaluate_policy(train(kind, seed), "Pendulum-v1", 50, seed=10_000 + seed)
        assert mean >= -230, f"seed {seed}: {mean:.1f}"
        means.append(mean)
    assert np.mean(means) >= -180
