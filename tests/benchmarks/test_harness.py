"""The order in which libraries are timed, the arithmetic of the tables, and what is left out. No time is asserted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.harness import Library, Worker
from benchmarks.libraries import Setting

PYTHON = Path(sys.executable)


class FakeWorker:
    """Says that everything takes so many seconds, the first calls more, and keeps what it was told."""

    def __init__(self, seconds: float, first: float = 0.0, calls: list[str] | None = None, label: str = "") -> None:
        self.seconds, self.first, self.label = seconds, first, label
        self.amounts: list[int] = []
        self.calls = [] if calls is None else calls

    def time(self, measure: str, n: int) -> float:
        self.amounts.append(n)
        self.calls.append(self.label)
        return self.seconds + (self.first if len(self.amounts) <= 2 else 0.0)


def test_the_ways_are_timed_in_turn_and_every_other_round_in_reverse() -> None:
    calls: list[str] = []

    def way(label: str) -> float:
        calls.append(label)
        return float(len(calls))

    times = harness.in_turn({label: lambda label=label: way(label) for label in "abc"}, rounds=3)  # type: ignore[misc]
    assert calls == list("abccbaabc")
    assert times == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


@pytest.mark.parametrize(("seconds", "amount"), [(0.001, 500), (0.25, 2), (3.0, 1)])
def test_an_amount_takes_about_the_time_asked_for(seconds: float, amount: int) -> None:
    assert harness.calibrate(FakeWorker(seconds), "x", 0.5) == amount


def test_what_is_compiled_in_the_first_calls_does_not_count() -> None:
    assert harness.calibrate(FakeWorker(0.001, first=30.0), "x", 0.5) == 500


def test_a_comparison_warms_up_first_and_gives_each_library_its_own_amount() -> None:
    calls: list[str] = []
    fast, slow = FakeWorker(0.001, 9.0, calls, "fast"), FakeWorker(0.01, 9.0, calls, "slow")
    times = harness.compare({"fast": fast, "slow": slow}, "x", rounds=2, seconds=0.1)
    assert times == {"fast": [0.001, 0.001], "slow": [0.01, 0.01]}
    assert calls[-4:] == ["fast", "slow", "slow", "fast"]
    assert fast.amounts[-2:] == [100, 100]
    assert slow.amounts[-2:] == [10, 10]


def test_ratios_are_those_within_a_round() -> None:
    assert harness.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_the_table_has_median_times_and_their_ratios() -> None:
    found = {"step": {"ours": [0.001, 0.002, 0.004], "SB3": [0.003, 0.004, 0.004], "SBX": [0.001, 0.001, 0.001]}}
    header, row = (line.split("   ") for line in harness.comparison(found).splitlines())
    assert [cell.strip() for cell in header if cell] == ["ours", "SB3", "SBX", "SB3 / ours", "SBX / ours"]
    cells = [cell.strip() for cell in row if cell]
    assert cells == ["step", "2.00 ms", "4.00 ms", "1.00 ms", "2.00 (1.00 to 3.00)", "0.50 (0.25 to 1.00)"]


def test_the_ratios_can_be_ours_over_theirs() -> None:
    text = harness.comparison({"size": {"ours": [1.0], "SB3": [4.0]}}, "{:.0f}".format, inverse=True)
    assert text.splitlines()[0].endswith("ours / SB3")
    assert text.splitlines()[1].split() == ["size", "1", "4", "0.25"]


def test_ours_may_stand_there_twice() -> None:
    found = {"step": {"ours": [2.0], "ours bfloat16": [1.0], "SB3": [6.0]}}
    header, row = harness.comparison(found).splitlines()
    assert [part.strip() for part in header.split("   ") if part.strip()][3:] == [
        "SB3 / ours",
        "ours / ours bfloat16",
        "SB3 / ours bfloat16",
    ]
    assert row.split()[-3:] == ["3.00", "2.00", "6.00"]


def test_ours_alone_is_a_table_too() -> None:
    assert harness.comparison({"step": {"ours": [1.0]}}).splitlines()[1].split() == ["step", "1.00", "s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.50 s"), (0.0025, "2.50 ms"), (0.000_012_34, "12.3 µs"), (0.001, "1.00 ms")]
)
def test_durations_have_the_unit_that_fits(seconds: float, text: str) -> None:
    assert harness.duration(seconds) == text


def test_a_range_of_one_value_is_none() -> None:
    assert harness.spread([2.0]) == "2.00"
    assert harness.spread([1.0, 3.0, 9.0]) == "3.00 (1.00 to 9.00)"


def test_columns_are_aligned() -> None:
    assert harness.table([["", "a"], ["name", "12"]]) == "        a\nname   12"


def test_a_sweep_changes_one_setting_at_a_time() -> None:
    assert harness.sweep({"a": [1, 2, 3], "b": ["x"], "c": [5, 6]}) == [
        {"a": 1, "b": "x", "c": 5},
        {"a": 2, "b": "x", "c": 5},
        {"a": 3, "b": "x", "c": 5},
        {"a": 1, "b": "x", "c": 6},
    ]


def test_a_whole_sweep_is_the_matrix() -> None:
    settings = harness.sweep({"a": [1, 2], "c": [5, 6]}, whole=True)
    assert settings == [{"a": 1, "c": 5}, {"a": 1, "c": 6}, {"a": 2, "c": 5}, {"a": 2, "c": 6}]


def test_what_is_missing_is_left_out_and_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    there = Library("ours", "slc_agents", PYTHON)
    no_module, no_python = Library("A", "no_such_module", PYTHON), Library("B", "json", tmp_path / "python")
    assert harness.installed([there, no_module, no_python]) == [there]
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("ours: ")
    assert "torch " in first
    assert second == f"A is left out: {PYTHON} has no no_such_module. `make peers` installs it"
    assert third == f"B is left out: {tmp_path / 'python'} has no json. `make peers` installs it"


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make peers"):
        harness.installed([Library("A", "no_such_module", PYTHON)])


def test_the_label_of_ours_says_what_it_is_set_to() -> None:
    assert harness.ours().label == "ours"
    assert harness.ours("bfloat16").label == "ours bfloat16"
    assert [harness.ours(name).extras for name in ("float32", "bfloat16")] == [
        {},
        {"compute_kwargs": {"precision": "bfloat16"}},
    ]


def test_a_worker_that_fails_shows_what_it_said() -> None:
    with (
        Worker("X", [sys.executable, "-c", "raise ValueError('no such environment')"]) as worker,
        pytest.raises(RuntimeError, match=r"(?s)X failed:.*no such environment"),
    ):
        worker.ready()


def test_a_worker_that_fails_later_shows_it_too() -> None:
    script = "print('\"ready\"', flush=True); raise ValueError('too late')"
    with Worker("X", [sys.executable, "-c", script]) as worker:
        worker.ready()
        worker.process.wait()
        with pytest.raises(RuntimeError, match="too late"):
            worker.time("anything", 1)


def test_a_worker_of_ours_answers() -> None:
    setting = Setting("Pendulum-v1", replay_size=10_000)
    with harness.workers([harness.ours()], "memory", setting) as workers:
        assert 20 < workers["ours"].ask("reserved") < 40
        assert os.sched_getaffinity(workers["ours"].process.pid) == {min(os.sched_getaffinity(0))}
        assert workers["ours"].process.poll() is None
    assert workers["ours"].process.poll() is not None


def test_more_threads_than_processors_are_refused() -> None:
    with pytest.raises(SystemExit, match="1000 threads"), harness.workers([], "memory", Setting(threads=1000)):
        pass


def test_the_head_tells_generations_of_processors_apart(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpu = "processor\t: {}\ncpu family\t: {}\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_bf16\n"
    cpuinfo.write_text(cpu.format(0, 26) + "\n" + cpu.format(1, 25))
    assert harness.machine(cpuinfo).startswith("AMD EPYC (cpu family 26, model 2; avx2 avx512_bf16), ")
