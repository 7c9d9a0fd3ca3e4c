"""The agents by name, and loading one without knowing its class."""

from __future__ import annotations

import os
from typing import Any

from slc_agents.agents.base import Agent
from slc_agents.agents.lac import LAC
from slc_agents.agents.sac import SAC
from slc_agents.envs import EnvLike
from slc_agents.errors import ArchiveError, check_path
from slc_agents.persistence import read_archive

__all__ = ["AGENTS", "agent_class", "load"]

AGENTS: dict[str, type[Agent[Any]]] = {"SAC": SAC, "LAC": LAC}


def agent_class(algo: str) -> type[Agent[Any]]:
    """Returns the class of an algorithm, by its name in small letters, such as `sac`.

    Raises:
        ValueError: If there is no such algorithm.
    """
    classes = {name.lower(): agent for name, agent in AGENTS.items()}
    if not isinstance(algo, str) or algo.lower() not in classes:
        raise ValueError(f"algo={algo!r}: there is no such algorithm; allowed are {', '.join(classes)}")
    return classes[algo.lower()]


def load(
    path: str | os.PathLike[str],
    env: EnvLike | None = None,
    *,
    device: str | None = None,
    trust: bool = False,
    eval_env: EnvLike | None = None,
    verbose: int = 0,
    progress_bar: bool = False,
    **overrides: Any,
) -> Agent[Any]:
    """Loads an agent of whatever class the file holds; see `Agent.load`."""
    path = check_path("path", path)
    with read_archive(path) as archive:
        name = archive.manifest.get("class")
    if not isinstance(name, str) or name not in AGENTS:
        raise ArchiveError(
            f"{path}: holds an agent of class {name!r}; known here are {', '.join(AGENTS)}. "
            "Load an agent of a class of your own with its own load method"
        )
    return AGENTS[name].load(
        path,
        env,
        eval_env=eval_env,
        device=device,
        trust=trust,
        verbose=verbose,
        progress_bar=progress_bar,
        **overrides,
    )
