from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from fake_model import FakeModel, run_steps

from slc_agents.callbacks import CheckpointCallback, ExportCallback
from slc_agents.callbacks.saving import RunFolderCallback


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("n_envs", [1, 3])
def test_checkpoints_are_named_by_their_steps(tmp_path, n_envs):
    model = FakeModel()
    run_steps(CheckpointCallback(10, tmp_path / "new", "sac"), model, 30, n_envs)
    steps = [10, 20, 30] if n_envs == 1 else [12, 21, 30]
    assert model.saved == [(f"sac_{t}_steps.zip", t, False) for t in steps]


def test_the_replay_buffer_is_asked_for(tmp_path):
    model = FakeModel()
    run_steps(CheckpointCallback(10, tmp_path, save_replay_buffer=True), model, 10)
    assert model.saved == [("model_10_steps.zip", 10, True)]


def test_one_is_written_where_a_run_ends_early(tmp_path):
    model = FakeModel()
    run_steps(CheckpointCallback(10, tmp_path, save_replay_buffer=True), model, 15)
    assert model.saved == [("model_10_steps.zip", 10, True), ("model_15_steps.zip", 15, True)]
    model.saved.clear()
    run_steps(CheckpointCallback(10, tmp_path), model, 25)  # nothing could go on from one without the buffer
    assert model.saved == [("model_20_steps.zip", 20, False)]
    model.saved.clear()
    run_steps(CheckpointCallback(10, tmp_path, save_replay_buffer=True), model, 105)  # to its planned end
    assert [t for _, t, _ in model.saved] == [30, 40, 50, 60, 70, 80, 90, 100]
    model.run.total, model.run.exact = 1000, False  # in the middle of a step
    model.saved.clear()
    run_steps(CheckpointCallback(10, tmp_path, save_replay_buffer=True), model, 115)
    assert [t for _, t, _ in model.saved] == [110]


def test_they_come_by_time_too(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("slc_agents.callbacks.saving.time.monotonic", lambda: clock[0])
    model = FakeModel()

    class Late(CheckpointCallback):
        def on_step(self):
            clock[0] += 1.0
            super().on_step()

    run_steps(Late(None, tmp_path, every_seconds=7), model, 20)
    assert [t for _, t, _ in model.saved] == [7, 15]  # the clock starts when the last one is written
    model = FakeModel()
    run_steps(Late(10, tmp_path, every_seconds=7), model, 30)
    assert [t for _, t, _ in model.saved] == [7, 10, 18, 20, 28, 30]


def test_what_could_not_be_written_costs_nothing(tmp_path):
    model = FakeModel()
    callback = CheckpointCallback(10, tmp_path, keep=1)
    run_steps(callback, model, 15, ends=False)
    model.save = lambda path, *, replay_buffer=False: None  # as where the disk is full
    run_steps(callback, model, 45)
    assert names(tmp_path) == ["model_10_steps.zip"]


def test_a_best_that_could_not_be_written_costs_not_the_one_before(tmp_path):
    model = FakeModel()
    callback = CheckpointCallback(10, tmp_path, keep=1, keep_best=True)
    model.mean_recent_return = 1.0
    run_steps(callback, model, 15, ends=False)
    model.mean_recent_return = 0.0
    run_steps(callback, model, 25, ends=False)
    write, model.mean_recent_return = model.save, 2.0
    model.save = lambda path, *, replay_buffer=False: None  # as where the disk is full
    run_steps(callback, model, 35)
    assert callback.best_path == tmp_path / "model_10_steps.zip"
    model.save, model.mean_recent_return = write, 0.5
    run_steps(callback, model, 45)
    assert names(tmp_path) == ["model_10_steps.zip", "model_40_steps.zip"]


def test_one_that_has_diverged_is_not_saved(tmp_path):
    model = FakeModel()
    callback = CheckpointCallback(10, tmp_path)
    run_steps(callback, model, 15)
    model.parameters = {"actor/0/weight": np.array([0.0, np.nan])}
    run_steps(callback, model, 25)
    assert names(tmp_path) == ["model_10_steps.zip"]


@pytest.mark.parametrize("opt_type", ["maximize", "minimize"])
def test_the_best_is_kept(tmp_path, opt_type):
    model = FakeModel(opt_type)
    returns = {10: None, 20: 1.0, 30: 3.0, 40: 2.0, 50: 2.0, 60: 4.0, 70: 3.0, 80: 1.0}

    class Scored(CheckpointCallback):
        def on_step(self):
            score = returns.get(self.num_timesteps)
            self.model.mean_recent_return = score if opt_type == "maximize" or score is None else -score
            super().on_step()

    callback = Scored(10, tmp_path, keep=1, keep_best=True)
    run_steps(callback, model, 55)
    assert callback.best_path == tmp_path / "model_30_steps.zip"
    assert names(tmp_path) == ["model_30_steps.zip", "model_50_steps.zip"]
    again = Scored(10, tmp_path, keep=1, keep_best=True)
    again.load_state_dict(json.loads(json.dumps(callback.state_dict())))
    run_steps(again, model, 85)
    assert names(tmp_path) == ["model_60_steps.zip", "model_80_steps.zip"]


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept(tmp_path, keep):
    model = FakeModel()
    run_steps(CheckpointCallback(10, tmp_path, keep=keep), model, 42)
    assert names(tmp_path) == [f"model_{t}_steps.zip" for t in (30, 40)[-keep:]]


def test_the_last_checkpoint_stays_until_the_next_is_written(tmp_path):
    """With the replay buffer, a save is carried out at the end of the step: the old one must not go before."""

    class Deferring(FakeModel):
        pending = None

        def save(self, path, *, replay_buffer=False):
            self.pending = lambda: FakeModel.save(self, path, replay_buffer=replay_buffer)

    model = Deferring()
    callback = CheckpointCallback(10, tmp_path, save_replay_buffer=True, keep=1)
    callback.bind(model)
    callback.on_training_start()
    for t in range(1, 36):
        model.num_timesteps = t
        callback.on_step()
        assert t <= 10 or len(names(tmp_path)) >= 1  # wherever the power fails
        if model.pending:
            model.pending()
            model.pending = None
    assert names(tmp_path) == ["model_30_steps.zip"]


def test_checkpoints_of_others_stay(tmp_path):
    (tmp_path / "model_5_steps.zip").touch()
    run_steps(CheckpointCallback(10, tmp_path, keep=1), FakeModel(), 20)
    assert names(tmp_path) == ["model_20_steps.zip", "model_5_steps.zip"]


def test_its_own_are_known_after_an_interruption(tmp_path):
    model = FakeModel()
    first = CheckpointCallback(10, tmp_path, keep=2)
    run_steps(first, model, 25)
    second = CheckpointCallback(10, tmp_path, keep=2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    run_steps(second, model, 45)
    assert names(tmp_path) == ["model_30_steps.zip", "model_40_steps.zip"]
    second.load_state_dict({})  # of a run that had no such callback
    assert len(second.state_dict()["written"]) == 2


def test_one_written_again_is_the_newest(tmp_path):
    model = FakeModel()
    callback = CheckpointCallback(10, tmp_path, keep=2)
    run_steps(callback, model, 20)
    model.num_timesteps = 0  # learned anew
    run_steps(callback, model, 10)
    run_steps(callback, model, 10)
    model.num_timesteps = 20
    run_steps(callback, model, 30)
    assert names(tmp_path) == ["model_10_steps.zip", "model_30_steps.zip"]


def test_keep_is_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="keep=0: a whole number of at least 1"):
        CheckpointCallback(10, tmp_path, keep=0)


# -- the run's folder --------------------------------------------------------------------------------------------------


def run_epochs(callback, model, n):
    callback.bind(model)
    callback.on_training_start()
    for _ in range(n):
        model.num_timesteps += 10
        model.run.finished_epochs += 1
        callback.on_epoch_end()
    callback.on_training_end()


def test_a_run_folder_has_config_and_agent(tmp_path):
    model = FakeModel()
    run_epochs(RunFolderCallback(tmp_path / "a" / "b", 2, export=False), model, 5)
    assert model.saved == [("agent.zip", t, False) for t in (20, 40, 50)]
    assert names(tmp_path / "a" / "b") == ["agent.zip", "config.yaml"]
    config = yaml.safe_load((tmp_path / "a" / "b" / "config.yaml").read_text())
    assert config == {"seed": 3, "rate": "<built-in function len>"}
    assert model.exported == []


@pytest.mark.parametrize(("policy", "said"), [("GSDEPolicy", "GSDEPolicy"), ("MlpPolicy", None), (dict, None)])
def test_the_config_names_a_policy_that_is_not_the_usual_one(tmp_path, policy, said):
    model = FakeModel()
    model.policy_class = policy
    run_epochs(RunFolderCallback(tmp_path, 2, export=False), model, 1)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()).get("policy") == said


def test_a_run_folder_has_the_policy_where_it_is_wanted(tmp_path):
    model = FakeModel()
    run_epochs(RunFolderCallback(tmp_path, 1, export=True), model, 1)
    assert [(path.name, t) for path, _, t in model.exported] == [("policy", 10)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_agent_that_has_diverged_overwrites_nothing(tmp_path, value):
    model = FakeModel()
    model.parameters["critic/0/weight"] = np.array([1.0, value])
    run_epochs(RunFolderCallback(tmp_path, 1, export=True), model, 2)
    assert model.saved == model.exported == []


# -- exporting ---------------------------------------------------------------------------------------------------------


def test_the_policy_is_exported_at_the_end(tmp_path):
    model = FakeModel()
    run_steps(ExportCallback(tmp_path / "policy.onnx"), model, 10, ends=False)
    assert model.checked_exports == [(tmp_path / "policy.onnx", None)]  # before training
    assert model.exported == []
    run_steps(ExportCallback(str(tmp_path / "policy"), "torch_export"), model, 20)
    assert model.checked_exports[1:] == [(tmp_path / "policy", "torch_export")]
    assert model.exported == [(tmp_path / "policy", "torch_export", 20)]
