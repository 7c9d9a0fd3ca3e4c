"""Minibatches as tensors: one, or a block of them, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slc_agents.buffers import ReplayBuffer
from slc_agents.spaces import map_observation
from slc_agents.tf2.networks import Tensor
from slc_agents.tf2.policies import TensorObservation
from slc_agents.transition import Array, Batch, Observation

__all__ = ["TensorBatch", "gather_block", "to_batch", "to_tensor"]


class TensorBatch(NamedTuple):
    """A `Batch` of tensors; of a block of n minibatches, each has one dimension more, [n, B, ...]."""

    observation: TensorObservation  # [B, *shape]
    action: Tensor  # [B, n_actions] in [-1, 1]
    reward: Tensor  # [B]
    next_observation: TensorObservation  # [B, *shape]
    discount: Tensor  # [B], gamma (1 - terminated)
    terminated: Tensor  # [B], bool
    horizon_return: Tensor | None = None  # [B]

    def present(self) -> dict[str, TensorObservation]:
        """Returns its fields by name, without what it lacks: graphs take tensors alone."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    @classmethod
    def at(cls, present: Mapping[str, TensorObservation], i: Tensor) -> Self:
        """Returns the `i`th minibatch of a block, of which the present fields are given."""
        return cls(**tf.nest.map_structure(lambda tensor: tensor[i], present))


def to_tensor(observation: Observation) -> TensorObservation:
    """Returns an observation's values as tensors."""
    return map_observation(tf.convert_to_tensor, observation)


def to_batch(batch: Batch) -> TensorBatch:
    """Returns a minibatch's values as tensors."""
    rest: dict[str, Any] = {
        name: None if value is None else tf.convert_to_tensor(value)
        for name, value in batch._asdict().items()
        if not name.endswith("observation")
    }
    return TensorBatch(
        observation=to_tensor(batch.observation), next_observation=to_tensor(batch.next_observation), **rest
    )


def gather_block(memory: ReplayBuffer, indices: NDArray[np.int64]) -> TensorBatch:
    """Returns a block of minibatches.

    Args:
        memory: Where the transitions are.
        indices: Which ones each minibatch has, [n, B].
    """
    n, size = indices.shape

    def stacked(array: Array) -> Array:
        return array.reshape(n, size, *array.shape[1:])

    batch = memory.gather(indices.reshape(-1))
    parts: dict[str, Any] = {
        name: None if value is None else map_observation(stacked, value) for name, value in batch._asdict().items()
    }
    return to_batch(Batch(**parts))
