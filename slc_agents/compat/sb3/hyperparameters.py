"""What Stable-Baselines3's hyperparameters are here, by themselves: for models' files and for settings' files alike."""

from __future__ import annotations

from typing import Any, NamedTuple

from slc_agents.errors import check_number
from slc_agents.schedulers import Scheduler

__all__ = [
    "DECAY",
    "RATES",
    "TrainFrequency",
    "kept_noise",
    "moves_targets_each_step",
    "rates",
    "temperature",
    "training_times",
    "update_ratio",
]

RATES = ("lr_a", "lr_c", "lr_alpha")
# What becomes of a rate there, unless it is a schedule: nothing; and how far a run has come is counted in steps.
DECAY = {"lr_decay_type": "constant", "lr_decay_ref": "step"}


class TrainFrequency(NamedTuple):
    """How long a rollout lasts, after which gradient steps are taken: their `train_freq`.

    Attributes:
        number: How many of the unit.
        unit: "step", in which all parallel environments move once, or "episode".
    """

    number: int
    unit: str


def temperature(ent_coef: Any) -> dict[str, Any]:
    """Translates `ent_coef`: a fixed number; "auto" or "auto_0.1", learned and at first 1 or 0.1.

    Raises:
        ValueError: If it is something else.
    """
    is_learned = isinstance(ent_coef, str) and ent_coef.partition("_")[0] == "auto"
    number = (ent_coef.partition("_")[2] or 1.0) if is_learned else ent_coef
    try:
        alpha = check_number("ent_coef", float(number) if isinstance(number, str) else number)
    except ValueError:
        raise ValueError(f"ent_coef is {ent_coef!r}; a number, 'auto' or 'auto_0.1' is needed") from None
    return {"alpha": alpha, "adaptive_temperature": is_learned}


def rates(rate: float | Scheduler) -> dict[str, Any]:
    """Translates `learning_rate`, one for all optimisers, and constant unless it is a schedule."""
    return {**dict.fromkeys(RATES, rate), **DECAY}


def update_ratio(frequency: TrainFrequency | None, gradient_steps: int, n_envs: int) -> dict[str, int] | None:
    """Translates `train_freq` and `gradient_steps`, where there is a ratio of gradient steps to environment steps.

    They count steps of all parallel environments together, we transitions; -1: as many as there are new ones.
    """
    if frequency is None or frequency.unit != "step" or gradient_steps == 0:
        return None
    transitions = frequency.number * n_envs
    return {"update_every": transitions, "steps_per_update": transitions if gradient_steps < 0 else gradient_steps}


def training_times(learning_starts: int, update_every: int, n_envs: int, *, acts_at_once: bool) -> dict[str, int]:
    """Translates `learning_starts`, of which they look at multiples: of a step's, and of a rollout's transitions.

    Args:
        learning_starts: Transitions before which actions are random, and after which gradient steps are taken.
        update_every: Transitions in a rollout.
        n_envs: Transitions in a step.
        acts_at_once: Whether the policy acts from the first step on, `use_sde_at_warmup`.
    """
    return {
        "start_steps": 0 if acts_at_once else -(-learning_starts // n_envs) * n_envs,
        "update_after": (learning_starts // update_every + 1) * update_every,
    }


def moves_targets_each_step(target_update_interval: int, steps_per_update: int) -> bool:
    """Whether targets move with each gradient step: they count intervals anew in each rollout's gradient steps."""
    return target_update_interval == 1 or steps_per_update == 1


def kept_noise(sample_freq: int, frequency: TrainFrequency | None) -> int | None:
    """Translates `sde_sample_freq`: the steps for which weights of state-dependent noise are kept.

    They are drawn at the start of each rollout, and every `sample_freq` steps of it where that is above 0.

    Returns:
        `noise_steps`; None where stretches are not all of one length, or it isn't known.
    """
    if sample_freq == 1:
        return 1
    if frequency is None or frequency.unit != "step":
        return None
    if sample_freq < 1 or sample_freq >= frequency.number:
        return frequency.number
    return sample_freq if frequency.number % sample_freq == 0 else None
