"""The copy that acts while a GPU learns: equal to the policy whenever it is asked for an action."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from slc_agents.pytorch.acting_copy import ActingCopy, ActingPolicy, make_acting_policy
from slc_agents.pytorch.policies import MlpPolicy, make_policy
from slc_agents.pytorch.steps import EagerSteps
from tests.pytorch.test_steps import IMAGE, RATES, SMALL_CNN, make_buffer

BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTION = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
OBSERVATIONS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


@pytest.fixture
def learner(make_learner: Any) -> Any:
    """A learner that acts with a copy, on whatever device it learns."""
    learner = make_learner(normalize_observations=True)
    learner.acting_policy = ActingCopy(learner.policy)
    learner.set_learning_rates(RATES)
    return learner


def assert_follows(learner: Any) -> None:
    """It acts as the policy itself does, and has the same statistics."""
    expected = ActingPolicy(learner.policy, learner.device)
    acting, learner.acting_policy = learner.acting_policy, expected
    action = learner.act(OBSERVATIONS, deterministic=True)
    sample = learner.act(OBSERVATIONS, generator=np.random.default_rng(1))
    learner.acting_policy = acting
    np.testing.assert_array_equal(learner.act(OBSERVATIONS, deterministic=True), action)
    np.testing.assert_array_equal(learner.act(OBSERVATIONS, generator=np.random.default_rng(1)), sample)
    for ours, theirs in zip(acting.policy.normalizer.buffers(), learner.policy.normalizer.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_has_memory_of_its_own_and_no_critics(learner: Any) -> None:
    copied = learner.acting_policy.policy
    ours, theirs = ({tensor.data_ptr() for tensor in one.parameters()} for one in (copied, learner.policy))
    assert not ours & theirs
    assert copied.critic is None
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert learner.policy.critic is not None
    assert all(parameter.requires_grad for parameter in learner.policy.actor.parameters())


def test_of_lac_it_has_no_slow_copy_of_the_actor(make_lac_learner: Any) -> None:
    learner = make_lac_learner()
    copied = ActingCopy(learner.policy).policy
    assert copied.critic is copied.critic_target is copied.actor_target is None
    assert {name.split(".")[0] for name, _ in copied.named_parameters()} == {"actor"}
    assert learner.policy.actor_target is not None


def test_it_follows_training_loading_and_whoever_writes_to_the_policy(learner: Any, make_learner: Any) -> None:
    buffer = make_buffer(learner)
    assert_follows(learner)
    before = learner.act(OBSERVATIONS, deterministic=True)
    learner.update(buffer, 2)
    assert (learner.act(OBSERVATIONS, deterministic=True) != before).any()
    assert_follows(learner)
    other = make_learner(seed=3, normalize_observations=True)
    learner.load_state_dict(other.state_dict())
    assert_follows(learner)
    with torch.no_grad():
        learner.policy.actor.mean.bias += 1.0
    assert_follows(learner)
    learner.policy.load_state_dict(make_learner(seed=4, normalize_observations=True).policy.state_dict())
    assert_follows(learner)
    learner.policy.actor.mean.weight.data = -learner.policy.actor.mean.weight.data
    assert_follows(learner)
    learner.update(buffer, 1)
    assert_follows(learner)


def test_what_is_observed_reaches_both(learner: Any, make_learner: Any) -> None:
    twin = make_learner(normalize_observations=True)
    for i in range(4):
        observed = np.random.default_rng(i).normal(i, 2, (3, 3)).astype(np.float32)
        learner.observe(observed)
        twin.observe(observed)
        for ours, theirs in zip(learner.policy.normalizer.buffers(), twin.policy.normalizer.buffers(), strict=True):
            assert torch.equal(ours, theirs)
        assert_follows(learner)
    assert float(learner.policy.normalizer.count) == 12
    learner.load_state_dict(make_learner(normalize_observations=True).state_dict())
    learner.observe(OBSERVATIONS)  # goes on from what was loaded
    assert float(learner.policy.normalizer.count) == 5
    assert_follows(learner)


def test_nothing_is_copied_when_nothing_changed(learner: Any) -> None:
    learner.act(OBSERVATIONS)
    learner.observe(OBSERVATIONS)
    flat = max((ours for ours, _ in learner.acting_policy._pairs), key=torch.numel)  # the actor's parameters
    version = flat._version
    for _ in range(3):
        learner.observe(OBSERVATIONS)
        learner.act(OBSERVATIONS)
    assert flat._version == version
    learner.update(make_buffer(learner), 1)
    learner.act(OBSERVATIONS)
    assert flat._version == version + 1


def test_the_actor_is_copied_in_one_move(learner: Any) -> None:
    learner.acting_policy.follow()
    # The actor's parameters, and the normaliser's three buffers.
    assert len(learner.acting_policy._pairs) == 4


def test_small_known_policies_have_one_where_there_is_a_gpu() -> None:
    class Own(MlpPolicy):
        pass

    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    mlp, gsde = (make_policy(name, BOX, ACTION, {"hidden_sizes": [8]}, 0) for name in ("MlpPolicy", "GSDEPolicy"))
    cnn = make_policy("CnnPolicy", IMAGE, ACTION, SMALL_CNN, 0)
    odd = make_policy("MlpPolicy", BOX, ACTION, {"activation": type("Act", (nn.ReLU,), {})}, 0)
    for policy in (mlp, gsde):
        assert type(make_acting_policy(policy, cuda)) is ActingCopy
    for policy in (cnn, odd, Own(BOX, ACTION)):
        itself = make_acting_policy(policy, cuda)
        assert type(itself) is ActingPolicy
        assert itself.policy is policy
        assert itself.device == cuda
    for device in (cpu, torch.device("mps")):
        assert type(make_acting_policy(mlp, device)) is ActingPolicy


def test_it_follows_a_block_that_was_broken_off(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step, done = learner.step, []

    def step_once(*args: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return step(*args)

    monkeypatch.setattr(learner, "steps", EagerSteps())
    monkeypatch.setattr(learner, "step", step_once)
    before = learner.act(OBSERVATIONS, deterministic=True)
    with pytest.raises(KeyboardInterrupt):
        learner.update(make_buffer(learner), 3)
    assert (learner.act(OBSERVATIONS, deterministic=True) != before).any()
    assert_follows(learner)
