"""The loop with a real agent: what the parts promise one another."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted_envs import ForeignVectorEnv, ScriptedEnv

from slc_agents import SAC
from slc_agents.callbacks import (
    Callback,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    ExportCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from slc_agents.errors import NotResumableError

OBSERVATION = np.array([[0.6, 0.8, 1.0], [-1.0, 0.0, -3.0]], np.float32)
SETTINGS = {
    "policy_kwargs": {"hidden_sizes": [8]},
    "batch_size": 8,
    "replay_size": 300,
    "start_steps": 20,
    "update_after": 30,
    "update_every": 7,
    "steps_per_update": 2,
    "steps_per_epoch": 50,
    "num_test_episodes": 1,
    "max_ep_len": 40,
    "seed": 4,
}


def pendulum(n_envs=1, **changes):
    return SAC("MlpPolicy", "Pendulum-v1", n_envs=n_envs, **{**SETTINGS, **changes})


def everything(model):
    """All that training makes, but for the wall clock."""
    row = {key: value for key, value in model.logger.latest.items() if key not in ("time/fps", "time/time_elapsed")}
    state = model._state.state_dict()
    state["run"].pop("seconds")
    return {
        "parameters": model.get_parameters(),
        "buffer": model.replay_buffer.state_dict(),
        "row": row,
        "state": state,
        "streams": {name: generator.bit_generator.state for name, generator in model._generators.items()},
        "observation": model._collector.observation,
        "episodes": (model._collector._returns.tolist(), model._collector._lengths.tolist()),
    }


class StopAt(Callback):
    def __init__(self, t):
        self.t = t

    def on_step(self):
        return self.num_timesteps < self.t


class CtrlCAt(StopAt):
    def on_step(self):
        if self.num_timesteps >= self.t:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [StopAt, CtrlCAt])
@pytest.mark.parametrize(
    ("n_envs", "reference", "stops"),
    [
        (1, "epoch", [10]),  # amid the random steps
        (1, "step", [77]),  # amid an epoch and an episode
        (1, "epoch", [50, 51, 100]),  # at the end of an epoch, and again and again
        (3, "step", [77]),
        (3, "epoch", [19, 102]),  # amid the random steps of one vector step; at the end of an epoch
    ],
)
def test_going_on_equals_going_through(n_envs, reference, stops, stop):
    through = pendulum(n_envs, lr_decay_ref=reference).learn(130)
    model = pendulum(n_envs, lr_decay_ref=reference).learn(130, stop(stops[0]))
    for t in stops[1:]:
        assert model.num_timesteps < 130
        model.predict(np.zeros(3, np.float32))  # disturbs nothing (but its own stream)
        model.evaluate(1, seed=1)
        model.resume(stop(t))
    model.resume()
    assert through.n_updates > 20
    through._generators.pop("predict")
    model._generators.pop("predict")
    np.testing.assert_equal(everything(model), everything(through))


def test_a_run_that_is_over_cannot_be_resumed():
    model = pendulum()
    with pytest.raises(NotResumableError):
        model.resume()
    model.learn(20)
    with pytest.raises(NotResumableError):
        model.resume()


def test_two_ctrl_c_leave_a_usable_agent():
    def twice(model):
        if model.num_timesteps == 60:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    model = pendulum().learn(130, twice)
    assert model.num_timesteps == 60
    assert not model.run.exact
    assert model.predict(np.zeros(3, np.float32))[0].shape == (1,)
    with pytest.warns(UserWarning, match="in the middle of a step"):
        model.resume()
    assert model.num_timesteps == 130
    assert len(model.replay_buffer) == 130


def test_an_error_of_the_environment_leaves_a_usable_agent():
    env = ScriptedEnv(0, [9], wrong=OSError("broken"), wrong_at=60)
    model = SAC("MlpPolicy", env, **{**SETTINGS, "num_test_episodes": 0, "max_ep_len": None})
    with pytest.raises(OSError, match="broken") as raised:
        model.learn(130)
    assert "after 59 steps" in raised.value.__notes__[0]
    assert model.num_timesteps == len(model.replay_buffer) == 59
    with pytest.warns(UserWarning, match="starts new episodes"):
        model.resume()
    assert model.num_timesteps == len(model.replay_buffer) == 130


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_buffer_holds_true_transitions_in_every_mode(mode, n_envs):
    env = SyncVectorEnv([lambda i=i: ScriptedEnv(i, [2, 5]) for i in range(n_envs)], autoreset_mode=mode)
    check_buffer(env, 30)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_buffer_holds_true_transitions_of_a_foreign_env(mode):
    check_buffer(ForeignVectorEnv([ScriptedEnv(i, [2, 5]) for i in range(2)], mode), 30)
    check_buffer(ForeignVectorEnv([ScriptedEnv(0, [2, 5])], mode), 30)


def check_buffer(env, n):
    model = SAC("MlpPolicy", env, **{**SETTINGS, "num_test_episodes": 0, "max_ep_len": None}).learn(n)
    stored = model.replay_buffer.gather(np.arange(len(model.replay_buffer)))
    assert len(stored.reward) == model.num_timesteps >= n
    same = stored.next_observation - stored.observation
    assert (same == [0, 0, 1]).all()
    index, episode, step = stored.next_observation.T
    np.testing.assert_array_equal(stored.reward, 100 * index + 10 * episode + step)
    np.testing.assert_array_equal(stored.terminated, step == np.where(episode % 2, 5, 2))
    np.testing.assert_allclose(stored.discount, 0.99 * ~stored.terminated)


def test_costs_train_as_their_negative_does():
    class Cost(ScriptedEnv):
        sign = 1.0

        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, self.sign * float(np.square(action).sum()), *rest

    class Reward(Cost):
        sign = -1.0

    settings = {**SETTINGS, "max_ep_len": 9}
    costs = SAC("MlpPolicy", Cost, opt_type="minimize", **settings).learn(100)
    rewards = SAC("MlpPolicy", Reward, **settings).learn(100)
    np.testing.assert_equal(costs.get_parameters(), rewards.get_parameters())
    for key in ("rollout/ep_rew_mean", "eval/mean_reward"):
        assert costs.logger.latest[key] == -rewards.logger.latest[key] > 0


def test_no_test_env_is_a_warning_and_no_error():
    class Unique(ScriptedEnv):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    model = SAC("MlpPolicy", Unique(), **{**SETTINGS, "max_ep_len": 9})
    with pytest.warns(UserWarning, match="eval_env=.*num_test_episodes=0"):
        model.learn(50)
    assert "rollout/ep_rew_mean" in model.logger.latest
    assert "eval/mean_reward" not in model.logger.latest


def test_stopping_by_episodes():
    model = pendulum(3).learn(500, StopTrainingOnMaxEpisodes(4))
    assert (model.num_episodes, model.num_timesteps) == (6, 3 * 80)


def test_evaluation_and_checkpoints_in_training(tmp_path):
    seen = []
    evaluation = EvalCallback(
        "Pendulum-v1",
        callback_after_eval=StopTrainingOnNoModelImprovement(100),
        n_eval_episodes=2,
        eval_freq=40,
        best_model_save_path=tmp_path,
    )
    checkpoints = CheckpointCallback(30, tmp_path / "checkpoints", save_replay_buffer=True, keep=2)
    model = pendulum(3).learn(
        130, [evaluation, checkpoints, EveryNTimesteps(50, lambda model: seen.append(model.num_timesteps))]
    )
    assert evaluation.history["timesteps"] == [42, 81, 120]
    assert evaluation.history["ep_lengths"] == [[40, 40]] * 3
    best = max(np.mean(evaluation.history["results"], axis=1))
    assert evaluation.best_mean_reward == pytest.approx(best)
    assert seen == [51, 102]
    written = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in written] == ["model_120_steps.zip", "model_90_steps.zip"]
    best_at = evaluation.history["timesteps"][int(np.argmax(np.mean(evaluation.history["results"], axis=1)))]
    assert SAC.load(tmp_path / "best_model").num_timesteps == best_at
    again = SAC.load(written[1], "Pendulum-v1")
    assert (again.num_timesteps, len(again.replay_buffer)) == (90, 90)
    assert model.num_timesteps == 132


@pytest.mark.parametrize(("threshold", "steps"), [(-1e6, 40), (0.0, 80)])
def test_stopping_by_return(threshold, steps):
    evaluation = EvalCallback(
        "Pendulum-v1", callback_on_new_best=StopTrainingOnRewardThreshold(threshold), n_eval_episodes=1, eval_freq=40
    )
    assert pendulum().learn(80, evaluation).num_timesteps == steps


def test_stopping_without_improvement():
    evaluation = EvalCallback(
        "Pendulum-v1", callback_after_eval=StopTrainingOnNoModelImprovement(1), n_eval_episodes=1, eval_freq=20
    )
    evaluation.best_mean_reward = 1.0  # out of reach: the first evaluation counts as having found it
    assert pendulum().learn(200, evaluation).num_timesteps == 60


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_is_exported_is_the_policy_of_that_moment(tmp_path):
    best, at_best = ExportCallback(tmp_path / "best.pt"), []
    evaluation = EvalCallback(
        "Pendulum-v1",
        callback_on_new_best=[best, lambda model: at_best.append(model.predict(OBSERVATION, deterministic=True)[0])],
        n_eval_episodes=1,
        eval_freq=100,
    )
    model = pendulum(lr_a=1e-2)
    model.learn(100, evaluation)
    model.learn(100, ExportCallback(tmp_path / "last.pt"), reset_num_timesteps=False)
    last = model.predict(OBSERVATION, deterministic=True)[0]
    for name, expected in (("best.pt", at_best[0]), ("last.pt", last)):
        exported = torch.jit.load(tmp_path / name)(torch.from_numpy(OBSERVATION)).numpy()
        np.testing.assert_allclose(exported, expected, atol=1e-5)
    assert not np.allclose(at_best[0], last, atol=1e-4)


@pytest.mark.parametrize("nested", [False, True])
def test_a_format_that_is_not_there_stops_before_training(tmp_path, nested):
    model = pendulum()
    callback = ExportCallback(tmp_path / "policy.xyz")
    with pytest.raises(ValueError, match=r"policy\.xyz.*torchscript \(\.pt\)"):
        model.learn(100, EvalCallback("Pendulum-v1", callback_on_new_best=callback) if nested else callback)
    assert model.num_timesteps == 0


def test_evaluations_must_not_disturb_the_training_env():
    env = ScriptedEnv(0, [9])
    vector_env = SyncVectorEnv([lambda: env])
    settings = {**SETTINGS, "num_test_episodes": 0, "max_ep_len": None}
    for given, evaluated in ((env, env), (vector_env, vector_env), (vector_env, env)):
        model = SAC("MlpPolicy", given, **settings)
        with pytest.raises(ValueError, match="eval_env is the environment that is trained in"):
            model.learn(20, EvalCallback(evaluated))
    SAC("MlpPolicy", env, **settings).learn(20, EvalCallback(ScriptedEnv(0, [9])))


def test_a_save_with_the_buffer_at_the_end_of_training_is_carried_out(tmp_path):
    class Saves(Callback):
        def on_training_end(self):
            self.model.save(tmp_path / "last", replay_buffer=True)

    pendulum().learn(20, Saves())
    assert len(SAC.load(tmp_path / "last").replay_buffer) == 20
