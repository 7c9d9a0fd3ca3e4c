from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from fake_model import FakeModel, run_steps
from media_sink import MediaSink
from scripted_envs import ScriptedEnv

from slc_agents.callbacks import (
    Callback,
    EvalCallback,
    EveryNTimesteps,
    ExportCallback,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from slc_agents.callbacks import evaluation as evaluation_module
from slc_agents.errors import MissingDependencyError


class ScoredEnv(ScriptedEnv):
    """Pays the next of its scores for each episode of one step."""

    def __init__(self, scores):
        super().__init__(0, [1])
        self.scores = iter(scores)

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, next(self.scores), *rest


def callback(scores, **kwargs):
    return EvalCallback(ScoredEnv(scores), n_eval_episodes=1, eval_freq=10, **kwargs)


def test_evaluations_are_logged_and_kept(tmp_path):
    model = FakeModel()
    evaluation = EvalCallback(ScoredEnv(range(4)), n_eval_episodes=2, eval_freq=10, log_path=tmp_path / "a" / "b")
    run_steps(evaluation, model, 23, 3)
    assert evaluation.history == {"timesteps": [12, 21], "results": [[0, 1], [2, 3]], "ep_lengths": [[1, 1], [1, 1]]}
    assert (evaluation.best_mean_reward, evaluation.last_mean_reward) == (2.5, 2.5)
    assert model.logger.dump(0) == {"eval/mean_reward": 2.5, "eval/mean_ep_length": 1}
    with np.load(tmp_path / "a" / "b" / "evaluations.npz") as file:
        assert file["timesteps"].tolist() == [12, 21]
        assert file["results"].tolist() == [[0, 1], [2, 3]]
        assert file["ep_lengths"].shape == (2, 2)


@pytest.mark.parametrize(
    ("opt_type", "best", "at"), [("maximize", 9, [10, 30, 40]), ("minimize", 1, [10, 20])], ids=["rewards", "costs"]
)
def test_the_best_model_is_kept(tmp_path, opt_type, best, at):
    model, news = FakeModel(opt_type), []
    evaluation = callback(
        [3, 1, 5, 9, 9],
        best_model_save_path=tmp_path,
        callback_on_new_best=lambda model: news.append(model.num_timesteps),
    )
    run_steps(evaluation, model, 50)
    assert evaluation.best_mean_reward == best
    assert model.saved == [("best_model.zip", t, False) for t in at]
    assert (tmp_path / "best_model.zip").read_text() == str(at[-1])
    assert news == at
    assert evaluation.last_mean_reward == 9


@pytest.mark.parametrize("deterministic", [True, False])
def test_how_the_policy_is_asked(deterministic):
    model = FakeModel()
    run_steps(callback([0], deterministic=deterministic), model, 10)
    assert model.asked == [deterministic]


def test_evaluations_are_seeded_by_seed_and_step():
    seeds = []
    for _ in range(2):
        evaluation = callback(range(9))
        run_steps(evaluation, FakeModel(), 20)
        seeds.append([seed for seed in evaluation.eval_env.envs[0].unwrapped.seeds if seed is not None])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 2


def test_max_ep_len_of_the_agent_holds():
    model = FakeModel()
    model.config.max_ep_len = 4
    evaluation = EvalCallback(ScriptedEnv(0), n_eval_episodes=2, eval_freq=10)
    run_steps(evaluation, model, 10)
    assert evaluation.history["ep_lengths"] == [[4, 4]]


@pytest.mark.parametrize("place", ["callback_on_new_best", "callback_after_eval"])
def test_inner_callbacks_may_end_training(place):
    evaluation = callback([1, 2, 3], **{place: lambda model: model.num_timesteps < 20})
    assert run_steps(evaluation, FakeModel(), 30) == [20, 30]


def test_both_inner_callbacks_are_asked():
    asked = []
    evaluation = callback(
        [1, 0],
        callback_on_new_best=lambda model: asked.append("best") or False,
        callback_after_eval=lambda model: asked.append("after"),
    )
    assert run_steps(evaluation, FakeModel(), 20) == [10]
    assert asked == ["best", "after", "after"]


def test_inner_callbacks_hear_of_start_and_end():
    heard = []

    class Heard(Callback):
        def on_training_start(self):
            heard.append(("start", self.num_timesteps))

        def on_training_end(self):
            heard.append(("end", self.num_timesteps))

    run_steps(callback([1], callback_on_new_best=Heard(), callback_after_eval=[Heard()]), FakeModel(), 10)
    assert heard == [("start", 0)] * 2 + [("end", 10)] * 2


# -- figures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opt_type", "score"), [("maximize", "return"), ("minimize", "cost")])
def test_figures_go_out_with_the_next_row(monkeypatch, opt_type, score):
    pytest.importorskip("matplotlib")
    drawn = []
    for name in ("draw_returns", "draw_episode"):
        draw = getattr(evaluation_module, name)
        monkeypatch.setattr(evaluation_module, name, lambda *args, draw=draw: (drawn.append(args), draw(*args))[1])
    model, sink = FakeModel(opt_type), MediaSink()
    model.logger.sinks = (sink,)
    evaluation = EvalCallback(
        [lambda: ScriptedEnv(0, [2]), lambda: ScriptedEnv(1, [3])], n_eval_episodes=2, eval_freq=10, figures=True
    )
    run_steps(evaluation, model, 20)
    _, _, (history, its_score), (episode, episode_score, step) = drawn
    assert history is evaluation.history
    assert history["results"] == [[3, 306], [43, 366]]
    assert its_score == episode_score == score
    assert (episode.rewards, step) == ([121, 122, 123], 20)

    assert sink.figures == {}
    model.logger.dump(25)
    assert {key: (image.shape, at) for key, (image, at) in sink.figures.items()} == {
        "eval/returns": ((480, 800, 3), 25),
        "eval/episode": ((660, 800, 3), 25),
    }
    assert all(image.std() > 10 for image, _ in sink.figures.values())


def test_figures_are_only_drawn_where_asked_for(monkeypatch):
    for name in ("draw_returns", "draw_episode"):
        monkeypatch.setattr(evaluation_module, name, lambda *args: pytest.fail("it was drawn"))
    model = FakeModel()
    model.logger.sinks = (MediaSink(),)
    run_steps(callback([1]), model, 10)
    model.logger.sinks = ()
    with pytest.warns(UserWarning, match=r"no sink of the log shows figures, so none are drawn.*tensorboard"):
        run_steps(callback([1], figures=True), model, 20)


def test_figures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"EvalCallback\(figures=True\).*slc-agents\[plot\]"):
        callback([1], figures=True)
    callback([1])


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opt_type", "scores", "stops"),
    [
        ("maximize", [1, 4, 5, 6], [30, 40]),
        ("maximize", [1, 4.9, 4], []),
        ("minimize", [9, 6, 5, 4], [30, 40]),
        ("minimize", [9, 6, 7], []),
    ],
)
@pytest.mark.parametrize("nest", [lambda one: one, lambda one: [[one]], lambda one: EveryNTimesteps(1, one)])
def test_reward_threshold(opt_type, scores, stops, nest):
    stopper = StopTrainingOnRewardThreshold(5)
    evaluation = callback(scores, callback_on_new_best=nest(stopper))
    assert run_steps(evaluation, FakeModel(opt_type), 10 * len(scores)) == stops


@pytest.mark.parametrize(
    ("opt_type", "scores", "borne", "min_evals", "stops"),
    [
        ("maximize", [1, 1, 1, 1], 2, 0, [40]),
        ("maximize", [1, 0, 2, 1, 1, 1], 2, 0, [60]),
        ("maximize", [1, 2, 3, 4], 0, 0, []),
        ("maximize", [5, 4], 0, 0, [20]),
        ("maximize", [5, 4, 3, 2, 1], 1, 3, [50]),
        ("minimize", [5, 4, 4, 6], 1, 0, [40]),
        ("minimize", [1, 2, 3], 1, 0, [30]),
    ],
)
def test_no_model_improvement(opt_type, scores, borne, min_evals, stops):
    stopper = StopTrainingOnNoModelImprovement(borne, min_evals)
    evaluation = callback(scores, callback_after_eval=stopper)
    assert run_steps(evaluation, FakeModel(opt_type), 10 * len(scores)) == stops


@pytest.mark.parametrize("stopper", [StopTrainingOnRewardThreshold(5), StopTrainingOnNoModelImprovement(2)])
def test_judges_need_an_evaluation(stopper):
    with pytest.raises(ValueError, match=r"StopTrainingOn\w+ judges evaluations: give it to an EvalCallback"):
        run_steps(stopper, FakeModel(), 1)


def test_state_survives_json():
    scores = [3, 5, 4, 4, 4]
    through = callback(scores, callback_after_eval=[StopTrainingOnNoModelImprovement(2)])
    stops = run_steps(through, FakeModel(), 50)
    assert stops == [50]

    model = FakeModel()
    first = callback(scores, callback_after_eval=[StopTrainingOnNoModelImprovement(2)])
    assert run_steps(first, model, 33) == []
    second = callback(scores[3:], callback_after_eval=[StopTrainingOnNoModelImprovement(2)])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert run_steps(second, model, 50) == stops
    assert second.state_dict() == through.state_dict()


def test_a_fresh_state_survives_json_too():
    fresh = callback([3, 2], callback_after_eval=StopTrainingOnNoModelImprovement(0))
    state = json.loads(json.dumps(fresh.state_dict(), allow_nan=False))
    fresh.load_state_dict(state)
    fresh.load_state_dict({})  # of a run that had no such callback
    assert run_steps(fresh, FakeModel(), 20) == [20]


# -- exports -----------------------------------------------------------------------------------------------------------


def test_export_at_the_end():
    model = FakeModel()
    run_steps(ExportCallback("policy.pt"), model, 30)
    assert [(str(path), format, t) for path, format, t in model.exported] == [("policy.pt", None, 30)]


@pytest.mark.parametrize("nest", [lambda one: one, lambda one: [one]])
def test_export_of_the_best_alone(nest):
    model = FakeModel()
    best = ExportCallback("policy.onnx", "onnx")
    run_steps(callback([1, 3, 2], callback_on_new_best=nest(best)), model, 30)
    assert [(str(path), format, t) for path, format, t in model.exported] == [
        ("policy.onnx", "onnx", 10),
        ("policy.onnx", "onnx", 20),
    ]


def test_at_least_one_episode():
    with pytest.raises(ValueError, match="n_eval_episodes=0"):
        EvalCallback(ScriptedEnv(), n_eval_episodes=0)
