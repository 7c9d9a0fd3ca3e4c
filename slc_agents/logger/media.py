"""What is no number and no text: the values of histograms, and figures. Checked and copied as they are recorded."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import require

__all__ = ["Image", "bin_values", "check_figure", "histogram_values", "render"]

Image: TypeAlias = NDArray[np.uint8]
"""Red, green and blue [height, width, 3]."""

N_BINS = 64


def histogram_values(key: str, values: Any) -> NDArray[np.float64]:
    """Returns what a histogram is to be made of as a new, flat array; non-finite values are still in it.

    Raises:
        TypeError: If it isn't numbers.
        ValueError: If it is empty.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"the histogram {key!r} needs an array of numbers; this is none: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"the histogram {key!r} needs an array of real numbers, got {values!r}")
    if array.size == 0:
        raise ValueError(f"the histogram {key!r} needs at least one value, got an array of shape {array.shape}")
    return array.astype(np.float64).reshape(-1)


def bin_values(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts finite values in bins of equal width from the least to the greatest.

    Args:
        values: [n], n >= 1.

    Returns:
        The counts [k] and the edges of the bins [k + 1]. `k` is 64, or less where floats are too coarse for so many.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        margin = max(0.5, abs(low) * 1e-3)
        largest = np.finfo(np.float64).max
        low, high = max(low - margin, -largest), min(high + margin, largest)
    # Halved, as the distance of the two may be more than a float can hold.
    inner = 2.0 * np.linspace(low / 2.0, high / 2.0, N_BINS + 1)[1:-1]
    edges = np.unique(np.clip([low, *inner, high], low, high))
    counts, _ = np.histogram(values, edges)
    return counts.astype(np.int64), edges


def check_figure(key: str, figure: Any) -> None:
    """Checks that something can be recorded as a figure.

    Raises:
        TypeError: If it is neither a figure of matplotlib nor an array of uint8.
        ValueError: If it is an array of another shape than [height, width, 3].
    """
    allowed = "a matplotlib Figure or an array [height, width, 3] of uint8 (red, green, blue)"
    if isinstance(figure, np.ndarray):
        if figure.dtype != np.uint8:
            raise TypeError(f"the figure {key!r} must be {allowed}, got an array of {figure.dtype}")
        if figure.ndim != 3 or figure.shape[2] != 3 or figure.size == 0:
            raise ValueError(f"the figure {key!r} must be {allowed}, got an array of shape {figure.shape}")
    elif not _is_matplotlib_figure(figure):
        raise TypeError(f"the figure {key!r} must be {allowed}, got {figure!r}")


def render(figure: Any) -> Image:
    """Returns a picture of what `check_figure` has found to be right, as it looks now."""
    if isinstance(figure, np.ndarray):
        return figure.copy()
    agg = require("matplotlib.backends.backend_agg", "plot", "a figure in the log")
    canvas = figure.canvas  # that of the user's window, perhaps
    try:
        drawn = agg.FigureCanvasAgg(figure)
        drawn.draw()
        return np.array(drawn.buffer_rgba())[..., :3].copy()
    finally:
        figure.set_canvas(canvas)


def _is_matplotlib_figure(figure: object) -> bool:
    # What has never been imported can't have made the figure.
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(figure, module.Figure)
