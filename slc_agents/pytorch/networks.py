"""Layers and multilayer perceptrons, single or as an ensemble that runs as one.

Weights are stored [in, out] (for an ensemble [n, in, out]), as the archive has them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Dense", "EnsembleDense", "find_activation", "make_ensemble_mlp", "make_mlp"]


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape, dtype=torch.float32).uniform_(-bound, bound))


class Dense(nn.Module):
    """activation(x W + b), with torch's default initialisation: uniform in ±1/√in, weights and biases alike."""

    def __init__(self, n_inputs: int, n_outputs: int, activation: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_inputs, 1))
        self.weight = _uniform(bound, n_inputs, n_outputs)
        self.bias = _uniform(bound, n_outputs)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in] to [B, out]."""
        y: Tensor = self.activation(torch.addmm(self.bias, x, self.weight))
        return y


class EnsembleDense(nn.Module):
    """`n` independent dense layers in one matrix product."""

    def __init__(self, n: int, n_inputs: int, n_outputs: int, activation: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_inputs, 1))
        self.weight = _uniform(bound, n, n_inputs, n_outputs)
        self.bias = _uniform(bound, n, n_outputs)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, B, in], or [B, in] shared by all members, to [n, B, out]."""
        if x.dim() == 2:
            x = x.expand(len(self.weight), *x.shape)
        y: Tensor = self.activation(torch.baddbmm(self.bias.unsqueeze(1), x, self.weight))
        return y


def make_mlp(
    n_inputs: int, sizes: Sequence[int], activation: type[nn.Module], last_activation: type[nn.Module]
) -> nn.Sequential:
    """Makes hidden layers, each with its activation: [B, n_inputs] to [B, sizes[-1]].

    Args:
        n_inputs: Size of the input.
        sizes: Widths of the hidden layers, at least one.
        activation: Class of the activation of each hidden layer but the last.
        last_activation: Class of the activation of the last hidden layer.
    """
    activations = [activation] * (len(sizes) - 1) + [last_activation]
    pairs = pairwise((n_inputs, *sizes))
    return nn.Sequential(*(Dense(*pair, last) for pair, last in zip(pairs, activations, strict=True)))


def make_ensemble_mlp(n: int, n_inputs: int, sizes: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Makes the hidden layers of `n` independent MLPs: [B, n_inputs] to [n, B, sizes[-1]]."""
    return nn.Sequential(*(EnsembleDense(n, *pair, activation) for pair in pairwise((n_inputs, *sizes))))


def find_activation(activation: str | type[nn.Module] | None, name: str) -> type[nn.Module]:
    """Finds an activation's class by class or name ("relu", "Tanh", ...); None is the identity.

    Args:
        activation: The class, or its name in `torch.nn` in any case.
        name: What it is for, for the error message.

    Raises:
        ValueError: If there is no such activation.
    """
    if activation is None:
        return nn.Identity
    found: type[nn.Module] | None = None
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        found = activation
    elif isinstance(activation, str):
        known = {
            key.lower(): value
            for key, value in vars(nn).items()
            if isinstance(value, type)
            and issubclass(value, nn.Module)
            and (value.__module__ == "torch.nn.modules.activation" or value is nn.Identity)
        }
        found = known.get(activation.lower())
    if found is None or not _is_activation(found):
        raise ValueError(
            f"{name}={activation!r}: an activation's class that needs no arguments and keeps shapes is needed, or its "
            "name in torch.nn, such as 'ReLU', 'Tanh' or 'Identity'"
        )
    return found


def _is_activation(cls: type[nn.Module]) -> bool:
    """Whether it can be made without arguments, and maps [2, 4] to [2, 4]; only a trial shows it."""
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            output = cls()(torch.zeros(2, 4))
    except Exception:  # whatever stands in the way, it is no activation
        return False
    return isinstance(output, Tensor) and output.shape == (2, 4)
