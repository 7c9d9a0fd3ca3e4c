"""What a run says: on the console, and line by line with the time in a text file of its folder."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from slc_agents.agents.base import Agent
from slc_agents.logger import Value

__all__ = ["LOG_FILE", "EpochLines", "RunLog"]

LOG_FILE = "log.txt"


class RunLog:
    """A run's `log.txt`, and the console beside it. While it is entered, warnings and the error that ends it go in too.

    The file grows with each launch of the run. Where the console's output goes into this very file, as it does for one
    of several seeds, nothing is written twice.

    Args:
        folder: The run's folder.
        quiet: Whether only results are shown on the console.
    """

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self.path = folder / LOG_FILE
        self.quiet = quiet

    def __enter__(self) -> Self:
        self._file = self.path.open("a", encoding="utf-8", buffering=1)  # a line is in the file once it is written
        self._shows_output, self._shows_errors = (not self._is_here(stream) for stream in (sys.stdout, sys.stderr))
        self._show_warning = warnings.showwarning
        warnings.showwarning = self._warn
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        warnings.showwarning = self._show_warning
        if isinstance(error, KeyboardInterrupt):
            self.keep("interrupted")
        elif error is not None:
            self.keep("".join(traceback.format_exception(error)).rstrip())
        self._file.close()

    def say(self, text: str) -> None:
        """Says how things go, which a quiet run keeps to its file."""
        self.keep(text)
        if self._shows_output and not self.quiet:
            print(text, flush=True)

    def tell(self, text: str) -> None:
        """Says what also a quiet run shows: a result, or what the user should do."""
        self.keep(text)
        if self._shows_output:
            print(text, flush=True)

    def keep(self, text: str) -> None:
        """Writes into the file alone."""
        time = datetime.now().isoformat(sep=" ", timespec="seconds")
        self._file.write("".join(f"{time}  {line}\n" for line in text.splitlines()))

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.keep(f"warning: {' '.join(str(message).split())}")
        if self._shows_errors:
            self._show_warning(message, category, filename, lineno, file, line)

    def _is_here(self, stream: Any) -> bool:
        try:
            return os.path.samestat(os.fstat(stream.fileno()), os.fstat(self._file.fileno()))
        except (OSError, ValueError, AttributeError):  # not a file of the system's
            return False


class EpochLines:
    """A sink of the log that says a line for each row.

    Args:
        model: The agent that is trained.
        write: What takes a line.
        keep: What takes notes, such as how gradient steps are computed.
    """

    def __init__(self, model: Agent[Any], write: Callable[[str], None], keep: Callable[[str], None]) -> None:
        self.model = model
        self._write, self._keep = write, keep

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Says the line."""
        run = self.model.run
        if run is None:
            return
        done = step - run.start
        parts = [
            f"epoch {run.finished_epochs:>{len(str(run.epochs))}}/{run.epochs}",
            f"{done:>{len(f'{run.total:,}')},}/{run.total:,} steps",
            f"{row['time/fps']:,.0f} steps/s",
        ]
        score = "cost" if self.model.config.opt_type == "minimize" else "return"
        for key, name in (("rollout/ep_rew_mean", score), ("eval/mean_reward", "test")):
            if key in row:
                parts.append(f"{name} {row[key]:,.1f}")
        self._write("   ".join(parts))

    def write_note(self, text: str) -> None:
        """Keeps the note."""
        self._keep(text)

    def close(self) -> None:
        """Has nothing to close."""
