"""Normalisation of observations, as a part of the policy: saved, exported and warm-started with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slc_agents.learner.policy_kwargs import NORMALIZER_CLIP as CLIP
from slc_agents.learner.policy_kwargs import NORMALIZER_EPSILON as EPSILON

__all__ = ["FrozenNormalizer", "IdentityNormalizer", "ObservationNormalizer"]


class IdentityNormalizer(nn.Module):
    """Leaves observations as they are."""

    def observe(self, observation: Tensor) -> None:
        """Learns nothing."""

    def forward(self, observation: Tensor) -> Tensor:
        """Returns the observation."""
        return observation


class ObservationNormalizer(nn.Module):
    """(o - mean) / √(variance + 1e-8), clipped to ±10; the moments are those of all observations trained on.

    The moments are kept in float64, so that many small additions still count.

    Args:
        size: Numbers in a flattened observation.
    """

    mean: Tensor  # [size], float64
    var: Tensor  # [size], float64
    count: Tensor  # [], float64

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("var", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def observe(self, observation: Tensor) -> None:
        """Takes observations [B, size] into the moments (Chan et al. 1979, parallel variance)."""
        batch = observation.to(torch.float64)
        n = len(batch)
        total = self.count + n
        mean = batch.mean(dim=0)
        difference = mean - self.mean
        squares = self.var * self.count + batch.var(dim=0, correction=0) * n
        squares += difference**2 * (self.count * n / total)
        self.mean += difference * (n / total)
        self.var.copy_(squares / total)
        self.count.copy_(total)

    def forward(self, observation: Tensor) -> Tensor:
        """Maps [B, size] to [B, size]."""
        deviation = observation - self.mean.float()
        return (deviation * (self.var + EPSILON).rsqrt().float()).clamp(-CLIP, CLIP)

    def frozen(self) -> FrozenNormalizer:
        """Returns what it does now, to the last bit, as a module that can't learn and is float32 throughout."""
        return FrozenNormalizer(self.mean.float(), (self.var + EPSILON).rsqrt().float())


class FrozenNormalizer(nn.Module):
    """(o - mean) scale, clipped to ±10, where these are constants.

    Args:
        mean: [size].
        scale: [size], one over the standard deviation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, observation: Tensor) -> Tensor:
        """Maps [B, size] to [B, size]."""
        return ((observation - self.mean) * self.scale).clamp(-CLIP, CLIP)
