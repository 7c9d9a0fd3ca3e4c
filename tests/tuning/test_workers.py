"""Trials in processes of their own. What a process does is also run in a thread here, where that is enough."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import pytest

from slc_agents import SAC
from slc_agents.errors import UnsupportedSpaceError
from slc_agents.tuning import Tuner, WorkerError, study, workers
from slc_agents.tuning.training import Outcome, TrialPlan
from slc_agents.tuning.workers import Worker

PLAN = TrialPlan("sac", "Pendulum-v1", "MlpPolicy", {}, (1,), 100, 4, 1)


@contextmanager
def at_work(monkeypatch: pytest.MonkeyPatch, run_trial: Callable[..., Any]) -> Iterator[tuple[Worker, Connection]]:
    """A worker whose process is a thread that does `run_trial`."""
    monkeypatch.setattr(workers, "run_trial", run_trial)
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=workers._work, args=(cloudpickle.dumps(PLAN), theirs))
    worker = Worker.__new__(Worker)
    worker.connection = ours
    thread.start()
    try:
        yield worker, theirs
    finally:
        ours.close()
        thread.join()
        theirs.close()


def test_evaluations_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []

    def run_trial(plan: TrialPlan, report: Any) -> Outcome:
        assert plan == PLAN
        answers.extend([report(1, -3.5), report(2, -2.0)])
        return Outcome("stopped", reason="not promising")

    with at_work(monkeypatch, run_trial) as (worker, _):
        assert worker.receive() == (1, -3.5)
        worker.answer(True)
        assert worker.receive() == (2, -2.0)
        worker.answer(False)
        assert worker.receive() == Outcome("stopped", reason="not promising")
    assert answers == [True, False]


class Picky(Exception):  # noqa: N818
    """Can't be made again of its message."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize(
    ("error", "received", "message"),
    [
        (UnsupportedSpaceError("no such space"), UnsupportedSpaceError, "^no such space$"),
        (Picky(1, 2), WorkerError, "^Picky: 1 and 2$"),
    ],
)
def test_errors_arrive(
    monkeypatch: pytest.MonkeyPatch, error: Exception, received: type[Exception], message: str
) -> None:
    def run_trial(plan: TrialPlan, report: Any) -> Outcome:
        raise error

    with at_work(monkeypatch, run_trial) as (worker, _), pytest.raises(received, match=message) as raised:
        worker.receive()
    assert "in run_trial" in str(raised.value.__cause__)


def test_a_process_whose_search_was_killed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(plan: TrialPlan, report: Any) -> Outcome:
        report(1, 0.0)
        raise AssertionError("goes on, though nobody is there")

    with at_work(monkeypatch, run_trial) as (worker, _):
        assert worker.receive() == (1, 0.0)
        worker.connection.close()


def test_threads_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(study, "Worker", lambda plan, threads: received.append(threads))
    for compute_kwargs, jobs in (({"num_threads": 3}, 8), ({}, 10**6)):
        one = tuner(compute_kwargs=compute_kwargs)
        study.Search(one.study, one.space, one._units, one._plan, seed=0, seeds_per_trial=1, after_trial=[])._start(
            jobs
        )
    assert received == ["3", "1"]


@pytest.mark.parametrize("before", [None, "7"])
def test_a_variable_is_set_for_processes_alone(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    with workers._environment("OMP_NUM_THREADS", "3"):
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ.get("OMP_NUM_THREADS") == before


def tuner(**options: Any) -> Tuner:
    values: dict[str, Any] = {
        "policy_kwargs": {"hidden_sizes": [4]},
        "timesteps": 60,
        "evaluations": 2,
        "eval_episodes": 1,
        "update_after": 20,
        "update_every": 20,
        "batch_size": 4,
        "seed": 0,
        "space": {"lr_a": {"low": 1e-5, "high": 1e-2}},
    }
    return Tuner("sac", "Pendulum-v1", **{**values, **options})


@pytest.mark.slow
def test_two_at_once() -> None:
    make = SAC("MlpPolicy", "Pendulum-v1").env.envs[0].spec.make  # type: ignore[union-attr]
    result = tuner(env=lambda: make(disable_env_checker=True)).run(2, jobs=2)
    assert result.counts() == {"complete": 2}
    starts = sorted(trial.datetime_start for trial in result.study.trials)
    assert starts[1] < min(trial.datetime_complete for trial in result.study.trials)
    # A trial computes the same, wherever it does.
    here = tuner().run(1)
    assert here.study.trials[0].intermediate_values == result.study.trials[0].intermediate_values


@pytest.mark.slow
def test_a_process_that_dies() -> None:
    def make() -> Any:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return SAC("MlpPolicy", "Pendulum-v1").env.envs[0]  # type: ignore[union-attr]

    search = tuner(env=make)
    with pytest.raises(WorkerError, match="exit code -9"):
        search.run(4, jobs=2)
    assert {trial.state.name for trial in search.study.trials} == {"FAIL"}


@pytest.mark.slow
def test_ctrl_c_ends_the_processes() -> None:
    search = tuner(timesteps=10**9)
    main_thread = threading.main_thread().ident
    timer = threading.Timer(8, signal.pthread_kill, [main_thread, signal.SIGINT])
    timer.start()
    began = time.monotonic()
    result = search.run(4, jobs=2)
    assert result.interrupted
    assert result.counts() == {"broken off": 2}
    assert time.monotonic() - began < 30
    assert multiprocessing.active_children() == []
