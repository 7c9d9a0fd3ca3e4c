"""The state of environments: so that a run goes on in another process, in the middle of its episodes.

An environment is a chain of layers: wrappers, and at its end the environment itself. A layer's state is found, in this
order, by

1. `get_state()`, which returns arrays and JSON-able values, and `set_state(state)`, where it offers both;
2. for gymnasium's MuJoCo environments, the arrays of `MjData` beside the attributes;
3. its attributes: numbers, arrays, plain containers of these, and random generators. Spaces, functions and classes are
   taken for constants; a text must be the same on both sides. Anything else in a layer that is not gymnasium's own
   makes its state unknown, as do two attributes that share memory, which would be parted.

MuJoCo's model is taken for a constant too: where it is another one than before, the state doesn't fit.

What a layer keeps elsewhere (module variables, C extensions, another process) is not seen. Restored is what a new
environment of the same make would otherwise have by itself: call `reset()` on it first.
"""

from __future__ import annotations

import hashlib
import itertools
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
# What is gymnasium's own, or ours on top of it.
_GYMNASIUMS = (
    "gymnasium.wrappers.",
    "gymnasium.envs.classic_control.",
    "gymnasium.envs.mujoco.",
    "slc_agents.envs.velocity_cost",
)
_MUJOCO_OWN = frozenset(("model", "data", "mujoco_renderer"))
# Sized by the contacts of the moment, and computed anew from the rest in each step; or addresses in memory.
_MUJOCO_VOLATILE = ("efc_", "iefc_", "iacc", "ifrc", "efm_", "island_", "map_", "plugin")


def get_env_state(env: VectorEnv[Any, Any, Any]) -> dict[str, Any]:
    """Returns where a vector environment stands, as arrays and JSON-able values.

    Raises:
        EnvStateError: If that can't be known; it says of which environment, and why.
    """
    with _known(env):
        return {"vector": _get_layers(env, stop=_members_hold_state), "envs": _get_members(env)}


def set_env_state(env: VectorEnv[Any, Any, Any], state: Mapping[str, Any]) -> None:
    """Puts a vector environment, which has been reset, where another one of the same make stood.

    Raises:
        EnvStateError: If it is of another make; it is then to be reset.
    """
    with _known(env):
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


@contextmanager
def _known(env: Any) -> Iterator[None]:
    """Turns whatever environments of users' own, or a garbled state, may raise into this package's error."""
    try:
        yield
    except EnvStateError:
        raise
    except Exception as error:
        raise EnvStateError(
            f"asked for its state, or given one, {env} raised {type(error).__name__}: {error}"
        ) from error


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
            with _known(self.env):
                return {"layers": _get_layers(self.env)}
        except EnvStateError as error:
            return {"problem": str(error)}

    @env_state.setter
    def env_state(self, state: list[Any]) -> None:
        self.problem = None
        try:
            with _known(self.env):
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
        state: dict[str, Any] = {"own": _pack(layer.get_state(), "get_state()")}
        generator = vars(layer).get("_np_random")  # which few will think of
        return {**state, "generator": _pack_attribute(generator, "np_random")} if generator is not None else state
    state = {"attributes": _get_attributes(layer)}
    if _is_mujoco(layer):
        state["mujoco"] = _get_mujoco(layer)
    return state


def _set_layer(layer: Any, state: Mapping[str, Any]) -> None:
    if "own" in state:
        if not _offers_state(layer):
            raise EnvStateError(f"{_name(layer)} has no get_state and set_state any more")
        layer.set_state(_unpack(state["own"]))
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
    return type(layer).__module__.startswith(_GYMNASIUMS)


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
            packed[name] = _pack_attribute(value, name)
        except EnvStateError as error:
            if not lenient:
                raise EnvStateError(
                    f"{_name(layer)}: {error}. Give it get_state(), which returns arrays and JSON-able values, and "
                    "set_state(state)"
                ) from None
    if not lenient:
        _refuse_shared_memory(layer, packed)
    return packed


def _refuse_shared_memory(layer: Any, names: Iterable[str]) -> None:
    arrays = [(name, vars(layer)[name]) for name in names if isinstance(vars(layer)[name], np.ndarray)]
    for (name, array), (other_name, other) in itertools.combinations(arrays, 2):
        if np.may_share_memory(array, other):
            raise EnvStateError(
                f"{_name(layer)}: its attributes {name!r} and {other_name!r} share memory, which would be parted. Give "
                "it get_state() and set_state(state)"
            )


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
        case {"$moments": {"mean": mean, "var": var, "count": count}}:
            if type(current) is not RunningMeanStd:
                raise EnvStateError(f"{_name(layer)} has no running moments {name!r}")
            current.mean, current.var, current.count = _unpack(mean), _unpack(var), _unpack(count)
        case _:
            setattr(layer, name, _unpack(packed))


def _pack_attribute(value: Any, name: str) -> Any:
    """Packs what an attribute may be, but no part of another one: a random generator, running moments."""
    if type(value) is np.random.Generator:
        return {"$generator": dict(value.bit_generator.state)}
    if type(value) is RunningMeanStd:
        return {"$moments": {part: _pack(getattr(value, part), name) for part in ("mean", "var", "count")}}
    return _pack(value, name)


def _pack(value: Any, name: str) -> Any:
    """Returns a value as arrays and JSON-able values, with marks for what JSON doesn't tell apart.

    Of subclasses (a namedtuple, an IntEnum, a defaultdict) only the plain part would come back: they are refused.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, np.generic) and _is_storable(value.dtype):
        return {"$scalar": np.asarray(value)}
    if kind is np.ndarray and _is_storable(value.dtype):
        return value.copy()
    if kind in (tuple, list, deque):
        items = [_pack(item, name) for item in value]
        if kind is deque:
            return {"$deque": items, "maxlen": value.maxlen}
        return {"$tuple": items} if kind is tuple else {"$list": items}
    if kind is dict and all(type(key) is str for key in value):
        return {"$dict": {key: _pack(item, name) for key, item in value.items()}}
    raise EnvStateError(f"its {name!r} is {kind.__module__}.{kind.__qualname__}, which can't be stored")


def _is_storable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biuf" and dtype.itemsize <= 8


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
            if isinstance(value, np.ndarray) and value.size and _is_storable(value.dtype):
                arrays[name] = value
    return arrays


def _model_hash(model: Any) -> str:
    digest = hashlib.sha256()
    for name in dir(model):
        if not name.startswith("_"):
            with suppress(AttributeError, RuntimeError):
                value = getattr(model, name)
                if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                    digest.update(f"{name} {value.shape}".encode())
                    digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _get_mujoco(layer: Any) -> dict[str, Any]:
    arrays = {name: array.copy() for name, array in _mujoco_arrays(layer.data).items()}
    return {"time": float(layer.data.time), "model": _model_hash(layer.data.model), "arrays": arrays}


def _set_mujoco(layer: Any, state: Mapping[str, Any]) -> None:
    if state["model"] != _model_hash(layer.data.model):
        raise EnvStateError(f"{_name(layer)}: the state is of another model")
    arrays, state_arrays = _mujoco_arrays(layer.data), state["arrays"]
    if set(state_arrays) != set(arrays):
        raise EnvStateError(f"{_name(layer)}: the state is of another version of MuJoCo")
    for name, array in arrays.items():
        if array.shape != state_arrays[name].shape:
            raise EnvStateError(f"{_name(layer)}: {name!r} had shape {state_arrays[name].shape}, has {array.shape}")
        array[...] = state_arrays[name]
    layer.data.time = float(state["time"])
