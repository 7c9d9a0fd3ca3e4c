"""The TensorFlow policies: what there is, what a user may bring, and gSDE's exploration."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents.policies import MlpPolicy as TorchPolicy
from tests.support.backends import ACTION, BOX, BackendUnderTest, make_buffer

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.networks import Dense, named_variables  # noqa: E402
from slc_agents.tf2.policies import GSDEPolicy, MlpPolicy, make_policy  # noqa: E402

TENSORFLOW = BackendUnderTest("tf2")
OBSERVATIONS = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"policy='Mlp': allowed are 'MlpPolicy', 'CnnPolicy'.*, or a policy class"):
        make_policy("Mlp", BOX, ACTION, None, 0)
    with pytest.raises(TypeError, match=r"received <class 'slc_agents.pytorch.*subclass of slc_agents\.tf2\.policies"):
        make_policy(TorchPolicy, BOX, ACTION, None, 0)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"hidden_sizes": []}, ValueError, r"hidden_sizes=\[\]; a list"),
        ({"hidden_sizes": {"actors": [3]}}, ValueError, r"hidden_sizes has the keys \['actors'\]"),
        ({"n_critics": 0}, ValueError, "n_critics=0"),
        ({"normalize_observations": 1}, ValueError, "normalize_observations=1; True or False"),
        ({"cnn_features": 3}, TypeError, "it is a keyword of CnnPolicy"),
        ({"net_arch": [3]}, TypeError, "here it is hidden_sizes"),
        ({"lyapunov": True}, TypeError, "the agent says it"),
        ({"use_expln": True}, TypeError, "it is a keyword of GSDEPolicy"),
    ],
)
def test_keywords_are_checked_as_pytorch_s(kwargs: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make_policy("MlpPolicy", BOX, ACTION, kwargs, 0)


def test_lac_has_one_critic_that_is_never_negative_and_a_slow_copy_of_its_actor() -> None:
    policy = make_policy("MlpPolicy", BOX, ACTION, {"hidden_sizes": [4], "activation": "Tanh"}, 0, lyapunov=True)
    value = policy.critic(OBSERVATIONS, OBSERVATIONS[:, :2])
    assert value.shape == (1, 3)
    assert (value.numpy() > 0).all()
    np.testing.assert_array_equal(policy.actor_target.mean_action(OBSERVATIONS), policy.actor.mean_action(OBSERVATIONS))
    assert policy.actor_target.mean.weight is not policy.actor.mean.weight


class Residual(MlpPolicy):
    """A user's own: an encoder that is trained by the critics' loss, and an actor that looks at it."""

    def __init__(self, *spaces: Any, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*spaces, **kwargs)
        self.encoder = Dense(3, 3, tf.tanh)
        self.gain = gain

    def features(self, observation: Any) -> Any:
        flat = super().features(observation)
        return flat + self.gain * self.encoder(flat)


@pytest.mark.parametrize("make", [TENSORFLOW.make_learner, TENSORFLOW.make_lac_learner])
def test_a_policy_of_a_user_s_own_is_trained(make: Any) -> None:
    learner = make(policy=Residual, gain=0.5)
    assert "encoder/weight" in learner.state_dict()
    assert "optimizer/critic/encoder/weight/m" in learner.state_dict()
    before = learner.state_dict()
    learner.set_learning_rates({"lr_c": 1e-2})
    buffer = make_buffer(learner)
    buffer.load_state_dict({**buffer.state_dict(), "reward": np.abs(buffer.state_dict()["reward"])})
    learner.update(buffer, 1)
    after = learner.state_dict()
    assert (after["encoder/weight"] != before["encoder/weight"]).all()
    np.testing.assert_array_equal(after["actor/mean/weight"], before["actor/mean/weight"])


def test_a_policy_that_lacks_parts_is_refused() -> None:
    class Half(tf.Module):  # type: ignore[misc]
        def __init__(self, observation_space: Any, action_space: Any) -> None:
            super().__init__()
            self.observation_space, self.action_space = observation_space, action_space
            self.actor = Dense(3, 2)

    with pytest.raises(TypeError, match=r"Half lacks normalizer, critic, .*Subclass slc_agents\.tf2\.policies\.MlpPol"):
        make_policy(Half, BOX, ACTION, None, 0)


def test_dict_observations_are_joined_in_the_order_of_their_keys() -> None:
    space = gymnasium.spaces.Dict(
        {"b": gymnasium.spaces.Box(0, 255, (2, 1), np.uint8), "a": gymnasium.spaces.Box(-1, 1, (1,), np.float64)}
    )
    policy = make_policy("MlpPolicy", space, ACTION, {"hidden_sizes": [4], "normalize_observations": True}, 0)
    observation = {"b": np.array([[[51], [255]]], np.uint8), "a": np.array([[0.5]], np.float32)}
    np.testing.assert_allclose(policy.flatten(observation), [[0.5, 0.2, 1.0]], rtol=1e-6)
    policy.observe(observation)
    np.testing.assert_allclose(policy.normalizer.mean, [0.5, 0.2, 1.0], rtol=1e-6)
    assert policy.normalizer.count.numpy() == 1.0


# -- gSDE --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_expln", [False, True])
def test_over_all_weights_the_noise_has_the_policy_s_variance(use_expln: bool) -> None:
    """The noise is linear in independent weights: its variance is the sum of the squares of what each contributes."""
    kwargs = {"use_expln": use_expln, "hidden_sizes": [5], "log_std_init": -0.5}
    actor = make_policy("GSDEPolicy", BOX, ACTION, kwargs, 0).actor
    actor.log_std.assign(tf.reshape(tf.linspace(-1.0, 1.0, 10), [5, 2]))
    assert actor.weights_shape == (6, 2)
    means = np.arctanh(actor.mean_action(OBSERVATIONS).numpy())
    sampled, _ = actor(OBSERVATIONS, np.ones((3, 2), np.float32))  # mean + standard deviation
    variance = np.zeros((3, 2))
    for weights in np.eye(12, dtype=np.float32).reshape(12, 6, 2):
        action = actor.explore(OBSERVATIONS, np.broadcast_to(weights, (3, 6, 2)))
        variance += (np.arctanh(action.numpy()) - means) ** 2
    np.testing.assert_allclose(variance, (np.arctanh(sampled.numpy()) - means) ** 2, rtol=1e-4)


def test_weights_are_kept_over_a_stretch_and_go_on_in_another_learner() -> None:
    learner, other = (
        TENSORFLOW.make_learner(policy="GSDEPolicy", noise_steps=3, log_std_init=-0.5, seed=seed) for seed in (0, 0)
    )
    actions = [learner.act(OBSERVATIONS) for _ in range(7)]
    for i, action in enumerate(actions):
        assert [np.array_equal(action, one) for one in actions] == [i // 3 == j // 3 for j in range(7)], i
    other.generators["action"].bit_generator.state = learner.generators["action"].bit_generator.state
    other.load_exploration_state(learner.exploration_state())
    for _ in range(4):
        np.testing.assert_array_equal(other.act(OBSERVATIONS), learner.act(OBSERVATIONS))


def test_its_weights_are_trained() -> None:
    learner = TENSORFLOW.make_learner(policy=GSDEPolicy)
    learner.set_learning_rates({"lr_a": 1e-2})
    before = learner.state_dict()["actor/log_std"]
    learner.update(make_buffer(learner), 1)
    assert (learner.state_dict()["actor/log_std"] != before).any()
    assert dict(named_variables(learner.policy))["actor/log_std"] is learner.policy.actor.log_std
