"""Policies: the networks of an agent, and how they see an observation.

A policy is an `nn.Module` with the parts

- `normalizer(flat)`: observation statistics, or the identity;
- `actor(features, noise)` -> action [B, size] in [-1, 1] and its log-probability [B]; `actor.mean_action(features)`;
- `critic(features, action)` -> values [n_critics, B]; `critic_target`: its slow copy;
- `features(observation)`: what actor and critic see of an observation; `observe(observation)`;
- `observation_space`, `action_space`: those of the environment.

A user's own policy is a subclass that makes one of these differently (`make_actor`, `make_critic`), or any module that
has them all.
"""

from __future__ import annotations

import copy
import inspect
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.functional import softplus

from slc_agents.errors import check_whole_number, reject_unknown_keywords
from slc_agents.pytorch.critics import CriticEnsemble
from slc_agents.pytorch.networks import Dense, find_activation, make_mlp
from slc_agents.pytorch.normalizer import IdentityNormalizer, ObservationNormalizer
from slc_agents.spaces import check_action_space, check_observation_space, observation_boxes, observation_size

__all__ = ["MlpPolicy", "SquashedGaussianActor", "TensorObservation", "make_policy"]

TensorObservation: TypeAlias = "Tensor | dict[str, Tensor]"

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
DEFAULT_HIDDEN_SIZES = {"actor": (256, 256), "critic": (256, 256)}
DEFAULT_ACTIVATION = {"actor": "ReLU", "critic": "ReLU"}
DEFAULT_OUTPUT_ACTIVATION = {"actor": "ReLU", "critic": "Identity"}


class SquashedGaussianActor(nn.Module):
    """A Gaussian whose mean and standard deviation depend on the observation, squashed to [-1, 1] by tanh.

    Haarnoja et al. 2019 (arXiv 1812.05905), appendix C.

    Args:
        n_inputs: Size of the features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the hidden layers.
        activation: Class of the activation between hidden layers.
        output_activation: Class of the activation after the last hidden layer.
    """

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        output_activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.trunk = make_mlp(n_inputs, hidden_sizes, activation, output_activation)
        self.mean = Dense(hidden_sizes[-1], n_actions)
        self.log_std = Dense(hidden_sizes[-1], n_actions)

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples actions by the reparametrisation trick.

        Args:
            features: [B, n_inputs].
            noise: [B, n_actions], standard normal.

        Returns:
            Actions [B, n_actions] in [-1, 1] and their log-probabilities [B], both differentiable.
        """
        hidden = self.trunk(features)
        log_std = self.log_std(hidden).clamp(LOG_STD_MIN, LOG_STD_MAX)
        u = self.mean(hidden) + log_std.exp() * noise
        log_normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(u)^2), in a form that doesn't round to log(0) for large u.
        log_slope = 2.0 * (math.log(2.0) - u - softplus(-2.0 * u))
        return torch.tanh(u), (log_normal - log_slope).sum(dim=-1)

    def mean_action(self, features: Tensor) -> Tensor:
        """Returns the deterministic action [B, n_actions]: the squashed mean."""
        return torch.tanh(self.mean(self.trunk(features)))


class MlpPolicy(nn.Module):
    """Multilayer perceptrons over the flattened observation; a Dict observation's keys are flattened and joined.

    Args:
        observation_space: A Box or a Dict of Boxes.
        action_space: A Box with finite bounds.
        hidden_sizes: Widths of the hidden layers.
        activation: Activation between hidden layers, as a class or a name in `torch.nn`.
        output_activation: Activation after the actor's last hidden layer, and after the critic's output.
        n_critics: Number of critics; the smallest of their values counts.
        normalize_observations: Whether observations are normalised by their running mean and variance.

    `hidden_sizes`, `activation` and `output_activation` are each one value for both nets, or
    `{"actor": ..., "critic": ...}`, where what is left out has its default.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        hidden_sizes: Sequence[int] | Mapping[str, Sequence[int]] = DEFAULT_HIDDEN_SIZES,
        activation: str | type[nn.Module] | Mapping[str, Any] = DEFAULT_ACTIVATION,
        output_activation: str | type[nn.Module] | Mapping[str, Any] | None = DEFAULT_OUTPUT_ACTIVATION,
        n_critics: int = 2,
        normalize_observations: bool = False,
    ) -> None:
        super().__init__()
        check_observation_space(observation_space)
        check_action_space(action_space)
        if not isinstance(normalize_observations, (bool, np.bool_)):
            raise ValueError(
                f"policy_kwargs: normalize_observations={normalize_observations!r}; True or False is needed"
            )
        self.observation_space, self.action_space = observation_space, action_space
        self.n_features = observation_size(observation_space)
        self.n_actions = math.prod(action_space.shape or ())
        self.n_critics = check_whole_number("policy_kwargs: n_critics", n_critics)
        self.hidden_sizes = {
            net: _check_sizes(sizes)
            for net, sizes in _per_net(hidden_sizes, DEFAULT_HIDDEN_SIZES, "hidden_sizes").items()
        }
        self.activation = {
            net: find_activation(value, "policy_kwargs: activation")
            for net, value in _per_net(activation, DEFAULT_ACTIVATION, "activation").items()
        }
        self.output_activation = {
            net: find_activation(value, "policy_kwargs: output_activation")
            for net, value in _per_net(output_activation, DEFAULT_OUTPUT_ACTIVATION, "output_activation").items()
        }
        self.normalizer: nn.Module = (
            ObservationNormalizer(self.n_features) if normalize_observations else IdentityNormalizer()
        )
        self.actor = self.make_actor()
        self.critic = self.make_critic()
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)

    def make_actor(self) -> nn.Module:
        """Makes the actor: `actor(features, noise)` and `actor.mean_action(features)`."""
        return SquashedGaussianActor(
            self.n_features,
            self.n_actions,
            self.hidden_sizes["actor"],
            self.activation["actor"],
            self.output_activation["actor"],
        )

    def make_critic(self) -> nn.Module:
        """Makes the critics: `critic(features, action)` -> [n_critics, B]."""
        return CriticEnsemble(
            self.n_features,
            self.n_actions,
            self.hidden_sizes["critic"],
            self.activation["critic"],
            self.output_activation["critic"],
            self.n_critics,
        )

    def flatten(self, observation: TensorObservation) -> Tensor:
        """Joins an observation [B, *shape], or a dict of them in the space's order of keys, to [B, n_features].

        uint8 values are divided by 255: networks start from inputs of the size of one.
        """
        parts = observation if isinstance(observation, dict) else {"": observation}
        flat = [
            parts[key].reshape(parts[key].shape[0], math.prod(box.shape)).float()
            / (255.0 if box.dtype == np.uint8 else 1.0)
            for key, box in observation_boxes(self.observation_space).items()
        ]
        return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)

    def features(self, observation: TensorObservation) -> Tensor:
        """Returns what actor and critic see of an observation: flattened, float32, normalised; [B, n_features]."""
        normalized: Tensor = self.normalizer(self.flatten(observation))
        return normalized

    def observe(self, observation: TensorObservation) -> None:
        """Takes training observations into the normaliser's statistics."""
        self.normalizer.observe(self.flatten(observation))  # type: ignore[operator]


FOREIGN_NAMES = {"net_arch": "hidden_sizes", "activation_fn": "activation", "ac_kwargs": "policy_kwargs itself"}
PARTS = (
    "observation_space",
    "action_space",
    "normalizer",
    "actor",
    "critic",
    "critic_target",
    "features",
    "observe",
)
POLICIES: dict[str, type[nn.Module]] = {"MlpPolicy": MlpPolicy}


def make_policy(
    policy: str | type[nn.Module],
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    policy_kwargs: Mapping[str, Any] | None,
    seed: int,
) -> nn.Module:
    """Makes a policy from its name or class, with initial weights drawn from a seed.

    Raises:
        ValueError: If there is no policy of that name, or a keyword's value is out of range.
        TypeError: If the class doesn't take a keyword, or lacks a part.
    """
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: allowed are {', '.join(map(repr, POLICIES))}, or a policy class")
        policy_class = POLICIES[policy]
    elif isinstance(policy, type) and issubclass(policy, nn.Module):
        policy_class = policy
    else:
        raise TypeError(f"policy: received {policy!r}; allowed are a name such as 'MlpPolicy', or a policy class")
    kwargs = copy.deepcopy(dict(policy_kwargs or {}))  # whatever the class does to it, the caller's stays as it was
    parameters = inspect.signature(policy_class).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        allowed = [name for name in parameters if name not in ("observation_space", "action_space")]
        reject_unknown_keywords(kwargs, allowed, f"policy_kwargs of {policy_class.__name__}", FOREIGN_NAMES)
    with torch.random.fork_rng(devices=[]):  # torch initialises from its global generator, which is the user's
        torch.default_generator.manual_seed(seed)
        made = policy_class(observation_space, action_space, **kwargs)
    missing = [part for part in PARTS if not hasattr(made, part)]
    if hasattr(made, "actor") and not hasattr(made.actor, "mean_action"):
        missing.append("actor.mean_action")
    if missing:
        raise TypeError(
            f"policy {policy_class.__name__} lacks {', '.join(missing)}; a policy needs {', '.join(PARTS)}. "
            "Subclass slc_agents.policies.MlpPolicy to have them"
        )
    made.critic_target.requires_grad_(False)  # it follows the critics, whoever made it
    return made


def _scale(box: spaces.Box) -> float:
    return 255.0 if box.dtype == np.uint8 else 1.0


def _per_net(value: Any, defaults: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(defaults, value)
    unknown = set(value) - set(defaults)
    if unknown:
        raise ValueError(
            f"policy_kwargs: {name} has the keys {sorted(map(str, unknown))}; allowed are {sorted(defaults)}"
        )
    return {**defaults, **value}


def _check_sizes(sizes: Any) -> tuple[int, ...]:
    try:
        checked = tuple(map(operator.index, sizes))
        valid = (
            len(checked) > 0 and all(size > 0 for size in checked) and not any(isinstance(size, bool) for size in sizes)
        )
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"policy_kwargs: hidden_sizes={sizes!r}; a list of at least one positive width is needed")
    return checked
