"""Running commands of this package as child processes, a few at once, and ending them in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["Job", "Watcher", "run_jobs"]

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A command of `slc-agents` for a process of its own.

    Attributes:
        key: What it is for.
        arguments: Those of `slc-agents`.
        log: File that its output is appended to.
    """

    key: int
    arguments: Sequence[str]
    log: Path


class Watcher(Protocol):
    """Whom `run_jobs` tells what happens."""

    def began(self, key: int) -> None: ...  # noqa: D102
    def ended(self, key: int, code: int, seconds: float) -> None: ...  # noqa: D102
    def stopping(self, times: int) -> None: ...  # noqa: D102
    def look(self) -> None: ...  # noqa: D102 - called again and again while they run


def run_jobs(jobs: Sequence[Job], n_at_once: int, environment: Mapping[str, str], watcher: Watcher) -> bool:
    """Runs jobs, a few at once, to their ends.

    Ctrl-C, in all ways of this package, comes to them one by one: the first ends each in good order, the second at
    once; the third kills. What waits is then not begun.

    Args:
        jobs: What to run.
        n_at_once: How many at once.
        environment: Variables that differ from this process's.
        watcher: Whom to tell.

    Returns:
        Whether Ctrl-C has ended it.
    """
    waiting = deque(jobs)
    running: list[_Child] = []
    with _Interrupts() as interrupts:
        try:
            passed_on = 0
            while waiting or running:
                while waiting and len(running) < n_at_once and not interrupts.count:
                    running.append(_Child(waiting.popleft(), environment))
                    watcher.began(running[-1].job.key)
                while interrupts.count > passed_on:
                    passed_on += 1
                    waiting.clear()
                    watcher.stopping(passed_on)
                    for child in running:
                        child.stop(passed_on)
                time.sleep(POLL_SECONDS)
                watcher.look()
                for child in [child for child in running if child.process.poll() is not None]:
                    running.remove(child)
                    child.close()
                    watcher.ended(child.job.key, child.process.returncode, time.monotonic() - child.began)
            return interrupts.count > 0
        finally:  # none outlives this process, whatever has happened here
            for child in running:
                child.stop(1)
            for child in running:
                child.process.wait()


class _Child:
    """A job's process."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job, self.began = job, time.monotonic()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slc_agents.cli.child", *job.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                **_OWN_GROUP,
            )

    def stop(self, times: int) -> None:
        """Passes Ctrl-C on, for that many-th time."""
        if times == 1:
            self.close()
        elif times == 2 and os.name == "posix":
            self.process.send_signal(signal.SIGINT)
        else:
            self.process.kill()

    def close(self) -> None:
        """Closes the pipe, at whose end it ends too."""
        if self.process.stdin is not None:
            self.process.stdin.close()


# A terminal sends Ctrl-C to a whole group of processes: children in one of their own hear of it from here alone.
_OWN_GROUP: dict[str, Any] = (
    {"process_group": 0}
    if os.name == "posix"
    else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
)


class _Interrupts:
    """Counts Ctrl-C while it is entered, so that none comes between the start of a process and its being known."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: Callable[..., Any] | int | None = None

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only. Who ignores Ctrl-C, or handles it otherwise, goes on so.
        self._is_ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._is_ours:
            signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _count(self, number: int, frame: Any) -> None:
        self.count += 1
