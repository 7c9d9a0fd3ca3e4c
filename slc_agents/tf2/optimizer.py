"""Adam, with torch's formula."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from slc_agents.tf2.networks import Tensor

__all__ = ["Optimizer"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Optimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) over one group of parameters, with its default settings.

    Args:
        parameters: What it moves, by name; all on one device. It may be nothing.

    Attributes:
        rate: The learning rate.
        count: Steps taken.
        m: First moments, by the parameters' names.
        v: Second moments.
    """

    def __init__(self, parameters: Mapping[str, tf.Variable]) -> None:
        self.parameters = dict(parameters)
        self.rate = tf.Variable(0.0, dtype=tf.float32, trainable=False)
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.m = {name: _zeros_like(parameter) for name, parameter in self.parameters.items()}
        self.v = {name: _zeros_like(parameter) for name, parameter in self.parameters.items()}

    def minimise(self, loss: Tensor, tape: tf.GradientTape) -> None:
        """Takes one step down a loss that a tape has recorded. What it doesn't depend on stays as it is."""
        gradients = tape.gradient(loss, list(self.parameters.values()))
        self.count.assign_add(1)
        steps = tf.cast(self.count, tf.float64)
        correction_1, root_2 = 1.0 - BETA_1**steps, tf.sqrt(1.0 - BETA_2**steps)
        # TensorFlow's kernel moves by lr m / (√v + epsilon), with both corrections in lr; torch divides v by its own
        # before epsilon is added. So both are said in lr and epsilon, and the kernel's own corrections are left out.
        rate = tf.cast(tf.cast(self.rate, tf.float64) * root_2 / correction_1, tf.float32)
        epsilon = tf.cast(EPSILON * root_2, tf.float32)
        for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
            if gradient is None:
                continue
            tf.raw_ops.ResourceApplyAdam(
                var=parameter.handle,
                m=self.m[name].handle,
                v=self.v[name].handle,
                beta1_power=0.0,
                beta2_power=0.0,
                lr=rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=epsilon,
                grad=tf.convert_to_tensor(gradient),
            )


def _zeros_like(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros_like(variable), trainable=False)
