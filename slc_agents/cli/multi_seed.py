"""A multi-seed folder: runs that differ in nothing but the seed, each in a folder of its own, and what they give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from slc_agents.cli.flags import whole_numbers
from slc_agents.cli.launch import Launch
from slc_agents.cli.run_folder import SEEDS_FILE, RunPlan, write_json
from slc_agents.errors import ConfigError
from slc_agents.intervals import confidence_interval

__all__ = [
    "EVALUATION_FILE",
    "MultiSeedPlan",
    "parse_seeds",
    "read_evaluation",
    "seed_folders",
    "summarize",
    "unfinished",
]

EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True)
class MultiSeedPlan:
    """What a multi-seed folder holds. What each of the runs is to be stands in its own folder, from the beginning.

    Attributes:
        folders: The run folders, relative to the multi-seed folder, by their seeds.
        jobs: How many train at once.
        threads: What OMP_NUM_THREADS is in each of their processes.
        launches: The processes that have worked on it.
    """

    folders: dict[int, str]
    jobs: int
    threads: str
    launches: tuple[Launch, ...] = ()

    def begin_launch(self, launch: Launch) -> Self:
        """Returns it with one launch more."""
        return replace(self, launches=(*self.launches, launch))

    def end_launch(self, outcome: str, seconds: float) -> Self:
        """Returns it with the last launch ended."""
        return replace(self, launches=(*self.launches[:-1], self.launches[-1].end(outcome, seconds)))

    def write(self, folder: Path) -> None:
        """Writes it into the folder, whole or not at all."""
        write_json(folder / SEEDS_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads it from a multi-seed folder.

        Raises:
            ConfigError: If there is none, or it can't be read.
        """
        path = folder / SEEDS_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            folders = {int(seed): str(name) for seed, name in values.pop("folders").items()}
            launches = tuple(Launch(**launch) for launch in values.pop("launches", ()))
            return cls(folders=folders, launches=launches, **values)
        except FileNotFoundError:
            raise ConfigError(f"{folder}: there is no {SEEDS_FILE}, so it isn't a folder of several seeds") from None
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigError(f"{path}: not the file that `slc-agents train --seeds` writes: {error}") from error


def seed_folders(folder: Path) -> dict[int, Path] | None:
    """Returns the run folders of a multi-seed folder by their seeds; None where it isn't one."""
    if not (folder / SEEDS_FILE).is_file():
        return None
    return {seed: folder / name for seed, name in MultiSeedPlan.read(folder).folders.items()}


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds such as `0..4`, `0,3,7` or `0..2,10`; the type of an option."""
    return whole_numbers(text, "seed")


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Returns a run's evaluation; None where there is none that can be read."""
    try:
        evaluation = json.loads((folder / EVALUATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(evaluation, dict) and {"mean", "std", "episodes"} <= evaluation.keys()
    return evaluation if whole and isinstance(evaluation["mean"], float) else None


def summarize(evaluations: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Sums up the evaluations of several seeds: each seed counts once, however many episodes it had.

    Args:
        evaluations: Of each seed, with `mean` and `std` over its episodes.

    Returns:
        In JSON-able values: `mean` of the seeds' means, their standard deviation `std` (n - 1 in the denominator) and
        the 95% confidence `interval` of the mean (Student's t), both None for a single seed; `seeds` with each one's.
    """
    means = np.array([evaluation["mean"] for evaluation in evaluations.values()])
    several = len(means) > 1
    edges = confidence_interval(means[:, None]) if several else ()
    return {
        "mean": float(means.mean()),
        "std": float(means.std(ddof=1)) if several else None,
        "interval": [float(edge[0]) for edge in edges] or None,
        "seeds": {
            str(seed): {key: evaluation[key] for key in ("mean", "std", "episodes", "timesteps") if key in evaluation}
            for seed, evaluation in evaluations.items()
        },
    }


def unfinished(folders: Mapping[int, Path]) -> list[int]:
    """Returns the seeds whose runs have not reached their end."""
    return [seed for seed, folder in folders.items() if not RunPlan.read(folder).finished]
