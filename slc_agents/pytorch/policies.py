"""Policies: the networks of an agent, and how they see an observation.

A policy is an `nn.Module` with the parts

- `normalizer(flat)`: observation statistics, or the identity;
- `actor(features, noise)` -> action [B, size] in [-1, 1] and its log-probability [B]; `actor.mean_action(features)`;
- `critic(features, action)` -> values [n_critics, B]; `critic_target`: its slow copy;
- for LAC, whose critics are Lyapunov functions, `actor_target`: the actor's slow copy;
- `features(observation)`: what actor and critic see of an observation; `observe(observation)`;
- `observation_space`, `action_space`: those of the environment.

`MlpPolicy` flattens what it observes. `CnnPolicy` and `MultiInputPolicy` have encoders in front of actor and critic
(`slc_agents.pytorch.encoders`); observations come to these flat too, and get their shapes back there.

A user's own policy is a subclass that makes one of these differently (`make_actor`, `make_critic`, `make_encoder`), or
any module that has them all.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slc_agents.errors import check_whole_number
from slc_agents.learner.images import (
    NATURE_CNN,
    NATURE_FEATURES,
    NOTHING_TO_NORMALIZE,
    Channels,
    check_dict,
    check_encoder,
    check_image,
    check_share,
    choose_encoder,
    is_image,
    make_encoder,
)
from slc_agents.learner.policy_kwargs import (
    DEFAULT_ACTIVATION,
    DEFAULT_HIDDEN_SIZES,
    DEFAULT_OUTPUT_ACTIVATION,
    GSDE_EPSILON,
    LOG_STD_MAX,
    LOG_STD_MIN,
    LYAPUNOV_OUTPUT_ACTIVATION,
    check_gsde,
    check_normalize,
    check_parts,
    check_sizes,
    input_scale,
    keywords,
    per_net,
)
from slc_agents.pytorch.critics import CriticEnsemble, LyapunovEnsemble
from slc_agents.pytorch.encoders import (
    CnnEncoder,
    DetachedEncoder,
    Encoded,
    EncodedActor,
    MultiInputEncoder,
    TensorObservation,
    Unflatten,
)
from slc_agents.pytorch.networks import Dense, find_activation, make_mlp
from slc_agents.pytorch.normalizer import IdentityNormalizer, ObservationNormalizer
from slc_agents.spaces import check_action_space, check_observation_space, observation_boxes, observation_size

__all__ = [
    "FOR_LEARNING",
    "CnnEncoder",
    "CnnPolicy",
    "CriticEnsemble",
    "EncoderPolicy",
    "GSDEPolicy",
    "LyapunovEnsemble",
    "MlpPolicy",
    "MultiInputEncoder",
    "MultiInputPolicy",
    "SquashedGaussianActor",
    "StateDependentNoiseActor",
    "TensorObservation",
    "make_policy",
]


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
        return squashed_sample(self.mean(hidden), log_std, noise)

    def mean_action(self, features: Tensor) -> Tensor:
        """Returns the deterministic action [B, n_actions]: the squashed mean."""
        return torch.tanh(self.mean(self.trunk(features)))


class StateDependentNoiseActor(nn.Module):
    """A Gaussian whose noise is a linear function of the last hidden layer, squashed to [-1, 1] by tanh: gSDE.

    Raffin et al. 2022 (arXiv 2005.05719). Where noise is sampled, each sample has weights of its own; an agent that
    trains may keep those that it explores with over several steps, `explore`.

    Args:
        n_inputs: Size of the features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the hidden layers.
        activation: Class of the activation between hidden layers.
        output_activation: Class of the activation after the last hidden layer.
        clip_mean: Bound of the mean before it is squashed; None: none.
        use_expln: Whether standard deviations above 1 grow like a logarithm, not exponentially.
        log_std_init: Initial logarithm of the standard deviation of the noise's weights.
        noise_steps: Steps over which an agent that trains keeps the weights that it explores with.
    """

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        output_activation: type[nn.Module],
        *,
        clip_mean: float | None,
        use_expln: bool,
        log_std_init: float,
        noise_steps: int = 1,
    ) -> None:
        super().__init__()
        self.trunk = make_mlp(n_inputs, hidden_sizes, activation, output_activation)
        self.mean = Dense(hidden_sizes[-1], n_actions)
        self.clip = nn.Identity() if clip_mean is None else nn.Hardtanh(-clip_mean, clip_mean)
        self.use_expln = use_expln
        self.noise_steps = noise_steps
        self.log_std = nn.Parameter(torch.full((hidden_sizes[-1], n_actions), log_std_init, dtype=torch.float32))

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples actions by the reparametrisation trick; see `SquashedGaussianActor`."""
        hidden = self.trunk(features)
        # The variance of a sum of independent weights times what is hidden.
        variance = hidden.square() @ self.weights_std().square()
        log_std = 0.5 * (variance + GSDE_EPSILON).log()
        return squashed_sample(self.clip(self.mean(hidden)), log_std, noise)

    def explore(self, features: Tensor, weights: Tensor) -> Tensor:
        """Acts with given weights of the noise. Over all weights, an action is distributed as `forward` samples it.

        Args:
            features: [B, n_inputs].
            weights: [B, *weights_shape], standard normal: for each hidden unit, and last for `GSDE_EPSILON`.

        Returns:
            Actions [B, n_actions] in [-1, 1].
        """
        hidden = self.trunk(features)
        noise = torch.bmm(hidden.unsqueeze(1), self.weights_std() * weights[:, :-1]).squeeze(1)
        return torch.tanh(self.clip(self.mean(hidden)) + noise + math.sqrt(GSDE_EPSILON) * weights[:, -1])

    def mean_action(self, features: Tensor) -> Tensor:
        """Returns the deterministic action [B, n_actions]: the squashed mean."""
        return torch.tanh(self.clip(self.mean(self.trunk(features))))

    def weights_std(self) -> Tensor:
        """Returns the standard deviations of the noise's weights [hidden, n_actions]."""
        std = self.log_std.exp()
        if self.use_expln:
            std = torch.where(self.log_std <= 0, std, torch.log1p(self.log_std.clamp(min=0.0)) + 1.0)
        return std

    @property
    def weights_shape(self) -> tuple[int, int]:
        """The shape of one sample's weights as `explore` takes them."""
        n_hidden, n_actions = self.log_std.shape
        return n_hidden + 1, n_actions


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Returns tanh(mean + std noise) [B, n_actions] and its log-probabilities [B]."""
    u = torch.addcmul(mean, log_std.exp(), noise)
    # Of each dimension, log N(u) = -noise²/2 - log_std - log(2π)/2, and from it log(1 - tanh(u)²) is taken: that is
    # 2 log 2 - 2 log(exp(u) + exp(-u)), in a form that doesn't round to log(0) for large u.
    constant = mean.shape[-1] * (0.5 * math.log(2.0 * math.pi) + 2.0 * math.log(2.0))
    surprise = torch.addcmul(torch.sub(log_std, torch.logaddexp(u, -u), alpha=2.0), noise, noise, value=0.5)
    return torch.tanh(u), -constant - surprise.sum(dim=-1)


class MlpPolicy(nn.Module):
    """Multilayer perceptrons over the flattened observation; a Dict observation's keys are flattened and joined.

    Args:
        observation_space: A Box or a Dict of Boxes.
        action_space: A Box with finite bounds.
        hidden_sizes: Widths of the hidden layers.
        activation: Activation between hidden layers, as a class or a name in `torch.nn`.
        output_activation: Activation after the actor's last hidden layer, and after the critic's output.
        n_critics: Number of critics; the smallest of their values counts, of Lyapunov functions the largest.
        normalize_observations: Whether observations are normalised by their running mean and variance.
        lyapunov: Whether the critics are Lyapunov functions and the actor has a slow copy, as LAC needs it; the agent
            says it. The critic then has no output activation.

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
        lyapunov: bool = False,
    ) -> None:
        super().__init__()
        check_observation_space(observation_space)
        check_action_space(action_space)
        normalize_observations = check_normalize(normalize_observations)
        self.observation_space, self.action_space = observation_space, action_space
        self._boxes = observation_boxes(observation_space)
        self.n_features = observation_size(observation_space)
        self.n_actions = math.prod(action_space.shape or ())
        self.n_critics = check_whole_number("policy_kwargs: n_critics", n_critics)
        self.hidden_sizes = per_net(hidden_sizes, DEFAULT_HIDDEN_SIZES, "hidden_sizes", check_sizes)
        self.activation = per_net(activation, DEFAULT_ACTIVATION, "activation", find_activation)
        self.lyapunov = lyapunov
        default_output = LYAPUNOV_OUTPUT_ACTIVATION if lyapunov else DEFAULT_OUTPUT_ACTIVATION
        self.output_activation = per_net(
            default_output if output_activation is DEFAULT_OUTPUT_ACTIVATION else output_activation,  # it wasn't given
            default_output,
            "output_activation",
            find_activation,
        )
        n_normalized = self.count_normalized() if normalize_observations else 0
        if normalize_observations and not n_normalized:
            raise ValueError(NOTHING_TO_NORMALIZE)
        self.normalizer: nn.Module = ObservationNormalizer(n_normalized) if n_normalized else IdentityNormalizer()
        self.actor, self.critic = self.make_networks()
        # Copied in one go: an actor that uses the critics' encoder has a slow copy that uses their slow copies'.
        critic_target, actor_target = copy.deepcopy((self.critic, self.actor if lyapunov else None))
        self.critic_target = critic_target.requires_grad_(False)
        if actor_target is not None:
            self.actor_target = actor_target.requires_grad_(False)

    def count_normalized(self) -> int:
        """Returns how many of an observation's numbers the normaliser is for: all."""
        return self.n_features

    def make_networks(self) -> tuple[nn.Module, nn.Module]:
        """Makes actor and critics."""
        return self.make_actor(), self.make_critic()

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
        if self.lyapunov:
            return LyapunovEnsemble(
                self.n_features,
                self.n_actions,
                self.hidden_sizes["critic"],
                self.activation["critic"],
                self.n_critics,
            )
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
        return self.join(observation, list(self._boxes))

    def join(self, observation: TensorObservation, keys: Sequence[str]) -> Tensor:
        """Flattens some keys of an observation, in that order; see `flatten`. A Box has the key ''."""
        parts = observation if isinstance(observation, dict) else {"": observation}
        flat = [_flatten(parts[key], self._boxes[key]) for key in keys]
        return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)

    def features(self, observation: TensorObservation) -> Tensor:
        """Returns what actor and critic see of an observation: flattened, float32, normalised; [B, n_features]."""
        normalized: Tensor = self.normalizer(self.flatten(observation))
        return normalized

    def observe(self, observation: TensorObservation) -> None:
        """Takes training observations into the normaliser's statistics."""
        if type(self.normalizer) is not IdentityNormalizer:  # for which flattening, at each step, would be in vain
            self.normalizer.observe(self.flatten(observation))  # type: ignore[operator]


class GSDEPolicy(MlpPolicy):
    """`MlpPolicy` whose exploration noise depends on the state (gSDE): see `StateDependentNoiseActor`.

    Args:
        observation_space: A Box or a Dict of Boxes.
        action_space: A Box with finite bounds.
        clip_mean: Bound of the mean before it is squashed by tanh, > 0; None: none.
        use_expln: Whether standard deviations above 1 grow like a logarithm, not exponentially.
        log_std_init: Initial logarithm of the standard deviation of the noise's weights.
        noise_steps: Steps of each environment over which training keeps the noise's weights that it explores with; one
            draw for each environment. 1: new ones in every step. `predict` always draws new ones.
        hidden_sizes: See `MlpPolicy`, as for all that follow.
        activation: Activation between hidden layers.
        output_activation: Activation after the actor's last hidden layer, and after the critic's output.
        n_critics: Number of critics.
        normalize_observations: Whether observations are normalised by their running mean and variance.
        lyapunov: Whether the critics are Lyapunov functions.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        clip_mean: float | None = 2.0,
        use_expln: bool = False,
        log_std_init: float = -3.0,
        noise_steps: int = 1,
        hidden_sizes: Sequence[int] | Mapping[str, Sequence[int]] = DEFAULT_HIDDEN_SIZES,
        activation: str | type[nn.Module] | Mapping[str, Any] = DEFAULT_ACTIVATION,
        output_activation: str | type[nn.Module] | Mapping[str, Any] | None = DEFAULT_OUTPUT_ACTIVATION,
        n_critics: int = 2,
        normalize_observations: bool = False,
        lyapunov: bool = False,
    ) -> None:
        self._noise = check_gsde(clip_mean, use_expln, log_std_init, noise_steps)
        super().__init__(
            observation_space,
            action_space,
            hidden_sizes=hidden_sizes,
            activation=activation,
            output_activation=output_activation,
            n_critics=n_critics,
            normalize_observations=normalize_observations,
            lyapunov=lyapunov,
        )

    def make_actor(self) -> nn.Module:
        """Makes the actor."""
        return StateDependentNoiseActor(
            self.n_features,
            self.n_actions,
            self.hidden_sizes["actor"],
            self.activation["actor"],
            self.output_activation["actor"],
            **self._noise,
        )


class EncoderPolicy(MlpPolicy):
    """Encoders before the perceptrons of `MlpPolicy`: what `CnnPolicy` and `MultiInputPolicy` share.

    The actor has one, and the critics have one together, with its slow copy in the target; or, with `share_encoder`,
    the actor uses that of the critics, which the critics' loss alone trains. Images are uint8 until they come here;
    they are divided by 255, and never normalised by statistics.

    Args:
        observation_space: See the subclass.
        action_space: A Box with finite bounds.
        cnn_layers: Channels, kernel and stride of each convolution, `[(32, 8, 4), ...]`.
        cnn_features: Features of an image.
        channels: Where images have their channels, "first" or "last"; None: where the smaller dimension is, of the
            first and the last one of [C, H, W] or [H, W, C], and last where they are equal.
        share_encoder: Whether actor and critics have one encoder.
        encoder: What makes an encoder of your own: `encoder(observation_space, **encoder_kwargs)` is a module with the
            attribute `n_features`, whose forward maps an observation [B, *shape] (a dict of them for a Dict space;
            float32, images in [0, 1] and in the environment's own layout) to [B, n_features]. None: the class's own.
        encoder_kwargs: Keywords for it.
        hidden_sizes: Widths of the hidden layers behind the encoder.
        activation: See `MlpPolicy`, as for all that follow.
        output_activation: Activation after the actor's last hidden layer, and after the critic's output.
        n_critics: Number of critics.
        normalize_observations: Whether what is no image is normalised by its running mean and variance.
        lyapunov: Whether the critics are Lyapunov functions.

    Raises:
        ValueError: If a value is out of range, or an image is too small for the convolutions.
        UnsupportedSpaceError: If the space is of another kind than the policy is for.
        TypeError: If what `encoder` makes isn't one.
    """

    encoder_class: Callable[..., nn.Module]

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        cnn_layers: Sequence[Sequence[int]] = NATURE_CNN,
        cnn_features: int = NATURE_FEATURES,
        channels: Channels | None = None,
        share_encoder: bool = False,
        encoder: Callable[..., nn.Module] | None = None,
        encoder_kwargs: Mapping[str, Any] | None = None,
        hidden_sizes: Sequence[int] | Mapping[str, Sequence[int]] = DEFAULT_HIDDEN_SIZES,
        activation: str | type[nn.Module] | Mapping[str, Any] = DEFAULT_ACTIVATION,
        output_activation: str | type[nn.Module] | Mapping[str, Any] | None = DEFAULT_OUTPUT_ACTIVATION,
        n_critics: int = 2,
        normalize_observations: bool = False,
        lyapunov: bool = False,
    ) -> None:
        check_observation_space(observation_space)
        self.check_kind(observation_space, has_own_encoder=encoder is not None)
        self.share_encoder = check_share(share_encoder)
        cnn = {"cnn_layers": cnn_layers, "cnn_features": cnn_features, "channels": channels}
        self._make_encoder, self._encoder_kwargs = choose_encoder(self.encoder_class, cnn, encoder, encoder_kwargs)
        boxes = observation_boxes(observation_space)
        self.images = [key for key, box in boxes.items() if is_image(box)]
        self.vectors = [key for key in boxes if key not in self.images]
        super().__init__(
            observation_space,
            action_space,
            hidden_sizes=hidden_sizes,
            activation=activation,
            output_activation=output_activation,
            n_critics=n_critics,
            normalize_observations=normalize_observations,
            lyapunov=lyapunov,
        )

    @staticmethod
    def check_kind(space: gymnasium.Space[Any], *, has_own_encoder: bool) -> None:
        """Raises `UnsupportedSpaceError` if the policy isn't for spaces of this kind."""

    def count_normalized(self) -> int:
        """Returns how many of an observation's numbers the normaliser is for: those that are no image's."""
        boxes = observation_boxes(self.observation_space)
        return sum(math.prod(boxes[key].shape) for key in self.vectors)

    def make_encoder(self) -> nn.Module:
        """Makes an encoder: from observations [B, *shape] to features [B, encoder.n_features]."""
        made: nn.Module = make_encoder(self._make_encoder, self.observation_space, self._encoder_kwargs)
        return made

    def make_networks(self) -> tuple[nn.Module, nn.Module]:
        """Makes actor and critics behind their encoders; `make_actor` and `make_critic` are for encoded features."""
        unflatten = Unflatten(self.observation_space, [*self.images, *self.vectors])
        encoder = self._checked_encoder()
        self.n_features = int(encoder.n_features)  # type: ignore[arg-type]
        critic = Encoded(unflatten, encoder, self.make_critic())
        actor_encoder = DetachedEncoder(encoder) if self.share_encoder else self._checked_encoder()
        return EncodedActor(copy.deepcopy(unflatten), actor_encoder, self.make_actor()), critic

    def _checked_encoder(self) -> nn.Module:
        encoder: nn.Module = check_encoder(self.make_encoder(), nn.Module, "an nn.Module")
        return encoder

    def features(self, observation: TensorObservation) -> Tensor:
        """Returns what the encoders see, flat: images in [0, 1], then the rest, normalised; [B, all numbers]."""
        parts = [self.join(observation, [key]) for key in self.images]
        if self.vectors:
            parts.append(self.normalizer(self.join(observation, self.vectors)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def observe(self, observation: TensorObservation) -> None:
        """Takes training observations into the normaliser's statistics, without their images."""
        if self.vectors:
            self.normalizer.observe(self.join(observation, self.vectors))  # type: ignore[operator]


class CnnPolicy(EncoderPolicy):
    """Convolutions for images: a uint8 Box [H, W], [C, H, W], [H, W, C], or stacked frames of the latter two.

    See `EncoderPolicy` for the keywords, `CnnEncoder` for the network. With an encoder of your own, any Box will do.
    """

    encoder_class = CnnEncoder

    @staticmethod
    def check_kind(space: gymnasium.Space[Any], *, has_own_encoder: bool) -> None:
        """Raises `UnsupportedSpaceError` unless the space is an image."""
        check_image(space, has_own_encoder=has_own_encoder)


class MultiInputPolicy(EncoderPolicy):
    """Convolutions for each image of a Dict; everything else is flattened and joined with their features.

    See `EncoderPolicy` for the keywords, `MultiInputEncoder` for the network.
    """

    encoder_class = MultiInputEncoder

    @staticmethod
    def check_kind(space: gymnasium.Space[Any], *, has_own_encoder: bool) -> None:
        """Raises `UnsupportedSpaceError` unless the space is a Dict."""
        check_dict(space)


FOR_LEARNING = ("critic", "critic_target", "actor_target")  # what acting doesn't need
POLICIES: dict[str, type[nn.Module]] = {
    "MlpPolicy": MlpPolicy,
    "CnnPolicy": CnnPolicy,
    "MultiInputPolicy": MultiInputPolicy,
    "GSDEPolicy": GSDEPolicy,
}


def make_policy(
    policy: str | type[nn.Module],
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    policy_kwargs: Mapping[str, Any] | None,
    seed: int,
    *,
    lyapunov: bool = False,
    device: torch.device | None = None,
) -> nn.Module:
    """Makes a policy from its name or class, with initial weights drawn from a seed.

    Args:
        policy: A name of `POLICIES`, or a class.
        observation_space: The environment's.
        action_space: The environment's.
        policy_kwargs: Keywords for the class.
        seed: The seed.
        lyapunov: Whether it is for LAC: its critics are then Lyapunov functions, one by default, and its actor has a
            slow copy.
        device: Where it is to be; None: the CPU.

    Raises:
        ValueError: If there is no policy of that name, or a keyword's value is out of range.
        TypeError: If the class doesn't take a keyword, or lacks a part.
    """
    policy_class = _find_class(policy)
    own_copy = copy.deepcopy(dict(policy_kwargs or {}))  # whatever the class does to it, the caller's stays as it was
    passes_on = issubclass(policy_class, MlpPolicy)
    kwargs = keywords(policy_class, own_copy, lyapunov=lyapunov, passes_keywords_on=passes_on)
    with torch.random.fork_rng(devices=[]):  # torch initialises from its global generator, which is the user's
        torch.default_generator.manual_seed(seed)
        made = policy_class(observation_space, action_space, **kwargs)
    check_parts(made, lyapunov=lyapunov, base=MlpPolicy, home="slc_agents.policies")
    for target in ("critic_target", "actor_target"):  # they follow others, whoever made them
        if hasattr(made, target):
            getattr(made, target).requires_grad_(False)
    return made.to(device)


def _find_class(policy: str | type[nn.Module]) -> type[nn.Module]:
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: allowed are {', '.join(map(repr, POLICIES))}, or a policy class")
        return POLICIES[policy]
    if isinstance(policy, type) and issubclass(policy, nn.Module):
        return policy
    raise TypeError(f"policy: received {policy!r}; allowed are a name such as 'MlpPolicy', or a policy class")


def _flatten(observation: Tensor, box: spaces.Box) -> Tensor:
    flat = observation.reshape(observation.shape[0], math.prod(box.shape)).float()
    scale = input_scale(box)
    return flat if scale == 1.0 else flat / scale
