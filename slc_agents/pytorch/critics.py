"""Critics: ensembles of action-value functions that run as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slc_agents.pytorch.networks import EnsembleDense, make_ensemble_mlp

__all__ = ["CriticEnsemble", "LyapunovEnsemble"]


class CriticEnsemble(nn.Module):
    """`n` independent action-value functions Q_i(o, a); two by default (Fujimoto et al. 2018, clipped double Q).

    Args:
        n_inputs: Size of the features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the hidden layers.
        activation: Class of the activation of each hidden layer.
        output_activation: Class of the activation of the value.
        n_critics: Number of members.

    Raises:
        ValueError: If an activation has parameters, which the members would share.
    """

    is_ensemble = True  # each parameter's first dimension counts the members; the archive has them one by one

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        output_activation: type[nn.Module],
        n_critics: int = 2,
    ) -> None:
        super().__init__()
        self.trunk = make_ensemble_mlp(n_critics, n_inputs + n_actions, hidden_sizes, activation)
        self.value = EnsembleDense(n_critics, hidden_sizes[-1], 1, output_activation)
        _check_members(self, n_critics)

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        values: Tensor = self.value(self.trunk(torch.cat([features, action], dim=-1))).squeeze(-1)
        return values


class LyapunovEnsemble(nn.Module):
    """`n` independent Lyapunov functions L_i(o, a) = Σ_j f_ij(o, a)² >= 0 (Han et al. 2020, arXiv 2004.14288).

    f_i is a multilayer perceptron whose last layer has the activation too, as all the others.

    Args:
        n_inputs: Size of the observation's features.
        n_actions: Number of action dimensions.
        hidden_sizes: Widths of the layers; the last one is the number of squares that are summed up.
        activation: Class of the activation of each layer.
        n_critics: Number of members.

    Raises:
        ValueError: If an activation has parameters, which the members would share.
    """

    is_ensemble = True  # as a `CriticEnsemble`

    def __init__(
        self,
        n_inputs: int,
        n_actions: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        n_critics: int = 1,
    ) -> None:
        super().__init__()
        self.trunk = make_ensemble_mlp(n_critics, n_inputs + n_actions, hidden_sizes, activation)
        _check_members(self, n_critics)

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        values: Tensor = self.trunk(torch.cat([features, action], dim=-1)).square().sum(dim=-1)
        return values


def _check_members(ensemble: nn.Module, n_critics: int) -> None:
    """Raises a `ValueError` unless each parameter of an ensemble has a part for each member."""
    for name, parameter in ensemble.named_parameters():
        if parameter.dim() == 0 or len(parameter) != n_critics:
            raise ValueError(
                f"policy_kwargs: the critics' activation has a parameter {name!r}, which the {n_critics} critics "
                "would share. Choose one without parameters, or make critics of your own (make_critic)"
            )
