"""Training several seeds, each in a process of its own: what is shown meanwhile, and what comes out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from slc_agents.agents.evaluation import score_digits, score_text
from slc_agents.cli.curves import CURVE_FILE, figure_of_groups, read_seeds, save_figure
from slc_agents.cli.exit_codes import FAILED, INTERRUPTED
from slc_agents.cli.formatting import count, duration
from slc_agents.cli.launch import FINISHED, Launch
from slc_agents.cli.launch import INTERRUPTED as WAS_INTERRUPTED
from slc_agents.cli.multi_seed import EVALUATION_FILE, MultiSeedPlan, summarize, unfinished
from slc_agents.cli.processes import Job, run_jobs
from slc_agents.cli.run_folder import RunPlan, write_json
from slc_agents.cli.run_log import LOG_FILE
from slc_agents.cli.seed_watch import SeedBars, SeedLines, SeedRun
from slc_agents.errors import ConfigError, MissingDependencyError

__all__ = ["train_seeds"]


def train_seeds(folder: Path, plan: MultiSeedPlan, launch: Launch, options: Sequence[str], *, quiet: bool) -> int:
    """Trains all seeds of a multi-seed folder that have not reached their end; returns the exit code.

    Args:
        folder: The multi-seed folder, in which each seed's run is planned already.
        plan: What it holds.
        launch: This process.
        options: What each seed's command gets beside its folder.
        quiet: Whether only results are shown.
    """
    seeds = {seed: folder / name for seed, name in plan.folders.items()}
    plan = plan.begin_launch(launch)
    plan.write(folder)
    began = time.monotonic()
    jobs = [
        Job(seed, ["train", "--resume", str(seeds[seed]), "--quiet", *options], seeds[seed] / LOG_FILE)
        for seed in unfinished(seeds)
    ]
    console = Console(highlight=False)
    runs = [SeedRun(seed, path) for seed, path in seeds.items()]
    watcher = (SeedBars if console.is_terminal and not quiet else SeedLines)(runs, console, quiet=quiet)
    with watcher:
        interrupted = run_jobs(jobs, plan.jobs, {"OMP_NUM_THREADS": plan.threads}, watcher)
    failed = watcher.failed
    outcome = f"failed: seed {', '.join(map(str, failed))}" if failed else FINISHED
    plan.end_launch(WAS_INTERRUPTED if interrupted else outcome, time.monotonic() - began).write(folder)
    _say_results(folder, runs, failed, console)
    if interrupted or failed:
        print(f"go on: {shlex.join(['slc-agents', 'train', '--resume', str(folder)])}", flush=True)
    return INTERRUPTED if interrupted else FAILED if failed else 0


def _say_results(folder: Path, runs: Sequence[SeedRun], failed: Mapping[int, str], console: Console) -> None:
    """Shows what came out of each seed and of all together, and writes it into the folder."""
    evaluations = {run.seed: result for run in runs if (result := run.result()) is not None}
    if evaluations:
        summary = summarize(evaluations)
        env_id = next(iter(evaluations.values())).get("env")
        write_json(folder / EVALUATION_FILE, {"env": env_id, **summary})
        console.print(_table(runs, evaluations, failed))
        console.print(_summary_line(summary, runs[0].score), soft_wrap=True)
    for run in runs:
        if run.seed in failed:
            print(f"seed {run.seed} failed: {failed[run.seed]}; its log: {run.folder / LOG_FILE}")
    _draw_curves(folder)
    print(f"run folder: {folder}", flush=True)


def _table(runs: Sequence[SeedRun], evaluations: Mapping[int, Mapping[str, Any]], failed: Mapping[int, str]) -> Table:
    table = Table(title=f"{runs[0].title}, {count(len(runs), 'seed')}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("seed", f"mean {runs[0].score}", "episodes", "steps", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        evaluation, seconds = evaluations.get(run.seed), RunPlan.read(run.folder).seconds
        shown = "failed" if run.seed in failed else "not finished"
        result = (shown, "") if evaluation is None else (score_text(evaluation), str(evaluation["episodes"]))
        time_taken = "" if seconds is None else duration(seconds)
        table.add_row(str(run.seed), *result, f"{run.standing().steps:,}", time_taken)
    return table


def _summary_line(summary: Mapping[str, Any], word: str) -> str:
    seeds = count(len(summary["seeds"]), "seed")
    if summary["interval"] is None:
        return f"mean {word}: {summary['mean']:.{score_digits(summary['mean'])}f} over {seeds}"
    low, high = (f"{edge:.{score_digits(summary['mean'])}f}" for edge in summary["interval"])
    return f"mean {word}: {score_text(summary)} over {seeds}, 95% interval of the mean {low} to {high} (t)"


def _draw_curves(folder: Path) -> None:
    try:
        save_figure(figure_of_groups([read_seeds(folder)]), folder / CURVE_FILE)
    except (ConfigError, MissingDependencyError) as error:
        print(f"no learning curve: {error}")
