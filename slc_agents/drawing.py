"""Drawing: what the package's figures have in common.

matplotlib is optional, and used without pyplot, so neither a display nor anybody else's figures are touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "GREY", "INK", "Curve", "draw_curves", "format_number", "new_figure", "style"]

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
INK = "#222222"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A line of a figure.

    Attributes:
        label: What it is.
        x: Positions [k].
        y: Values [k].
        low: Lower edge of a band around it [k], or None.
        high: Upper edge.
        color: Its colour; None: the next one.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    color: str | None = None


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
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)


def draw_curves(curves: Sequence[Curve], title: str, x_label: str, y_label: str) -> Figure:
    """Returns a figure of curves, with a legend where the title doesn't say all.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    colors = itertools.cycle(COLORS)
    for curve in curves:
        color = curve.color or next(colors)
        axes.plot(
            curve.x,
            curve.y,
            color=color,
            label=curve.label,
            linewidth=1.8,
            marker="o" if len(curve.x) <= 50 else "",
            markersize=3.5,
        )
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    style(axes, x_label, y_label)
    if len(curves) > 1 or curves[0].label != title:
        axes.legend(frameon=False, fontsize=9)
    return figure


def format_number(value: float) -> str:
    """Returns a number as the package's figures write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
