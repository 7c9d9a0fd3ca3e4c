"""A replay buffer's content on a device, where minibatches are gathered without passing through the CPU.

The buffer stays where everything is kept, drawn from and saved. Its mirror is told, before each block of gradient
steps, what has changed since the last one.

What the buffer has in columns, the mirror has in rows: a transition's numbers side by side, in one matrix for each type
of number, so that one operation on the device gathers a minibatch's, and one copy brings what is new. The rows of the
buffer's tails follow those of its ring, so that a next observation is a row as well.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from slc_agents.buffers import ReplayBuffer
from slc_agents.buffers.replay_buffer import Columns, Mark
from slc_agents.pytorch.batches import MAX_PINNED_BYTES, Batches, TensorBatch, send
from slc_agents.pytorch.encoders import TensorObservation
from slc_agents.transition import Array

__all__ = ["DeviceMemory", "Place", "choose_place", "mirror_bytes"]

ALIGNMENT = 16  # bytes, of a row: others take a GPU more than twice as long to gather
# Of a device's memory, what a mirror may take: networks, minibatches and others need room too.
MAX_FRACTION = 0.5


class _Field(NamedTuple):
    """Where a quantity stands in each row."""

    dtype: torch.dtype  # of the matrix
    columns: slice
    shape: tuple[int, ...]  # of one transition's

    def read(self, rows: dict[torch.dtype, Tensor]) -> Tensor:
        """Returns it, [B, *shape]: a view of rows that were gathered."""
        values = rows[self.dtype][:, self.columns]
        return values.view(len(values), *self.shape)


class _Fields(NamedTuple):
    """All that the rows hold."""

    observation: dict[str, _Field]
    action: _Field
    reward: _Field
    discount: _Field
    terminated: _Field  # 0 or 1
    widths: dict[torch.dtype, int]  # numbers in a row of each matrix

    @classmethod
    def of(cls, columns: Columns) -> _Fields:
        """Lays them out, observations first."""
        widths: dict[torch.dtype, int] = {}

        def place(column: Array) -> _Field:
            dtype, shape = torch.from_numpy(column[:0]).dtype, column.shape[1:]
            start = widths.get(dtype, 0)
            widths[dtype] = start + math.prod(shape)
            return _Field(dtype, slice(start, widths[dtype]), shape)

        observation = {key: place(ring) for key, ring in columns.rings.items()}
        reward = columns.reward
        fields = cls(observation, place(columns.action), place(reward), place(reward), place(reward), widths)
        for dtype, width in widths.items():
            step = ALIGNMENT // dtype.itemsize
            widths[dtype] = step * -(-width // step)
        return fields

    def row_bytes(self) -> int:
        """Returns the bytes of a transition's rows."""
        return sum(width * dtype.itemsize for dtype, width in self.widths.items())


class DeviceMemory(Batches):
    """A mirror of a replay buffer.

    Args:
        memory: The buffer. It isn't kept alive by its mirror.
        device: Where the mirror lies.

    Raises:
        MemoryError: If the device hasn't the room.
    """

    def __init__(self, memory: ReplayBuffer, device: torch.device) -> None:
        self.device = device
        self._memory = weakref.ref(memory)
        self._capacity = memory.capacity
        self._gamma = memory.gamma
        self._horizon_length = memory.horizon_length
        self._is_dict = isinstance(memory.observation_space, spaces.Dict)
        self._fields = _Fields.of(memory.columns)
        n_rows = memory.capacity + _count_tails(memory)
        try:
            self._rows = {dtype: self._zeros(n_rows, width, dtype) for dtype, width in self._fields.widths.items()}
            self._next_row = torch.zeros(memory.capacity, dtype=torch.int64, device=device)
        except torch.cuda.OutOfMemoryError as error:
            raise self._memory_error(memory) from error
        self._mark: Mark | None = None

    def mirrors(self, memory: ReplayBuffer) -> bool:
        """Says whether it is the mirror of a buffer."""
        return self._memory() is memory

    def inputs(self, memory: ReplayBuffer, indices: NDArray[np.int64]) -> Iterator[Tensor]:
        """Brings the mirror up to date; yields the indices of each minibatch's transitions, [B]."""
        if not self.mirrors(memory):
            raise ValueError("this is the mirror of another replay buffer")
        self._follow(memory)
        yield from send(indices, self.device).unbind()

    def make(self, inputs: Tensor) -> TensorBatch:
        """Gathers what `ReplayBuffer.gather` gives for the same indices, bit for bit."""
        fields, here = self._fields, self._gather(inputs)
        there = self._gather(self._next_row.index_select(0, inputs))
        return TensorBatch(
            self._observation(here),
            fields.action.read(here),
            fields.reward.read(here),
            self._observation(there),
            fields.discount.read(here),
            fields.terminated.read(here).bool(),
            self._horizon_return(inputs) if self._horizon_length else None,
        )

    def _gather(self, rows: Tensor) -> dict[torch.dtype, Tensor]:
        return {dtype: matrix.index_select(0, rows) for dtype, matrix in self._rows.items()}

    def _observation(self, rows: dict[torch.dtype, Tensor]) -> TensorObservation:
        values = {key: field.read(rows) for key, field in self._fields.observation.items()}
        return values if self._is_dict else values[""]

    def _horizon_return(self, slot: Tensor) -> Tensor:
        """Sums up what `FiniteHorizonReplayBuffer.gather` does, in the same order."""
        reward = self._fields.reward.read(self._rows)
        total = reward.index_select(0, slot)
        for _ in range(self._horizon_length - 1):
            next_row = self._next_row.index_select(0, slot)
            slot = torch.where(next_row < self._capacity, next_row, slot)  # an episode's last reward goes on
            total = total + reward.index_select(0, slot)
        return total

    def tensors(self) -> list[Tensor]:
        """Returns the mirror's matrices; they are others when the buffer's tails have got more rows."""
        return [*self._rows.values(), self._next_row]

    def _follow(self, memory: ReplayBuffer) -> None:
        """Copies what has changed in the buffer since the last time."""
        columns, changes = memory.columns, memory.changes_since(self._mark)
        self._grow(memory)
        slots = np.concatenate([*(np.arange(part.start, part.stop) for part in changes.slots), changes.linked[:0]])
        for part in self._pieces(slots):
            self._write(part, self._pack(columns, part))
        for part in self._pieces(changes.rows):
            self._write(self._capacity + part, self._pack_observations(columns.tails, part))
        touched = np.concatenate([slots, changes.linked])
        if len(touched):
            next_index = columns.next_index[touched].astype(np.int64)
            next_row = np.where(next_index < 0, self._capacity + ~next_index, next_index)
            self._next_row.index_copy_(0, *send(np.stack([touched, next_row]), self.device).unbind())
        self._mark = memory.mark()

    def _pieces(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yields indices in pieces, of whose rows each is small enough to be sent at once."""
        size = max(1, MAX_PINNED_BYTES // self._fields.row_bytes())
        for start in range(0, len(indices), size):
            yield indices[start : start + size]

    def _write(self, rows: NDArray[np.int64], values: dict[torch.dtype, Array]) -> None:
        index = send(rows, self.device)
        for dtype, matrix in self._rows.items():
            matrix.index_copy_(0, index, send(values[dtype], self.device))

    def _pack(self, columns: Columns, slots: NDArray[np.int64]) -> dict[torch.dtype, Array]:
        """Returns the rows of some of the ring's transitions."""
        rows, fields = self._pack_observations(columns.rings, slots), self._fields
        terminated = columns.terminated[slots]
        for field, values in (
            (fields.action, columns.action[slots]),
            (fields.reward, columns.reward[slots]),
            (fields.discount, np.multiply(~terminated, self._gamma, dtype=np.float32)),
            (fields.terminated, terminated),
        ):
            rows[field.dtype][:, field.columns] = values.reshape(len(slots), -1)
        return rows

    def _pack_observations(
        self, observations: dict[str, Array], indices: NDArray[np.int64]
    ) -> dict[torch.dtype, Array]:
        """Returns rows in which nothing stands but some of the observations."""
        n = len(indices)
        rows = {dtype: torch.zeros(n, width, dtype=dtype).numpy() for dtype, width in self._fields.widths.items()}
        for key, field in self._fields.observation.items():
            rows[field.dtype][:, field.columns] = observations[key][indices].reshape(n, -1)
        return rows

    def _grow(self, memory: ReplayBuffer) -> None:
        n_rows = self._capacity + _count_tails(memory)
        for dtype, matrix in self._rows.items():
            if n_rows > len(matrix):
                try:
                    self._rows[dtype] = self._zeros(n_rows, matrix.shape[1], dtype)
                except torch.cuda.OutOfMemoryError as error:
                    raise self._memory_error(memory) from error
                self._rows[dtype][: len(matrix)] = matrix

    def _zeros(self, n_rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """Makes zeroed memory: an index never reads what isn't there, but what it reads is then known."""
        return torch.zeros(n_rows, width, dtype=dtype, device=self.device)

    def _memory_error(self, memory: ReplayBuffer) -> MemoryError:
        return MemoryError(
            f"a copy of the replay buffer, {_gibibytes(mirror_bytes(memory))}, doesn't fit on {self.device}, which may "
            "have other users; lower replay_size, or give compute_kwargs={'replay_on_device': False}"
        )


def _count_tails(memory: ReplayBuffer) -> int:
    """Returns how many rows a buffer's tails have, those that aren't in use included."""
    return len(next(iter(memory.columns.tails.values())))


class Place(NamedTuple):
    """Where a replay buffer's minibatches are gathered."""

    on_device: bool  # in a mirror
    about: str  # words for the user


def choose_place(memory: ReplayBuffer, device: torch.device, wish: bool | None) -> Place:
    """Chooses where minibatches are gathered: a function of the device and the buffer's capacity and spaces.

    Args:
        memory: The buffer.
        device: The learner's.
        wish: Whether the user wants a mirror; None: on a CUDA device, where it fits well.
    """
    if wish is None and device.type != "cuda":
        return Place(False, "")
    if wish is False:
        return Place(False, "minibatches from the CPU")
    n_bytes = mirror_bytes(memory)
    if wish is None and n_bytes > MAX_FRACTION * total_memory(device):
        about = (
            f"minibatches from the CPU, since a copy of the replay buffer ({_gibibytes(n_bytes)}) would take more than "
            f"{MAX_FRACTION:.0%} of the device's {_gibibytes(total_memory(device))}"
        )
        return Place(False, about)
    return Place(True, f"a copy of the replay buffer there ({_gibibytes(n_bytes)})")


def mirror_bytes(memory: ReplayBuffer) -> int:
    """Returns what a buffer's mirror takes at least: it depends on the capacity and the spaces alone."""
    next_row = torch.int64.itemsize
    return memory.capacity * (_Fields.of(memory.columns).row_bytes() + next_row)


def total_memory(device: torch.device) -> int:
    """Returns a CUDA device's memory in bytes, whoever uses it."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def _gibibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
