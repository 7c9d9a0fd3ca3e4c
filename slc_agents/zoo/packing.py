"""Packing trained agents: small files for use, which say how good they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slc_agents.errors import ConfigError, NonFiniteError, check_path, check_whole_number
from slc_agents.zoo.configs import POLICY, config_path, read_config_file
from slc_agents.zoo_files import agent_name, file_name

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.agents.config import AgentConfig
    from slc_agents.envs import EnvLike

__all__ = ["pack_agent", "packed_name"]

EPISODES = 100
# What says nothing about what was learned: where it was computed and logged, and the seed, which the file says anyway.
_INCIDENTAL = (
    *("seed", "device", "compute_kwargs", "logger_kwargs", "save_freq", "export"),
    *("start_policy", "start_policy_parts"),
)


def pack_agent(
    source: str | os.PathLike[str] | Agent[Any],
    path: str | os.PathLike[str],
    *,
    env: EnvLike | None = None,
    episodes: int = EPISODES,
    seed: int | None = None,
    trust: bool = False,
) -> Path:
    """Evaluates a trained agent and writes it into a small file, which says what came out.

    The file holds networks, temperature, hyperparameters and spaces: with it an agent acts, is evaluated and exported,
    is a `start_policy`, and learns on. Left out are the replay buffer and the optimisers, which start afresh, and the
    target networks, which start as copies of the critics. Hyperparameters that say where and how it was computed and
    logged (`device`, `compute_kwargs`, `logger_kwargs`, `export`) have their defaults. The manifest has `evaluation`
    (`mean, std, episodes, seed, deterministic, mean_length, env_id`), and `settings`: the zoo's file for the algorithm
    and environment, and which hyperparameters differ from it, with `policy` where that does.

    Args:
        source: The folder of a run, an agent's file, a checkpoint among them, or an agent.
        path: The file to write. Of a folder that is there, the file in it which the zoo looks for:
            `<algo>__<env>.zip`.
        env: Where to evaluate; None: the environment whose id the agent knows.
        episodes: Number of episodes of the deterministic policy.
        seed: Seed of the first reset; None: one that follows from the agent's.
        trust: Whether code of the file's author may run; as in `load`.

    Returns:
        The path of the written file.

    Raises:
        ConfigError: If the environment isn't known, or the file to write is the one to read.
        NonFiniteError: If the agent has diverged.
        FileNotFoundError: If there is no such agent.
        ArchiveError: If its file is damaged, or the folder holds none.
    """
    from slc_agents.agents.evaluation import evaluate_agent
    from slc_agents.agents.files import write_packed_agent
    from slc_agents.callbacks.saving import is_finite

    target = check_path("path", path)
    episodes = check_whole_number("episodes", episodes)
    if seed is not None:
        seed = check_whole_number("seed", seed, 0)
    model = _load(source, target, trust=trust)
    if not is_finite(model):
        raise NonFiniteError("the agent has diverged: its networks hold NaN or infinity. Take an earlier checkpoint")
    where = model.env_id if env is None else env
    if where is None:
        raise ConfigError(
            "env=None: the agent doesn't say which environment it was trained in; give one to evaluate in"
        )
    found = evaluate_agent(model, where, episodes, seed=seed)
    returns, lengths = found.pop("returns"), found.pop("lengths")
    evaluated_in = where if isinstance(where, str) else None
    env_id = model.env_id or evaluated_in
    about = {
        "env_id": env_id,
        "evaluation": {**found, "mean_length": sum(lengths) / len(returns), "env_id": evaluated_in},
        "settings": _settings_of(model, env_id),
    }
    if target.is_dir():
        target = target / packed_name(type(model).__name__, env_id)
    return write_packed_agent(model, target, about)


def packed_name(algo: str, env_id: str | None) -> str:
    """Returns what the zoo calls an agent's file: `sac__Pendulum-v1.zip`; an id's `module:` is no part of it."""
    return f"{file_name(agent_name(algo, (env_id or 'agent').rpartition(':')[2]))}.zip"


def _load(source: str | os.PathLike[str] | Agent[Any], target: Path, *, trust: bool) -> Agent[Any]:
    """Returns the agent to pack, without an environment, and on the CPU, where its evaluation can be repeated."""
    from slc_agents.agents.base import Agent
    from slc_agents.agents.files import agent_archive
    from slc_agents.agents.loading import load

    if isinstance(source, Agent):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source: received {source!r}; a run folder, an agent's file or an agent is needed")
    check_path("source", source)
    file = agent_archive(source)
    if target.exists() and file.exists() and target.samefile(file):
        raise ConfigError(f"path={str(target)!r}: is the file to be packed, which would be lost; choose another one")
    return load(file, device="cpu", trust=trust)


def _settings_of(model: Agent[Any], env_id: str | None) -> dict[str, Any]:
    """Says which of the zoo's settings an agent was trained with, and which of its hyperparameters differ from them."""
    algo = type(model).__name__
    try:
        path = config_path(algo, "" if env_id is None else env_id.rpartition(":")[2])
    except FileNotFoundError:
        return {"zoo": None, "changed": []}
    file = read_config_file(path)
    own, zoo = _compared(model.config), _compared(file.make(type(model.config)))
    changed = [name for name, value in own.items() if value != zoo[name]]
    if model.policy_class != file.policy:
        changed.insert(0, POLICY)
    return {"zoo": f"{path.parent.name}/{path.stem.replace('__', '/')}", "changed": changed}


def _compared(config: AgentConfig) -> Mapping[str, Any]:
    return {name: value for name, value in config.to_dict().items() if name not in _INCIDENTAL}
