"""Critics: ensembles of action-value functions."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from slc_agents.tf2.networks import Activation, Dense, Mlp, Tensor

__all__ = ["CriticEnsemble", "LyapunovEnsemble"]


class CriticEnsemble(tf.Module):
    """`n` independent action-value functions Q_i(o, a); two by default (Fujimoto et al. 2018, clipped double Q).

    Args:
        n_inputs: Size of the features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the hidden layers.
        activation: The activation of each hidden layer.
        output_activation: The activation of the value.
        n_critics: Number of members.
    """

    is_ensemble = True

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: Activation,
        output_activation: Activation,
        n_critics: int = 2,
    ) -> None:
        super().__init__()
        self.members = [
            _Critic(n_inputs + n_actions, hidden_sizes, activation, output_activation) for _ in range(n_critics)
        ]

    def __call__(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        inputs = tf.concat([features, action], axis=-1)
        return tf.stack([tf.squeeze(member(inputs), axis=-1) for member in self.members])


class _Critic(tf.Module):
    def __init__(
        self, n_inputs: int, hidden_sizes: Sequence[int], activation: Activation, output_activation: Activation
    ) -> None:
        super().__init__()
        self.trunk = Mlp(n_inputs, hidden_sizes, activation, activation)
        self.value = Dense(hidden_sizes[-1], 1, output_activation)

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.value(self.trunk(inputs))


class LyapunovEnsemble(tf.Module):
    """`n` independent Lyapunov functions L_i(o, a) = Σ_j f_ij(o, a)² >= 0 (Han et al. 2020, arXiv 2004.14288).

    f_i is a multilayer perceptron whose last layer has the activation too, as all the others.

    Args:
        n_inputs: Size of the observation's features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the layers; the last one is the number of squares that are summed up.
        activation: The activation of each layer.
        n_critics: Number of members.
    """

    is_ensemble = True

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: Activation,
        n_critics: int = 1,
    ) -> None:
        super().__init__()
        self.members = [_Lyapunov(n_inputs + n_actions, hidden_sizes, activation) for _ in range(n_critics)]

    def __call__(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        inputs = tf.concat([features, action], axis=-1)
        return tf.stack([member(inputs) for member in self.members])


class _Lyapunov(tf.Module):
    def __init__(self, n_inputs: int, hidden_sizes: Sequence[int], activation: Activation) -> None:
        super().__init__()
        self.trunk = Mlp(n_inputs, hidden_sizes, activation, activation)

    def __call__(self, inputs: Tensor) -> Tensor:
        return tf.reduce_sum(tf.square(self.trunk(inputs)), axis=-1)
