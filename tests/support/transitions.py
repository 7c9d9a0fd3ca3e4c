"""Transitions of every kind for replay buffers, and a model of them that keeps each transition whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from hypothesis import strategies as st

from slc_agents.buffers import ReplayBuffer
from slc_agents.transition import Batch

VECTOR = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
IMAGE = gym.spaces.Box(0, 255, (2, 3, 1), np.uint8)
DICT = gym.spaces.Dict({"pixels": IMAGE, "state": VECTOR})
ACTION = gym.spaces.Box(-2.0, 2.0, (3,), np.float32)
SPACES: dict[str, Any] = {"vector": VECTOR, "image": IMAGE, "dict": DICT}


def observations(space: Any, values: Any) -> Any:
    """Observations `[len(values), *shape]`, each told from the others by its value."""
    if isinstance(space, gym.spaces.Dict):
        return {key: observations(box, values) for key, box in space.spaces.items()}
    values = np.asarray(values)
    if space.dtype == np.uint8:
        return np.broadcast_to((values % 251).reshape(-1, 1, 1, 1), (len(values), *space.shape)).astype(np.uint8)
    return np.stack([values, -values], axis=1).astype(np.float64)


def action_of(values: Any) -> Any:
    return np.asarray(values, np.float64)[:, None] + np.array([0.25, 0.5, 0.75])


@dataclass
class Driver:
    """Feeds a buffer, or several alike, with transitions, and keeps them all in a list, as the model."""

    space: gym.Space[Any]
    n_envs: int
    distinct: int = 10**6  # observations repeat with this period
    stored: list[tuple[int, int, int, bool, bool]] = field(default_factory=list)  # obs, id, next obs, flags
    clock: int = 0
    n_steps: int = 0

    def __post_init__(self) -> None:
        self.current = [self.fresh() for _ in range(self.n_envs)]

    def fresh(self) -> int:
        self.clock += 1
        return self.clock % self.distinct

    def step(self, buffers: list[ReplayBuffer], events: list[str]) -> None:
        """`events`: for each env `go`, `break` (it is elsewhere, unannounced), `end`, `cut`, `both` or `skip`."""
        for env, event in enumerate(events):
            if event == "break":
                self.current[env] = self.fresh()
        self.n_steps += 1
        ids = [self.n_steps * self.n_envs + env for env in range(self.n_envs)]  # no two transitions share one
        arrivals = [self.fresh() for _ in range(self.n_envs)]
        terminated = np.array([event in ("end", "both") for event in events])
        truncated = np.array([event in ("cut", "both") for event in events])
        valid = np.array([event != "skip" for event in events])
        for buffer in buffers:
            buffer.add(
                observations(self.space, self.current),
                action_of(ids),
                np.array(ids) / 8,
                observations(self.space, arrivals),
                terminated,
                truncated,
                valid=None if valid.all() else valid,
            )
        for env in np.flatnonzero(valid).tolist():
            ended = bool(terminated[env] or truncated[env])
            flags = bool(terminated[env]), bool(truncated[env])
            self.stored.append((self.current[env], ids[env], arrivals[env], *flags))
            self.current[env] = self.fresh() if ended else arrivals[env]

    def expected(self, capacity: int, gamma: float = 0.99) -> Batch:
        """What `gather` of all slots gives, for a ring that has seen every transition."""
        first = max(len(self.stored) - capacity, 0)
        numbers = sorted(range(first, len(self.stored)), key=lambda number: number % capacity)
        return self.batch(numbers, gamma)

    def batch(self, numbers: list[int], gamma: float = 0.99) -> Batch:
        obs, ids, nxt, terminated, _ = (list(column) for column in zip(*[self.stored[i] for i in numbers], strict=True))
        return Batch(
            as_stored(observations(self.space, obs)),
            action_of(ids).astype(np.float32),
            (np.array(ids) / 8).astype(np.float32),
            as_stored(observations(self.space, nxt)),
            np.where(terminated, 0.0, gamma).astype(np.float32),
            np.array(terminated),
        )


def as_stored(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: as_stored(value) for key, value in observation.items()}
    return observation if observation.dtype == np.uint8 else observation.astype(np.float32)


def assert_same(actual: Any, expected: Any) -> None:
    """Equal in structure, type and value."""
    if isinstance(expected, Batch):
        for name in Batch._fields:
            assert_same(getattr(actual, name), getattr(expected, name))
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_same(actual[key], expected[key])
    elif expected is None:
        assert actual is None
    else:
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


EVENTS = st.sampled_from(["go", "go", "go", "break", "end", "cut", "both", "skip"])


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, int, list[list[str]]]:
    n_envs = draw(st.integers(1, 3))
    capacity = draw(st.integers(n_envs, 9))
    distinct = draw(st.sampled_from([2, 3, 10**6]))  # few: an env may be elsewhere and look the same
    steps = draw(st.lists(st.lists(EVENTS, min_size=n_envs, max_size=n_envs), max_size=25))
    return n_envs, capacity, distinct, steps
