"""Families of disturbances: one for each size, by name or of a user's own making."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from slc_agents.envs.disturbances import (
    ActionBias,
    ActionDelay,
    ActionImpulse,
    ActionNoise,
    MujocoChange,
    ObservationBias,
    ObservationDelay,
    ObservationNoise,
    ParameterChange,
)
from slc_agents.errors import UnsupportedSpaceError

__all__ = ["NAMES", "DisturbanceFamily", "disturbance_family", "named_disturbance"]

AnyEnv = gymnasium.Env[Any, Any]
Disturb: TypeAlias = Callable[[AnyEnv, Any], AnyEnv]
Wrapper: TypeAlias = type[gymnasium.Wrapper[Any, Any, Any, Any]]

# The names, and what a size means. Those that end in a colon go on with what to change.
NAMES = {
    "action-impulse": "added to the action in some steps (`steps`, `period`)",
    "action-noise": "standard deviation of noise on the action",
    "action-bias": "added to each action",
    "action-delay": "steps by which actions come late",
    "observation-noise": "standard deviation of noise on the observation",
    "observation-bias": "added to each observation",
    "observation-delay": "steps by which observations come late",
    "parameter:": "factor of an attribute of the innermost environment, as in `parameter:pole_length`",
    "mujoco:": "factor of a MuJoCo model's `mass`, `friction` or `gear`, as in `mujoco:mass`",
}
IMPULSE_STEP = IMPULSE_PERIOD = 20  # as in Han et al.'s "constant impulses": one step in 20
ADDED: dict[str, Wrapper] = {
    "action-impulse": ActionImpulse,
    "action-noise": ActionNoise,
    "action-bias": ActionBias,
    "observation-noise": ObservationNoise,
    "observation-bias": ObservationBias,
}
DELAYS: dict[str, Wrapper] = {"action-delay": ActionDelay, "observation-delay": ObservationDelay}
MUJOCO = ("mass", "friction", "gear")
# Sizes where none are given; of actions, in half ranges of the action.
ACTION_SIZES = {
    "action-impulse": (0.0, 1.0, 2.0, 4.0, 8.0),
    "action-noise": (0.0, 0.25, 0.5, 1.0, 2.0),
    "action-bias": (0.0, 0.125, 0.25, 0.5, 1.0),
}
DELAY_SIZES = (0.0, 1.0, 2.0, 4.0, 8.0)
FACTOR_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class DisturbanceFamily:
    """A kind of disturbance, of which there is one for each size.

    Attributes:
        name: What it is called.
        disturb: A function of an environment and a size that returns the disturbed environment.
        neutral: The size at which nothing is disturbed; None: there is none, or it isn't known.
        sizes: The sizes to try where none are given; None: they must be given.
        in_half_ranges: Whether those are in half ranges of the action: (high - low) / 2, the largest one.
    """

    name: str
    disturb: Disturb
    neutral: float | None = None
    sizes: tuple[float, ...] | None = None
    in_half_ranges: bool = False

    def at(self, size: float) -> Callable[[AnyEnv], AnyEnv]:
        """Returns what disturbs an environment by a size."""

        def disturbed(env: AnyEnv) -> AnyEnv:
            return self.disturb(env, size)

        return disturbed

    def default_sizes(self, action_space: gymnasium.Space[Any]) -> tuple[float, ...]:
        """Returns the sizes to try where none are given.

        Raises:
            ValueError: If they must be given.
            UnsupportedSpaceError: If they are parts of the action's range, and actions are no Box.
        """
        if self.sizes is None:
            raise ValueError(
                f"sizes: {self.name} has no sizes of its own, for they depend on the task's units; give some, such as "
                "0, 0.1, 0.2 (on the command line: --sizes 0,0.1,0.2)"
            )
        if not self.in_half_ranges:
            return self.sizes
        if not isinstance(action_space, gymnasium.spaces.Box):
            raise UnsupportedSpaceError(f"{self.name}: the action space is {action_space}; a Box of floats is needed")
        half_range = float(np.max(action_space.high / 2 - action_space.low / 2))
        if not np.isfinite(half_range):
            raise ValueError(
                f"sizes: those of {self.name} are parts of the action's range by default, but the action space is "
                f"{action_space}, which has no bounds; give some sizes, such as 0, 0.1, 0.2 (on the command line: "
                "--sizes 0,0.1,0.2)"
            )
        return tuple(size * half_range for size in self.sizes)


def disturbance_family(disturbance: str | DisturbanceFamily | Disturb) -> DisturbanceFamily:
    """Returns a family for whatever a user calls a disturbance.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is a name that isn't known.
    """
    if isinstance(disturbance, DisturbanceFamily):
        return disturbance
    if isinstance(disturbance, str):
        return named_disturbance(disturbance)
    received: object = disturbance
    if not callable(received) or isinstance(received, gymnasium.Env):
        raise TypeError(
            f"disturbance: received {disturbance!r}; a name, or a function of an environment and a size that returns "
            "the disturbed environment, is needed, such as a wrapper's class"
        )
    inner = disturbance.func if isinstance(disturbance, partial) else disturbance
    return DisturbanceFamily(getattr(inner, "__name__", type(inner).__name__), disturbance)


def named_disturbance(
    name: str,
    *,
    steps: int | Sequence[int] | None = None,
    period: int | None = None,
    parts: Sequence[float] | NDArray[np.float64] | None = None,
) -> DisturbanceFamily:
    """Returns a kind of disturbance by its name.

    Args:
        name: `action-impulse`, `action-noise`, `action-bias`, `action-delay`, `observation-noise`, `observation-bias`,
            `observation-delay`, `parameter:NAME` or `mujoco:NAME`.
        steps: Of an impulse: in which step or steps of an episode it pushes, the first of which is 0. None: in
            step 20, and in each 20th from then on.
        period: Of an impulse, with `steps`: after how many steps these come again; None: never.
        parts: What the size is multiplied with for each part of the action or observation: of [0, 0, 1, 0] only the
            third is disturbed. None: all are, by the size itself.

    Raises:
        ValueError: If there is no such disturbance, or it has no such option.
    """
    kind, colon, rest = name.partition(":")
    if kind + colon not in NAMES or bool(colon) != bool(rest):
        _raise_unknown(name)
    is_impulse = name == "action-impulse"
    for option, value, allowed in (
        ("steps", steps, ["action-impulse"]),
        ("period", period, ["action-impulse"]),
        ("parts", parts, list(ADDED)),
    ):
        if value is not None and name not in allowed:
            raise ValueError(f"{option}={value!r}: {name} has no such option; it is one of {', '.join(allowed)}")
    if is_impulse and steps is None:
        if period is not None:
            raise ValueError(f"period={period!r}: give the steps of the first impulse too, which then come again")
        steps, period = [IMPULSE_STEP], IMPULSE_PERIOD
    if name in ADDED:
        options: dict[str, Any] = {"steps": steps, "period": period} if is_impulse else {}
        wrapper = partial(ADDED[name], **options)
        weights = None if parts is None else _weights(parts)
        disturb: Disturb = wrapper if weights is None else partial(_by_parts, wrapper, weights)
        sizes = ACTION_SIZES.get(name) if weights is None else None
        return DisturbanceFamily(name, disturb, 0.0, sizes, in_half_ranges=True)
    if name in DELAYS:
        return DisturbanceFamily(name, DELAYS[name], 0.0, DELAY_SIZES)
    if kind == "mujoco":
        if rest not in MUJOCO:
            raise ValueError(f"{name!r}: there is no such factor of a MuJoCo model; there are {', '.join(MUJOCO)}")
        return DisturbanceFamily(name, partial(_mujoco, rest), 1.0, FACTOR_SIZES)
    return DisturbanceFamily(name, partial(_parameter, rest), 1.0, FACTOR_SIZES)


def _raise_unknown(name: str) -> None:
    shown = [f"{known}NAME" if known.endswith(":") else known for known in NAMES]
    nearest = difflib.get_close_matches(name, shown, n=3)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(shown)}"
    raise ValueError(f"disturbance={name!r}: there is none of that name; {hint}")


def _weights(parts: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        return np.asarray(parts, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"parts={parts!r}: numbers are needed, such as [0, 0, 1, 0]") from error


def _by_parts(wrapper: Disturb, parts: NDArray[np.float64], env: AnyEnv, size: float) -> AnyEnv:
    try:
        return wrapper(env, size * parts)
    except ValueError as error:
        raise ValueError(f"parts={parts.tolist()}, multiplied with the size {size:g}: {error}") from error


def _parameter(name: str, env: AnyEnv, factor: float) -> AnyEnv:
    return ParameterChange(env, factors={name: factor})


def _mujoco(name: str, env: AnyEnv, factor: float) -> AnyEnv:
    return MujocoChange(env, **{name: factor})
