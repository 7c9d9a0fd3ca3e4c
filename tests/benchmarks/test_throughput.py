"""The command line of the throughput benchmark, and the tables it makes of given times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import harness, throughput
from benchmarks.libraries import Setting


class FakeWorker:
    """Takes longer for larger batches."""

    def __init__(self, library: harness.Library, setting: Setting) -> None:
        self.seconds = (2.0 if library.label == "ours" else 6.0) * setting.batch_size

        self.measures = throughput.MEASURES[: 2 if library.name == "torch" else None]

    def time(self, measure: str, n: int) -> float:
        assert measure in self.measures
        return self.seconds

    def ask(self, what: str) -> list[str]:
        assert what == "measures"
        return [*self.measures]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """The settings for which workers are started, all of them fakes."""
    started: list[Setting] = []

    @contextmanager
    def workers(
        libraries: Sequence[harness.Library], program: str, setting: Setting
    ) -> Iterator[dict[str, FakeWorker]]:
        assert program == "throughput"
        started.append(setting)
        yield {library.label: FakeWorker(library, setting) for library in libraries}

    monkeypatch.setattr(harness, "workers", workers)
    monkeypatch.setattr(harness, "probe", lambda library: None if library.label == "SBX" else {library.name: "1.0"})
    return started


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["throughput", *arguments])
    throughput.main()


def test_by_default_it_is_one_setting(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch)
    assert settings == [Setting(threads=2)]
    output = capsys.readouterr().out
    assert "SBX is left out" in output
    rows = [line for line in output.splitlines() if line.startswith(throughput.MEASURES)]
    assert len(rows) == len(throughput.MEASURES)
    assert all(row.endswith("512.00 s   1536.00 s         3.00") for row in rows)


def test_on_a_gpu_the_peers_are_others_and_some_can_do_less(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--device", "cuda", "--only", "gradient step, 1", "learn")
    assert settings == [Setting(threads=2, device="cuda")]
    lines = capsys.readouterr().out.splitlines()
    header, updates, learn = lines[-3:]
    assert header.split("   ")[-1].strip() == "torch compiled graphs / ours"
    assert updates.split()[-3:] == ["3.00", "3.00", "3.00"]
    assert learn.split() == ["learn(),", "per", "step", "512.00", "s", "1536.00", "s", "3.00"]


def test_several_values_are_swept_and_written(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    run(
        monkeypatch,
        *("--batch-sizes", "256", "1024", "--hidden", "256", "256", "--hidden", "64", "--threads", "1"),
        *("--only", "learn", "--rounds", "2", "--json", str(file)),
    )
    base = Setting(threads=1)
    assert settings == [base, Setting(threads=1, batch_size=1024), Setting(threads=1, hidden=(64,))]
    output = capsys.readouterr().out
    growth = output.split("by batch_size")[1].split("by hidden")[0].splitlines()
    assert growth[1].split() == ["256", "1024"]
    assert growth[2] == "learn(), per step, ours    512.00 s (1.00)   2048.00 s (4.00)"
    assert "predict" not in output
    written = json.loads(file.read_text())
    assert written["versions"] == {"ours": {"slc_agents": "1.0"}, "SB3": {"stable_baselines3": "1.0"}}
    assert [result["setting"]["batch_size"] for result in written["results"]] == [256, 1024, 256]
    assert written["results"][1]["seconds"] == {"learn(), per step": {"ours": [2048.0] * 2, "SB3": [6144.0] * 2}}


def test_all_is_every_value_with_every_other(settings: list[Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--batch-sizes", "8", "16", "--n-envs", "1", "4", "--all", "--rounds", "1")
    assert [(setting.batch_size, setting.n_envs) for setting in settings] == [(8, 1), (8, 4), (16, 1), (16, 4)]


def test_the_standard_sweep_covers_every_setting_around_what_is_given(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "--sweep", "--env-ids", "Pendulum-v1", "--rounds", "1")
    base = settings[0]
    assert base == Setting("Pendulum-v1", threads=2)
    assert {setting.env_id for setting in settings} == {"Pendulum-v1"}
    for name in ("threads", "batch_size", "n_envs", "hidden", "n_critics", "replay_size"):
        assert len({getattr(setting, name) for setting in settings}) > 1
    assert all(
        sum(getattr(setting, name) != getattr(base, name) for name in throughput.SWEEP) == 1 for setting in settings[1:]
    )


def test_the_tensorflow_agents_are_measured_where_it_is_asked_for(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--tf2", "--only", "learn", "--rounds", "1")
    assert "ours / ours tf2" in capsys.readouterr().out


def test_a_measure_that_does_not_exist_is_refused(settings: list[Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no such measure"):
        run(monkeypatch, "--only", "flying")


def test_ours_is_measured_in_each_precision(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--precisions", "float32", "bfloat16", "--rounds", "1")
    assert "ours / ours bfloat16" in capsys.readouterr().out
