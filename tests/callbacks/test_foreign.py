"""Callbacks that were written for Stable-Baselines3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_style import BaseCallback
from scripted_envs import ForeignVectorEnv, ScriptedEnv

import slc_agents
from slc_agents import SAC, load
from slc_agents.callbacks import Callback, CallbackList, EvalCallback, EveryNTimesteps, ForeignCallback, make_callback
from slc_agents.callbacks.foreign import infos_of
from slc_agents.training.collector import Collector

SETTINGS = {
    "policy_kwargs": {"hidden_sizes": [8]},
    "batch_size": 4,
    "replay_size": 200,
    "update_after": 10,
    "update_every": 5,
    "steps_per_update": 1,
    "steps_per_epoch": 20,
    "num_test_episodes": 0,
    "seed": 2,
}


def make(n_envs=1, lengths=(7,), env=None, terminates=True, **changes):
    factories = [lambda i=i: ScriptedEnv(i, lengths, terminates=terminates) for i in range(n_envs)]
    return SAC("MlpPolicy", env or factories, **{**SETTINGS, **changes})


class Recorder(BaseCallback):
    """Writes down each hook, and what it finds in its locals at each step."""

    def __init__(self, answer=True):
        super().__init__()
        self.answer, self.hooks, self.steps, self.start = answer, [], [], None

    def _init_callback(self):
        self.hooks.append("init")

    def _on_training_start(self):
        self.hooks.append("training_start")
        self.start = dict(self.locals)

    def _on_rollout_start(self):
        self.hooks.append("rollout_start")

    def _on_rollout_end(self):
        self.hooks.append("rollout_end")

    def _on_training_end(self):
        self.hooks.append("training_end")

    def _on_step(self):
        self.hooks.append("step")
        self.steps.append({key: self.locals[key] for key in ("actions", "rewards", "dones", "new_obs", "infos")})
        return self.answer(self) if callable(self.answer) else self.answer


class Bare:
    """No more than what makes one such a callback."""

    locals = None

    def init_callback(self, model):
        self.model = model

    def on_step(self):
        self.seen = (self.model.num_timesteps, sorted(self.locals))


# -- which objects are taken -------------------------------------------------------------------------------------------


def test_they_are_known_by_what_they_have():
    recorder = Recorder()
    made = make_callback(recorder)
    assert isinstance(made, ForeignCallback)
    assert made.callback is recorder
    assert isinstance(make_callback([recorder, print]).callbacks[0], ForeignCallback)
    own = Callback()
    assert make_callback(own) is own


@pytest.mark.parametrize("wrong", [Recorder, type("Half", (), {"on_step": print})()])
def test_a_class_and_half_a_callback_are_refused(wrong):
    with pytest.raises(TypeError, match="with init_callback and on_step"):
        make_callback(wrong)


# -- hooks and locals --------------------------------------------------------------------------------------------------


def test_hooks_come_in_order_and_counts_are_right():
    recorder = Recorder()
    model = make(n_envs=2).learn(12, recorder)
    assert recorder.hooks == [
        "init", "training_start", "rollout_start",
        "step", "step", "step", "step", "rollout_end", "rollout_start", "step", "step",
        "rollout_end", "training_end",
    ]  # fmt: skip
    assert (recorder.n_calls, recorder.num_timesteps, model.n_updates) == (6, 12, 1)
    assert recorder.training_env is model.env


def test_locals_at_the_start():
    recorder = Recorder()
    model = make()
    model.learn(5, recorder, log_interval=3)
    assert recorder.start["total_timesteps"] == 5
    assert recorder.start["log_interval"] == 3
    assert recorder.start["env"] is model.env
    assert recorder.start["callback"] is recorder
    assert recorder.start["self"] is recorder.model
    assert "rewards" not in recorder.start
    model.learn(5, recorder, reset_num_timesteps=False)
    assert recorder.start["total_timesteps"] == 10


def test_nothing_is_left_of_an_earlier_training():
    recorder = Recorder()
    callback = ForeignCallback(recorder)
    make().learn(5, callback).learn(5, callback)
    assert recorder.hooks.count("init") == 2
    assert "rewards" not in recorder.start


@pytest.mark.parametrize("terminates", [True, False])
def test_locals_of_each_step(terminates):
    recorder = Recorder()
    make(n_envs=2, lengths=(3,), terminates=terminates).learn(8, recorder)
    assert [step["rewards"].tolist() for step in recorder.steps] == [[1, 101], [2, 102], [3, 103], [11, 111]]
    assert [step["dones"].tolist() for step in recorder.steps] == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    assert [step["new_obs"].tolist() for step in recorder.steps] == [
        [[0, 0, 1], [1, 0, 1]],
        [[0, 0, 2], [1, 0, 2]],
        [[0, 1, 0], [1, 1, 0]],  # of the next episodes
        [[0, 1, 1], [1, 1, 1]],
    ]
    assert all(step["actions"].shape == (2, 2) for step in recorder.steps)
    assert [step["infos"] for step in recorder.steps[:2]] == [[{"TimeLimit.truncated": False}] * 2] * 2
    for i, info in enumerate(recorder.steps[2]["infos"]):
        assert info.pop("terminal_observation").tolist() == [i, 0, 3]
        assert info["episode"].pop("t") >= 0.0
        assert info == {"TimeLimit.truncated": not terminates, "episode": {"r": 6 + 300 * i, "l": 3}}


def test_actions_are_those_that_the_environment_received():
    env, recorder = ScriptedEnv(), Recorder()
    SAC("MlpPolicy", env, **SETTINGS).learn(4, recorder)
    assert np.array_equal(np.concatenate([step["actions"] for step in recorder.steps]), np.stack(env.actions))


def test_of_the_least_of_callbacks_locals_are_set():
    bare = Bare()
    make().learn(3, bare)
    t, names = bare.seen
    assert t == 3
    assert {"infos", "rewards", "dones", "new_obs", "actions", "self", "total_timesteps"} <= set(names)


@pytest.mark.parametrize("answer", [False, np.False_, 0])
def test_a_false_answer_ends_training(answer):
    assert make().learn(9, Recorder(answer)).num_timesteps == 1


@pytest.mark.parametrize("answer", [True, None, 1])
def test_another_answer_does_not(answer):
    assert make().learn(9, Recorder(answer)).num_timesteps == 9


def test_numpys_false_of_a_function_ends_training_too():
    assert make().learn(9, lambda model: np.float64(model.num_timesteps) < 4).num_timesteps == 4


def test_they_work_inside_ours():
    inner, listed = Recorder(), Recorder()
    make().learn(20, CallbackList([EveryNTimesteps(6, inner), [listed]]))
    assert (inner.n_calls, inner.num_timesteps, listed.n_calls) == (3, 18, 20)


def test_stoppers_find_our_evaluation():
    class Threshold(BaseCallback):
        def _on_step(self):
            return self.parent.best_mean_reward < 5

    evaluation = EvalCallback(ScriptedEnv(0, [3]), callback_on_new_best=Threshold(), eval_freq=4, n_eval_episodes=1)
    assert make().learn(20, evaluation).num_timesteps == 4


def test_training_is_the_same_with_them():
    alone, watched = make(2).learn(40), make(2).learn(40, Recorder())
    assert all(np.array_equal(value, watched.get_parameters()[name]) for name, value in alone.get_parameters().items())


# -- infos -------------------------------------------------------------------------------------------------------------


class Telling(ScriptedEnv):
    """Says things, not all of them at each step."""

    def step(self, action):
        *rest, _ = super().step(action)
        info = {
            "step": self.elapsed,
            "nested": {"where": np.array([self.index, self.elapsed])},
            "name": f"e{self.index}",
        }
        if self.elapsed == 2:
            info["is_success"] = self.index == 1
        return *rest, info


def infos(env, n):
    collector = Collector(env)
    collector.reset(0)
    for _ in range(n):
        collector.step(np.zeros((env.num_envs, 2), np.float32))
        yield infos_of(collector.last_step, 1.5)


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_each_environment_has_its_own_info(mode):
    env = SyncVectorEnv([lambda i=i: Telling(i, (2 + i,)) for i in range(2)], autoreset_mode=mode)
    first, second = list(infos(env, 2))
    assert first[1].pop("nested")["where"].tolist() == [1, 1]
    assert first[1] == {"step": 1, "name": "e1", "TimeLimit.truncated": False}
    ended, running = second
    assert ended["is_success"] is False
    assert running["is_success"] is True
    assert (ended["step"], running["step"]) == (2, 2)
    assert ended["terminal_observation"].tolist() == [0, 0, 2]
    assert ended["episode"] == {"r": 3.0, "l": 2, "t": 1.5}
    assert not {"episode", "terminal_observation", "final_info", "final_obs"} & set(running)
    assert not {"final_info", "final_obs"} & set(ended)


def test_a_step_that_only_resets_brings_nothing():
    env = ForeignVectorEnv([ScriptedEnv(1), ScriptedEnv(0, (2,))], AutoresetMode.NEXT_STEP)
    recorder = Recorder()
    SAC("MlpPolicy", env, **SETTINGS).learn(7, recorder)
    assert [step["rewards"].tolist() for step in recorder.steps] == [[101, 1], [102, 2], [103, 0], [104, 11]]
    assert [step["dones"].tolist() for step in recorder.steps] == [
        [False, False], [False, True], [False, False], [False, False]
    ]  # fmt: skip
    assert [sorted(step["infos"][1]) for step in recorder.steps[1:3]] == [
        ["TimeLimit.truncated", "episode", "terminal_observation"], ["TimeLimit.truncated"]
    ]  # fmt: skip


def test_dict_observations():
    env = SyncVectorEnv([lambda: ScriptedEnv(0, (1,), kind="dict")], autoreset_mode=AutoresetMode.DISABLED)
    ((info,),) = infos(env, 1)
    assert info["terminal_observation"]["numbers"].tolist() == [0, 0, 1]
    assert info["terminal_observation"]["image"].shape == (2, 2)


# -- the model that they see -------------------------------------------------------------------------------------------


def seen_by_a_callback(look, steps=20, **changes):
    """Returns what `look(callback)` gave at the last step, and the agent."""
    seen = {}
    recorder = Recorder(lambda callback: seen.update(it=look(callback)) or True)
    return make(**changes).learn(steps, recorder), seen.get("it")


def test_the_model_is_the_agent():
    agent, model = seen_by_a_callback(lambda callback: callback.model, n_envs=2)
    assert type(model).__name__ == "SAC"
    for name in ("policy", "env", "replay_buffer", "num_timesteps", "n_updates", "seed", "action_space", "config"):
        assert getattr(model, name) is getattr(agent, name) or getattr(model, name) == getattr(agent, name), name
    assert (model.n_envs, model.gamma, model.batch_size) == (2, 0.99, 4)
    assert model._total_timesteps == 20
    assert model.get_vec_normalize_env() is None
    assert model.get_env() is agent.env
    assert callable(model.export)  # not the hyperparameter of that name
    assert np.array_equal(*(one.predict(np.ones(3, np.float32), deterministic=True)[0] for one in (model, agent)))
    assert model.verbose == 0


def test_hyperparameters_are_found_where_attributes_are_listed():
    _, listed = seen_by_a_callback(lambda callback: dict(vars(callback.model)))
    assert listed["lr_a"] == 1e-4
    assert listed["seed"] == 2
    assert listed["policy_kwargs"] == {"hidden_sizes": [8]}
    assert "export" not in listed
    assert "num_timesteps" not in listed  # it would stay as it was at the start


def test_recent_episodes():
    agent, buffer = seen_by_a_callback(lambda callback: callback.model.ep_info_buffer)
    assert buffer == [{"r": 28, "l": 7}, {"r": 98, "l": 7}]
    assert [episode.reward for episode in agent.recent_episodes] == [28, 98]


def test_what_is_not_there_says_so():
    def look(callback):
        with pytest.raises(AttributeError, match=r"model\.ent_coef: neither agents of slc_agents nor"):
            callback.model.ent_coef  # noqa: B018
        assert not hasattr(callback.model, "ent_coef")
        assert getattr(callback.model, "_vec_normalize_env", None) is None
        for name in ("gamma", "num_timesteps", "logger"):
            with pytest.raises(AttributeError, match=rf"model\.{name}: it can't be set"):
                setattr(callback.model, name, 0.5)
        with pytest.raises(AttributeError, match=r"model\.gamma: it can't be deleted"):
            del callback.model.gamma
        callback.model.of_mine = 3
        return callback.model.of_mine

    agent, value = seen_by_a_callback(look, 1)
    assert value == 3
    assert not hasattr(agent, "of_mine")


def test_saving(tmp_path):
    def look(callback):
        callback.model.save(tmp_path / "model")
        callback.model.save_replay_buffer(str(tmp_path / "buffer.pkl"))

    seen_by_a_callback(look, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["buffer.zip", "model.zip"]
    assert load(tmp_path / "model").num_timesteps == 6
    assert len(load(tmp_path / "buffer").replay_buffer) == 6


# -- the log -----------------------------------------------------------------------------------------------------------


def test_records_stand_in_the_log(tmp_path):
    class Records(BaseCallback):
        def _on_step(self):
            self.logger.record("mine/last", self.n_calls, exclude="tensorboard")
            self.logger.record_mean("mine/mean", self.n_calls, exclude=("stdout",))
            self.logger.record_mean("mine/mean", None)
            self.values = self.logger.name_to_value
            return True

    callback = Records()
    agent = make(logger_kwargs={"output_dir": tmp_path / "run"}).learn(20, callback)
    assert (agent.logger.latest["mine/last"], agent.logger.latest["mine/mean"]) == (20, 10.5)
    assert (callback.values["mine/last"], callback.values["mine/mean"]) == (20, 10.5)
    assert callback.logger.name_to_value["train/n_updates"] == agent.n_updates
    assert callback.logger.dir == callback.logger.get_dir() == str(tmp_path / "run")


def test_a_dump_is_a_row_of_its_own():
    class Dumps(BaseCallback):
        def _on_step(self):
            if self.n_calls == 8:
                self.model.dump_logs()
                self.rows = [self.logger.name_to_value]
            if self.n_calls == 9:
                self.logger.record("mine/x", 1)
                self.logger.dump(self.num_timesteps)
                self.rows.append(self.logger.name_to_value)
            return True

    callback = Dumps()
    make().learn(10, callback)
    assert callback.rows == [
        {"time/total_timesteps": 8, "time/episodes": 1, "rollout/ep_rew_mean": 28, "rollout/ep_len_mean": 7},
        {"mine/x": 1},
    ]


def test_what_no_row_can_hold_is_left_out_in_words():
    class Figure:
        pass

    class Draws(BaseCallback):
        def _on_step(self):
            self.logger.record("mine/figure", Figure())
            return True

    with pytest.warns(UserWarning, match=r"left out: the value of 'mine/figure' must be a number or a text"):
        agent = make().learn(20, Draws())
    assert "mine/figure" not in agent.logger.latest


def test_messages_go_to_pythons_logging(caplog):
    def look(callback):
        say = callback.logger
        say.warn("two", 2)
        say.error("bad")
        say.log("said")
        say.info("also")
        say.debug("quietly")

    with caplog.at_level("DEBUG", "slc_agents"):
        seen_by_a_callback(look, 1)
    messages = [(record.levelname, record.message) for record in caplog.records]
    assert messages.pop(0)[1].startswith("gradient steps on the CPU: ")  # training's own
    assert messages == [
        ("WARNING", "two 2"),
        ("ERROR", "bad"),
        ("INFO", "said"),
        ("INFO", "also"),
        ("DEBUG", "quietly"),
    ]


# -- Weights & Biases' own ---------------------------------------------------------------------------------------------

WANDB_SCRIPT = """
import json, sys, types
import sb3_style
# W&B's callback is a subclass of Stable-Baselines3's, of which it uses no more than this.
for name in ("stable_baselines3", "stable_baselines3.common", "stable_baselines3.common.callbacks"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["stable_baselines3.common.callbacks"].BaseCallback = sb3_style.BaseCallback

import wandb
from wandb.integration.sb3 import WandbCallback
from slc_agents import SAC

run = wandb.init(project="test", config={"gamma": "the user's"})
settings = json.loads(sys.argv[1])
settings["logger_kwargs"] = {"output_dir": "out", "sinks": ["wandb"]}  # W&B keeps gradients with the next row
model = SAC("MlpPolicy", "Pendulum-v1", **settings)
callback = WandbCallback(model_save_path="models", model_save_freq=30, gradient_save_freq=1, verbose=2)
model.learn(60, callback)
assert callback.n_calls == 60
config, summary = dict(run.config), dict(run.summary)
run.finish()
gradients = sorted(key for key in summary if key.startswith("gradients/"))
print(json.dumps([config["algo"], config["lr_a"], config["gamma"], config["policy_kwargs/hidden_sizes"], gradients]))
"""


@pytest.mark.slow
def test_wandbs_callback_runs_unchanged(tmp_path):
    # In a process of its own: W&B starts a service and leaves threads and sockets behind until the process ends.
    pytest.importorskip("wandb")
    paths = [Path(slc_agents.__file__).parents[1], Path(__file__).parents[1] / "support"]
    environment = {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [sys.executable, "-c", WANDB_SCRIPT, json.dumps(SETTINGS)]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    algorithm, rate, gamma, sizes, gradients = json.loads(result.stdout.splitlines()[-1])
    assert (algorithm, rate, gamma, sizes) == ("SAC", 1e-4, "the user's", "[8]")
    assert "gradients/actor.mean.weight" in gradients
    agent = load(tmp_path / "models" / "model.zip")
    assert agent.num_timesteps == 60
    assert agent.observation_space == gymnasium.make("Pendulum-v1").observation_space
