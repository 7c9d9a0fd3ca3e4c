"""Environments: making vector environments from whatever the user has, and limiting their episodes."""

from __future__ import annotations

from slc_agents.envs.episode_limit import episode_limit
from slc_agents.envs.vector import EnvLike, make_test_env, make_vector_env

__all__ = ["EnvLike", "episode_limit", "make_test_env", "make_vector_env"]
