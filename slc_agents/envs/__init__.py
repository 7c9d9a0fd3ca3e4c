"""Environments: making vector environments from whatever the user has, and limiting their episodes."""

from __future__ import annotations

from slc_agents.envs.episode_limit import check_episode_limit, episode_limit
from slc_agents.envs.vector import EnvLike, have_one_in_common, make_test_env, make_vector_env

__all__ = ["EnvLike", "check_episode_limit", "episode_limit", "have_one_in_common", "make_test_env", "make_vector_env"]
