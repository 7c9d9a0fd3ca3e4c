"""The module that is exported: all that acting needs, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from slc_agents.pytorch.encoders import DetachedEncoder, TensorObservation
from slc_agents.pytorch.normalizer import ObservationNormalizer
from slc_agents.pytorch.policies import FOR_LEARNING
from slc_agents.spaces import ActionScale

__all__ = ["DeterministicPolicy", "copy_to_cpu"]


class DeterministicPolicy(nn.Module):
    """From the environment's observations to its actions: normalisation, mean action, scaling, bounds.

    `forward(observation)`: float32 [B, *observation shape], for Dict observations a dict of these, to float32
    [B, *action shape] in the environment's units.

    Args:
        policy: The networks; what acting needs of them is copied, to the CPU.
        example: Observations, to find out what that is.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    half_range: Tensor

    def __init__(self, policy: Any, example: TensorObservation) -> None:
        super().__init__()
        self.policy = _acting_part(policy, example)
        scale = ActionScale(policy.action_space)
        for name in ("low", "high", "center", "half_range"):
            self.register_buffer(name, torch.from_numpy(getattr(scale, name)).float())
        self.action_shape = list(policy.action_space.shape)
        self.eval()

    def forward(self, observation: TensorObservation) -> Tensor:
        """Maps observations to actions."""
        action = self.policy.actor.mean_action(self.policy.features(observation))
        scaled = self.center + self.half_range * action
        bounded = torch.minimum(torch.maximum(scaled, self.low), self.high)
        return bounded.reshape(-1, *self.action_shape)


def copy_to_cpu(policy: nn.Module) -> Any:
    """Copies a policy to the CPU, as it is when it acts."""
    return copy.deepcopy(policy).to("cpu").eval().requires_grad_(False)


def _acting_part(policy: nn.Module, example: TensorObservation) -> Any:
    whole = copy_to_cpu(policy)
    for module in [*whole.modules()]:
        for name, child in [*module.named_children()]:
            if type(child) is ObservationNormalizer:
                setattr(module, name, child.frozen())
            elif isinstance(child, DetachedEncoder):
                setattr(module, name, child.encoder)  # a part of its own, once the critic is gone
    acting = copy.copy(whole)
    acting._modules = {name: child for name, child in whole._modules.items() if name not in FOR_LEARNING}
    try:
        acting.actor.mean_action(acting.features(example))
    except AttributeError:  # a policy of the user's own, that acts by its critics
        return whole
    return acting
