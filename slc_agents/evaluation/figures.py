"""The figures of evaluations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slc_agents.drawing import COLORS, GREY, INK, Curve, format_number, new_figure, plot_curves, style
from slc_agents.errors import ConfigError
from slc_agents.intervals import confidence_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from slc_agents.evaluation.robustness import Outcome, RobustnessResult
    from slc_agents.evaluation.stability import StabilityResult

__all__ = ["draw_robustness", "draw_stability", "draw_trajectories"]

MAX_COLUMNS = 3  # sizes whose courses stand side by side
BAND = (0.05, 0.95)  # quantiles over episodes
BLOCKS = 40  # of steps over which a drift is averaged, whose single values are mostly noise
DECADE = 10.0  # from how large a quotient of values on an axis is logarithmic

Floats = NDArray[np.float64]


def draw_robustness(result: RobustnessResult) -> Figure:
    """See `RobustnessResult.draw`."""
    rows = result.rows()
    tracked = [name for name in rows[0] if name.startswith("tracking_error") and not name.endswith(("_low", "_high"))]
    per_step = {f"{result.score}_per_step": f"mean {result.score} of a step"}
    panels = {
        result.score: f"mean {result.score} of an episode",
        # An episode that ends early has less time to add something up.
        **(per_step if len({length for one in result.outcomes for length in one.lengths.flat}) > 1 else {}),
        "death_rate": "death rate",
        **{name: _tracking_label(name) for name in tracked},
    }
    figure = new_figure(4.2 * len(panels), 3.8)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, label) in zip(grid, panels.items(), strict=True):
        plot_curves(axes, [_curve(result, agent, name) for agent in result.agents])
        style(axes, f"size of {result.disturbance}", label)
        if name == "death_rate":
            axes.set_ylim(-0.03, 1.03)
    figure.suptitle(_plain(_title(result)), x=0.01, ha="left", fontsize=12, fontweight="bold")
    grid[0].legend(frameon=False, fontsize=9, title="mean, and its 95% interval", title_fontsize=9, alignment="left")
    return figure


def _curve(result: RobustnessResult, agent: str, name: str) -> Curve:
    rows = sorted((row for row in result.rows() if row["agent"] == agent), key=lambda row: row["size"])
    x, y, low, high = (np.array([row[key] for row in rows]) for key in ("size", name, f"{name}_low", f"{name}_high"))
    return Curve(_plain(agent), x, y, low, high)


def _tracking_label(name: str) -> str:
    """Says on an axis what a column of tracking errors is: `tracking_error_1` is that of component 1."""
    number = name.removeprefix("tracking_error").removeprefix("_")
    return f"tracking error{f' [{number}]' if number else ''} (root mean square)"


def _title(result: RobustnessResult) -> str:
    return f"{', '.join(result.agents)} on {result.env}" if len(result.agents) == 1 else result.env


def draw_trajectories(result: RobustnessResult, sizes: Sequence[float] | None = None) -> Figure:
    """See `RobustnessResult.draw_trajectories`."""
    chosen = _some_sizes(result) if sizes is None else list(sizes)
    shown = {(agent, size): result.outcome(agent, size) for size in chosen for agent in result.agents}
    if any(outcome.states is None for outcome in shown.values()):
        raise ConfigError(
            f"{result.env}: its info has no 'reference' and 'state_of_interest', so there is nothing to draw against "
            "each other. An environment of your own may give them"
        )
    first = next(iter(shown.values()))
    n_components = first.states.shape[-1] if first.states is not None else 0
    figure = new_figure(4.2 * len(chosen), 0.6 + 2.9 * n_components)
    grid = figure.subplots(n_components, len(chosen), squeeze=False, sharex=True, sharey="row")
    for column, size in enumerate(chosen):
        for row in range(n_components):
            axes = grid[row][column]
            _plot_courses(axes, [shown[agent, size] for agent in result.agents], row)
            name = "state" if n_components == 1 else f"state [{row}]"
            style(axes, "step" if row == n_components - 1 else "", name if column == 0 else "")
        note = " (undisturbed)" if size == result.neutral else ""
        grid[0][column].set_title(f"{result.disturbance} {format_number(size)}{note}", loc="left", fontsize=10)
    figure.suptitle(_plain(_title(result)), x=0.01, ha="left", fontsize=12, fontweight="bold")
    title = "mean, and 90% of episodes still running"
    grid[0][0].legend(frameon=False, fontsize=8, title=title, title_fontsize=8, alignment="left")
    return figure


def _some_sizes(result: RobustnessResult) -> list[float]:
    """Returns up to three sizes: the undisturbed one, if it is there, the largest, and one between them."""
    ordered = sorted(result.sizes)
    if len(ordered) <= MAX_COLUMNS:
        return ordered
    chosen = {ordered[0], ordered[len(ordered) // 2], ordered[-1]}
    if result.neutral in ordered and result.neutral not in chosen:
        chosen = {ordered[0], result.neutral, ordered[-1]}
    return sorted(chosen)


def _plot_courses(axes: Axes, outcomes: Sequence[Outcome], component: int) -> None:
    """Draws each agent's mean with its band, and the reference."""
    for color, outcome in zip((COLORS[i % len(COLORS)] for i in range(len(outcomes))), outcomes, strict=True):
        states = outcome.states[..., component] if outcome.states is not None else np.empty((0, 0))
        mean, low, high = _bands(states)
        steps = np.arange(1, len(mean) + 1)
        axes.plot(steps, mean, color=color, linewidth=1.6, label=_plain(outcome.agent))
        axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    longest = max(outcomes, key=lambda outcome: int(outcome.lengths.max()))
    references = longest.references[..., component] if longest.references is not None else np.empty((0, 0))
    mean, _, _ = _bands(references)
    axes.plot(np.arange(1, len(mean) + 1), mean, color=INK, linewidth=1.2, linestyle="--", label="reference")


def _bands(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns mean and quantiles [steps] of values [episodes, steps] over the episodes that still run; NaN if none."""
    bands = np.full((3, values.shape[1]), np.nan)
    known = np.isfinite(values).any(axis=0)
    bands[0, known] = np.nanmean(values[:, known], axis=0)
    bands[1:, known] = np.nanquantile(values[:, known], BAND, axis=0)
    mean, low, high = bands
    return mean, low, high


def draw_stability(result: StabilityResult) -> Figure:
    """See `StabilityResult.draw`."""
    figure = new_figure(8.0, 8.4)
    above, middle, below = figure.subplots(3, 1, sharex=True)
    for axes, values, label in (
        (above, result.values_of_steps, "Lyapunov function L"),
        (middle, result.costs, "cost of a step"),
    ):
        mean, low, high = _bands(values)
        about = "mean, and 90% of episodes still running"
        plot_curves(axes, [Curve(about, np.arange(len(mean), dtype=np.float64), mean, low, high, COLORS[0])])
        style(axes, "", label)
        if axes is above and mean.min() > 0 and mean.max() / mean.min() > DECADE:
            axes.set_yscale("log")
            axes.set_ylim(bottom=max(low[low > 0].min(initial=mean.min()), mean.min() / DECADE))
    drift, cost = _blocks(result.drifts), _blocks(result.costs)
    condition = Curve(
        f"at most this by the constraint: -α₃ c, α₃ = {format_number(result.alpha3)}",
        cost.x,
        -result.alpha3 * cost.y,
        color=COLORS[1],
    )
    plot_curves(below, [drift, condition])
    below.axhline(0.0, color=INK, linewidth=0.8)
    style(below, "step", "measured drift L' - L")
    for axes in (above, middle, below):
        axes.axvline(result.steady_from, color=GREY, linewidth=1.0, linestyle=":", label="steady phase from here")
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle(_plain(result.env), x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _blocks(values: Floats) -> Curve:
    """Returns means over blocks of steps of values [n, steps], with 95% t intervals over the episodes."""
    edges = np.unique(np.linspace(0, values.shape[1], BLOCKS + 1).round().astype(int))
    x, y, low, high = [], [], [], []
    for first, end in itertools.pairwise(edges):
        block = values[:, first:end]
        means = np.nanmean(block[np.isfinite(block).any(axis=1)], axis=1)
        x.append((first + end - 1) / 2)
        y.append(means.mean())
        edge = confidence_interval(means[:, None]) if len(means) > 1 else (np.full(1, np.nan),) * 2
        low.append(edge[0][0])
        high.append(edge[1][0])
    label = "mean of a few steps, and its 95% interval"
    return Curve(label, np.array(x), np.array(y), np.array(low), np.array(high), COLORS[0])


def _plain(text: str) -> str:
    """Returns a text in which dollars are dollars, and not the beginning of a formula."""
    return text.replace("$", r"\$")
