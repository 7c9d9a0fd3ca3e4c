"""From what a user calls an environment to one of gymnasium's vector environments."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from slc_agents.envs.rules import guarded, is_old_gym, require_env
from slc_agents.envs.state import StateAccess
from slc_agents.errors import check_whole_number

__all__ = [
    "EnvFactory",
    "EnvLike",
    "EnvWrapper",
    "autoreset_mode",
    "await_answers",
    "check_alive",
    "cuts_by_mask",
    "have_one_in_common",
    "make_test_env",
    "make_vector_env",
    "members",
    "refuse_vector_env",
    "resets_by_mask",
]

EnvFactory: TypeAlias = Callable[[], "gymnasium.Env[Any, Any]"]
EnvWrapper: TypeAlias = "Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]"
EnvLike: TypeAlias = "str | gymnasium.Env[Any, Any] | EnvFactory | Sequence[EnvFactory] | VectorEnv[Any, Any, Any]"


class _Make:
    """A factory by id, importable in a worker process."""

    def __init__(self, env_id: str, **kwargs: Any) -> None:
        self.env_id, self.kwargs = env_id, kwargs

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self.env_id, **self.kwargs)


class _Wrapped:
    """A factory that puts wrappers around what another one makes, the first of them innermost."""

    def __init__(self, factory: EnvFactory, wrappers: Sequence[EnvWrapper]) -> None:
        self.factory, self.wrappers = factory, tuple(wrappers)

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = require_env(self.factory(), "env: the factory returned")
        for wrapper in self.wrappers:
            env = require_env(wrapper(env), f"wrappers: {wrapper!r} returned")
        return env


class _Guarded:
    """A factory whose environment says readably which of gymnasium's rules it breaks."""

    def __init__(self, factory: EnvFactory) -> None:
        self.factory = factory

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return guarded(self.factory(), "env: the factory returned")


class _InWorker:
    """A factory that prepares the worker process in which it makes the environment."""

    def __init__(self, factory: EnvFactory) -> None:
        self.factory = factory
        self.parent = os.getpid()  # an AsyncVectorEnv also makes an environment there, to look at its spaces

    def __call__(self) -> gymnasium.Env[Any, Any]:
        import slc_agents  # noqa: F401 - registers the environments slc/..., in a process started afresh too

        if os.getpid() != self.parent:
            # A terminal sends Ctrl-C to the whole group; training ends in the parent, which still needs its workers.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return StateAccess(self.factory())


def make_vector_env(
    env: EnvLike,
    n_envs: int = 1,
    *,
    asynchronous: bool = False,
    wrappers: Sequence[EnvWrapper] = (),
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """Makes a vector environment.

    Args:
        env: An id, an environment, a factory, a list of factories, or a vector environment, which is returned as it is.
        n_envs: Number of copies, where `env` is an id or a factory.
        asynchronous: Whether each copy runs in a process of its own: worth it where a step takes longer than the
            transfer, about 0.1 ms.
        wrappers: What to put around each copy, in this order: wrapper classes, functools.partial of them, or other
            functions from an environment to an environment. For an id, a factory or a list of factories.
        **kwargs: Keyword arguments of `gymnasium.make`, where `env` is an id.

    Returns:
        A `SyncVectorEnv` or `AsyncVectorEnv` whose ended episodes are reset by their user (`AutoresetMode.DISABLED`).

    Raises:
        ValueError: If `n_envs` or `wrappers` don't fit `env`.
        TypeError: If `env` is none of the above, a wrapper can't be called, or what should return an environment
            doesn't.
        InvalidEnvironmentError: If an environment lacks a space. Its `reset` and `step` raise it too, where what the
            environment returns breaks one of gymnasium's rules.
    """
    n_envs = check_whole_number("n_envs", n_envs)
    if kwargs and not isinstance(env, str):
        raise TypeError(f"keyword arguments {sorted(kwargs)} are for gymnasium.make, which takes an id, not {env!r}")
    _check_wrappers(wrappers, env)
    if isinstance(env, VectorEnv):
        if n_envs not in (1, env.num_envs):
            raise ValueError(f"n_envs={n_envs}: the vector environment has {env.num_envs}; leave n_envs out")
        return env
    if isinstance(env, gymnasium.Env):
        if n_envs != 1 or asynchronous:
            raise ValueError(
                f"n_envs={n_envs}, asynchronous={asynchronous}: an environment can't be copied. "
                "Give its id or a factory: lambda: make_my_env()"
            )
        borrowed = guarded(env, "env: received", borrowed=True)
        return _vectorise([lambda: borrowed], asynchronous=False)
    factories: list[Any]
    if isinstance(env, str):
        factories = [_Make(env, **kwargs)] * n_envs
    elif callable(env):
        factories = [env] * n_envs
    elif isinstance(env, Sequence) and env and all(callable(factory) for factory in env):
        factories = list(env)
        if n_envs not in (1, len(factories)):
            raise ValueError(f"n_envs={n_envs}: the list has {len(factories)} factories; leave n_envs out")
    else:
        if is_old_gym(env):
            require_env(env, "env: received")
        raise TypeError(
            f"env: received {env!r}; allowed are an id, a gymnasium.Env, a factory, a list of factories "
            "or a gymnasium.vector.VectorEnv"
        )
    if wrappers:
        factories = [_Wrapped(factory, wrappers) for factory in factories]
    return _vectorise(factories, asynchronous)


def _check_wrappers(wrappers: Sequence[EnvWrapper], env: EnvLike) -> None:
    received: object = wrappers
    if callable(received) or not isinstance(received, Sequence) or isinstance(received, str):
        raise TypeError(
            f"wrappers: received {wrappers!r}; a sequence is needed: wrappers=[MyWrapper, functools.partial(...)]"
        )
    for wrapper in wrappers:
        if isinstance(wrapper, gymnasium.Env) or not callable(wrapper):
            raise TypeError(
                f"wrappers: received {wrapper!r}; each must be a wrapper's class, or a function from an environment to "
                "an environment, such as functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=100)"
            )
    if wrappers and isinstance(env, (gymnasium.Env, VectorEnv)):
        raise ValueError(
            f"wrappers: received {list(wrappers)!r} for {env}, which is made already. Give its id or a factory, or "
            "wrap it yourself"
        )


def _vectorise(factories: Sequence[EnvFactory], asynchronous: bool) -> VectorEnv[Any, Any, Any]:
    guards = [_Guarded(factory) for factory in factories]
    if asynchronous:
        workers = [_InWorker(factory) for factory in guards]
        return AsyncVectorEnv(workers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    made = SyncVectorEnv(guards, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    if len({id(env.unwrapped) for env in made.envs}) < len(made.envs):
        raise ValueError(
            "the factory returned the same environment twice; it must make a new one at each call, "
            "as lambda: MyEnv() does"
        )
    return made


def refuse_vector_env(env: object) -> None:
    """Raises a `TypeError` where a vector environment stands in the place of a single one."""
    if isinstance(env, VectorEnv):
        raise TypeError(f"env: received {env}; a single environment is needed: its id, itself or its factory")


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Returns the mode in which a vector environment says that it resets ended episodes.

    Raises:
        ValueError: If it says nothing.
    """
    mode = (env.metadata or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"env: {env} has metadata['autoreset_mode']={mode!r}; one of gymnasium.vector.AutoresetMode is needed to "
            "know where its episodes end"
        ) from None


def cuts_by_mask(env: VectorEnv[Any, Any, Any]) -> bool:
    """Whether running episodes can be cut one by one, with `reset(options={"reset_mask": mask})`.

    Only gymnasium's own Sync and Async are known to honour the mask; others may silently reset everything.
    """
    base = env.unwrapped
    return isinstance(base, (SyncVectorEnv, AsyncVectorEnv)) or (
        base.num_envs == 1 and autoreset_mode(env) is AutoresetMode.DISABLED  # all of one is the whole
    )


def resets_by_mask(env: VectorEnv[Any, Any, Any]) -> bool:
    """Whether that also works for episodes that have ended by themselves.

    An `AsyncVectorEnv` without shared memory in NEXT_STEP mode forgets that it was reset, and does it again.
    """
    base = env.unwrapped
    if isinstance(base, AsyncVectorEnv) and not base.shared_memory:
        return base.autoreset_mode is not AutoresetMode.NEXT_STEP
    return cuts_by_mask(env)


def have_one_in_common(env: VectorEnv[Any, Any, Any], other: VectorEnv[Any, Any, Any]) -> bool:
    """Whether a step or reset of one vector environment is felt in another."""
    return bool(members(env) & members(other))


def members(env: VectorEnv[Any, Any, Any]) -> set[int]:
    """Returns the identities of the environments that a vector environment steps in this process, and its own."""
    return {id(one.unwrapped) for one in (env, *getattr(env.unwrapped, "envs", ()))}


def check_alive(env: VectorEnv[Any, Any, Any]) -> None:
    """Raises a `RuntimeError` that says what to do where workers of an `AsyncVectorEnv` have ended."""
    base = env.unwrapped
    if not isinstance(base, AsyncVectorEnv):
        return
    lost = [i for i, process in enumerate(base.processes) if not process.is_alive()]
    if base.closed or lost:
        raise RuntimeError(
            f"env: {env} is closed, or its workers have ended ({lost}), as after an error in one of them or Ctrl-C in "
            "a terminal. Give the agent a new one with set_env(env); slc_agents.envs.make_vector_env(..., "
            "asynchronous=True) makes workers that Ctrl-C leaves alone"
        )


def await_answers(env: VectorEnv[Any, Any, Any]) -> None:
    """Makes an `AsyncVectorEnv` usable again after Ctrl-C cut its `step` or `reset` short.

    Its workers' answers would otherwise be taken for those to the next call.
    """
    base = env.unwrapped
    if not isinstance(base, AsyncVectorEnv) or base.closed or base._state is AsyncState.DEFAULT:
        return
    with suppress(EOFError, OSError):  # from a worker that has ended, after which the rest are no use either
        # A question whose answer can't be mistaken for any that is still on its way.
        for pipe in base.parent_pipes:
            pipe.send(("_call", ("has_wrapper_attr", ("step",), {})))
        for pipe in base.parent_pipes:
            while pipe.recv() != (True, True):
                pass
        base._state = AsyncState.DEFAULT


def make_test_env(env: EnvLike, vector_env: VectorEnv[Any, Any, Any]) -> VectorEnv[Any, Any, Any] | None:
    """Makes an environment for test episodes beside the one that is trained on.

    Made from the id or factory; else from the environment's `spec`, where that works; else a deep copy.

    Args:
        env: What the user gave for training.
        vector_env: What was made of it.

    Returns:
        A vector environment, or None if there is no way to make one.
    """
    in_use = members(vector_env)
    for attempt in (_from_factory, _from_spec, _deep_copy):
        try:
            made = attempt(env, vector_env)
        except Exception:
            continue  # whatever stands in the way of this one, the next may work
        if isinstance(made, VectorEnv):
            return made
        if made is not None and id(made.unwrapped) not in in_use:
            return _vectorise([lambda made=made: made], asynchronous=False)  # type: ignore[misc]
    return None


def _from_factory(env: EnvLike, vector_env: VectorEnv[Any, Any, Any]) -> gymnasium.Env[Any, Any] | None:
    if isinstance(env, str):
        return gymnasium.make(env)
    if isinstance(env, gymnasium.Env):
        return None
    if isinstance(env, VectorEnv):
        factories = getattr(env.unwrapped, "env_fns", ())
        return factories[0]() if factories else None
    return env() if callable(env) else env[0]()


def _from_spec(env: EnvLike, vector_env: VectorEnv[Any, Any, Any]) -> gymnasium.Env[Any, Any] | None:
    spec = getattr(env, "spec", None)
    made = gymnasium.make(spec) if spec is not None else None
    same = made is not None and made.observation_space == vector_env.single_observation_space
    return made if same and made.action_space == vector_env.single_action_space else None  # type: ignore[union-attr]


def _deep_copy(
    env: EnvLike, vector_env: VectorEnv[Any, Any, Any]
) -> gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]:
    envs = getattr(vector_env.unwrapped, "envs", ())
    return copy.deepcopy(envs[0]) if envs else copy.deepcopy(vector_env)
