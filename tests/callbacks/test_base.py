from __future__ import annotations

import pytest
from fake_model import FakeModel, run_steps

from slc_agents.callbacks import Callback, CallbackList, EveryNTimesteps, FunctionCallback, make_callback

HOOKS = (
    "on_training_start", "on_rollout_start", "on_step", "on_rollout_end", "on_episode_end", "on_epoch_end",
    "on_training_end",
)  # fmt: skip


class Recorder(Callback):
    def __init__(self, name, log, answer=None, fails=None):
        self.name, self.log, self.answer, self.fails = name, log, answer, fails

    def state_dict(self):
        return {"name": self.name}

    def load_state_dict(self, state):
        self.name = state["name"]


def _hook(hook):
    def call(self):
        self.log.append((self.name, hook))
        if self.fails == hook:
            raise OSError(self.name)
        return self.answer if hook == "on_step" else None

    return call


for _name in HOOKS:
    setattr(Recorder, _name, _hook(_name))


def test_every_hook_can_be_left_out():
    callback = Callback()
    assert all(getattr(callback, hook)() is None for hook in HOOKS)
    assert callback.state_dict() == {}
    callback.load_state_dict({})


def test_a_callback_without_a_model_says_so():
    with pytest.raises(RuntimeError, match="Callback has no model yet"):
        Callback().num_timesteps  # noqa: B018


def test_a_subclass_needs_no_super_init():
    class Mine(Callback):
        def __init__(self):
            pass

    callback, model = Mine(), FakeModel()
    callback.bind(model)
    assert callback.model is model
    assert callback.logger is model.logger
    assert callback.num_timesteps == 0


def test_a_list_passes_every_hook_on_in_order():
    log = []
    callbacks = CallbackList([Recorder("a", log), [Recorder("b", log), Recorder("c", log)]])
    for hook in HOOKS:
        getattr(callbacks, hook)()
    assert log == [(name, hook) for hook in HOOKS for name in "abc"]


@pytest.mark.parametrize(
    ("answers", "expected"), [((None, True), True), ((False, True), False), ((0, None), True), ((None, False), False)]
)
def test_each_hears_of_a_step_also_when_an_earlier_one_ends_training(answers, expected):
    log = []
    callbacks = CallbackList([Recorder(str(i), log, answer) for i, answer in enumerate(answers)])
    assert callbacks.on_step() is expected
    assert len(log) == 2


def test_each_hears_of_the_end_also_when_an_earlier_one_fails():
    log = []
    callbacks = CallbackList([Recorder("a", log), Recorder("b", log, fails="on_training_end"), Recorder("c", log)])
    with pytest.raises(OSError, match="b"):
        callbacks.on_training_end()
    assert [name for name, _ in log] == ["a", "b", "c"]


def test_binding_reaches_the_innermost():
    log, model = [], FakeModel()
    inner = [Recorder(name, log) for name in "abc"]
    CallbackList([inner[0], [inner[1], EveryNTimesteps(2, [inner[2]])]]).bind(model)
    assert all(one.model is model for one in inner)


def test_states_are_kept_by_place_and_class():
    log = []
    callbacks = CallbackList([Recorder("a", log), [Recorder("b", log)], lambda model: None])
    state = callbacks.state_dict()
    assert state == {
        "0/Recorder": {"name": "a"},
        "1/CallbackList": {"0/Recorder": {"name": "b"}},
        "2/FunctionCallback": {},
    }
    others = [Recorder("x", log), Recorder("y", log)]
    CallbackList([others[0], [others[1]], lambda model: None, Recorder("z", log)]).load_state_dict(state)
    assert [one.name for one in others] == ["a", "b"]
    moved = Recorder("x", log)
    CallbackList([lambda model: None, moved]).load_state_dict(state)
    assert moved.name == "x"


def test_make_callback():
    callback = Callback()
    assert make_callback(callback) is callback
    assert make_callback(None).callbacks == []
    assert isinstance(make_callback(print), FunctionCallback)
    assert [type(one) for one in make_callback([callback, print, (callback,)]).callbacks] == [
        Callback,
        FunctionCallback,
        CallbackList,
    ]


@pytest.mark.parametrize("wrong", [3, "callback", Callback, [3]])
def test_what_is_no_callback(wrong):
    with pytest.raises(TypeError, match=r"allowed are a slc_agents\.callbacks\.Callback object, a function"):
        make_callback(wrong)


def test_a_function_is_called_with_the_model_at_each_step():
    seen, model = [], FakeModel()
    stops = run_steps(make_callback(lambda m: seen.append(m.num_timesteps) or m.num_timesteps < 6), model, 9, 3)
    assert seen == [3, 6, 9]
    assert stops == [6, 9]


@pytest.mark.parametrize(
    ("every", "n_envs", "called"),
    [(10, 1, [10, 20, 30]), (10, 3, [12, 21, 30]), (1, 3, list(range(3, 31, 3))), (2, 5, list(range(5, 31, 5)))],
)
def test_frequencies_count_steps_summed_over_environments(every, n_envs, called):
    seen, model = [], FakeModel()
    run_steps(EveryNTimesteps(every, lambda m: seen.append(m.num_timesteps)), model, 30, n_envs)
    assert seen == called


def test_frequencies_go_on_where_training_stands():
    seen, model = [], FakeModel()
    callback = EveryNTimesteps(10, lambda m: seen.append(m.num_timesteps))
    run_steps(callback, model, 15, 3)
    run_steps(callback, model, 33, 3)  # resumed
    model.num_timesteps = 0  # learned anew
    run_steps(callback, model, 12, 3)
    assert seen == [12, 21, 30, 12]


def test_every_n_timesteps_passes_answers_and_ends_on():
    log, model = [], FakeModel()
    inner = Recorder("a", log, answer=False)
    callback = EveryNTimesteps(10, inner)
    assert run_steps(callback, model, 25) == [10, 20]
    assert [hook for _, hook in log] == ["on_training_start", "on_step", "on_step", "on_training_end"]
    assert callback.state_dict() == {"name": "a"}
    callback.load_state_dict({"name": "b"})
    assert inner.name == "b"


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_frequencies_are_whole_numbers(every):
    with pytest.raises(ValueError, match=rf"EveryNTimesteps.*={every}: a whole number of at least 1"):
        EveryNTimesteps(every, print)
