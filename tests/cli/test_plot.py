"""`slc-agents plot`, and the curves behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slc_agents.cli import curves
from slc_agents.cli.curves import confidence_interval
from slc_agents.drawing import Curve
from slc_agents.logger import CsvSink
from slc_agents.persistence import write_archive

Command = Callable[..., Any]
STEPS = [1000, 2000, 3000]


def make_run(
    name: str,
    returns: list[float],
    *,
    seed: int = 0,
    env: str = "Pendulum-v1",
    column: str = "eval/mean_reward",
    steps: list[int] | None = None,
    **settings: Any,
) -> Path:
    folder = Path(name)
    sink = CsvSink(folder / "progress.csv")
    for step, value in zip(steps or STEPS, returns, strict=True):
        sink.write({"time/total_timesteps": step, "time/epoch": step // 1000, column: value, "note": "text"}, step)
    config = {"seed": seed, "gamma": 0.99, "logger_kwargs": {"output_dir": name}, **settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_archive(folder / "agent.zip", {"class": "SAC", "env_id": env}, tensors={"x": np.zeros(1, np.float32)})
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was drawn; the figures are made all the same."""
    figures: list[dict[str, Any]] = []
    draw = curves._draw

    def spy(lines: list[Curve], out: Path, title: str, x_label: str, y_label: str) -> None:
        figures.append({"curves": lines, "title": title, "x": x_label, "y": y_label})
        draw(lines, out, title, x_label, y_label)

    monkeypatch.setattr(curves, "_draw", spy)
    return figures


def test_one_run_is_drawn_as_train_draws_it(command: Command, small_run: Path, drawn: list[dict[str, Any]]) -> None:
    (small_run / "learning_curve.png").unlink()
    assert command("plot", small_run) == (0, "figure: small/learning_curve.png\n", "")
    assert (small_run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    assert (figure["title"], figure["x"], figure["y"]) == ("SAC on Pendulum-v1, seed 1", "environment steps", "return")
    training, test = figure["curves"]
    np.testing.assert_array_equal(test.x, [100, 200, 300])
    np.testing.assert_array_equal(training.x, [200, 300])  # no episode had ended in the first epoch
    assert (test.low <= test.y).all()


def test_seeds_become_a_mean_with_an_interval(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a1", [1, 2, 3], seed=1)
    make_run("a2", [2, 4, 9], seed=2)
    make_run("a3", [3, 6, 15], seed=3)
    make_run("b1", [0, 0, 0], seed=1, gamma=0.5)
    code, out, err = command("plot", "a1", "a2", "a3", "b1", "--out", "sub/figure.svg")
    assert (code, out, err) == (0, "figure: sub/figure.svg\n", "")
    assert Path("sub/figure.svg").read_text().startswith("<?xml")
    (figure,) = drawn
    seeds, alone = figure["curves"]
    assert seeds.label == "gamma=0.99: mean of 3 runs, 95% interval (t)"
    np.testing.assert_array_equal(seeds.x, STEPS)
    np.testing.assert_allclose(seeds.y, [2, 4, 9])
    half = 4.303 * np.array([1, 2, 6]) / np.sqrt(3)
    np.testing.assert_allclose(seeds.high - seeds.y, half)
    np.testing.assert_allclose(seeds.y - seeds.low, half)
    assert alone.label == "b1"
    assert alone.low is None
    assert (figure["title"], figure["y"]) == ("SAC on Pendulum-v1", "mean return of test episodes")


def test_other_environments_are_not_averaged(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1)
    make_run("b", [1, 2, 3], seed=2, env="Other-v1")
    (make_run("c", [1, 2, 3], seed=1) / "agent.zip").unlink()
    (make_run("d", [1, 2, 3], seed=2) / "config.yaml").unlink()
    assert command("plot", "a", "b", "c", "d", "a").code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == ["a", "b", "c", "d"]
    assert drawn[0]["title"] == "Learning curves"
    assert Path("learning_curve.png").exists()


def test_two_tasks_are_told_apart(command: Command, drawn: list[dict[str, Any]]) -> None:
    runs = [make_run(f"{env}{seed}", [1, 2, 3], seed=seed, env=env) for env in ("A-v1", "B-v1") for seed in (1, 2)]
    assert command("plot", *runs).code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == [
        f"SAC on {env}: mean of 2 runs, 95% interval (t)" for env in ("A-v1", "B-v1")
    ]


def test_an_interrupted_run_shortens_the_mean(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1)
    make_run("b", [3, 4], seed=2, steps=STEPS[:2])
    assert command("plot", "a", "b").code == 0
    np.testing.assert_array_equal(drawn[0]["curves"][0].x, STEPS[:2])
    assert drawn[0]["curves"][0].label == "mean of 2 runs, 95% interval (t)"
    np.testing.assert_allclose(drawn[0]["curves"][0].y, [2, 3])


def test_training_returns_stand_in_for_tests(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1, column="rollout/ep_rew_mean", opt_type="minimize")
    assert command("plot", "a").code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == ["training: mean of the last 100 episodes"]
    assert drawn[0]["y"] == "cost"
    make_run("b", [5, 5, 5], seed=2, column="rollout/ep_rew_mean", opt_type="minimize")
    assert command("plot", "a", "b", "--x", "time/epoch").code == 0
    assert (drawn[1]["x"], drawn[1]["y"]) == ("epoch", "mean cost of the last 100 episodes")
    np.testing.assert_allclose(drawn[1]["curves"][0].y, [3, 3.5, 4])


def test_a_column_that_is_not_there(command: Command) -> None:
    make_run("a", [1, 2, 3])
    for option in ("--x", "--y"):
        code, out, err = command("plot", "a", option, "eval/mean_return")
        assert (code, out) == (1, "")
        assert err == (
            "error: a: its log has no column 'eval/mean_return'; it has time/total_timesteps, time/epoch, "
            "eval/mean_reward\n"
        )
    make_run("b", [float("nan")] * 3)
    assert "no row with both" in command("plot", "b").err


def test_without_matplotlib(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("a", [1, 2, 3])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = command("plot", "a")
    assert (code, out) == (1, "")
    assert "pip install 'slc-agents[plot]'" in err


@pytest.mark.parametrize(
    ("n", "quantile"), [(2, 12.7062), (5, 2.7764), (11, 2.2281), (12, 2.2010), (31, 2.0423), (101, 1.9840)]
)
def test_the_interval_is_students(n: int, quantile: float) -> None:
    values = np.random.default_rng(0).normal(size=(n, 2))
    low, high = confidence_interval(values)
    expected = quantile * values.std(axis=0, ddof=1) / np.sqrt(n)
    np.testing.assert_allclose((high - low) / 2, expected, rtol=2e-3)
    np.testing.assert_allclose((high + low) / 2, values.mean(axis=0))
