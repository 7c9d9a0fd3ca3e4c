"""What a report says: a run folder, or a multi-seed folder, read as far as there is something to read."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slc_agents.agents.evaluation import score_name
from slc_agents.agents.loading import agent_class
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.cli.curves import LoggedRun, RunGroup, read_run
from slc_agents.cli.launch import Launch
from slc_agents.cli.multi_seed import MultiSeedPlan, read_evaluation, seed_folders, summarize
from slc_agents.cli.run_folder import RUN_FILE, RunPlan
from slc_agents.cli.run_log import LOG_FILE
from slc_agents.errors import ConfigError
from slc_agents.persistence import read_archive
from slc_agents.zoo import read_config_file

__all__ = ["ReportedRun", "Subject", "read_subject"]


@dataclass(frozen=True)
class ReportedRun:
    """One run, as its folder says.

    Attributes:
        folder: The folder.
        plan: Its `run.json`; None where there is none, as for a run from Python.
        manifest: Of the saved agent; empty where there is none.
        settings: The hyperparameters; empty where they aren't known.
        logged: Its log; None where there is none.
        evaluation: Its `evaluation.json`; None where there is none.
    """

    folder: Path
    plan: RunPlan | None
    manifest: Mapping[str, Any]
    settings: Mapping[str, Any]
    logged: LoggedRun | None
    evaluation: Mapping[str, Any] | None

    @property
    def algo(self) -> str | None:
        """Name of the algorithm's class, where it is known."""
        name = self.manifest.get("class")
        return (
            agent_class(self.plan.algo).__name__ if self.plan is not None else name if isinstance(name, str) else None
        )

    @property
    def env_id(self) -> str | None:
        """Id of the environment, where it is known."""
        env_id = self.manifest.get("env_id") if self.plan is None else self.plan.env_id
        return env_id if isinstance(env_id, str) else None

    @property
    def seed(self) -> int | None:
        """The seed, where it is known."""
        seed = self.settings.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def outcome(self) -> str:
        """How it ended, if it has."""
        if self.plan is None:
            return "not recorded"
        if self.plan.outcome is not None:
            return self.plan.outcome
        return "running, or killed" if self.plan.launches or self.manifest else "not begun"

    @property
    def steps(self) -> int | None:
        """Environment steps of the saved agent, or else of the log's last row."""
        counters = self.manifest.get("counters") or {}
        if isinstance(counters.get("num_timesteps"), int):
            return int(counters["num_timesteps"])
        column = self.logged.columns.get("time/total_timesteps") if self.logged is not None else None
        return None if column is None else int(column[-1])

    @property
    def seconds(self) -> float | None:
        """How long it took: all launches, or else what the log says of training."""
        if self.plan is not None and self.plan.seconds is not None:
            return self.plan.seconds
        column = self.logged.columns.get("time/time_elapsed") if self.logged is not None else None
        return None if column is None else float(column[-1])

    def last_lines(self, n: int) -> list[str]:
        """Returns the last lines of its `log.txt`."""
        try:
            return (self.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()[-n:]
        except OSError:
            return []


@dataclass(frozen=True)
class Subject:
    """What a report is about: one run, or several that differ in the seed.

    Attributes:
        folder: The folder.
        runs: The run, or the seeds' runs.
        launches: The processes that have worked on it.
        command: The command line that it was begun with, where it is known.
        is_multi_seed: Whether it is a multi-seed folder.
    """

    folder: Path
    runs: Sequence[ReportedRun]
    launches: Sequence[Launch] = field(default=())
    command: str | None = None
    is_multi_seed: bool = False

    @property
    def first(self) -> ReportedRun:
        """One that stands for all in what they have in common."""
        return self.runs[0]

    @property
    def title(self) -> str:
        """Agent and environment, or the folder's name where these aren't known."""
        algo, env_id = self.first.algo, self.first.env_id
        return f"{algo} on {env_id}" if algo and env_id else self.folder.resolve().name

    @property
    def word(self) -> str:
        """What a return is called."""
        return score_name(self.first.settings.get("opt_type"))

    @property
    def group(self) -> RunGroup | None:
        """Those of the runs that have a log; None where none has."""
        logged = [run.logged for run in self.runs if run.logged is not None]
        return RunGroup(logged, self.folder) if logged else None

    @property
    def evaluated(self) -> list[ReportedRun]:
        """Those of the runs that were evaluated."""
        return [run for run in self.runs if run.evaluation is not None]

    @property
    def summary(self) -> dict[str, Any] | None:
        """Of the evaluations of several seeds; None for one run, or where there is none."""
        evaluations = {i: run.evaluation for i, run in enumerate(self.runs) if run.evaluation is not None}
        return summarize(evaluations) if self.is_multi_seed and evaluations else None

    @property
    def typical(self) -> ReportedRun:
        """The run with the median result, of those that were evaluated."""
        ordered = sorted(self.evaluated, key=lambda run: float((run.evaluation or {})["mean"]))
        return ordered[(len(ordered) - 1) // 2] if ordered else self.first

    @property
    def outcome(self) -> str:
        """How it ended: of several seeds, how many have reached their end."""
        if not self.is_multi_seed:
            return self.first.outcome
        n = sum(run.outcome == "finished" for run in self.runs)
        return "finished" if n == len(self.runs) else f"{n} of {len(self.runs)} seeds finished"


def read_subject(folder: Path) -> Subject:
    """Reads a run folder, or a multi-seed folder.

    Raises:
        ConfigError: If it is neither.
    """
    seeds = seed_folders(folder)
    if seeds is not None:
        runs = [_read(path) for path in seeds.values()]
        plan = MultiSeedPlan.read(folder)
        command = plan.launches[0].command if plan.launches else None
        return Subject(folder, runs, plan.launches, command, is_multi_seed=True)
    run = _read(folder)
    if run.plan is None and run.logged is None and not run.manifest:
        raise ConfigError(f"{folder}: is no run folder: it has neither a log nor an agent; give the folder of a run")
    if run.plan is None:
        return Subject(folder, [run])
    return Subject(folder, [run], run.plan.launches, run.plan.command)


def _read(folder: Path) -> ReportedRun:
    plan = RunPlan.read(folder) if (folder / RUN_FILE).is_file() else None
    manifest: Mapping[str, Any] = {}
    if (folder / AGENT_FILE).is_file():
        with read_archive(folder / AGENT_FILE) as archive:
            manifest = archive.manifest
    settings: Mapping[str, Any] = {} if plan is None else plan.config
    logged = None
    with contextlib.suppress(FileNotFoundError):
        settings = read_config_file(folder / CONFIG_FILE).values
    with contextlib.suppress(FileNotFoundError):
        logged = read_run(folder)
    run = ReportedRun(folder, plan, manifest, settings, logged, read_evaluation(folder))
    if logged is not None:  # an agent that isn't saved yet is known by its plan
        run = dataclasses.replace(run, logged=dataclasses.replace(logged, agent=run.algo, env_id=run.env_id))
    return run
