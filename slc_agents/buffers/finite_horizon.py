"""A replay buffer whose transitions come with the sum of the rewards, or costs, of the steps ahead.

The window of a transition is its own reward and those of the next `horizon_length - 1` transitions of its env. It is
read off the links that the replay buffer has anyway (see there): the transition whose observation is this one's next
one is the next one of its env. Where an episode ends, or a segment breaks off, its last reward goes on. A window is
open while it reaches beyond what its env has done so far; its transition isn't sampled until it is finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from slc_agents.buffers.replay_buffer import ReplayBuffer
from slc_agents.errors import check_whole_number
from slc_agents.transition import Array, Batch, StoredArray

__all__ = ["FiniteHorizonReplayBuffer"]


class FiniteHorizonReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` that also gives `Batch.horizon_return`, and samples transitions with finished windows alone.

    Args:
        capacity: Most transitions to keep, over all envs; the oldest are overwritten. At least
            `n_envs * horizon_length`, so that there are finished windows in it.
        observation_space: A `Box`, or a flat `Dict` of boxes.
        action_space: A `Box`. Actions are stored as they are given, they aren't scaled.
        n_envs: Number of environments that every `add` brings a transition of.
        horizon_length: Rewards in a window.
        gamma: Discount factor of `Batch.discount`; `Batch.horizon_return` isn't discounted.
        seed: Seed of `generator`, which draws the samples; a `np.random.Generator` is used as it is.

    Raises:
        ValueError: If a number is out of range.
        UnsupportedSpaceError: If a space is of another kind (also a `ValueError`).
        MemoryError: If the machine can't give the memory.
    """

    def __init__(
        self,
        capacity: int,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        n_envs: int = 1,
        *,
        horizon_length: int,
        gamma: float = 0.99,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.horizon_length = check_whole_number("horizon_length", horizon_length)
        super().__init__(capacity, observation_space, action_space, n_envs, gamma=gamma, seed=seed)
        if self.capacity < self.n_envs * self.horizon_length:
            raise ValueError(
                f"capacity={capacity} doesn't fit horizon_length={horizon_length} and n_envs={n_envs}: it must be at "
                f"least their product, {self.n_envs * self.horizon_length}, or windows are overwritten before they are "
                "finished; choose another replay_size"
            )
        self._forget_windows()

    @property
    def is_ready(self) -> bool:
        """Whether there is a transition with a finished window."""
        return self._size > len(self._open_slots())

    def clear(self) -> None:
        """Forgets all transitions; `generator` goes on from where it is."""
        super().clear()
        self._forget_windows()

    def sample_indices(self, n: int, batch_size: int) -> NDArray[np.int64]:
        """Draws what `n` minibatches hold, uniformly among the finished windows; see `ReplayBuffer.sample_indices`.

        Raises:
            ValueError: If a number isn't a positive integer, or no window is finished yet.
        """
        shape = check_whole_number("n", n), check_whole_number("batch_size", batch_size)
        open_slots = self._open_slots()
        n_finished = self._size - len(open_slots)
        if n_finished == 0:
            raise ValueError(
                f"the replay buffer has no finished window of horizon_length={self.horizon_length} transitions, and "
                "sampling needs at least 1: add transitions until there is one (`is_ready`)"
            )
        # The k-th finished slot is k plus the number of open slots before it: those which have at most k finished ones
        # before them.
        drawn = self.generator.integers(0, n_finished, size=shape, dtype=np.int64)
        finished_before = open_slots - np.arange(len(open_slots))
        return drawn + np.searchsorted(finished_before, drawn, side="right")

    def gather(self, indices: ArrayLike) -> Batch:
        """Reads the transitions at `indices`, with the sums of their windows; see `ReplayBuffer.gather`.

        An open window counts as if its env had stopped where it is.
        """
        batch = super().gather(indices)
        slot = np.asarray(indices)
        total = batch.reward.copy()
        for _ in range(self.horizon_length - 1):
            next_slot = self._next_index.take(slot)
            slot = np.where(next_slot >= 0, next_slot, slot)
            total += self._reward.take(slot)
        return batch._replace(horizon_return=total)

    def load_state_dict(self, state: Mapping[str, Array | StoredArray]) -> None:
        """Replaces the content by that of another buffer's `state_dict`, whatever its horizon.

        See `ReplayBuffer.load_state_dict`.
        """
        super().load_state_dict(state)
        self._find_windows()

    def _forget_windows(self) -> None:
        # The numbers of the transitions of each env whose windows are open: the last ones of its segment.
        self._open: list[deque[int]] = [deque(maxlen=self.horizon_length - 1) for _ in range(self.n_envs)]

    def _find_windows(self) -> None:
        """Finds the open windows of a content that didn't come by `add`, by following the links backwards."""
        self._forget_windows()
        next_index, newest = self._next_index[: self._size], self._count - 1
        before = np.full(self._size, -1, np.int64)
        linked = np.flatnonzero(next_index >= 0)
        before[next_index[linked]] = linked
        for env, last_number in enumerate(self._last_number):
            number, window = last_number, self._open[env]
            while number > newest - self._size and len(window) < self.horizon_length - 1:
                window.appendleft(number)
                slot = int(before[number % self.capacity])
                number = newest - (newest - slot) % self.capacity if slot >= 0 else -1

    def _link(self, envs: Sequence[int], next_observations: list[Array], ended: list[bool]) -> None:
        """See `ReplayBuffer._link`; opens the windows of the transitions just written, and closes some."""
        last_numbers = [self._last_number[env] for env in envs]
        super()._link(envs, next_observations, ended)
        for k, env in enumerate(envs):
            number, last_number, window = self._count + k, last_numbers[k], self._open[env]
            if last_number < 0 or self._next_index[last_number % self.capacity] != number % self.capacity:
                window.clear()  # a new segment
            window.append(number)
            if ended[k]:
                window.clear()

    def _open_slots(self) -> NDArray[np.int64]:
        """Returns the slots of the transitions whose windows are open, in ascending order."""
        oldest = self._count - self._size
        numbers = [number for window in self._open for number in window if number >= oldest]
        return np.sort(np.array(numbers, np.int64) % self.capacity)
