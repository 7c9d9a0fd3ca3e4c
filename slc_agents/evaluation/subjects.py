"""Who is evaluated, and where: what the evaluations of robustness and of stability ask before they begin."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
from gymnasium.vector import VectorEnv

from slc_agents.envs import find_episode_limit, make_vector_env
from slc_agents.envs.vector import EnvFactory
from slc_agents.errors import ConfigError
from slc_agents.training.evaluation import Predictor

__all__ = ["AgentLike", "CopiedEnv", "common", "env_name", "find_env", "load_predictor", "probe"]

AgentLike: TypeAlias = "Predictor | str | os.PathLike[str]"
CopiedEnv: TypeAlias = "str | EnvFactory"
Groups: TypeAlias = Mapping[str, Sequence[Predictor]]


def load_predictor(agent: AgentLike, *, device: str | None = None, trust: bool = False) -> Predictor:
    """Returns an agent, loaded where it is a run folder, an archive or a zoo name.

    Raises:
        TypeError: If it is none of these, and can't predict.
    """
    if isinstance(agent, (str, os.PathLike)):
        from slc_agents.agents.loading import load

        return load(agent, device=device, trust=trust)
    received: object = agent
    if isinstance(received, type) or not callable(getattr(received, "predict", None)):
        raise TypeError(
            f"agent: received {agent!r}; an agent, or anything with a method predict, the path of a run folder or an "
            "archive, or a name of the zoo's such as 'zoo:sac/Pendulum-v1' is needed"
        )
    return agent


def find_env(env: CopiedEnv | None, groups: Groups) -> CopiedEnv:
    """Returns where to evaluate: what is given, or the environment that the agents were trained in.

    Raises:
        ConfigError: If the agents don't know, or don't agree.
        TypeError: If it is an environment that is made already.
    """
    received: object = env
    if isinstance(received, (gymnasium.Env, VectorEnv)):
        raise TypeError(
            f"env: received {received}, which is made already; each episode needs a copy of it. Give its id or a "
            "factory: lambda: make_my_env()"
        )
    if env is not None:
        return env
    ids = [
        (name, env_id)
        for name, models in groups.items()
        for model in models
        if isinstance(env_id := getattr(model, "env_id", None), str)
    ]
    if not ids:
        raise ConfigError(
            "env=None: no agent says which environment it was trained in; give its id or a factory (on the command "
            "line --env ID)"
        )
    if len({env_id for _, env_id in ids}) > 1:
        there = ", ".join(f"{name}: {env_id}" for name, env_id in dict.fromkeys(ids))
        raise ConfigError(
            f"agents: they were trained in different environments ({there}). Compare agents of the same one, or say "
            "in which to evaluate (env; on the command line --env)"
        )
    return ids[0][1]


def env_name(env: CopiedEnv) -> str:
    """Returns what an environment is called: its id, or its factory's name."""
    return env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)


def probe(env: CopiedEnv, groups: Groups, max_ep_len: int | None) -> tuple[gymnasium.Space[Any], int, int | None]:
    """Makes one copy of an environment to see whether the agents fit into it.

    Args:
        env: The environment.
        groups: The agents.
        max_ep_len: Length at which episodes are to be truncated; None: the agents' own, if they have one, or else the
            environment's.

    Returns:
        The action space; the length at which episodes are truncated; and `max_ep_len` for what runs them.

    Raises:
        UnsupportedSpaceError: If an agent's spaces aren't the environment's.
        ConfigError: If episodes have no limit, or the agents don't agree on one.
    """
    vector_env = make_vector_env(env)
    try:
        for name, models in groups.items():
            for model in models:
                check_spaces = getattr(model, "check_spaces", None)
                if check_spaces is not None:
                    check_spaces(vector_env, f"{name}: the environment")
        if max_ep_len is None:
            max_ep_len = common(groups, "max_ep_len")
        limit = find_episode_limit(vector_env, max_ep_len)
        if limit is None:
            raise ConfigError(
                "max_ep_len=None: the environment's episodes have no limit, so a policy that survives would run for "
                "ever. Give a length (max_ep_len; on the command line --max-ep-len)"
            )
        return vector_env.single_action_space, limit, max_ep_len
    finally:
        vector_env.close()


def common(groups: Groups, field: str) -> Any:
    """Returns a hyperparameter that all agents which have one share; None where none has.

    Raises:
        ConfigError: If they don't agree.
    """
    values = [
        (name, getattr(model.config, field))
        for name, models in groups.items()
        for model in models
        if hasattr(model, "config") and hasattr(model.config, field)
    ]
    if len({value for _, value in values}) > 1:
        there = ", ".join(f"{name}: {value!r}" for name, value in dict.fromkeys(values))
        raise ConfigError(
            f"{field}: the agents were trained with different ones ({there}), so their episodes can't be compared. "
            f"Give {field}=..., or agents that agree"
        )
    return values[0][1] if values else None
