"""A run that was interrupted, saved, loaded and resumed is the run that was never interrupted, bit for bit."""

from __future__ import annotations

import collections
import copy
import enum
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from slc_agents import SAC
from slc_agents.callbacks import Callback, CallbackLike, CheckpointCallback, EvalCallback, StopTrainingOnMaxEpisodes
from slc_agents.envs import make_vector_env
from slc_agents.envs.disturbances import ActionNoise, ObservationDelay
from tests.support.fingerprint import fingerprint, progress_rows

SMALL: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": [16]},
    "steps_per_epoch": 80,
    "update_after": 64,
    "update_every": 20,
    "steps_per_update": 2,
    "start_steps": 40,
    "batch_size": 16,
    "replay_size": 500,
    "num_test_episodes": 1,
    "max_ep_len": 50,
    "seed": 3,
}
TOTAL = 320


def stop_at(step: int) -> Callable[[Any], bool]:
    return lambda model: model.num_timesteps < step


def train(env: Any, folder: Path, callbacks: list[CallbackLike], **changes: Any) -> SAC:
    settings = {"policy": "MlpPolicy", **SMALL, **changes, "logger_kwargs": {"output_dir": folder}}
    return SAC(env=env, **settings).learn(TOTAL, callbacks)


def assert_resumes(
    tmp_path: Path,
    make_env: Callable[[], Any],
    *,
    stop: int = 197,
    callbacks: Callable[[], list[CallbackLike]] = list,
    trust: bool = False,
    **changes: Any,
) -> None:
    whole = train(make_env(), tmp_path / "whole", callbacks(), **changes)
    interrupted = train(make_env(), tmp_path / "parts", [*callbacks(), stop_at(stop)], **changes)
    assert interrupted.is_interrupted
    interrupted.save(tmp_path / "interrupted", replay_buffer=True)
    resumed = SAC.load(tmp_path / "interrupted", make_env(), trust=trust)
    resumed.resume([*callbacks(), lambda model: None])
    expected, found = fingerprint(whole), fingerprint(resumed)
    for part in ("callbacks",):  # the one that stopped has a place in the list, and no state
        expected.pop(part), found.pop(part)
    assert found == expected
    assert progress_rows(tmp_path / "parts" / "progress.csv") == progress_rows(tmp_path / "whole" / "progress.csv")
    close(whole, interrupted, resumed)


def close(*models: SAC) -> None:
    for model in models:
        assert model.env is not None
        model.env.close()


ENVS: dict[str, Callable[[], Any]] = {
    "Pendulum-v1": lambda: "Pendulum-v1",
    "MountainCarContinuous-v0": lambda: "MountainCarContinuous-v0",
    "HalfCheetah-v5": lambda: "HalfCheetah-v5",
    "Ant-v5": lambda: "Ant-v5",
    "Humanoid-v5": lambda: "Humanoid-v5",
    "an environment": lambda: gym.make("Pendulum-v1"),
    "several": lambda: make_vector_env("Pendulum-v1", 3),
    "several MuJoCo": lambda: make_vector_env("Ant-v5", 2),
    "own vector environment": lambda: gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync"),
    "wrapped": lambda: gym.wrappers.TimeAwareObservation(
        gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1))
    ),
    "stacked": lambda: gym.wrappers.FrameStackObservation(gym.make("Pendulum-v1"), 3),
    "normalised": lambda: gym.wrappers.NormalizeReward(gym.wrappers.NormalizeObservation(gym.make("Pendulum-v1"))),
    "slc/Oscillator-v1": lambda: "slc/Oscillator-v1",
    "slc/AntCost-v1": lambda: "slc/AntCost-v1",
    "disturbed": lambda: ActionNoise(ObservationDelay(gym.make("slc/CartPoleCost-v1"), 2), 1.0),
    "sticky": lambda: gym.wrappers.StickyAction(gym.make("Pendulum-v1"), 0.3),
}


@pytest.mark.parametrize("name", ENVS)
def test_resumes_exactly(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # A test environment that learns from episode to episode is not part of the state.
        assert_resumes(tmp_path, ENVS[name], num_test_episodes=0 if name == "normalised" else 1)


def test_resumes_exactly_in_worker_processes(tmp_path: Path) -> None:
    assert_resumes(tmp_path, lambda: make_vector_env("Pendulum-v1", 2, asynchronous=True), num_test_episodes=0)


@pytest.mark.parametrize("stop", [1, 39, 64, 160, 239, 310], ids=str)
def test_resumes_exactly_wherever_it_stops(stop: int, tmp_path: Path) -> None:
    assert_resumes(tmp_path, lambda: "Pendulum-v1", stop=stop)


def test_resumes_exactly_with_normalisation_and_costs(tmp_path: Path) -> None:
    assert_resumes(
        tmp_path,
        lambda: "Pendulum-v1",
        opt_type="minimize",
        policy_kwargs={"hidden_sizes": [16], "normalize_observations": True},
        lr_decay_ref="step",
    )


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("stop", [20, 62, 197])
def test_resumes_exactly_amid_noise_that_is_kept(n_envs: int, stop: int, tmp_path: Path) -> None:
    """At 20 actions are uniformly random; 62 and 197 are amid a stretch of 9, for one and for two environments."""
    assert_resumes(
        tmp_path,
        lambda: make_vector_env("Pendulum-v1", n_envs),
        stop=stop,
        policy="GSDEPolicy",
        policy_kwargs={"hidden_sizes": [16], "noise_steps": 9},
    )


def evaluation() -> list[CallbackLike]:
    return [EvalCallback("Pendulum-v1", n_eval_episodes=1, eval_freq=50, deterministic=False)]


def test_resumes_exactly_with_an_evaluation(tmp_path: Path) -> None:
    whole = evaluation()
    train("Pendulum-v1", tmp_path / "whole", whole)
    train("Pendulum-v1", tmp_path / "parts", [*evaluation(), stop_at(197)]).save(tmp_path / "x", replay_buffer=True)
    parts = evaluation()
    SAC.load(tmp_path / "x", "Pendulum-v1").resume([*parts, lambda model: None])
    for one, other in zip(whole, parts, strict=True):
        assert isinstance(one, EvalCallback)
        assert isinstance(other, EvalCallback)
        assert other.history == one.history
        assert other.best_mean_reward == one.best_mean_reward
        assert len(one.history["timesteps"]) == 6


class InTheMiddle(Callback):
    """Stops training in a hook, or lets it save there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_rollout_end(self) -> None:
        if self.num_timesteps == 184:  # a block of gradient steps is due
            self.model.save(self.path, replay_buffer=True)


def test_what_a_hook_saves_is_the_end_of_its_step(tmp_path: Path) -> None:
    whole = train("Pendulum-v1", tmp_path / "whole", [InTheMiddle(tmp_path / "x")])
    resumed = SAC.load(tmp_path / "x", "Pendulum-v1", logger_kwargs={}).resume([InTheMiddle(tmp_path / "y")])
    assert fingerprint(resumed) == fingerprint(whole)


def test_resumes_after_an_end_by_episodes(tmp_path: Path) -> None:
    whole = train("Pendulum-v1", tmp_path / "whole", [])
    stopped = train("Pendulum-v1", tmp_path / "parts", [StopTrainingOnMaxEpisodes(3)])
    assert stopped.num_timesteps == 150
    stopped.save(tmp_path / "x", replay_buffer=True)
    assert fingerprint(SAC.load(tmp_path / "x", "Pendulum-v1").resume()) | {"callbacks": ""} == (
        fingerprint(whole) | {"callbacks": ""}
    )


def test_a_loaded_run_can_be_saved_again_before_it_goes_on(tmp_path: Path) -> None:
    whole = train("Pendulum-v1", tmp_path / "whole", [])
    train("Pendulum-v1", tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    SAC.load(tmp_path / "x").save(tmp_path / "y", replay_buffer=True)
    resumed = SAC.load(tmp_path / "y")
    resumed.set_env("Pendulum-v1")
    resumed.resume()
    assert fingerprint(resumed)["parameters"] == fingerprint(whole)["parameters"]


def test_the_buffer_is_read_when_it_is_needed(tmp_path: Path) -> None:
    train("Pendulum-v1", tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    model = SAC.load(tmp_path / "x.zip")
    assert model._memory is None
    (tmp_path / "x.zip").unlink()  # it stays open
    model.predict(model.observation_space.sample())
    assert model._memory is None
    assert len(model.replay_buffer) == 150


class WithATool(gym.Wrapper[Any, Any, Any, Any]):
    """Has something whose state nobody knows, which a pickle keeps."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.tool = {1: "a key that JSON has not"}


def test_other_environments_start_anew_and_say_so(tmp_path: Path) -> None:
    whole = train(lambda: WithATool(gym.make("Pendulum-v1")), tmp_path / "whole", [])
    train(lambda: WithATool(gym.make("Pendulum-v1")), tmp_path / "parts", [stop_at(197)]).save(
        tmp_path / "x", replay_buffer=True
    )
    model = SAC.load(tmp_path / "x", lambda: WithATool(gym.make("Pendulum-v1")))
    with pytest.warns(UserWarning, match=r"new episodes, since .*WithATool.*'tool'.*get_state.*trust=True"):
        model.resume()
    trusted = SAC.load(tmp_path / "x", lambda: WithATool(gym.make("Pendulum-v1")), trust=True, logger_kwargs={})
    trusted.resume()
    assert fingerprint(trusted)["parameters"] == fingerprint(whole)["parameters"]
    assert fingerprint(model)["parameters"] != fingerprint(whole)["parameters"]


class Mode(enum.IntEnum):
    """Of a namedtuple, an enum and the like only the plain part would come back."""

    WAIT = 1


class Plain(gym.Env[Any, Any]):
    """An environment in plain Python; `change` adds what its state can't be known of, or has to be restored."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, change: Callable[[Any], object] = id) -> None:
        self.position, self.count, self.noise = np.zeros(2), 0, 0.0
        change(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.position[:], self.count = self.np_random.uniform(-1, 1, 2), 0
        return self.position.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.position = self.position + 0.1 * float(action[0]) + 0.01 * self.np_random.normal()
        self.count += 1
        self.position += self.extra() if hasattr(self, "extra") else 0.0
        return self.position.astype(np.float32), -float(np.abs(self.position).sum()), False, False, {}


class Offering(Plain):
    """Has an object of its own, and says itself what its state is, with NumPy's numbers in it."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = itertools.count()
        self.drift = np.float32(0.0)

    def reset(self, **keywords: Any) -> Any:
        self.drift = np.float32(0.0)
        return super().reset(**keywords)

    def extra(self) -> float:
        self.drift += np.float32(0.001)
        return float(self.drift)

    def get_state(self) -> dict[str, Any]:
        return {"position": self.position, "count": np.int64(self.count), "drift": self.drift}

    def set_state(self, state: dict[str, Any]) -> None:
        self.position, self.count, self.drift = state["position"], state["count"], state["drift"]


@pytest.mark.parametrize("make", [Plain, Offering])
def test_environments_of_one_s_own_resume_exactly(make: Any, tmp_path: Path) -> None:
    assert_resumes(tmp_path, lambda: make)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda env: vars(env).update(zip("ab", [(a := np.zeros(2)), a[:1]], strict=True)), "share memory"),
        (lambda env: setattr(env, "mode", Mode.WAIT), "Mode"),
        (lambda env: setattr(env, "rngs", [np.random.default_rng(0)]), "Generator"),
        (lambda env: setattr(env, "table", collections.defaultdict(int)), "defaultdict"),
        (lambda env: setattr(env, "wide", np.zeros(2, np.longdouble)), "ndarray"),
        (lambda env: setattr(env, "get_state", 3), ""),  # no method of its class: an attribute like others
    ],
)
def test_what_would_come_back_as_something_else_is_refused(change: Any, reason: str, tmp_path: Path) -> None:
    train(lambda: Plain(change), tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    model = SAC.load(tmp_path / "x", lambda: Plain(change), logger_kwargs={})
    if not reason:
        model.resume()
        return
    with pytest.warns(UserWarning, match=f"new episodes, since .*{reason}"):
        model.resume()


class Failing(Plain):
    """Offers its state, and fails at it."""

    def get_state(self) -> Any:
        raise AssertionError("not now")

    def set_state(self, state: Any) -> None:
        raise IndexError("never")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_environment_that_fails_at_its_state_starts_anew(asynchronous: bool, tmp_path: Path) -> None:
    def make() -> Any:
        return make_vector_env(Failing, 1, asynchronous=asynchronous)

    model = train(make(), tmp_path / "parts", [stop_at(150)], num_test_episodes=0)
    model.save(tmp_path / "x", replay_buffer=True)
    loaded = SAC.load(tmp_path / "x", make(), logger_kwargs={})
    with pytest.warns(UserWarning, match="AssertionError: not now"):
        loaded.resume()
    assert loaded.num_timesteps == TOTAL
    close(model, loaded)


def test_another_model_of_mujoco_starts_anew(tmp_path: Path) -> None:
    def heavier() -> Any:
        env = gym.make("HalfCheetah-v5")
        env.unwrapped.model.body_mass[1] *= 2  # type: ignore[attr-defined]
        return env

    train("HalfCheetah-v5", tmp_path / "parts", [stop_at(100)], num_test_episodes=0).save(
        tmp_path / "x", replay_buffer=True
    )
    model = SAC.load(tmp_path / "x", heavier, logger_kwargs={})
    with pytest.warns(UserWarning, match="another model"):
        model.resume()


def test_callbacks_states_survive_a_second_save_and_end_with_their_run(tmp_path: Path) -> None:
    train("Pendulum-v1", tmp_path / "parts", [*evaluation(), stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    SAC.load(tmp_path / "x").save(tmp_path / "y", replay_buffer=True)
    first, second = evaluation(), evaluation()
    for path, callbacks in ((tmp_path / "x", first), (tmp_path / "y", second)):
        SAC.load(path, "Pendulum-v1", logger_kwargs={}).resume([*callbacks, lambda model: None])
    assert first[0].history == second[0].history  # type: ignore[union-attr]
    assert len(second[0].history["timesteps"]) == 6  # type: ignore[union-attr]

    model, third = SAC.load(tmp_path / "x", "Pendulum-v1", logger_kwargs={}), evaluation()
    model.learn(TOTAL, [*third, stop_at(60)])  # another run: the old one's history is not its own
    model.resume([*third, lambda model: None])
    assert third[0].history["timesteps"] == [50, 100, 150, 200, 250, 300]  # type: ignore[union-attr]


def test_a_loaded_agent_can_be_copied(tmp_path: Path) -> None:
    train("Pendulum-v1", tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    assert len(copy.deepcopy(SAC.load(tmp_path / "x")).replay_buffer) == 150


def test_another_folder_is_not_its_own(tmp_path: Path) -> None:
    train("Pendulum-v1", tmp_path / "other", [stop_at(150)])
    train("Pendulum-v1", tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    model = SAC.load(tmp_path / "x", "Pendulum-v1", logger_kwargs={"output_dir": tmp_path / "other"})
    with pytest.raises(FileExistsError, match="other"):
        model.resume()


def test_another_number_of_environments_starts_anew(tmp_path: Path) -> None:
    train("Pendulum-v1", tmp_path / "parts", [stop_at(150)]).save(tmp_path / "x", replay_buffer=True)
    model = SAC.load(tmp_path / "x", make_vector_env("Pendulum-v1", 2), logger_kwargs={})
    with pytest.warns(UserWarning, match="there were 1 environments, now there are 2"):
        model.resume()
    assert model.num_timesteps == TOTAL


def test_learning_more_enters_the_saved_episodes(tmp_path: Path) -> None:
    first = train("Pendulum-v1", tmp_path / "a", [])
    first.save(tmp_path / "x", replay_buffer=True)
    loaded = SAC.load(tmp_path / "x", "Pendulum-v1", logger_kwargs={})
    first.learn(200, reset_num_timesteps=False)
    loaded.learn(200, reset_num_timesteps=False)
    assert fingerprint(loaded) == fingerprint(first)


def test_checkpoints_are_whole(tmp_path: Path) -> None:
    def checkpoints(folder: str) -> CheckpointCallback:
        return CheckpointCallback(100, tmp_path / folder, save_replay_buffer=True)

    whole = train("Pendulum-v1", tmp_path / "whole", [checkpoints("a")])
    for step in (100, 300):
        resumed = SAC.load(tmp_path / "a" / f"model_{step}_steps.zip", "Pendulum-v1", logger_kwargs={})
        resumed.resume([checkpoints(f"b{step}")])
        found, expected = fingerprint(resumed), fingerprint(whole)
        found.pop("callbacks"), expected.pop("callbacks")
        assert found == expected
