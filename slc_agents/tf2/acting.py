"""Acting: from observations to actions, for which no gradient is needed.

Calling TensorFlow costs many times what a small network computes for a few observations, above all where the processors
are busy. So for these, on the CPU and where every part of the policy is known here, numpy computes the same, of what
the policy's variables hold at that moment; all else is a graph, made when it is first asked for. Which way is taken
follows from the policy, its device and the number of observations alone, never from a clock: equal runs stay equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slc_agents.learner.policy_kwargs import LOG_STD_MAX, LOG_STD_MIN, NORMALIZER_CLIP, NORMALIZER_EPSILON
from slc_agents.spaces import observation_boxes, storage_dtype
from slc_agents.tf2.batches import to_tensor
from slc_agents.tf2.networks import ACTIVATIONS, Activation, Dense, Mlp, Tensor
from slc_agents.tf2.normalizer import IdentityNormalizer, ObservationNormalizer
from slc_agents.tf2.policies import MlpPolicy, SquashedGaussianActor, TensorObservation
from slc_agents.transition import Observation

__all__ = ["Acting", "count_rows", "observation_spec", "spelled"]

Floats: TypeAlias = NDArray[np.float32]

MAX_PRODUCT = 2**19  # multiplications in one matrix product, from which on TensorFlow's threads are worth it
WEIGHTS_DIM = 3  # of a batch of noise weights, as `StateDependentNoiseActor.explore` takes them
# What a policy of a known kind acts with. A subclass, or an instance, that has its own acts otherwise.
METHODS = ("features", "flatten", "mean_action")


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
        self._parts: tuple[Any, Any] = (None, None)
        self._numpy_policy: NumpyPolicy | None = None

    def act(self, observation: Observation, noise: Floats | None) -> Floats:
        """Returns actions [n, n_actions] in [-1, 1].

        Args:
            observation: [n, *shape], or a dict of such arrays.
            noise: Standard normal, for samples of the policy: [n, n_actions]; or weights of state-dependent noise
                [n, *actor.weights_shape]. None: the policy's mean.
        """
        in_numpy = self._in_numpy()
        if in_numpy is not None and count_rows(observation) <= in_numpy.max_rows:
            return in_numpy.act(observation, noise)
        with tf.device(self.device):
            if noise is None:
                action = self._run(self._mean, to_tensor(observation))
            else:
                way = self._explored if noise.ndim == WEIGHTS_DIM else self._sampled
                action = self._run(way, to_tensor(observation), tf.convert_to_tensor(noise))
        return np.array(action, np.float32)  # a copy: the caller's, to be written to

    def _in_numpy(self) -> NumpyPolicy | None:
        policy = self.policy
        parts = getattr(policy, "actor", None), getattr(policy, "normalizer", None)
        if parts != self._parts:  # they may become others at any time
            self._parts = parts
            self._numpy_policy = NumpyPolicy(policy) if self.device == "CPU:0" and _is_known(policy) else None
        return self._numpy_policy

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


def _clip(x: Floats, low: float, high: float) -> Floats:
    return np.minimum(np.maximum(x, low), high)  # np.clip takes five times as long


# How each known activation maps an array.
ELEMENTWISE: dict[Activation, Callable[[Floats], Floats]] = {
    ACTIVATIONS["Identity"]: lambda x: x,
    ACTIVATIONS["ReLU"]: lambda x: np.maximum(x, 0.0),
    ACTIVATIONS["LeakyReLU"]: lambda x: np.where(x > 0.0, x, np.float32(0.01) * x),
    ACTIVATIONS["ELU"]: lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    ACTIVATIONS["Tanh"]: np.tanh,
}


def _is_known(policy: Any) -> bool:
    """Whether `NumpyPolicy` computes what a policy does, in every part that it acts with."""
    return (
        isinstance(policy, MlpPolicy)
        and all(getattr(type(policy), name, None) is getattr(MlpPolicy, name, None) for name in METHODS)
        and type(policy.actor) is SquashedGaussianActor
        and type(policy.normalizer) in (IdentityNormalizer, ObservationNormalizer)
        and all(type(part) in (Mlp, Dense) for part in policy.actor.submodules)
        and all(part.activation in ELEMENTWISE for part in policy.actor.submodules if type(part) is Dense)
        and not any(vars(part).keys() & set(METHODS) for part in (policy, policy.actor, *policy.actor.submodules))
    )


class NumpyPolicy:
    """What a policy that `_is_known` computes when it acts, in numpy, for as long as its parts stay the same.

    Args:
        policy: The policy.

    Attributes:
        max_rows: The most observations at once for which it is the better way.
    """

    def __init__(self, policy: MlpPolicy) -> None:
        self._policy = policy
        self.max_rows = MAX_PRODUCT // max(variable.shape.num_elements() for variable in policy.actor.variables)

    def act(self, observation: Observation, noise: Floats | None) -> Floats:
        """See `Acting.act`."""
        actor = self._policy.actor
        with np.errstate(all="ignore"):  # as TensorFlow: what is not finite shows in the action
            hidden = self._normalized(self._policy.flatten_arrays(observation))
            for layer in actor.trunk.members:
                hidden = _dense(layer, hidden)
            u = _dense(actor.mean, hidden)
            if noise is not None:
                u += np.exp(_clip(_dense(actor.log_std, hidden), LOG_STD_MIN, LOG_STD_MAX)) * noise
            return np.tanh(u)

    def _normalized(self, x: Floats) -> Floats:
        normalizer = self._policy.normalizer
        if type(normalizer) is IdentityNormalizer:
            return x
        scale = (1.0 / np.sqrt(_read(normalizer.var) + NORMALIZER_EPSILON)).astype(np.float32)
        deviation = x - _read(normalizer.mean).astype(np.float32)
        return _clip(deviation * scale, -NORMALIZER_CLIP, NORMALIZER_CLIP)


def _dense(layer: Dense, x: Floats) -> Floats:
    y = x @ _read(layer.weight)
    y += _read(layer.bias)
    return ELEMENTWISE[layer.activation](y)


def _read(variable: tf.Variable) -> NDArray[Any]:
    """Returns what a variable holds now, without the detours of its `numpy` method."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy()


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
