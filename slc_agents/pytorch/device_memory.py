"""A replay buffer's content on a device, where minibatches are gathered without passing through the CPU.

The buffer stays where everything is kept, drawn from and saved. Its mirror is told, before each block of gradient
steps, what has changed since the last one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from slc_agents.buffers import ReplayBuffer
from slc_agents.buffers.replay_buffer import Mark
from slc_agents.pytorch.batches import Batches, TensorBatch, send, send_into
from slc_agents.pytorch.encoders import TensorObservation
from slc_agents.transition import Array

__all__ = ["DeviceMemory", "Place", "choose_place", "mirror_bytes"]

# Of a device's memory, what a mirror may take: networks, minibatches and others need room too.
MAX_FRACTION = 0.5


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
        self._gamma = float(memory.gamma)
        self._horizon_length = memory.horizon_length
        self._is_dict = isinstance(memory.observation_space, spaces.Dict)
        columns = memory.columns
        try:
            self._rings = {key: self._like(ring) for key, ring in columns.rings.items()}
            self._tails = {key: self._like(tails) for key, tails in columns.tails.items()}
            self._action = self._like(columns.action)
            self._reward = self._like(columns.reward)
            self._terminated = self._like(columns.terminated)
            self._next_index = self._like(columns.next_index)
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
        terminated = self._terminated.index_select(0, inputs)
        next_index = self._next_index.index_select(0, inputs).long()
        from_tails = next_index < 0
        in_ring, row = next_index.clamp(min=0), next_index.bitwise_not().clamp(min=0)
        next_observation = {
            key: torch.where(
                from_tails.view(-1, *[1] * (ring.dim() - 1)),
                self._tails[key].index_select(0, row),
                ring.index_select(0, in_ring),
            )
            for key, ring in self._rings.items()
        }
        return TensorBatch(
            self._observation({key: ring.index_select(0, inputs) for key, ring in self._rings.items()}),
            self._action.index_select(0, inputs),
            self._reward.index_select(0, inputs),
            self._observation(next_observation),
            terminated.logical_not().float() * self._gamma,
            terminated,
            self._horizon_return(inputs) if self._horizon_length else None,
        )

    def _horizon_return(self, slot: Tensor) -> Tensor:
        """Sums up what `FiniteHorizonReplayBuffer.gather` does, in the same order."""
        total = self._reward.index_select(0, slot)
        for _ in range(self._horizon_length - 1):
            next_slot = self._next_index.index_select(0, slot).long()
            slot = torch.where(next_slot < 0, slot, next_slot)
            total = total + self._reward.index_select(0, slot)
        return total

    def tensors(self) -> list[Tensor]:
        """Returns the mirror's columns; the tails are others when there are more of them."""
        others = [self._action, self._reward, self._terminated, self._next_index]
        return [*self._rings.values(), *self._tails.values(), *others]

    def _follow(self, memory: ReplayBuffer) -> None:
        """Copies what has changed in the buffer since the last time."""
        columns, changes = memory.columns, memory.changes_since(self._mark)
        self._grow_tails(memory)
        pairs: list[tuple[Tensor, Array]] = [
            *((self._rings[key], ring) for key, ring in columns.rings.items()),
            (self._action, columns.action),
            (self._reward, columns.reward),
            (self._terminated, columns.terminated),
            (self._next_index, columns.next_index),
        ]
        for part in changes.slots:
            for ours, theirs in pairs:
                send_into(ours[part], theirs[part])
        self._copy_rows(self._next_index, columns.next_index, changes.linked)
        for key, tails in columns.tails.items():
            self._copy_rows(self._tails[key], tails, changes.rows)
        self._mark = memory.mark()

    def _copy_rows(self, ours: Tensor, theirs: Array, rows: NDArray[np.int64]) -> None:
        if len(rows):
            ours.index_copy_(0, send(rows, self.device), send(theirs[rows], self.device))

    def _grow_tails(self, memory: ReplayBuffer) -> None:
        for key, tails in memory.columns.tails.items():
            ours = self._tails[key]
            if len(tails) > len(ours):
                try:
                    self._tails[key] = self._like(tails)
                except torch.cuda.OutOfMemoryError as error:
                    raise self._memory_error(memory) from error
                self._tails[key][: len(ours)] = ours

    def _like(self, column: Array) -> Tensor:
        """Makes zeroed memory for a column: an index never reads what isn't there, but what it reads is then known."""
        dtype = torch.from_numpy(column[:0]).dtype
        return torch.zeros(column.shape, dtype=dtype, device=self.device)

    def _memory_error(self, memory: ReplayBuffer) -> MemoryError:
        return MemoryError(
            f"a copy of the replay buffer, {_gibibytes(mirror_bytes(memory))}, doesn't fit on {self.device}, which may "
            "have other users; lower replay_size, or give compute_kwargs={'replay_on_device': False}"
        )

    def _observation(self, values: dict[str, Tensor]) -> TensorObservation:
        return values if self._is_dict else values[""]


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
    columns = memory.columns
    others = (columns.action, columns.reward, columns.terminated, columns.next_index)
    return sum(column.nbytes for column in (*columns.rings.values(), *others))


def total_memory(device: torch.device) -> int:
    """Returns a CUDA device's memory in bytes, whoever uses it."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def _gibibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
