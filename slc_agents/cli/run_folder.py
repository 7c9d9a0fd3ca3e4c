"""A run's folder as `slc-agents train` keeps it: what the run is to be, who worked on it, and where it can go on."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from slc_agents.agents.backend import DEFAULT_BACKEND, Backend
from slc_agents.callbacks import CheckpointCallback
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.cli.launch import FINISHED, Launch
from slc_agents.errors import ConfigError
from slc_agents.logger import PROGRESS_FILE

__all__ = [
    "RUN_FILE",
    "SEEDS_FILE",
    "RunCheckpoints",
    "RunPlan",
    "checkpoints",
    "finish",
    "refuse_used",
    "remove_partial_files",
    "write_json",
    "write_text",
]

RUN_FILE = "run.json"
SEEDS_FILE = "seeds.json"  # of a folder that holds a run for each of several seeds
CHECKPOINTS = "checkpoints"
KEPT = 2  # the newest, and the one before in case a disk spoils it
_NAME = re.compile(r"checkpoint_(\d+)_steps\.zip")


@dataclass(frozen=True)
class RunPlan:
    """What a run is to be: all that is needed to begin it again, or to go on with it; and who worked on it.

    Attributes:
        algo: Name of the algorithm.
        env_id: Id of the environment.
        policy: Name of the policy.
        total_timesteps: Environment steps; None: as many as the config says.
        eval_episodes: Episodes of the evaluation at the end.
        checkpoint_freq: Environment steps between two checkpoints; None: by time.
        checkpoint_seconds: Seconds between two checkpoints; None: by steps.
        config: The hyperparameters, in plain values.
        finished: Whether it has reached its end, and was evaluated.
        command: The command line that planned it; None where it wasn't recorded, as the launches.
        launches: The processes that have worked on it.
        backend: What computes.
    """

    algo: str
    env_id: str
    policy: str
    total_timesteps: int | None
    eval_episodes: int
    checkpoint_freq: int | None
    checkpoint_seconds: float | None
    config: dict[str, Any]
    finished: bool = False
    command: str | None = None
    launches: tuple[Launch, ...] = ()
    backend: Backend = DEFAULT_BACKEND

    @property
    def outcome(self) -> str | None:
        """How the last launch ended: `finished`, `interrupted`, `failed: ...`; None while it runs, or if killed."""
        return FINISHED if self.finished else self.launches[-1].outcome if self.launches else None

    @property
    def seconds(self) -> float | None:
        """How long all launches took, those apart whose end nobody saw; None where nothing is known."""
        known = [launch.seconds for launch in self.launches if launch.seconds is not None]
        return sum(known) if known else None

    def begin_launch(self, launch: Launch) -> Self:
        """Returns it with one launch more."""
        return replace(self, launches=(*self.launches, launch))

    def end_launch(self, outcome: str, seconds: float) -> Self:
        """Returns it with the last launch ended."""
        ended = self.launches[-1].end(outcome, seconds)
        return replace(self, launches=(*self.launches[:-1], ended), finished=outcome == FINISHED)

    def write(self, folder: Path) -> None:
        """Writes it into the run's folder, whole or not at all."""
        write_json(folder / RUN_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads it from a run's folder.

        Raises:
            ConfigError: If there is none, or it can't be read.
        """
        path = folder / RUN_FILE
        if not path.is_file():
            raise ConfigError(
                f"--resume {folder}: there is no {RUN_FILE}; give the folder of a run that `slc-agents train` has begun"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            launches = tuple(Launch(**launch) for launch in values.pop("launches", ()))
            return cls(**values, launches=launches)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: not the file that `slc-agents train` writes: {error}") from error


class RunCheckpoints(CheckpointCallback):
    """Writes a run's checkpoints, the first of them before its first step, so that there is always one.

    None at its end: what follows that, the last one before is good for.
    """

    def __init__(self, folder: Path, plan: RunPlan) -> None:
        super().__init__(
            plan.checkpoint_freq,
            folder / CHECKPOINTS,
            "checkpoint",
            save_replay_buffer=True,
            keep=KEPT,
            every_seconds=plan.checkpoint_seconds,
        )

    def on_training_start(self) -> None:
        """Writes the first."""
        super().on_training_start()
        if next(checkpoints(self.save_path.parent), None) is None:
            self.save()

    def save(self) -> None:
        """Saves now, unless the run has reached its end."""
        if self.model.is_interrupted:
            super().save()


def checkpoints(folder: Path) -> Iterator[Path]:
    """Yields a run's checkpoints, the newest first."""
    found = [
        (int(match[1]), path) for path in (folder / CHECKPOINTS).glob("*") if (match := _NAME.fullmatch(path.name))
    ]
    for _, path in sorted(found, reverse=True):
        yield path


def refuse_used(folder: Path) -> None:
    """Raises a `ConfigError` where a folder is another run's already."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; the run folder must be a new or an empty folder")
    names = (AGENT_FILE, CONFIG_FILE, PROGRESS_FILE, RUN_FILE, SEEDS_FILE)
    found = [name for name in names if (folder / name).exists()]
    found += [CHECKPOINTS] if next(checkpoints(folder), None) is not None else []
    if found:
        is_known = RUN_FILE in found or SEEDS_FILE in found
        going_on = f", or go on with that run: slc-agents train --resume {folder}" if is_known else ""
        raise ConfigError(
            f"--out {folder}: holds a run already ({', '.join(found)}), which would be lost; choose another folder"
            f"{going_on}"
        )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a file of JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all, and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def remove_partial_files(folder: Path) -> None:
    """Removes what a process that was killed had only half written."""
    for place, names in (
        (folder, (f".{AGENT_FILE}.*.tmp", f".{RUN_FILE}.tmp", f"{PROGRESS_FILE}.*.tmp")),
        (folder / CHECKPOINTS, (".checkpoint_*_steps.zip.*.tmp",)),
    ):
        for path in itertools.chain.from_iterable(place.glob(name) for name in names):
            path.unlink(missing_ok=True)


def finish(folder: Path) -> None:
    """Removes the checkpoints, which a run that has reached its end needs no more."""
    for path in checkpoints(folder):
        path.unlink()
    if (folder / CHECKPOINTS).is_dir() and not any((folder / CHECKPOINTS).iterdir()):
        (folder / CHECKPOINTS).rmdir()
