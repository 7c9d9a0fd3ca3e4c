"""Learning-rate schedules: pure functions of a run's progress.

A scheduler maps progress p from 0 (a run's first epoch or block of updates) to 1 (its last) to a learning rate. It has
no state: where a run stands is the run's business, so a schedule can be shared, saved and started over. Any callable
that does the same may stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

from slc_agents.errors import ConfigError, check_number

__all__ = [
    "ConstantScheduler",
    "DecayType",
    "ExponentialScheduler",
    "LinearScheduler",
    "Schedule",
    "Scheduler",
    "learning_rate_at",
    "make_scheduler",
    "scheduler_from_dict",
    "scheduler_to_dict",
]

Schedule: TypeAlias = Callable[[float], float]
DecayType: TypeAlias = Literal["linear", "exponential", "constant"]


def _checked_rate(name: str, value: Any, *, positive: bool = False) -> float:
    try:
        rate = check_number(name, value)
    except ValueError:
        raise ConfigError(f"{name}={value!r}: must be a finite number") from None
    if rate < 0 or (positive and rate == 0):
        raise ConfigError(f"{name}={value!r}: must be {'> 0' if positive else '>= 0'}")
    return rate


def _check_rates(scheduler: Any, *, positive: bool = False) -> None:
    """Checks all rates of a scheduler that is being made, and makes them plain numbers."""
    for field in fields(scheduler):
        object.__setattr__(
            scheduler, field.name, _checked_rate(field.name, getattr(scheduler, field.name), positive=positive)
        )


@dataclass(frozen=True)
class ConstantScheduler:
    """The same rate throughout."""

    value: float
    type: ClassVar[DecayType] = "constant"

    def __post_init__(self) -> None:
        _check_rates(self)

    def __call__(self, progress: float) -> float:
        """Returns the rate at `progress` in [0, 1]."""
        check_number("progress", progress, 0, 1)
        return self.value


@dataclass(frozen=True)
class LinearScheduler:
    """Moves in a straight line: initial + (final - initial) p. It may rise."""

    initial: float
    final: float
    type: ClassVar[DecayType] = "linear"

    def __post_init__(self) -> None:
        _check_rates(self)

    def __call__(self, progress: float) -> float:
        """Returns the rate at `progress` in [0, 1]."""
        check_number("progress", progress, 0, 1)
        # Not initial + difference * p at the end: rounding there can miss a tiny final rate by its whole size.
        return self.final if progress >= 1.0 else self.initial + (self.final - self.initial) * progress


@dataclass(frozen=True)
class ExponentialScheduler:
    """Moves by a constant factor: initial (final / initial)^p. Both must be positive."""

    initial: float
    final: float
    type: ClassVar[DecayType] = "exponential"

    def __post_init__(self) -> None:
        _check_rates(self, positive=True)

    def __call__(self, progress: float) -> float:
        """Returns the rate at `progress` in [0, 1]."""
        check_number("progress", progress, 0, 1)
        return self.final if progress >= 1.0 else self.initial * (self.final / self.initial) ** progress


Scheduler: TypeAlias = ConstantScheduler | LinearScheduler | ExponentialScheduler
_SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.type: scheduler for scheduler in (ConstantScheduler, LinearScheduler, ExponentialScheduler)
}


def make_scheduler(decay_type: DecayType, initial: float, final: float) -> Scheduler:
    """Makes the scheduler of a decay type; `constant` has no use for `final`.

    Raises:
        ConfigError: If the type is unknown or a rate is out of range.
    """
    if decay_type == "constant":
        return ConstantScheduler(initial)
    if decay_type == "linear":
        return LinearScheduler(initial, final)
    if decay_type == "exponential":
        return ExponentialScheduler(initial, final)
    raise ConfigError(f"decay type {decay_type!r}: must be one of {', '.join(map(repr, _SCHEDULERS))}")


def scheduler_to_dict(scheduler: Scheduler) -> dict[str, Any]:
    """Describes a scheduler in plain values: `{"type": "linear", "initial": 1e-3, "final": 1e-5}`."""
    return {"type": scheduler.type, **asdict(scheduler)}


def scheduler_from_dict(description: Mapping[str, Any]) -> Scheduler:
    """Makes the scheduler that a plain mapping describes, as it stands in a YAML file.

    Raises:
        ConfigError: If the type is unknown, or a key is missing or unknown.
    """
    values = dict(description)
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in _SCHEDULERS:
        raise ConfigError(f"a schedule's type: {kind!r} must be one of {', '.join(map(repr, _SCHEDULERS))}")
    scheduler = _SCHEDULERS[kind]
    allowed = [field.name for field in fields(scheduler)]
    if set(values) != set(allowed):
        received = sorted(map(str, description))
        raise ConfigError(f"the schedule {kind!r} has the keys type, {', '.join(allowed)}; received {received}")
    return scheduler(**{key: _read_number(value) for key, value in values.items()})


def _read_number(value: Any) -> Any:
    """YAML reads 1e-3 as a text; what is no number is left for the scheduler to refuse."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def learning_rate_at(schedule: Schedule, progress: float, name: str) -> float:
    """Asks a schedule, which may be the user's own function, for a rate and checks the answer.

    Raises:
        ConfigError: If the answer is not a finite number >= 0.
    """
    try:
        answer: Any = schedule(progress)
    except Exception as error:
        error.add_note(
            f"Raised by the schedule of {name} at progress {progress:g}. It is called with one number, from 0, a run's "
            "beginning, to 1, its end, and must return a finite number >= 0."
        )
        raise
    try:
        rate = float(answer)
        _checked_rate(name, rate)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the schedule of {name} returned {answer!r} at progress {progress:g}; it must return a finite number >= 0"
        ) from error
    return rate
