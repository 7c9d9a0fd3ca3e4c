"""Commands as child processes: how they end, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from slc_agents.cli import processes
from slc_agents.cli.processes import Job, run_jobs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are shell scripts")


class Diary:
    """Writes down what happens."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.events: list[tuple[object, ...]] = []
        self.looks, self.interrupt_at = 0, interrupt_at

    def began(self, key: int) -> None:
        self.events.append(("began", key))

    def ended(self, key: int, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.events.append(("ended", key, code))

    def stopping(self, times: int) -> None:
        self.events.append(("stopping", times))

    def look(self) -> None:
        self.looks += 1
        if self.looks == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter is a shell that runs the job's first argument."""
    script = tmp_path / "interpreter"
    script.write_text('#!/bin/sh\nshift 2\neval "$1"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)


def job(tmp_path: Path, key: int, script: str) -> Job:
    return Job(key, [script], tmp_path / str(key) / "log.txt")


@pytest.mark.usefixtures("shell")
def test_a_few_run_at_once_and_the_others_wait(tmp_path: Path) -> None:
    diary = Diary()
    jobs = [job(tmp_path, key, f"echo $OMP_NUM_THREADS; echo oh >&2; sleep 0.05; exit {key}") for key in range(3)]
    (tmp_path / "2").mkdir()
    (tmp_path / "2/log.txt").write_text("before\n")
    assert run_jobs(jobs, 2, {"OMP_NUM_THREADS": "7"}, diary) is False
    assert diary.events[:2] == [("began", 0), ("began", 1)]
    assert sorted(diary.events, key=str) == [
        *(("began", key) for key in range(3)),
        *(("ended", key, key) for key in range(3)),
    ]
    assert diary.events.index(("began", 2)) > min(diary.events.index(("ended", key, key)) for key in (0, 1))
    assert (tmp_path / "1/log.txt").read_text() == "7\noh\n"
    assert (tmp_path / "2/log.txt").read_text() == "before\n7\noh\n"


@pytest.mark.usefixtures("shell")
def test_ctrl_c_closes_the_pipes_and_begins_no_more(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    diary = Diary(interrupt_at=2)
    jobs = [job(tmp_path, key, "cat; exit 130") for key in range(3)]
    assert run_jobs(jobs, 2, {}, diary) is True
    assert diary.events[:3] == [("began", 0), ("began", 1), ("stopping", 1)]
    assert sorted(diary.events[3:]) == [("ended", 0, 130), ("ended", 1, 130)]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("shell")
def test_who_does_not_listen_is_told_again_and_then_killed(tmp_path: Path) -> None:
    class Impatient(Diary):
        def look(self) -> None:
            signal.raise_signal(signal.SIGINT)

    diary = Impatient()
    deaf = job(tmp_path, 0, "trap '' INT; while true; do sleep 0.02; done")
    assert run_jobs([deaf], 1, {}, diary) is True
    assert [event for event in diary.events if event[0] == "stopping"][:3] == [("stopping", n) for n in (1, 2, 3)]
    assert diary.events[-1] == ("ended", 0, -signal.SIGKILL)


@pytest.mark.usefixtures("shell")
def test_none_outlives_an_error_of_the_watcher(tmp_path: Path) -> None:
    class Broken(Diary):
        def look(self) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_jobs([job(tmp_path, 0, "cat; echo ended")], 1, {}, Broken())
    assert (tmp_path / "0/log.txt").read_text() == "ended\n"


def test_a_child_hears_the_end_of_its_input() -> None:
    """As Ctrl-C, even where it was started to ignore that."""
    code = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from slc_agents.cli.child import interrupt_at_end_of_input\n"
        "try:\n    interrupt_at_end_of_input(); print('waits', flush=True); time.sleep(30)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "waits\n"
        began = time.monotonic()
        process.stdin.close()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < 20


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def look() -> None:
        with processes._Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
