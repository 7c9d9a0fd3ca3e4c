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
from slc_agents.cli.multi_seed import MultiSeedPlan
from slc_agents.drawing import Curve
from slc_agents.intervals import confidence_interval
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
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked to be drawn; the figures are made all the same."""
    figures: list[dict[str, Any]] = []
    draw = curves.draw_curves

    def spy(lines: list[Curve], title: str, x_label: str, y_label: str, *, legend_title: str | None = None) -> Any:
        figures.append({"curves": lines, "title": title, "x": x_label, "y": y_label, "legend": legend_title})
        return draw(lines, title, x_label, y_label, legend_title=legend_title)

    monkeypatch.setattr(curves, "draw_curves", spy)
    return figures


@pytest.fixture
def drawn(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked to be drawn; the files are not, which takes most of the time."""
    monkeypatch.setattr(curves, "save_figure", lambda figure, out: None)
    return asked


def make_seeds(name: str, returns: list[list[float]], **options: Any) -> Path:
    folders = {
        seed: make_run(f"{name}/seed-{seed}", values, seed=seed, **options) for seed, values in enumerate(returns)
    }
    MultiSeedPlan({seed: folder.name for seed, folder in folders.items()}, 1, "1").write(Path(name))
    return Path(name)


def test_one_run_is_drawn_as_train_draws_it(command: Command, small_run: Path, asked: list[dict[str, Any]]) -> None:
    (small_run / "learning_curve.png").unlink()
    assert command("plot", small_run) == (0, "figure: small/learning_curve.png\n", "")
    assert (small_run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = asked
    assert (figure["title"], figure["x"], figure["y"]) == ("SAC on Pendulum-v1, seed 1", "environment steps", "return")
    training, test = figure["curves"]
    np.testing.assert_array_equal(test.x, [100, 200, 300])
    np.testing.assert_array_equal(training.x, [200, 300])  # no episode had ended in the first epoch
    assert (test.low <= test.y).all()


def test_seeds_become_a_mean_with_an_interval(command: Command, asked: list[dict[str, Any]]) -> None:
    make_run("a1", [1, 2, 3], seed=1)
    make_run("a2", [2, 4, 9], seed=2)
    make_run("a3", [3, 6, 15], seed=3)
    make_run("b1", [0, 0, 0], seed=1, gamma=0.5)
    code, out, err = command("plot", "a1", "a2", "a3", "b1", "--out", "sub/figure.svg")
    assert (code, out, err) == (0, "figure: sub/figure.svg\n", "")
    assert Path("sub/figure.svg").read_text().startswith("<?xml")
    (figure,) = asked
    seeds, alone = figure["curves"]
    assert seeds.label == "gamma=0.99 (3 runs)"
    assert figure["legend"] == "mean, and its 95% interval (t)"
    np.testing.assert_array_equal(seeds.x, STEPS)
    np.testing.assert_allclose(seeds.y, [2, 4, 9])
    half = 4.303 * np.array([1, 2, 6]) / np.sqrt(3)
    np.testing.assert_allclose(seeds.high - seeds.y, half)
    np.testing.assert_allclose(seeds.y - seeds.low, half)
    assert alone.label == "b1: gamma=0.5"
    assert alone.low is None
    assert (figure["title"], figure["y"]) == ("SAC on Pendulum-v1", "mean return of test episodes")


def test_other_environments_are_not_averaged(command: Command, asked: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1)
    make_run("b", [1, 2, 3], seed=2, env="Other-v1")
    (make_run("c", [1, 2, 3], seed=1) / "agent.zip").unlink()
    (make_run("d", [1, 2, 3], seed=2) / "config.yaml").unlink()
    assert command("plot", "a", "b", "c", "d", "a").code == 0
    assert [curve.label for curve in asked[0]["curves"]] == ["a: SAC on Pendulum-v1", "b: SAC on Other-v1", "c", "d"]
    assert (asked[0]["title"], asked[0]["legend"]) == ("Learning curves", None)
    assert Path("learning_curve.png").exists()


def test_two_tasks_are_told_apart(command: Command, drawn: list[dict[str, Any]]) -> None:
    runs = [make_run(f"{env}{seed}", [1, 2, 3], seed=seed, env=env) for env in ("A-v1", "B-v1") for seed in (1, 2)]
    assert command("plot", *runs).code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == [f"SAC on {env} (2 runs)" for env in ("A-v1", "B-v1")]


def test_an_interrupted_run_shortens_the_mean(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1)
    make_run("b", [3, 4], seed=2, steps=STEPS[:2])
    assert command("plot", "a", "b").code == 0
    *runs, mean = drawn[0]["curves"]
    assert [(run.label, run.faint, len(run.x)) for run in runs] == [("each run", True, 3), ("", True, 2)]
    np.testing.assert_array_equal(mean.x, STEPS[:2])
    assert mean.label == "mean of 2 runs"
    np.testing.assert_allclose(mean.y, [2, 3])


def test_training_returns_stand_in_for_tests(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3], seed=1, column="rollout/ep_rew_mean", opt_type="minimize")
    assert command("plot", "a").code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == ["training: mean of the last 100 episodes"]
    assert drawn[0]["y"] == "cost"
    make_run("b", [5, 5, 5], seed=2, column="rollout/ep_rew_mean", opt_type="minimize")
    assert command("plot", "a", "b", "--x", "time/epoch").code == 0
    assert (drawn[1]["x"], drawn[1]["y"]) == ("epoch", "mean cost of the last 100 episodes")
    np.testing.assert_allclose(drawn[1]["curves"][-1].y, [3, 3.5, 4])


def test_a_folder_of_seeds_is_a_curve(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_seeds("base", [[1, 2, 3], [3, 4, 5]])
    make_seeds("again", [[5, 5, 5], [7, 7, 7]])
    make_seeds("sac-X-seeds-20261125-120000", [[0, 0, 0]], gamma=0.5, policy_kwargs={"n_critics": 3})
    make_run("lone", [9, 9, 9])
    assert command("plot", "base") == (0, "figure: base/learning_curve.png\n", "")
    assert [curve.label for curve in drawn[0]["curves"]] == ["each run", "", "base (2 runs)"]
    np.testing.assert_allclose(drawn[0]["curves"][-1].y, [2, 3, 4])
    # With the same settings, but each its own: what differs may be the code.
    assert command("plot", "lone", "base", "again", "sac-X-seeds-20261125-120000").code == 0
    labels = ["lone", "base (2 runs)", "again (2 runs)", "gamma=0.5, n_critics=3"]
    assert [curve.label for curve in drawn[1]["curves"]] == labels
    np.testing.assert_allclose(drawn[1]["curves"][2].y, [6, 6, 6])


@pytest.mark.filterwarnings("default")
def test_seeds_without_a_log_are_left_out(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_seeds("x", [[1, 2, 3], [3, 4, 5], [0, 0, 0]])
    Path("x/seed-1/progress.csv").unlink()
    code, _, err = command("plot", "x")
    assert (code, err) == (0, "warning: x: left out, since it has no log yet: seed 1\n")
    np.testing.assert_allclose(drawn[0]["curves"][-1].y, [0.5, 1, 1.5])
    for seed in (0, 2):
        Path(f"x/seed-{seed}/progress.csv").unlink()
    assert "no seed has finished its first epoch" in command("plot", "x").err


def test_labels(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [1, 2, 3])
    make_run("b", [1, 2, 3], gamma=0.5)
    assert command("plot", "a", "b", "--label", "one", "--label", r"$\gamma = 0.5$").code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == ["one", r"$\gamma = 0.5$"]
    code, _, err = command("plot", "a", "b", "--label", "one")
    assert (code, err) == (1, "error: 1 labels for 2 curves, which are: a: gamma=0.99; b: gamma=0.5\n")


def test_labels_are_never_alike_and_never_long(command: Command, drawn: list[dict[str, Any]]) -> None:
    (Path("x") / "y").mkdir(parents=True)
    make_run("x/run", [1, 2, 3])
    make_run("x/y/run", [1, 2, 3], env="B-v1")
    make_run("c$d_", [1, 2, 3], env="B-v1", policy_kwargs={"hidden_sizes": [64] * 20}, alpha=0.5)
    for name in ("x/run", "x/y/run"):
        (Path(name) / "agent.zip").unlink()
    assert command("plot", "x/run", "x/y/run", "c$d_").code == 0
    assert [curve.label for curve in drawn[0]["curves"]] == ["run [x/run]", "run [x/y/run]", r"c\$d_: SAC on B-v1"]
    make_run("e", [1, 2, 3], env="B-v1", policy_kwargs={"hidden_sizes": [64] * 20}, alpha=0.25)
    make_run("f", [1, 2, 3], env="B-v1", alpha=0.75)
    assert command("plot", "e", "f").code == 0
    assert [curve.label for curve in drawn[1]["curves"]] == ["e: alpha=0.25, ...", "f: alpha=0.75"]


def test_smoothing_averages_neighbours(command: Command, drawn: list[dict[str, Any]]) -> None:
    make_run("a", [0, 6, 3])
    make_run("b", [0, 0, 9], seed=1)
    assert command("plot", "a", "--smooth", 3).code == 0
    (curve,) = drawn[0]["curves"]
    np.testing.assert_allclose(curve.y, [3, 3, 4.5])
    assert drawn[0]["y"] == "return, mean of 3 rows"
    assert command("plot", "a", "b", "--smooth", 2).code == 0
    np.testing.assert_allclose(drawn[1]["curves"][-1].y, [(3 + 0) / 2, (4.5 + 4.5) / 2, (3 + 9) / 2])
    assert drawn[1]["y"] == "mean return of test episodes, mean of 2 rows"


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


def test_the_file_that_is_named_is_the_one_written(command: Command) -> None:
    make_run("a", [1, 2, 3])
    assert command("plot", "a", "--out", "folder/figure") == (0, "figure: folder/figure.png\n", "")
    assert Path("folder/figure.png").read_bytes().startswith(b"\x89PNG")
    for name in ("plot", "report"):
        code, out, err = command(name, "a", "--out", "folder")
        assert (code, out) == (2, "")
        assert "--out: folder: is a folder; the path of a file is needed" in err
    assert not list(Path().glob(".folder*"))
