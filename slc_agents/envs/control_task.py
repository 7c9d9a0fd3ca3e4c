"""What the control tasks have in common: gymnasium's interface around a plant in NumPy, whose reward is a cost.

A task is a dataclass: its fields are its parameters, which act when they are changed too, as in
`env.unwrapped.pole_length = 2.0`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

if TYPE_CHECKING:
    from slc_agents.envs.canvas import Canvas

__all__ = ["UNBOUNDED", "ControlTask", "tracking_info"]

UNBOUNDED = float(np.finfo(np.float32).max)  # finite, as gymnasium's checker asks of the bounds of observations


def tracking_info(
    reference: float | NDArray[np.float64], state_of_interest: float | NDArray[np.float64]
) -> dict[str, Any]:
    """Returns what a task says beside its observation: `reference_error` is the state of interest - the reference."""
    return {
        "reference": reference,
        "state_of_interest": state_of_interest,
        "reference_error": state_of_interest - reference,
    }


class ControlTask(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]], ABC):
    """A plant to be controlled, whose reward is a cost.

    A step clips the action, adds `action_disturbance`, moves the plant, lets `dt` pass, and then looks at the cost.

    Attributes:
        state: Where the plant stands, in float64. Setting it puts the plant there.
        time: How long the episode has lasted, in the unit of `dt`.
        action_disturbance: What is added to the next action behind its bounds, as an external force is [action's
            shape]. Zero again after that step.
        dt: Length of a step.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # noqa: RUF012
    action_space: spaces.Box  # type: ignore[assignment]
    action_disturbance: NDArray[np.float64] = np.zeros(())
    state: NDArray[np.float64]
    time: float
    dt: float
    _canvas: Canvas | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode, and returns its first observation and what `step` says beside it."""
        super().reset(seed=seed)
        self.state, self.time = self._start(), 0.0
        self.action_disturbance = np.zeros(self.action_space.shape)
        self._applied = self.action_disturbance
        self._trace = [(self.time, self.state)]
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves the plant by one step.

        Args:
            action: The action, in the plant's units; clipped to its bounds.

        Returns:
            The observation; the cost of what it shows; whether the plant has left what is allowed; False; and
            `reference`, `state_of_interest` and `reference_error` (floats, or arrays where there are several).

        Raises:
            ValueError: If the action has another shape than the action space.
            ResetNeeded: If there was no `reset`.
        """
        wanted = np.asarray(action, np.float64)
        if wanted.shape != self.action_space.shape:
            raise ValueError(f"action: received the shape {wanted.shape}; {self.action_space.shape} is needed")
        if not hasattr(self, "state"):
            raise ResetNeeded("step() before reset(): call reset() first, which starts an episode")
        self._applied = self._clip(wanted) + self.action_disturbance
        self.action_disturbance = np.zeros(wanted.shape)
        self.state = self._move(self._applied)
        self.time += self.dt
        cost, terminated = self._assess()
        if self.render_mode is not None:
            self._trace.append((self.time, self.state))
        if self.render_mode == "human":
            self.render()
        return self._observe(), float(cost), bool(terminated), False, self._info()

    # -- the plant -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _start(self) -> NDArray[np.float64]:
        """Draws the state in which an episode starts, from `self.np_random`."""

    @abstractmethod
    def _move(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the state after a step."""

    @abstractmethod
    def reference(self, time: float) -> float | NDArray[np.float64]:
        """Returns what `state_of_interest` should be at a time."""

    @property
    @abstractmethod
    def state_of_interest(self) -> float | NDArray[np.float64]:
        """What should follow the reference."""

    @abstractmethod
    def _assess(self) -> tuple[float, bool]:
        """Returns the cost of the state at this time, and whether the episode ends in it."""

    def _observe(self) -> NDArray[np.float32]:
        return self.state.astype(np.float32)

    def _clip(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(action, self.action_space.low, self.action_space.high)

    def _info(self) -> dict[str, Any]:
        return tracking_info(self.reference(self.time), self.state_of_interest)

    # -- parameters and state ------------------------------------------------------------------------------------------

    @abstractmethod
    def check_parameters(self) -> None:
        """Raises a `ValueError` if a parameter is out of range, as one may be that was set later."""

    def _check(self, names: Iterable[str], check: Callable[[str, Any], float]) -> None:
        for name in names:
            setattr(self, name, check(name, getattr(self, name)))

    def get_state(self) -> dict[str, Any]:
        """Returns all that the rest of the episode depends on, but for `np_random`: arrays and JSON-able values."""
        return {
            "state": self.state.copy(),
            "time": self.time,
            "action_disturbance": self.action_disturbance.copy(),
            "parameters": {name: getattr(self, name) for name in self.parameter_names()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Puts the task, which has been reset, where another one stood when its `get_state` was called."""
        for name in self.parameter_names():
            setattr(self, name, state["parameters"][name])
        self.state, self.time = np.array(state["state"]), float(state["time"])
        self.action_disturbance = np.array(state["action_disturbance"])
        self._trace = [(self.time, self.state)]

    def parameter_names(self) -> list[str]:
        """Returns the names of its parameters: all of its fields but `render_mode`."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # each task is a dataclass
        return [field.name for field in fields if field.name != "render_mode"]

    # -- drawing -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _draw(self, canvas: Canvas) -> None:
        """Draws the state."""

    def render(self) -> NDArray[np.uint8] | None:
        """Draws the state: into a window (`render_mode="human"`), or as an array [height, width, 3] (`"rgb_array"`).

        Raises:
            MissingDependencyError: If pygame is not installed, which comes with the extra `video`.
        """
        from slc_agents.envs.canvas import Canvas

        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() was called, but the environment has no render mode. Make it with one: "
                'gymnasium.make(..., render_mode="rgb_array"), or "human"'
            )
            return None
        if self._canvas is None:
            self._canvas = Canvas()
        self._canvas.clear()
        self._draw(self._canvas)
        if self.render_mode == "rgb_array":
            return self._canvas.to_array()
        self._canvas.show(type(self).__name__, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._canvas is not None:
            self._canvas.close()
            self._canvas = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_canvas": None}  # a window can't be copied
