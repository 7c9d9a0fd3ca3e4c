"""What a study is about, and whether those who work on it agree."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slc_agents.errors import ConfigError, check_whole_number
from slc_agents.seeding import draw_seed

if TYPE_CHECKING:
    import optuna

__all__ = ["BASE", "REASON", "SEEDS", "SETTINGS", "Task", "agree", "study_name"]

TASK, SEED = "task", "seed"  # what is kept with a study
BASE, SEEDS, SETTINGS, REASON = "base", "seeds", "settings", "reason"  # and with each trial


@dataclass(frozen=True)
class Task:
    """What all who work on a study must agree on, or its values could not be compared.

    Attributes:
        algo: Name of the algorithm.
        env_id: Id of the environment.
        policy: Name of the policy.
        opt_type: Whether the highest or the lowest value is the best.
        timesteps: Environment steps of each training.
        evaluations: Evaluations in the course of each training.
        eval_episodes: Episodes of each evaluation.
        seeds_per_trial: Trainings of each trial.
        settings: Hyperparameters that the search starts from, in plain values.
        space: What is searched, as in a file.
    """

    algo: str
    env_id: str
    policy: str
    opt_type: str
    timesteps: int
    evaluations: int
    eval_episodes: int
    seeds_per_trial: int
    settings: dict[str, Any]
    space: dict[str, Any]


def study_name(task: Task, storage: object) -> str:
    """Returns the name of a study that has none: with a storage always the same, so that it is gone on with."""
    name = re.sub(r"[^\w.-]", "_", f"{task.algo}-{task.env_id}")
    return name if storage is not None else f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def agree(study: optuna.Study, task: Task, seed: int | None) -> int:
    """Makes sure that a study, if it isn't new, is about the same task.

    Args:
        study: The study, of Optuna's; a new one is told the task and the seed.
        task: What it should be about.
        seed: The study's seed; None: its own, or one that is drawn.

    Returns:
        The study's seed.

    Raises:
        ConfigError: If it was begun otherwise.
    """
    mine, theirs = json.loads(json.dumps(asdict(task))), study.user_attrs.get(TASK)
    seed = None if seed is None else check_whole_number("seed", seed, 0)
    if theirs is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"study={study.study_name!r}: has trials of something else; give another name")
        study.set_user_attr(TASK, mine)
        study.set_user_attr(SEED, draw_seed() if seed is None else seed)
        return int(study.user_attrs[SEED])
    stored = int(study.user_attrs[SEED])
    different = list(_differences({**theirs, SEED: stored}, {**mine, SEED: stored if seed is None else seed}))
    if different:
        raise ConfigError(
            f"study={study.study_name!r}: was begun with {', '.join(different)}. Go on with the same, or give another "
            "name"
        )
    return stored


def _differences(theirs: Mapping[str, Any], mine: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Says what differs; inside mappings one by one."""
    for name in dict.fromkeys([*theirs, *mine]):
        one, other = theirs.get(name, _NOTHING), mine.get(name, _NOTHING)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{prefix}{name}: ")
        elif one != other:
            yield f"{prefix}{name}={_shown(one)} (received: {_shown(other)})"


def _shown(value: Any) -> str:
    return "nothing" if value is _NOTHING else f"{value!r:.60}"


_NOTHING = object()
