"""Acting: from observations to actions, for which no gradient is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slc_agents.spaces import observation_boxes, storage_dtype
from slc_agents.tf2.batches import to_tensor
from slc_agents.tf2.networks import Tensor
from slc_agents.tf2.policies import TensorObservation
from slc_agents.transition import Observation

__all__ = ["Acting", "count_rows", "observation_spec", "spelled"]

Floats: TypeAlias = NDArray[np.float32]

WEIGHTS_DIM = 3  # of a batch of noise weights, as `StateDependentNoiseActor.explore` takes them


class Acting:
    """Acts with a policy.

    Args:
        policy: The networks; see `slc_agents.tf2.policies`.
        device: Where they live.
        graphed: Whether what it computes becomes a graph, for any number of observations, when it is first asked for.
    """

    def __init__(self, policy: tf.Module, device: str, *, graphed: bool) -> None:
        self.policy: Any = policy
        self.device = device
        self._graphed = graphed
        self._functions: dict[Callable[..., Tensor], Callable[..., Tensor]] = {}

    def act(self, observation: Observation, noise: Floats | None) -> Floats:
        """Returns actions [n, n_actions] in [-1, 1].

        Args:
            observation: [n, *shape], or a dict of such arrays.
            noise: Standard normal, for samples of the policy: [n, n_actions]; or weights of state-dependent noise
                [n, *actor.weights_shape]. None: the policy's mean.
        """
        with tf.device(self.device):
            if noise is None:
                action = self._run(self._mean, to_tensor(observation))
            else:
                way = self._explored if noise.ndim == WEIGHTS_DIM else self._sampled
                action = self._run(way, to_tensor(observation), tf.convert_to_tensor(noise))
        return np.array(action, np.float32)  # a copy: the caller's, to be written to

    def _run(self, way: Callable[..., Tensor], observation: TensorObservation, *noise: Tensor) -> Tensor:
        if not self._graphed:
            return way(observation, *noise)
        if way not in self._functions:
            specs = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in noise]
            signature = [observation_spec(self.policy.observation_space, as_stored=True), *specs]
            self._functions[way] = tf.function(way, input_signature=signature, autograph=False)
        return self._functions[way](observation, *noise)

    def _mean(self, observation: TensorObservation) -> Tensor:
        return self.policy.actor.mean_action(self.policy.features(observation))

    def _sampled(self, observation: TensorObservation, noise: Tensor) -> Tensor:
        action, _ = self.policy.actor(self.policy.features(observation), noise)
        return action

    def _explored(self, observation: TensorObservation, weights: Tensor) -> Tensor:
        return self.policy.actor.explore(self.policy.features(observation), weights)


def count_rows(observation: Observation) -> int:
    """Returns how many observations there are."""
    return len(next(iter(observation.values())) if isinstance(observation, dict) else observation)


def observation_spec(space: Any, *, as_stored: bool) -> Any:
    """Returns what tensors observations [n, *shape] of a space are; `as_stored`, with images as uint8."""
    specs = {
        key: tf.TensorSpec([None, *box.shape], storage_dtype(box) if as_stored else np.float32, name=spelled(key))
        for key, box in observation_boxes(space).items()
    }
    return specs[""] if set(specs) == {""} else specs


def spelled(key: str) -> str:
    """Returns a key of an observation as TensorFlow can spell the name of an input; `observation` for ''."""
    return re.sub(r"\W", "_", key, flags=re.ASCII) or "observation"
