"""The TensorFlow agents learn what PyTorch's do. Slow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slc_agents import zoo
from slc_agents.evaluation import evaluate_policy
from slc_agents.tf2 import SAC
from tests.support.backends import needs_tensorflow

pytestmark = [pytest.mark.slow, needs_tensorflow]


def score(model: Any, env: str, episodes: int, seed: int) -> float:
    mean, _ = evaluate_policy(model, env, episodes, seed=seed)
    return float(mean)  # type: ignore[arg-type]


def test_pendulum() -> None:
    """The defaults, in 20,000 steps: at least -180 on average of three seeds, as PyTorch's."""
    means = [
        score(SAC("MlpPolicy", "Pendulum-v1", seed=seed).learn(20_000), "Pendulum-v1", 50, 10_000 + seed)
        for seed in range(3)
    ]
    print(means)
    assert np.mean(means) >= -180


def test_oscillator() -> None:
    """LAC's costs are those of PyTorch's: their means over three seeds differ by no more than the seeds do.

    With the zoo's settings, in less than a third of their steps.
    """
    env = "slc/Oscillator-v1"
    costs: dict[str, list[float]] = {}
    for backend in ("pytorch", "tf2"):
        models = (zoo.make("lac", env, backend=backend, seed=seed, num_test_episodes=0) for seed in range(3))
        costs[backend] = [score(model.learn(30_000), env, 20, 10_000 + seed) for seed, model in enumerate(models)]
    print(costs)
    theirs, ours = costs["pytorch"], costs["tf2"]
    spread = max(max(theirs) - min(theirs), 0.1 * float(np.mean(theirs)))
    assert abs(np.mean(ours) - np.mean(theirs)) <= spread
    assert np.mean(ours) < 300
