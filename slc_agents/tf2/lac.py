"""Lyapunov actor-critic: the mathematics. Han et al. 2020, arXiv 2004.14288.

pi(a|o) is the actor, L_i >= 0 the critics (one, or two for LATC, of which the larger value counts), π̄ and L̄_i their
slow copies, c the cost, alpha the temperature, H̄ the target entropy. L says what costs are to come; Δ is how much it
grows from one step to the next one, plus a part alpha_3 of the cost. Δ is to be at most 0, and lambda is the multiplier
of that constraint. One gradient step improves, in this order, the critics, the actor, the temperature and lambda, and
moves the slow copies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slc_agents.compute import ComputeOptions
from slc_agents.seeding import Stream
from slc_agents.tf2.batches import to_tensor
from slc_agents.tf2.learner import TensorBatch, TensorFlowLearner
from slc_agents.tf2.multiplier import LearnedMultiplier, make_multiplier
from slc_agents.tf2.networks import Tensor
from slc_agents.transition import Observation

__all__ = ["LACLearner"]


class LACLearner(TensorFlowLearner):
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
    rates: Mapping[str, str] = {**TensorFlowLearner.rates, "lr_labda": "labda"}

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
        self.target_entropy = float(-self.n_actions if target_entropy is None else target_entropy)
        self.alpha3 = alpha3
        self.horizon_length = horizon_length
        self.n_samples = 2 if horizon_length else 3
        self.terminal_target, self.terminal_value = terminal_target, terminal_value
        with tf.device(device):
            self.alpha = make_multiplier(alpha, learned=adaptive_temperature)
            self.labda = LearnedMultiplier(labda, minimum=labda_min, maximum=1.0)
            self.add_optimizers()

    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step; see `TensorFlowLearner.step`.

        Args:
            batch: The minibatch, whose rewards are costs.
            noise: Standard normal noise [n_samples, B, n_actions]: for the next actions of the actor, for its actions,
                and, where the horizon is infinite, for the next actions of its slow copy.
        """
        alpha, labda = self.alpha(), self.labda()  # the values before this step

        with tf.GradientTape() as tape:
            critic_loss, value = self.critic_loss(batch, noise)
        self.minimise(critic_loss, "critic", tape)

        with tf.GradientTape() as tape:
            actor_loss, delta, mean_log_prob = self.actor_loss(batch, noise, alpha, labda, value)
        self.minimise(actor_loss, "actor", tape)

        with tf.GradientTape() as tape:
            alpha_loss = self.alpha_loss(mean_log_prob)
        self.minimise(alpha_loss, "alpha", tape)

        with tf.GradientTape() as tape:
            labda_loss = self.labda_loss(delta)
        self.minimise(labda_loss, "labda", tape)
        self.labda.clamp()

        self.move_targets()

        losses = critic_loss, actor_loss, alpha_loss, labda_loss
        return *losses, alpha, labda, -mean_log_prob, delta, tf.reduce_mean(value)

    def critic_loss(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """L_L = Σ_i ½ mean (L_i(o, a) - y)².

        Returns:
            The loss, and the critics' values [n_critics, B] before the step.
        """
        target = self.infinite_target(batch, noise) if batch.horizon_return is None else batch.horizon_return  # [B]
        value = self.policy.critic(self.policy.features(batch.observation), batch.action)  # [n_critics, B]
        loss = 0.5 * tf.reduce_sum(tf.reduce_mean(tf.square(value - tf.stop_gradient(target)), axis=1))
        return loss, value

    def infinite_target(self, batch: TensorBatch, noise: Tensor) -> Tensor:
        """Returns y = c + γ max_i L̄_i(o', a'), a' ~ π̄(·|o'), [B]; after an end, see `after_end`."""
        next_features = self.policy.features(batch.next_observation)
        next_action, _ = self.policy.actor_target(next_features, noise[2])
        next_value = tf.reduce_max(self.policy.critic_target(next_features, next_action), axis=0)  # [B]
        cost = batch.reward
        ended = after_end(self.terminal_target, batch, next_value)
        return tf.where(batch.terminated, ended, cost + batch.discount * next_value)

    def actor_loss(
        self, batch: TensorBatch, noise: Tensor, alpha: Tensor, labda: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """L_π = λ Δ + α mean log π(a|o), a ~ π(·|o).

        Δ = mean(max_i L_i(o', a') - max_i L_i(o, a) + α_3 c), a' ~ π(·|o'), with the critics just updated at o' and
        those before the update at o and the action taken there; its gradient flows through a' alone.

        Returns:
            The loss, Δ and the mean of log π(a|o).
        """
        features = tf.stop_gradient(self.policy.features(batch.observation))
        next_features = tf.stop_gradient(self.policy.features(batch.next_observation))
        next_action, _ = self.policy.actor(next_features, noise[0])
        _, log_prob = self.policy.actor(features, noise[1])
        next_value = tf.reduce_max(self.policy.critic(next_features, next_action), axis=0)  # [B]
        cost = batch.reward
        next_value = tf.where(batch.terminated, after_end(self.terminal_value, batch, next_value), next_value)
        delta = tf.reduce_mean(next_value - tf.reduce_max(value, axis=0) + self.alpha3 * cost)
        mean_log_prob = tf.reduce_mean(log_prob)
        return labda * delta + alpha * mean_log_prob, delta, mean_log_prob

    def alpha_loss(self, mean_log_prob: Tensor) -> Tensor:
        """L_α = -α (mean log π(a|o) + H̄): above the target entropy, α falls."""
        return -self.alpha() * (mean_log_prob + self.target_entropy)

    def labda_loss(self, delta: Tensor) -> Tensor:
        """L_λ = -log λ Δ: where L doesn't decrease by enough, λ rises."""
        return -self.labda.log_value * delta

    def lyapunov_value(self, observation: Observation, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns max_i L_i(o, a) [B] of observations [B, *shape] and actions [B, n_actions] in [-1, 1]."""
        with tf.device(self.device):
            features = self.policy.features(to_tensor(observation))
            values = self.policy.critic(features, tf.convert_to_tensor(action, tf.float32))  # [n_critics, B]
            largest: NDArray[np.float32] = tf.reduce_max(values, axis=0).numpy()
        return largest

    def modules(self) -> dict[str, tf.Module]:
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
    going_on = tf.cast(tf.logical_not(batch.terminated), next_value.dtype)
    mean = tf.reduce_sum(tf.stop_gradient(next_value) * going_on) / tf.maximum(tf.reduce_sum(going_on), 1.0)
    return of_cost * batch.reward + of_mean * mean
