"""Exporting the deterministic policy to files that run without this package."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from slc_agents.pytorch.policies import TensorObservation
from slc_agents.spaces import ActionScale, observation_boxes

__all__ = ["FORMATS", "DeterministicPolicy", "export_policy"]

FORMATS = {"torchscript": ".pt"}
TRACER_WARNING = torch.jit.TracerWarning  # type: ignore[attr-defined]
TOLERANCE = 1e-5  # of the action's range, between the export and the policy


class DeterministicPolicy(nn.Module):
    """From the environment's observations to its actions: normalisation, mean action, scaling, bounds.

    `forward(observation)`: float32 [B, *observation shape], for Dict observations a dict of these, to float32
    [B, *action shape] in the environment's units.

    Args:
        policy: The networks, copied to the CPU.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    half_range: Tensor

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).to("cpu").eval().requires_grad_(False)
        scale = ActionScale(policy.action_space)
        for name in ("low", "high", "center", "half_range"):
            self.register_buffer(name, torch.from_numpy(getattr(scale, name)).float())
        self.action_shape = list(policy.action_space.shape)

    def forward(self, observation: TensorObservation) -> Tensor:
        """Maps observations to actions."""
        action = self.policy.actor.mean_action(self.policy.features(observation))
        scaled = self.center + self.half_range * action
        bounded = torch.minimum(torch.maximum(scaled, self.low), self.high)
        return bounded.reshape(-1, *self.action_shape)


def export_policy(policy: Any, path: Path, format: str) -> None:
    """Writes a policy to a file, and compares what was written with the policy before the file gets its name.

    Args:
        policy: The networks.
        path: The file.
        format: One of `FORMATS`.

    Raises:
        ValueError: If the format is unknown.
        RuntimeError: If the file doesn't compute what the policy does, or can't.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: allowed are {', '.join(FORMATS)}")
    module = DeterministicPolicy(policy)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # torch announces the end of torch.jit, which is still what runs in C++ without a compiler at hand.
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            traced = _trace(module, _example(policy.observation_space, 2))
            torch.jit.save(traced, str(temporary))
            _compare(torch.jit.load(str(temporary)), module.policy)  # type: ignore[no-untyped-call]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _example(space: gymnasium.Space[Any], batch: int) -> TensorObservation:
    """Makes observations inside the space's bounds, always the same."""
    generator = np.random.default_rng(0)
    observation: dict[str, Tensor] = {}
    for key, box in observation_boxes(space).items():
        low, high = (np.nan_to_num(end.astype(np.float64), posinf=1.0, neginf=-1.0) for end in (box.low, box.high))
        low, high = np.clip(low, -1e3, 1e3), np.clip(high, -1e3, 1e3)
        observation[key] = torch.from_numpy(generator.uniform(low, high, (batch, *box.shape)).astype(np.float32))
    return observation[""] if set(observation) == {""} else observation


def _trace(module: DeterministicPolicy, example: TensorObservation) -> Any:
    """Records what the module computes; the record has only one way through, so a fork in it is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TRACER_WARNING)
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        traced = torch.jit.trace(module, (example,), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    for warning in caught:
        if issubclass(warning.category, TRACER_WARNING) and " to a Python " in str(warning.message):
            raise RuntimeError(
                f"the policy can't be exported, nothing was written: {warning.filename}, line {warning.lineno}, "
                "decides by the data how to compute. Use torch.where for that, and no assert on tensors or shapes. "
                f"torch says: {warning.message}"
            )
    return traced


def _compare(written: Any, policy: Any) -> None:
    """Raises a `RuntimeError` unless what was written computes what the agent's `predict` does."""
    scale = ActionScale(policy.action_space)
    # Far from zero, float32 itself is coarser than a small part of a narrow range.
    rounding = 2 * np.spacing(np.maximum(np.abs(scale.low), np.abs(scale.high)).astype(np.float32))
    for batch in (1, 7):  # other sizes than it was traced with
        observation = _example(policy.observation_space, batch)
        expected = scale.to_env(policy.actor.mean_action(policy.features(observation)).numpy())
        difference = np.abs(written(observation).numpy().astype(np.float64) - expected).reshape(batch, -1)
        if not (difference <= TOLERANCE * 2 * scale.half_range + rounding).all():
            raise RuntimeError(
                f"the exported policy's actions differ from the policy's by up to {difference.max():g}; "
                "nothing was written"
            )
