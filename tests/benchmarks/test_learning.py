"""The benchmark of learning: every program of the benchmarks can be imported, and small trainings are summed up."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import learning

PROGRAMS = sorted(path.stem for path in Path(learning.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_can_be_imported(program: str) -> None:
    assert importlib.import_module(f"benchmarks.{program}").__doc__


def test_trainings_are_done_once_and_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--total-timesteps", "60", "--eval-freq", "40", "--episodes", "3", "--seeds", "2"]
    plot = tmp_path / "curves.svg"
    monkeypatch.setattr(
        sys, "argv", ["learning", "Pendulum-v1", *options, "--results", str(tmp_path), "--plot", str(plot)]
    )
    learning.main()
    files = sorted(tmp_path.glob("*.json"))
    results = [json.loads(file.read_text()) for file in files]
    assert [result["seed"] for result in results] == [0, 1]
    assert all(result["timesteps"] == [40, 60] for result in results)
    assert [len(returns) for returns in results[0]["returns"]] == [5, 3]
    means = [np.mean(result["returns"][-1]) for result in results]
    assert f"mean over 2 seeds {np.mean(means):.1f}, " in capsys.readouterr().out
    assert "2 seeds" in plot.read_text()

    monkeypatch.setattr(learning.subprocess, "run", None)  # nothing is trained anew
    learning.main()
    assert f"mean over 2 seeds {np.mean(means):.1f}, " in capsys.readouterr().out


def test_a_training_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--total-timesteps", "60", "--seeds", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["learning", "Pendulum-v9", *options])
    with pytest.raises(SystemExit, match=r"slc_agents with seed 0 failed:[^$]*Pendulum"):
        learning.main()
    assert not [*tmp_path.iterdir()]
