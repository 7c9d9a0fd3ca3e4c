"""The replay buffer: a ring of transitions in which every observation is stored once.

Glossary:
    number: A transition's place in the order of arrival, from 0 and never reused: the newest is `count - 1`. The
        transitions with a number of `count - len(buffer)` or more are alive, the others have been overwritten.
    slot: Where a transition lies in the ring, `number % capacity`. The envs' transitions interleave as they arrive.
    segment: Consecutive transitions of one env, each starting at the observation at which the one before ended.
    tails: A table for the next observations that are no slot's observation. Its first `n_envs` rows are each env's
        pending next observation (its next `add` will bring it again, as the observation), the others the final ones
        of segments.
    next_index: For each slot, where its next observation lies: in slot `next_index` of the ring, or, where negative,
        in row `~next_index` of the tails.

A next observation that lies in the ring belongs to a younger transition, so the ring overwrites it later than the
transition that refers to it: no reference ever dangles. A final row belongs to one transition and is freed with it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from slc_agents.errors import (
    ArchiveError,
    NonFiniteError,
    UnsupportedSpaceError,
    check_number,
    check_whole_number,
)
from slc_agents.spaces import NUMBERS, check_observation_space, observation_boxes, row_not_finite, storage_dtype
from slc_agents.transition import Array, Batch, Observation, StoredArray

__all__ = ["Changes", "Columns", "Mark", "ReplayBuffer"]

_MAX_CAPACITY = 2**31 - 1  # next_index is an int32
_MIN_TAIL_ROWS = 64


class Columns(NamedTuple):
    """A buffer's memory itself, to be read and not written to. Observations are by key; a Box has the key ""."""

    rings: dict[str, Array]  # [capacity, *shape]
    tails: dict[str, Array]  # [rows, *shape], of which a later `add` may make more, elsewhere in memory
    action: Array  # [capacity, *action_space.shape]
    reward: Array  # [capacity]
    terminated: Array  # [capacity]
    next_index: Array  # [capacity]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a buffer's life."""

    life: int  # how often it had been emptied, which loading does too
    count: int  # transitions ever added
    last_number: tuple[int, ...]  # see `ReplayBuffer`


class Changes(NamedTuple):
    """Where a buffer has other content than at a `Mark`."""

    slots: list[slice]  # of the ring: written anew, in every column
    linked: Array  # further slots, of which `next_index` alone may have changed
    rows: Array  # of the tails


class ReplayBuffer:
    """First-in-first-out memory of the transitions of one or more environments, sampled uniformly.

    Images (`uint8` boxes) are kept as `uint8`, everything else as `float32`. Memory is reserved at construction and,
    on the usual operating systems, only taken as the buffer fills.

    Args:
        capacity: Most transitions to keep, over all envs; the oldest are overwritten.
        observation_space: A `Box`, or a flat `Dict` of boxes.
        action_space: A `Box`. Actions are stored as they are given, they aren't scaled.
        n_envs: Number of environments that every `add` brings a transition of.
        gamma: Discount factor of `Batch.discount`.
        seed: Seed of `generator`, which draws the samples; a `np.random.Generator` is used as it is.

    Attributes:
        generator: Draws the sampled indices. Its state isn't part of `state_dict`.
        horizon_length: Rewards in the sums that `gather` gives, 0 for none; see `FiniteHorizonReplayBuffer`.

    Raises:
        ValueError: If a number is out of range.
        UnsupportedSpaceError: If a space is of another kind (also a `ValueError`).
        MemoryError: If the machine can't give the memory.
    """

    horizon_length: int = 0

    def __init__(
        self,
        capacity: int,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        n_envs: int = 1,
        *,
        gamma: float = 0.99,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.n_envs = check_whole_number("n_envs", n_envs)
        self.capacity = check_whole_number("capacity", capacity)
        if not self.n_envs <= self.capacity <= _MAX_CAPACITY:
            raise ValueError(
                f"capacity={capacity} doesn't fit n_envs={n_envs}: it must be from n_envs to {_MAX_CAPACITY}, because "
                "each add brings one transition of every env; choose another replay_size or fewer envs"
            )
        gamma = check_number("gamma", gamma, 0, 1)
        if seed is not None and not isinstance(seed, np.random.Generator):
            seed = check_whole_number("seed", seed, 0)
        check_observation_space(observation_space)
        if not isinstance(action_space, gym.spaces.Box):
            raise UnsupportedSpaceError(f"action_space={action_space} isn't supported: give a Box")
        self.observation_space = observation_space
        self.action_space = action_space
        self.gamma = gamma
        self.generator = np.random.default_rng(seed)

        boxes = observation_boxes(observation_space)
        self._is_dict = isinstance(observation_space, gym.spaces.Dict)
        n_rows = max(_MIN_TAIL_ROWS, 3 * self.n_envs)
        wanted = _bytes_wanted(self.capacity, n_rows, boxes, action_space)
        try:
            self._leaves = [_Leaf.allocate(key, box, self.capacity, n_rows) for key, box in boxes.items()]
            self._action = np.zeros((self.capacity, *action_space.shape), np.float32)
            self._reward = np.zeros(self.capacity, np.float32)
            self._terminated = np.zeros(self.capacity, np.bool_)
            self._truncated = np.zeros(self.capacity, np.bool_)
            self._next_index = np.zeros(self.capacity, np.int32)
        except MemoryError as error:
            raise _memory_error(self.capacity, wanted) from error

        self._life = 0  # how often it was emptied
        self._count = 0  # the next transition's number
        self._size = 0
        self._last_number = [-1] * self.n_envs  # each env's last transition while its segment is open, else -1
        self._n_tails = self.n_envs  # rows of the tails that have ever been in use
        # A heap, so the lowest free row is always reused first: which row comes next then depends on which rows are
        # free alone, not on the order in which they became so, and needn't be saved.
        self._free_rows: list[int] = []

    def __len__(self) -> int:
        """Number of transitions stored."""
        return self._size

    @property
    def is_ready(self) -> bool:
        """Whether there is anything to sample."""
        return self._size > 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved for storage."""
        columns: list[Array] = [self._action, self._reward, self._terminated, self._truncated, self._next_index]
        return sum(column.nbytes for column in columns) + sum(
            leaf.ring.nbytes + leaf.tails.nbytes for leaf in self._leaves
        )

    def clear(self) -> None:
        """Forgets all transitions; `generator` goes on from where it is."""
        self._life += 1
        self._next_index[: self._size] = 0  # else `add` would free the rows that the forgotten transitions held
        self._count = self._size = 0
        self._last_number = [-1] * self.n_envs
        self._n_tails = self.n_envs
        self._free_rows = []

    def add(
        self,
        observation: Observation,
        action: Array,
        reward: Array,
        next_observation: Observation,
        terminated: Array,
        truncated: Array,
        *,
        valid: Array | None = None,
    ) -> None:
        """Stores one transition of every environment. Everything is copied.

        Args:
            observation: Where the step began, `[n_envs, *shape]`, or a dict of such arrays.
            action: `[n_envs, *action_space.shape]`.
            reward: `[n_envs]`.
            next_observation: Where the step ended, `[n_envs, *shape]`: the true last one where an episode ended.
            terminated: `[n_envs]`, bool: nothing is owed after this step.
            truncated: `[n_envs]`, bool: the episode was cut off here.
            valid: `[n_envs]`, bool: the environments that made a transition at all; the others are skipped.

        Raises:
            ValueError: If an argument has another shape or kind of values, or lacks a key; nothing is stored then.
            NonFiniteError: If an observation, action or reward is NaN or infinite in float32; nothing is stored then.
        """
        observations = self._leaf_values("observation", observation)
        next_observations = self._leaf_values("next_observation", next_observation)
        n = self.n_envs
        action = _checked("action", action, (n, *self._action.shape[1:]))
        reward = _checked("reward", reward, (n,))
        terminated = _checked_flags("terminated", terminated, n)
        truncated = _checked_flags("truncated", truncated, n)
        envs: Sequence[int] = range(n)
        if valid is not None:
            valid = _checked_flags("valid", valid, n)
            if np.count_nonzero(valid) < n:
                envs = np.flatnonzero(valid).tolist()
                observations = [value[envs] for value in observations]
                next_observations = [value[envs] for value in next_observations]
                action, reward, terminated, truncated = action[envs], reward[envs], terminated[envs], truncated[envs]
        for value in (*observations, action, reward, *next_observations):
            if row_not_finite(value) is not None:
                self._raise_not_finite(envs, observations, action, reward, next_observations)
        # Beforehand, because growing may fail for lack of memory: no transition is left half written.
        self._reserve_tails(2 * len(envs))

        capacity = self.capacity
        slot = self._count % capacity
        slots: slice | NDArray[np.int64] = slice(slot, slot + len(envs))
        if slot + len(envs) > capacity:
            slots = np.arange(slot, slot + len(envs)) % capacity
        for index in self._next_index[slots].tolist():
            if ~index >= n:  # an overwritten transition's own final row; slots never used hold 0
                heapq.heappush(self._free_rows, ~index)
        for leaf, value in zip(self._leaves, observations, strict=True):
            leaf.ring[slots] = value
        self._action[slots] = action
        self._reward[slots] = reward
        self._terminated[slots] = terminated
        self._truncated[slots] = truncated

        self._link(envs, next_observations, (terminated | truncated).tolist())
        self._count += len(envs)
        self._size = min(self._count, capacity)

    def _raise_not_finite(
        self,
        envs: Sequence[int],
        observations: list[Array],
        action: Array,
        reward: Array,
        next_observations: list[Array],
    ) -> None:
        """Raises a `NonFiniteError` that names the first of these, by environment and key, that is not finite."""
        for kind, values in (
            ("observation", observations),
            ("action", [action]),
            ("reward", [reward]),
            ("next_observation", next_observations),
        ):
            for i, value in enumerate(values):
                row = row_not_finite(value)
                if row is not None:
                    name = f"{kind}[{self._leaves[i].key!r}]" if self._is_dict and "observation" in kind else kind
                    raise NonFiniteError(
                        f"{name} of environment {envs[row]} is not finite (in float32, in which it is kept): "
                        f"{value[row]!r}, in transition {self._count + row}, counted from 0. Nothing was stored"
                    )

    def _link(self, envs: Sequence[int], next_observations: list[Array], ended: list[bool]) -> None:
        """Sets `next_index` of the transitions just written, and of those that they follow."""
        oldest = max(self._count + len(envs) - self.capacity, 0)
        for k, env in enumerate(envs):
            number = self._count + k
            slot = number % self.capacity
            last_number = self._last_number[env]
            if last_number >= oldest:
                # The bits are compared: the caller then gets back exactly what it gave, also for NaN and -0.0.
                follows = all(leaf.ring[slot].tobytes() == leaf.tails[env].tobytes() for leaf in self._leaves)
                if not follows:  # the env was reset, or exchanged, without an end being seen
                    row = self._new_tail()
                    for leaf in self._leaves:
                        leaf.tails[row] = leaf.tails[env]
                self._next_index[last_number % self.capacity] = slot if follows else ~row
            row = self._new_tail() if ended[k] else env
            for leaf, value in zip(self._leaves, next_observations, strict=True):
                leaf.tails[row] = value[k]
            self._next_index[slot] = ~row
            self._last_number[env] = -1 if ended[k] else number

    def sample(self, batch_size: int) -> Batch:
        """Draws a minibatch of transitions, uniformly and with replacement.

        Raises:
            ValueError: If `batch_size` isn't a positive integer or the buffer is empty.
        """
        return self.gather(self.sample_indices(1, batch_size)[0])

    def sample_indices(self, n: int, batch_size: int) -> NDArray[np.int64]:
        """Draws what `n` minibatches hold, uniformly and with replacement, for `gather`.

        Args:
            n: Number of minibatches.
            batch_size: Transitions in each.

        Returns:
            Indices of stored transitions, `[n, batch_size]`, good until the next `add`.

        Raises:
            ValueError: If a number isn't a positive integer or the buffer can't be sampled yet.
        """
        shape = check_whole_number("n", n), check_whole_number("batch_size", batch_size)
        if not self.is_ready:
            raise ValueError("the replay buffer is empty, sampling needs at least 1 transition: add some first")
        return self.generator.integers(0, self._size, size=shape, dtype=np.int64)

    def gather(self, indices: ArrayLike) -> Batch:
        """Reads the transitions at `indices`.

        Args:
            indices: `[B]`, integers below `len(self)`; or `[n, B]`, for several minibatches at once.

        Returns:
            Fresh, contiguous arrays. `action` is `[B, *action_space.shape]`; `discount` is gamma (1 - terminated). For
            several minibatches each array has the leading dimension `n` too.

        Raises:
            IndexError: If there is no such transition.
        """
        indices = np.asarray(indices)
        size = self._size  # the columns are cut to it, so numpy refuses indices of slots that hold nothing yet
        terminated = self._terminated[:size].take(indices)
        next_index = self._next_index[:size].take(indices)
        from_tails = next_index < 0
        rows = ~next_index[from_tails] if from_tails.any() else None
        observations: list[Array] = []
        next_observations: list[Array] = []
        for leaf in self._leaves:
            observations.append(leaf.ring[:size].take(indices, axis=0))
            value = leaf.ring.take(next_index, axis=0, mode="clip")  # the negative ones read slot 0: replaced below
            if rows is not None:
                value[from_tails] = leaf.tails.take(rows, axis=0)
            next_observations.append(value)
        return Batch(
            observation=self._observation(observations),
            action=self._action[:size].take(indices, axis=0),
            reward=self._reward[:size].take(indices),
            next_observation=self._observation(next_observations),
            discount=np.multiply(~terminated, self.gamma, dtype=np.float32),
            terminated=terminated,
        )

    @property
    def columns(self) -> Columns:
        """Where all that `gather` reads is kept, for a mirror of it; see `changes_since`."""
        return Columns(
            {leaf.key: leaf.ring for leaf in self._leaves},
            {leaf.key: leaf.tails for leaf in self._leaves},
            *(self._action, self._reward, self._terminated, self._next_index),
        )

    def mark(self) -> Mark:
        """Returns this moment, for `changes_since`."""
        return Mark(self._life, self._count, tuple(self._last_number))

    def changes_since(self, mark: Mark | None) -> Changes:
        """Says where `columns` hold other content than at a moment.

        Args:
            mark: The moment, of this buffer; None: before there was any content.
        """
        if mark is None or mark.life != self._life:
            mark = Mark(self._life, 0, ())
        oldest = self._count - self._size
        first = max(mark.count, oldest)
        # Written once, a transition is only touched when the next one of its env says where its observation is.
        linked = np.array([n % self.capacity for n in mark.last_number if n >= oldest], np.int64)
        slots = self._slots(first, self._count)
        next_index = np.concatenate([*(self._next_index[part] for part in slots), self._next_index[linked]])
        return Changes(slots, linked, np.unique(~next_index[next_index < 0]).astype(np.int64))

    def _slots(self, first: int, end: int) -> list[slice]:
        """Returns where the transitions of consecutive numbers lie, none of which has overwritten another."""
        start, n = first % self.capacity, end - first
        before_the_end = min(n, self.capacity - start)
        parts = [slice(start, start + before_the_end), slice(0, n - before_the_end)]
        return [part for part in parts if part.stop > part.start]

    def state_dict(self, *, copy: bool = True) -> dict[str, Array]:
        """The content, without the part of the capacity that isn't filled and without the generator's state.

        Args:
            copy: `False` gives views, which change with the next `add`, to stream a large buffer to a file.

        Returns:
            In order of slots: `observation` and `tails` (for Dict spaces `observation/<key>` and `tails/<key>`),
            `action`, `reward`, `terminated`, `truncated`, `next_index`; and the counters `count` (`[1]`, transitions
            ever added) and `last_number` (`[n_envs]`, the number of each env's last transition, -1 after an end).
        """
        size = self._size
        state: dict[str, Array] = {}
        for leaf in self._leaves:
            state[leaf.member("observation")] = leaf.ring[:size]
            state[leaf.member("tails")] = leaf.tails[: self._n_tails]
        state["action"] = self._action[:size]
        state["reward"] = self._reward[:size]
        state["terminated"] = self._terminated[:size]
        state["truncated"] = self._truncated[:size]
        state["next_index"] = self._next_index[:size]
        state["count"] = np.array([self._count], np.int64)
        state["last_number"] = np.array(self._last_number, np.int64)
        return {name: value.copy() for name, value in state.items()} if copy else state

    def load_state_dict(self, state: Mapping[str, Array | StoredArray]) -> None:
        """Replaces the content by that of another buffer's `state_dict`.

        With the same capacity and `n_envs`, what follows is bit for bit what would have followed in the saved buffer.
        With another capacity the same transitions lie in other slots; with another `n_envs` the open segments end.

        Args:
            state: The members, as arrays, or as arrays in a file, which are then read one after the other into place.

        Raises:
            ArchiveError: If a member is missing, unknown, of another type or shape or inconsistent, or if there are
                more transitions than `capacity`. The buffer is then as it was. Or if a member in a file can't be read;
                the buffer is then empty.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state: received {state!r:.80}; what state_dict() returned is needed, a dictionary of arrays"
            )
        size, n_tails = self._check_members(state)
        last_number = _read(state["last_number"]).astype(np.int64)
        count = int(_read(state["count"])[0])
        next_index = _read(state["next_index"]).astype(np.int64)
        _check_links(next_index, n_tails, count, last_number)

        order: NDArray[np.int64] | None = None
        if count > size and size < self.capacity:
            # The saved ring was full and this one won't be: renumber, so that the oldest transition comes first.
            order = np.arange(count - size, count) % size
            next_index = np.where(next_index < 0, next_index, (next_index - count) % size)[order]
            last_number = np.maximum(last_number - (count - size), -1)
            count = size
        first_row = 0
        if len(last_number) != self.n_envs:
            # Nothing says which env is which: all saved rows become final ones, behind this buffer's pending rows.
            first_row = self.n_envs
            next_index = np.where(next_index < 0, next_index - first_row, next_index)
            last_number = np.full(self.n_envs, -1)
        self._grow_tails(first_row + n_tails)  # the only step that may fail: before anything is changed

        self.clear()
        for leaf in self._leaves:
            _fill(leaf.ring[:size], state[leaf.member("observation")], order)
            _fill(leaf.tails[first_row : first_row + n_tails], state[leaf.member("tails")])
        _fill(self._action[:size], state["action"], order)
        _fill(self._reward[:size], state["reward"], order)
        _fill(self._terminated[:size], state["terminated"], order)
        _fill(self._truncated[:size], state["truncated"], order)
        self._next_index[:size] = next_index
        self._count, self._size = count, size
        self._last_number = last_number.tolist()
        self._n_tails = first_row + n_tails
        used = set((~next_index[next_index < 0]).tolist())
        self._free_rows = [row for row in range(self.n_envs, self._n_tails) if row not in used]  # sorted, so a heap

    def _check_members(self, state: Mapping[str, Array | StoredArray]) -> tuple[int, int]:
        """Checks all types and shapes; returns the numbers of transitions and of tails."""
        expected = self.state_dict(copy=False)
        for name in expected:
            if name not in state:
                raise ArchiveError(
                    f"the replay buffer's member {name!r} is missing: it was saved for other spaces or is damaged"
                )
        for name in state:
            if name not in expected:
                raise ArchiveError(
                    f"the replay buffer's member {name!r} is unknown: only {sorted(expected)} are allowed"
                )
        lengths: dict[str, int] = {}
        for name, like in expected.items():
            value = state[name]
            if value.dtype != like.dtype or len(value.shape) != like.ndim or value.shape[1:] != like.shape[1:]:
                wanted = ", ".join(["n", *map(str, like.shape[1:])])
                raise ArchiveError(
                    f"the replay buffer's member {name!r} has type {value.dtype} and shape {value.shape}, "
                    f"but these spaces need {like.dtype} and ({wanted})"
                )
            lengths[name] = value.shape[0]
        size, n_tails = lengths["reward"], lengths[self._leaves[0].member("tails")]
        n_saved_envs = lengths["last_number"]
        for name, length in lengths.items():
            if name == "count":
                right = length == 1
            elif name == "last_number":
                right = 1 <= length <= n_tails
            else:
                right = length == (n_tails if name.startswith("tails") else size)
            if not right:
                raise ArchiveError(
                    f"the replay buffer's member {name!r} has length {length}, which doesn't go with {size} "
                    f"transitions of {n_saved_envs} envs and {n_tails} tails: it is damaged"
                )
        if size > self.capacity:
            raise ArchiveError(
                f"the saved replay buffer holds {size} transitions ('reward'), more than the capacity of "
                f"{self.capacity}: set replay_size to {size} or more, or load without the buffer"
            )
        return size, n_tails

    def _leaf_values(self, name: str, observation: Observation) -> list[Array]:
        """Checks an observation and splits it into arrays `[n_envs, *shape]`, one for each leaf."""
        if not self._is_dict:
            if type(observation) is not np.ndarray and isinstance(observation, Mapping):
                raise ValueError(f"{name} is a dict, but the observation space is a Box: give an array")
            return [self._leaves[0].checked(name, observation, self.n_envs)]
        keys = [leaf.key for leaf in self._leaves]
        if not isinstance(observation, Mapping) or observation.keys() != set(keys):
            received = sorted(observation) if isinstance(observation, Mapping) else type(observation).__name__
            raise ValueError(
                f"{name} is {received}, but the observation space is a Dict: give a dict with the keys {keys}"
            )
        return [leaf.checked(f"{name}[{leaf.key!r}]", observation[leaf.key], self.n_envs) for leaf in self._leaves]

    def _observation(self, values: list[Array]) -> Observation:
        if self._is_dict:
            return {leaf.key: value for leaf, value in zip(self._leaves, values, strict=True)}
        return values[0]

    def _new_tail(self) -> int:
        """Takes a row of the tails into use; `_reserve_tails` has seen to it that there is one."""
        if self._free_rows:
            return heapq.heappop(self._free_rows)
        self._n_tails += 1
        return self._n_tails - 1

    def _reserve_tails(self, n_rows: int) -> None:
        if len(self._free_rows) < n_rows:
            self._grow_tails(self._n_tails + n_rows)

    def _grow_tails(self, n_rows: int) -> None:
        """Makes the tails at least `n_rows` long, by doubling: a row costs constant time on average."""
        old_rows = len(self._leaves[0].tails)
        if n_rows <= old_rows:
            return
        # Each transition in the ring has one row at most, each env one pending, and one add asks for two per env.
        n_rows = max(n_rows, min(2 * old_rows, self.capacity + 3 * self.n_envs))
        try:
            grown = [np.zeros((n_rows, *leaf.tails.shape[1:]), leaf.tails.dtype) for leaf in self._leaves]
        except MemoryError as error:
            wanted = self.nbytes + sum((n_rows - old_rows) * leaf.tails[0].nbytes for leaf in self._leaves)
            raise _memory_error(self.capacity, wanted) from error
        for leaf, tails in zip(self._leaves, grown, strict=True):
            tails[:old_rows] = leaf.tails
            leaf.tails = tails


@dataclass(slots=True)
class _Leaf:
    """Storage of one array of the observation: all of it for a Box, one key for a Dict."""

    key: str  # "" for a Box
    ring: Array  # [capacity, *shape]
    tails: Array  # [rows, *shape]

    @classmethod
    def allocate(cls, key: str, box: gym.spaces.Box, capacity: int, n_rows: int) -> _Leaf:
        dtype = np.dtype(storage_dtype(box))
        return cls(key, np.zeros((capacity, *box.shape), dtype), np.zeros((n_rows, *box.shape), dtype))

    def member(self, name: str) -> str:
        """Its name in the state dict."""
        return f"{name}/{self.key}" if self.key else name

    def checked(self, name: str, value: ArrayLike, n_envs: int) -> Array:
        array = _checked(name, value, (n_envs, *self.ring.shape[1:]))
        if (
            self.ring.dtype == np.uint8 and array.dtype != np.uint8
        ):  # a cast would silently ruin images scaled to [0, 1]
            raise ValueError(f"{name} has type {array.dtype}, but its space is uint8: give it unscaled, as uint8")
        return array


def _read(value: Array | StoredArray) -> Array:
    return value if isinstance(value, np.ndarray) else value.read()


def _fill(target: Array, value: Array | StoredArray, order: NDArray[np.int64] | None = None) -> None:
    if order is None and not isinstance(value, np.ndarray):
        value.read_into(target)
    else:
        target[...] = _read(value) if order is None else _read(value)[order]


def _check_links(index: NDArray[np.int64], n_tails: int, count: int, last_number: NDArray[np.int64]) -> None:
    """Checks that a saved buffer's references are ones that `add` can have made, so that none will ever dangle."""
    size, n_envs = len(index), len(last_number)
    if count < size or (size == 0 and count != 0):
        raise ArchiveError(
            f"the replay buffer's member 'count' is {count}, but there are {size} transitions: it is damaged"
        )
    if np.any((last_number < -1) | (last_number >= count)):
        raise ArchiveError(f"the replay buffer's member 'last_number' isn't from -1 to {count - 1}: it is damaged")
    if size == 0:
        return
    damaged = ArchiveError("the replay buffer's member 'next_index' doesn't go with the other members: it is damaged")
    if index.min() < -n_tails or index.max() >= size:
        raise damaged
    in_ring = index >= 0
    age = (count - 1 - np.arange(size)) % size  # of each slot: 0 for the newest
    final_rows = ~index[index < -n_envs]
    pending = np.flatnonzero((index < 0) & (index >= -n_envs))  # slots that refer to a pending row
    alive = np.flatnonzero(last_number >= count - size)  # envs whose open segment is still in the ring
    if (
        np.any(age[index[in_ring]] >= age[in_ring])  # an older transition would be overwritten first
        or len(np.unique(final_rows)) != len(final_rows)  # a shared row would be freed twice
        or len(pending) != len(alive)
        or np.any(index[last_number[alive] % size] != ~alive)
    ):
        raise damaged


def _bytes_wanted(capacity: int, n_rows: int, boxes: Mapping[str, gym.spaces.Box], action: gym.spaces.Box) -> int:
    observation_bytes = sum(math.prod(box.shape) * np.dtype(storage_dtype(box)).itemsize for box in boxes.values())
    other_bytes = 4 * math.prod(action.shape) + 4 + 1 + 1 + 4  # reward, terminated, truncated, next_index
    return capacity * (observation_bytes + other_bytes) + n_rows * observation_bytes


def _memory_error(capacity: int, wanted: int) -> MemoryError:
    return MemoryError(
        f"a replay buffer of {capacity:,} transitions needs {wanted:,} bytes ({wanted / 2**30:.1f} GiB) "
        "for these spaces, which this machine can't give: lower replay_size"
    )


def _checked(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value)
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {shape} is needed (the first dimension is the environment): "
            "add the transitions of all envs together, batched, in the shapes of the spaces"
        )
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"{name} has dtype {array.dtype}, but real numbers are needed: {value!r:.80}")
    return array


def _checked_flags(name: str, value: ArrayLike, n: int) -> Array:
    array = _checked(name, value, (n,))
    if array.dtype.kind == "b":
        return array
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} is {array.tolist()}, but each must be True or False (or 1 or 0)")
    return array.astype(bool)
