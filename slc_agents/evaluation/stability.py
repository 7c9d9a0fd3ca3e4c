"""How does a Lyapunov function move along closed loops? Measured drift, and what it says of the constraint of LAC.

What is measured, and what such sampling can't show, is in docs/guide/robustness.md. Nothing here certifies anything.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import ConfigError, check_flag, check_path, check_whole_number
from slc_agents.evaluation.episodes import Episodes, play_episodes
from slc_agents.evaluation.files import write_csv, write_json
from slc_agents.evaluation.subjects import AgentLike, CopiedEnv, env_name, find_env, load_predictor, probe
from slc_agents.intervals import bootstrap_draws, bootstrap_interval, rate_interval
from slc_agents.spaces import map_observation
from slc_agents.transition import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Phase", "StabilityResult", "measure_stability"]

Floats = NDArray[np.float64]
Estimate = tuple[float, float, float]  # with the edges of its 95% interval; NaN where there is nothing to estimate


@dataclass(frozen=True)
class Phase:
    """What was measured in a stretch of the episodes. Each estimate comes with the edges of its 95% interval.

    Attributes:
        name: `whole`, `transient` or `steady`.
        first: The first step of an episode that belongs to it.
        last: The last one.
        steps: How many steps were measured, over all episodes.
        lyapunov_value: Mean of L.
        cost: Mean of the cost c of a step.
        drift: Measured drift, the mean of L' - L from a step to the next one.
        alpha3_max: The largest alpha_3 that the measurements satisfy, mean(L - L') / mean(c). Negative: L rises.
        delta: Mean of L' - L + alpha_3 c with the agent's own alpha_3: the constraint of LAC, measured along the closed
            loop; it holds there where this is at most 0.
    """

    name: str
    first: int
    last: int
    steps: int
    lyapunov_value: Estimate
    cost: Estimate
    drift: Estimate
    alpha3_max: Estimate
    delta: Estimate


@dataclass(frozen=True)
class StabilityResult:
    """What `measure_stability` found.

    Attributes:
        env: The environment's id, or its factory's name.
        phases: The whole of the episodes, their transient phase, and their steady one.
        decay: Mean of L in the steady phase, divided by its mean at the start, and the edges of its 95% interval.
        death_rate: Share of episodes that the task terminated, and the edges of its 95% interval.
        alpha3: The agent's own.
        values: L(o, a) of each step, and behind the last one [n, longest + 1]; NaN after that.
        costs: Of each step [n, longest]; NaN after an episode's end.
        deaths: Whether each episode was terminated by the task [n].
        steady_from: The first step of the steady phase.
        n_episodes: Number of episodes.
        seed: Of the first episode; the next one has the next.
        deterministic: Whether the policy's mean actions were taken.
        episode_limit: Length at which episodes were truncated.
    """

    env: str
    phases: tuple[Phase, Phase, Phase]
    decay: Estimate
    death_rate: Estimate
    alpha3: float
    values: Floats
    costs: Floats
    deaths: NDArray[np.bool_]
    steady_from: int
    n_episodes: int
    seed: int
    deterministic: bool
    episode_limit: int

    @property
    def values_of_steps(self) -> Floats:
        """L(o, a) of each step [n, longest], without what stands behind the last one; NaN after an episode's end."""
        return _of_steps(self.values, self.costs)

    @property
    def drifts(self) -> Floats:
        """L' - L from each step to the next one [n, longest]."""
        return np.diff(self.values, axis=1)

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each phase, with the edges `_low` and `_high` of 95% intervals."""
        rows = []
        for phase in self.phases:
            row: dict[str, Any] = {"phase": phase.name, "first": phase.first, "last": phase.last, "steps": phase.steps}
            for name in ESTIMATES:
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), getattr(phase, name), strict=True))
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings and what was estimated, in JSON-able values; what isn't known is None."""
        return {
            **{name: getattr(self, name) for name in SETTINGS},
            "phases": [asdict(phase) for phase in self.phases],
            "decay": self.decay,
            "deaths": int(self.deaths.sum()),
            "death_rate": self.death_rate,
        }

    def draw(self) -> Figure:
        """Draws L, the cost and the measured drift over time.

        Raises:
            MissingDependencyError: If matplotlib is not installed.
        """
        from slc_agents.evaluation.figures import draw_stability

        return draw_stability(self)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes `stability.csv` (the rows) and `stability.json` (settings and estimates) into a folder.

        Returns:
            The files' paths.
        """
        target = check_path("folder", folder)
        return [
            write_csv(target / "stability.csv", self.rows()),
            write_json(target / "stability.json", self.to_dict()),
        ]


ESTIMATES = ("lyapunov_value", "cost", "drift", "alpha3_max", "delta")
SETTINGS = ("env", "alpha3", "steady_from", "n_episodes", "seed", "deterministic", "episode_limit")


def measure_stability(
    agent: AgentLike,
    *,
    env: CopiedEnv | None = None,
    n_episodes: int = 50,
    steady_from: int | None = None,
    seed: int = 0,
    deterministic: bool = True,
    max_ep_len: int | None = None,
    device: str | None = None,
    trust: bool = False,
) -> StabilityResult:
    """Measures how the Lyapunov function of an agent moves along closed loops from many starts.

    Along each episode L(o, a) is taken at the observation and the action there; L' is that of the next step. Behind a
    truncated episode it is at the last observation, with the policy's action; behind a terminated one it is the last
    cost going on for as many steps as an episode has, as with `terminal_cost="absorbing"`, or as a finite horizon has,
    so that dying at a high cost is no decrease. Intervals are percentiles of a bootstrap over episodes, for the steps
    of one aren't independent.

    Args:
        agent: An agent with a Lyapunov function, which is LAC; or the path of its run folder or archive, or its name in
            the zoo, `zoo:lac/...`.
        env: Id or factory of the environment; None: the one that the agent was trained in.
        n_episodes: Number of episodes.
        steady_from: The first step of the steady phase, which lasts to the end of the episode; None: half of the length
            at which episodes are truncated.
        seed: Seed of the first episode; the next one has the next.
        deterministic: Whether the policy's mean action is taken, not a sample.
        max_ep_len: Length at which episodes are truncated. None: the agent's own, or else the environment's limit.
        device: Where the networks live, where the agent is loaded; None: where they were.
        trust: Whether code in the archive of an agent that is loaded may run; as in `load`.

    Raises:
        ConfigError: If the agent has no Lyapunov function, no environment is known, or episodes have no limit.
        UnsupportedSpaceError: If the agent's spaces aren't the environment's.
        ValueError: If a number is out of range.
        FileNotFoundError: If there is no such agent.
    """
    n_episodes = check_whole_number("n_episodes", n_episodes)
    seed = check_whole_number("seed", seed, 0)
    deterministic = check_flag("deterministic", deterministic)
    if max_ep_len is not None:
        max_ep_len = check_whole_number("max_ep_len", max_ep_len)
    model: Any = load_predictor(agent, device=device, trust=trust)
    if not callable(getattr(model, "lyapunov_value", None)):
        raise ConfigError(
            f"agent: received one of class {type(model).__name__}, which has no Lyapunov function whose drift could be "
            "measured; LAC has one. evaluate_robustness (slc-agents robustness) takes any agent"
        )
    groups = {type(model).__name__: [model]}
    where = find_env(env, groups)
    _, limit, max_ep_len = probe(where, groups, max_ep_len)
    if limit == 1:
        raise ValueError(
            "episodes are truncated after 1 step, so there is no steady phase: at least 2 are needed (max_ep_len)"
        )
    steady_from = limit // 2 if steady_from is None else check_whole_number("steady_from", steady_from)
    if not 0 < steady_from < limit:
        raise ValueError(
            f"steady_from={steady_from}: a step from 1 to {limit - 1} is needed, for episodes are truncated after "
            f"{limit}"
        )
    played = play_episodes(
        model,
        where,
        n_episodes,
        _Measure(model, limit, deterministic=deterministic),
        deterministic=deterministic,
        seed=seed,
        max_ep_len=max_ep_len,
    )
    return _result(
        played,
        alpha3=model.config.alpha3,
        steady_from=steady_from,
        env=env_name(where),
        n_episodes=n_episodes,
        seed=seed,
        deterministic=deterministic,
        episode_limit=limit,
    )


class _Measure:
    """Measures costs and L in a vector step: `value`, and behind an episode's last step `last_value`, else NaN."""

    def __init__(self, model: Any, limit: int, *, deterministic: bool) -> None:
        self.model, self.deterministic = model, deterministic
        self.terminal_factor = model.config.absorbing_factor(limit)

    def __call__(self, step: Step) -> Mapping[str, Floats]:
        transition = step.transition
        cost = np.asarray(transition.reward, np.float64)
        value = np.asarray(self.model.lyapunov_value(transition.observation, transition.action), np.float64)
        last = np.where(transition.terminated, self.terminal_factor * cost, np.nan)
        cut = (transition.truncated & ~transition.terminated).nonzero()[0]
        if cut.size:
            observation = map_observation(lambda array: array[cut], transition.next_observation)
            action, _ = self.model.predict(observation, deterministic=self.deterministic)
            last[cut] = self.model.lyapunov_value(observation, action)
        return {"cost": cost[:, None], "value": value[:, None], "last_value": last[:, None]}


def _result(played: Episodes, *, alpha3: float, steady_from: int, **settings: Any) -> StabilityResult:
    costs, values, last_values = (played.series[name][..., 0] for name in ("cost", "value", "last_value"))
    behind_each = np.pad(values[:, 1:], ((0, 0), (0, 1)), constant_values=np.nan)
    values = np.column_stack([values[:, 0], np.where(np.isfinite(last_values), last_values, behind_each)])
    limit = settings["episode_limit"]
    draws = bootstrap_draws(len(costs))
    whole, transient, steady = (
        _phase(name, first, end - 1, values, costs, alpha3, draws)
        for name, first, end in (("whole", 0, limit), ("transient", 0, steady_from), ("steady", steady_from, limit))
    )
    late, start = _of_steps(values, costs)[:, steady_from:], values[:, :1]
    return StabilityResult(
        phases=(whole, transient, steady),
        decay=_estimate(
            lambda *sums: _divide(_divide(*sums[:2]), _divide(*sums[2:])), draws, *_sums(late), *_sums(start)
        ),
        death_rate=(float(played.deaths.mean()), *rate_interval(int(played.deaths.sum()), len(costs))),
        alpha3=alpha3,
        values=values,
        costs=costs,
        deaths=played.deaths,
        steady_from=steady_from,
        **settings,
    )


def _phase(
    name: str, first: int, last: int, values: Floats, costs: Floats, alpha3: float, draws: NDArray[np.int64]
) -> Phase:
    """Estimates from what is known of the steps from `first` to `last`, in which no episode need be left."""
    steps = slice(first, last + 1)
    cost, count = _sums(costs[:, steps])
    value, _ = _sums(_of_steps(values, costs)[:, steps])
    drift, _ = _sums(np.diff(values, axis=1)[:, steps])
    return Phase(
        name=name,
        first=first,
        last=last,
        steps=int(count.sum()),
        lyapunov_value=_estimate(_divide, draws, value, count),
        cost=_estimate(_divide, draws, cost, count),
        drift=_estimate(_divide, draws, drift, count),
        alpha3_max=_estimate(_divide, draws, -drift, cost),
        delta=_estimate(_divide, draws, drift + alpha3 * cost, count),
    )


def _of_steps(values: Floats, costs: Floats) -> Floats:
    """Returns the values of steps [n, longest], of values that have one more behind each episode's last step."""
    return np.where(np.isfinite(costs), values[:, :-1], np.nan)


def _sums(values: Floats) -> tuple[Floats, Floats]:
    """Returns each episode's sum of what is known [n], and how many values that are [n]."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64)


def _estimate(statistic: Callable[..., Any], draws: NDArray[np.int64], *sums: Floats) -> Estimate:
    """Returns a statistic of the sums over all episodes, with the bootstrap interval over these.

    Args:
        statistic: A function of as many sums, each a number or an array.
        draws: Of `bootstrap_draws`.
        *sums: Of each episode [n].
    """
    low, high = math.nan, math.nan
    if draws.shape[1] > 1:  # of a single one no interval can be had
        low, high = bootstrap_interval(statistic(*(one[draws].sum(axis=1) for one in sums)))
    return float(statistic(*(one.sum(keepdims=True) for one in sums))[0]), low, high


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Returns a quotient, NaN where there is nothing to divide by."""
    nothing = np.full(denominator.shape, np.nan)
    quotient: Floats = np.divide(numerator, denominator, out=nothing, where=denominator != 0)
    return quotient
