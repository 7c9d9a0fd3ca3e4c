"""Environments: making vector environments from whatever the user has, checking them, limiting and filming episodes."""

from __future__ import annotations

from slc_agents.envs.checking import check_env
from slc_agents.envs.episode_limit import check_episode_limit, episode_limit, find_episode_limit
from slc_agents.envs.vector import EnvLike, EnvWrapper, have_one_in_common, make_test_env, make_vector_env
from slc_agents.envs.video import record_video

__all__ = [
    "EnvLike",
    "EnvWrapper",
    "check_env",
    "check_episode_limit",
    "episode_limit",
    "find_episode_limit",
    "have_one_in_common",
    "make_test_env",
    "make_vector_env",
    "record_video",
]
