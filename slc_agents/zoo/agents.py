"""The zoo's agents: fresh ones with the zoo's settings, and pretrained ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slc_agents.zoo.configs import config_path, load_config_file
from slc_agents.zoo_files import agent_name, pretrained_agent_path, pretrained_agents

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.envs import EnvLike

__all__ = ["agent_path", "list_agents", "load_agent", "make"]


def make(
    algo: str,
    env_id: str,
    *,
    policy: str | type = "MlpPolicy",
    env: EnvLike | None = None,
    eval_env: EnvLike | None = None,
    seed: int | None = None,
    verbose: int = 0,
    **overrides: Any,
) -> Agent[Any]:
    """Makes a fresh agent with the zoo's settings. Its `learn()` without a number runs for as long as they say.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment that the settings are for.
        policy: As in the agent's class.
        env: What to train on; None: the environment of that id.
        eval_env: As in the agent's class.
        seed: Seed of all random streams; None: the settings' own, or one that is drawn.
        verbose: As in the agent's class.
        **overrides: Hyperparameters that replace those of the zoo.

    Raises:
        FileNotFoundError: If the zoo has no settings for these.
        TypeError: If an override is not a hyperparameter.
        ConfigError: If a value is out of range.
    """
    from slc_agents.agents.loading import agent_class

    agent = agent_class(algo)
    if seed is not None:
        overrides["seed"] = seed
    config = load_config_file(config_path(algo, env_id), agent.config_class, **overrides)
    return agent(policy, env_id if env is None else env, config, eval_env=eval_env, verbose=verbose)


def list_agents() -> list[str]:
    """Returns the names of the pretrained agents, such as `sac/Pendulum-v1`."""
    return sorted(pretrained_agents())


def agent_path(algo: str, env_id: str) -> Path:
    """Returns the archive of a pretrained agent.

    Raises:
        FileNotFoundError: If there is none; the message says which there are.
    """
    return pretrained_agent_path(agent_name(algo, env_id))


def load_agent(algo: str, env_id: str, **kwargs: Any) -> Agent[Any]:
    """Loads a pretrained agent.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment that it was trained on.
        **kwargs: As in `slc_agents.load`: `env`, `device`, hyperparameters to replace.

    Raises:
        FileNotFoundError: If there is none; the message says which there are.
    """
    from slc_agents.agents.loading import load

    return load(agent_path(algo, env_id), **kwargs)
