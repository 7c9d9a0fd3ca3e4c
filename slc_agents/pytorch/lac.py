"""Lyapunov actor-critic: the mathematics. Han et al. 2020, arXiv 2004.14288.

pi(a|o) is the actor, L_i >= 0 the critics (one, or two for LATC, of which the larger value counts), π̄ and L̄_i their
slow copies, c the cost, alpha the temperature, H̄ the target entropy. L says what costs are to come; Δ is how much it
grows from one step to the next one, plus a part alpha_3 of the cost. Δ is to be at most 0, and lambda is the multiplier
of that constraint. One gradient step improves, in this order, the critics, the actor, the temperature and lambda, and
moves the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from slc_agents.compute import ComputeOptions
from slc_agents.pytorch.batches import to_tensor
from slc_agents.pytorch.learner import TensorBatch, TorchLearner
from slc_agents.pytorch.multiplier import LearnedMultiplier, make_multiplier
from slc_agents.seeding import Stream
from slc_agents.transition import Observation

__all__ = ["LACLearner"]


class LACLearner(TorchLearner):
    """Learns a policy of maximal entropy among those under which costs decrease.

    Args:
        policy: Actor, Lyapunov critics and the targets of both.
        device: Where the networks live.
        batch_size: Transitions in a minibatch.
        polyak: Part of the old target kept in each update of the target networks.
        alpha: Initial, or fixed, temperature.
        adaptive_temperature: Whether the temperature is learned.
        target_entropy: H̄; None: minus the number of action dimensions.
        alpha3: Part of the cost by which L is to decrease.
        labda: Initial lambda.
        labda_min: Its lower bound; the upper one is 1.
        horizon_length: Costs in the sums that the critics learn, which the minibatches bring; 0: discounted costs
            without end, which the critics learn from their slow copies.
        terminal_target: What the target y of a transition that terminated is made of, where the horizon is infinite: by
            what its cost is multiplied, and by what the mean of L̄(o', a') over the others.
        terminal_value: What stands for its L(o', a') in Δ, likewise.
        generators: Random streams `action` and `learner`.
        compute: What the user has said of how to compute.
    """

    metric_names = (
        *("critic_loss", "actor_loss", "alpha_loss", "labda_loss"),
        *("alpha", "labda", "entropy", "delta", "lyapunov_value"),
    )
    targets: Mapping[str, str] = {"critic_target": "critic", "actor_target": "actor"}
    actor_target: Any

    def __init__(
        self,
        policy: nn.Module,
        *,
        device: torch.device,
        batch_size: int,
        polyak: float,
        alpha: float,
        adaptive_temperature: bool,
        target_entropy: float | None,
        alpha3: float,
        labda: float,
        labda_min: float,
        horizon_length: int,
        terminal_target: tuple[float, float],
        terminal_value: tuple[float, float],
        generators: Mapping[Stream, np.random.Generator],
        compute: ComputeOptions = ComputeOptions(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__(
            policy, device=device, batch_size=batch_size, polyak=polyak, generators=generators, compute=compute
        )
        self.alpha = make_multiplier(alpha, learned=adaptive_temperature).to(device)
        self.labda = LearnedMultiplier(labda, minimum=labda_min, maximum=1.0).to(device)
        self.target_entropy = float(-self.n_actions if target_entropy is None else target_entropy)
        self.alpha3 = alpha3
        self.horizon_length = horizon_length
        self.n_samples = 2 if horizon_length else 3
        self.terminal_target, self.terminal_value = terminal_target, terminal_value
        trained = [pair for pair in self.policy.named_parameters() if pair[1].requires_grad]
        self.add_optimizer("actor", "lr_a", [(k, p) for k, p in trained if k.startswith("actor.")])
        self.add_optimizer("critic", "lr_c", [(k, p) for k, p in trained if not k.startswith("actor.")])
        self.add_optimizer("alpha", "lr_alpha", self.alpha.named_parameters(prefix="alpha"))
        self.add_optimizer("labda", "lr_labda", self.labda.named_parameters(prefix="labda"))
        self.connect()

    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step; see `TorchLearner.step`.

        Args:
            batch: The minibatch, whose rewards are costs.
            noise: Standard normal noise [n_samples, B, n_actions]: for the next actions of the actor, for its actions,
                and, where the horizon is infinite, for the next actions of its slow copy.
        """
        alpha, labda = self.alpha().detach(), self.labda().detach()  # the values before this step

        critic_loss, value = self.critic_loss(batch, noise)
        self.minimise(critic_loss, "critic")

        actor_loss, delta, mean_log_prob = self.actor_loss(batch, noise, alpha, labda, value)
        self.minimise(actor_loss, "actor")

        alpha_loss = self.alpha_loss(mean_log_prob)
        self.minimise(alpha_loss, "alpha")

        labda_loss = self.labda_loss(delta)
        self.minimise(labda_loss, "labda")
        self.labda.clamp_()

        self.move_targets()

        losses = critic_loss.detach(), actor_loss.detach(), alpha_loss.detach(), labda_loss.detach()
        return *losses, alpha, labda, -mean_log_prob, delta, value.mean()

    def critic_loss(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """L_L = Σ_i ½ mean (L_i(o, a) - y)².

        Returns:
            The loss, and the critics' values [n_critics, B] before the step, detached.
        """
        target = self.infinite_target(batch, noise) if batch.horizon_return is None else batch.horizon_return  # [B]
        value = self.critic(self.policy.features(batch.observation), batch.action)  # [n_critics, B]
        loss = 0.5 / len(target) * mse_loss(value, target.expand_as(value), reduction="none").sum()
        return loss, value.detach()

    @torch.no_grad()
    def infinite_target(self, batch: TensorBatch, noise: Tensor) -> Tensor:
        """Returns y = c + γ max_i L̄_i(o', a'), a' ~ π̄(·|o'), [B]; after an end, see `after_end`."""
        next_features = self.policy.features(batch.next_observation)
        next_action, _ = self.actor_target(next_features, noise[2])
        next_value = self.critic_target(next_features, next_action).max(dim=0).values  # [B]
        cost = batch.reward
        ended = after_end(self.terminal_target, batch, next_value)
        return torch.where(batch.terminated, ended, cost + batch.discount * next_value)

    def actor_loss(
        self, batch: TensorBatch, noise: Tensor, alpha: Tensor, labda: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """L_π = λ Δ + α mean log π(a|o), a ~ π(·|o).

        Δ = mean(max_i L_i(o', a') - max_i L_i(o, a) + α_3 c), a' ~ π(·|o'), with the critics just updated at o' and
        those before the update at o and the action taken there; its gradient flows through a' alone.

        Returns:
            The loss; Δ and the mean of log π(a|o), detached.
        """
        features = self.policy.features(batch.observation).detach()
        next_features = self.policy.features(batch.next_observation).detach()
        action, log_prob = self.actor(torch.cat([next_features, features]), noise[:2].flatten(0, 1))  # at both at once
        n = len(features)
        next_value = self.frozen_critic(next_features, action[:n]).max(dim=0).values  # [B]
        cost = batch.reward
        next_value = torch.where(batch.terminated, after_end(self.terminal_value, batch, next_value), next_value)
        delta = (next_value - value.max(dim=0).values + self.alpha3 * cost).mean()
        mean_log_prob = log_prob[n:].mean()
        return labda * delta + alpha * mean_log_prob, delta.detach(), mean_log_prob.detach()

    def alpha_loss(self, mean_log_prob: Tensor) -> Tensor:
        """L_α = -α (mean log π(a|o) + H̄): above the target entropy, α falls."""
        loss: Tensor = -self.alpha() * (mean_log_prob + self.target_entropy)
        return loss

    def labda_loss(self, delta: Tensor) -> Tensor:
        """L_λ = -log λ Δ: where L doesn't decrease by enough, λ rises."""
        loss: Tensor = -self.labda.log_value * delta
        return loss

    @torch.no_grad()
    def lyapunov_value(self, observation: Observation, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns max_i L_i(o, a) [B] of observations [B, *shape] and actions [B, n_actions] in [-1, 1]."""
        features = self.policy.features(to_tensor(observation, self.device))
        values: Tensor = self.policy.critic(features, torch.as_tensor(action, device=self.device))  # [n_critics, B]
        largest: NDArray[np.float32] = values.max(dim=0).values.cpu().numpy()
        return largest

    def modules(self) -> dict[str, nn.Module]:
        """Adds the multipliers to what is learned."""
        return {**super().modules(), "alpha": self.alpha, "labda": self.labda}


def after_end(parts: tuple[float, float], batch: TensorBatch, next_value: Tensor) -> Tensor:
    """Returns what stands for a value behind the end of an episode, [B].

    Args:
        parts: By what the last cost is multiplied, and by what the mean value where episodes go on.
        batch: The minibatch.
        next_value: Values at the next observations, [B], of which those behind an end mean nothing.
    """
    of_cost, of_mean = parts
    going_on = batch.terminated.logical_not().to(next_value.dtype)
    mean = (next_value.detach() * going_on).sum() / going_on.sum().clamp(min=1.0)
    return of_cost * batch.reward + of_mean * mean
