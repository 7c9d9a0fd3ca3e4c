"""Normalisation of observations, as a part of the policy: saved, exported and warm-started with it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from slc_agents.learner.policy_kwargs import NORMALIZER_CLIP, NORMALIZER_EPSILON
from slc_agents.tf2.networks import Tensor
from slc_agents.transition import Array

__all__ = ["IdentityNormalizer", "ObservationNormalizer"]


class IdentityNormalizer(tf.Module):
    """Leaves observations as they are."""

    def observe(self, observation: Array) -> None:
        """Learns nothing."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Returns the observation."""
        return observation


class ObservationNormalizer(tf.Module):
    """(o - mean) / √(variance + 1e-8), clipped to ±10; the moments are those of all observations trained on.

    The moments are kept in float64, so that many small additions still count.

    Args:
        size: Numbers in a flattened observation.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean = tf.Variable(np.zeros(size), trainable=False)  # [size], float64
        self.var = tf.Variable(np.ones(size), trainable=False)  # [size], float64
        self.count = tf.Variable(np.float64(0.0), trainable=False)  # [], float64

    def observe(self, observation: Array) -> None:
        """Takes observations [B, size] into the moments (Chan et al. 1979, parallel variance)."""
        batch = np.asarray(observation, np.float64)
        n, count, old_mean, old_var = len(batch), self.count.numpy(), self.mean.numpy(), self.var.numpy()
        total = count + n
        difference = batch.mean(axis=0) - old_mean
        squares = old_var * count + batch.var(axis=0) * n + difference**2 * (count * n / total)
        self.mean.assign(old_mean + difference * (n / total))
        self.var.assign(squares / total)
        self.count.assign(total)

    def __call__(self, observation: Tensor) -> Tensor:
        """Maps [B, size] to [B, size]."""
        deviation = observation - tf.cast(self.mean, tf.float32)
        scale = tf.cast(tf.math.rsqrt(self.var + NORMALIZER_EPSILON), tf.float32)
        return tf.clip_by_value(deviation * scale, -NORMALIZER_CLIP, NORMALIZER_CLIP)
