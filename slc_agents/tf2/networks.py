"""Layers and multilayer perceptrons. Weights are stored [in, out], as the archive has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Convolution",
    "Dense",
    "Mlp",
    "Tensor",
    "drawing_from",
    "find_activation",
    "named_variables",
]

Tensor: TypeAlias = Any  # a tf.Tensor; TensorFlow has no type information
Activation: TypeAlias = Callable[[Tensor], Tensor]

_GENERATOR: ContextVar[np.random.Generator | None] = ContextVar("initial weights' generator", default=None)


@contextmanager
def drawing_from(generator: np.random.Generator) -> Iterator[None]:
    """Lets the layers that are made meanwhile draw their initial weights from a generator."""
    token = _GENERATOR.set(generator)
    try:
        yield
    finally:
        _GENERATOR.reset(token)


def _uniform(bound: float, *shape: int) -> tf.Variable:
    generator = _GENERATOR.get() or np.random.default_rng()
    return tf.Variable(generator.uniform(-bound, bound, shape).astype(np.float32))


class Dense(tf.Module):
    """activation(x W + b), with torch's default initialisation: uniform in ±1/√in, weights and biases alike."""

    def __init__(self, n_inputs: int, n_outputs: int, activation: Activation = tf.identity) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_inputs, 1))
        self.weight = _uniform(bound, n_inputs, n_outputs)
        self.bias = _uniform(bound, n_outputs)
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        """Maps [B, in] to [B, out]."""
        return self.activation(tf.nn.bias_add(tf.linalg.matmul(x, self.weight), self.bias))


class Convolution(tf.Module):
    """A convolution without padding, with torch's default initialisation: uniform in ±1/√(in kernel²).

    Args:
        n_inputs: Channels of the input.
        n_outputs: Channels of the output.
        kernel: Height and width of the kernel.
        stride: Of both directions.
    """

    def __init__(self, n_inputs: int, n_outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_inputs * kernel**2)
        self.weight = _uniform(bound, n_outputs, n_inputs, kernel, kernel)  # as the archive has it
        self.bias = _uniform(bound, n_outputs)
        self.stride = stride

    def __call__(self, x: Tensor) -> Tensor:
        """Maps [B, H, W, in] to [B, H', W', out]."""
        kernel = tf.transpose(self.weight, [2, 3, 1, 0])
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, self.stride, "VALID"), self.bias)


class Mlp(tf.Module):
    """Hidden layers, each with its activation: [B, n_inputs] to [B, sizes[-1]].

    Args:
        n_inputs: Size of the input.
        sizes: Widths of the hidden layers, at least one.
        activation: The activation of each hidden layer but the last.
        last_activation: The activation of the last hidden layer.
    """

    def __init__(
        self, n_inputs: int, sizes: Sequence[int], activation: Activation, last_activation: Activation
    ) -> None:
        super().__init__()
        activations = [activation] * (len(sizes) - 1) + [last_activation]
        pairs = pairwise((n_inputs, *sizes))
        self.members = [Dense(*pair, last) for pair, last in zip(pairs, activations, strict=True)]

    def __call__(self, x: Tensor) -> Tensor:
        """Maps [B, n_inputs] to [B, sizes[-1]]."""
        for layer in self.members:
            x = layer(x)
        return x


def named_variables(module: tf.Module) -> Iterator[tuple[str, tf.Variable]]:
    """Yields a module's variables by their paths, such as `trunk/0/weight`, in the order in which they were made.

    Of a list of modules the path has the positions. A list `members` is what its module consists of: its own name is
    left out.
    """
    for name, value in vars(module).items():
        if not name.startswith("_"):
            yield from _named("" if name == "members" else name, value)


def _named(path: str, value: Any) -> Iterator[tuple[str, tf.Variable]]:
    if isinstance(value, tf.Variable):
        yield path, value
    elif isinstance(value, tf.Module):
        for name, variable in named_variables(value):
            yield f"{path}/{name}", variable
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _named(f"{path}/{i}" if path else str(i), item)


def _mish(x: Tensor) -> Tensor:
    return x * tf.tanh(tf.nn.softplus(x))


def _hard_sigmoid(x: Tensor) -> Tensor:
    return tf.nn.relu6(x + 3.0) / 6.0


# By torch's names, in which settings and archives have them, and with its constants.
ACTIVATIONS: dict[str, Activation] = {
    "Identity": tf.identity,
    "ReLU": tf.nn.relu,
    "Tanh": tf.tanh,
    "Sigmoid": tf.sigmoid,
    "ELU": tf.nn.elu,
    "CELU": tf.nn.elu,  # the same, with torch's alpha of 1
    "SELU": tf.nn.selu,
    "GELU": tf.nn.gelu,
    "SiLU": tf.nn.silu,
    "Mish": _mish,
    "Softplus": tf.nn.softplus,
    "Softsign": tf.nn.softsign,
    "LeakyReLU": lambda x: tf.nn.leaky_relu(x, 0.01),
    "ReLU6": tf.nn.relu6,
    "Hardtanh": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "Hardsigmoid": _hard_sigmoid,
    "Hardswish": lambda x: x * _hard_sigmoid(x),
    "LogSigmoid": tf.math.log_sigmoid,
    "Tanhshrink": lambda x: x - tf.tanh(x),
}


def find_activation(activation: str | type | None, name: str) -> Activation:
    """Finds an activation by its name in any case ("relu", "Tanh", ...), or by torch's class; None is the identity.

    Args:
        activation: The name, or torch's class of that name.
        name: What it is for, for the error message.

    Raises:
        ValueError: If there is no such activation.
    """
    if activation is None:
        return ACTIVATIONS["Identity"]
    is_torch = isinstance(activation, type) and activation.__module__.startswith("torch.nn.modules.")
    wanted = getattr(activation, "__name__", "") if is_torch else activation
    found = {key.lower(): value for key, value in ACTIVATIONS.items()}.get(str(wanted).lower())
    if found is None:
        raise ValueError(
            f"{name}={activation!r}: with TensorFlow the name of an activation is needed: {', '.join(ACTIVATIONS)}"
        )
    return found
