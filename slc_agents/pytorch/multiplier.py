"""Non-negative Lagrange multipliers: the temperature alpha in SAC; alpha and lambda in LAC."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["FixedMultiplier", "LearnedMultiplier", "Multiplier", "make_multiplier"]


class LearnedMultiplier(nn.Module):
    """exp(x) with a learned x, which keeps it positive.

    Args:
        initial: Its value before learning, > 0.
        minimum: Its lower bound.
        maximum: Its upper bound.
    """

    def __init__(self, initial: float, minimum: float = 0.0, maximum: float = math.inf) -> None:
        super().__init__()
        self.log_bounds = math.log(minimum) if minimum > 0.0 else -math.inf, math.log(maximum)
        self.log_value = nn.Parameter(torch.tensor(math.log(initial), dtype=torch.float32))

    def forward(self) -> Tensor:
        """Returns the value as a 0-d tensor, through which gradients flow."""
        return self.log_value.exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Takes x back to the bounds, so that it doesn't go on beyond them where its gradient pushes it there."""
        self.log_value.clamp_(*self.log_bounds)


class FixedMultiplier(nn.Module):
    """A value that stays.

    Args:
        value: The value, >= 0.
    """

    fixed_value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("fixed_value", torch.tensor(value, dtype=torch.float32))

    def forward(self) -> Tensor:
        """Returns the value as a 0-d tensor."""
        return self.fixed_value


Multiplier = LearnedMultiplier | FixedMultiplier


def make_multiplier(initial: float, *, learned: bool) -> Multiplier:
    """Makes a multiplier that is learned or stays fixed."""
    return LearnedMultiplier(initial) if learned else FixedMultiplier(initial)
