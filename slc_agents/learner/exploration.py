"""What makes an agent explore while it trains: the noise that its actions are sampled with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import check_whole_number

__all__ = ["ExplorationNoise"]


class ExplorationNoise:
    """Draws the noise of training's actions: new in every step, or weights that an actor keeps over several.

    An actor that wants the latter has `noise_steps` > 1, and `explore`, which takes such weights; see
    `StateDependentNoiseActor`. What is kept is a part of where a run stands, and goes on where it was resumed.
    """

    def __init__(self) -> None:
        self._weights: NDArray[np.float32] | None = None
        self._age = 0  # steps that have been made with these weights

    def draw(self, generator: np.random.Generator, actor: Any, n_envs: int, n_actions: int) -> NDArray[np.float32]:
        """Returns standard normal noise for one step: [n_envs, n_actions], or weights [n_envs, *actor.weights_shape].

        Args:
            generator: The random stream of actions.
            actor: What acts. It may become another one at any time.
            n_envs: Number of environments that act together; each has its own weights.
            n_actions: Number of action dimensions.
        """
        noise_steps = getattr(actor, "noise_steps", 1)
        if noise_steps == 1:
            self._weights = None
            return generator.standard_normal((n_envs, n_actions), dtype=np.float32)
        shape = (n_envs, *actor.weights_shape)
        if self._weights is None or self._weights.shape != shape or self._age >= noise_steps:
            self._weights, self._age = generator.standard_normal(shape, dtype=np.float32), 0
        self._age += 1
        return self._weights

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights that are kept, and how long they have been; nothing where none are."""
        return {} if self._weights is None else {"weights": self._weights, "age": self._age}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave.

        Raises:
            ValueError: If the weights are no finite numbers for each hidden unit and action of each environment.
        """
        if not state:
            self._weights = None
            return
        weights, age = np.array(state["weights"], np.float32), check_whole_number("age", state["age"])
        if weights.ndim != 3 or not np.isfinite(weights).all():
            raise ValueError(f"the noise weights have shape {list(weights.shape)}, or are not finite")
        self._weights, self._age = weights, age
