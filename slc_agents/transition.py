"""What passes between the environment, the memory and the learner.

Shapes: `B` is the batch size, `n` the number of parallel environments. An observation is an array, or for Dict
observation spaces a dict of arrays, one for each key; the leading dimension is always the batch or the environment.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Batch", "Episode", "Observation", "Step", "StoredArray", "Transition"]

Array: TypeAlias = NDArray[Any]
Observation: TypeAlias = "Array | dict[str, Array]"


class Transition(NamedTuple):
    """One step of `n` parallel environments."""

    observation: Observation  # [n, *shape]
    action: Array  # [n, *shape], as the environment received it
    reward: Array  # [n], float32
    next_observation: Observation  # [n, *shape]: the true last one where an episode ended
    terminated: Array  # [n], bool: nothing is owed after this
    truncated: Array  # [n], bool: cut off, the value goes on
    valid: Array  # [n], bool: False where an environment only reset itself, so there is no transition


class Batch(NamedTuple):
    """A minibatch of stored transitions."""

    observation: Observation  # [B, *shape]
    action: Array  # [B, action_size], as the buffer's user stored it
    reward: Array  # [B]
    next_observation: Observation  # [B, *shape]
    discount: Array  # [B], gamma where the episode went on, 0 where it terminated
    terminated: Array  # [B], bool
    horizon_return: Array | None = None  # [B], the sum of the next rewards; of a buffer with a finite horizon alone


class Episode(NamedTuple):
    """A finished episode, in the user's own units of reward or cost."""

    reward: float  # undiscounted sum
    length: int
    env_index: int


class Step(NamedTuple):
    """All that one step of `n` parallel environments brought."""

    transition: Transition
    episodes: list[Episode]  # that it ended
    observation: Observation  # [n, *shape], what the environments show now: the first one of a new episode
    info: dict[str, Any]  # as gymnasium's vector environments give it, an array for each key


class StoredArray(Protocol):
    """An array that lies in a file: its shape is known before it is read, and it need not be in memory twice."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self) -> Array:
        """Returns it."""

    def read_into(self, target: Array) -> None:
        """Fills an array of the same shape and type with it."""
