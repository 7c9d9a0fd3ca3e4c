"""What a worker answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.libraries import LIBRARIES, Setting
from benchmarks.workers import Peak, Program, latency, repeat, serve

ROOT = Path(__file__).parents[2]


def answers(program: Program, *requests: dict[str, object], clock: Iterator[float] | None = None) -> list[object]:
    output = io.StringIO()
    serve(program, [json.dumps(request) for request in requests], output, (clock or iter(())).__next__)
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_it_is_ready_first() -> None:
    assert answers(Program()) == ["ready"]


def test_a_time_is_that_of_one_and_counts_what_was_done() -> None:
    done: list[int] = []

    def measure(n: int) -> int:
        done.append(n)
        return 2 * n

    found = answers(Program({"x": measure}), {"time": "x", "n": 5}, clock=iter([100.0, 130.0]))
    assert found == ["ready", 3.0]
    assert done == [5]


def test_a_long_timing_has_an_untimed_beginning() -> None:
    calls: list[int | str] = []
    program = Program({"x": lambda n: calls.append(n) or n})  # type: ignore[func-returns-value]

    def clock() -> Iterator[float]:
        for now in (0.0, 4.0):
            calls.append("clock")
            yield now

    assert answers(program, {"time": "x", "n": 40}, clock=clock()) == ["ready", 0.1]
    assert calls == [4, "clock", 40, "clock"]


def test_a_question_is_answered() -> None:
    assert answers(Program(asked={"size": lambda: {"a": 1}}), {"ask": "size"}) == ["ready", {"a": 1}]


@pytest.mark.parametrize(("n", "each", "calls"), [(3, 1, 3), (1, 50, 1), (50, 50, 1), (51, 50, 2)])
def test_calls_that_do_several_are_counted_as_several(n: int, each: int, calls: int) -> None:
    made: list[None] = []
    assert repeat(lambda: made.append(None), each)(n) == calls * each
    assert len(made) == calls


def test_the_peak_of_memory_is_seen() -> None:
    with Peak() as peak:
        array = np.ones(40_000_000, np.uint8)
        for _ in range(20):
            array += 1
        del array
    assert peak.bytes > 30_000_000


def test_a_full_buffer_takes_what_it_reserves() -> None:
    """In a process of its own, whose memory nothing has used before.

    The buffer is large beside what filling it leaves in the allocator's hands, which has been 6 to 43 MB.
    """
    program = """
from benchmarks.libraries import LIBRARIES, Setting
from benchmarks.workers import memory
program = memory(LIBRARIES["slc_agents"](Setting("Humanoid-v5", replay_size=120_000), {}))
print(120_000 * program.asked["reserved"](), program.asked["resident"]())
"""
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    reserved, resident = map(float, output.split())
    assert reserved > 120_000_000
    assert 0.7 < resident / reserved < 1.5


@pytest.mark.slow
def test_each_export_of_ours_is_run() -> None:
    program = latency(LIBRARIES["slc_agents"](Setting("Pendulum-v1", replay_size=100), {}))
    assert list(program.timed) == ["predict", "TorchScript", "ONNX Runtime", "torch.export"]
    assert [measure(2) for measure in program.timed.values()] == [2, 2, 2, 2]
