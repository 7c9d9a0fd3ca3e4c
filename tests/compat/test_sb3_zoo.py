"""Settings of RL Baselines3 Zoo: what becomes of each, and files that mean harm. Nothing in them is ever run."""

from __future__ import annotations

import math
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents import SACConfig
from slc_agents.compat.sb3 import ZooConfig, read_zoo_config
from slc_agents.compat.sb3.hyperparameters import TrainFrequency, kept_noise, training_times
from slc_agents.compat.sb3.python_values import TorchName, parse_python
from slc_agents.errors import ConfigError
from slc_agents.policies import GSDEPolicy
from slc_agents.schedulers import LinearScheduler
from slc_agents.training.loop import blocks_until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "support" / "sb3_zoo.yml"
BASE = "n_timesteps: 5000\n  policy: MlpPolicy\n"  # what each entry has, below `E-v0:`


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "sac.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(tmp_path: Path, *lines: str, **keywords: Any) -> ZooConfig:
    """Reads an entry with these lines, the first of which is the file's fourth."""
    text = f"E-v0:\n  {BASE}" + "".join(f"  {line}\n" for line in lines)
    return read_zoo_config(write(tmp_path, text), "E-v0", **keywords)


def refused(tmp_path: Path, *lines: str, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, *lines, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def changed(config: SACConfig) -> dict[str, Any]:
    """What is not a default of ours."""
    ours = SACConfig().to_dict()
    return {name: value for name, value in config.to_dict().items() if value != ours[name]}


def constant(rate: float) -> dict[str, Any]:
    found = {**dict.fromkeys(("lr_a", "lr_c", "lr_alpha"), rate), "lr_decay_type": "constant", "lr_decay_ref": "step"}
    return {name: value for name, value in found.items() if value != SACConfig().to_dict().get(name)}


def linear(rate: float) -> dict[str, Any]:
    rates = {name: {"type": "linear", "initial": rate, "final": 0.0} for name in ("lr_a", "lr_c", "lr_alpha")}
    finals = dict.fromkeys(("lr_a_final", "lr_c_final", "lr_alpha_final"), None)
    return {**rates, **finals, "lr_decay_type": "constant", "lr_decay_ref": "step"}


# -- a file like theirs ------------------------------------------------------------------------------------------------

EVERY_STEP = {"start_steps": 100, "update_after": 101, "update_every": 1, "steps_per_update": 1}
ROBOT = dict(  # noqa: C408
    epochs=100,
    steps_per_epoch=10_000,
    replay_size=300_000,
    alpha=1.0,
    gamma=0.98,
    polyak=0.98,
    start_steps=10_000,
    update_after=10_048,
    update_every=64,
    steps_per_update=64,
)
NETS = {"hidden_sizes": [400, 300], "log_std_init": -3.0}
EXPECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "MountainCarContinuous-v0": (
        "GSDEPolicy",
        dict(
            epochs=50,
            steps_per_epoch=1000,
            replay_size=50_000,
            batch_size=512,
            gamma=0.9999,
            polyak=0.99,
            alpha=0.1,
            adaptive_temperature=False,
            update_after=32,
            update_every=32,
            steps_per_update=32,
            policy_kwargs={"log_std_init": -3.67, "hidden_sizes": [64, 64], "noise_steps": 32},
            **constant(3e-4),
        ),
    ),
    "Pendulum-v1": ("MlpPolicy", dict(epochs=20, steps_per_epoch=1000, alpha=1.0, **EVERY_STEP, **constant(1e-3))),
    "LunarLanderContinuous-v3": (
        "MlpPolicy",
        dict(
            steps_per_epoch=5000,
            alpha=1.0,
            start_steps=10_000,
            update_after=10_001,
            update_every=1,
            steps_per_update=1,
            policy_kwargs={"hidden_sizes": [400, 300]},
            **linear(7.3e-4),
        ),
    ),
    "Cheetah-v0": ("GSDEPolicy", {**ROBOT, "policy_kwargs": {**NETS, "noise_steps": 64}, **constant(7.3e-4)}),
    "Ant-v0": ("GSDEPolicy", {**ROBOT, "policy_kwargs": {**NETS, "noise_steps": 16}, **linear(7.3e-4)}),
    "Humanoid-v0": (
        "MlpPolicy",
        dict(
            steps_per_epoch=200_000,
            batch_size=64,
            alpha=0.1,
            policy_kwargs={"normalize_observations": True},
            **EVERY_STEP,
            **linear(3e-4),
        ),
    ),
    "Walkers-v0": (
        "GSDEPolicy",
        {
            **ROBOT,
            "n_envs": 4,
            "polyak": 0.99,
            "start_steps": 0,
            "update_after": 1024,  # rollouts of 8 steps in 4 environments: the first that ends with more than 1002
            "update_every": 32,
            "steps_per_update": 32,
            "policy_kwargs": {
                "hidden_sizes": {"actor": [64, 64], "critic": [256, 256]},
                "activation": "Tanh",
                "output_activation": {"actor": "Tanh"},
                "n_critics": 3,
                "use_expln": True,
                "clip_mean": None,
                "noise_steps": 8,
            },
            **constant(7.3e-4),
        },
    ),
    "Pictures-v0": (
        "CnnPolicy",
        dict(
            epochs=1,
            steps_per_epoch=10_007,
            n_envs=2,
            alpha=1.0,
            target_entropy=-1.5,
            start_steps=100,
            update_after=102,
            update_every=2,
            steps_per_update=2,
            policy_kwargs={"hidden_sizes": [32], "cnn_features": 128},
            **constant(3e-4),
        ),
    ),
}


@pytest.mark.parametrize("env_id", EXPECTED)
def test_settings_are_theirs(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_zoo_config(FILE, env_id)
    policy, expected = EXPECTED[env_id]
    ours = SACConfig().to_dict()
    assert (found.env_id, found.policy) == (env_id, policy)
    assert changed(found.config) == {name: value for name, value in expected.items() if value != ours[name]}


def test_rates_that_are_all_replaced_stay_constant_as_theirs_do(tmp_path: Path) -> None:
    config = read(tmp_path, "learning_rate: what is replaced", lr_a=1e-3, lr_c=2e-3, lr_alpha=3e-3).config
    assert (config.lr_decay_type, config.lr_decay_ref) == ("constant", "step")
    assert [config.make_schedule(name)(1.0) for name in ("lr_a", "lr_c", "lr_alpha")] == [1e-3, 2e-3, 3e-3]


def test_an_environment_of_none_of_its_own_has_the_default(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"sb3_zoo.yml: there are no settings for 'Hopper-v5'; those of 'default'"):
        found = read_zoo_config(FILE, "Hopper-v5")
    assert (found.env_id, found.config.epochs, found.config.steps_per_epoch) == ("Hopper-v5", 20, 1000)
    assert found.config.lr_a == found.config.lr_c == 3e-4
    path = write(tmp_path, f"Hopper-v4:\n  {BASE}Ant-v4:\n  {BASE}")
    with pytest.raises(ConfigError, match=r"sac\.yml: has no settings for 'Hopper-v5'; did you mean 'Hopper-v4'\?"):
        read_zoo_config(path, "Hopper-v5")
    with pytest.raises(ConfigError, match="it has Hopper-v4, Ant-v4"):
        read_zoo_config(path, "Reacher")


def test_an_agent_runs_for_as_long_as_they_say(tmp_path: Path) -> None:
    text = "Pendulum-v1:\n  n_timesteps: !!float 300\n  policy: MlpPolicy\n  use_sde: True\n  train_freq: 8\n"
    text += '  batch_size: 8\n  learning_rate: lin_1e-3\n  policy_kwargs: "dict(net_arch=[8], log_std_init=-2)"\n'
    settings = read_zoo_config(write(tmp_path, text), "Pendulum-v1", seed=3, num_test_episodes=0)
    model = settings.make().learn()
    assert isinstance(model.policy, GSDEPolicy)
    assert (model.num_timesteps, model.seed, model.policy.actor.noise_steps) == (300, 3, 8)
    assert model.n_updates == len(range(104, 301, 8))  # one in each rollout that ends after step 100
    assert model.schedulers["lr_alpha"] == LinearScheduler(1e-3, 0.0)


def test_an_environment_may_be_given() -> None:
    def make_env() -> Any:
        return gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), np.float32(-1), np.float32(1))

    model = read_zoo_config(FILE, "Cheetah-v0", n_envs=2).make(make_env)
    assert model.env is not None
    assert (model.env.num_envs, float(model.action_space.high[0])) == (2, 1.0)  # type: ignore[attr-defined]


# -- each key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["tau: 1e-2"], {"polyak": 0.99}),  # which YAML reads as a text
        (["gamma: !!float 1"], {"gamma": 1.0}),
        (["buffer_size: !!float 1e5"], {"replay_size": 100_000}),
        (["ent_coef: auto_0.5"], {"alpha": 0.5, "adaptive_temperature": True}),
        (["ent_coef: !!float 0"], {"alpha": 0.0, "adaptive_temperature": False}),
        (["ent_coef: '0.2'"], {"alpha": 0.2, "adaptive_temperature": False}),
        (["target_entropy: -3"], {"target_entropy": -3.0}),
        (["learning_rate: linear_1e-3"], {"lr_a": LinearScheduler(1e-3, 0.0)}),
        (["learning_rate: !!float 5e-4"], {"lr_a": 5e-4, "lr_c": 5e-4, "lr_alpha": 5e-4}),
        (["train_freq: 4", "gradient_steps: 3"], {"update_every": 4, "steps_per_update": 3, "update_after": 104}),
        (["train_freq: [4, step]", "gradient_steps: -1"], {"update_every": 4, "steps_per_update": 4}),
        (["n_envs: 8"], {"update_every": 8, "steps_per_update": 1, "start_steps": 104, "update_after": 104}),
        (["n_envs: 8", "gradient_steps: -1"], {"update_every": 8, "steps_per_update": 8}),
        (["target_update_interval: 4"], {"polyak": 0.995, "steps_per_update": 1}),  # counted within one block
        (["use_sde_at_warmup: True"], {"start_steps": 100}),  # without use_sde
        (["use_sde: True", "use_sde_at_warmup: True"], {"start_steps": 0, "update_after": 101}),
        (["use_sde: False", "sde_sample_freq: 7"], {"policy_kwargs": None}),
        (["normalize: False"], {"policy_kwargs": None}),
        (['normalize: "dict(norm_obs=False, norm_reward=False)"'], {"policy_kwargs": None}),
        (
            ["normalize: {norm_reward: False, clip_obs: 10., gamma: 0.9, training: True}"],
            {"policy_kwargs": {"normalize_observations": True}},
        ),
        (['policy_kwargs: "dict(log_std_init=-2, clip_mean=1.0, use_expln=True)"'], {"policy_kwargs": None}),
        (["policy_kwargs: \"{'net_arch': (8, 8)}\""], {"policy_kwargs": {"hidden_sizes": [8, 8]}}),
        (
            ['policy_kwargs: "dict(activation_fn=torch.nn.ELU, optimizer_class=th.optim.Adam, n_critics=1)"'],
            {"policy_kwargs": {"activation": "ELU", "output_activation": {"actor": "ELU"}, "n_critics": 1}},
        ),
        (
            ['policy_kwargs: "dict(normalize_images=False, share_features_extractor=True, optimizer_kwargs=None)"'],
            {"policy_kwargs": None},  # of images, of which there are none
        ),
        (["policy_kwargs:"], {"policy_kwargs": None}),
        (
            ["callback:", "frame_stack: null", "env_wrapper: []", "n_steps: 1", "replay_buffer_class: ReplayBuffer"],
            {"update_after": 101},
        ),
        (["noise_std: 0.1", "stats_window_size: 10", "monitor_kwargs: {a: b}"], {"update_after": 101}),
    ],
)
def test_what_a_key_becomes(tmp_path: Path, lines: list[str], expected: dict[str, Any]) -> None:
    config = read(tmp_path, *lines).config
    found = {name: getattr(config, name) for name in expected}
    assert found == expected


def test_images_in_a_dict_have_as_many_features_as_theirs(tmp_path: Path) -> None:
    path = write(tmp_path, f"E-v0:\n  {BASE.replace('Mlp', 'MultiInput')}")
    assert read_zoo_config(path, "E-v0").config.policy_kwargs == {"cnn_features": 256}
    more = '  policy_kwargs: "dict(features_extractor_kwargs=dict(cnn_output_dim=64))"\n'
    path = write(tmp_path, f"E-v0:\n  {BASE.replace('Mlp', 'MultiInput')}{more}")
    assert read_zoo_config(path, "E-v0").config.policy_kwargs == {"cnn_features": 64}


@pytest.mark.parametrize(
    ("total", "given", "expected"),
    [
        (20_000_000, {}, (100, 200_000)),
        (999, {}, (1, 999)),
        (12_345, {}, (5, 2469)),  # 3 · 5 · 823
        (100_003, {}, (1, 100_003)),  # a prime number
        (5000, {"epochs": 10}, (10, 500)),
        (5000, {"steps_per_epoch": 250}, (20, 250)),
        (5000, {"epochs": 3, "steps_per_epoch": 7}, (3, 7)),
    ],
)
def test_a_run_is_cut_into_equal_epochs(
    tmp_path: Path, total: int, given: dict[str, int], expected: tuple[int, int]
) -> None:
    path = write(tmp_path, f"E-v0:\n  n_timesteps: {total}\n  policy: MlpPolicy\n")
    config = read_zoo_config(path, "E-v0", **given).config
    assert (config.epochs, config.steps_per_epoch) == expected


@pytest.mark.parametrize(
    ("n_envs", "train_freq", "learning_starts", "trained", "n_random"),
    [  # seen with stable_baselines3 2.9.2
        (1, 1, 100, [101, 102, 103], 100),
        (2, 4, 10, [16, 24, 32], 10),
        (3, 5, 31, [45, 60, 75], 33),
        (1, 8, 0, [8, 16, 24], 0),
        (1, 10, 30, [40, 50, 60], 30),
    ],
)
def test_gradient_steps_come_when_theirs_do(
    n_envs: int, train_freq: int, learning_starts: int, trained: list[int], n_random: int
) -> None:
    every = train_freq * n_envs
    times = training_times(learning_starts, every, n_envs, acts_at_once=False)
    steps = range(0, trained[-1] + 1, n_envs)
    blocks = [blocks_until(t, times["update_after"], every) for t in steps]
    found = [t for t, before, after in zip(steps[1:], blocks, blocks[1:], strict=False) if after > before]
    assert found == trained
    assert times["start_steps"] == n_random


@pytest.mark.parametrize(
    ("sample_freq", "frequency", "kept"),
    [
        (-1, (64, "step"), 64),
        (0, (64, "step"), 64),
        (16, (64, "step"), 16),
        (100, (64, "step"), 64),
        (1, (7, "step"), 1),
        (2, (5, "step"), None),
        (-1, (1, "episode"), None),
        (64, (1, "episode"), None),
        (1, (1, "episode"), 1),
    ],
)
def test_noise_is_kept_for_as_long_as_theirs(sample_freq: int, frequency: tuple[int, str], kept: int | None) -> None:
    assert kept_noise(sample_freq, TrainFrequency(*frequency)) == kept


# -- overrides, and keys to ignore -------------------------------------------------------------------------------------


def test_overrides_replace_what_is_there() -> None:
    found = read_zoo_config(FILE, "Ant-v0", lr_c=1e-4, batch_size=32, seed=5, policy_kwargs={"noise_steps": 2})
    config = found.config
    assert (config.lr_a, config.lr_c, config.lr_decay_type) == (LinearScheduler(7.3e-4, 0.0), 1e-4, "constant")
    assert (config.batch_size, config.seed, config.policy_kwargs) == (32, 5, {"noise_steps": 2})
    with pytest.raises(TypeError, match="'tau'; here it is polyak"):
        read_zoo_config(FILE, "Ant-v0", tau=0.5)
    with pytest.raises(ConfigError, match=r"^gamma=2"):
        read_zoo_config(FILE, "Ant-v0", gamma=2)
    with pytest.raises(ValueError, match="n_envs=0"):
        read_zoo_config(FILE, "Ant-v0", n_envs=0)


def test_what_has_no_counterpart_can_be_replaced_or_ignored() -> None:
    given: dict[str, Any] = {"update_every": 64, "steps_per_update": 64}
    ignored = ["env_wrapper", "frame_stack", "normalize"]
    found = read_zoo_config(FILE, "Racing-v0", ignore=ignored, **given)
    assert found.policy == "GSDEPolicy"
    assert found.config.policy_kwargs == {"noise_steps": 64}
    assert (found.config.update_every, found.config.steps_per_update, found.config.update_after) == (64, 64, 512)
    assert read_zoo_config(FILE, "Racing-v0", ignore=ignored, n_envs=3, **given).config.policy_kwargs == {
        "noise_steps": 22  # steps of 3 environments in a rollout
    }
    her = read_zoo_config(FILE, "Reach-v1", ignore=["replay_buffer_class", "replay_buffer_kwargs"])
    assert her.config.policy_kwargs == {"cnn_features": 256, "hidden_sizes": [64, 64], "normalize_observations": True}
    assert read_zoo_config(FILE, "Pendulum-v1", ignore="learning_rate").config.lr_a == 3e-4
    with pytest.raises(ConfigError, match=r"ignore=\['env_wraper'\]: .*did you mean 'env_wrapper'"):
        read_zoo_config(FILE, "Pendulum-v1", ignore=["env_wraper"])


def test_overrides_silence_what_they_replace(tmp_path: Path) -> None:
    lines = ["target_update_interval: 4", "train_freq: 8", "gradient_steps: 8", "target_entropy: low", "ent_coef: x"]
    lines += ['policy_kwargs: "dict(own=1)"', "learning_rate: cosine_1"]
    rates = {"lr_a": 1.0, "lr_c": 1.0, "lr_alpha": 1.0}
    given: dict[str, Any] = {"polyak": 0.9, "target_entropy": -1.0, "alpha": 0.3, "adaptive_temperature": False}
    config = read(tmp_path, *lines, policy_kwargs={"hidden_sizes": [3]}, **given, **rates).config
    assert (config.polyak, config.target_entropy, config.alpha, config.lr_c) == (0.9, -1.0, 0.3, 1.0)
    assert config.policy_kwargs == {"hidden_sizes": [3]}
    assert read(tmp_path, "gradient_steps: 0", steps_per_update=5).config.steps_per_update == 5


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("env_wrapper: a.B", ["'a.B'", "make(env=...)", "ignore=['env_wrapper']"]),
        ("env_wrapper: [{a.B: {skip: 2}}]", ["{'a.B': {'skip': 2}}", "make(env=...)"]),
        ("vec_env_wrapper: a.B", ["make(env=...)"]),
        ("env_kwargs: {a: 1}", ["{'a': 1}", "make(env=...)"]),
        ("frame_stack: 4", ["4", "FrameStackObservation"]),
        ("callback: [a.B]", ["learn(callback=...)"]),
        ("noise_type: normal", ["'normal'", "the policy is random itself"]),
        ("n_steps: 3", ["returns of one step"]),
        ("replay_buffer_class: HerReplayBuffer", ["'HerReplayBuffer'", "hindsight"]),
        ('replay_buffer_kwargs: "dict(n_sampled_goal=4)"', ["one replay buffer", "ignore=['replay_buffer_kwargs']"]),
        ("replay_buffer_kwargs: [1]", ["one replay buffer"]),
        ("normalize: True", ["rewards", "NormalizeReward", "norm_reward: False"]),
        ('normalize: "dict(norm_obs=True)"', ["rewards"]),
        ("normalize: {norm_reward: False, clip_obs: 5}", ["clip_obs=5", "10"]),
        ("normalize: {norm_reward: False, own: 5}", ["own=5", "no such keyword"]),
        ("normalize: {norm_reward: False, norm_obs: 1}", ["norm_obs=1"]),
        ("normalize: 3", ["3", "mapping"]),
        ("train_freq: [1, episode]", ["[1, 'episode']", "update_every=..."]),
        ("train_freq: [1, lightyear]", ["step", "episode"]),
        ("train_freq: [0.5, step]", ["whole number"]),
        ("train_freq: 0", ["a whole number of at least 1"]),
        ("train_freq: often", ["'often'", "whole number"]),
        ("gradient_steps: 0", ["nothing would be learned"]),
        ("gradient_steps: -2", ["-2", "at least -1"]),
        ("ent_coef: automatic", ["'automatic'", "auto_0.1"]),
        ("ent_coef: auto_x", ["'auto_x'"]),
        ("ent_coef: auto_0", ["'auto_0'", "alpha=0"]),
        ("ent_coef: True", ["True", "a number"]),
        ("ent_coef: [1]", ["[1]", "a number"]),
        ("learning_rate: cosine_1e-3", ["'cosine_1e-3'", "finite number"]),
        ("learning_rate: lin_", ["'lin_'", "lin_ and a number"]),
        ("learning_rate: lin_nan", ["lin_ and a number"]),
        ("learning_rate: -1", ["-1", "lr_a=-1"]),
        ("learning_rate: .nan", ["nan", "finite number"]),
        ("batch_size: many", ["'many'", "whole number"]),
        ("batch_size: 2.5", ["2.5", "whole number"]),
        ("batch_size: True", ["True", "whole number"]),
        ("buffer_size: 0", ["0", "at least 1"]),
        ("buffer_size: !!float 1e12", ["replay_size=1000000000000", "less than"]),
        ("gamma: 1.5", ["1.5", "gamma=1.5", "less than or equal to 1"]),
        ("gamma: .inf", ["inf", "finite number"]),
        ("tau: 2", ["tau: 2", "polyak=-1.0"]),
        ("learning_starts: -1", ["at least 0"]),
        ("target_entropy: low", ["'low'", "finite number"]),
        ("use_sde: 'yes'", ["'yes'", "True or False"]),
        ("use_sde_at_warmup: 1", ["True or False"]),
        ("n_envs: 0", ["at least 1"]),
        ("policy_kwargs: [64]", ["[64]", "a mapping is needed"]),
        ('policy_kwargs: "[64]"', ["'[64]'", "a mapping is needed"]),
        ('policy_kwargs: "dict(own=1)"', ["own=1", "known are net_arch"]),
        ('policy_kwargs: "dict(net_arch=[])"', ["net_arch=[]", "hidden layer"]),
        ('policy_kwargs: "dict(net_arch=64)"', ["net_arch=64", "lists"]),
        ('policy_kwargs: "dict(net_arch=[64, 0])"', ["a width=0", "at least 1"]),
        ('policy_kwargs: "dict(net_arch=[64, dict(pi=[1], qf=[1])])"', ["a width={'pi'"]),
        ('policy_kwargs: "dict(net_arch=dict(pi=[64]))"', ["dict(pi=[...], qf=[...])"]),
        ('policy_kwargs: "dict(net_arch=dict(pi=[64], vf=[64]))"', ["dict(pi=[...], qf=[...])"]),
        ('policy_kwargs: "dict(activation_fn=nn.Linear)"', ["activation_fn=nn.Linear", "Linear"]),
        ('policy_kwargs: "dict(activation_fn=torch.sin)"', ["activation of torch.nn"]),
        ("policy_kwargs: {activation_fn: nn.ReLU}", ["activation_fn='nn.ReLU'", "activation of torch.nn"]),
        ('policy_kwargs: "dict(n_critics=0)"', ["n_critics=0", "at least 1"]),
        ("policy_kwargs: \"dict(log_std_init='low')\"", ["log_std_init='low'", "finite number"]),
        ('policy_kwargs: "dict(use_expln=1)"', ["use_expln=1", "True or False"]),
        ("policy_kwargs: \"dict(features_extractor_class='own')\"", ["features_extractor_class='own'"]),
        ('policy_kwargs: "dict(features_extractor_kwargs=dict(features_dim=3))"', ["features_dim of CnnPolicy"]),
        ('policy_kwargs: "dict(optimizer_class=torch.optim.SGD)"', ["optimizer_class=torch.optim.SGD", "Adam"]),
        ('policy_kwargs: "dict(optimizer_class=nn.Adam)"', ["Adam"]),
        ('policy_kwargs: "dict(optimizer_kwargs=dict(eps=1e-5))"', ["optimizer_kwargs={'eps': 1e-05}"]),
        ("learning_start: 5", ["learning_start: 5", "did you mean 'learning_starts'"]),
        ("n_epochs: 10", ["n_epochs: 10", "no such key"]),
        ("lr_a: 1", ["lr_a: 1", "no such key"]),
        ("verbose: 1", ["verbose: 1", "no such key"]),
    ],
)
def test_what_has_no_counterpart_is_an_error_that_says_where(tmp_path: Path, line: str, words: list[str]) -> None:
    message = refused(tmp_path, line)
    assert message.startswith(f"sac.yml:4: {line.partition(':')[0]}: ")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["target_update_interval: 4", "train_freq: 8", "gradient_steps: 8"], ["sac.yml:4", "polyak=..."]),
        (["use_sde: True", "train_freq: 5", "sde_sample_freq: 2"], ["sac.yml:6: sde_sample_freq: 2", "noise_steps"]),
        (["n_envs: 4", "buffer_size: 2"], ["sac.yml:5: buffer_size: 2", "each step brings 4"]),
    ],
)
def test_what_has_none_together(tmp_path: Path, lines: list[str], words: list[str]) -> None:
    message = refused(tmp_path, *lines)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  n_timesteps: 5\n", ["E-v0: policy isn't set", "MlpPolicy"]),
        ("  policy: MlpPolicy\n", ["E-v0: n_timesteps isn't set", "whole number"]),
        ("  n_timesteps: 0\n  policy: MlpPolicy\n", ["sac.yml:2: n_timesteps: 0"]),
        ("  n_timesteps: 5\n  policy: my.Policy\n", ["sac.yml:3: policy: 'my.Policy'", "would have to be run"]),
        ("  n_timesteps: 5\n  policy: [MlpPolicy]\n", ["sac.yml:3: policy: ['MlpPolicy']"]),
        ("  n_timesteps: 5\n  policy: CnnPolicy\n  use_sde: True\n", ["sac.yml:4: use_sde: True", "encoder"]),
        (
            '  n_timesteps: 5\n  policy: CnnPolicy\n  policy_kwargs: "dict(share_features_extractor=True)"\n',
            ["share_features_extractor=True", "share_encoder"],
        ),
        (
            '  n_timesteps: 5\n  policy: CnnPolicy\n  policy_kwargs: "dict(normalize_images=False)"\n',
            ["normalize_images=False", "255"],
        ),
    ],
)
def test_policies_and_lengths_that_are_none(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_zoo_config(write(tmp_path, f"E-v0:\n{text}"), "E-v0")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_epochs_that_do_not_divide_the_length(tmp_path: Path) -> None:
    assert "epochs=3 doesn't divide it" in refused(tmp_path, epochs=3)
    assert "steps_per_epoch=999 doesn't divide it" in refused(tmp_path, steps_per_epoch=999)


def test_a_time_limit_that_ends_the_value_is_noted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="a time limit never ends an episode's value"):
        read(tmp_path, 'replay_buffer_kwargs: "dict(handle_timeout_termination=False)"')


# -- values written as Python ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dict()", {}),
        (" dict(a=1, b=[-2.5, (True, None)], c=dict(d='e')) ", {"a": 1, "b": [-2.5, (True, None)], "c": {"d": "e"}}),
        ("{'a': 1e-3, \"b\": 'x' 'y'}", {"a": 1e-3, "b": "xy"}),
        ("dict(\n  a=1,\n)", {"a": 1}),
        ("(1,)", (1,)),
        ("nn.ReLU", TorchName("nn.ReLU")),
        ("[torch.nn.Tanh]", [TorchName("torch.nn.Tanh")]),
        ("True", True),
        ("-0x10", -16),
    ],
)
def test_values_are_read(text: str, value: Any) -> None:
    found = parse_python(text)
    assert (found, type(found)) == (value, type(value))


MARK = "MARK"
EXPRESSIONS = [
    f"__import__('os').mkdir('{MARK}')",
    f"__import__('os').system('touch {MARK}')",
    f"dict(a=__import__('os').system('touch {MARK}'))",
    f"[].append(open('{MARK}', 'w'))",
    f"open('{MARK}', 'w')",
    f"(lambda: open('{MARK}', 'w'))()",
    "lambda: 1",
    "lambda progress: 3e-4 * progress",
    f"[open('{MARK}', 'w') for _ in [1]]",
    f"(x := open('{MARK}', 'w'))",
    f"nn.Module(open('{MARK}', 'w'))",
    f"torch.load('{MARK}')",
    "torch.nn.ReLU()",
    f"f\"{{open('{MARK}', 'w')}}\"",
    "'a' * 10",
    "9 ** 9 ** 9",
    "10 ** 4",
    "not 1",
    "~1",
    "+1",
    "--1",
    "-True",
    "1 if 2 else 3",
    "1 + 1j",
    "1j",
    "b'x'",
    "...",
    "{1, 2}",
    "{1: 2}",
    "{**{'a': 1}}",
    "dict(**{'a': 1})",
    "dict([('a', 1)])",
    "dict(a=1, a=2)",
    "{'a': 1, 'a': 2}",
    "dict.fromkeys('ab')",
    "list((1, 2))",
    "[*[1], 2]",
    "ReLU",
    "os.path",
    "x.nn.ReLU",
    "nn['ReLU']",
    "().__class__.__base__.__subclasses__()",
    "nn.ReLU.__init__.__globals__['sys']",
    "1; 2",
    "x = 1",
    "import os",
    "",
    "(",
    "dict(a=)",
    '"\\d" if',
    "[" * 5000,
    "[" * 150 + "]" * 150,
    "(" * 90 + "1" + ")" * 90 + "x",
    "-" * 4000 + "1",
    "dict(a=" * 30 + "1" + ")" * 30,
    "9" * 4301 + "'",
    "a" * 5000,
    "\x00",
    "1\n2",
]


@pytest.mark.parametrize("text", EXPRESSIONS, ids=lambda text: text[:30])
def test_expressions_are_refused_and_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"has |is no value|nested|longer"):
            parse_python(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["policy_kwargs", "normalize", "replay_buffer_kwargs"])
def test_an_expression_in_a_file_is_an_error_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(tmp_path, f"{key}: \"dict(a=__import__('os').mkdir('{MARK}'))\"")
    assert message.startswith(f"sac.yml:4: {key}: ")
    assert "has \"__import__('os').mkdir('MARK')\", which would have to be run" in message
    assert [path.name for path in tmp_path.iterdir()] == ["sac.yml"]


@pytest.mark.parametrize("key", ["learning_rate", "train_freq", "ent_coef", "policy", "env_wrapper", "callback"])
def test_elsewhere_an_expression_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"E-v0:\n  n_timesteps: 5\n  {key}: \"__import__('os').mkdir('{MARK}')\"\n"
    with pytest.raises(ConfigError, match=f"sac.yml:3: {key}: .*__import__"):
        read_zoo_config(write(tmp_path, text + ("" if key == "policy" else "  policy: MlpPolicy\n")), "E-v0")
    assert [path.name for path in tmp_path.iterdir()] == ["sac.yml"]


# -- YAML that means harm ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        f"!!python/object/apply:os.mkdir [{MARK}]",
        f"!!python/object/new:os.mkdir [{MARK}]",
        "!!python/name:os.system",
        "!!python/tuple [1, 2]",
        "!!timestamp 2020-01-01",
        "2020-01-01",
        "!!binary aGk=",
        "!!set {a: null}",
        "!own 5",
        "!<tag:evil,2000:float> 5",
        "[!!python/name:os.system ]",
    ],
)
def test_other_tags_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(tmp_path, f"policy_kwargs: {value}")
    assert message.startswith("sac.yml:4: has the tag '")
    assert [path.name for path in tmp_path.iterdir()] == ["sac.yml"]


def test_a_tag_that_is_called_another_name_is_what_it_means(tmp_path: Path) -> None:
    text = f"%TAG !! tag:yaml.org,2002:python/\n---\nE-v0:\n  {BASE}  tau: !!name:os.system 1\n"
    with pytest.raises(ConfigError, match=r"sac\.yml:6: has the tag 'tag:yaml\.org,2002:python/name:os\.system'"):
        read_zoo_config(write(tmp_path, text), "E-v0")


def test_an_entry_that_is_not_asked_for_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"A-v0:\n  a: !!python/object/apply:os.mkdir [{MARK}]\nE-v0:\n  {BASE}"
    assert read_zoo_config(write(tmp_path, text), "E-v0").config.epochs == 5
    assert [path.name for path in tmp_path.iterdir()] == ["sac.yml"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tau: !!float x", ["sac.yml:4", "'x' can't be read as YAML's float"]),
        ("tau: !!int ''", ["sac.yml:4", "can't be read as YAML's int"]),
        ("use_sde: !!bool maybe", ["sac.yml:4", "can't be read as YAML's bool"]),
        ("batch_size: " + "9" * 5000, ["sac.yml:4", "can't be read"]),
        ("batch_size: " + "9" * 400, ["sac.yml:4: batch_size", "less than"]),
        ("1: 2", ["sac.yml:4", "a key must be a name", "'1'"]),
        ("? [a]\n  : 1", ["sac.yml:4", "a key must be a name"]),
        ("tau: 0.1\n  tau: 0.2", ["sac.yml:5", "'tau' is there already"]),
        ("<<: 5", ["sac.yml:4", "<< takes a mapping"]),
        ("<<: [[1]]", ["sac.yml:4", "<< takes a mapping"]),
        ("<<: {a: 1}\n  <<: {b: 1}", ["sac.yml:5", "'<<' is there already"]),
        ("<<: {own: 1}", ["sac.yml:4: own: 1", "no such key"]),
        ("policy_kwargs: {a: 1, a: 2}", ["sac.yml:4", "'a' is there already"]),
        ("policy_kwargs: *nothing", ["sac.yml:4", "not valid YAML", "undefined alias"]),
        ("policy_kwargs: [1", ["not valid YAML"]),
        ("policy_kwargs: " + "[" * 40 + "]" * 40, ["sac.yml:4", "nested more than 16"]),
    ],
)
def test_yaml_that_is_none_of_theirs(tmp_path: Path, line: str, words: list[str]) -> None:
    message = refused(tmp_path, line)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "settings by environments' ids"),
        ("- E-v0\n", "settings by environments' ids"),
        ("E-v0: 5\n", "lines of `key: value`"),
        ("E-v0:\n", "lines of `key: value`"),
        (f"E-v0:\n  {BASE}E-v0:\n  {BASE}", "sac.yml:4: 'E-v0' is there already, in line 1"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"#" * 70_000, "64 KiB"),
        ("E-v0: !!python/object/apply:os.getcwd []\n", "lines of `key: value`"),
        ("!!python/object/apply:os.getcwd []\n", "settings by environments' ids"),
    ],
)
def test_files_that_are_none_of_theirs(tmp_path: Path, content: str | bytes, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_zoo_config(write(tmp_path, content), "E-v0")


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no settings file .*none\.yml"):
        read_zoo_config(tmp_path / "none.yml", "E-v0")
    with pytest.raises(ConfigError, match="is a folder"):
        read_zoo_config(tmp_path, "E-v0")


def test_bombs_of_aliases_and_merges_cost_no_time(tmp_path: Path) -> None:
    lists = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 14))
    lists += f"E-v0:\n  {BASE}  policy_kwargs: *a13\n"
    maps = "a0: &a0 {b0: 1}\n" + "".join(
        f"a{i}: &a{i} {{c{i}: 1, <<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 14)
    )
    maps += "E-v0:\n  <<: *a13\n"
    itself = f"E-v0: &e\n  {BASE}  policy_kwargs: &p [*p]\n"
    merging_itself = "E-v0: &e\n  <<: *e\n"
    deep = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
    deep += f"E-v0:\n  {BASE}  policy_kwargs: *a1999\n"
    start = time.monotonic()
    for text in (lists, maps, itself, merging_itself, deep):
        with pytest.raises(ConfigError, match=r"sac\.yml:\d+: (is nested|unfolds into) more than"):
            read_zoo_config(write(tmp_path, text), "E-v0")
    assert time.monotonic() - start < 5


def test_merged_values_come_after_own_ones_and_in_order(tmp_path: Path) -> None:
    text = (
        "a: &a {gamma: 0.5, tau: 0.5, batch_size: 5}\nb: &b {<<: *a, gamma: 0.6}\nc: &c {gamma: 0.7, batch_size: 7}\n"
    )
    text += f"E-v0:\n  {BASE}  batch_size: 8\n  <<: [*c, *b]\n"
    config = read_zoo_config(write(tmp_path, text), "E-v0").config
    assert (config.gamma, config.polyak, config.batch_size) == (0.7, 0.5, 8)
    assert math.isclose(read_zoo_config(write(tmp_path, text.replace("*c, *b", "*b")), "E-v0").config.gamma, 0.6)


def test_reading_needs_no_backend() -> None:
    code = f"""
import sys
from slc_agents.compat.sb3 import read_zoo_config
assert read_zoo_config({str(FILE)!r}, "Cheetah-v0").policy == "GSDEPolicy"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
