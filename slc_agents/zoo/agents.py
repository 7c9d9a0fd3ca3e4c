"""The zoo's agents: fresh ones with the zoo's settings, and pretrained ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slc_agents.zoo.configs import config_path, read_config_file
from slc_agents.zoo_files import agent_name, pretrained_agent_path, pretrained_agents

if TYPE_CHECKING:
    from slc_agents.agents.backend import Backend
    from slc_agents.agents.base import Agent
    from slc_agents.envs import EnvLike

__all__ = ["agent_manifest", "agent_path", "list_agents", "load_agent", "make"]


def make(
    algo: str,
    env_id: str,
    *,
    settings: str | None = None,
    policy: str | type | None = None,
    env: EnvLike | None = None,
    eval_env: EnvLike | None = None,
    seed: int | None = None,
    verbose: int = 0,
    backend: Backend = "pytorch",
    **overrides: Any,
) -> Agent[Any]:
    """Makes a fresh agent with the zoo's settings. Its `learn()` without a number runs for as long as they say.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment.
        settings: Whose settings to take: those for another environment, by its id, or `default`, for one of which
            nothing is known. None: those for `env_id`.
        policy: As in the agent's class; None: the settings' own.
        env: What to train on; None: the environment of that id.
        eval_env: As in the agent's class.
        seed: Seed of all random streams; None: the settings' own, or one that is drawn.
        verbose: As in the agent's class.
        backend: What computes: `pytorch` or `tf2`.
        **overrides: Hyperparameters that replace those of the zoo.

    Raises:
        FileNotFoundError: If the zoo has no settings for these.
        TypeError: If an override is not a hyperparameter.
        ConfigError: If a value is out of range; the message says where it stands, if it is the file's.
    """
    from slc_agents.agents.loading import agent_class

    agent = agent_class(algo, backend)
    if seed is not None:
        overrides["seed"] = seed
    file = read_config_file(config_path(algo, env_id if settings is None else settings))
    config = file.make(agent.config_class, **overrides)
    with file.placing_errors(overrides):
        policy = file.policy if policy is None else policy
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


def agent_manifest(algo: str, env_id: str) -> dict[str, Any]:
    """Returns what a pretrained agent's file says of it.

    Among it `evaluation` (`mean, std, episodes, seed, ...`), `counters` (`num_timesteps`, ...), `config` (with the
    `seed` of its training), `settings` and `versions`; see the file format.

    Raises:
        FileNotFoundError: If there is none; the message says which there are.
        ArchiveError: If its file is damaged.
    """
    from slc_agents.persistence import read_archive

    with read_archive(agent_path(algo, env_id)) as archive:
        return archive.manifest


def load_agent(algo: str, env_id: str, **kwargs: Any) -> Agent[Any]:
    """Loads a pretrained agent.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment that it was trained on.
        **kwargs: As in `slc_agents.load`: `env`, `device`, `backend`, hyperparameters to replace.

    Raises:
        FileNotFoundError: If there is none; the message says which there are.
    """
    from slc_agents.agents.loading import load

    return load(agent_path(algo, env_id), **kwargs)
