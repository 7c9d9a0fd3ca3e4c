"""Non-negative Lagrange multipliers: the temperature alpha in SAC; alpha and lambda in LAC."""

from __future__ import annotations

import math

import tensorflow as tf

from slc_agents.tf2.networks import Tensor

__all__ = ["FixedMultiplier", "LearnedMultiplier", "Multiplier", "make_multiplier"]


class LearnedMultiplier(tf.Module):
    """exp(x) with a learned x, which keeps it positive.

    Args:
        initial: Its value before learning, > 0.
        minimum: Its lower bound.
        maximum: Its upper bound.
    """

    def __init__(self, initial: float, minimum: float = 0.0, maximum: float = math.inf) -> None:
        super().__init__()
        self.log_bounds = math.log(minimum) if minimum > 0.0 else -math.inf, math.log(maximum)
        self.log_value = tf.Variable(math.log(initial), dtype=tf.float32)

    def __call__(self) -> Tensor:
        """Returns the value as a 0-d tensor, through which gradients flow."""
        return tf.exp(self.log_value)

    def clamp(self) -> None:
        """Takes x back to the bounds, so that it doesn't go on beyond them where its gradient pushes it there."""
        self.log_value.assign(tf.clip_by_value(self.log_value, *self.log_bounds))


class FixedMultiplier(tf.Module):
    """A value that stays.

    Args:
        value: The value, >= 0.
    """

    def __init__(self, value: float) -> None:
        super().__init__()
        self.fixed_value = tf.Variable(value, dtype=tf.float32, trainable=False)

    def __call__(self) -> Tensor:
        """Returns the value as a 0-d tensor."""
        return tf.identity(self.fixed_value)


Multiplier = LearnedMultiplier | FixedMultiplier


def make_multiplier(initial: float, *, learned: bool) -> Multiplier:
    """Makes a multiplier that is learned or stays fixed."""
    return LearnedMultiplier(initial) if learned else FixedMultiplier(initial)
