"""gymnasium's rules for an environment, as far as training relies on them, and the guard that names a broken one."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from slc_agents.errors import InvalidEnvironmentError

__all__ = ["Guard", "guarded", "is_old_gym", "observation_problem", "require_env", "reset_problem", "step_problem"]

_FIVE = "(observation, reward, terminated, truncated, info)"


def require_env(env: object, source: str) -> gymnasium.Env[Any, Any]:
    """Returns `env` where it is a gymnasium environment with spaces.

    Args:
        env: What was received.
        source: Where it came from, as the subject of a sentence.

    Raises:
        TypeError: If it is none; one of the old package `gym` is told apart.
        InvalidEnvironmentError: If it lacks a space.
    """
    if not isinstance(env, gymnasium.Env):
        if is_old_gym(env):
            raise TypeError(
                f"{source} {type(env).__name__!r}, an environment of the old package gym; a gymnasium.Env is needed. "
                "Convert it with the package shimmy: pip install 'shimmy[gym-v26]', then "
                "shimmy.GymV26CompatibilityV0(env=env) (for gym before 0.26: 'shimmy[gym-v21]' and "
                "GymV21CompatibilityV0), or derive its class from gymnasium.Env and follow its API"
            )
        raise TypeError(f"{source} {env!r}; a gymnasium.Env is needed: derive the environment's class from it")
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, spaces.Space):
            raise InvalidEnvironmentError(
                f"{_name(env)}: its {name} is {space!r}; one of gymnasium.spaces is needed. Set self.{name} in __init__"
            )
    return env


def is_old_gym(env: object) -> bool:
    """Whether an object's class, or one that it derives from, comes from the package `gym`."""
    return any(base.__module__.partition(".")[0] == "gym" for base in type(env).__mro__)


def reset_problem(result: Any, space: gymnasium.Space[Any]) -> str | None:
    """Says which rule the result of `reset` breaks, or None."""
    if not isinstance(result, tuple) or len(result) != 2:
        return (
            f"returned {_describe(result)}; (observation, info) is needed. Return two values, the second one a dict, "
            "which may be empty: return observation, {}"
        )
    observation, info = result
    return _info_problem(info) or observation_problem(observation, space)


def step_problem(result: Any, space: gymnasium.Space[Any]) -> str | None:
    """Says which rule the result of `step` breaks, or None."""
    if not isinstance(result, tuple) or len(result) != 5:
        if isinstance(result, tuple) and len(result) == 4:
            return (
                "returned 4 values, as (observation, reward, done, info) of the old package gym; 5 are needed: "
                f"{_FIVE}. Say instead of done whether the task itself ended (terminated), and whether the episode was "
                "only cut off, as by a time limit (truncated)"
            )
        return f"returned {_describe(result)}; {_FIVE} is needed"
    observation, reward, terminated, truncated, info = result
    if not _is_number(reward):
        return f"returned the reward {_describe(reward)}; a number is needed. Return float(reward)"
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        if not _is_bool(value):
            return f"returned {name} as {_describe(value)}; True or False is needed. Return bool({name})"
    return _info_problem(info) or observation_problem(observation, space)


def observation_problem(observation: Any, space: gymnasium.Space[Any]) -> str | None:
    """Says why an observation can't be taken for one of a Box, or of a Dict of Boxes; None where it can.

    Values outside the bounds, and another dtype of the same kind (float64 for float32), are no hindrance.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping):
            return (
                f"returned the observation {_describe(observation)}; the observation space needs a dict with the keys "
                f"{sorted(space.spaces)}"
            )
        if set(observation) != set(space.spaces):
            return (
                f"returned an observation with the keys {sorted(map(str, observation))}; the observation space has "
                f"{sorted(space.spaces)}. They must be the same"
            )
        problems = (_box_problem(observation[key], box, f" {key!r}") for key, box in space.spaces.items())
        return next((problem for problem in problems if problem is not None), None)
    return _box_problem(observation, space, "")


def _box_problem(value: Any, box: gymnasium.Space[Any], key: str) -> str | None:
    if not isinstance(box, spaces.Box):  # which no agent takes, and says so itself
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        return f"returned the observation{key} {_describe(value)}; the observation space needs numbers: {box}"
    if array.shape != box.shape:
        return (
            f"returned an observation{key} of shape {array.shape}; the observation space declares {box.shape}. Change "
            "one of them"
        )
    if not np.can_cast(array.dtype, box.dtype, "same_kind"):
        unscaled = " unscaled," if box.dtype == np.uint8 else ""
        return (
            f"returned an observation{key} of dtype {array.dtype}, which doesn't fit the observation space's "
            f"{box.dtype}. Declare dtype=np.{array.dtype} there, or return observations{unscaled} as "
            f"np.{box.dtype}"
        )
    return None


def _info_problem(info: Any) -> str | None:
    if isinstance(info, dict):
        return None
    return f"returned the info {_describe(info)}; a dict is needed, which may be empty: {{}}"


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "biuf"
    return isinstance(value, (numbers.Real, np.bool_))


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (
        isinstance(value, np.ndarray) and value.shape == () and value.dtype == np.bool_
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"dict with the keys {sorted(map(str, value))}"
    return f"{value!r} ({type(value).__name__})"


def _name(env: gymnasium.Env[Any, Any]) -> str:
    return type(env.unwrapped).__name__


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says readably which of gymnasium's rules an environment breaks, where gymnasium's own code would only stumble.

    It stands around each environment in a vector environment of ours, in its worker process too. A look at each result
    costs about a microsecond, so that nothing wrong passes at a later step either (as `terminated="no"` would).

    Args:
        env: The environment.
        borrowed: Whether it is the user's, who closes it: a vector environment closes what it holds when it goes.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, borrowed: bool = False) -> None:
        super().__init__(env)
        self.borrowed = borrowed
        self._space: gymnasium.Space[Any] = env.observation_space
        dict_of_boxes = isinstance(self._space, spaces.Dict)
        self._boxes = dict(self._space.spaces) if dict_of_boxes else {"": self._space}  # type: ignore[attr-defined]
        self._is_dict = dict_of_boxes

    @property
    def spec(self) -> Any:  # type: ignore[override]  # nobody sets it
        """The environment's own: a guard is nothing that it would have to be made with again."""
        return self.env.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment."""
        try:
            result = self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._explain(error, "reset", None)
            raise
        problem = reset_problem(result, self._space)
        if problem is not None:
            raise self._error("reset", problem)
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment."""
        try:
            result = self.env.step(action)
        except Exception as error:
            self._explain(error, "step", action)
            raise
        if not self._is_usual(result):
            problem = step_problem(result, self._space)
            if problem is not None:
                raise self._error("step", problem)
        return result

    def close(self) -> None:
        """Closes the environment, unless it is borrowed."""
        if not self.borrowed:
            super().close()

    def _is_usual(self, result: Any) -> bool:
        """A quick look; what is not usual may still be right."""
        if type(result) is not tuple or len(result) != 5:
            return False
        observation, reward, terminated, truncated, info = result
        if not (
            (reward.__class__ is float or isinstance(reward, np.floating))
            and (terminated is True or terminated is False or terminated.__class__ is np.bool_)
            and (truncated is True or truncated is False or truncated.__class__ is np.bool_)
            and info.__class__ is dict
        ):
            return False
        if not self._is_dict:
            return _fits(observation, self._boxes[""])
        return (
            observation.__class__ is dict
            and len(observation) == len(self._boxes)
            and all(key in observation and _fits(observation[key], box) for key, box in self._boxes.items())
        )

    def _explain(self, error: Exception, method: str, action: Any) -> None:
        """Raises a readable error where gymnasium's code, not the environment's, has failed on what it was given."""
        if not _raised_outside_environment(error):
            return
        if isinstance(error, NotImplementedError):
            raise self._error(method, "is not there; every environment needs it") from error
        if method == "reset" and isinstance(error, TypeError) and "keyword argument" in str(error):
            raise self._error(
                method,
                f"doesn't take what it is given ({error}). Needed is "
                "def reset(self, *, seed=None, options=None), with super().reset(seed=seed) as its first line",
            ) from error
        problem = self._ask_again(method, action)
        if problem is None and isinstance(error, AssertionError) and str(error):
            problem = f"breaks a rule of gymnasium's: {error}"  # from the checker that gymnasium.make puts around
        if problem is not None:
            raise self._error(method, problem) from error

    def _ask_again(self, method: str, action: Any) -> str | None:
        """Looks at what the innermost environment returns: its episode is lost anyway."""
        env = self.env.unwrapped
        with suppress(Exception):
            result: Any = env.reset()
            if method == "reset":
                return reset_problem(result, env.observation_space)
            return step_problem(env.step(action), env.observation_space)
        return None

    def _error(self, method: str, problem: str) -> InvalidEnvironmentError:
        return InvalidEnvironmentError(f"{_name(self)}.{method}() {problem}")


def _fits(value: Any, box: Any) -> bool:
    return (
        value.__class__ is np.ndarray
        and value.shape == box.shape
        and (value.dtype == box.dtype or np.can_cast(value.dtype, box.dtype, "same_kind"))
    )


def _raised_outside_environment(error: Exception) -> bool:
    """Whether an error was raised by gymnasium's own wrappers, or in the call of the environment's method."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__", ""))
    of_gymnasium = module.startswith("gymnasium.") and not module.startswith("gymnasium.envs.")
    return of_gymnasium or module == __name__


def guarded(env: object, source: str, *, borrowed: bool = False) -> Guard:
    """Puts a guard around an environment that has none; see `require_env` for the errors."""
    return env if isinstance(env, Guard) else Guard(require_env(env, source), borrowed=borrowed)
