"""The normaliser of observations against numpy over all data at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slc_agents.buffers import ReplayBuffer
from slc_agents.pytorch.normalizer import IdentityNormalizer, ObservationNormalizer


def observed(data: np.ndarray, sizes: list[int]) -> ObservationNormalizer:
    normalizer = ObservationNormalizer(data.shape[1])
    start = 0
    for size in sizes:
        normalizer.observe(torch.from_numpy(data[start : start + size]))
        start += size
    assert start == len(data)
    return normalizer


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    offset=st.floats(-1e6, 1e6),
)
def test_moments_are_those_of_all_data(sizes: list[int], seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    data = (offset + rng.normal(0, [0.1, 1.0, 50.0], (sum(sizes), 3))).astype(np.float32)
    normalizer = observed(data, sizes)
    wide = data.astype(np.float64)
    np.testing.assert_allclose(normalizer.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(normalizer.var, wide.var(axis=0), rtol=1e-6, atol=1e-9)
    assert float(normalizer.count) == len(data)


def test_moments_survive_a_huge_offset_and_many_small_additions() -> None:
    data = (1e6 + np.random.default_rng(0).normal(0, 1, (3000, 1))).astype(np.float32)
    normalizer = observed(data, [1] * 3000)
    assert float(normalizer.var) == pytest.approx(float(data.astype(np.float64).var()), rel=1e-6)
    assert all(buffer.dtype == torch.float64 for buffer in normalizer.buffers())


def test_normalises_and_clips_at_ten() -> None:
    data = np.random.default_rng(0).normal(3.0, 2.0, (200, 1)).astype(np.float32)
    normalizer = observed(data, [200])
    mean, var = data.astype(np.float64).mean(), data.astype(np.float64).var()
    x = torch.tensor([[3.0], [-4.0], [1e6], [-1e6]])
    expected = np.clip((x.numpy() - mean) / np.sqrt(var + 1e-8), -10, 10)
    result = normalizer(x)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    assert result[2:].tolist() == [[10.0], [-10.0]]


def test_a_constant_observation_becomes_zero() -> None:
    data = np.full((7, 2), [0.1, 1e7 / 3], np.float32)
    normalizer = observed(data, [1, 2, 4])
    assert not normalizer(torch.from_numpy(data)).any()


def test_is_the_identity_before_any_data() -> None:
    x = torch.tensor([[-9.9, 0.123, 9.9]])
    assert torch.equal(ObservationNormalizer(3)(x), x)


def test_identity_normalizer_leaves_everything() -> None:
    normalizer, x = IdentityNormalizer(), torch.tensor([[1e9, -1e9]])
    normalizer.observe(x)
    assert normalizer(x) is x
    assert not list(normalizer.state_dict())


def test_only_observing_moves_the_moments(make_learner: Any, make_batch: Any) -> None:
    learner = make_learner(normalize_observations=True, batch_size=4)
    first = np.random.default_rng(0).normal(2, 3, (5, 3)).astype(np.float32)
    learner.observe(first)

    def moments() -> dict[str, np.ndarray]:
        return {k: v for k, v in learner.state_dict().items() if k.startswith("normalizer")}

    before = moments()
    assert before["normalizer/count"] == 5
    buffer = ReplayBuffer(50, learner.policy.observation_space, learner.policy.action_space, seed=0)
    for i in range(20):
        o = np.full((1, 3), 100.0 + i, np.float32)
        buffer.add(o, np.zeros((1, 2)), np.zeros(1), o + 1, np.zeros(1, bool), np.zeros(1, bool))
    learner.act(100 + first)
    learner.act(100 + first, deterministic=True)
    learner.set_learning_rates({"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 1e-2})
    learner.update(buffer, 3)
    assert all((moments()[name] == array).all() for name, array in before.items())
    learner.observe(first)
    assert moments()["normalizer/count"] == 10


def test_it_is_the_policy_s_and_acts_on_actor_and_critic(make_learner: Any) -> None:
    learner = make_learner(normalize_observations=True)
    o = np.random.default_rng(0).normal(5, 2, (6, 3)).astype(np.float32)
    raw = learner.act(o, deterministic=True)
    learner.observe(o)
    assert (learner.act(o, deterministic=True) != raw).any()
    np.testing.assert_allclose(learner.policy.features(torch.from_numpy(o)).mean(0), 0, atol=1e-5)
    # One module, which is neither averaged nor copied for the targets.
    assert {k for k in learner.state_dict() if "normalizer" in k} == {
        f"normalizer/{k}" for k in ("mean", "var", "count")
    }
