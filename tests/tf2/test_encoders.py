"""Convolutions of the TensorFlow agents: trained, saved for either backend, exported; and encoders of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

import slc_agents
from slc_agents.errors import UnsupportedSpaceError
from slc_agents.tf2 import LAC, SAC
from tests.support.backends import ACTION

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.export import FORMATS  # noqa: E402
from slc_agents.tf2.networks import Convolution, drawing_from  # noqa: E402
from slc_agents.tf2.policies import make_policy  # noqa: E402

IMAGE = Box(0, 255, (9, 8, 3), np.uint8)
PICTURE = Dict({"camera": IMAGE, "state": Box(-5, 5, (2,), np.float32)})
CNN: dict[str, Any] = {"cnn_layers": [(4, 3, 2)], "cnn_features": 6, "hidden_sizes": [8]}
KINDS = {
    "CnnPolicy": IMAGE,
    "MultiInputPolicy": PICTURE,
}


class Camera(gymnasium.Env[Any, Any]):
    """Noise to look at; a cost of 1 a step."""

    action_space = Box(-2.0, 1.0, (2,), np.float32)

    def __init__(self, space: Any = IMAGE) -> None:
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return self.observation_space.sample(), 1.0, False, self.t == 10, {}


def make(cls: Any, policy: str, **policy_kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "update_after": 10,
        "update_every": 10,
        "steps_per_update": 2,
        "steps_per_epoch": 20,
        "batch_size": 8,
        "num_test_episodes": 0,
        "lr_a": 1e-2,
        "replay_size": 100,
        "opt_type": "minimize",
        "seed": 0,
    }
    if cls.backend == "tf2":
        settings["compute_kwargs"] = {"graphs": False}
    space = KINDS[policy]
    return cls(policy, lambda: Camera(space), policy_kwargs={**CNN, **policy_kwargs}, **settings)


def observations(space: Any, n: int) -> Any:
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def floats(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: value.astype(np.float32) for key, value in observation.items()}
    return observation.astype(np.float32)


@pytest.mark.parametrize("share_encoder", [False, True])
@pytest.mark.parametrize(("policy", "name"), [("CnnPolicy", "SAC"), ("MultiInputPolicy", "LAC")])
def test_it_trains_and_its_file_is_one_for_both(tmp_path: Path, policy: str, name: str, share_encoder: bool) -> None:
    theirs, ours = getattr(slc_agents, name), {"SAC": SAC, "LAC": LAC}[name]
    seen = observations(KINDS[policy], 3)
    for first, second in ((ours, theirs), (theirs, ours)):
        model = make(first, policy, share_encoder=share_encoder)
        start = model.get_parameters()
        model.learn(20)
        parts = model.get_parameters()
        assert ("actor/encoder/output/weight" in parts) == (not share_encoder and policy == "CnnPolicy")
        for part, array in parts.items():
            assert (array != start[part]).any(), part
        stored = model.replay_buffer.sample(4).observation
        assert (stored["camera"] if policy == "MultiInputPolicy" else stored).dtype == np.uint8
        model.save(tmp_path / "agent")
        other = second.load(tmp_path / "agent")
        assert other.get_parameters().keys() == parts.keys()
        for part, array in other.get_parameters().items():
            np.testing.assert_array_equal(array, parts[part], err_msg=part)
        expected, _ = model.predict(seen, deterministic=True)
        np.testing.assert_allclose(other.predict(seen, deterministic=True)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("policy", "format"), [("CnnPolicy", "saved_model"), ("CnnPolicy", "tflite"), ("MultiInputPolicy", "saved_model")]
)
def test_it_is_exported(tmp_path: Path, policy: str, format: str) -> None:
    model = make(SAC, policy, normalize_observations=policy == "MultiInputPolicy")
    model._learner.observe(observations(KINDS[policy], 20))
    model.export(tmp_path / "policy", format)
    seen = observations(KINDS[policy], 5)
    expected, _ = model.predict(seen, deterministic=True)
    run = FORMATS[format].load(tmp_path / f"policy{FORMATS[format].suffix}")
    np.testing.assert_allclose(run(floats(seen)), expected, rtol=1e-5, atol=1e-5)


def test_a_block_as_a_graph_equals_single_steps() -> None:
    models = [make(SAC, "CnnPolicy", share_encoder=True).learn(10) for _ in range(2)]
    models[0]._learner.graphed = True
    for model in models:
        model._learner.update(model.replay_buffer, 3)
    graph, single = (model.get_parameters() for model in models)
    for name, array in single.items():
        np.testing.assert_allclose(graph[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_shared_encoder_is_the_critics_alone() -> None:
    policy = make_policy("CnnPolicy", IMAGE, ACTION, {**CNN, "share_encoder": True}, 0, lyapunov=True)
    assert policy.actor.encoder.encoder is policy.critic.encoder
    assert policy.actor_target.encoder.encoder is policy.critic_target.encoder
    assert policy.critic_target.encoder is not policy.critic.encoder
    features = policy.features(observations(IMAGE, 2))
    with tf.GradientTape() as tape:
        action = policy.actor.mean_action(features)
    gradients = tape.gradient(action, [policy.critic.encoder.output.weight, policy.actor.head.mean.weight])
    assert gradients[0] is None
    assert (gradients[1].numpy() != 0).any()


def test_initial_weights_are_uniform_as_torch_s() -> None:
    with drawing_from(np.random.default_rng(0)):
        layer = Convolution(3, 200, 5, 2)
    bound = 1 / np.sqrt(3 * 25)
    for variable in (layer.weight, layer.bias):
        values = variable.numpy()
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)


class Brightness(tf.Module):  # type: ignore[misc]
    """An encoder of one's own: mean and spread of an image, times a factor that is learned."""

    n_features = 2

    def __init__(self, observation_space: Any, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = tf.Variable(factor)

    def __call__(self, observation: Any) -> Any:
        mean, variance = tf.nn.moments(observation, [1, 2, 3])
        return self.factor * tf.stack([mean, variance], axis=1)


def test_an_encoder_of_ones_own() -> None:
    kwargs = {"encoder": Brightness, "encoder_kwargs": {"factor": 2.0}, "hidden_sizes": [4]}
    policy = make_policy("CnnPolicy", IMAGE, ACTION, kwargs, 0)
    seen = np.full((1, 9, 8, 3), 51, np.uint8)
    np.testing.assert_allclose(
        policy.critic.encoder(policy.critic.unflatten(policy.features(seen))), [[2 * 51 / 255, 0]], atol=1e-6
    )
    assert policy.actor.encoder.factor is not policy.critic.encoder.factor


@pytest.mark.parametrize(
    ("policy", "space", "kwargs", "error", "message"),
    [
        ("CnnPolicy", PICTURE, {}, UnsupportedSpaceError, "Use 'MultiInputPolicy'"),
        ("CnnPolicy", Box(-1, 1, (2,)), {}, UnsupportedSpaceError, "Use 'MlpPolicy' for vectors"),
        ("MultiInputPolicy", IMAGE, {}, UnsupportedSpaceError, "Use 'CnnPolicy'"),
        ("CnnPolicy", IMAGE, {"cnn_layers": [(4, 20, 2)]}, ValueError, "images of at least 20x20"),
        ("MultiInputPolicy", PICTURE, {"cnn_layers": [(4, 20, 2)]}, ValueError, "key 'camera': .* at least 20x20"),
        ("CnnPolicy", IMAGE, {"normalize_observations": True}, ValueError, "all that this policy observes are images"),
        ("CnnPolicy", IMAGE, {"share_encoder": 1}, ValueError, "share_encoder=1; True or False"),
        ("CnnPolicy", IMAGE, {"encoder": lambda space: 3}, TypeError, "int with n_features=None; a tf.Module whose"),
        ("CnnPolicy", IMAGE, {"encoder": Brightness, "encoder_kwargs": {"f": 1}}, TypeError, "can't be called as"),
        ("CnnPolicy", IMAGE, {"encoder_kwargs": {"f": 1}}, ValueError, "without an encoder"),
    ],
)
def test_what_does_not_fit_is_refused(policy: str, space: Any, kwargs: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make_policy(policy, space, ACTION, kwargs, 0)
