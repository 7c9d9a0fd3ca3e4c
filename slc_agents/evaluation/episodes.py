"""Episodes of a policy, step by step, each with a start that its number determines.

Episode i starts from the seed + i, in a copy of the environment of its own. So it starts alike for each policy and each
disturbance, whatever happens in other episodes, and results can be compared one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.envs import EnvWrapper, make_vector_env
from slc_agents.errors import InvalidEnvironmentError
from slc_agents.evaluation.subjects import CopiedEnv
from slc_agents.training.evaluation import Predictor, run_episodes
from slc_agents.transition import Step

__all__ = ["Episodes", "join_series", "play_episodes", "tracking"]

MAX_COPIES = 50  # of an environment at a time: more are hardly faster, and a MuJoCo model takes megabytes
TRACKING = ("reference", "state_of_interest", "reference_error")

Floats = NDArray[np.float64]
Measure = Callable[[Step], Mapping[str, Floats]]


@dataclass(frozen=True)
class Episodes:
    """Episodes of one policy.

    Attributes:
        returns: Their sums of rewards or costs [n].
        lengths: In steps [n].
        deaths: Whether each was terminated by the task, not truncated [n].
        series: What was measured in each step, by name [n, longest, k]; NaN after an episode's end.
    """

    returns: Floats
    lengths: NDArray[np.int64]
    deaths: NDArray[np.bool_]
    series: Mapping[str, Floats]


def play_episodes(
    model: Predictor,
    env: CopiedEnv,
    n_episodes: int,
    measure: Measure,
    *,
    wrappers: Sequence[EnvWrapper] = (),
    deterministic: bool = True,
    seed: int = 0,
    max_ep_len: int | None = None,
) -> Episodes:
    """Plays episodes.

    Args:
        model: The policy.
        env: The environment, of which copies are made.
        n_episodes: How many.
        measure: Says what of a vector step is kept, by name: arrays [copies, k].
        wrappers: What to put around each copy.
        deterministic: Whether the policy's mean action is taken, not a sample.
        seed: Of the first episode; the next one has the next.
        max_ep_len: See `evaluate_policy`.
    """
    parts: list[Episodes] = []
    for start in range(0, n_episodes, MAX_COPIES):
        n = min(MAX_COPIES, n_episodes - start)
        copies = make_vector_env(env, n, wrappers=wrappers)
        recorder = _Recorder(n, measure)
        try:
            ended = run_episodes(
                model,
                copies,
                n,
                deterministic=deterministic,
                seed=seed + start,
                max_ep_len=max_ep_len,
                on_step=recorder,
            )
        finally:
            copies.close()
        returns = np.zeros(n)
        for episode in ended:
            returns[episode.env_index] = episode.reward
        parts.append(Episodes(returns, recorder.lengths, recorder.deaths, recorder.series()))
    return Episodes(
        np.concatenate([part.returns for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.deaths for part in parts]),
        join_series(parts),
    )


def join_series(parts: Sequence[Episodes]) -> dict[str, Floats]:
    """Returns the series of all episodes one after the other, [n, longest, k]; NaN where a part has nothing of them."""
    longest = max(int(part.lengths.max()) for part in parts)
    widths = {name: values.shape[-1] for part in parts for name, values in part.series.items()}
    joined = {}
    for name, width in widths.items():
        filled = [np.full((len(part.lengths), longest, width), np.nan) for part in parts]
        for part, values in zip(parts, filled, strict=True):
            if name in part.series:
                values[:, : part.series[name].shape[1]] = part.series[name]
        joined[name] = np.concatenate(filled)
    return joined


class _Recorder:
    """Keeps the first episode of each copy."""

    def __init__(self, n: int, measure: Measure) -> None:
        self.lengths = np.zeros(n, np.int64)
        self.deaths = np.zeros(n, bool)
        self._running = np.ones(n, bool)
        self._measure = measure
        self._rows: list[Mapping[str, Floats]] = []

    def __call__(self, step: Step) -> None:
        if not self._running.any():
            return
        self._rows.append(
            {name: np.where(self._running[:, None], values, np.nan) for name, values in self._measure(step).items()}
        )
        transition = step.transition
        self.lengths += self._running
        self.deaths |= self._running & transition.terminated
        self._running &= ~(transition.terminated | transition.truncated)

    def series(self) -> dict[str, Floats]:
        """Returns what was measured [n, steps, k], NaN in steps in which it wasn't there.

        Raises:
            InvalidEnvironmentError: If its number of components changes.
        """
        nothing = {name: np.full(values.shape, np.nan) for row in self._rows for name, values in row.items()}
        for name in nothing:
            sizes = sorted({row[name].shape[-1] for row in self._rows if name in row})
            if len(sizes) > 1:
                raise InvalidEnvironmentError(
                    f"env: its info[{name!r}] has {' and '.join(map(str, sizes))} numbers in different steps; as many "
                    "are needed in each"
                )
        return {
            name: np.stack([row.get(name, values) for row in self._rows], axis=1) for name, values in nothing.items()
        }


def tracking(step: Step) -> dict[str, Floats]:
    """Returns what an environment says of how it follows a reference, in `info`, as far as it does.

    `reference` is where `state_of_interest` should be, `reference_error` the difference between the two; numbers, or
    arrays.

    Raises:
        InvalidEnvironmentError: If one of them is no number.
    """
    n = len(step.transition.reward)
    found: dict[str, Floats] = {}
    for name in TRACKING:
        if name not in step.info:
            continue
        try:
            values = np.asarray(step.info[name], np.float64).reshape(n, -1)
        except (TypeError, ValueError) as error:
            raise InvalidEnvironmentError(
                f"env: its info[{name!r}] is {_first(step.info[name])!r:.80}; a number is needed, or an array of "
                "numbers that always has the same shape"
            ) from error
        there = np.asarray(step.info.get(f"_{name}", np.ones(n, bool)), bool)
        found[name] = np.where(there[:, None], values, np.nan)
    return found


def _first(values: Any) -> Any:
    return next(iter(values), None)
