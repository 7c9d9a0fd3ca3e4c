"""Raising the time limit that an environment brings along, for as long as a longer one is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from slc_agents.envs.vector import cuts_by_mask

__all__ = ["check_episode_limit", "episode_limit", "find_episode_limit"]

_LIMIT = "_max_episode_steps"  # gymnasium's TimeLimit wrapper has no public name for it


def check_episode_limit(env: VectorEnv[Any, Any, Any], max_ep_len: int | None) -> None:
    """Raises a `ValueError` unless episodes of `env` can be made to last exactly `max_ep_len` steps.

    An environment that truncates by its own code shows it only while it runs; the collector raises then.
    """
    if max_ep_len is None or isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        return
    own = getattr(env.spec, "max_episode_steps", None)
    if own == max_ep_len:
        return
    if own is not None and own < max_ep_len:
        raise ValueError(
            f"max_ep_len={max_ep_len}: {env} truncates episodes after {own} steps by itself, which can't be raised. "
            f"Allowed: at most {own}, or None for the environment's own limit"
        )
    if not cuts_by_mask(env):
        raise ValueError(
            f"max_ep_len={max_ep_len}: {env} can't reset single environments, so their episodes can't be cut. "
            "Use gymnasium.vector.SyncVectorEnv or AsyncVectorEnv, or leave max_ep_len out"
        )


def find_episode_limit(env: VectorEnv[Any, Any, Any], max_ep_len: int | None) -> int | None:
    """Returns the length at which episodes of `env` are truncated, as far as it says so; None: at none.

    Args:
        env: The environment.
        max_ep_len: The length at which they are truncated from outside, whatever the environment's own limit is.
    """
    if max_ep_len is not None:
        return max_ep_len
    if not isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        own = getattr(env.spec, "max_episode_steps", None)
        return None if own is None else int(own)
    limits = _time_limits(env.unwrapped)
    return None if limits is None or None in limits else max(map(int, limits))


def _time_limits(env: SyncVectorEnv | AsyncVectorEnv) -> list[Any] | None:
    """Returns the limit of each environment's TimeLimit wrapper; None where not all have one."""
    # Asked first: a worker of AsyncVectorEnv dies of an attribute that isn't there.
    return list(env.get_attr(_LIMIT)) if all(env.call("has_wrapper_attr", _LIMIT)) else None


@contextmanager
def episode_limit(env: VectorEnv[Any, Any, Any], max_ep_len: int | None) -> Iterator[None]:
    """Raises the limit of each environment's TimeLimit wrapper to `max_ep_len` where it is lower; restores it after."""
    if max_ep_len is None or not isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        yield
        return
    vector_env = env.unwrapped
    limits = _time_limits(vector_env)
    if limits is None:
        yield
        return
    vector_env.set_attr(_LIMIT, [max(limit or 0, max_ep_len) for limit in limits])
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the environment may be what failed; its error is the one to see
            vector_env.set_attr(_LIMIT, limits)
        raise
    if not vector_env.closed:
        vector_env.set_attr(_LIMIT, limits)
