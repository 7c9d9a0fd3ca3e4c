"""Learning curves: from the logs of runs to a figure.

Here, and not among the public parts, because the two commands that draw are all that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.drawing import COLORS, GREY, Curve, draw_curves
from slc_agents.errors import ConfigError, SlcAgentsError
from slc_agents.logger import read_progress
from slc_agents.persistence import read_archive
from slc_agents.zoo import read_config_file

__all__ = ["CURVE_FILE", "DEFAULT_X", "DEFAULT_Y", "confidence_interval", "draw_run", "draw_runs"]

CURVE_FILE = "learning_curve.png"
DEFAULT_X = "time/total_timesteps"
DEFAULT_Y = ("eval/mean_reward", "rollout/ep_rew_mean")  # the second where test episodes were turned off
LABELS = {
    "time/total_timesteps": "environment steps",
    "time/time_elapsed": "time [s]",
    "time/epoch": "epoch",
    "time/episodes": "episodes",
    "time/fps": "environment steps per second",
    "train/n_updates": "gradient steps",
    "eval/mean_reward": "mean {score} of test episodes",
    "eval/mean_ep_length": "mean length of test episodes [steps]",
    "rollout/ep_rew_mean": "mean {score} of the last 100 episodes",
    "rollout/ep_len_mean": "mean length of the last 100 episodes [steps]",
}
# Quantiles 0.975 of Student's t for 1 to 10 degrees of freedom; above, a series is exact to 0.1%.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Run:
    """What a run folder says."""

    path: Path
    columns: Mapping[str, Floats]
    agent: str | None = None
    env_id: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def score(self) -> str:
        return "cost" if self.settings.get("opt_type") == "minimize" else "return"

    @property
    def title(self) -> str:
        return f"{self.agent} on {self.env_id}" if self.agent and self.env_id else self.name

    def column(self, name: str) -> Floats:
        if name not in self.columns:
            raise ConfigError(f"{self.path}: its log has no column {name!r}; it has {', '.join(self.columns)}")
        return self.columns[name]

    def points(self, x: str, y: str) -> tuple[Floats, Floats]:
        """Returns the points of a curve, without those that a row has no value for."""
        xs, ys = self.column(x), self.column(y)
        there = np.isfinite(xs) & np.isfinite(ys)
        if not there.any():
            raise ConfigError(f"{self.path}: its log has no row with both {x!r} and {y!r}")
        return xs[there], ys[there]


def draw_run(path: Path, out: Path) -> None:
    """Draws one run: test episodes with their spread, and the training episodes behind them.

    Args:
        path: The run's folder, or its `progress.csv`.
        out: The figure to write.

    Raises:
        FileNotFoundError: If there is no log.
        MissingDependencyError: If matplotlib is not installed.
    """
    run = _read_run(path)
    test, training = DEFAULT_Y
    curves: list[Curve] = []
    if training in run.columns:
        x, y = run.points(DEFAULT_X, training)
        curves.append(Curve("training: mean of the last 100 episodes", x, y, color=GREY))
    if test in run.columns:
        x, y = run.points(DEFAULT_X, test)
        spread = np.interp(x, *run.points(DEFAULT_X, "eval/std_reward")) if "eval/std_reward" in run.columns else None
        if spread is None:
            curves.append(Curve("test: mean", x, y, color=COLORS[0]))
        else:
            curves.append(Curve("test: mean ± standard deviation", x, y, y - spread, y + spread, COLORS[0]))
    if not curves:
        run.column(test)  # says what there is instead
    seed = run.settings.get("seed")
    title = run.title if seed is None or run.title == run.name else f"{run.title}, seed {seed}"
    _draw(curves, out, title, LABELS[DEFAULT_X], run.score)


def draw_runs(paths: Sequence[Path], out: Path, *, x: str | None = None, y: str | None = None) -> None:
    """Draws several runs into one figure; those that differ in the seed only become one curve with an interval.

    Args:
        paths: The runs' folders.
        out: The figure to write.
        x: Column for the horizontal axis; None: environment steps.
        y: Column for the vertical axis; None: test returns, or training returns where a run has no tests.

    Raises:
        ConfigError: If a run doesn't have a column; the message lists those that it has.
        FileNotFoundError: If there is no log.
        MissingDependencyError: If matplotlib is not installed.
    """
    runs = [_read_run(path) for path in dict.fromkeys(paths)]
    x = DEFAULT_X if x is None else x
    if y is None:
        y = next((name for name in DEFAULT_Y if all(name in run.columns for run in runs)), DEFAULT_Y[0])
    groups = _group(runs)
    curves = [_curve(group, label, x, y) for group, label in zip(groups, _labels(groups), strict=True)]
    titles = list(dict.fromkeys(run.title for run in runs))
    score = "/".join(sorted({run.score for run in runs}))
    x_label, y_label = (LABELS.get(name, name).format(score=score) for name in (x, y))
    _draw(curves, out, titles[0] if len(titles) == 1 else "Learning curves", x_label, y_label)


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


def _read_run(path: Path) -> _Run:
    columns = {name: np.asarray(values) for name, values in read_progress(path).items()}
    folder = path if path.is_dir() else path.parent
    settings: Mapping[str, Any] = {}
    agent = env_id = None
    # A log is drawn also where it is all that there is.
    try:
        settings = read_config_file(folder / CONFIG_FILE).values
        with read_archive(folder / AGENT_FILE) as archive:
            agent, env_id = archive.manifest.get("class"), archive.manifest.get("env_id")
    except (FileNotFoundError, SlcAgentsError):
        pass
    return _Run(folder, columns, agent, env_id, settings)


def _group(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Puts runs together that have the same agent, environment and settings but for seed and folder."""
    groups: dict[Any, list[_Run]] = {}
    for run in runs:
        same = sorted((key, repr(value)) for key, value in _compared(run).items())
        key = (run.agent, run.env_id, tuple(same)) if run.settings and run.agent else run.path
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _compared(run: _Run) -> dict[str, Any]:
    # The rest says nothing about what was learned.
    return {
        key: value for key, value in run.settings.items() if key not in ("seed", "logger_kwargs", "save_freq", "export")
    }


def _labels(groups: Sequence[Sequence[_Run]]) -> list[str]:
    """Names each group: a run alone by its folder, several by what they have in common and other groups have not."""
    labels: list[str] = []
    several = len({group[0].title for group in groups}) > 1  # of one, the figure's title tells
    for group in groups:
        first = group[0]
        if len(group) == 1:
            labels.append(first.name)
            continue
        titles = [first.title] if several else []
        others = [_compared(other[0]) for other in groups if other[0].title == first.title]
        own = [
            f"{key}={value}"
            for key, value in _compared(first).items()
            if any(other.get(key) != value for other in others)
        ]
        what = ", ".join([*titles, *own])
        labels.append(f"{what}{what and ': '}mean of {len(group)} runs, 95% interval (t)")
    return labels


def _curve(group: Sequence[_Run], label: str, x: str, y: str) -> Curve:
    points = [run.points(x, y) for run in group]
    if len(points) == 1:
        return Curve(label, *points[0])
    # Where all of them have values: a mean over fewer of them would jump where one ends.
    first, last = max(xs[0] for xs, _ in points), min(xs[-1] for xs, _ in points)
    grid = np.unique(np.concatenate([xs for xs, _ in points]))
    grid = grid[(first <= grid) & (grid <= last)]
    if not grid.size:
        raise ConfigError(f"{', '.join(run.name for run in group)}: have no stretch of {x!r} in common to average over")
    values = np.stack([np.interp(grid, xs, ys) for xs, ys in points])
    return Curve(label, grid, values.mean(axis=0), *confidence_interval(values))


def _draw(curves: Sequence[Curve], out: Path, title: str, x_label: str, y_label: str) -> None:
    figure = draw_curves(curves, title, x_label, y_label)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)
