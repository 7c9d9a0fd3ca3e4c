"""Intervals against known ones, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slc_agents.intervals import bootstrap_draws, bootstrap_interval, rate_interval


@pytest.mark.parametrize(("count", "n"), [(0, 20), (20, 20), (5, 10), (1, 50), (0, 1)])
def test_a_rates_interval_ends_where_the_normal_test_of_a_rate_would_reject_it(count: int, n: int) -> None:
    low, high = rate_interval(count, n)
    assert 0 <= low <= count / n <= high <= 1
    for edge in (low, high):
        if 0 < edge < 1:
            assert abs(count / n - edge) == pytest.approx(1.959964 * math.sqrt(edge * (1 - edge) / n))
    assert (low == 0) == (count == 0)
    assert (high == 1) == (count == n)


def test_the_bootstrap_of_a_mean_is_nearly_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    draws = bootstrap_draws(400)
    low, high = bootstrap_interval(values[draws].mean(axis=1))
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert (bootstrap_draws(400) == draws).all()


def test_samples_in_which_there_is_nothing_are_left_out() -> None:
    assert bootstrap_interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(edge) for edge in bootstrap_interval(np.array([np.nan, np.inf])))
