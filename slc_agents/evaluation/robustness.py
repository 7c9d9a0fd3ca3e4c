"""How robust are policies? Deaths, costs and tracking errors over a disturbance's size, compared start by start."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import check_flag, check_number, check_path, check_whole_number
from slc_agents.evaluation.episodes import Episodes, join_series, play_episodes, tracking
from slc_agents.evaluation.family import Disturb, DisturbanceFamily, disturbance_family
from slc_agents.evaluation.files import write_csv, write_json
from slc_agents.evaluation.subjects import AgentLike, CopiedEnv, common, env_name, find_env, load_predictor, probe
from slc_agents.intervals import confidence_interval, rate_interval
from slc_agents.training.evaluation import Predictor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Outcome", "RobustnessResult", "evaluate_robustness"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What came out for one agent at one size: of m models (an agent trained with m seeds) n episodes each.

    Attributes:
        agent: The agent's name.
        size: The disturbance's size.
        returns: Sums of rewards or costs, undiscounted [m, n].
        lengths: Of the episodes, in steps [m, n].
        deaths: Whether each was terminated by the task [m, n].
        tracking_errors: Root mean squares over an episode's steps of what `info` calls `reference_error` [m, n, k];
            None where there is no such thing.
        references: What `info` calls `reference`, [m * n, longest, k], NaN after an episode's end; None where it says
            nothing of it, or not what should follow it.
        states: What should follow it, `state_of_interest`, alike.
    """

    agent: str
    size: float
    returns: Floats
    lengths: NDArray[np.int64]
    deaths: NDArray[np.bool_]
    tracking_errors: Floats | None
    references: Floats | None
    states: Floats | None

    @property
    def death_rate(self) -> tuple[float, float, float]:
        """Share of episodes that died, and its 95% interval.

        For one model Wilson's. For several the t interval over their rates, but nowhere narrower than Wilson's of all
        episodes: rates that are all 0 would otherwise give no width at all.
        """
        low, high = rate_interval(int(self.deaths.sum()), self.deaths.size)
        if len(self.deaths) > 1:
            _, t_low, t_high = _mean_interval(self.deaths.mean(axis=1))
            low, high = min(low, max(t_low, 0.0)), max(high, min(t_high, 1.0))
        return float(self.deaths.mean()), low, high

    def mean_of(self, values: Floats) -> tuple[float, float, float]:
        """Returns the mean of an episode's values [m, n], and its 95% t interval: over models, or one's episodes."""
        return _mean_interval(values.mean(axis=1) if len(values) > 1 else values[0])

    def row(self, score: str) -> dict[str, Any]:
        """Returns the figures by name; `score` is what a return is called."""
        row: dict[str, Any] = {
            "agent": self.agent,
            "size": self.size,
            "models": self.returns.shape[0],
            "episodes": self.returns.shape[1],
            **_named("death_rate", self.death_rate),
            **_named(score, self.mean_of(self.returns)),
            **_named(f"{score}_per_step", self.mean_of(self.returns / self.lengths)),
            "length": float(self.lengths.mean()),
        }
        for name, values in self.named_tracking_errors():
            row |= _named(name, self.mean_of(values))
        return row

    def compared(self, score: str) -> dict[str, Floats]:
        """Returns what is compared start by start, by name: for each episode the mean over the models [n]."""
        values = {
            score: self.returns,
            f"{score}_per_step": self.returns / self.lengths,
            **dict(self.named_tracking_errors()),
        }
        return {name: one.mean(axis=0) for name, one in values.items()}

    def named_tracking_errors(self) -> Iterator[tuple[str, Floats]]:
        """Yields the tracking errors of each component [m, n], by name: `tracking_error`, numbered where several."""
        errors = self.tracking_errors
        if errors is None:
            return
        k = errors.shape[-1]
        for i in range(k):
            yield ("tracking_error" if k == 1 else f"tracking_error_{i}"), errors[..., i]


@dataclass(frozen=True)
class RobustnessResult:
    """What `evaluate_robustness` found.

    Attributes:
        env: The environment's id, or its factory's name.
        disturbance: The disturbance's name.
        neutral: The size at which nothing is disturbed; None: not known.
        score: What a return is called: `return`, or `cost` where it is to be small.
        agents: The agents' names.
        sizes: The disturbance's sizes.
        outcomes: One for each agent and size, agent by agent.
        n_episodes: Of each model at each size.
        seed: Of the first episode; the next one has the next.
        deterministic: Whether the policies' mean actions were taken.
        episode_limit: Length at which episodes were truncated.
    """

    env: str
    disturbance: str
    neutral: float | None
    score: str
    agents: tuple[str, ...]
    sizes: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    n_episodes: int
    seed: int
    deterministic: bool
    episode_limit: int

    def outcome(self, agent: str, size: float) -> Outcome:
        """Returns what came out for an agent at a size.

        Raises:
            KeyError: If there is no such agent or size.
        """
        for outcome in self.outcomes:
            if (outcome.agent, outcome.size) == (agent, size):
                return outcome
        raise KeyError(f"there is nothing of {agent!r} at {size}; there are {self.agents} at {self.sizes}")

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each agent and size: means and rates, with `_low` and `_high` for their 95% intervals."""
        return _with_equal_names([outcome.row(self.score) for outcome in self.outcomes])

    def differences(self) -> list[dict[str, Any]]:
        """Compares each agent with the first one, size by size, episode by episode from the same starts.

        Returns:
            A row for each: the mean of its return minus the first one's, of its return per step and of its tracking
            error, with 95% paired t intervals over the episodes; and its death rate minus the first one's. An agent's
            models are averaged first: so the intervals are about these models, not about others that the same training
            might give.
        """
        rows = []
        for agent in self.agents[1:]:
            for size in self.sizes:
                own, first = (self.outcome(name, size).compared(self.score) for name in (agent, self.agents[0]))
                deaths = [self.outcome(name, size).deaths.mean() for name in (agent, self.agents[0])]
                row: dict[str, Any] = {"agent": agent, "against": self.agents[0], "size": size}
                row["death_rate_difference"] = float(deaths[0] - deaths[1])
                for name in own:
                    if name in first:
                        row |= _named(f"{name}_difference", _mean_interval(own[name] - first[name]))
                rows.append(row)
        return _with_equal_names(rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it but the courses of states, in JSON-able values; what isn't known is None."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        episodes = [
            {
                "agent": outcome.agent,
                "size": outcome.size,
                "returns": outcome.returns.tolist(),
                "lengths": outcome.lengths.tolist(),
                "deaths": outcome.deaths.tolist(),
                "tracking_errors": None if outcome.tracking_errors is None else outcome.tracking_errors.tolist(),
            }
            for outcome in self.outcomes
        ]
        return {**settings, "rows": self.rows(), "differences": self.differences(), "episodes": episodes}

    def draw(self) -> Figure:
        """Draws return, death rate and tracking error against the disturbance's size, with 95% intervals.

        Raises:
            MissingDependencyError: If matplotlib is not installed.
        """
        from slc_agents.evaluation.figures import draw_robustness

        return draw_robustness(self)

    def draw_trajectories(self, sizes: Sequence[float] | None = None) -> Figure:
        """Draws the states that should follow a reference, over time.

        Args:
            sizes: Of the disturbance; None: up to three of them.

        Raises:
            ConfigError: If the environment says nothing of a reference.
            MissingDependencyError: If matplotlib is not installed.
        """
        from slc_agents.evaluation.figures import draw_trajectories

        return draw_trajectories(self, sizes)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes `robustness.csv` (the rows) and `robustness.json` (all but the courses of states) into a folder.

        Returns:
            The files' paths.
        """
        target = check_path("folder", folder)
        return [
            write_csv(target / "robustness.csv", self.rows()),
            write_json(target / "robustness.json", self.to_dict()),
        ]


SETTINGS = (
    *("env", "disturbance", "neutral", "score", "agents", "sizes"),
    *("n_episodes", "seed", "deterministic", "episode_limit"),
)


def evaluate_robustness(
    agents: AgentLike | Mapping[str, AgentLike | Sequence[AgentLike]],
    disturbance: str | DisturbanceFamily | Disturb,
    sizes: Sequence[float] | None = None,
    *,
    env: CopiedEnv | None = None,
    n_episodes: int = 50,
    seed: int = 0,
    deterministic: bool = True,
    max_ep_len: int | None = None,
    opt_type: str | None = None,
    device: str | None = None,
    trust: bool = False,
    progress_bar: bool = False,
) -> RobustnessResult:
    """Runs episodes of agents under a disturbance of several sizes.

    Episode i has the seed `seed + i` for each agent and each size: it starts alike, so results can be compared one by
    one. Each size's episodes run in copies of the environment that the disturbance is put around.

    Args:
        agents: An agent: anything with a method `predict`, the path of a run folder or an archive, or a name of the
            zoo's, `zoo:lac/...`. Or several by name, the first of which the others are compared with; a list in the
            place of one are models of the same training with different seeds, and intervals are then over these.
        disturbance: A name (see `named_disturbance`), or a function of an environment and a size that returns the
            disturbed environment, such as a wrapper's class.
        sizes: The sizes; None: the disturbance's own, where it has some.
        env: Id or factory of the environment; None: the one that the agents were trained in.
        n_episodes: Number of episodes of each model at each size.
        seed: Seed of the first episode.
        deterministic: Whether the policies' mean actions are taken, not samples.
        max_ep_len: Length at which episodes are truncated. None: the agents' own, or else the environment's limit.
        opt_type: `minimize` where returns are costs, `maximize` where not. None: as the agents were trained.
        device: Where the networks of agents that are loaded live; None: where they were.
        trust: Whether code in the archives of agents that are loaded may run; as in `load`.
        progress_bar: Whether to show one.

    Raises:
        ConfigError: If agents were trained in different environments or for different ends, or episodes have no limit.
        UnsupportedSpaceError: If an agent's spaces aren't the environment's, or a disturbance doesn't fit these.
        ValueError: If a name, a number or a size is out of range.
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If there is no such agent.
    """
    n_episodes = check_whole_number("n_episodes", n_episodes)
    seed = check_whole_number("seed", seed, 0)
    deterministic = check_flag("deterministic", deterministic)
    progress_bar = check_flag("progress_bar", progress_bar)
    if max_ep_len is not None:
        max_ep_len = check_whole_number("max_ep_len", max_ep_len)
    family = disturbance_family(disturbance)
    groups = _groups(agents, device=device, trust=trust)
    where = find_env(env, groups)
    minimize = _opt_type(groups, opt_type) == "minimize"
    action_space, limit, max_ep_len = probe(where, groups, max_ep_len)
    tried = _checked_sizes(family.default_sizes(action_space) if sizes is None else sizes)

    outcomes = []
    for name, size in _with_bar([(name, size) for name in groups for size in tried], visible=progress_bar):
        played = [
            play_episodes(
                model,
                where,
                n_episodes,
                tracking,
                wrappers=[family.at(size)],
                deterministic=deterministic,
                seed=seed,
                max_ep_len=max_ep_len,
            )
            for model in groups[name]
        ]
        outcomes.append(_outcome(name, size, played))
    return RobustnessResult(
        env=env_name(where),
        disturbance=family.name,
        neutral=family.neutral,
        score="cost" if minimize else "return",
        agents=tuple(groups),
        sizes=tried,
        outcomes=tuple(outcomes),
        n_episodes=n_episodes,
        seed=seed,
        deterministic=deterministic,
        episode_limit=limit,
    )


def _groups(
    agents: AgentLike | Mapping[str, AgentLike | Sequence[AgentLike]], *, device: str | None, trust: bool
) -> dict[str, list[Predictor]]:
    """Returns each agent's models, loaded."""
    if isinstance(agents, (list, tuple)):
        raise TypeError(
            "agents: received a list; agents are compared by name, {'a': ..., 'b': ...}, and models of one training "
            "with different seeds are a list there, {'a': [..., ...]}"
        )
    if not isinstance(agents, Mapping):
        name = os.fspath(agents) if isinstance(agents, (str, os.PathLike)) else type(agents).__name__
        agents = {name: agents}
    if not agents:
        raise ValueError("agents={}: at least one is needed")
    groups = {}
    for name, members in agents.items():
        models: list[Any] = list(members) if isinstance(members, (list, tuple)) else [members]
        if not models:
            raise ValueError(f"agents: {name!r} has no models; at least one is needed")
        groups[str(name)] = [load_predictor(model, device=device, trust=trust) for model in models]
    return groups


def _opt_type(groups: Mapping[str, Sequence[Predictor]], opt_type: str | None) -> Any:
    if opt_type not in (None, "minimize", "maximize"):
        raise ValueError(f"opt_type={opt_type!r}: 'minimize' or 'maximize' is needed")
    return common(groups, "opt_type") if opt_type is None else opt_type


def _checked_sizes(sizes: Sequence[float]) -> tuple[float, ...]:
    received: object = sizes
    if isinstance(received, (str, bytes)) or not np.iterable(received):
        raise TypeError(f"sizes={sizes!r}: a sequence of numbers is needed, such as [0, 0.5, 1]")
    checked = tuple(check_number("sizes", size.item() if isinstance(size, np.generic) else size) for size in sizes)
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(f"sizes={sizes!r}: at least one size is needed, and none of them twice")
    return checked


def _with_bar(cells: Sequence[tuple[str, float]], *, visible: bool) -> Iterator[tuple[str, float]]:
    from rich.progress import track

    yield from track(cells, "episodes", disable=not visible, transient=True)


def _outcome(agent: str, size: float, played: Sequence[Episodes]) -> Outcome:
    series = join_series(played)
    errors = series.get("reference_error")
    # A state without its reference, or the other way round, is nothing to draw.
    courses = series if "reference" in series and "state_of_interest" in series else {}
    return Outcome(
        agent=agent,
        size=size,
        returns=np.stack([one.returns for one in played]),
        lengths=np.stack([one.lengths for one in played]),
        deaths=np.stack([one.deaths for one in played]),
        tracking_errors=None if errors is None else np.stack(np.split(_root_mean_square(errors), len(played))),
        references=courses.get("reference"),
        states=courses.get("state_of_interest"),
    )


def _root_mean_square(errors: Floats) -> Floats:
    """Returns root mean squares [n, k] over the steps of each episode [n, steps, k]; NaN where nothing is known."""
    known = np.isfinite(errors)
    count = known.sum(axis=1)
    squares = np.where(known, errors, 0.0) ** 2
    mean = np.divide(squares.sum(axis=1), count, out=np.full(count.shape, np.nan), where=count > 0)
    root: Floats = np.sqrt(mean)
    return root


def _with_equal_names(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns rows with NaN for what others have: of episodes that end at once `info` may say less."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, math.nan) for name in names} for row in rows]


def _mean_interval(values: Floats) -> tuple[float, float, float]:
    """Returns a mean and its 95% t interval, NaN of a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan
    low, high = confidence_interval(values[:, None])
    return mean, float(low[0]), float(high[0])


def _named(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
