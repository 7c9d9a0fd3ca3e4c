"""The agents by name, and loading one without knowing its class."""

from __future__ import annotations

import os
from typing import Any

from slc_agents.agents import tf2
from slc_agents.agents.backend import DEFAULT_BACKEND, Backend, check_backend
from slc_agents.agents.base import Agent
from slc_agents.agents.files import BACKEND, agent_archive
from slc_agents.agents.lac import LAC
from slc_agents.agents.sac import SAC
from slc_agents.envs import EnvLike
from slc_agents.errors import ArchiveError, MissingDependencyError
from slc_agents.persistence import read_archive

__all__ = ["AGENTS", "agent_class", "load"]

AGENTS: dict[str, type[Agent[Any]]] = {"SAC": SAC, "LAC": LAC}
ON_BACKEND: dict[Backend, dict[str, type[Agent[Any]]]] = {"pytorch": AGENTS, "tf2": {"SAC": tf2.SAC, "LAC": tf2.LAC}}


def agent_class(algo: str, backend: Backend = DEFAULT_BACKEND) -> type[Agent[Any]]:
    """Returns the class of an algorithm, by its name in small letters, such as `sac`.

    Args:
        algo: The algorithm's name.
        backend: What computes: `pytorch` or `tf2`.

    Raises:
        ValueError: If there is no such algorithm or backend.
    """
    classes = {name.lower(): agent for name, agent in ON_BACKEND[check_backend(backend)].items()}
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
    backend: Backend | None = None,
    **overrides: Any,
) -> Agent[Any]:
    """Loads an agent of whatever class the file holds.

    Args:
        path: A run folder, an agent's file, or the name of an agent of the zoo; this and the others: see
            `Agent.load`.
        env: Where to train on.
        device: Where to put the networks.
        trust: Whether code of the file's author may run.
        eval_env: Environment of the test episodes.
        verbose: 1 prints each row of the log.
        progress_bar: Whether to show how far reading is.
        backend: What is to compute, `pytorch` or `tf2`, whichever wrote the file. None: the one that did.
        **overrides: Hyperparameters to replace.

    Raises:
        MissingDependencyError: If the agent is TensorFlow's, and that isn't installed.
    """
    path = agent_archive(path)
    with read_archive(path) as archive:
        name, wrote = archive.manifest.get("class"), archive.manifest.get(BACKEND, DEFAULT_BACKEND)
    classes = ON_BACKEND.get(wrote if backend is None else check_backend(backend), AGENTS)
    if not isinstance(name, str) or name not in AGENTS:
        raise ArchiveError(
            f"{path}: holds an agent of class {name!r}; known here are {', '.join(AGENTS)}. "
            "Load an agent of a class of your own with its own load method"
        )
    try:
        return classes[name].load(
            path,
            env,
            eval_env=eval_env,
            device=device,
            trust=trust,
            verbose=verbose,
            progress_bar=progress_bar,
            **overrides,
        )
    except MissingDependencyError as error:
        if backend is not None or wrote == DEFAULT_BACKEND:
            raise
        raise MissingDependencyError(
            f"{path}: {error}. Or let PyTorch compute: load(path, backend='pytorch'), or --backend pytorch"
        ) from error
