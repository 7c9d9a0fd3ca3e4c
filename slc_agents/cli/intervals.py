"""Confidence intervals over a few runs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["confidence_interval"]

# Quantiles 0.975 of Student's t for 1 to 10 degrees of freedom; above, a series is exact to 0.1%.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

Floats = NDArray[np.float64]


def confidence_interval(values: Floats) -> tuple[Floats, Floats]:
    """Returns the 95% confidence interval of the mean, by Student's t distribution: exact for normal values.

    Args:
        values: [n, k], of n runs at k points, n >= 2.

    Returns:
        Its lower and upper edges [k].
    """
    n = len(values)
    half = _t_quantile(n - 1) * values.std(axis=0, ddof=1) / math.sqrt(n)
    mean = values.mean(axis=0)
    return mean - half, mean + half


def _t_quantile(freedom: int) -> float:
    if freedom <= len(T_QUANTILES):
        return T_QUANTILES[freedom - 1]
    z = 1.959964  # Abramowitz and Stegun, 26.7.5
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
