"""The networks that act. While a GPU learns, small ones act on the CPU, where a single observation takes less time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from slc_agents.pytorch.accelerate import is_known
from slc_agents.pytorch.batches import send_into, to_tensor
from slc_agents.pytorch.optimizer import by_type, merge_runs, move_together
from slc_agents.pytorch.parts import Parts
from slc_agents.pytorch.policies import FOR_LEARNING, GSDEPolicy, MlpPolicy
from slc_agents.transition import Observation

__all__ = ["ActingCopy", "ActingPolicy", "make_acting_policy"]


class ActingPolicy:
    """The policy itself, where it acts as it is.

    Args:
        policy: The policy.
        device: Where it lives.
    """

    def __init__(self, policy: nn.Module, device: torch.device) -> None:
        self.policy: Any = policy
        self.device = device

    def outdate(self) -> None:
        """Says that the learner has moved the policy's parameters."""

    def follow(self) -> None:
        """Brings up to date what acts, which it must be asked to be before it acts."""

    def observe(self, observation: Observation) -> None:
        """Takes training observations into the normaliser's statistics."""
        self.policy.observe(to_tensor(observation, self.device))


class ActingCopy(ActingPolicy):
    """A copy on the CPU of all that a policy acts with.

    It has the policy's values whenever it is asked for an action; the copying waits until then. Observations are
    counted here and the result is passed on, so both normalisers are equal to the last bit.

    Args:
        policy: The policy on its device.
    """

    def __init__(self, policy: nn.Module) -> None:
        device = next(policy.parameters()).device
        duplicate: Any = copy.deepcopy(policy)
        for name in FOR_LEARNING:
            if hasattr(duplicate, name):
                setattr(duplicate, name, None)
        super().__init__(duplicate.requires_grad_(False).cpu(), torch.device("cpu"))
        for group in by_type(self.policy.actor.parameters()):
            move_together(group, pinned=device.type == "cuda")  # a GPU writes into such memory by itself
        self.learned: Any = policy
        self._parts: Parts | None = None  # of the policy, when it was last copied
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._versions: list[int] = []

    def outdate(self) -> None:
        """See `ActingPolicy.outdate`."""
        self._versions = []

    def follow(self) -> None:
        """See `ActingPolicy.follow`. Who writes to the policy's parameters by torch's own means is noticed too."""
        parts = self._parts
        if parts is None or not parts.are_current():
            parts = self._parts = Parts(self.learned, (self.learned.normalizer, self.learned.actor))
            pairs = zip(_acting_tensors(self.policy), _acting_tensors(self.learned), strict=True)
            self._pairs, self._versions = merge_runs([*pairs]), []
        versions = [tensor._version for tensor in parts.tensors]
        if versions != self._versions:
            with torch.no_grad():
                for ours, theirs in self._pairs:
                    ours.copy_(theirs)
            self._versions = versions

    def observe(self, observation: Observation) -> None:
        """See `ActingPolicy.observe`."""
        ours, theirs = ([*policy.normalizer.buffers()] for policy in (self.policy, self.learned))
        if ours:
            self.follow()
            super().observe(observation)
            for buffer, learned in zip(ours, theirs, strict=True):
                send_into(learned, buffer.numpy())
            if self._parts is not None:
                self._versions = [tensor._version for tensor in self._parts.tensors]


def _acting_tensors(policy: Any) -> list[Tensor]:
    parts: tuple[nn.Module, ...] = (policy.normalizer, policy.actor)
    return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]


def make_acting_policy(policy: nn.Module, device: torch.device) -> ActingPolicy:
    """Makes what acts for a policy: a copy on the CPU for perceptrons on a CUDA device, else the policy itself.

    Networks with encoders act where they are, for images are much work; and so do a user's own, which may do anything.
    """
    is_small = type(policy) in (MlpPolicy, GSDEPolicy) and all(map(is_known, policy.modules()))
    return ActingCopy(policy) if is_small and device.type == "cuda" else ActingPolicy(policy, device)
