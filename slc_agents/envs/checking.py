"""Checking an environment before one trains on it: see `check_env`."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.utils import env_checker

from slc_agents.envs.rules import guarded, require_env
from slc_agents.envs.vector import refuse_vector_env
from slc_agents.errors import InvalidEnvironmentError, UnsupportedSpaceError
from slc_agents.spaces import check_action_space, check_observation_space

__all__ = ["check_env"]

_STEPS = 100  # that an environment is watched for
_SEED = 123
# What gymnasium's checker says that is none of these agents' concern: they scale actions to the bounds themselves, need
# no bounds of observations, take wrapped environments, and don't render.
_IRRELEVANT = re.compile(
    "symmetric and normalized space|Box observation space m|different from the unwrapped version|"
    "alternative render modes"
)


def check_env(env: str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]]) -> None:
    """Checks that an agent can train in an environment: gymnasium's rules, and what the agents add to them.

    Run it once for an environment of your own. It resets and steps the environment, which is in the middle of some
    episode afterwards. What is merely suspicious becomes one warning that lists it.

    Args:
        env: An id, an environment or a factory. One that is made here is closed again.

    Raises:
        InvalidEnvironmentError: If a rule is broken. The message lists the broken rules: what was seen and what to
            change, then the warnings.
        TypeError: If it is no environment of gymnasium's.
    """
    refuse_vector_env(env)
    with _caught_warnings() as caught:
        if isinstance(env, str):
            made: object = gymnasium.make(env)
        else:
            made = env if isinstance(env, gymnasium.Env) or not callable(env) else env()
        checked = require_env(made, "env: received")
        try:
            problems = list(_problems(checked))
        finally:
            if checked is not env:
                checked.close()
    suspicions = _readable(caught)
    name = env if isinstance(env, str) else type(checked.unwrapped).__name__
    if problems:
        parts = [f"{name} can't be trained in:", *(f"  - {problem}" for problem in problems)]
        parts += ["Warnings:", *(f"  - {suspicion}" for suspicion in suspicions)] if suspicions else []
        raise InvalidEnvironmentError("\n".join(parts))
    if suspicions:
        lines = [f"{name} breaks no rule, but:", *(f"  - {suspicion}" for suspicion in suspicions)]
        warnings.warn("\n".join(lines), stacklevel=2)


def _problems(env: gymnasium.Env[Any, Any]) -> Iterator[str]:
    """Yields what is wrong, until it makes no sense to go on."""
    broken = False
    for check, space in ((check_observation_space, env.observation_space), (check_action_space, env.action_space)):
        try:
            check(space)
        except UnsupportedSpaceError as error:
            broken = True
            yield str(error)
    if broken:
        return
    for examine in (_signature, _play, _determinism, _gymnasium_checker):
        try:
            problem = examine(env)
        except InvalidEnvironmentError as error:
            problem = str(error)
        except Exception as error:  # the environment's own, which is what to report
            problem = f"its code raised {type(error).__name__}: {error}"
        if problem is not None:
            yield problem
            return


def _signature(env: gymnasium.Env[Any, Any]) -> str | None:
    parameters = inspect.signature(env.unwrapped.reset).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    missing = [name for name in ("seed", "options") if name not in parameters]
    if missing and not takes_all:
        return (
            f"reset() doesn't take the keyword {' and '.join(missing)}; needed is "
            "def reset(self, *, seed=None, options=None), with super().reset(seed=seed) as its first line"
        )
    return None


def _play(env: gymnasium.Env[Any, Any]) -> str | None:
    """Runs episodes, at the bounds of the actions first."""
    guard, space = guarded(env, "env: received"), cast("gymnasium.spaces.Box", env.action_space)
    space.seed(_SEED)
    ended, resets = True, 0
    for i in range(_STEPS):
        if ended:
            observation, _ = guard.reset(seed=_SEED + resets)
            resets += 1
            problem = _value_problem(observation, env)
            if problem is not None:
                return f"reset() {problem}"
        action = (space.low, space.high)[i] if i < 2 else space.sample()
        observation, reward, terminated, truncated, _ = guard.step(action)
        problem = _value_problem(observation, env)
        if problem is None and not abs(float(reward)) <= np.finfo(np.float32).max:
            problem = f"returned the reward {reward}, which is not finite in float32. Mend or clip it"
        if problem is not None:
            return f"step() {problem}"
        ended = bool(terminated or truncated)
    return None


def _value_problem(observation: Any, env: gymnasium.Env[Any, Any]) -> str | None:
    """Says which values or dtype of an observation, whose shape is right, are not what the space declares."""
    space: Any = env.observation_space
    is_dict = isinstance(space, gymnasium.spaces.Dict)
    boxes = space.spaces if is_dict else {"": space}
    for key, box in boxes.items():
        value = observation[key] if is_dict else observation
        name = f"observation {key!r}" if is_dict else "observation"
        array = np.asarray(value)
        if not np.isfinite(array).all():
            return f"returned the {name} {array!r}, which is not finite. Mend or clip it"
        if (array < box.low).any() or (array > box.high).any():
            at = tuple(int(i[0]) for i in np.nonzero((array < box.low) | (array > box.high)))
            return (
                f"returned an {name} outside the observation space: {array[at]} at {list(at)}, bounds "
                f"{box.low[at]} to {box.high[at]}. Widen the Box, or clip the observation"
            )
        if not isinstance(value, np.ndarray):
            return f"returned the {name} as {type(value).__name__}; an array is needed: np.array(..., np.{box.dtype})"
        if not np.can_cast(array.dtype, box.dtype):
            return (
                f"returned an {name} of dtype {array.dtype}; the observation space declares {box.dtype}. Return "
                f"observation.astype(np.{box.dtype}), or declare dtype=np.{array.dtype}"
            )
    return None


def _determinism(env: gymnasium.Env[Any, Any]) -> str | None:
    """The same seed and the same actions must give the same episode: a training couldn't be repeated otherwise."""
    if env.spec is not None and env.spec.nondeterministic:
        return None
    if env.unwrapped._np_random is None:
        return "reset() doesn't call super().reset(seed=seed), so self.np_random has no seed. Make it the first line"
    first, second = _episode(env), _episode(env)
    for i, (one, other) in enumerate(zip(first, second, strict=False)):
        if not env_checker.data_equivalence(one, other):
            where = f"reset(seed={_SEED})" if i == 0 else f"step() number {i} after reset(seed={_SEED})"
            return (
                f"{where} gave different results with the same seed and the same actions: {one} and {other}. Take all "
                "randomness from self.np_random, and let reset() set everything back"
            )
    return None


def _episode(env: gymnasium.Env[Any, Any]) -> list[Any]:
    """Returns what the beginning of an episode shows: observations, then with reward and ends."""
    env.action_space.seed(_SEED)
    shown: list[Any] = [_copied(env.reset(seed=_SEED)[0])]
    for _ in range(10):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        shown.append((_copied(observation), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    return shown


def _copied(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {key: np.array(value) for key, value in observation.items()}
    return np.array(observation)


def _gymnasium_checker(env: gymnasium.Env[Any, Any]) -> str | None:
    try:
        env_checker.check_env(env, skip_render_check=True)
    except Exception as error:  # it raises assertions and errors of all kinds
        return f"gymnasium's own checker: {_plain(str(error)) or type(error).__name__}"
    return None


@contextmanager
def _caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def _readable(caught: list[warnings.WarningMessage]) -> list[str]:
    texts = dict.fromkeys(_plain(str(one.message)) for one in caught)
    return [text for text in texts if not _IRRELEVANT.search(text)]


def _plain(text: str) -> str:
    """Returns a text of gymnasium's without a terminal's colours and its word for warnings."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).removeprefix("WARN: ").strip()
