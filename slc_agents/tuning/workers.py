"""Trials in processes of their own, so that several train at once. They know nothing of the study."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import cloudpickle

from slc_agents.errors import SlcAgentsError
from slc_agents.tuning.training import Outcome, TrialPlan, run_trial

__all__ = ["Evaluation", "Worker", "WorkerError"]

Evaluation: TypeAlias = "tuple[int, float]"  # its number, and the mean return


class WorkerError(SlcAgentsError, RuntimeError):
    """A trial's process has died, or raised an error that doesn't survive the way between processes."""


class Worker:
    """A process that runs one trial.

    Args:
        plan: What to do.
        threads: What OMP_NUM_THREADS is in it.

    Attributes:
        connection: Has something to `receive` when it is ready.
    """

    def __init__(self, plan: TrialPlan, threads: str) -> None:
        # Not forked: torch's threads, and a GPU, don't survive that.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # cloudpickle, as for gymnasium's own processes: a factory may be a lambda.
        self.process = context.Process(target=_work, args=(cloudpickle.dumps(plan), theirs), name="a trial")
        with _deaf_to_interrupts(), _environment("OMP_NUM_THREADS", threads):
            self.process.start()
        theirs.close()  # so that the process's end is the end of the connection

    def receive(self) -> Evaluation | Outcome:
        """Returns what the process has sent: an evaluation, which needs an `answer`, or at its end the outcome.

        Raises:
            WorkerError: If the process has died.
            Exception: What was raised in it.
        """
        try:
            message: Any = self.connection.recv()
        except EOFError:
            self.process.join()
            raise WorkerError(
                f"the trial's process has ended with exit code {self.process.exitcode}: -9 is how the system ends one "
                "for lack of memory"
            ) from None
        if isinstance(message, _Failure):
            raise message.error from WorkerError(f"in the trial's process:\n{message.traceback}")
        received: Evaluation | Outcome = message
        return received

    def answer(self, go_on: bool) -> None:
        """Tells the process whether to go on after an evaluation."""
        with suppress(OSError):  # it may have died since; `receive` will say so
            self.connection.send(go_on)

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self.process.terminate()
        self.process.join()
        self.process.close()
        self.connection.close()


@dataclass(frozen=True)
class _Failure:
    """What a process sends of an error."""

    error: Exception
    traceback: str


def _work(pickled_plan: bytes, connection: Connection) -> None:
    """Runs a trial, in its process."""

    def report(number: int, mean: float) -> bool:
        connection.send((number, mean))
        return bool(connection.recv())

    try:
        message: Outcome | _Failure = run_trial(cloudpickle.loads(pickled_plan), report)
    except EOFError:  # nobody is interested any more: the searching process was killed
        return
    except Exception as error:
        message = _Failure(_portable(error), traceback.format_exc())
    connection.send(message)


def _portable(error: Exception) -> Exception:
    """Returns an error that can go to another process: this one, where it can."""
    try:
        pickle.dumps(copy.deepcopy(error))  # the copy is made as the other process would make it
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Starts processes that ignore Ctrl-C, which a terminal sends to all of them: who started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets a variable of the environment for processes that are started inside."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
