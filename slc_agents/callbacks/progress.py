"""The progress bar."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from slc_agents.callbacks.base import Callback

__all__ = ["ProgressBarCallback"]

REFRESH_SECONDS = 0.1  # a terminal shows no more, and drawing costs as much as many steps
# Columns of a terminal from which on there is room for the test episodes, and for losses too.
WIDE, VERY_WIDE = 100, 140


class ProgressBarCallback(Callback):
    """Shows how far training is, in one line.

    Steps, a bar, steps per second, time left, and the mean return of the last 100 episodes; in a wide terminal also the
    test episodes' mean return, in a very wide one also the losses, of the log's last row.

    Args:
        console: Where to draw; None: the terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        if console is not None and not isinstance(console, Console):
            raise TypeError(f"ProgressBarCallback: console={console!r}: a rich.console.Console is needed, or None")
        self.console = console
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._drawn = 0.0

    def on_training_start(self) -> None:
        """Draws an empty bar."""
        run = self.model.run
        if run is None:
            return
        total = f"{run.total:,}"
        self._progress = Progress(
            TextColumn("{task.completed:>" + str(len(total)) + ",.0f}/" + total, table_column=_one_line()),
            BarColumn(bar_width=None),
            _SpeedColumn(_one_line()),
            _TimeColumn(_one_line()),
            TextColumn("{task.fields[news]}", markup=False, table_column=_one_line()),
            console=self.console,
            auto_refresh=False,
            expand=True,
        )
        # A resumed run starts where it was, which must not look like speed.
        done = self.num_timesteps - run.start
        self._task = self._progress.add_task("training", total=run.total, completed=done, first=done, news=self._news())
        self._progress.start()
        self._draw()

    def on_step(self) -> None:
        """Draws, where the eye could follow."""
        if time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._draw()

    def on_training_end(self) -> None:
        """Draws for the last time, and leaves the terminal as it was."""
        if self._progress is not None:
            self._draw()
            self._progress.stop()
            self._progress = None

    def _draw(self) -> None:
        run = self.model.run
        if self._progress is None or run is None:
            return
        self._progress.update(self._task, completed=self.num_timesteps - run.start, news=self._news(), refresh=True)
        self._drawn = time.monotonic()

    def _news(self) -> str:
        minimizes = self.model.config.opt_type == "minimize"
        shown: dict[str, object] = {"cost" if minimizes else "return": self.model.mean_recent_return}
        width = 0 if self._progress is None else self._progress.console.width
        if width >= WIDE:
            shown["test"] = self.logger.latest.get("eval/mean_reward")
        if width >= VERY_WIDE:
            shown["actor loss"] = self.logger.latest.get("train/actor_loss")
            shown["critic loss"] = self.logger.latest.get("train/critic_loss")
        # Always of the same width, or the bar would move with each number.
        return "  ".join(
            f"{name} {value:>8.4g}" if isinstance(value, (int, float)) else f"{name} {'-':>8}"
            for name, value in shown.items()
        )


class _SpeedColumn(ProgressColumn):
    """Steps per second: lately while training, over all of it at its end."""

    def render(self, task: Task) -> Text:
        speed = None if task.finished else task.speed
        if speed is None:
            speed = (task.completed - task.fields["first"]) / max(task.elapsed or 0.0, 1e-9)
        return Text(f"{speed:>6,.0f} steps/s")


class _TimeColumn(ProgressColumn):
    """The time that is left, and at the end the time that it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {_duration(task.elapsed)}  ")
        return Text(f"{_duration(task.time_remaining)} left")


def _one_line() -> Column:
    return Column(no_wrap=True)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
