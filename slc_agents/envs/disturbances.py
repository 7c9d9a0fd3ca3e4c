"""Wrappers that disturb an environment: to see how well a policy does where things are not as in training.

Each stands around one environment, and they can be stacked. Those that draw random numbers have a generator of their
own, seeded by `reset(seed=...)`: so an episode starts as it would without the disturbance. What an environment says in
`info` is not disturbed.

Actions are disturbed behind their bounds where the environment has an input for it, as the control tasks
(`slc_agents.envs.control_task.ControlTask`) have: an external force is not held back by what the motor can do. It is in
the task's own units, whatever wrappers rescale the action on its way. In any other environment the disturbance is added
to the action, which many then clip.
"""

from __future__ import annotations

import copy
import difflib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from slc_agents.envs.control_task import ControlTask
from slc_agents.errors import UnsupportedSpaceError, check_positive, check_whole_number, require

__all__ = [
    "ActionBias",
    "ActionDelay",
    "ActionImpulse",
    "ActionNoise",
    "MujocoChange",
    "ObservationBias",
    "ObservationDelay",
    "ObservationNoise",
    "ParameterChange",
]

AnyEnv = gymnasium.Env[Any, Any]
Step = tuple[Any, Any, bool, bool, dict[str, Any]]


class _Disturbance(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Counts an episode's steps, and has a random generator of its own."""

    def __init__(self, env: AnyEnv, **arguments: Any) -> None:
        RecordConstructorArgs.__init__(self, **arguments)  # so that gymnasium can make it again
        super().__init__(env)
        self.n_steps = 0  # that the episode has had
        self._generator = np.random.default_rng()
        self._depth = _n_layers(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self.n_steps = 0
        if seed is not None:  # the depth, so that two wrappers of a stack don't draw the same
            self._generator = np.random.default_rng([seed, self._depth])
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Step:
        """Moves the environment by one step."""
        self.n_steps += 1
        return self.env.step(action)


class _Adding(_Disturbance):
    """Adds something to each action, or to each observation."""

    _box: spaces.Box  # the space of what it is added to

    def _added(self) -> NDArray[np.float64]:
        """Returns what is added in this step [the box's shape]."""
        raise NotImplementedError


class _Noise(_Adding):
    """Adds Gaussian noise."""

    def __init__(self, env: AnyEnv, scale: float | Sequence[float] | NDArray[np.float64]) -> None:
        super().__init__(env, scale=scale)
        self.scale = _parts("scale", scale, self._box, minimum=0.0)

    def _added(self) -> NDArray[np.float64]:
        return self.scale * self._generator.standard_normal(self.scale.shape)


class _Bias(_Adding):
    """Adds a constant."""

    def __init__(self, env: AnyEnv, bias: float | Sequence[float] | NDArray[np.float64]) -> None:
        super().__init__(env, bias=bias)
        self.bias = _parts("bias", bias, self._box)

    def _added(self) -> NDArray[np.float64]:
        return self.bias


def _n_layers(env: AnyEnv) -> int:
    count = 1
    while isinstance(env, gymnasium.Wrapper):
        count, env = count + 1, env.env
    return count


# -- actions -----------------------------------------------------------------------------------------------------------


class _ActionDisturbance(_Adding):
    """Adds something to each action."""

    def __init__(self, env: AnyEnv, **arguments: Any) -> None:
        self._box = _float_box(type(self).__name__, "action space", env.action_space)
        super().__init__(env, **arguments)

    def step(self, action: Any) -> Step:
        """Moves the environment by one step, with the disturbed action."""
        plant, added = self.env.unwrapped, self._added()
        if isinstance(plant, ControlTask):
            plant.action_disturbance = plant.action_disturbance + added
        else:
            action = (np.asarray(action) + added).astype(self._box.dtype)
        return super().step(action)


class ActionImpulse(_ActionDisturbance):
    """Pushes in some steps of each episode.

    Args:
        env: The environment.
        magnitude: What is added to the action: a number, or one for each of its parts.
        steps: In which step, or steps; the first of an episode is 0. `range(100, 110)` is a push of ten steps.
        period: After how many steps they come again. None: never.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        env: AnyEnv,
        magnitude: float | Sequence[float] | NDArray[np.float64],
        steps: int | Iterable[int],
        period: int | None = None,
    ) -> None:
        received = list(steps) if isinstance(steps, Iterable) else [steps]
        self.steps = [check_whole_number("steps", step, minimum=0) for step in received]
        if not self.steps:
            raise ValueError(f"steps={steps!r}: in none of them there is nothing to push; give one step or several")
        self.period = None if period is None else check_whole_number("period", period)
        super().__init__(env, magnitude=magnitude, steps=self.steps, period=period)
        self.magnitude = _parts("magnitude", magnitude, self._box)

    def _added(self) -> NDArray[np.float64]:
        since = [self.n_steps - step for step in self.steps]
        if self.period is not None:
            since = [steps % self.period for steps in since if steps >= 0]
        return self.magnitude if 0 in since else np.zeros_like(self.magnitude)


class ActionNoise(_Noise, _ActionDisturbance):
    """Adds Gaussian noise to each action.

    Args:
        env: The environment.
        scale: Standard deviation: a number, or one for each part of the action.

    Raises:
        ValueError: If the scale is negative or of another shape.
    """


class ActionBias(_Bias, _ActionDisturbance):
    """Adds a constant to each action.

    Args:
        env: The environment.
        bias: What is added: a number, or one for each part of the action.

    Raises:
        ValueError: If the bias is of another shape.
    """


class ActionDelay(_Disturbance):
    """Lets each action act some steps late. Until the first one does, the action is 0, or its bound nearest to 0.

    Args:
        env: The environment.
        delay: Number of steps.

    Raises:
        ValueError: If the delay is no whole number from 0 on.
    """

    def __init__(self, env: AnyEnv, delay: int) -> None:
        self.delay = check_whole_number("delay", delay, minimum=0)
        box = _float_box("ActionDelay", "action space", env.action_space)
        super().__init__(env, delay=delay)
        self._rest = np.clip(np.zeros(box.shape, box.dtype), box.low, box.high)
        self._pending: deque[Any] = deque()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self._pending = deque(self._rest.copy() for _ in range(self.delay))
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Step:
        """Moves the environment by one step, with an earlier action."""
        self._pending.append(np.array(action))
        return super().step(self._pending.popleft())


# -- observations ------------------------------------------------------------------------------------------------------


class _ObservationDisturbance(_Disturbance):
    """Changes each observation."""

    def _disturbed(self, observation: Any) -> Any:
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode, and returns its disturbed first observation."""
        observation, info = super().reset(seed=seed, options=options)
        return self._disturbed(observation), info

    def step(self, action: Any) -> Step:
        """Moves the environment by one step, and returns the disturbed observation."""
        observation, *rest = super().step(action)
        return (self._disturbed(observation), *rest)


class _AddedToObservation(_Adding, _ObservationDisturbance):
    """Adds something to each observation, which is then clipped to the bounds of its space."""

    def __init__(self, env: AnyEnv, **arguments: Any) -> None:
        self._box = _float_box(type(self).__name__, "observation space", env.observation_space)
        super().__init__(env, **arguments)

    def _disturbed(self, observation: Any) -> NDArray[Any]:
        disturbed: NDArray[Any] = np.clip(observation + self._added(), self._box.low, self._box.high)
        return disturbed.astype(self._box.dtype)


class ObservationNoise(_Noise, _AddedToObservation):
    """Adds Gaussian noise to each observation, which is then clipped to the bounds of its space.

    Args:
        env: The environment; its observations are a Box of floats.
        scale: Standard deviation: a number, or one for each part of the observation.

    Raises:
        ValueError: If the scale is negative or of another shape, or the observations are of another kind.
    """


class ObservationBias(_Bias, _AddedToObservation):
    """Adds a constant to each observation, which is then clipped to the bounds of its space.

    Args:
        env: The environment; its observations are a Box of floats.
        bias: What is added: a number, or one for each part of the observation.

    Raises:
        ValueError: If the bias is of another shape, or the observations are of another kind.
    """


class ObservationDelay(_ObservationDisturbance):
    """Shows each observation some steps late, and until then the first one of the episode.

    Args:
        env: The environment.
        delay: Number of steps.

    Raises:
        ValueError: If the delay is no whole number from 0 on.
    """

    def __init__(self, env: AnyEnv, delay: int) -> None:
        self.delay = check_whole_number("delay", delay, minimum=0)
        super().__init__(env, delay=delay)
        self._pending: deque[Any] = deque()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self._pending.clear()
        return super().reset(seed=seed, options=options)

    def _disturbed(self, observation: Any) -> Any:
        if not self._pending:
            self._pending.extend(copy.deepcopy(observation) for _ in range(self.delay))
        self._pending.append(observation)
        return self._pending.popleft()


# -- parameters --------------------------------------------------------------------------------------------------------


class _Change(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Gives values of the innermost environment others, until it is closed; those of a copy are changed too."""

    _before: Mapping[str, Any]

    def _get(self, names: Iterable[str]) -> dict[str, Any]:
        raise NotImplementedError

    def _set(self, values: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def restore(self) -> None:
        """Sets back what was changed."""
        self._set(self._before)
        self._before = {}

    def close(self) -> None:
        """Sets back what was changed, and closes the environment."""
        self.restore()
        super().close()

    # Many environments are made anew where they are copied (gymnasium's EzPickle), and know nothing of changes.

    def __getstate__(self) -> dict[str, Any]:
        return {"attributes": vars(self).copy(), "values": self._get(self._before)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._set(state["values"])


class ParameterChange(_Change):
    """Gives an environment other parameters: attributes of the innermost one, such as a pole's length.

    They act from now on. `restore()` and `close()` set them back.

    Args:
        env: The environment.
        values: New values by the names of attributes.
        factors: What to multiply attributes with, by their names.

    Raises:
        ValueError: If there is no such attribute, it is no number or array, can't be set, or the value is out of range.
    """

    def __init__(
        self, env: AnyEnv, values: Mapping[str, Any] | None = None, factors: Mapping[str, float] | None = None
    ) -> None:
        RecordConstructorArgs.__init__(self, values=values, factors=factors)
        super().__init__(env)
        plant, values, factors = env.unwrapped, dict(values or {}), dict(factors or {})
        before = {name: _parameter(plant, name) for name in (*values, *factors)}
        if len(before) < len(values) + len(factors):
            raise ValueError(f"{sorted(set(values) & set(factors))}: give a value or a factor, not both")
        after = {name: _like(name, value, before[name]) for name, value in values.items()}
        after |= {name: before[name] * check_positive(name, factor) for name, factor in factors.items()}
        self._before = before
        self._set(after)
        if isinstance(plant, ControlTask):
            try:
                plant.check_parameters()
            except ValueError:
                self.restore()
                raise

    def _get(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: copy.copy(getattr(self.env.unwrapped, name)) for name in names}

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.env.unwrapped, name, value)


def _parameter(plant: Any, name: str) -> Any:
    """Returns an attribute's value, if it is one that can be changed."""
    names = plant.parameter_names() if isinstance(plant, ControlTask) else dir(plant)
    known = [key for key in names if _can_be_set(plant, key) and _is_number(getattr(plant, key, None))]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=3) or known
        raise ValueError(
            f"{type(plant).__name__} has no parameter {name!r}, a number or an array that can be set; there are "
            f"{', '.join(nearest)}"
        )
    return copy.copy(getattr(plant, name))


def _can_be_set(plant: Any, name: str) -> bool:
    declared = getattr(type(plant), name, None)
    return not name.startswith("_") and not (isinstance(declared, property) and declared.fset is None)


def _is_number(value: Any) -> bool:
    kinds = (int, float, np.number)
    return (isinstance(value, kinds) and not isinstance(value, bool)) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    )


def _like(name: str, value: Any, before: Any) -> Any:
    """Returns a value for an attribute: a number, or an array of the shape that is there."""
    array = np.asarray(value)
    fits = array.ndim == 0 or not isinstance(before, np.ndarray) or array.shape == before.shape
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all() or not fits:
        raise ValueError(f"{name}={value!r}: a finite number is needed, as {before!r} was before, or an array like it")
    return value if array.ndim == 0 else array


class MujocoChange(_Change):
    """Makes the robot of a MuJoCo task heavier, its ground smoother or its motors weaker.

    The changes act from now on; reset the environment first. `restore()` and `close()` set them back.

    Args:
        env: The environment, one of gymnasium's MuJoCo tasks or made like them.
        mass: What to multiply the masses and inertias of all bodies with.
        friction: What to multiply the friction of all geometries with.
        gear: What to multiply the forces of all actuators with.

    Raises:
        ValueError: If a factor is not above 0, or the environment has no model of MuJoCo's.
    """

    def __init__(self, env: AnyEnv, *, mass: float = 1.0, friction: float = 1.0, gear: float = 1.0) -> None:
        RecordConstructorArgs.__init__(self, mass=mass, friction=friction, gear=gear)
        super().__init__(env)
        model: Any = getattr(env.unwrapped, "model", None)
        if not type(model).__module__.startswith("mujoco"):
            raise ValueError(f"env: {env} has no model of MuJoCo's; ParameterChange is for other environments")
        mass, friction, gear = (
            check_positive(name, value) for name, value in (("mass", mass), ("friction", friction), ("gear", gear))
        )
        factors = {"body_mass": mass, "body_inertia": mass, "geom_friction": friction, "actuator_gear": gear}
        self._before = self._get(factors)
        self._set({name: factor * self._before[name] for name, factor in factors.items()})

    def _get(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(self.env.unwrapped.model, name).copy() for name in names}  # type: ignore[attr-defined]

    def _set(self, values: Mapping[str, Any]) -> None:
        mujoco = require("mujoco", "mujoco", "changing a model of MuJoCo's")
        model: Any = self.env.unwrapped.model  # type: ignore[attr-defined]
        for name, array in values.items():
            getattr(model, name)[...] = array
        mujoco.mj_setConst(model, mujoco.MjData(model))  # what the model derives from them


# -- arguments ---------------------------------------------------------------------------------------------------------


def _float_box(owner: str, name: str, space: gymnasium.Space[Any]) -> spaces.Box:
    if not isinstance(space, spaces.Box) or np.dtype(space.dtype).kind != "f":
        raise UnsupportedSpaceError(f"{owner}: the {name} is {space}; a Box of floats is needed")
    return space


def _parts(name: str, value: Any, box: spaces.Box, minimum: float = -np.inf) -> NDArray[np.float64]:
    """Returns an array of a box's shape from a number, or from one for each part."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.asarray(np.nan)
    if array.shape not in ((), box.shape) or not np.isfinite(array).all() or (array < minimum).any():
        limit = "" if minimum == -np.inf else f" of at least {minimum:g}"
        raise ValueError(f"{name}={value!r}: a finite number{limit} is needed, or an array of the shape {box.shape}")
    return np.broadcast_to(array, box.shape).copy()
