"""Agents that Stable-Baselines3 saved. The files are written by hand, in its layout; see also test_sb3_real.py."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_files import ACTION, BOX, TRAIN_FREQ, Bomb, make_members, nature_cnn, pickled, write_members, write_sb3
from torch import nn
from torch.nn.functional import conv2d

import slc_agents
from slc_agents.compat.sb3 import load_agent
from slc_agents.errors import ArchiveError, ConfigError, MissingDependencyError, UnsupportedSpaceError
from slc_agents.schedulers import ConstantScheduler, LinearScheduler

IMAGE = spaces.Box(0, 255, (3, 36, 40), np.uint8)  # 64 numbers after the convolutions
WIDE = spaces.Box(-1, 1, (1200,), np.float32)


class Env(gymnasium.Env[Any, Any]):
    """Random observations, three steps an episode."""

    def __init__(self, observation_space: Any = BOX, action_space: Any = ACTION) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.n = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.n = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.n += 1
        return self.observation_space.sample(), float(action.sum()), False, self.n == 3, {}


def observations(space: Any, n: int = 6) -> Any:
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def forward(policy: Any, prefix: str, x: Any, activation: Any, *, last: bool) -> Any:
    """An MLP of theirs; `last`: whether its last layer has an activation."""
    indices = sorted({int(name.removeprefix(prefix).split(".")[0]) for name in policy if name.startswith(prefix)})
    for i in indices:
        x = x @ policy[f"{prefix}{i}.weight"].T + policy[f"{prefix}{i}.bias"]
        x = activation(x) if i != indices[-1] or last else x
    return x


def their_action(
    policy: Any, features: Any, space: Any = ACTION, activation: Any = torch.relu, clip: Any = None
) -> Any:
    hidden = forward(policy, "actor.latent_pi.", features, activation, last=True)
    mu = "actor.mu." if "actor.mu.weight" in policy else "actor.mu.0."
    mean = forward({f"{mu}0.{k}": policy[f"{mu}{k}"] for k in ("weight", "bias")}, mu, hidden, None, last=False)
    squashed = torch.tanh(mean if clip is None else mean.clamp(-clip, clip)).numpy()
    return space.low + (space.high - space.low) * (squashed + 1) / 2


def their_values(policy: Any, features: Any, actions: Any, part: str = "critic", activation: Any = torch.relu) -> Any:
    inputs = torch.cat([features, actions], dim=1)
    n = len({name.split(".")[1] for name in policy if name.startswith("critic.qf")})
    return torch.stack([forward(policy, f"{part}.qf{i}.", inputs, activation, last=False)[:, 0] for i in range(n)])


def check_values(model: Any, policy: Any, observation: Any, features: Any, activation: Any = torch.relu) -> None:
    ours = {key: torch.as_tensor(v) for key, v in observation.items()} if isinstance(observation, dict) else None
    actions = torch.linspace(-1, 1, 2 * len(features)).reshape(-1, 2)
    with torch.no_grad():
        seen = model.policy.features(torch.as_tensor(observation) if ours is None else ours)
        for part in ("critic", "critic_target"):
            expected = their_values(policy, features, actions, part, activation)
            torch.testing.assert_close(getattr(model.policy, part)(seen, actions), expected, rtol=1e-5, atol=1e-5)


def their_encoding(policy: Any, prefix: str, image: Any) -> Any:
    x = image.float() / 255
    for i, stride in ((0, 4), (2, 2), (4, 1)):
        x = torch.relu(conv2d(x, policy[f"{prefix}cnn.{i}.weight"], policy[f"{prefix}cnn.{i}.bias"], stride))
    weight, bias = (policy[f"{prefix}linear.0.{kind}"] for kind in ("weight", "bias"))
    return torch.relu(x.flatten(1) @ weight.T + bias)


# -- what it computes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("activation", [None, "Tanh", "ELU"])
def test_actions_and_values_are_theirs(tmp_path: Path, version: int, activation: str | None) -> None:
    kwargs = {"activation_fn": f"<class 'torch.nn.modules.activation.{activation}'>"} if activation else {}
    path, members = write_sb3(tmp_path / "a.zip", version=version, n_critics=3, policy_kwargs=kwargs)
    model = load_agent(path)
    function = getattr(nn, activation or "ReLU")()
    observation = observations(BOX)
    features = torch.as_tensor(observation)
    expected = their_action(members["policy.pth"], features, activation=function)
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.01
    check_values(model, members["policy.pth"], observation, features, function)
    assert (model.observation_space, model.action_space) == (BOX, ACTION)


def test_settings_are_theirs(tmp_path: Path) -> None:
    path, _ = write_sb3(tmp_path / "a.zip", n_envs=3, ent_coef="auto_0.2", target_entropy=-1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_agent(tmp_path / "a")  # the suffix may be left out
    config = model.config
    assert (config.gamma, config.polyak, config.batch_size, config.replay_size) == (0.98, 0.99, 32, 5000)
    assert (config.update_every, config.steps_per_update) == (12, 2)  # 4 steps of 3 environments
    # The first steps of 3 until there are 50 transitions, and the first rollout of 12 to end with more than 50.
    assert (config.start_steps, config.update_after, config.seed) == (51, 60, 7)
    assert (config.alpha, config.adaptive_temperature, config.target_entropy) == (0.2, True, -1.5)
    assert [model.schedulers[rate] for rate in config.rates] == [ConstantScheduler(7e-4)] * 3
    assert (model.num_timesteps, model.num_episodes, model.n_updates) == (1000, 5, 900)
    assert path.exists()


def test_a_fixed_temperature_stays(tmp_path: Path) -> None:
    model = load_agent(write_sb3(tmp_path / "a.zip", ent_coef=0.3)[0])
    assert (model.config.alpha, model.config.adaptive_temperature) == (0.3, False)
    assert model.get_parameters()["alpha/fixed_value"] == np.float32(0.3)


def test_minus_one_is_as_many_gradient_steps_as_transitions(tmp_path: Path) -> None:
    config = load_agent(write_sb3(tmp_path / "a.zip", n_envs=2, gradient_steps=-1)[0]).config
    assert (config.update_every, config.steps_per_update) == (8, 8)


@pytest.mark.parametrize("version", [1, 2])
def test_optimisers_go_on(tmp_path: Path, version: int) -> None:
    path, members = write_sb3(tmp_path / "a.zip", version=version)
    tensors = load_agent(path).get_parameters()
    actor = members["actor.optimizer.pth"]["state"]
    names = ["trunk/0/weight", "trunk/0/bias", "trunk/1/weight", "trunk/1/bias", "mean/weight", "mean/bias"]
    for i, name in enumerate([*names, "log_std/weight", "log_std/bias"]):
        for letter, key in (("m", "exp_avg"), ("v", "exp_avg_sq")):
            np.testing.assert_array_equal(tensors[f"optimizer/actor/{name}/{letter}"], actor[i][key].numpy().T)
    critic = members["critic.optimizer.pth"]["state"]
    np.testing.assert_array_equal(tensors["optimizer/critic/1/value/weight/v"], critic[6]["exp_avg_sq"].numpy().T)
    assert [int(tensors[f"optimizer/{group}/step"]) for group in ("actor", "critic", "alpha")] == [5, 5, 5]
    # Our loss of the temperature is α times theirs, and so are its gradients.
    alpha, state = np.exp(np.float32(-1.5)), members["ent_coef_optimizer.pth"]["state"][0]
    np.testing.assert_allclose(tensors["optimizer/alpha/log_value/m"], alpha * state["exp_avg"][0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        tensors["optimizer/alpha/log_value/v"], alpha**2 * state["exp_avg_sq"][0].numpy(), rtol=1e-6
    )
    assert tensors["alpha/log_value"] == np.float32(-1.5)


def test_a_model_that_never_learned_has_fresh_optimisers(tmp_path: Path) -> None:
    tensors = load_agent(write_sb3(tmp_path / "a.zip", step=0)[0]).get_parameters()
    moments = [array for name, array in tensors.items() if name.startswith("optimizer/")]
    assert len(moments) == 2 * (8 + 8 + 1) + 3
    assert not any(array.any() for array in moments)


def test_it_trains_saves_and_exports(tmp_path: Path) -> None:
    model = load_agent(write_sb3(tmp_path / "a.zip")[0], Env(), num_test_episodes=0, steps_per_epoch=20)
    before = model.get_parameters()
    assert np.isfinite(model.evaluate(2)).all()
    model.learn(80)
    after = model.get_parameters()
    assert int(after["optimizer/actor/step"]) == 5 + 2 * 8
    assert not np.array_equal(before["actor/mean/weight"], after["actor/mean/weight"])
    model.save(tmp_path / "ours")
    model.export(tmp_path / "policy.pt")
    loaded = slc_agents.load(tmp_path / "ours")
    observation = observations(BOX)
    action = model.predict(observation, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], action)


def test_overrides_replace_settings(tmp_path: Path) -> None:
    path, _ = write_sb3(tmp_path / "a.zip")
    schedule = LinearScheduler(1e-3, 1e-4)
    model = load_agent(path, lr_a=schedule, batch_size=8, alpha=0.5, verbose=0)
    assert (model.schedulers["lr_a"], model.config.batch_size) == (schedule, 8)
    tensors = model.get_parameters()
    np.testing.assert_allclose(tensors["alpha/log_value"], np.log(0.5), rtol=1e-6)  # it starts afresh
    assert (int(tensors["optimizer/alpha/step"]), int(tensors["optimizer/actor/step"])) == (0, 5)
    assert "alpha/fixed_value" in load_agent(path, adaptive_temperature=False).get_parameters()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"learning_rate": 1e-3}, "lr_a, lr_c and lr_alpha"),
        ({"policy_kwargs": {}}, "the file says"),
        ({"start_policy": "x"}, "the file says"),
    ],
)
def test_overrides_that_are_refused(tmp_path: Path, override: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        load_agent(write_sb3(tmp_path / "a.zip")[0], **override)


# -- gSDE --------------------------------------------------------------------------------------------------------------


def test_gsde(tmp_path: Path) -> None:
    path, members = write_sb3(tmp_path / "a.zip", sde=True, policy_kwargs={"clip_mean": 0.1})
    model = load_agent(path, Env(), num_test_episodes=0, steps_per_epoch=20)
    assert model.policy.actor.noise_steps == 4  # for a rollout, as their default is
    policy, observation = members["policy.pth"], observations(BOX)
    features = torch.as_tensor(observation)
    expected = their_action(policy, features, clip=0.1)
    unclipped = their_action(policy, features)
    assert np.abs(expected - unclipped).max() > 0.01
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(model.get_parameters()["actor/log_std"], policy["actor.log_std"].numpy())
    np.testing.assert_array_equal(
        model.get_parameters()["optimizer/actor/log_std/m"], members["actor.optimizer.pth"]["state"][0]["exp_avg"]
    )
    model.save(tmp_path / "ours")
    loaded = slc_agents.load(tmp_path / "ours", Env())  # without trust: there is no code in it
    np.testing.assert_allclose(loaded.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    loaded.export(tmp_path / "policy.pt")
    loaded.learn(80)
    assert not np.array_equal(loaded.get_parameters()["actor/log_std"], policy["actor.log_std"].numpy())


@pytest.mark.parametrize(
    ("data", "kept", "message"),
    [
        ({"sde_sample_freq": 2}, 2, None),
        ({"sde_sample_freq": 64}, 4, None),
        ({"sde_sample_freq": 1, "train_freq": pickled(b"", "tuple"), "gradient_steps": 1}, 1, None),
        ({"sde_sample_freq": 3}, 3, "sde_sample_freq is 3 and train_freq is 4 steps.*here for 3 each"),
        ({"train_freq": pickled(pickle.dumps(["TrainFreq", 1, "episode"]), "TrainFreq")}, 1, "1 episodes.*for 1 each"),
    ],
)
def test_gsde_keeps_its_noise_as_long_as_theirs(tmp_path: Path, data: Any, kept: int, message: str | None) -> None:
    path, _ = write_sb3(tmp_path / "a.zip", sde=True, **data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_agent(path, update_every=1, steps_per_update=1)
    assert model.policy.actor.noise_steps == kept
    assert [bool(re.search(message, str(one.message))) for one in caught] == [True] if message else not caught


@pytest.mark.parametrize(("use_sde", "start_steps"), [(True, 0), (False, 50)])
def test_a_policy_that_acts_at_once(tmp_path: Path, use_sde: bool, start_steps: int) -> None:
    config = load_agent(write_sb3(tmp_path / "a.zip", sde=use_sde, use_sde_at_warmup=True)[0]).config
    assert (config.start_steps, config.update_after) == (start_steps, 52)


# -- images and Dicts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_images(tmp_path: Path, shared: bool) -> None:
    path, members = write_sb3(
        tmp_path / "a.zip",
        observation_space=IMAGE,
        n_features=10,
        encoder=lambda generator, prefix: nature_cnn(generator, prefix, 3, 64, 10),
        shared=shared,
    )
    if shared:
        with pytest.warns(UserWarning, match="share_features_extractor"):
            model = load_agent(path)
    else:
        model = load_agent(path)
    policy, observation = members["policy.pth"], observations(IMAGE)
    features = their_encoding(policy, "actor.features_extractor.", torch.as_tensor(observation))
    expected = their_action(policy, features)
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    moment = model.get_parameters()["optimizer/critic/encoder/convolutions/0/weight/m"]
    assert moment.any() == (not shared)


def test_images_with_channels_last_in_the_environment(tmp_path: Path) -> None:
    path, members = write_sb3(
        tmp_path / "a.zip",
        observation_space=IMAGE,
        n_features=10,
        encoder=lambda generator, prefix: nature_cnn(generator, prefix, 3, 64, 10),
    )
    last = spaces.Box(0, 255, (36, 40, 3), np.uint8)
    model = load_agent(path, Env(last))
    observation = observations(IMAGE)
    features = their_encoding(members["policy.pth"], "actor.features_extractor.", torch.as_tensor(observation))
    expected = their_action(members["policy.pth"], features)
    action = model.predict(observation.transpose(0, 2, 3, 1), deterministic=True)[0]
    np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-5)
    assert model.observation_space == last


@pytest.mark.parametrize("version", [1, 2])
def test_a_dict_with_an_image_between_vectors(tmp_path: Path, version: int) -> None:
    boxes = {"a": spaces.Box(-1, 1, (2,), np.float32), "m": IMAGE, "z": spaces.Box(-3, 3, (2, 2), np.float32)}
    path, members = write_sb3(
        tmp_path / "a.zip",
        version=version,
        observation_space=spaces.Dict(boxes),
        n_features=16,
        encoder=lambda generator, prefix: nature_cnn(generator, f"{prefix}extractors.m.", 3, 64, 10),
    )
    model = load_agent(path)
    policy, observation = members["policy.pth"], observations(spaces.Dict(boxes))

    def features(part: str) -> Any:
        image = their_encoding(policy, f"{part}.features_extractor.extractors.m.", torch.as_tensor(observation["m"]))
        vectors = [torch.as_tensor(observation[key]).flatten(1) for key in ("a", "z")]
        return torch.cat([vectors[0], image, vectors[1]], dim=1)

    expected = their_action(policy, features("actor"))
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    weight = policy["actor.latent_pi.0.weight"].numpy().T
    np.testing.assert_array_equal(
        model.get_parameters()["actor/head/trunk/0/weight"], np.concatenate([weight[2:12], weight[:2], weight[12:]])
    )
    assert model.observation_space == spaces.Dict(boxes)


def test_a_dict_of_vectors(tmp_path: Path) -> None:
    space = spaces.Dict(
        {"b": spaces.Box(-1, 1, (2,), np.float32), "a": spaces.Box(np.zeros(3), np.arange(1.0, 4.0), dtype=np.float64)}
    )
    path, members = write_sb3(tmp_path / "a.zip", observation_space=space, n_features=5)
    model = load_agent(path)
    observation = observations(space)
    features = torch.cat([torch.as_tensor(observation[key]).float() for key in space.spaces], dim=1)
    expected = their_action(members["policy.pth"], features)
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    check_values(model, members["policy.pth"], observation, features)


# -- spaces ------------------------------------------------------------------------------------------------------------


def test_an_abbreviated_space_needs_the_environment(tmp_path: Path) -> None:
    path, members = write_sb3(tmp_path / "a.zip", observation_space=WIDE)
    assert "..." in members["data"]["observation_space"]["low"]
    with pytest.raises(ArchiveError, match=r"1200 bounds.*env=\.\.\."):
        load_agent(path)
    assert load_agent(path, Env(WIDE)).observation_space == WIDE
    with pytest.raises(ValueError, match="env: its observation space is"):
        load_agent(path, Env(spaces.Box(-1, 1, (1200,), np.float64)))
    for end, value in (("low_repr", "-1.0"), ("high_repr", "1.0")):  # as versions before 1.0 of gymnasium show
        members["data"]["observation_space"][end] = value
    assert load_agent(write_members(path, members)).observation_space == WIDE


@pytest.mark.parametrize(
    "env",
    [
        Env(spaces.Box(-1, 1, (3,), np.float32)),
        Env(spaces.Box(-1, 1, (4,), np.float32)),
        Env(spaces.Dict({"a": BOX})),
        Env(BOX, spaces.Box(-1, 1, (2,), np.float32)),
    ],
)
def test_another_environment_is_refused(tmp_path: Path, env: Any) -> None:
    with pytest.raises(ValueError, match=r"env: its .* space is"):
        load_agent(write_sb3(tmp_path / "a.zip")[0], env)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (pickled(b"", "gymnasium.spaces.discrete.Discrete", n="5"), "has a Discrete"),
        (pickled(b"", "gymnasium.spaces.dict.Dict", spaces="{'a': Discrete(3)}"), "a Dict of Boxes is needed"),
        (
            pickled(b"", "gymnasium.spaces.box.Box", dtype="float32", _shape=[2], low="[1. 2. 3.]", high="[4. 5.]"),
            "3 num",
        ),
        (pickled(b"", "gymnasium.spaces.box.Box", dtype="object", _shape=[2], low="[1. 2.]", high="[4. 5.]"), "dtype"),
        (pickled(b"", "gymnasium.spaces.box.Box", dtype="float32", _shape=[10**9], low="[1.]", high="[2.]"), "shape"),
        (pickled(b"", "numpy.ndarray"), "no space of gymnasium's"),
        (None, "no space of gymnasium's"),
    ],
)
def test_spaces_that_cannot_be_read(tmp_path: Path, space: Any, message: str) -> None:
    members = make_members()
    members["data"]["observation_space"] = space
    with pytest.raises((ArchiveError, UnsupportedSpaceError), match=message):
        load_agent(write_members(tmp_path / "a.zip", members))


def test_uint8_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSpaceError, match="uint8 that is no image"):
        load_agent(write_sb3(tmp_path / "a.zip", observation_space=spaces.Box(0, 255, (3,), np.uint8))[0])


# -- statistics of observations ----------------------------------------------------------------------------------------

STATISTICS = {
    "mean": np.array([0.1, -0.2, 3.0]),
    "var": np.array([0.5, 2.0, 1e-3]),
    "count": 1000.0,
    "epsilon": 1e-8,
    "clip_obs": 10.0,
}


@pytest.mark.parametrize("form", ["mapping", "npz", "json"])
def test_vec_normalize_becomes_a_part_of_the_policy(tmp_path: Path, form: str) -> None:
    path, members = write_sb3(tmp_path / "a.zip")
    source: Any = STATISTICS
    if form == "npz":
        source = tmp_path / "s.npz"
        np.savez(source, **STATISTICS)
    elif form == "json":
        source = tmp_path / "s.json"
        source.write_text(json.dumps({k: np.asarray(v).tolist() for k, v in STATISTICS.items()}))
    model = load_agent(path, vec_normalize=source)
    observation = observations(BOX)
    mean, var = STATISTICS["mean"], STATISTICS["var"]
    normalized = np.clip((observation - mean) / np.sqrt(var + 1e-8), -10, 10).astype(np.float32)
    assert (np.abs(normalized) == 10).any()
    expected = their_action(members["policy.pth"], torch.as_tensor(normalized))
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    assert model.get_parameters()["normalizer/count"] == 1000


def test_vec_normalize_of_a_dict(tmp_path: Path) -> None:
    space = spaces.Dict({"b": spaces.Box(-1, 1, (2,), np.float32), "a": spaces.Box(-2, 2, (3,), np.float32)})
    path, _ = write_sb3(tmp_path / "a.zip", observation_space=space, n_features=5)
    mean, var = {"b": [4.0, 5.0], "a": [1.0, 2.0, 3.0]}, {"a": [1.0] * 3, "b": [2.0] * 2}
    tensors = load_agent(path, vec_normalize={**STATISTICS, "mean": mean, "var": var}).get_parameters()
    assert tensors["normalizer/mean"].tolist() == [1, 2, 3, 4, 5]
    assert tensors["normalizer/var"].tolist() == [1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match=r"keys \['a', 'b'\]"):
        load_agent(path, vec_normalize={**STATISTICS, "mean": {"a": [1.0] * 3}, "var": var})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_obs": 5.0}, "clip_obs=5"),
        ({"epsilon": 1e-4}, r"epsilon=0\.0001"),
        ({"mean": np.zeros(4)}, r"received shape \(4,\)"),
        ({"var": -np.ones(3)}, "below 0"),
        ({"mean": np.array([0, np.nan, 0])}, "finite"),
    ],
)
def test_statistics_that_would_compute_something_else(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_agent(write_sb3(tmp_path / "a.zip")[0], vec_normalize={**STATISTICS, **change})


def test_statistics_that_cannot_be_read(tmp_path: Path) -> None:
    path, _ = write_sb3(tmp_path / "a.zip")
    marker = tmp_path / "marker"
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(ArchiveError, match=r"numpy\.savez"):
        load_agent(path, vec_normalize=tmp_path / "vecnormalize.pkl")
    np.savez(tmp_path / "objects.npz", **{**STATISTICS, "mean": np.array([Bomb(marker)], object)})
    with pytest.raises(ArchiveError, match="can't be read"):
        load_agent(path, vec_normalize=tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError):
        load_agent(path, vec_normalize=tmp_path / "none.npz")
    with pytest.raises(ValueError, match="lacks count"):
        load_agent(path, vec_normalize={key: value for key, value in STATISTICS.items() if key != "count"})
    assert not marker.exists()


# -- what has no counterpart -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message", "silencer"),
    [
        (
            {"learning_rate": pickled(b"", "function")},
            r"last rate, 0\.0003",
            dict.fromkeys(("lr_a", "lr_c", "lr_alpha"), 1e-3),
        ),
        ({"train_freq": pickled(b"", "tuple")}, "train_freq can't be read", {"update_every": 1, "steps_per_update": 1}),
        (
            {"train_freq": pickled(pickle.dumps(["TrainFreq", 3, "episode"]), "TrainFreq")},
            "train_freq is 3 episodes, gradient_steps is 2",
            {"update_every": 1, "steps_per_update": 1},
        ),
        ({"gradient_steps": 0}, "gradient_steps is 0", {"update_every": 1, "steps_per_update": 1}),
        ({"target_update_interval": 4}, "target_update_interval=4", {"polyak": 0.9}),
        ({"n_steps": 3}, "n_steps=3", None),
        ({"action_noise": pickled(b"", "NormalActionNoise")}, "action_noise", None),
        ({"policy_kwargs": {"optimizer_kwargs": {"eps": 1e-5}}}, "optimizer_kwargs", None),
        ({"policy_kwargs": {"optimizer_class": "<class 'torch.optim.radam.RAdam'>"}}, "optimizer_class", None),
    ],
)
def test_what_training_loses_is_said(tmp_path: Path, data: Any, message: str, silencer: Any) -> None:
    path, _ = write_sb3(tmp_path / "a.zip", **data)
    with pytest.warns(UserWarning, match=message):
        load_agent(path)
    if silencer:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_agent(path, **silencer)


def test_schedules_whose_attributes_are_readable(tmp_path: Path) -> None:
    linear = pickled(b"", "stable_baselines3.common.utils.LinearSchedule", start=1e-3, end=1e-5, end_fraction=1.0)
    model = load_agent(write_sb3(tmp_path / "a.zip", learning_rate=linear)[0])
    assert model.schedulers["lr_c"] == LinearScheduler(1e-3, 1e-5)
    constant = pickled(b"", "stable_baselines3.common.utils.ConstantSchedule", val=2e-3)
    assert load_agent(write_sb3(tmp_path / "a.zip", learning_rate=constant)[0]).config.lr_a == 2e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qf": ()}, "no hidden layers"),
        ({"policy_kwargs": {"activation_fn": "<class '__main__.Own'>"}}, "activation of torch.nn"),
        ({"policy_kwargs": {"features_extractor_class": "<class '__main__.Own'>"}}, "features_extractor_class"),
        ({"policy_kwargs": {"features_extractor_kwargs": {"own": 1}}}, "features_extractor_kwargs"),
        ({"policy_kwargs": {"own": 1}}, "policy_kwargs has own"),
        ({"ent_coef": "often"}, "ent_coef"),
        ({"ent_coef": True}, "ent_coef is True"),
        ({"tau": None}, "tau=None: a finite number"),
        ({"learning_starts": "soon"}, "learning_starts='soon': a whole number"),
        ({"gradient_steps": 0.5}, r"gradient_steps=0\.5"),
        ({"sde": True, "sde_sample_freq": "never"}, "sde_sample_freq='never'"),
        ({"gamma": 2.0}, "gamma"),
        ({"sde": True, "policy_kwargs": {"clip_mean": -1.0}}, r"clip_mean=-1\.0"),
        ({"sde": True, "policy_kwargs": {"use_expln": 1}}, "use_expln=1"),
        ({"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.linear.Bilinear'>"}}, "Bilinear"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, settings: Any, message: str) -> None:
    path, _ = write_sb3(tmp_path / "a.zip", **settings)
    with pytest.raises((ArchiveError, ConfigError), match=message):
        load_agent(path)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("stable_baselines3.td3.policies", "an agent of TD3"),
        ("stable_baselines3.common.policies", "PPO or A2C"),
        ("sb3_contrib.tqc.policies", "an agent of TQC"),
        ("my_project.policies", "class of its author's"),
        (None, "no policy class"),
    ],
)
def test_another_algorithm(tmp_path: Path, module: str | None, message: str) -> None:
    members = make_members()
    members["data"]["policy_class"] = pickled(b"", "abc.ABCMeta", __module__=module)
    with pytest.raises(ArchiveError, match=message):
        load_agent(write_members(tmp_path / "a.zip", members))


# -- hostile and damaged files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_no_pickle_in_the_data_is_run(tmp_path: Path, version: int) -> None:
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Bomb(marker))
    pickle.loads(bomb)
    assert marker.exists(), "the bomb works"
    marker.unlink()
    path, _ = write_sb3(tmp_path / "a.zip", version=version, content=bomb, _last_obs=pickled(bomb, "numpy.ndarray"))
    with pytest.warns(UserWarning, match="train_freq can't be read"):
        load_agent(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "member",
    ["policy.pth", "actor.optimizer.pth", "critic.optimizer.pth", "ent_coef_optimizer.pth", "pytorch_variables.pth"],
)
def test_no_pickle_among_the_tensors_is_run(tmp_path: Path, member: str) -> None:
    marker = tmp_path / "marker"
    members = make_members()
    members[member]["extra"] = Bomb(marker)
    with pytest.raises(ArchiveError, match=f"{member}: damaged, or it holds more than tensors"):
        load_agent(write_members(tmp_path / "a.zip", members))
    members[member] = pickle.dumps(Bomb(marker))
    with pytest.raises(ArchiveError, match=member):
        load_agent(write_members(tmp_path / "a.zip", members))
    assert not marker.exists()


def test_an_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with pytest.raises(MissingDependencyError, match=r"torch >= 2\.10"):
        load_agent(write_sb3(tmp_path / "a.zip")[0])


def test_files_of_others(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_agent(tmp_path / "none")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ArchiveError, match="not a file of Stable-Baselines3"):
        load_agent(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(ArchiveError, match="something else"):
        load_agent(tmp_path / "other.zip")
    slc_agents.SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"hidden_sizes": [4]}).save(tmp_path / "ours")
    with pytest.raises(ArchiveError, match=r"slc_agents\.load"):
        load_agent(tmp_path / "ours.zip")


def test_a_truncated_file(tmp_path: Path) -> None:
    path, _ = write_sb3(tmp_path / "a.zip")
    content = path.read_bytes()
    for part in (0, 0.3, 0.9, 0.999):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ArchiveError):
            load_agent(path)


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    path, _ = write_sb3(tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        load_agent(path)


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="compressed"):
        load_agent(write_members(tmp_path / "a.zip", make_members(), zipfile.ZIP_DEFLATED))


CHANGES: dict[str, Any] = {
    "a missing member": lambda m: m.pop("critic.optimizer.pth"),
    "a missing tensor": lambda m: m["policy.pth"].pop("critic_target.qf1.0.bias"),
    "an unknown tensor": lambda m: m["policy.pth"].update({"actor.own.weight": torch.zeros(2)}),
    "a tensor of no network": lambda m: m["policy.pth"].update({"own": torch.zeros(2)}),
    "another shape": lambda m: m["policy.pth"].update({"actor.mu.bias": torch.zeros(3)}),
    "a scalar": lambda m: m["policy.pth"].update({"actor.latent_pi.0.bias": torch.zeros(())}),
    "integers": lambda m: m["policy.pth"].update({"actor.mu.bias": torch.zeros(2, dtype=torch.int64)}),
    "no tensor": lambda m: m["policy.pth"].update({"actor.mu.bias": 3}),
    "a huge view": lambda m: m["policy.pth"].update({"actor.mu.bias": torch.zeros(1).expand(10**12)}),
    "moments of another shape": lambda m: m["actor.optimizer.pth"]["state"][0].update(exp_avg=torch.zeros(2)),
    "moments that are none": lambda m: m["actor.optimizer.pth"]["state"].update({0: {"exp_avg": "x"}}),
    "a state that is none": lambda m: m["critic.optimizer.pth"].update(state=[1]),
    "parameters that are missing": lambda m: m["critic.optimizer.pth"]["param_groups"][0].update(params=[0]),
    "groups that are missing": lambda m: m["critic.optimizer.pth"].pop("param_groups"),
    "no temperature": lambda m: m["pytorch_variables.pth"].clear(),
    "a list of tensors": lambda m: m.update({"policy.pth": [torch.zeros(2)]}),
    "data that are no JSON": lambda m: m.update({"data": b"{"}),
    "data that are a list": lambda m: m.update({"data": []}),
    "a missing number": lambda m: m["data"].pop("gamma"),
    "a counter that is none": lambda m: m["data"].update(num_timesteps="x"),
    "kwargs that are none": lambda m: m["data"].update(policy_kwargs=[1]),
    "environments that are none": lambda m: m["data"].update(n_envs="x"),
    "deep JSON": lambda m: m.update({"data": b"[" * 100_000}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_garbled_contents(tmp_path: Path, change: str) -> None:
    members = make_members()
    CHANGES[change](members)
    with pytest.raises(ArchiveError, match=r"a\.zip"):
        load_agent(write_members(tmp_path / "a.zip", members))


def test_an_environment_of_the_user_s_stays_open_after_an_error(tmp_path: Path) -> None:
    class Closing(Env):
        closed = False

        def close(self) -> None:
            self.closed = True

    env = Closing(spaces.Box(-1, 1, (4,), np.float32))
    with pytest.raises(ValueError, match="env: its"):
        load_agent(write_sb3(tmp_path / "a.zip")[0], env)
    assert not env.closed


def test_train_freq_is_read_without_running_it() -> None:
    from slc_agents.compat.sb3.settings import _train_frequency

    assert _train_frequency(pickled(TRAIN_FREQ, "TrainFreq")) == (4, "step")
    assert _train_frequency(pickled(pickle.dumps(["TrainFreq", 700, "episode"]), "TrainFreq")) == (700, "episode")
    assert _train_frequency(64) == (64, "step")
    for content in (b"", b"x", TRAIN_FREQ[:-1], pickle.dumps(["TrainFreq", 1, 2, "step"]), pickle.dumps([4, "step"])):
        assert _train_frequency(pickled(content, "TrainFreq")) is None
    assert _train_frequency({":serialized:": "%"}) is _train_frequency(None) is None
