"""Exporting the deterministic policy to files that run without this package.

- `acting`: the module that is exported, from the environment's observations to its actions;
- `formats`: how each format is written, and read again;
- `description`: the JSON file that says what an exported file takes and gives.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slc_agents.errors import ExportError
from slc_agents.pytorch.export.acting import DeterministicPolicy, copy_to_cpu, example_observation
from slc_agents.pytorch.export.description import describe, description_path
from slc_agents.pytorch.export.formats import FORMATS, Runner
from slc_agents.spaces import ActionScale

__all__ = ["FORMATS", "export_policy"]

TOLERANCE = 1e-5  # of the action's range, between the export and the policy


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
    example = example_observation(policy, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    json_path = description_path(path)
    # No inference mode, whose tensors torch.export has no use for.
    with _temporary(path, chosen.suffix) as file, _temporary(json_path, ".json") as description, torch.no_grad():
        try:
            chosen.write(DeterministicPolicy(policy, example), example, file)
        except (ExportError, OSError):
            raise
        except Exception as error:  # whatever a user's own module makes of being traced
            raise ExportError(_refusal(format, error)) from error
        _compare(chosen.load(file), policy)
        about = {**(about or {})}
        versions = {**about.pop("versions", {}), **chosen.versions()}
        description.write_text(
            describe(policy, path.name, file, {"format": format, **about, "versions": versions}), encoding="utf-8"
        )
        file.replace(path)
        description.replace(json_path)


@contextlib.contextmanager
def _temporary(path: Path, suffix: str) -> Iterator[Path]:
    """Gives the name of a file beside another one, and removes it in the end, if it is still there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


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


def _compare(written: Runner, policy: nn.Module) -> None:
    """Raises an `ExportError` unless what was written computes what the agent's `predict` does."""
    unchanged: Any = copy_to_cpu(policy)
    scale = ActionScale(unchanged.action_space)
    # Far from zero, float32 itself is coarser than a small part of a narrow range.
    rounding = 2 * np.spacing(np.maximum(np.abs(scale.low), np.abs(scale.high)).astype(np.float32))
    for batch in (1, 7):  # other sizes than it was traced with
        observation = example_observation(unchanged, batch)
        expected = scale.to_env(unchanged.actor.mean_action(unchanged.features(observation)).numpy())
        try:
            action = written(observation).numpy()
        except Exception as error:  # each runtime has its own for shapes that it doesn't take
            raise ExportError(
                f"the exported policy doesn't run for {batch} observation(s), nothing was written: it must take any "
                f"batch size. {type(error).__name__}: {str(error)[:400]}"
            ) from error
        if action.shape != expected.shape or action.dtype != np.float32:
            raise ExportError(
                f"the exported policy gives {action.dtype} {action.shape} for {batch} observation(s), not float32 "
                f"{expected.shape}; nothing was written"
            )
        difference = np.abs(action.astype(np.float64) - expected).reshape(batch, -1)
        if not (difference <= TOLERANCE * 2 * scale.half_range + rounding).all():
            raise ExportError(
                f"the exported policy's actions differ from the policy's by up to {difference.max():g}; "
                "nothing was written"
            )
