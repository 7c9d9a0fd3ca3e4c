"""The noise of training's actions, and weights of it that are kept over several steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from slc_agents.learner.exploration import ExplorationNoise
from slc_agents.seeding import make_generator

OBSERVATIONS = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)


def make_noisy(make_learner: Any, noise_steps: int = 4, **kwargs: Any) -> Any:
    return make_learner(policy="GSDEPolicy", noise_steps=noise_steps, log_std_init=-0.5, **kwargs)


def noise_of(learner: Any, action: Any, observation: Any = OBSERVATIONS) -> Any:
    """What was added to the mean before it was squashed."""
    with torch.no_grad():
        actor, features = learner.policy.actor, learner.policy.features(torch.from_numpy(observation))
        return np.arctanh(action.astype(np.float64)) - actor.clip(actor.mean(actor.trunk(features))).numpy()


@pytest.mark.parametrize("use_expln", [False, True])
def test_over_all_weights_the_noise_has_the_policy_s_variance(make_learner: Any, use_expln: bool) -> None:
    """The noise is linear in independent weights: its variance is the sum of the squares of what each contributes."""
    actor = make_noisy(make_learner, use_expln=use_expln, hidden_sizes=[5]).policy.actor.double()
    with torch.no_grad():
        actor.log_std.copy_(torch.linspace(-1.0, 1.0, 10).reshape(5, 2))
        features = torch.from_numpy(OBSERVATIONS).double()
        basis = torch.eye(12, dtype=torch.float64).reshape(12, 6, 2)
        assert actor.weights_shape == (6, 2)
        means = actor.mean_action(features)
        sampled, _ = actor(features, torch.ones(3, 2, dtype=torch.float64))  # mean + standard deviation
        expected = (torch.atanh(sampled) - torch.atanh(means)) ** 2
        actions = torch.stack([actor.explore(features, weights.expand(3, 6, 2)) for weights in basis])
        variance = ((torch.atanh(actions) - torch.atanh(means)) ** 2).sum(dim=0)
    torch.testing.assert_close(variance, expected, rtol=1e-9, atol=0.0)


def test_noise_where_nothing_is_hidden_has_the_least_variance(make_learner: Any) -> None:
    actor = make_noisy(make_learner).policy.actor
    with torch.no_grad():
        for parameter in actor.trunk.parameters():
            parameter.zero_()  # all ReLUs are dead
        actor.mean.bias.zero_()
        weights = torch.full((1, *actor.weights_shape), 2.0)
        assert actor.explore(torch.ones(1, 3), weights).tolist()[0] == pytest.approx([2e-3, 2e-3], rel=1e-5)


def test_samples_over_many_stretches_have_the_policy_s_moments(make_learner: Any) -> None:
    learner = make_noisy(make_learner, noise_steps=2)
    noise = np.array([noise_of(learner, learner.act(OBSERVATIONS)) for _ in range(8000)])[::2]
    with torch.no_grad():
        ones, features = torch.ones(3, 2), learner.policy.features(torch.from_numpy(OBSERVATIONS))
        std = noise_of(learner, learner.policy.actor(features, ones)[0].numpy())
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=4 * std.max() / np.sqrt(4000))
    np.testing.assert_allclose(noise.std(axis=0), std, rtol=0.05)
    between = np.corrcoef(noise[:, 0, 0], noise[:, 1, 0])[0, 1]  # of two environments
    assert abs(between) < 0.06


def test_noise_is_a_function_of_the_state_within_a_stretch_and_another_one_after_it(make_learner: Any) -> None:
    learner = make_noisy(make_learner)
    actions = [learner.act(OBSERVATIONS) for _ in range(12)]
    for i, action in enumerate(actions):
        is_same = [np.array_equal(action, other) for other in actions]
        assert is_same == [i // 4 == j // 4 for j in range(12)], i
    assert np.abs(actions[0] - actions[4]).min() > 1e-4
    other = 2.0 * OBSERVATIONS  # another state, by the same weights
    learner.act(OBSERVATIONS)
    assert (noise_of(learner, learner.act(other), other) != noise_of(learner, learner.act(OBSERVATIONS))).all()


def test_each_environment_has_weights_of_its_own(make_learner: Any) -> None:
    action = make_noisy(make_learner).act(np.repeat(OBSERVATIONS[:1], 5, axis=0))
    assert len(np.unique(action, axis=0)) == 5


def test_weights_follow_the_policy_s_standard_deviation(make_learner: Any) -> None:
    learner = make_noisy(make_learner, noise_steps=100)
    before = noise_of(learner, learner.act(OBSERVATIONS))
    with torch.no_grad():
        learner.policy.actor.log_std.sub_(np.log(2.0))
    np.testing.assert_allclose(noise_of(learner, learner.act(OBSERVATIONS)), before / 2, rtol=0.02, atol=2e-3)


def test_predictions_between_draw_their_own_noise_and_disturb_nothing(make_learner: Any) -> None:
    learner, twin = make_noisy(make_learner), make_noisy(make_learner)
    expected = [twin.act(OBSERVATIONS) for _ in range(6)]
    other, found = np.random.default_rng(1), []
    for _ in range(6):
        first, second = (learner.act(OBSERVATIONS, generator=other) for _ in range(2))
        assert (first != second).all()
        learner.act(OBSERVATIONS[:1], generator=other)
        learner.act(OBSERVATIONS, deterministic=True)
        found.append(learner.act(OBSERVATIONS))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("policy", ["MlpPolicy", "GSDEPolicy"])
def test_by_default_every_step_has_new_noise_from_the_stream_of_actions(make_learner: Any, policy: str) -> None:
    learner, stream = make_learner(policy=policy), make_generator(0, "action")
    for _ in range(3):
        noise = torch.from_numpy(stream.standard_normal((3, 2), dtype=np.float32))
        features = learner.policy.features(torch.from_numpy(OBSERVATIONS))
        expected = learner.policy.actor(features, noise)[0].detach().numpy()
        np.testing.assert_allclose(learner.act(OBSERVATIONS), expected, rtol=1e-5, atol=1e-6)
        assert learner.exploration_state() == {}


def test_gradient_steps_are_those_without_it(make_learner: Any, make_batch: Any) -> None:
    one, other = make_noisy(make_learner), make_noisy(make_learner, noise_steps=1)
    one.act(OBSERVATIONS)
    batch = make_batch(one, 0)
    for learner in (one, other):
        learner.set_learning_rates({"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 1e-2})
        learner.step(*batch)
    for name, tensor in one.state_dict().items():
        np.testing.assert_array_equal(tensor, other.state_dict()[name], err_msg=name)


def test_many_environments_act_by_torch_and_alike(make_learner: Any) -> None:
    many = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    by_numpy, by_torch = make_noisy(make_learner), make_noisy(make_learner)
    by_torch.acting._in_numpy.max_rows = 0
    np.testing.assert_allclose(by_torch.act(many), by_numpy.act(many), rtol=1e-5, atol=1e-6)


# -- what is kept ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5])
def test_its_state_goes_on_in_another_learner(make_learner: Any, steps: int) -> None:
    learner, other = make_noisy(make_learner), make_noisy(make_learner)
    for _ in range(steps):
        learner.act(OBSERVATIONS)
    other.generators["action"].bit_generator.state = learner.generators["action"].bit_generator.state
    other.load_exploration_state(copy.deepcopy(learner.exploration_state()))
    for _ in range(6):
        np.testing.assert_array_equal(other.act(OBSERVATIONS), learner.act(OBSERVATIONS))


def test_another_number_of_environments_has_new_weights(make_learner: Any) -> None:
    learner = make_noisy(make_learner)
    three = learner.act(OBSERVATIONS)
    assert learner.act(OBSERVATIONS[:2]).shape == (2, 2)
    assert (learner.act(OBSERVATIONS) != three).all()


def test_another_actor_has_noise_of_its_own_kind(make_learner: Any) -> None:
    learner = make_noisy(make_learner)
    learner.act(OBSERVATIONS)
    learner.policy.actor = make_learner().policy.actor
    assert (learner.act(OBSERVATIONS) != learner.act(OBSERVATIONS)).all()
    assert learner.exploration_state() == {}


def test_a_shorter_stretch_ends_sooner(make_learner: Any) -> None:
    learner = make_noisy(make_learner, noise_steps=10)
    first = [learner.act(OBSERVATIONS) for _ in range(4)][-1]
    learner.policy.actor.noise_steps = 2
    assert (learner.act(OBSERVATIONS) != first).all()


@pytest.mark.parametrize(
    "state",
    [
        {"weights": np.zeros((3, 2)), "age": 1},
        {"weights": np.full((3, 9, 2), np.nan), "age": 1},
        {"weights": np.zeros((3, 9, 2)), "age": 0},
        {"weights": np.zeros((3, 9, 2)), "age": True},
        {"weights": "x", "age": 1},
    ],
)
def test_a_garbled_state_is_refused(state: dict[str, Any]) -> None:
    noise = ExplorationNoise()
    with pytest.raises(ValueError, match=r"noise weights|age|could not convert"):
        noise.load_state_dict(state)
    assert noise.state_dict() == {}
