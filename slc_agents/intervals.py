"""95% confidence intervals: of means, of rates, and of whatever can be computed anew from drawn episodes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["bootstrap_draws", "bootstrap_interval", "confidence_interval", "rate_interval"]

# Quantiles 0.975 of Student's t for 1 to 10 degrees of freedom; above, a series is exact to 0.1%.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
NORMAL_QUANTILE = 1.959964
DRAWS = 2000  # of a bootstrap: its edges then move by about a hundredth of the interval from seed to seed

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
    z = NORMAL_QUANTILE  # Abramowitz and Stegun, 26.7.5
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def rate_interval(count: int, n: int) -> tuple[float, float]:
    """Returns the 95% score interval of a rate (Wilson 1927): also where it happened never, or each time.

    Args:
        count: How often it happened.
        n: How often it could have, >= 1.
    """
    z, rate = NORMAL_QUANTILE, count / n
    center = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    # At the ends the score interval begins there, which rounding may miss by a bit.
    return (0.0 if count == 0 else center - half), (1.0 if count == n else center + half)


def bootstrap_draws(n: int) -> NDArray[np.int64]:
    """Returns which of n independent things each of many samples of the same size has, [draws, n]; always the same."""
    return np.random.default_rng(0).integers(n, size=(DRAWS, n))


def bootstrap_interval(statistic: Floats) -> tuple[float, float]:
    """Returns the 95% percentile interval of a statistic (Efron 1979).

    Args:
        statistic: Its value for each of the samples that `bootstrap_draws` gave [draws]. Those that are not finite, as
            of a sample in which there is nothing to divide by, are left out.
    """
    finite = statistic[np.isfinite(statistic)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, (0.025, 0.975))
    return float(low), float(high)
