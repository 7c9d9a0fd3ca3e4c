"""The agent as its user meets it: any environment, any input, nothing lost."""

from __future__ import annotations

import copy
import signal
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import slc_agents
from slc_agents import SAC, SACConfig
from slc_agents.callbacks import Callback
from slc_agents.errors import ArchiveError, NonFiniteError, NotResumableError, UnsupportedSpaceError
from slc_agents.evaluation import evaluate_policy
from slc_agents.persistence import read_archive
from slc_agents.policies import MlpPolicy, SquashedGaussianActor

SMALL: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": [8]},
    "steps_per_epoch": 40,
    "update_after": 20,
    "update_every": 5,
    "steps_per_update": 2,
    "batch_size": 8,
    "replay_size": 1000,
    "num_test_episodes": 1,
    "seed": 0,
}


class PointEnv(gymnasium.Env[Any, Any]):
    """Push a point to the origin; every space and mishap that a test asks for."""

    def __init__(
        self,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        *,
        length: int | None = 15,
        nan_at: int | None = None,
        raise_at: int | None = None,
    ) -> None:
        self.observation_space = observation_space or spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = action_space or spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.nan_at, self.raise_at = length, nan_at, raise_at
        self.total_steps = 0
        self.seen_actions: list[Any] = []

    def _observe(self) -> Any:
        def fill(box: spaces.Space[Any]) -> Any:
            assert isinstance(box, spaces.Box)
            # Unsigned pixels have no negative values; a point in the middle of the picture does.
            return np.full(box.shape, 128 + 10 * self.x if box.dtype == np.uint8 else self.x, box.dtype)

        if isinstance(self.observation_space, spaces.Dict):
            return {key: fill(box) for key, box in self.observation_space.spaces.items()}
        return fill(self.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.uniform(-1, 1)), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.seen_actions.append(action)
        self.t += 1
        self.total_steps += 1
        if self.raise_at == self.total_steps:
            raise RuntimeError("the motor is on fire")
        self.x = float(np.clip(self.x + 0.1 * float(np.mean(action)), -9, 9))
        observation = self._observe()
        if self.nan_at == self.total_steps:
            observation = np.full_like(observation, np.nan)
        return observation, -abs(self.x), False, self.t == self.length, {}


def weights(model: SAC) -> dict[str, np.ndarray]:
    return model.get_parameters()


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


BOXES = {
    "float32": spaces.Box(-10.0, 10.0, (2,), np.float32),
    "float64": spaces.Box(-10.0, 10.0, (2,), np.float64),
    "2-D": spaces.Box(-10.0, 10.0, (2, 3), np.float64),
    "0-D": spaces.Box(-10.0, 10.0, (), np.float64),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "integer": spaces.Box(-10, 10, (3,), np.int64),
    "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "dict": spaces.Dict(
        {"b": spaces.Box(-10.0, 10.0, (2, 2), np.float64), "a": spaces.Box(-9.0, 9.0, (1,), np.float32)}
    ),
}
ACTIONS = {
    "float32": spaces.Box(-1.0, 1.0, (1,), np.float32),
    "float64, 2-D, lopsided": spaces.Box(np.array([[-3.0, 0.0]]), np.array([[1.0, 20.0]]), dtype=np.float64),
}


@pytest.mark.parametrize("observation", BOXES)
@pytest.mark.parametrize("action", ACTIONS)
def test_trains_on_every_supported_space(observation: str, action: str) -> None:
    env = PointEnv(BOXES[observation], ACTIONS[action])
    model = SAC("MlpPolicy", env, **SMALL)
    before = weights(model)
    model.learn(60)
    after = weights(model)
    assert model.num_timesteps == 60
    assert model.n_updates == 2 * (1 + (60 - 20) // 5)
    assert any((before[name] != after[name]).any() for name in before)
    single, state = model.predict(env.reset(seed=3)[0], deterministic=True)
    assert state is None
    assert env.action_space.contains(single)
    assert single.dtype == env.action_space.dtype
    # PointEnv itself checks that every action it got was in the space; here, that they reached both sides of it.
    seen = np.array(env.seen_actions)
    assert (seen.min(axis=0) < seen.max(axis=0)).all()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), "Discrete"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Box(-1, 1, (1,))})}), "'a'"),
        (spaces.Dict({"n": spaces.Discrete(2)}), "'n'"),
        (spaces.MultiBinary(3), "FlattenObservation"),
    ],
)
def test_unsupported_observation_spaces_say_why(space: Any, message: str) -> None:
    with pytest.raises(UnsupportedSpaceError, match=message):
        SAC("MlpPolicy", PointEnv(space), **SMALL)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), "continuous"),
        (spaces.Box(-np.inf, np.inf, (1,)), "finite"),
        (spaces.Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64), "below"),
        (spaces.Box(0, 5, (2,), np.int64), "int64"),
    ],
)
def test_unsupported_action_spaces_say_why(space: Any, message: str) -> None:
    with pytest.raises(UnsupportedSpaceError, match=message):
        SAC("MlpPolicy", PointEnv(action_space=space), **SMALL)


def test_an_episode_that_outlasts_the_epochs() -> None:
    model = SAC("MlpPolicy", PointEnv(length=None), **{**SMALL, "num_test_episodes": 0})
    model.learn(100)
    assert model.num_timesteps == 100
    assert model.num_episodes == 0
    assert "rollout/ep_rew_mean" not in model.logger.latest
    assert model.logger.latest["time/epoch"] == 3  # 40 + 40 + 20


def test_nan_is_named_and_nothing_is_lost() -> None:
    env = PointEnv(nan_at=33)
    model = SAC("MlpPolicy", env, **SMALL)
    with pytest.raises(NonFiniteError, match=r"environment 0.*32 steps"):
        model.learn(60)
    assert model.num_timesteps == len(model.replay_buffer) == 32
    learned = weights(model)
    assert model.n_updates == 6
    with pytest.warns(UserWarning, match="new episodes"):
        model.resume()
    assert model.num_timesteps == 60
    assert any((weights(model)[name] != learned[name]).any() for name in learned)


def test_an_environment_that_raises_keeps_its_own_error_and_the_agent() -> None:
    model = SAC("MlpPolicy", PointEnv(raise_at=33), **SMALL)
    with pytest.raises(RuntimeError, match="on fire") as caught:
        model.learn(60)
    assert any("step()" in note and "32 steps" in note for note in caught.value.__notes__)
    assert model.num_timesteps == 32
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 52


@pytest.mark.filterwarnings("ignore:.*ERROR.*:UserWarning")  # gymnasium logs what the worker said
def test_an_async_worker_that_raises() -> None:
    env = AsyncVectorEnv([lambda: PointEnv(raise_at=33), PointEnv])
    model = SAC("MlpPolicy", env, **{**SMALL, "num_test_episodes": 0})
    with pytest.raises(RuntimeError, match="on fire"):
        model.learn(100)
    assert model.num_timesteps == 64
    model.set_env(PointEnv())
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 84


@pytest.mark.parametrize("n_envs", [1, 3, 8])
def test_parallel_envs_keep_the_ratio_of_gradient_steps(n_envs: int) -> None:
    model = SAC("MlpPolicy", PointEnv, n_envs=n_envs, **SMALL).learn(120)
    steps = -(-120 // n_envs) * n_envs
    assert model.num_timesteps == steps
    assert model.n_updates == 2 * (1 + (steps - 20) // 5)
    assert len(model.replay_buffer) == steps
    assert model.num_episodes == n_envs * (steps // n_envs // 15)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_users_vector_env_in_each_mode_learns_the_same(mode: AutoresetMode) -> None:
    """The modes differ in when an episode is reset, which must not be visible in what is learned."""
    env = SyncVectorEnv([PointEnv, PointEnv], autoreset_mode=mode)
    model = SAC("MlpPolicy", env, **SMALL).learn(80)
    ours = SAC("MlpPolicy", [PointEnv, PointEnv], **SMALL).learn(80)
    assert_same(weights(model), weights(ours))


def test_one_seed_gives_one_agent_and_agents_do_not_interfere() -> None:
    first = SAC("MlpPolicy", PointEnv, **SMALL)
    second = SAC("MlpPolicy", PointEnv, **SMALL)

    class Meddle(Callback):
        def on_step(self) -> None:
            if self.num_timesteps == 30:
                second.learn(60)
                np.random.default_rng(0)
                self.model.predict(np.zeros(2))

    first.learn(60, Meddle())
    assert_same(weights(first), weights(second))
    other = SAC("MlpPolicy", PointEnv, **{**SMALL, "seed": 1}).learn(60)
    assert any((weights(other)[name] != weights(first)[name]).any() for name in weights(first))


def test_predict_takes_one_or_many() -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    one, _ = model.predict(np.zeros(2), deterministic=True)
    many, _ = model.predict(np.zeros((4, 2)), deterministic=True)
    assert one.shape == (1,)
    assert many.shape == (4, 1)
    np.testing.assert_allclose(many, np.tile(one, (4, 1)), rtol=1e-6)
    samples = [model.predict(np.zeros(2))[0].item() for _ in range(5)]
    assert len(set(samples)) == 5
    with pytest.raises(ValueError, match=r"\(3,\)"):
        model.predict(np.zeros(3))


def test_learn_again_goes_on_or_starts_over() -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL).learn(50)
    model.learn(30, reset_num_timesteps=False)
    assert model.num_timesteps == len(model.replay_buffer) == 80
    assert model.num_episodes == 80 // 15
    model.learn(30)
    assert model.num_timesteps == 30
    assert len(model.replay_buffer) == 110
    assert model.num_episodes == 2


@pytest.mark.parametrize("n_envs", [1, 2])
def test_resume_after_a_stop_is_as_if_there_had_been_none(n_envs: int) -> None:
    through = SAC("MlpPolicy", PointEnv, n_envs=n_envs, **SMALL).learn(120)
    stopped = SAC("MlpPolicy", PointEnv, n_envs=n_envs, **SMALL)
    stopped.learn(120, lambda model: model.num_timesteps < 52)
    assert stopped.num_timesteps == 52
    stopped.resume()
    assert stopped.num_timesteps == 120
    assert_same(weights(stopped), weights(through))
    with pytest.raises(NotResumableError):
        stopped.resume()


def test_resume_without_a_run() -> None:
    with pytest.raises(NotResumableError, match="learn"):
        SAC("MlpPolicy", PointEnv, **SMALL).resume()


@pytest.mark.parametrize("steps", [0, -5, 1.5, True, "many"])
def test_learn_rejects_what_is_no_number_of_steps(steps: Any) -> None:
    with pytest.raises(ValueError, match="total_timesteps"):
        SAC("MlpPolicy", PointEnv, **SMALL).learn(steps)


def test_learn_without_a_number_runs_its_epochs() -> None:
    assert SAC("MlpPolicy", PointEnv, **{**SMALL, "epochs": 2}).learn().num_timesteps == 80


def test_config_and_keywords() -> None:
    config = SACConfig(lr_a=1e-3, gamma=0.9)
    model = SAC("MlpPolicy", PointEnv, config, gamma=0.8, seed=3)
    assert (model.config.lr_a, model.config.gamma, model.seed) == (1e-3, 0.8, 3)
    assert config.gamma == 0.9
    with pytest.raises(TypeError, match="SACConfig"):
        SAC("MlpPolicy", PointEnv, {"gamma": 0.9})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lr_a, lr_c and lr_alpha"):
        SAC("MlpPolicy", PointEnv, learning_rate=1e-3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="needs an env"):
        SAC("MlpPolicy")
    with pytest.raises(ValueError, match="n_envs=2"):
        SAC("MlpPolicy", PointEnv(), n_envs=2)


def test_set_env_wants_the_same_spaces() -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL).learn(30)
    with pytest.raises(ValueError, match="observation space"):
        model.set_env(PointEnv(BOXES["2-D"]))
    model.set_env([PointEnv] * 3)
    model.learn(30, reset_num_timesteps=False)
    assert model.num_timesteps == len(model.replay_buffer) == 60


def test_no_test_env_warns_once_and_trains() -> None:
    class Unique(PointEnv):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("there is only one")

    model = SAC("MlpPolicy", Unique(), **SMALL)
    with pytest.warns(UserWarning, match="eval_env") as caught:
        model.learn(80)
    assert len(caught) == 1
    assert "eval/mean_reward" not in model.logger.latest
    with_one = SAC("MlpPolicy", Unique(), eval_env=PointEnv(), **SMALL).learn(80)
    assert with_one.logger.latest["eval/mean_ep_length"] == 15


# -- files ---------------------------------------------------------------------------------------------------------


def test_save_and_load_keeps_what_was_learned(tmp_path: Any) -> None:
    model = SAC(
        "MlpPolicy", PointEnv, **{**SMALL, "policy_kwargs": {"hidden_sizes": [8], "normalize_observations": True}}
    )
    model.learn(60)
    model.save(tmp_path / "new" / "agent")
    loaded = SAC.load(tmp_path / "new" / "agent")
    assert_same(weights(loaded), weights(model))
    assert loaded.config == model.config
    assert (loaded.num_timesteps, loaded.n_updates, loaded.num_episodes) == (60, model.n_updates, 4)
    observation = np.array([0.3, -0.2])
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )
    assert isinstance(slc_agents.load(tmp_path / "new" / "agent.zip", PointEnv), SAC)
    with pytest.raises(ValueError, match="set_env"):
        loaded.learn(10)
    loaded.set_env(PointEnv)
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded.num_timesteps == 70


def test_load_takes_overrides_and_rejects_misspelt_ones(tmp_path: Any) -> None:
    SAC("MlpPolicy", PointEnv, **SMALL).save(tmp_path / "a.zip")
    assert SAC.load(tmp_path / "a.zip", lr_a=5e-4).config.lr_a == 5e-4
    with pytest.raises(TypeError, match="lr_a"):
        SAC.load(tmp_path / "a.zip", lr_aa=5e-4)
    with pytest.raises(FileNotFoundError):
        SAC.load(tmp_path / "b.zip")
    with pytest.raises(ValueError, match="device"):
        SAC.load(tmp_path / "a.zip", device="cuda:99")


def test_a_saved_run_goes_on_in_a_loaded_agent(tmp_path: Any) -> None:
    """The buffer, the streams, counters, schedules; that it goes on exactly is in test_resume.py."""
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    model.learn(120, lambda m: m.num_timesteps < 52)
    model.save(tmp_path / "run.zip", replay_buffer=True)
    loaded = SAC.load(tmp_path / "run.zip", PointEnv)
    for index in (0, 30, 51):
        for ours, theirs in zip(loaded.replay_buffer.gather([index]), model.replay_buffer.gather([index]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.replay_buffer.sample_indices(2, 5), model.replay_buffer.sample_indices(2, 5))
    loaded.resume()
    assert loaded.num_timesteps == 120
    assert loaded.n_updates == 2 * (1 + (120 - 20) // 5)


def test_saving_from_a_callback_waits_for_the_end_of_the_step(tmp_path: Any) -> None:
    class Save(Callback):
        def on_step(self) -> None:
            if self.num_timesteps == 40:
                self.model.save(tmp_path / "mid.zip", replay_buffer=True)
                assert not (tmp_path / "mid.zip").exists()

    SAC("MlpPolicy", PointEnv, **SMALL).learn(60, Save())
    run = SAC.load(tmp_path / "mid.zip").run
    assert run is not None
    assert run.finished_epochs == 1  # that of step 40 itself


def test_what_needs_code_is_loaded_only_with_trust(tmp_path: Any) -> None:
    from slc_agents.errors import UntrustedCodeError

    model = SAC("MlpPolicy", PointEnv, **SMALL, lr_a=lambda p: 1e-3 * (1 - p))
    model.save(tmp_path / "a.zip")
    with pytest.raises(UntrustedCodeError, match=r"lr_a.*trust"):
        SAC.load(tmp_path / "a.zip")
    assert SAC.load(tmp_path / "a.zip", trust=True).schedulers["lr_a"](0.5) == 5e-4


def test_an_output_folder_holds_the_run(tmp_path: Any) -> None:
    import yaml

    from slc_agents.logger import read_progress

    options = {**SMALL, "logger_kwargs": {"output_dir": str(tmp_path / "run")}, "export": True}
    model = SAC("MlpPolicy", PointEnv, **options).learn(100)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "agent.zip",
        "config.yaml",
        "policy.pt",
        "policy.pt.json",
        "progress.csv",
    }
    assert_same(weights(SAC.load(tmp_path / "run" / "agent.zip")), weights(model))
    assert SACConfig(**yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())) == model.config
    progress = read_progress(tmp_path / "run")
    assert progress["time/total_timesteps"] == [40, 80, 100]
    for key in ("rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "train/actor_loss", "train/critic_loss"):
        assert key in progress
    for key in (
        "train/n_updates",
        "eval/mean_reward",
        "eval/mean_ep_length",
        "train/alpha",
        "train/entropy",
        "train/lr_a",
    ):
        assert key in progress


def test_without_an_output_folder_nothing_is_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SAC("MlpPolicy", PointEnv, **SMALL).learn(60)
    assert list(tmp_path.iterdir()) == []


def test_start_policy_takes_networks_targets_and_normaliser_and_nothing_else(tmp_path: Any) -> None:
    options = {**SMALL, "policy_kwargs": {"hidden_sizes": [8], "normalize_observations": True}}
    first = SAC("MlpPolicy", PointEnv, **options).learn(60)
    first.save(tmp_path / "agent.zip")
    for start in (first, str(tmp_path / "agent.zip"), tmp_path / "agent.zip", tmp_path):
        warm = SAC("MlpPolicy", PointEnv, **{**options, "seed": 5}, start_policy=start)
        ours, theirs = weights(warm), weights(first)
        for name in theirs:
            if name.startswith(("actor/", "critic/", "critic_target/", "normalizer/")):
                np.testing.assert_array_equal(ours[name], theirs[name])
        assert ours["optimizer/critic/step"] == 0
        assert ours["alpha/log_value"] == np.float32(np.log(0.99))
        assert warm.num_timesteps == 0
    with pytest.raises(ValueError, match=r"actor/trunk/0/weight.*\[2, 8\]"):
        SAC("MlpPolicy", PointEnv, **{**SMALL, "policy_kwargs": {"hidden_sizes": [9]}}, start_policy=first)


def test_a_loaded_agent_does_not_write_into_its_old_folder(tmp_path: Any) -> None:
    options = {**SMALL, "logger_kwargs": {"output_dir": str(tmp_path / "run")}}
    SAC("MlpPolicy", PointEnv, **options).learn(40)
    before = (tmp_path / "run" / "progress.csv").read_bytes()
    loaded = SAC.load(tmp_path / "run" / "agent.zip", PointEnv).learn(40)
    assert loaded.logger.output_dir is None
    assert (tmp_path / "run" / "progress.csv").read_bytes() == before
    again = SAC.load(tmp_path / "run" / "agent.zip", PointEnv, logger_kwargs={"output_dir": str(tmp_path / "new")})
    again.learn(40)
    assert (tmp_path / "new" / "progress.csv").exists()


def test_a_run_that_was_cut_inside_a_step_says_so() -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)

    def fail(agent: SAC) -> None:
        if agent.num_timesteps == 30:
            raise KeyboardInterrupt  # as the second Ctrl-C does

    model.learn(60, fail)
    assert model.num_timesteps == 30
    assert model.is_interrupted
    with pytest.warns(UserWarning, match="middle of a step"):
        model.resume()
    assert not model.is_interrupted


def test_evaluate_needs_an_environment(tmp_path: Any) -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    model.save(tmp_path / "a.zip")
    loaded = SAC.load(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="evaluate"):
        loaded.evaluate(2)
    assert loaded.evaluate(3, PointEnv, seed=1) == model.evaluate(3, seed=1)


def test_every_learn_sees_other_episodes() -> None:
    starts: list[float] = []

    class Recording(PointEnv):
        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            result = super().reset(**kwargs)
            if kwargs.get("seed") is not None:
                starts.append(self.x)
            return result

    model = SAC("MlpPolicy", [Recording], **{**SMALL, "num_test_episodes": 0})
    for _ in range(3):
        model.learn(20)
    assert len(starts) == len(set(starts)) == 3


def test_a_loaded_agent_sees_other_episodes(tmp_path: Any) -> None:
    SAC("MlpPolicy", PointEnv, **SMALL).learn(20).save(tmp_path / "a.zip")
    env = PointEnv()
    SAC.load(tmp_path / "a.zip", env).learn(1)
    fresh = PointEnv()
    SAC("MlpPolicy", fresh, **SMALL).learn(1)
    assert env.np_random_seed != fresh.np_random_seed


def test_evaluating_in_the_training_env_breaks_off_its_episodes_and_no_more() -> None:
    env = PointEnv()
    model = SAC("MlpPolicy", env, **SMALL).learn(20)
    model.evaluate(2, env)
    model.learn(20, reset_num_timesteps=False)
    lengths = [episode.length for episode in model._state.recent_episodes]
    assert lengths == [15, 15]  # 20 steps: one; 20 more after a reset: one
    with pytest.raises(ValueError, match="being trained on"):
        model.learn(20, lambda m: m.evaluate(1, env))
    with pytest.raises(ValueError, match="eval_env"):
        SAC("MlpPolicy", env, eval_env=env, **SMALL)


def test_a_callback_keeps_its_state_through_a_stop_and_is_not_given_an_empty_one() -> None:
    class Count(Callback):
        def __init__(self) -> None:
            super().__init__()
            self.n = 0

        def on_step(self) -> bool:
            self.n += 1
            return self.n != 10

        def load_state_dict(self, state: Any) -> None:
            self.n = state["n"]

    count = Count()
    model = SAC("MlpPolicy", PointEnv, **SMALL).learn(30, count)
    model.resume([count])
    assert count.n == 30


def test_a_replaced_temperature_starts_afresh(tmp_path: Any) -> None:
    SAC("MlpPolicy", PointEnv, **SMALL, alpha=0.1).learn(40).save(tmp_path / "a.zip")
    fresh = weights(SAC.load(tmp_path / "a.zip", alpha=0.5))
    assert fresh["alpha/log_value"] == np.float32(np.log(0.5))
    assert fresh["optimizer/alpha/step"] == 0
    fixed = weights(SAC.load(tmp_path / "a.zip", adaptive_temperature=False))
    assert fixed["alpha/fixed_value"] == np.float32(0.1)
    assert fixed["optimizer/actor/step"] > 0


def test_the_buffer_must_hold_a_step() -> None:
    with pytest.raises(ValueError, match=r"replay_size=2.*3 transitions"):
        SAC("MlpPolicy", PointEnv, **{**SMALL, "replay_size": 2}, n_envs=3)


# -- what a reviewer found ------------------------------------------------------------------------------------------


class TwoKeys(PointEnv):
    """Keys of different sizes, in an order that depends on how the space was made."""

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__(space)

    def _observe(self) -> Any:
        return {"b": np.full(1, self.x, np.float32), "a": np.array([self.x, self.t], np.float32)}


def test_the_order_of_a_dict_spaces_keys_does_not_matter(tmp_path: Any) -> None:
    a, b = spaces.Box(-99.0, 99.0, (2,)), spaces.Box(-9.0, 9.0, (1,))
    agents = [
        SAC("MlpPolicy", TwoKeys(space), **SMALL).learn(40)
        for space in (spaces.Dict(b=b, a=a), spaces.Dict({"a": a, "b": b}), spaces.Dict([("b", b), ("a", a)]))
    ]
    observation = {"b": np.array([0.5]), "a": np.array([0.1, 3.0])}
    expected = agents[0].predict(observation, deterministic=True)[0]
    agents[0].save(tmp_path / "a.zip")
    for agent in (*agents[1:], SAC.load(tmp_path / "a.zip")):
        np.testing.assert_array_equal(agent.predict(observation, deterministic=True)[0], expected)


@pytest.mark.parametrize("copying", [copy.deepcopy, lambda model: cloudpickle.loads(cloudpickle.dumps(model))])
def test_a_copy_trains_like_the_original(copying: Any) -> None:
    model = SAC("MlpPolicy", PointEnv(), **SMALL).learn(40)
    twin = copying(model)
    for agent in (model, twin):
        agent.learn(40)
    assert_same(weights(twin), weights(model))


def test_others_who_use_the_environment_are_noticed() -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    model.learn(60, lambda m: m.num_timesteps < 22)
    env = model.get_env()
    assert env is not None
    evaluate_policy(model, env, 1)
    with pytest.warns(UserWarning, match="others have used them"):
        model.resume()
    assert max(episode.length for episode in model._state.recent_episodes) == 15
    with pytest.raises(RuntimeError, match="evaluate in another environment"):
        model.learn(60, lambda m: evaluate_policy(m, env, 1))


def test_a_new_env_gets_new_test_episodes() -> None:
    class Generous(PointEnv):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            observation, _, terminated, truncated, info = super().step(action)
            return observation, 1.0, terminated, truncated, info

    model = SAC("MlpPolicy", PointEnv, **SMALL).learn(40)
    model.set_env(Generous)
    model.learn(40)
    assert model.logger.latest["eval/mean_reward"] == model.logger.latest["rollout/ep_rew_mean"] == 15
    own = Generous()
    with_own = SAC("MlpPolicy", PointEnv, eval_env=own, **SMALL)
    with pytest.raises(ValueError, match="eval_env"):
        with_own.set_env(own)


@pytest.mark.parametrize(
    "meddle",
    [lambda m: m.learn(5), lambda m: m.resume(), lambda m: m.set_env(PointEnv)],
    ids=["learn", "resume", "set_env"],
)
def test_what_would_saw_off_the_branch_is_refused_while_training(meddle: Any) -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    with pytest.raises(RuntimeError, match="the agent is training"):
        model.learn(20, meddle)
    model.learn(20)
    assert model.num_timesteps == 20


def test_load_refuses_a_start_policy_and_obeys_a_new_seed(tmp_path: Any) -> None:
    model = SAC("MlpPolicy", PointEnv, **SMALL)
    model.learn(60, lambda m: m.num_timesteps < 30)
    model.save(tmp_path / "a.zip", replay_buffer=True)
    with pytest.raises(TypeError, match="start_policy"):
        SAC.load(tmp_path / "a.zip", start_policy=model)
    same, other = SAC.load(tmp_path / "a.zip", PointEnv), SAC.load(tmp_path / "a.zip", PointEnv, seed=7)
    assert (same.replay_buffer.sample_indices(1, 9) == model.replay_buffer.sample_indices(1, 9)).all()
    assert (other.replay_buffer.sample_indices(1, 9) != same.replay_buffer.sample_indices(1, 9)).any()


def test_a_run_is_loaded_by_its_folder(tmp_path: Any) -> None:
    runs = [tmp_path / "seeds" / f"seed-{seed}" for seed in range(2)]
    for seed, run in enumerate(runs):
        SAC("MlpPolicy", PointEnv, **{**SMALL, "seed": seed, "logger_kwargs": {"output_dir": str(run)}}).learn(40)
    second = weights(SAC.load(runs[1] / "agent.zip"))
    for loaded in (SAC.load(runs[1]), slc_agents.load(runs[1]), slc_agents.load(str(runs[1]), PointEnv)):
        assert_same(weights(loaded), second)
    with pytest.raises(ArchiveError, match=r"seeds: a folder without agent\.zip; give one of .*seed-0, .*seed-1$"):
        slc_agents.load(tmp_path / "seeds")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match=r"empty: a folder without agent\.zip; give a run's folder"):
        SAC("MlpPolicy", PointEnv, **SMALL, start_policy=str(tmp_path / "empty"))


def test_dropout_and_batch_norm_act_only_while_learning() -> None:
    class Dropping(MlpPolicy):
        def make_actor(self) -> Any:
            actor = SquashedGaussianActor(self.n_features, self.n_actions, [8], torch.nn.ReLU, torch.nn.ReLU)
            actor.trunk.append(torch.nn.Dropout(0.5))
            actor.trunk.append(torch.nn.BatchNorm1d(8))
            return actor

    model = SAC(Dropping, PointEnv, **{**SMALL, "policy_kwargs": {}}).learn(40)
    actions = [model.predict(np.ones(2), deterministic=True)[0].item() for _ in range(5)]
    assert len(set(actions)) == 1
    assert model.policy.actor.trunk[-1].num_batches_tracked > 0


@pytest.mark.parametrize("sinks", [["csv"], []])
def test_another_agents_files_are_not_overwritten(tmp_path: Any, sinks: list[str]) -> None:
    options = {**SMALL, "logger_kwargs": {"output_dir": str(tmp_path), "sinks": sinks}}
    SAC("MlpPolicy", PointEnv, **options).learn(10)
    with pytest.raises(FileExistsError, match=r"progress\.csv|agent\.zip"):
        SAC("MlpPolicy", PointEnv, **{**options, "seed": 1}).learn(10)
    assert SAC.load(tmp_path / "agent.zip").seed == 0


def test_save_freq_counts_epochs_also_where_several_end_in_a_step(tmp_path: Any) -> None:
    saved: list[int] = []

    class Watch(Callback):
        def on_step(self) -> None:
            path = tmp_path / "agent.zip"
            if path.exists():
                saved.append(SAC.load(path).num_timesteps)

    options = {**SMALL, "logger_kwargs": {"output_dir": str(tmp_path)}, "steps_per_epoch": 1, "save_freq": 2}
    SAC("MlpPolicy", [PointEnv] * 3, **{**options, "num_test_episodes": 0}).learn(15, Watch())
    assert saved == [3, 6, 9, 12]


def test_the_config_says_how_many_environments_there_are(tmp_path: Any) -> None:
    model = SAC("MlpPolicy", [PointEnv] * 3, **SMALL)
    assert model.config.n_envs == 3
    model.save(tmp_path / "a.zip")
    assert SAC.load(tmp_path / "a.zip", PointEnv).env.num_envs == 3  # type: ignore[union-attr]
    assert SAC.load(tmp_path / "a.zip", PointEnv()).config.n_envs == 1


def test_keywords_of_the_agent_itself_are_suggested_too() -> None:
    with pytest.raises(TypeError, match=r"SAC has no keyword 'verbos'; did you mean 'verbose'"):
        SAC("MlpPolicy", PointEnv, verbos=1)  # type: ignore[call-arg]


def test_infinities_of_both_signs_are_named() -> None:
    class Odd(PointEnv):
        def _observe(self) -> Any:
            return np.array([np.inf, -np.inf]) if self.t == 3 else np.zeros(2)

    with pytest.raises(NonFiniteError, match="environment 0"):
        SAC("MlpPolicy", Odd(BOXES["float64"]), **SMALL).learn(10)


def test_ctrl_c_while_training_ends_is_too_late_to_matter() -> None:
    class Late(Callback):
        def on_training_end(self) -> None:
            signal.raise_signal(signal.SIGINT)

    assert SAC("MlpPolicy", PointEnv, **SMALL).learn(20, Late()).num_timesteps == 20


def test_a_file_remembers_its_environment_also_when_it_was_loaded_without(tmp_path: Any) -> None:
    SAC("MlpPolicy", "Pendulum-v1", **SMALL).save(tmp_path / "a.zip")
    SAC.load(tmp_path / "a.zip").save(tmp_path / "b.zip")
    with read_archive(tmp_path / "b.zip") as archive:
        assert archive.manifest["env_id"] == "Pendulum-v1"
