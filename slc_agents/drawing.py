"""Drawing: what the package's figures have in common.

matplotlib is optional, and used without pyplot, so neither a display nor anybody else's figures are touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "GREY",
    "GRID",
    "INK",
    "Curve",
    "draw_curves",
    "format_number",
    "new_figure",
    "plot_curves",
    "style",
]

COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # told apart by colour-blind eyes
GREY = "#999999"
GRID = "#dddddd"
INK = "#222222"
MAX_MARKERS = 50  # points of a curve that are still seen one by one

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A line of a figure.

    Attributes:
        label: What it is; empty: it isn't in the legend.
        x: Positions [k].
        y: Values [k].
        low: Lower edge of a band around it [k], or None.
        high: Upper edge.
        color: Its colour; None: the next one.
        faint: Whether it stays behind the others.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    color: str | None = None
    faint: bool = False


def new_figure(width: float = 8.0, height: float = 4.8) -> Figure:
    """Returns an empty figure of that size in inches.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "plot", "drawing a figure").Figure(
        figsize=(width, height), layout="constrained"
    )
    require("matplotlib.backends.backend_agg", "plot", "drawing a figure").FigureCanvasAgg(figure)
    return cast("Figure", figure)


def style(axes: Axes, x_label: str, y_label: str) -> None:
    """Labels axes, and gives them the look of the package's figures."""
    from matplotlib import ticker

    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, position: format_number(value)))
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)


def draw_curves(
    curves: Sequence[Curve], title: str, x_label: str, y_label: str, *, legend_title: str | None = None
) -> Figure:
    """Returns a figure of curves, with a legend where the title doesn't say all.

    Args:
        curves: The curves.
        title: Of the figure.
        x_label: What the horizontal axis shows.
        y_label: What the vertical axis shows.
        legend_title: What the legend says of all curves.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    plot_curves(axes, curves)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    style(axes, x_label, y_label)
    if len(curves) > 1 or curves[0].label != title:
        axes.legend(frameon=False, fontsize=9, title=legend_title, title_fontsize=9, alignment="left")
    return figure


def plot_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draws curves, with their bands, into axes."""
    colors = itertools.cycle(COLORS)
    for curve in curves:
        color = curve.color or next(colors)
        look: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.55} if curve.faint else {"linewidth": 1.8}
        if len(curve.x) <= MAX_MARKERS and not curve.faint:
            look |= {"marker": "o", "markersize": 3.5}
        axes.plot(curve.x, curve.y, color=color, label=curve.label, **look)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)


def format_number(value: float) -> str:
    """Returns a number as the package's figures write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
