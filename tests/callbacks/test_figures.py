"""The figures of an evaluation show what happened."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from slc_agents.callbacks.figures import EpisodeRecorder, draw_episode, draw_returns
from slc_agents.transition import Step, Transition

pytest.importorskip("matplotlib")


def vector_step(step, *, ends=False, truncated=False, valid=True, size=2, image=False):
    """A step of two environments; the second shows 10 + step in its first component."""

    def observation(number):
        vector = np.stack([np.zeros(size), np.arange(size) + 10.0 + number]).astype(np.float32)
        if image:
            return {"vector": vector, "image": np.zeros((2, 1), np.uint8)}
        return vector

    transition = Transition(
        observation(step),
        np.array([[0.0, 0.0], [0.1 * step, -1.0]], np.float32),
        np.array([0.0, 100.0 + step], np.float32),
        observation(step + 1),
        np.array([True, ends]),
        np.array([False, truncated]),
        np.array([True, valid]),
    )
    return Step(transition, [], observation(step + 1), {})


def record(n=3, *, size=2, space=None, **kwargs):
    recorder = EpisodeRecorder(space or spaces.Box(-np.inf, np.inf, (size,)), 1)
    for step in range(n):
        recorder(vector_step(step, ends=step == n - 1, size=size, **kwargs))
    return recorder


def lines(axes):
    return {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}


def steps(axes):
    return {patch.get_label(): patch.get_data().values.tolist() for patch in axes.patches}


@pytest.mark.parametrize("end", ["ends", "truncated"])
def test_the_first_episode_of_one_environment_is_recorded(end):
    recorder = EpisodeRecorder(spaces.Box(-1, 1, (2,)), 1)
    recorder(vector_step(0))
    recorder(vector_step(7, valid=False))  # it only reset itself
    assert not recorder.ended
    recorder(vector_step(1, **{end: True}))
    recorder(vector_step(0))
    assert recorder.ended
    assert recorder.rewards == [100.0, 101.0]
    assert np.stack(recorder.actions) == pytest.approx(np.array([[0.0, -1.0], [0.1, -1.0]]))
    assert np.stack(recorder.states).tolist() == [[10, 11], [11, 12], [12, 13]]


def test_dict_observations_are_named_by_their_keys():
    space = spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.Box(-1, 1, (1,))})
    recorder = EpisodeRecorder(space, 1)
    one = vector_step(0, ends=True).transition
    observation = {"a": np.array([[0.0], [5.0]]), "b": one.observation}
    recorder(Step(one._replace(observation=observation, next_observation=observation), [], observation, {}))
    assert recorder.state_names == ["a[0]", "b[0]", "b[1]"]
    assert recorder.states[0].tolist() == [5, 10, 11]


@pytest.mark.parametrize(
    ("space", "kept"),
    [
        (spaces.Box(-1, 1, (8,)), True),
        (spaces.Box(-1, 1, (9,)), False),
        (spaces.Dict({"vector": spaces.Box(-1, 1, (8,)), "image": spaces.Box(0, 255, (1,), np.uint8)}), False),
    ],
)
def test_observations_are_kept_where_they_are_few(space, kept):
    image = isinstance(space, spaces.Dict)
    recorder = record(size=8 if image else space.shape[0], space=space, image=image)
    assert len(recorder.states) == (4 if kept else 0)
    assert len(draw_episode(recorder, "return", 0).axes) == (3 if kept else 2)


@pytest.mark.parametrize(("score", "reward"), [("return", "reward"), ("cost", "cost")])
def test_an_episode_is_drawn_over_its_steps(score, reward):
    figure = draw_episode(record(), score, 12_000)
    rewards, actions, states = figure.axes
    assert rewards.get_title(loc="left") == f"An evaluated episode at step 12,000: {score} 303 in 3 steps"
    assert steps(rewards) == {reward: [100, 101, 102]}
    assert rewards.get_ylabel() == reward
    assert steps(actions)["action[0]"] == pytest.approx([0.0, 0.1, 0.2])
    assert steps(actions)["action[1]"] == [-1, -1, -1]
    assert actions.patches[0].get_data().edges.tolist() == [0, 1, 2, 3]
    assert lines(states) == {"observation[0]": [10, 11, 12, 13], "observation[1]": [11, 12, 13, 14]}
    assert states.get_xlabel() == "step of the episode"
    assert rewards.get_legend() is None
    assert [text.get_text() for text in actions.get_legend().get_texts()] == ["action[0]", "action[1]"]


def test_no_two_of_eight_lines_look_the_same():
    states = draw_episode(record(size=8), "return", 0).axes[2]
    assert len({(line.get_color(), line.get_linestyle()) for line in states.get_lines()}) == 8


def test_returns_are_drawn_with_their_extremes():
    axes = draw_returns({"timesteps": [10, 20], "results": [[1, 2, 6], [4, 5, 9]]}, "cost").axes[0]
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == [10, 20]
    assert line.get_ydata().tolist() == [3, 6]
    assert axes.get_ylabel() == "cost"
    assert axes.get_legend().get_texts()[0].get_text() == "mean, and lowest to highest episode"
    vertices = {tuple(vertex) for vertex in axes.collections[0].get_paths()[0].vertices.tolist()}
    assert vertices >= {(10, 1), (10, 6), (20, 4), (20, 9)}


def test_of_one_episode_there_is_no_mean():
    axes = draw_returns({"timesteps": [10], "results": [[1]]}, "return").axes[0]
    assert axes.get_legend().get_texts()[0].get_text() == "return of one episode"
