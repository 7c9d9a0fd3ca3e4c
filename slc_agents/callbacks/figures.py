"""The figures of an evaluation: how returns went over training, and what one episode looked like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from slc_agents.drawing import COLORS, Curve, draw_curves, format_number, new_figure, style
from slc_agents.spaces import observation_boxes
from slc_agents.transition import Array, Observation, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EpisodeRecorder", "draw_episode", "draw_returns"]

MAX_STATES = 8  # lines that an eye can still tell apart
MAX_LEGEND = 8


class EpisodeRecorder:
    """Keeps the first episode of one environment, step by step; later ones are not looked at.

    Args:
        observation_space: That of a single environment. Observations are kept where they are at most 8 numbers and no
            images.
        env_index: Which of the parallel environments.

    Attributes:
        rewards: One for each step.
        actions: One for each step, in the environment's units [size].
        states: The observations, one more than steps once it has ended, each flat [size]; empty if not kept.
        state_names: Their components' names [size].
        ended: Whether the episode has.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], env_index: int) -> None:
        self.env_index = env_index
        self.rewards: list[float] = []
        self.actions: list[Array] = []
        self.states: list[Array] = []
        self.ended = False
        self._boxes = observation_boxes(observation_space)
        self.state_names = [
            f"{key or 'observation'}[{i}]" for key, box in self._boxes.items() for i in range(int(np.prod(box.shape)))
        ]
        self._keeps_states = len(self.state_names) <= MAX_STATES and all(
            box.dtype != np.uint8 for box in self._boxes.values()
        )

    def __call__(self, step: Step) -> None:
        """Takes a vector step."""
        i, transition = self.env_index, step.transition
        if self.ended or not transition.valid[i]:
            return
        self._keep_state(transition.observation)
        self.actions.append(np.array(transition.action[i]).reshape(-1))
        self.rewards.append(float(transition.reward[i]))
        self.ended = bool(transition.terminated[i] or transition.truncated[i])
        if self.ended:
            self._keep_state(transition.next_observation)

    def _keep_state(self, observation: Observation) -> None:
        if self._keeps_states:
            arrays = [observation[key] if isinstance(observation, dict) else observation for key in self._boxes]
            self.states.append(np.concatenate([array[self.env_index].reshape(-1) for array in arrays]))


def draw_returns(history: Mapping[str, Sequence[Any]], score: str) -> Figure:
    """Returns a figure of evaluations over training: their means, in a band from the lowest to the highest episode.

    Args:
        history: `timesteps` [k], and in `results` the returns of each evaluation's episodes [k][n].
        score: What a return is called.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    mean, low, high = (
        np.array([function(returns) for returns in history["results"]], np.float64) for function in (np.mean, min, max)
    )
    several = any(len(returns) > 1 for returns in history["results"])
    label = "mean, and lowest to highest episode" if several else f"{score} of one episode"
    curve = Curve(label, np.array(history["timesteps"], np.float64), mean, low, high)
    return draw_curves([curve], "Evaluations", "environment steps", score)


def draw_episode(episode: EpisodeRecorder, score: str, num_timesteps: int) -> Figure:
    """Returns a figure of one episode over time: rewards, actions, and the observations where they were kept.

    Args:
        episode: The episode.
        score: What a return is called; "cost" also makes the rewards costs.
        num_timesteps: Environment steps of training before it.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    n = len(episode.rewards)
    figure = new_figure(8.0, 6.6 if episode.states else 4.8)
    panels = figure.subplots(3 if episode.states else 2, sharex=True)
    total, steps = format_number(sum(episode.rewards)), f"{n:,} step{'s' if n > 1 else ''}"
    panels[0].set_title(
        f"An evaluated episode at step {num_timesteps:,}: {score} {total} in {steps}",
        loc="left",
        fontsize=12,
        fontweight="bold",
    )
    rewards = np.array(episode.rewards)[:, None]
    reward = "cost" if score == "cost" else "reward"
    actions = np.stack(episode.actions)
    _draw_steps(panels[0], rewards, [reward])
    _draw_steps(panels[1], actions, [f"action[{i}]" for i in range(actions.shape[1])])
    style(panels[0], "", reward)
    style(panels[1], "", "action")
    if episode.states:
        states = np.stack(episode.states)
        for i, name in enumerate(episode.state_names):
            panels[2].plot(np.arange(len(states)), states[:, i], label=name, **_look(i))
        _add_legend(panels[2], len(episode.state_names))
        style(panels[2], "", "observation")
    panels[-1].set_xlabel("step of the episode")
    figure.align_ylabels()
    return figure


def _draw_steps(axes: Axes, values: NDArray[Any], names: Sequence[str]) -> None:
    """Draws what holds for the length of a step [n, k]."""
    edges = np.arange(len(values) + 1)
    for i, name in enumerate(names):
        axes.stairs(values[:, i], edges, baseline=None, label=name, **_look(i))
    _add_legend(axes, len(names))


def _add_legend(axes: Axes, n: int) -> None:
    if 1 < n <= MAX_LEGEND:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _look(i: int) -> dict[str, Any]:
    styles = ("-", "--", ":")
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": styles[i // len(COLORS) % len(styles)],
        "linewidth": 1.2,
    }
