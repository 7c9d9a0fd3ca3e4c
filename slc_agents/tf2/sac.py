"""Soft actor-critic: the mathematics. Haarnoja et al. 2019, arXiv 1812.05905.

pi(a|o) is the actor, Q_i the critics, Q̄_i their slow copies, alpha the temperature, H̄ the target entropy. One gradient
step improves, in this order, the critics, the actor and the temperature, and moves the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from slc_agents.compute import ComputeOptions
from slc_agents.seeding import Stream
from slc_agents.tf2.learner import TensorBatch, TensorFlowLearner
from slc_agents.tf2.multiplier import make_multiplier
from slc_agents.tf2.networks import Tensor

__all__ = ["SACLearner"]


class SACLearner(TensorFlowLearner):
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
        policy: tf.Module,
        *,
        device: str,
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
        self.target_entropy = float(-self.n_actions if target_entropy is None else target_entropy)
        with tf.device(device):
            self.alpha = make_multiplier(alpha, learned=adaptive_temperature)
            self.add_optimizers()

    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step; see `TensorFlowLearner.step`."""
        alpha = self.alpha()  # the value before this step
        next_sample = self.policy.actor(self.policy.features(batch.next_observation), noise[0])

        with tf.GradientTape() as tape:
            critic_loss, q_value = self.critic_loss(batch, alpha, next_sample)
        self.minimise(critic_loss, "critic", tape)

        self.move_targets()

        with tf.GradientTape() as tape:
            actor_loss, mean_log_prob = self.actor_loss(batch, noise, alpha)
        self.minimise(actor_loss, "actor", tape)

        with tf.GradientTape() as tape:
            alpha_loss = self.alpha_loss(mean_log_prob)
        self.minimise(alpha_loss, "alpha", tape)

        return critic_loss, actor_loss, alpha_loss, alpha, -mean_log_prob, q_value

    def critic_loss(
        self, batch: TensorBatch, alpha: Tensor, next_sample: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """L_Q = Σ_i ½ mean (Q_i(o, a) - y)².

        y = r + γ (1 - terminated) (min_i Q̄_i(o', a') - α log π(a'|o')), a' ~ π(·|o').

        Returns:
            The loss (eqs. 3 and 5 of the paper), and the mean of Q for the log.
        """
        next_action, next_log_prob = next_sample
        next_features = self.policy.features(batch.next_observation)
        next_q = tf.reduce_min(self.policy.critic_target(next_features, next_action), axis=0)  # [B]
        target = tf.stop_gradient(batch.reward + batch.discount * (next_q - alpha * next_log_prob))  # [B]
        q = self.policy.critic(self.policy.features(batch.observation), batch.action)  # [n_critics, B]
        loss = 0.5 * tf.reduce_sum(tf.reduce_mean(tf.square(q - target), axis=1))
        return loss, tf.reduce_mean(q)

    def actor_loss(self, batch: TensorBatch, noise: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """L_π = mean(α log π(a|o) - min_i Q_i(o, a)), a ~ π(·|o), with the critics just updated.

        Returns:
            The loss (eqs. 7 and 9 of the paper), and the mean of log π(a|o).
        """
        features = tf.stop_gradient(self.policy.features(batch.observation))
        action, log_prob = self.policy.actor(features, noise[1])
        q = tf.reduce_min(self.policy.critic(features, action), axis=0)  # [B]
        return tf.reduce_mean(alpha * log_prob - q), tf.reduce_mean(log_prob)

    def alpha_loss(self, mean_log_prob: Tensor) -> Tensor:
        """L_α = -α (mean log π(a|o) + H̄), eq. 18 of the paper: above the target entropy, α falls."""
        return -self.alpha() * (mean_log_prob + self.target_entropy)

    def modules(self) -> dict[str, tf.Module]:
        """Adds the temperature to what is learned."""
        return {**super().modules(), "alpha": self.alpha}
