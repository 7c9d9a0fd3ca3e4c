"""Acting: from observations to actions, for which no gradient is needed.

Calling torch costs more than what a small network computes for a few observations. So for these, on the CPU and where
every part of the policy is known here, numpy computes the same, on the very memory of the policy's parameters; all else
goes through the policy's own methods. Which way is taken follows from the policy, its device and the number of
observations alone, never from a clock: equal runs stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slc_agents.learner.policy_kwargs import (
    GSDE_EPSILON,
    LOG_STD_MAX,
    LOG_STD_MIN,
    NORMALIZER_CLIP,
    NORMALIZER_EPSILON,
    input_scale,
)
from slc_agents.pytorch.batches import to_tensor
from slc_agents.pytorch.networks import Dense
from slc_agents.pytorch.normalizer import IdentityNormalizer, ObservationNormalizer
from slc_agents.pytorch.parts import Parts
from slc_agents.pytorch.policies import MlpPolicy, SquashedGaussianActor, StateDependentNoiseActor
from slc_agents.spaces import observation_boxes
from slc_agents.transition import Observation

__all__ = ["Acting", "count_rows"]

Floats: TypeAlias = NDArray[np.float32]
Function: TypeAlias = Callable[[Floats], Floats]

# Multiplications in one matrix product. numpy is faster for hundreds of observations too; but from 2**20 on its BLAS
# starts threads of its own, which then wait for more work on the processors that torch's threads need.
MAX_PRODUCT = 2**19
WEIGHTS_DIM = 3  # of a batch of noise weights, as `StateDependentNoiseActor.explore` takes them
# What a policy of a known kind acts with. A subclass, or an instance, that has its own acts otherwise.
METHODS = ("__call__", "explore", "features", "flatten", "forward", "join", "mean_action", "weights_std")


class Acting:
    """Acts with a policy.

    Args:
        policy: The networks; see `slc_agents.pytorch.policies`. They may change at any time, in values or in parts.
        device: Where they live.
    """

    def __init__(self, policy: nn.Module, device: torch.device) -> None:
        self.policy: Any = policy
        self.device = device
        self._parts = _acting_parts(policy) if _has_known_methods(policy) else None
        self._in_numpy = self._find_numpy()

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes copies anew, for the arrays are views of the memory of this policy's parameters."""
        return type(self), (self.policy, self.device)

    def act(self, observation: Observation, noise: Floats | None) -> Floats:
        """Returns actions [n, n_actions] in [-1, 1].

        Args:
            observation: [n, *shape], or a dict of such arrays.
            noise: Standard normal, for samples of the policy: [n, n_actions]; or weights of state-dependent noise
                [n, *actor.weights_shape]. None: the policy's mean.
        """
        in_numpy = self._in_numpy_now()
        if in_numpy is not None and count_rows(observation) <= in_numpy.max_rows:
            return in_numpy.act(observation, noise)
        return self._act_in_torch(observation, noise)

    def _in_numpy_now(self) -> NumpyPolicy | None:
        if self._parts is not None and not self._parts.are_current():
            self._parts = _acting_parts(self.policy)
            self._in_numpy = self._find_numpy()
        return self._in_numpy

    def _find_numpy(self) -> NumpyPolicy | None:
        known = self._parts is not None and _is_known(self.policy, self._parts)
        return NumpyPolicy(self.policy) if known else None

    def _act_in_torch(self, observation: Observation, noise: Floats | None) -> Floats:
        with torch.inference_mode():
            features = self.policy.features(to_tensor(observation, self.device))
            if noise is None:
                action = self.policy.actor.mean_action(features)
            elif noise.ndim == WEIGHTS_DIM:
                action = self.policy.actor.explore(features, torch.from_numpy(noise).to(self.device))
            else:
                action, _ = self.policy.actor(features, torch.from_numpy(noise).to(self.device))
            return np.asarray(action.cpu().numpy(), np.float32)


def count_rows(observation: Observation) -> int:
    """Returns how many observations there are."""
    return len(next(iter(observation.values())) if isinstance(observation, dict) else observation)


def _clip(x: Floats, low: float, high: float) -> Floats:
    return np.minimum(np.maximum(x, low), high)  # np.clip takes five times as long


# How each known kind of module maps an array: what the module holds is looked up when it is called.
ELEMENTWISE: dict[type[nn.Module], Callable[[Any], Function]] = {
    nn.Identity: lambda module: lambda x: x,
    nn.ReLU: lambda module: lambda x: np.maximum(x, 0.0),
    nn.LeakyReLU: lambda module: lambda x: np.where(x > 0.0, x, module.negative_slope * x),
    nn.ELU: lambda module: lambda x: np.where(x > 0.0, x, module.alpha * np.expm1(np.minimum(x, 0.0))),
    nn.Hardtanh: lambda module: lambda x: _clip(x, module.min_val, module.max_val),
    nn.Tanh: lambda module: np.tanh,
    IdentityNormalizer: lambda module: lambda x: x,
}
ACTORS = (SquashedGaussianActor, StateDependentNoiseActor)
NORMALIZERS = (IdentityNormalizer, ObservationNormalizer)
KNOWN_PARTS = {*ELEMENTWISE, *ACTORS, *NORMALIZERS, nn.Sequential, Dense}


def _acting_parts(policy: MlpPolicy) -> Parts:
    return Parts(policy, (policy.normalizer, policy.actor))


def _has_known_methods(policy: nn.Module) -> TypeGuard[MlpPolicy]:
    """Whether a policy's class has no methods of its own to act with."""
    return isinstance(policy, MlpPolicy) and all(
        getattr(type(policy), name, None) is getattr(MlpPolicy, name, None) for name in METHODS
    )


def _is_known(policy: MlpPolicy, parts: Parts) -> bool:
    """Whether `NumpyPolicy` computes what a policy with known methods does, in every part that it acts with."""
    return (
        type(policy.actor) in ACTORS
        and type(policy.normalizer) in NORMALIZERS
        and KNOWN_PARTS.issuperset(map(type, parts.modules))
        and not any(vars(module).keys() & set(METHODS) for module in (policy, *parts.modules))
        and not any(parts.hooks)
        and all(tensor.device.type == "cpu" for tensor in parts.tensors)
        and all(parameter.dtype == torch.float32 for parameter in policy.actor.parameters())
        and all(buffer.dtype == torch.float64 for buffer in policy.normalizer.buffers())
    )


class NumpyPolicy:
    """What a policy that `_is_known` computes when it acts, in numpy, for as long as its parts stay the same.

    Args:
        policy: The policy.

    Attributes:
        max_rows: The most observations at once for which it is the better way.
    """

    def __init__(self, policy: MlpPolicy) -> None:
        self._boxes = {
            key: (math.prod(box.shape), input_scale(box))
            for key, box in observation_boxes(policy.observation_space).items()
        }
        self._normalize = _in_numpy(policy.normalizer)
        self._actor = _actor_in_numpy(policy.actor)
        self.max_rows = MAX_PRODUCT // max(parameter.numel() for parameter in policy.actor.parameters())

    def act(self, observation: Observation, noise: Floats | None) -> Floats:
        """See `Acting.act`."""
        with np.errstate(all="ignore"):  # as torch: what is not finite shows in the action
            return self._actor(self._normalize(self._flatten(observation)), noise)

    def _flatten(self, observation: Observation) -> Floats:
        """See `MlpPolicy.flatten`."""
        parts = observation if isinstance(observation, dict) else {"": observation}
        flat = []
        for key, (size, scale) in self._boxes.items():
            part = parts[key].reshape(len(parts[key]), size).astype(np.float32, copy=False)
            flat.append(part if scale == 1.0 else part / scale)
        return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)


def _in_numpy(module: nn.Module) -> Function:
    """Returns what a module's forward method does, on the module's own memory."""
    if isinstance(module, nn.Sequential):
        return _chained([_in_numpy(child) for child in module])
    if isinstance(module, Dense):
        return _dense_in_numpy(module)
    if isinstance(module, ObservationNormalizer):
        return _normalizer_in_numpy(module)
    return ELEMENTWISE[type(module)](module)


def _view(tensor: Tensor) -> NDArray[Any]:
    """Returns an array that shares a tensor's memory."""
    array: NDArray[Any] = tensor.detach().numpy()
    return array


def _chained(functions: list[Function]) -> Function:
    def forward(x: Floats) -> Floats:
        for function in functions:
            x = function(x)
        return x

    return forward


def _dense_in_numpy(layer: Dense) -> Function:
    weight, activate = _view(layer.weight), _in_numpy(layer.activation)
    bias = _view(layer.bias)[None]  # numpy is quicker with a row than in making one of a vector

    def forward(x: Floats) -> Floats:
        y = x @ weight
        y += bias
        return activate(y)

    return forward


def _normalizer_in_numpy(normalizer: ObservationNormalizer) -> Function:
    mean, var = _view(normalizer.mean), _view(normalizer.var)

    def forward(x: Floats) -> Floats:
        scale = (1.0 / np.sqrt(var + NORMALIZER_EPSILON)).astype(np.float32)
        return _clip((x - mean.astype(np.float32)) * scale, -NORMALIZER_CLIP, NORMALIZER_CLIP)

    return forward


def _actor_in_numpy(actor: Any) -> Callable[[Floats, Floats | None], Floats]:
    """Returns what maps features, and noise where a sample is wanted, to an actor's actions."""
    trunk, mean = _in_numpy(actor.trunk), _in_numpy(actor.mean)
    if isinstance(actor, StateDependentNoiseActor):
        mean, scaled = _chained([mean, _in_numpy(actor.clip)]), _state_dependent_noise(actor)
    else:
        scaled = _noise(actor)

    def act(features: Floats, noise: Floats | None) -> Floats:
        hidden = trunk(features)
        u = mean(hidden)
        return np.tanh(u if noise is None else u + scaled(hidden, noise))

    return act


def _noise(actor: SquashedGaussianActor) -> Callable[[Floats, Floats], Floats]:
    """Returns what scales standard normal noise to what is added to an actor's mean."""
    log_std = _in_numpy(actor.log_std)

    def scaled(hidden: Floats, noise: Floats) -> Floats:
        return np.exp(_clip(log_std(hidden), LOG_STD_MIN, LOG_STD_MAX)) * noise

    return scaled


def _state_dependent_noise(actor: StateDependentNoiseActor) -> Callable[[Floats, Floats], Floats]:
    """Returns what `_noise` does, for noise and for weights of noise."""
    log_std = _view(actor.log_std)

    def scaled(hidden: Floats, noise: Floats) -> Floats:
        std = np.exp(log_std)
        if actor.use_expln:
            std = np.where(log_std <= 0, std, np.log1p(np.maximum(log_std, 0.0)) + 1.0)
        if noise.ndim == WEIGHTS_DIM:
            of_hidden: Floats = np.matmul(hidden[:, None], std * noise[:, :-1])[:, 0]
            return of_hidden + np.float32(math.sqrt(GSDE_EPSILON)) * noise[:, -1]
        variance = np.square(hidden) @ np.square(std)
        root: Floats = np.sqrt(variance + GSDE_EPSILON)
        return root * noise

    return scaled
