"""How the runs of several seeds do, seen from outside: by their folders, as lines or as bars."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from slc_agents.agents.evaluation import score_name, score_text
from slc_agents.agents.loading import agent_class
from slc_agents.cli.exit_codes import INTERRUPTED
from slc_agents.cli.formatting import SEE_DEBUG, count, duration
from slc_agents.cli.multi_seed import read_evaluation
from slc_agents.cli.run_folder import RunPlan
from slc_agents.cli.run_log import LOG_FILE
from slc_agents.logger import PROGRESS_FILE, read_progress

__all__ = ["SeedBars", "SeedLines", "SeedRun"]

LINES = 10  # said of a seed's progress where there is no terminal
TAIL_BYTES = 8192


class Standing(NamedTuple):
    """Where a seed's run stands, by its log.

    Attributes:
        steps: Environment steps done.
        speed: Steps per second, or None.
        score: Mean return of the last test episodes, or of the last training episodes; or None.
    """

    steps: int = 0
    speed: float | None = None
    score: float | None = None


class SeedRun:
    """One seed's run, seen from outside.

    Attributes:
        seed: The seed.
        folder: Its run folder.
        total: Environment steps that it is to make.
        score: What a return is called.
        title: The algorithm and the environment.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        plan = RunPlan.read(folder)
        self.seed, self.folder = seed, folder
        self.total: int = plan.total_timesteps or plan.config["epochs"] * plan.config["steps_per_epoch"]
        self.score = score_name(plan.config["opt_type"])
        self.title = f"{agent_class(plan.algo).__name__} on {plan.env_id}"
        self._seen: tuple[int, int] | None = None
        self._standing = Standing()

    def standing(self) -> Standing:
        """Returns where it stands now. The log is read only where it has changed."""
        path = self.folder / PROGRESS_FILE
        try:
            status = path.stat()
            seen = status.st_mtime_ns, status.st_size
            if seen != self._seen:
                last = {key: values[-1] for key, values in read_progress(path).items()}
                scores = [last[key] for key in ("eval/mean_reward", "rollout/ep_rew_mean") if key in last]
                self._standing = Standing(
                    int(last["time/total_timesteps"]), last.get("time/fps"), next(iter(scores), None)
                )
                self._seen = seen
        except (OSError, ValueError, KeyError):  # no row yet, or one that is being written
            pass
        return self._standing

    def result(self) -> dict[str, Any] | None:
        """Returns its evaluation, once it has reached its end."""
        return read_evaluation(self.folder) if RunPlan.read(self.folder).finished else None

    def last_words(self, code: int) -> str:
        """Says why it ended in failure: the error that stands last in its log, or how the system says that it ended."""
        try:
            with (self.folder / LOG_FILE).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        if code > 0 and lines and lines[-1].startswith("error: "):
            return lines[-1].removeprefix("error: ").removesuffix(SEE_DEBUG)  # the log has the traceback
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended with exit code {code}"


class SeedLines:
    """Says in lines how the seeds do: for files, and what else is no terminal.

    Attributes:
        failed: What the seeds that have failed said last.
    """

    def __init__(self, runs: Sequence[SeedRun], console: Console, *, quiet: bool) -> None:
        self.runs = {run.seed: run for run in runs}
        self.console, self.quiet = console, quiet
        self.failed: dict[int, str] = {}
        self.running: list[int] = []
        self._said: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def began(self, key: int) -> None:
        """A seed's process was started."""
        self.running.append(key)
        self._said[key] = self._tenths(self.runs[key])
        self._say(f"seed {key}: begins" if not self.runs[key].standing().steps else f"seed {key}: goes on")

    def ended(self, key: int, code: int, seconds: float) -> None:
        """A seed's process has ended."""
        self.running.remove(key)
        run = self.runs[key]
        evaluation = run.result()
        if code == 0 and evaluation is not None:
            self._say(f"seed {key}: {run.score} {score_text(evaluation)}, in {duration(seconds)}")
        elif code in (INTERRUPTED, -signal.SIGINT):
            self._say(f"seed {key}: interrupted")
        else:
            self.failed[key] = run.last_words(code)
            self._say(f"seed {key}: failed: {self.failed[key]}")

    def stopping(self, times: int) -> None:
        """Ctrl-C has come."""
        how = ("each saves and evaluates; Ctrl-C again: at once", "at once", "killed")[min(times, 3) - 1]
        self._print(f"stopping {count(len(self.running), 'seed')}: {how}")

    def look(self) -> None:
        """Says where the seeds stand, now and then."""
        for seed in self.running:
            run = self.runs[seed]
            tenths = self._tenths(run)
            if tenths > self._said[seed]:
                self._said[seed] = tenths
                steps, speed, score = run.standing()
                parts = [f"seed {seed}: {steps:>{len(f'{run.total:,}')},}/{run.total:,} steps"]
                parts += [f"{speed:,.0f} steps/s"] if speed is not None else []
                parts += [f"{run.score} {score:,.1f}"] if score is not None else []
                self._say("   ".join(parts))

    def _tenths(self, run: SeedRun) -> int:
        return LINES * run.standing().steps // run.total

    def _say(self, text: str) -> None:
        if not self.quiet:
            self._print(text)

    def _print(self, text: str) -> None:
        # As a text of one line, in which brackets are no markup.
        self.console.print(Text(text), soft_wrap=True)


class SeedBars(SeedLines):
    """Shows a bar for each seed that is running, below a line for each that has ended."""

    def __init__(self, runs: Sequence[SeedRun], console: Console, *, quiet: bool) -> None:
        super().__init__(runs, console, quiet=quiet)
        width = max(len(f"{run.total:,}") for run in runs)

        def column(text: str, **options: Any) -> TextColumn:
            return TextColumn(text, markup=False, table_column=Column(no_wrap=True, **options))

        self._progress = Progress(
            column("{task.description}"),
            BarColumn(bar_width=None),
            column("{task.fields[steps]}", min_width=2 * width + 1),
            column("{task.fields[news]}", min_width=45),
            console=console,
            auto_refresh=False,
            expand=True,
            transient=True,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, key: int) -> None:
        """Adds its bar."""
        self.running.append(key)
        self._tasks[key] = self._progress.add_task(f"seed {key}", total=self.runs[key].total, steps="", news="")
        self.look()

    def ended(self, key: int, code: int, seconds: float) -> None:
        """Replaces its bar by a line."""
        self._progress.remove_task(self._tasks.pop(key))
        self._progress.refresh()
        super().ended(key, code, seconds)

    def look(self) -> None:
        """Draws the bars."""
        for seed, task in self._tasks.items():
            run = self.runs[seed]
            standing = run.standing()
            self._progress.update(
                task, completed=standing.steps, steps=f"{standing.steps:,}/{run.total:,}", news=_news(run, standing)
            )
        self._progress.refresh()


def _news(run: SeedRun, standing: Standing) -> str:
    if standing.steps >= run.total:
        return "evaluating"
    if not standing.speed:
        return "begins"
    left = duration((run.total - standing.steps) / standing.speed)
    score = "" if standing.score is None else f"  {run.score} {standing.score:>9,.1f}"
    return f"{standing.speed:>6,.0f} steps/s  {left} left{score}"
