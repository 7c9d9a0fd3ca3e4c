"""Exporting the deterministic policy to files that run without this package.

- `acting`: the module that is exported, from the environment's observations to its actions;
- `formats`: how each format is written, and read again.

What is the same for each backend is in `slc_agents.learner.export`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slc_agents.errors import ExportError
from slc_agents.learner.export import example_observation, write_export
from slc_agents.pytorch.encoders import TensorObservation
from slc_agents.pytorch.export.acting import DeterministicPolicy, copy_to_cpu
from slc_agents.pytorch.export.formats import FORMATS
from slc_agents.transition import Array, Observation

__all__ = ["FORMATS", "export_policy"]


def export_policy(policy: nn.Module, path: Path, format: str, about: Mapping[str, Any] | None = None) -> None:
    """Writes a policy to a file, and a JSON file beside it that says what it takes and gives.

    What was written is read again and compared with the policy before the files get their names; where something goes
    wrong, older files of these names stay as they were.

    Args:
        policy: The networks.
        path: The file; the other one is `<path>.json`.
        format: One of `FORMATS`.
        about: What else the JSON file says: a JSON-able mapping, in which `versions` is a mapping too.

    Raises:
        ValueError: If the format is unknown.
        ExportError: If the policy can't be written in this format, or the file doesn't compute what the policy does.
        MissingDependencyError: If the format needs a package that isn't installed.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: allowed are {', '.join(FORMATS)}")
    chosen = FORMATS[format]
    chosen.check_installed()
    unchanged = copy_to_cpu(policy)
    example = _tensors(example_observation(unchanged.observation_space, 2))

    def write(file: Path) -> Any:
        try:
            chosen.write(DeterministicPolicy(policy, example), example, file)
        except (ExportError, OSError):
            raise
        except Exception as error:  # whatever a user's own module makes of being traced
            raise ExportError(_refusal(format, error)) from error
        written = chosen.load(file)
        return lambda observation: written(_tensors(observation)).numpy()

    def mean_action(observation: Observation) -> Array:
        action: Tensor = unchanged.actor.mean_action(unchanged.features(_tensors(observation)))
        return np.asarray(action.numpy())

    about = {"format": format, **(about or {})}
    about["versions"] = {**about.get("versions", {}), **chosen.versions()}
    with torch.no_grad():  # no inference mode, whose tensors torch.export has no use for
        write_export(unchanged, path, chosen.suffix, write=write, mean_action=mean_action, about=about)


def _tensors(observation: Observation) -> TensorObservation:
    if isinstance(observation, dict):
        return {key: torch.from_numpy(array) for key, array in observation.items()}
    return torch.from_numpy(observation)


def _refusal(format: str, error: Exception) -> str:
    """Says that a policy can't be exported, and what lies at the bottom of torch's reasons, which go on for pages."""
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    return (
        f"the policy can't be exported to {format}, nothing was written. Its features and its actor.mean_action must "
        "be operations of torch that the format has, for any batch size, from beginning to end: no decisions by "
        f"values (torch.where is for that), no detour by numpy. {type(reason).__name__}: {' '.join(lines[:3])[:400]}"
    )
