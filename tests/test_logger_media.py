"""Tests of histograms and figures in the log: they reach the sinks that show them, with the next row, as recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from event_files import read_histograms, read_images, read_summaries
from hypothesis import given
from hypothesis import strategies as st
from media_sink import MediaSink, RowSink

import slc_agents.logger
from slc_agents.errors import MissingDependencyError
from slc_agents.logger import ConsoleSink, CsvSink, Logger, TensorBoardSink, WandbSink, make_logger
from slc_agents.logger.media import bin_values


def picture(value: int = 7) -> Any:
    return np.full((2, 4, 3), value, np.uint8)


# --- the logger -------------------------------------------------------------------------------------------------------


def test_both_go_out_after_the_next_row_once() -> None:
    plain, full = RowSink(), MediaSink()
    logger = Logger(sinks=[plain, full])
    logger.record_figure("f", picture())
    logger.record_histogram("h", [[1, 2], [3, 4]])
    logger.record("a", 1)
    assert full.received == []
    assert logger.dump(10) == {"a": 1}
    row, histogram, (key, image, step) = full.received
    assert (row, histogram) == (({"a": 1}, 10), ("h", [1.0, 2.0, 3.0, 4.0], 10))
    assert (key, step) == ("f", 10)
    assert image.tolist() == picture().tolist()
    logger.record("a", 2)
    logger.dump(20)
    assert full.received[3:] == [({"a": 2}, 20)]
    assert plain.received == [({"a": 1}, 10), ({"a": 2}, 20)]


def test_without_a_row_they_go_out_all_the_same() -> None:
    sink = MediaSink()
    logger = Logger(sinks=[sink])
    logger.record_histogram("h", [1.5])
    assert logger.dump(3) == {}
    assert sink.received == [("h", [1.5], 3)]


def test_the_last_call_wins_and_what_was_recorded_is_a_copy() -> None:
    sink = MediaSink()
    logger = Logger(sinks=[sink])
    values, image = np.array([1.0, 2.0]), picture()
    logger.record_histogram("h", [9.0])
    logger.record_histogram("h", values)
    logger.record_figure("f", picture(1))
    logger.record_figure("f", image)
    values[:], image[:] = 0.0, 0
    logger.dump(1)
    assert sink.received[0] == ("h", [1.0, 2.0], 1)
    assert (sink.received[1][1] == 7).all()
    assert len(sink.received) == 2


def test_they_are_no_part_of_the_state_of_a_resumed_run() -> None:
    logger = Logger(sinks=[MediaSink()])
    empty = logger.state_dict()
    logger.record_histogram("h", [1.0])
    logger.record_figure("f", picture())
    assert logger.state_dict() == empty


def test_csv_and_console_leave_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = make_logger(tmp_path, verbose=1)
    assert not logger.shows_figures
    assert not logger.shows_histograms
    logger.record_histogram("h", [1.0])
    logger.record_figure("f", picture())
    logger.record("a", 1)
    logger.dump(1)
    assert (tmp_path / "progress.csv").read_text() == "a\n1\n"
    shown = capsys.readouterr().out
    assert "a" in shown
    assert "h" not in shown


@pytest.mark.parametrize(
    ("kind", "expected"), [(CsvSink, False), (ConsoleSink, False), (TensorBoardSink, True), (WandbSink, True)]
)
def test_who_shows_them(kind: type, expected: bool) -> None:
    logger = Logger(sinks=[object.__new__(kind)])
    assert logger.shows_figures is expected
    assert logger.shows_histograms is expected


def test_values_that_are_not_finite_are_left_out_with_one_warning_for_each_key() -> None:
    sink = MediaSink()
    logger = Logger(sinks=[sink])
    with pytest.warns(UserWarning, match="'h' leaves out 3 of 4 values, which are not finite"):
        logger.record_histogram("h", [np.nan, 1.0, np.inf, -np.inf])
    logger.dump(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.record_histogram("h", [np.nan, 2.0])
    with pytest.warns(UserWarning, match="'other' leaves out 1 of 1"):
        logger.record_histogram("other", np.nan)
    logger.dump(2)
    assert sink.received == [("h", [1.0], 1), ("h", [2.0], 2)]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], ValueError, r"'h' needs at least one value, got an array of shape \(0,\)"),
        (["a"], TypeError, "'h' needs an array of real numbers"),
        ([1j], TypeError, "'h' needs an array of real numbers"),
        (None, TypeError, "'h' needs an array of real numbers"),
        ([[1], [1, 2]], TypeError, "'h' needs an array of numbers"),
    ],
)
def test_histograms_of_other_things_are_refused(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Logger().record_histogram("h", values)


@pytest.mark.parametrize(
    ("figure", "error", "message"),
    [
        (np.zeros((2, 2, 3)), TypeError, "'f' must be a matplotlib Figure or .* got an array of float64"),
        (np.zeros((2, 2, 4), np.uint8), ValueError, r"got an array of shape \(2, 2, 4\)"),
        (np.zeros((2, 2), np.uint8), ValueError, r"got an array of shape \(2, 2\)"),
        (np.zeros((0, 2, 3), np.uint8), ValueError, r"got an array of shape \(0, 2, 3\)"),
        ("figure.png", TypeError, "got 'figure.png'"),
    ],
)
def test_other_figures_are_refused_though_no_sink_shows_them(figure: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Logger().record_figure("f", figure)


@pytest.mark.parametrize("method", ["record_histogram", "record_figure"])
def test_bad_keys_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match="a key must be one line"):
        getattr(Logger(), method)(" a", picture())


def test_a_matplotlib_figure_is_drawn_when_it_is_recorded_and_left_as_it_was() -> None:
    matplotlib_figure = pytest.importorskip("matplotlib.figure")
    sink = MediaSink()
    logger = Logger(sinks=[sink])
    figure = matplotlib_figure.Figure(figsize=(2, 1), dpi=50, facecolor="#ff8000")
    canvas = figure.canvas
    logger.record_figure("f", figure)
    assert figure.canvas is canvas
    figure.set_facecolor("white")
    logger.dump(1)
    ((_, image, _),) = sink.received
    assert (image.shape, image.dtype) == ((50, 100, 3), np.uint8)
    assert (image == [255, 128, 0]).all()


def test_a_figure_is_not_drawn_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib_figure = pytest.importorskip("matplotlib.figure")
    agg = pytest.importorskip("matplotlib.backends.backend_agg")
    monkeypatch.setattr(agg.FigureCanvasAgg, "draw", lambda self: pytest.fail("it was drawn"))
    Logger(sinks=[RowSink()]).record_figure("f", matplotlib_figure.Figure())


# --- bins -------------------------------------------------------------------------------------------------------------


def test_bins_are_64_of_equal_width() -> None:
    values = np.array([-1.0, -0.99, 0.0, 1.0])
    counts, edges = bin_values(values)
    assert edges == pytest.approx(np.linspace(-1, 1, 65))
    assert (counts[0], counts[32], counts[63], counts.sum()) == (2, 1, 1, 4)


def test_a_single_value_has_bins_around_it() -> None:
    counts, edges = bin_values(np.full(5, 2.0))
    assert (edges[0], edges[-1], counts.sum()) == (1.5, 2.5, 5)
    assert len(counts) == 64


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_every_finite_value_is_in_a_bin(values: list[float]) -> None:
    array = np.array(values)
    counts, edges = bin_values(array)
    assert counts.sum() == len(array)
    assert len(edges) == len(counts) + 1 <= 65
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert edges[0] <= array.min()
    assert edges[-1] >= array.max()


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def test_tensorboard_shows_both(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    pytest.importorskip("PIL")
    logger = make_logger(tmp_path, sinks=["tensorboard"])
    values = np.random.default_rng(0).normal(size=(10, 20))
    image = np.random.default_rng(1).integers(0, 256, (5, 6, 3), np.uint8)
    for step in (100, 200):
        logger.record("a", step)
        logger.record_histogram("weights/w", values * step)
        logger.record_figure("eval/episode", image)
        logger.dump(step)
    logger.close()

    folder = tmp_path / "tensorboard"
    assert {value.tag: step for step, value in read_summaries(folder)} == {
        "a": 200,
        "weights/w": 200,
        "eval/episode": 200,
    }
    (first, one), (second, two) = read_histograms(folder)["weights/w"]
    assert (first, second) == (100, 200)
    counts, edges = np.histogram(values * 100, 64)
    assert list(one.bucket) == [0, *counts]
    assert list(one.bucket_limit) == pytest.approx(edges)
    assert (one.num, one.min, one.max) == (200, values.min() * 100, values.max() * 100)
    assert (one.sum, one.sum_squares) == pytest.approx((values.sum() * 100, (values**2).sum() * 100**2))
    assert two.max == values.max() * 200
    assert [step for step, _ in read_images(folder)["eval/episode"]] == [100, 200]
    assert all((shown == image).all() for _, shown in read_images(folder)["eval/episode"])


def test_tensorboard_takes_numbers_of_any_size(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    sink = TensorBoardSink(tmp_path)
    sink.write_histogram("h", np.array([1e308, 1e308, -1e308, -1e308, 1e30, 0.0]), 1)
    sink.close()
    ((_, histogram),) = read_histograms(tmp_path)["h"]
    assert sum(histogram.bucket) == 6
    assert (histogram.min, histogram.max) == (-1e308, 1e308)


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    for sink in (TensorBoardSink(tmp_path), WandbSink()):
        with pytest.raises(MissingDependencyError, match=r"slc-agents\[plot\]"):
            sink.write_figure("f", picture(), 1)


# --- Weights & Biases -------------------------------------------------------------------------------------------------


class FakeWandb:
    """Stands for the module `wandb`, with a run of the user's."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.run = SimpleNamespace(log=self.logged.append, define_metric=lambda *args, **kwargs: None)

    def Histogram(self, *, np_histogram: Any) -> Any:  # noqa: N802 - as W&B has it
        return ("histogram", np_histogram)

    def Image(self, image: Any) -> Any:  # noqa: N802
        return ("image", image)


def test_wandb_gets_both_at_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    logger = Logger(sinks=[WandbSink()])
    logger.record("a", 1)
    logger.record_histogram("h", [0.0, 1.0, 1.0])
    logger.record_figure("f", picture())
    logger.dump(40)
    row, histogram, figure = wandb.logged
    assert row == {"a": 1, "global_step": 40}
    assert histogram["global_step"] == figure["global_step"] == 40
    kind, (counts, edges) = histogram["h"]
    assert (kind, counts[0], counts[-1], sum(counts), len(edges)) == ("histogram", 1, 2, 3, 65)
    assert figure["f"][0] == "image"
    assert figure["f"][1].tolist() == picture().tolist()


@pytest.mark.slow
def test_wandb_itself_takes_both(tmp_path: Path) -> None:
    # In a process of its own: W&B starts a service and leaves threads and sockets behind until the process ends.
    pytest.importorskip("wandb")
    pytest.importorskip("PIL")
    script = (
        "import numpy as np\n"
        "from slc_agents.logger import make_logger\n"
        "logger = make_logger('out', sinks=['wandb'])\n"
        "logger.record('a', 1)\n"
        "logger.record_histogram('h', [0.0, 1.0, 1.0])\n"
        "logger.record_figure('f', np.full((5, 6, 3), 7, np.uint8))\n"
        "logger.dump(40)\n"
        "summary = logger.sinks[0]._run.summary\n"
        "assert sum(summary['h']['values']) == 3, summary['h']\n"
        "assert (summary['f']['width'], summary['f']['height']) == (6, 5), summary['f']\n"
        "assert summary['global_step'] == 40\n"
        "logger.close()\n"
    )
    root = Path(slc_agents.logger.__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (saved,) = (tmp_path / "out").rglob("*.png")
    from PIL import Image

    with Image.open(saved) as image:
        assert np.array(image).tolist() == np.full((5, 6, 3), 7).tolist()
