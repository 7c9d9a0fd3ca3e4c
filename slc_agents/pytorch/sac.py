"""Soft actor-critic: the mathematics. Haarnoja et al. 2019, arXiv 1812.05905.

pi(a|o) is the actor, Q_i the critics, Q̄_i their slow copies, alpha the temperature, H̄ the target entropy. One gradient
step improves, in this order, the critics, the actor and the temperature, and moves the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from slc_agents.compute import ComputeOptions
from slc_agents.pytorch.learner import Sample, TensorBatch, TorchLearner
from slc_agents.pytorch.multiplier import make_multiplier
from slc_agents.seeding import Stream

__all__ = ["SACLearner"]


class SACLearner(TorchLearner):
    """Learns a policy of maximal return and entropy.

    Args:
        policy: Actor, critics and their targets.
        device: Where the networks live.
        batch_size: Transitions in a minibatch.
        polyak: Part of the old target kept in each update of the target networks.
        alpha: Initial, or fixed, temperature.
        adaptive_temperature: Whether the temperature is learned.
        target_entropy: H̄; None: minus the number of action dimensions.
        generators: Random streams `action` and `learner`.
        compute: What the user has said of how to compute.
    """

    metric_names = ("critic_loss", "actor_loss", "alpha_loss", "alpha", "entropy", "q_value")

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
        generators: Mapping[Stream, np.random.Generator],
        compute: ComputeOptions = ComputeOptions(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__(
            policy, device=device, batch_size=batch_size, polyak=polyak, generators=generators, compute=compute
        )
        self.alpha = make_multiplier(alpha, learned=adaptive_temperature).to(device)
        self.target_entropy = float(-self.n_actions if target_entropy is None else target_entropy)
        trained = [pair for pair in self.policy.named_parameters() if pair[1].requires_grad]
        self.add_optimizer("actor", "lr_a", [(k, p) for k, p in trained if k.startswith("actor.")])
        self.add_optimizer("critic", "lr_c", [(k, p) for k, p in trained if not k.startswith("actor.")])
        self.add_optimizer("alpha", "lr_alpha", self.alpha.named_parameters(prefix="alpha"))
        self.connect()

    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step; see `TorchLearner.step`."""
        alpha = self.alpha().detach()  # the value before this step
        next_sample, draw_sample = self.sample_actions(batch, noise)

        critic_loss, q_value = self.critic_loss(batch, alpha, next_sample)
        self.minimise(critic_loss, "critic")

        self.move_targets()  # which nothing below looks at: at once, while the critics' parameters are in the caches

        sample = draw_sample()
        actor_loss = self.actor_loss(batch, alpha, sample)
        self.minimise(actor_loss, "actor")

        mean_log_prob = sample.log_prob.detach().mean()
        alpha_loss = self.alpha_loss(mean_log_prob)
        self.minimise(alpha_loss, "alpha")

        losses = critic_loss.detach(), actor_loss.detach(), alpha_loss.detach()
        return *losses, alpha, -mean_log_prob, q_value

    def critic_loss(self, batch: TensorBatch, alpha: Tensor, next_sample: Sample) -> tuple[Tensor, Tensor]:
        """L_Q = Σ_i ½ mean (Q_i(o, a) - y)².

        y = r + γ (1 - terminated) (min_i Q̄_i(o', a') - α log π(a'|o')), a' ~ π(·|o').

        Returns:
            The loss (eqs. 3 and 5 of the paper), and the mean of Q for the log.
        """
        with torch.no_grad():
            next_features = self.policy.features(batch.next_observation)
            next_q = self.critic_target(next_features, next_sample.action).min(dim=0).values  # [B]
            target = batch.reward + batch.discount * (next_q - alpha * next_sample.log_prob)  # [B]
        q = self.critic(self.policy.features(batch.observation), batch.action)  # [n_critics, B]
        loss = 0.5 / len(target) * mse_loss(q, target.expand_as(q), reduction="none").sum()
        return loss, q.detach().mean()

    def actor_loss(self, batch: TensorBatch, alpha: Tensor, sample: Sample) -> Tensor:
        """L_π = mean(α log π(a|o) - min_i Q_i(o, a)), a ~ π(·|o), with the critics just updated.

        Eqs. 7 and 9 of the paper.
        """
        features = self.policy.features(batch.observation).detach()
        q = self.frozen_critic(features, sample.action).min(dim=0).values  # [B]
        loss: Tensor = (alpha * sample.log_prob - q).mean()
        return loss

    def alpha_loss(self, mean_log_prob: Tensor) -> Tensor:
        """L_α = -α (mean log π(a|o) + H̄), eq. 18 of the paper: above the target entropy, α falls."""
        loss: Tensor = -self.alpha() * (mean_log_prob + self.target_entropy)
        return loss

    def modules(self) -> dict[str, nn.Module]:
        """Adds the temperature to what is learned."""
        return {**super().modules(), "alpha": self.alpha}
