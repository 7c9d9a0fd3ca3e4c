"""Minibatches as tensors, and how they come to the learner's device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slc_agents.buffers import ReplayBuffer
from slc_agents.pytorch.encoders import TensorObservation
from slc_agents.transition import Array, Batch, Observation

__all__ = [
    "Batches",
    "HostBatches",
    "Inputs",
    "TensorBatch",
    "clone",
    "leaves",
    "send",
    "send_into",
    "to_batch",
    "to_tensor",
]

# Above it an array isn't copied a second time, into memory that a device reads by itself.
MAX_PINNED_BYTES = 2**26


class TensorBatch(NamedTuple):
    """A `Batch` on the learner's device."""

    observation: TensorObservation  # [B, *shape]
    action: Tensor  # [B, n_actions] in [-1, 1]
    reward: Tensor  # [B]
    next_observation: TensorObservation  # [B, *shape]
    discount: Tensor  # [B], gamma (1 - terminated)
    terminated: Tensor  # [B], bool
    horizon_return: Tensor | None = None  # [B]


Inputs: TypeAlias = "Tensor | TensorBatch"


def send(array: Array, device: torch.device) -> Tensor:
    """Returns an array's values as a tensor on a device.

    On the CPU the tensor shares the array's memory. A CUDA device gets a copy of what the array holds now, without
    being waited for.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda" and array.nbytes <= MAX_PINNED_BYTES:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def send_into(target: Tensor, array: Array) -> None:
    """Copies an array's values, as they are now, into a tensor of the same shape and type; see `send`."""
    tensor = torch.from_numpy(array)
    if target.device.type == "cuda" and array.nbytes <= MAX_PINNED_BYTES:
        target.copy_(tensor.pin_memory(), non_blocking=True)
    else:
        target.copy_(tensor)


def to_tensor(observation: Observation, device: torch.device) -> TensorObservation:
    """Returns an observation on a device; see `send`."""
    if isinstance(observation, dict):
        return {key: send(array, device) for key, array in observation.items()}
    return send(observation, device)


def to_batch(batch: Batch, device: torch.device) -> TensorBatch:
    """Returns a minibatch on a device; see `send`."""
    return TensorBatch(
        to_tensor(batch.observation, device),
        send(batch.action, device),
        send(batch.reward, device),
        to_tensor(batch.next_observation, device),
        send(batch.discount, device),
        send(batch.terminated, device),
        None if batch.horizon_return is None else send(batch.horizon_return, device),
    )


def leaves(inputs: Inputs | TensorObservation | None) -> Iterator[Tensor]:
    """Yields all tensors of a minibatch's inputs, in their order."""
    if isinstance(inputs, Tensor):
        yield inputs
    elif inputs is not None:
        for part in inputs.values() if isinstance(inputs, dict) else inputs:
            yield from leaves(part)


def clone(inputs: Any) -> Any:
    """Returns a copy of a minibatch's inputs, in memory of its own."""
    if isinstance(inputs, Tensor):
        return inputs.clone()
    if isinstance(inputs, dict):
        return {key: clone(tensor) for key, tensor in inputs.items()}
    if inputs is None:
        return None
    return TensorBatch(*map(clone, inputs))


class Batches(ABC):
    """The minibatches of a block of gradient steps: all that's asked of where they come from.

    A minibatch is made in two parts, of which the second one is nothing but operations on tensors of the device, always
    the same ones, so that it can be a part of a gradient step that is recorded once and repeated.
    """

    @abstractmethod
    def inputs(self, memory: ReplayBuffer, indices: NDArray[np.int64]) -> Iterator[Inputs]:
        """Yields what each minibatch is made of, on the device; all of them alike in shapes.

        Args:
            memory: Where the transitions are.
            indices: Which ones each minibatch has, [n, B].
        """

    @abstractmethod
    def make(self, inputs: Any) -> TensorBatch:
        """Makes a minibatch of its inputs."""

    def tensors(self) -> list[Tensor]:
        """Returns what `make` reads beside the inputs."""
        return []


class HostBatches(Batches):
    """Minibatches that are gathered in the replay buffer and then sent to the device.

    Args:
        device: Where they go.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def inputs(self, memory: ReplayBuffer, indices: NDArray[np.int64]) -> Iterator[TensorBatch]:
        """Yields the minibatches themselves."""
        for rows in indices:
            yield to_batch(memory.gather(rows), self.device)

    def make(self, inputs: TensorBatch) -> TensorBatch:
        """Returns the minibatch, which is whole already."""
        return inputs
