"""Learning curves: from the logs of runs to a figure.

Here, and not among the public parts, because the commands that draw are all that needs it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.agents.evaluation import score_name
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.cli.multi_seed import MultiSeedPlan, seed_folders
from slc_agents.drawing import COLORS, GREY, Curve, draw_curves
from slc_agents.errors import ConfigError, SlcAgentsError
from slc_agents.intervals import confidence_interval
from slc_agents.logger import PROGRESS_FILE, read_progress
from slc_agents.persistence import read_archive
from slc_agents.zoo import read_config_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CURVE_FILE",
    "DEFAULT_X",
    "DEFAULT_Y",
    "LoggedRun",
    "RunGroup",
    "axis_label",
    "confidence_interval",
    "draw_run",
    "draw_runs",
    "figure_of_groups",
    "figure_of_run",
    "group_curve",
    "read_groups",
    "read_run",
    "read_seeds",
    "save_figure",
]

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
INTERVAL = "mean, and its 95% interval (t)"
LONGEST_LABEL = 50  # characters of a legend that leave room for curves
_DATED = re.compile(r"-\d{8}-\d{6}(-\d+)?")  # what `train` puts into a name of its own making

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LoggedRun:
    """What a run folder says of how training went.

    Attributes:
        path: The folder.
        columns: Of its log, by key.
        agent: Name of the agent's class, or None where it isn't known.
        env_id: Id of its environment, or None.
        settings: Its hyperparameters; empty where they aren't known.
    """

    path: Path
    columns: Mapping[str, Floats]
    agent: str | None = None
    env_id: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def score(self) -> str:
        """What a return is called."""
        return score_name(self.settings.get("opt_type"))

    @property
    def title(self) -> str:
        """Agent and environment, or the folder's name where they aren't known."""
        return f"{self.agent} on {self.env_id}" if self.agent and self.env_id else self.name

    def column(self, name: str) -> Floats:
        """Returns a column of the log.

        Raises:
            ConfigError: If there is none; the message lists those that there are.
        """
        if name not in self.columns:
            raise ConfigError(f"{self.path}: its log has no column {name!r}; it has {', '.join(self.columns)}")
        return self.columns[name]

    def points(self, x: str, y: str, smooth: int = 1) -> tuple[Floats, Floats]:
        """Returns the points of a curve [k], [k], without those that a row has no value for.

        Args:
            x: Column of the positions.
            y: Column of the values.
            smooth: Rows over which values are averaged.

        Raises:
            ConfigError: If there are none.
        """
        xs, ys = self.column(x), self.column(y)
        there = np.isfinite(xs) & np.isfinite(ys)
        if not there.any():
            raise ConfigError(f"{self.path}: its log has no row with both {x!r} and {y!r}")
        return xs[there], _moving_mean(ys[there], smooth)


@dataclass(frozen=True)
class RunGroup:
    """Runs that become one curve.

    Attributes:
        runs: The runs, which differ in nothing but the seed.
        folder: The folder by which the user knows them: a single run's, or a multi-seed folder; else None.
    """

    runs: Sequence[LoggedRun]
    folder: Path | None

    @property
    def first(self) -> LoggedRun:
        """One that stands for all."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """What the user has called it; empty where the name is none of theirs."""
        name = "" if self.folder is None else self.folder.resolve().name
        return "" if _DATED.search(name) else name


def draw_run(path: Path, out: Path, *, smooth: int = 1) -> None:
    """Draws one run: test episodes with their spread, and the training episodes behind them.

    Args:
        path: The run's folder, or its `progress.csv`.
        out: The figure to write.
        smooth: Rows of the log over which values are averaged.

    Raises:
        FileNotFoundError: If there is no log.
        MissingDependencyError: If matplotlib is not installed.
    """
    save_figure(figure_of_run(read_run(path), smooth=smooth), out)


def draw_runs(
    paths: Sequence[Path],
    out: Path,
    *,
    x: str | None = None,
    y: str | None = None,
    smooth: int = 1,
    labels: Sequence[str] | None = None,
) -> None:
    """Draws several runs into one figure; those that differ in the seed only become one curve with an interval.

    Args:
        paths: The runs' folders, and multi-seed folders, each of which is one curve.
        out: The figure to write.
        x: Column for the horizontal axis; None: environment steps.
        y: Column for the vertical axis; None: test returns, or training returns where a run has no tests.
        smooth: Rows of the log over which values are averaged.
        labels: Of the curves, in their order; None: what differs between them.

    Raises:
        ConfigError: If a run doesn't have a column (the message lists those that it has), or there is another number
            of labels.
        FileNotFoundError: If there is no log.
        MissingDependencyError: If matplotlib is not installed.
    """
    save_figure(figure_of_groups(read_groups(paths), x=x, y=y, smooth=smooth, labels=labels), out)


def figure_of_run(run: LoggedRun, *, smooth: int = 1) -> Figure:
    """Returns the figure of one run; see `draw_run`."""
    test, training = DEFAULT_Y
    curves: list[Curve] = []
    if training in run.columns:
        x, y = run.points(DEFAULT_X, training, smooth)
        curves.append(Curve("training: mean of the last 100 episodes", x, y, color=GREY))
    if test in run.columns:
        x, y = run.points(DEFAULT_X, test, smooth)
        if "eval/std_reward" in run.columns:
            spread = np.interp(x, *run.points(DEFAULT_X, "eval/std_reward", smooth))
            curves.append(Curve("test: mean ± standard deviation", x, y, y - spread, y + spread, COLORS[0]))
        else:
            curves.append(Curve("test: mean", x, y, color=COLORS[0]))
    if not curves:
        run.column(test)  # says what there is instead
    seed = run.settings.get("seed")
    title = run.title if seed is None or run.title == run.name else f"{run.title}, seed {seed}"
    return draw_curves(curves, _plain(title), LABELS[DEFAULT_X], run.score + _smoothed(smooth))


def figure_of_groups(
    groups: Sequence[RunGroup],
    *,
    x: str | None = None,
    y: str | None = None,
    smooth: int = 1,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Returns the figure of several groups, a curve for each; of a group alone, each run is seen too.

    Args:
        groups: The groups.
        x: As in `draw_runs`, and so are the others.
        y: See there.
        smooth: See there.
        labels: See there.
    """
    runs = [run for group in groups for run in group.runs]
    x = DEFAULT_X if x is None else x
    if y is None:
        y = next((name for name in DEFAULT_Y if all(name in run.columns for run in runs)), DEFAULT_Y[0])
    own = _labels(groups)
    if labels is not None and len(labels) != len(groups):
        raise ConfigError(f"{len(labels)} labels for {len(groups)} curves, which are: {'; '.join(own)}")
    curves = [
        group_curve(group, label, x, y, smooth)
        for group, label in zip(groups, map(_plain, own) if labels is None else labels, strict=True)
    ]
    alone = groups[0] if len(groups) == 1 and len(groups[0].runs) > 1 else None
    if alone is not None:
        single = [run.points(x, y, smooth) for run in alone.runs]
        curves = [
            *(Curve("" if i else "each run", *points, color=GREY, faint=True) for i, points in enumerate(single)),
            *curves,
        ]
    titles = list(dict.fromkeys(run.title for run in runs))
    title = titles[0] if len(titles) == 1 else "Learning curves"
    score = "/".join(sorted({run.score for run in runs}))
    legend = INTERVAL if any(len(group.runs) > 1 for group in groups) else None
    y_label = axis_label(y, score) + _smoothed(smooth)
    return draw_curves(curves, _plain(title), axis_label(x, score), y_label, legend_title=legend)


def axis_label(column: str, score: str) -> str:
    """Returns what a column of the log is called on an axis."""
    return LABELS.get(column, column).format(score=score)


def read_groups(paths: Sequence[Path]) -> list[RunGroup]:
    """Reads runs, and puts those together that become one curve.

    A multi-seed folder is a group of its own, whatever else there is: two of them may differ in what no setting tells,
    such as the code. Other runs belong together if they have the same agent, environment and settings but for the seed.

    Raises:
        ConfigError: If a multi-seed folder has no log yet.
        FileNotFoundError: If a run has none.
    """
    groups: dict[Any, list[LoggedRun]] = {}
    multi_seed: dict[Any, RunGroup] = {}
    for path in dict.fromkeys(paths):
        seeds = seed_folders(path)
        if seeds is not None:
            multi_seed[path] = read_seeds(path)
            groups[path] = []  # its place among the others
            _warn_of_missing(path, seeds, multi_seed[path])
            continue
        run = read_run(path)
        same = sorted((key, repr(value)) for key, value in _compared(run).items())
        key = (run.agent, run.env_id, tuple(same)) if run.settings and run.agent else path
        groups.setdefault(key, []).append(run)
    return [
        multi_seed[key] if key in multi_seed else RunGroup(runs, runs[0].path if len(runs) == 1 else None)
        for key, runs in groups.items()
    ]


def read_run(path: Path) -> LoggedRun:
    """Reads a run's log, and what else its folder says.

    Args:
        path: The run's folder, or its `progress.csv`.

    Raises:
        FileNotFoundError: If there is no log.
    """
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
    return LoggedRun(folder, columns, agent, env_id, settings)


def read_seeds(folder: Path) -> RunGroup:
    """Reads a multi-seed folder, without those seeds that have no log yet.

    Raises:
        ConfigError: If none has one.
    """
    folders = [folder / name for name in MultiSeedPlan.read(folder).folders.values()]
    there = [path for path in folders if (path / PROGRESS_FILE).exists()]
    if not there:
        raise ConfigError(f"{folder}: no seed has finished its first epoch, so there is no log yet")
    return RunGroup([read_run(path) for path in there], folder)


def _warn_of_missing(folder: Path, seeds: Mapping[int, Path], group: RunGroup) -> None:
    there = [run.path for run in group.runs]
    missing = ", ".join(str(seed) for seed, path in seeds.items() if path not in there)
    if missing:
        warnings.warn(f"{folder}: left out, since it has no log yet: seed {missing}", stacklevel=3)


def group_curve(group: RunGroup, label: str, x: str, y: str, smooth: int = 1) -> Curve:
    """Returns a group's curve: the mean of its runs with the 95% interval of that mean, or its only run.

    Raises:
        ConfigError: If a run has no values, or they have no stretch in common.
    """
    points = [run.points(x, y, smooth) for run in group.runs]
    if len(points) == 1:
        return Curve(label, *points[0])
    # Where all of them have values: a mean over fewer of them would jump where one ends.
    first, last = max(xs[0] for xs, _ in points), min(xs[-1] for xs, _ in points)
    grid = np.unique(np.concatenate([xs for xs, _ in points]))
    grid = grid[(first <= grid) & (grid <= last)]
    if not grid.size:
        names = ", ".join(run.name for run in group.runs)
        raise ConfigError(f"{names}: have no stretch of {x!r} in common to average over")
    values = np.stack([np.interp(grid, xs, ys) for xs, ys in points])
    return Curve(label, grid, values.mean(axis=0), *confidence_interval(values))


def _moving_mean(values: Floats, n: int) -> Floats:
    """Returns means over the n values around each [k]; fewer near the ends, so that nothing is made up there."""
    if n == 1:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - (n - 1) // 2, 0), np.minimum(places + n // 2 + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low), np.float64)


def _smoothed(n: int) -> str:
    return f", mean of {n} rows" if n > 1 else ""


def _compared(run: LoggedRun) -> dict[str, Any]:
    """Returns the settings that say what was learned, and how."""
    left_out = ("seed", "logger_kwargs", "save_freq", "export")
    return _flat({key: value for key, value in run.settings.items() if key not in left_out})


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _labels(groups: Sequence[RunGroup]) -> list[str]:
    """Names each group: by the user's name for it, what it has that others have not, and the number of its runs."""
    several = len({group.first.title for group in groups}) > 1  # of one, the figure's title tells
    labels = []
    for group in groups:
        known = group.first.title != group.first.name
        title = group.first.title if several and known else ""
        name = ": ".join(filter(None, [group.name, ", ".join(filter(None, [title, _differences(group, groups)]))]))
        if not name and group.folder is not None:
            name = group.folder.resolve().name
        labels.append(_with_count(name, len(group.runs)))
    # What is still alike is told apart by where it lies.
    return [
        label if labels.count(label) == 1 else f"{label} [{group.folder or group.first.path}]"
        for label, group in zip(labels, groups, strict=True)
    ]


def _with_count(name: str, n: int) -> str:
    if n == 1:
        return name
    return f"{name} ({n} runs)" if name else f"mean of {n} runs"


def _differences(group: RunGroup, groups: Sequence[RunGroup]) -> str:
    """Says which settings a group has that most others of the same agent and environment have not, as far as fits."""
    alike = [_compared(other.first) for other in groups if other.first.title == group.first.title]
    missing = object()
    text = ""
    for key, value in _compared(group.first).items():
        n = sum(other.get(key, missing) == value for other in alike)
        if n == len(alike) or n > len(alike) / 2:
            continue
        name = key.rpartition(".")[2]
        part = f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        if len(text) + len(part) > LONGEST_LABEL:
            return f"{text}, ..." if text else ""
        text = f"{text}, {part}" if text else part
    return text


def _plain(text: str) -> str:
    """Returns a text in which dollars are dollars, and not the beginning of a formula."""
    return text.replace("$", r"\$")


def save_figure(figure: Figure, out: Path) -> None:
    """Writes a figure to a file, and makes its folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)
