"""A point whose episodes are known beforehand, and policies for it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

__all__ = ["LENGTH", "Feedback", "TrackedPoint", "make_point"]

LENGTH = 6


class TrackedPoint(gymnasium.Env[Any, Any]):
    """A point that moves by the action, costs x², and dies beyond 3. It starts in [-1, 1], and should be at 0.

    Args:
        n: How many numbers `info` says of each thing; 0: it says nothing.
    """

    def __init__(self, n: int = 1) -> None:
        self.n, self.gain = n, 1.0
        self.observation_space = spaces.Box(-100.0, 100.0, (1,), np.float32)
        self.action_space = spaces.Box(-8.0, 4.0, (1,), np.float32)

    def _info(self) -> dict[str, Any]:
        if self.n == 0:
            return {}
        x: Any = self.x if self.n == 1 else np.array([self.x, 2 * self.x])
        return {"reference": 0 * x, "state_of_interest": x, "reference_error": x}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(-1.0, 1.0))
        return np.array([self.x], np.float32), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x += self.gain * float(action[0])
        return np.array([self.x], np.float32), self.x**2, bool(abs(self.x) > 3), False, self._info()


def make_point(n: int = 1, length: int | None = LENGTH) -> Any:
    """Returns a factory of points."""

    def point() -> gymnasium.Env[Any, Any]:
        return TrackedPoint(n) if length is None else TimeLimit(TrackedPoint(n), length)

    return point


class Feedback:
    """Moves the point by -gain x + push: with a gain of 1 it is brought to `push` in a step."""

    def __init__(self, gain: float, push: float = 0.0) -> None:
        self.gain, self.push = gain, push
        self.first_seen: list[Any] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        if episode_start is not None and episode_start.all():
            self.first_seen.append(observation.copy())
        return self.push - self.gain * observation, state
