"""Histograms show what is learned and remembered, and change nothing of it."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from event_files import read_histograms, read_images
from fake_model import FakeModel, run_steps
from media_sink import MediaSink, RowSink

from slc_agents import SAC
from slc_agents.callbacks import EvalCallback, HistogramCallback


class Corridor(gymnasium.Env):
    """Pays 1 + the first component of the action; the second does nothing."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-1, 1, (1,))
        self.action_space = gymnasium.spaces.Box(-3, 3, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0 + float(action[0]), False, self.t == 5, {}


def make(**kwargs):
    settings = {"seed": 0, "steps_per_epoch": 20, "update_after": 10, "update_every": 10, "steps_per_update": 1}
    settings |= {"num_test_episodes": 0, "policy_kwargs": {"hidden_sizes": [4]}, **kwargs}
    return SAC("MlpPolicy", Corridor(), **settings)


def learn(callback, steps=20, **kwargs):
    model, sink = make(**kwargs), MediaSink()
    model.logger.sinks = (sink,)
    model.learn(steps, callback)
    return model, sink


def test_weights_are_those_of_each_trained_tensor():
    model, sink = learn(HistogramCallback(20, ["weights"]))
    parameters = model.get_parameters()
    assert set(sink.histograms) == {
        f"weights/{net}/{tensor}"
        for net, head in (("actor", ("mean", "log_std")), ("critic/0", ("value",)), ("critic/1", ("value",)))
        for tensor in (
            "trunk/0/weight",
            "trunk/0/bias",
            *(f"{one}/weight" for one in head),
            *(f"{one}/bias" for one in head if one != "value"),  # a single number has no distribution
        )
    }
    for key, (values, step) in sink.histograms.items():
        assert step == 20
        assert values.tolist() == parameters[key.removeprefix("weights/")].reshape(-1).tolist()


def test_gradient_means_are_the_optimisers():
    model, sink = learn(HistogramCallback(20, ["gradient_means"]))
    values, _ = sink.histograms["gradient_means/critic/1/value/weight"]
    expected = model.get_parameters()["optimizer/critic/1/value/weight/m"]
    assert np.abs(expected).max() > 0
    assert values.tolist() == expected.reshape(-1).tolist()
    assert all(key.startswith("gradient_means/") for key in sink.histograms)
    assert len(sink.histograms) == 12


@pytest.mark.parametrize(("opt_type", "sign"), [("maximize", 1), ("minimize", -1)])
def test_actions_and_rewards_are_drawn_from_the_buffer(opt_type, sign):
    model, sink = learn(HistogramCallback(20, ["actions", "rewards"], n_samples=500), opt_type=opt_type)
    assert set(sink.histograms) == {"buffer/actions/0", "buffer/actions/1", "buffer/rewards"}
    stored = model.replay_buffer.gather(range(20))
    for i in range(2):
        values, _ = sink.histograms[f"buffer/actions/{i}"]
        assert len(values) == 500
        assert set(values) == set(stored.action[:, i].astype(float))  # 20 values, each missed with chance 7e-12
    rewards, _ = sink.histograms["buffer/rewards"]
    first, _ = sink.histograms["buffer/actions/0"]
    assert rewards == pytest.approx(1 + 3 * first, abs=1e-5)  # in the user's units, also where they are costs
    assert set(rewards) == set(sign * stored.reward.astype(float))


def test_by_default_there_are_weights_actions_and_rewards():
    _, sink = learn(HistogramCallback(20))
    assert {key.split("/")[0] for key in sink.histograms} == {"weights", "buffer"}
    assert "buffer/rewards" in sink.histograms


def test_it_happens_every_so_many_steps_and_shows_in_the_next_row():
    _, sink = learn(HistogramCallback(30, ["rewards"]), 100)
    assert [entry[2] for entry in sink.received if entry[0] == "buffer/rewards"] == [40, 60, 100]


def test_training_is_not_changed():
    model, _ = learn(HistogramCallback(10, HistogramCallback.CHOICES), 40)
    plain, _ = learn(None, 40)
    expected = plain.get_parameters()
    for name, tensor in model.get_parameters().items():
        assert tensor.tobytes() == expected[name].tobytes(), name


def test_without_a_sink_that_shows_them_it_says_so_and_does_nothing():
    model = FakeModel()  # has no buffer to draw from
    model.logger.sinks = (RowSink(),)
    with pytest.warns(UserWarning, match=r"no sink of the log shows histograms, so it does nothing.*tensorboard"):
        run_steps(HistogramCallback(10), model, 20)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((10, "weights"), TypeError, r"what='weights'; a list of texts is needed: what=\['weights'\]"),
        ((10, ["weight"]), ValueError, r"what=\['weight'\]; allowed are any of weights, gradient_means"),
        ((10, []), ValueError, r"what=\[\]; allowed are"),
        ((0,), ValueError, "HistogramCallback: every=0"),
    ],
)
def test_bad_arguments(args, error, message):
    with pytest.raises(error, match=message):
        HistogramCallback(*args)
    with pytest.raises(ValueError, match="n_samples=0"):
        HistogramCallback(n_samples=0)


def test_a_training_s_event_file_has_them(tmp_path):
    """All the way: from the agent to what TensorBoard reads."""
    pytest.importorskip("tensorboardX")
    pytest.importorskip("matplotlib")
    model = make(logger_kwargs={"output_dir": tmp_path, "sinks": ["csv", "tensorboard"]})
    evaluation = EvalCallback(Corridor(), n_eval_episodes=2, eval_freq=20, figures=True)
    model.learn(40, [HistogramCallback(20), evaluation])
    model.logger.close()
    histograms, images = read_histograms(tmp_path / "tensorboard"), read_images(tmp_path / "tensorboard")
    assert [step for step, _ in histograms["weights/actor/mean/weight"]] == [20, 40]
    last = histograms["weights/actor/mean/weight"][-1][1]
    assert (last.num, sum(last.bucket)) == (8, 8)
    assert last.max == model.get_parameters()["actor/mean/weight"].max()
    assert {key: [(step, image.shape) for step, image in shown] for key, shown in images.items()} == {
        "eval/returns": [(20, (480, 800, 3)), (40, (480, 800, 3))],
        "eval/episode": [(20, (660, 800, 3)), (40, (660, 800, 3))],
    }
    header = (tmp_path / "progress.csv").read_text().splitlines()[0]
    assert not any(word in header for word in ("weights", "buffer", "eval/returns"))
