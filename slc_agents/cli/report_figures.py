"""The figures of a report: SVG that stands in the page itself, and takes the page's colours, light or dark."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.cli.curves import (
    DEFAULT_X,
    DEFAULT_Y,
    LoggedRun,
    RunGroup,
    axis_label,
    figure_of_groups,
    figure_of_run,
    group_curve,
)
from slc_agents.cli.html import Markup
from slc_agents.drawing import COLORS, GREY, GRID, Curve, new_figure, plot_curves, style
from slc_agents.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["histogram", "learning_curve", "metric_curves", "thin"]

MAX_POINTS = 400  # of a curve: more are no wider than a line, and make the page large
# A colour that nothing else has, for texts and axes; the page's own stands for it in the end.
INK = "#010203"
PAGE_COLORS = {
    INK: "currentColor",
    "#000000": "currentColor",
    GRID: "var(--grid)",
    GREY: "var(--faint)",
    **{color.lower(): f"var(--c{i})" for i, color in enumerate(COLORS) if color != "#000000"},
}
# Columns that say how far training is, or that the learning curve shows already.
LEFT_OUT = {
    *DEFAULT_Y,
    DEFAULT_X,
    "eval/std_reward",
    "time/epoch",
    "time/episodes",
    "time/time_elapsed",
    "train/n_updates",
}


def learning_curve(group: RunGroup) -> Markup:
    """Draws the learning curve of a run, or of several that differ in the seed.

    Raises:
        ConfigError: If the log has no returns.
        MissingDependencyError: If matplotlib is not installed.
    """
    with _page_look():
        alone = len(group.runs) == 1 and DEFAULT_X in group.first.columns
        figure = figure_of_run(group.first) if alone else figure_of_groups([group])
        figure.set_size_inches(9.0, 4.2)
        figure.axes[0].set_title("", loc="left")  # the page has it
        return _svg(figure, "learning-curve", "Learning curve")


def metric_curves(group: RunGroup) -> Iterator[tuple[str, Markup]]:
    """Draws what else the log says over training, each column by its name, and the learning rates in one figure.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    columns = [name for name in group.first.columns if all(name in run.columns for run in group.runs)]
    rates = [name for name in columns if name.startswith("train/lr_")]
    panels = [(name, [name]) for name in columns if name not in LEFT_OUT and name not in rates]
    panels += [("learning rates", rates)] if rates else []
    for i, (title, names) in enumerate(panels):
        drawn = [name for name in names if all(_has_points(run, name) for run in group.runs)]
        if drawn:
            with _page_look():
                yield title, _svg(_panel(group, drawn), f"metric{i}", title)


def histogram(returns: Sequence[float], word: str) -> Markup:
    """Draws how returns are distributed, with a line at their mean.

    Args:
        returns: The returns, one or more.
        word: What a return is called.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    values = np.asarray(returns, np.float64)
    values = values[np.isfinite(values)]
    with _page_look():
        from matplotlib import ticker

        figure = new_figure(6.4, 3.2)
        axes = figure.add_subplot()
        bins = np.histogram_bin_edges(values, min(40, max(5, math.isqrt(4 * len(values)))))
        axes.hist(values, bins.tolist(), color=COLORS[0], alpha=0.75, rwidth=0.92)
        axes.axvline(float(values.mean()), color=COLORS[1], linewidth=1.8, label="mean")
        style(axes, f"{word} of an episode", "episodes")
        axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=9)
        return _svg(figure, "histogram", f"Histogram of {word}s")


def thin(run: LoggedRun) -> tuple[LoggedRun, int]:
    """Averages neighbouring rows of a long log, for figures.

    Returns:
        The run with few enough rows, and how many rows of the log each of them is.
    """
    length = max((len(values) for values in run.columns.values()), default=0)
    n = max(1, math.ceil(length / MAX_POINTS))
    if n == 1:
        return run, 1
    return replace(run, columns={name: _block_means(values, n) for name, values in run.columns.items()}), n


def _block_means(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Returns the means of every n values [k], of those that are finite; NaN where none is."""
    starts = np.arange(0, len(values), n)
    finite = np.isfinite(values)
    sums, counts = (
        np.add.reduceat(part, starts) for part in (np.where(finite, values, 0.0), finite.astype(np.float64))
    )
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return means


def _has_points(run: LoggedRun, name: str) -> bool:
    if DEFAULT_X not in run.columns:
        return False
    return bool((np.isfinite(run.columns[name]) & np.isfinite(run.columns[DEFAULT_X])).any())


def _panel(group: RunGroup, names: Sequence[str]) -> Figure:
    from matplotlib import ticker

    figure = new_figure(4.0, 2.6)
    axes = figure.add_subplot()
    curves: list[Curve] = [group_curve(group, name.partition("/")[2], DEFAULT_X, name) for name in names]
    plot_curves(axes, curves)
    style(axes, axis_label(DEFAULT_X, ""), "")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(5))
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure


@contextmanager
def _page_look() -> Iterator[None]:
    """Lets figures be drawn in ink, on nothing, with texts that stay texts."""
    matplotlib = require("matplotlib", "plot", "drawing a figure")
    keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    look: Mapping[str, Any] = {
        **dict.fromkeys(keys, INK),
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": "slc_agents",  # so that the same run gives the same page
    }
    with matplotlib.rc_context(look):
        yield


def _svg(figure: Figure, name: str, title: str) -> Markup:
    """Returns a figure as an element of a page.

    Args:
        figure: The figure.
        name: What its parts' ids begin with, which in a page must differ.
        title: What it is, for those who can't see it.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r' width="[^"]*"', "", text, count=1)
    text = re.sub(r' height="[^"]*"', f' role="img" aria-label="{html.escape(title)}"', text, count=1)
    text = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda color: PAGE_COLORS.get(color[0], color[0]), text)
    return Markup(text)
