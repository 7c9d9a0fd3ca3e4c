"""The state of environments: so that a run goes on in another process, in the middle of its episodes.

An environment is a chain of layers: wrappers, and at its end the environment itself. A layer's state is found, in this
order, by

1. `get_state()`, which returns arrays and JSON-able values, and `set_state(state)`, where it offers both;
2. for gymnasium's MuJoCo environments, the arrays of `MjData` beside the attributes;
3. its attributes: numbers, arrays, containers of these, and random generators. Spaces, functions and classes are taken
   for constants; a text must be the same on both sides. Any other object in a layer that is not gymnasium's own makes
   its state unknown.

What a layer keeps elsewhere (module variables, C extensions, another process) is not seen. Restored is what a new
environment of the same make would otherwise have by itself: call `reset()` on it first.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.utils import RunningMeanStd

from slc_agents.envs.rules import Guard
from slc_agents.errors import EnvStateError

__all__ = ["StateAccess", "get_env_state", "pickle_envs", "set_env_state", "unpickle_envs"]

# Attributes that belong to how an environment was made or is looked at, not to where it stands.
_NOT_STATE = frozenset(
    ("env", "spec", "metadata", "render_mode", "_metadata", "_cached_spec", "_action_space", "_observation_space")
) | {"_max_episode_steps", "_previous_data", "_ezpickle_args", "_ezpickle_kwargs", "_saved_kwargs"}
_RENDERING = frozenset(("screen", "clock", "surf", "isopen", "renderer"))
_CONSTANTS = (
    gymnasium.Space,
    EnvSpec,
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
)
_MUJOCO_OWN = frozenset(("model", "data", "mujoco_renderer"))
# Sized by the contacts of the moment, and computed anew from the rest in each step; or addresses in memory.
_MUJOCO_VOLATILE = ("efc_", "iefc_", "iacc", "ifrc", "efm_", "island_", "map_", "plugin")


def get_env_state(env: VectorEnv[Any, Any, Any]) -> dict[str, Any]:
    """Returns where a vector environment stands, as arrays and JSON-able values.

    Raises:
        EnvStateError: If that can't be known; it says of which environment, and why.
    """
    return {"vector": _get_layers(env, stop=_members_hold_state), "envs": _get_members(env)}


def set_env_state(env: VectorEnv[Any, Any, Any], state: Mapping[str, Any]) -> None:
    """Puts a vector environment, which has been reset, where another one of the same make stood.

    Raises:
        EnvStateError: If it is of another make; it is then to be reset.
    """
    try:
        members, base = state["envs"], env.unwrapped
        if members is not None and len(members) != env.num_envs:
            raise EnvStateError(f"there were {len(members)} environments, now there are {env.num_envs}")
        _set_layers(env, state["vector"], stop=_members_hold_state)
        if members is None:
            return
        if isinstance(base, SyncVectorEnv):
            for one, one_state in zip(base.envs, members, strict=True):
                _set_layers(one, one_state)
        elif isinstance(base, AsyncVectorEnv) and _has_access(base):
            base.set_attr("env_state", list(members))
            for answer in base.get_attr("problem"):
                if answer is not None:
                    raise EnvStateError(answer)
        else:
            raise EnvStateError(f"{env} gives no access to the states of its environments")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvStateError(f"the state doesn't fit {env}: {error}") from error


class StateAccess(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets an environment in another process be asked for its state, and given one.

    `AsyncVectorEnv` passes attributes between processes, one value for each environment, and ends a worker in which
    that raises: so answers carry the problem instead.
    """

    gives_access = True
    problem: str | None = None

    @property
    def env_state(self) -> dict[str, Any]:
        """The state of the environment inside; with the key `problem` where it can't be known."""
        try:
            return {"layers": _get_layers(self.env)}
        except EnvStateError as error:
            return {"problem": str(error)}

    @env_state.setter
    def env_state(self, state: list[Any]) -> None:
        self.problem = None
        try:
            _set_layers(self.env, state)
        except EnvStateError as error:
            self.problem = str(error)


def pickle_envs(env: VectorEnv[Any, Any, Any]) -> list[bytes] | None:
    """Pickles the environments of a `SyncVectorEnv`; None where that doesn't work."""
    if not isinstance(env.unwrapped, SyncVectorEnv):
        return None
    try:
        return [cloudpickle.dumps(one) for one in env.unwrapped.envs]
    except Exception:  # whatever stands in the way: windows, sockets, C structures
        return None


def unpickle_envs(env: VectorEnv[Any, Any, Any], pickled: list[bytes]) -> None:
    """Puts unpickled environments into a `SyncVectorEnv`. It runs code: only for files that are trusted.

    Raises:
        EnvStateError: If it is no such vector environment, of another size, or they can't be unpickled.
    """
    base = env.unwrapped
    if not isinstance(base, SyncVectorEnv) or len(pickled) != base.num_envs:
        raise EnvStateError(f"there were {len(pickled)} environments in one process; now there is {env}")
    try:
        restored = [cloudpickle.loads(blob) for blob in pickled]
    except Exception as error:
        raise EnvStateError(f"the environments can't be unpickled: {error}") from error
    for old in base.envs:
        old.close()
    base.envs = restored


# -- layers ------------------------------------------------------------------------------------------------------------


def _layers(env: Any, stop: Callable[[Any], bool]) -> Iterator[Any]:
    layer = env
    while not stop(layer):
        if not isinstance(layer, Guard):  # which is ours, and remembers nothing
            yield layer
        if layer is env.unwrapped:
            return
        layer = layer.env


def _never(layer: Any) -> bool:
    return False


def _members_hold_state(layer: Any) -> bool:
    """Whether a layer of a vector environment only passes on to its members."""
    return isinstance(layer, (SyncVectorEnv, AsyncVectorEnv))


def _get_layers(env: Any, stop: Callable[[Any], bool] = _never) -> list[dict[str, Any]]:
    return [{"class": _name(layer), **_get_layer(layer)} for layer in _layers(env, stop)]


def _set_layers(env: Any, states: list[dict[str, Any]], stop: Callable[[Any], bool] = _never) -> None:
    layers = list(_layers(env, stop))
    then, now = [state["class"] for state in states], [_name(layer) for layer in layers]
    if then != now:
        raise EnvStateError(f"the environment was made of {then}; this one is made of {now}")
    for layer, state in zip(layers, states, strict=True):
        _set_layer(layer, state)


def _get_members(env: VectorEnv[Any, Any, Any]) -> list[Any] | None:
    base = env.unwrapped
    if isinstance(base, SyncVectorEnv):
        return [_get_layers(one) for one in base.envs]
    if not isinstance(base, AsyncVectorEnv):
        return None  # its own layers say it all
    if not _has_access(base):
        raise EnvStateError(
            f"the environments of {env} run in other processes; slc_agents.envs.make_vector_env(..., "
            "asynchronous=True) makes ones that can be asked for their state"
        )
    answers = base.get_attr("env_state")
    for i, answer in enumerate(answers):
        if "problem" in answer:
            raise EnvStateError(f"environment {i}: {answer['problem']}")
    return [answer["layers"] for answer in answers]


def _has_access(env: AsyncVectorEnv) -> bool:
    # Asked first: a worker dies of an attribute that isn't there.
    return all(env.call("has_wrapper_attr", "gives_access"))


def _get_layer(layer: Any) -> dict[str, Any]:
    if _offers_state(layer):
        state: dict[str, Any] = {"own": layer.get_state()}
        generator = vars(layer).get("_np_random")  # which few will think of
        return {**state, "generator": _pack(generator, "np_random")} if generator is not None else state
    state = {"attributes": _get_attributes(layer)}
    if _is_mujoco(layer):
        state["mujoco"] = _get_mujoco(layer)
    return state


def _set_layer(layer: Any, state: Mapping[str, Any]) -> None:
    if "own" in state:
        if not _offers_state(layer):
            raise EnvStateError(f"{_name(layer)} has no get_state and set_state any more")
        layer.set_state(state["own"])
        if "generator" in state:
            _set_attribute(layer, "_np_random", state["generator"])
        return
    for name, packed in state["attributes"].items():
        _set_attribute(layer, name, packed)
    if "mujoco" in state:
        _set_mujoco(layer, state["mujoco"])


def _offers_state(layer: Any) -> bool:
    return all(callable(getattr(type(layer), method, None)) for method in ("get_state", "set_state"))


def _is_gymnasiums(layer: Any) -> bool:
    return type(layer).__module__.startswith(("gymnasium.wrappers.", "gymnasium.envs.classic_control.")) or (
        type(layer).__module__.startswith("gymnasium.envs.mujoco.")
    )


def _name(layer: Any) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


# -- attributes --------------------------------------------------------------------------------------------------------


def _get_attributes(layer: Any) -> dict[str, Any]:
    lenient, own = _is_gymnasiums(layer), _is_mujoco(layer)
    packed = {}
    for name, value in vars(layer).items():
        if name in _NOT_STATE or (own and name in _MUJOCO_OWN) or isinstance(value, _CONSTANTS):
            continue
        if lenient and (name in _RENDERING or isinstance(value, str)):
            continue
        try:
            packed[name] = _pack(value, name)
        except EnvStateError as error:
            if not lenient:
                raise EnvStateError(
                    f"{_name(layer)}: {error}. Give it get_state(), which returns arrays and JSON-able values, and "
                    "set_state(state)"
                ) from None
    return packed


def _set_attribute(layer: Any, name: str, packed: Any) -> None:
    current = vars(layer).get(name)
    if name not in vars(layer) or name in _NOT_STATE or isinstance(current, _CONSTANTS):
        raise EnvStateError(f"{_name(layer)} has no state {name!r}")
    match packed:
        case str():
            if current != packed:
                raise EnvStateError(f"{_name(layer)}: {name!r} was {packed!r}, is {current!r}, and texts aren't set")
        case {"$generator": state}:
            if not isinstance(current, np.random.Generator):
                raise EnvStateError(f"{_name(layer)} has no random generator {name!r}")
            current.bit_generator.state = state  # in place: others may hold the same one
        case {"$moments": moments}:
            for part, value in moments.items():
                setattr(current, part, _unpack(value))
        case _:
            setattr(layer, name, _unpack(packed))


def _pack(value: Any, name: str) -> Any:
    """Returns a value as arrays and JSON-able values, with marks for what JSON doesn't tell apart."""
    match value:
        case None | bool() | int() | str():
            return value
        case np.generic():
            return {"$scalar": np.asarray(value)}
        case float():
            return value
        case np.ndarray() if value.dtype.kind in "biuf":
            return value.copy()
        case tuple() | list() | deque():
            items = [_pack(item, name) for item in value]
            if isinstance(value, deque):
                return {"$deque": items, "maxlen": value.maxlen}
            return {"$tuple": items} if isinstance(value, tuple) else {"$list": items}
        case dict() if all(isinstance(key, str) for key in value):
            return {"$dict": {key: _pack(item, name) for key, item in value.items()}}
        case np.random.Generator():
            return {"$generator": dict(value.bit_generator.state)}
        case RunningMeanStd():
            return {"$moments": {part: _pack(getattr(value, part), name) for part in ("mean", "var", "count")}}
    raise EnvStateError(f"its attribute {name!r} is {type(value).__module__}.{type(value).__qualname__}")


def _unpack(packed: Any) -> Any:
    match packed:
        case {"$scalar": array}:
            return array[()]
        case {"$deque": items, "maxlen": maxlen}:
            return deque(map(_unpack, items), maxlen)
        case {"$tuple": items}:
            return tuple(map(_unpack, items))
        case {"$list": items}:
            return list(map(_unpack, items))
        case {"$dict": items}:
            return {key: _unpack(item) for key, item in items.items()}
        case np.ndarray():
            return packed.copy()
    return packed


# -- MuJoCo ------------------------------------------------------------------------------------------------------------


def _is_mujoco(layer: Any) -> bool:
    data = vars(layer).get("data")
    return data is not None and type(data).__module__.startswith("mujoco") and type(data).__name__ == "MjData"


def _mujoco_arrays(data: Any) -> dict[str, Any]:
    """Returns the arrays of `MjData`: the integration state, and what was derived from it as it stands.

    Some rewards (Ant's, Humanoid's) read derived arrays that lag one substep: computed anew, they would be others.
    """
    arrays = {}
    for name in dir(data):
        if name.startswith(("_", *_MUJOCO_VOLATILE)):
            continue
        with suppress(AttributeError, RuntimeError):
            value = getattr(data, name)
            if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "biuf":
                arrays[name] = value
    return arrays


def _get_mujoco(layer: Any) -> dict[str, Any]:
    return {"time": float(layer.data.time), **{name: a.copy() for name, a in _mujoco_arrays(layer.data).items()}}


def _set_mujoco(layer: Any, state: Mapping[str, Any]) -> None:
    arrays = _mujoco_arrays(layer.data)
    if set(state) - {"time"} != set(arrays):
        raise EnvStateError(f"{_name(layer)}: the state is of another version of MuJoCo or of another model")
    for name, array in arrays.items():
        if array.shape != state[name].shape:
            raise EnvStateError(f"{_name(layer)}: {name!r} had shape {state[name].shape}, has {array.shape}")
        array[...] = state[name]
    layer.data.time = float(state["time"])
