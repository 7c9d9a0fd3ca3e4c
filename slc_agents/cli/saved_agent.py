"""What the commands about a saved agent share: their options, and loading it with its environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gymnasium.error import UnregisteredEnv

from slc_agents.agents.backend import BACKENDS
from slc_agents.agents.base import Agent
from slc_agents.agents.files import agent_archive
from slc_agents.agents.loading import AGENTS, load
from slc_agents.callbacks.saving import AGENT_FILE
from slc_agents.cli.flags import positive_int, seed
from slc_agents.cli.multi_seed import seed_folders
from slc_agents.errors import ConfigError
from slc_agents.persistence import read_archive
from slc_agents.zoo import agent_path
from slc_agents.zoo_files import ZOO_PREFIX, pretrained_agents

__all__ = [
    "USAGE",
    "add_agent",
    "add_agent_options",
    "add_episode_options",
    "agent_file",
    "agent_files",
    "explain_unregistered",
    "importable",
    "saved_agent",
]

USAGE = "%(prog)s RUN_OR_ARCHIVE [options]\n       %(prog)s ALGO ENV_ID [options]"


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which agent."""
    algos = ", ".join(name.lower() for name in AGENTS)
    parser.add_argument(
        "agent",
        metavar="RUN_OR_ARCHIVE",
        help=f"a run folder, or an agent's archive (.zip). Or a pretrained agent of the zoo: its algorithm ({algos}), "
        f"or its whole name as {ZOO_PREFIX}ALGO/ENV_ID",
    )
    parser.add_argument("of_env", metavar="ENV_ID", nargs="?", help="the environment of a pretrained agent of the zoo")
    parser.add_argument(
        "--backend", choices=BACKENDS, help="what computes (default: what has trained the agent); see `train`"
    )


def agent_file(args: argparse.Namespace) -> Path:
    """Returns the archive of the agent that the arguments name.

    Raises:
        ConfigError: If they name a folder of several seeds, or an agent of the zoo as if it were a file.
        FileNotFoundError: If the zoo has no such agent.
    """
    is_algo = args.agent.lower() in (name.lower() for name in AGENTS)
    if args.of_env is not None:
        if not is_algo:
            args.parser.error(
                f"unknown argument {args.of_env}: {args.agent!r} before it is not one of the algorithms "
                f"{', '.join(name.lower() for name in AGENTS)}"
            )
        return agent_path(args.agent, args.of_env)
    if is_algo and not Path(args.agent).exists():
        args.parser.error(
            f"{args.agent}: there is no such file or folder; of an agent of the zoo give the environment too, as in "
            f"{args.agent} Pendulum-v1"
        )
    files = agent_files(args.agent)
    if len(files) > 1:
        folders = ", ".join(str(file.parent) for file in files)
        raise ConfigError(f"{args.agent}: holds several seeds, each with its agent; give one of {folders}")
    return files[0]


def agent_files(name: str) -> list[Path]:
    """Returns the archives of what a text names: one, or of a multi-seed folder one for each seed.

    Raises:
        ConfigError: If it is the name of an agent of the zoo, without what says so.
        FileNotFoundError: If the zoo has no such agent.
    """
    if name in pretrained_agents() and not Path(name).exists():
        raise ConfigError(
            f"{name}: there is no such file or folder; the zoo's agent of that name is {ZOO_PREFIX}{name}"
        )
    seeds = None if name.startswith(ZOO_PREFIX) else seed_folders(Path(name))
    return [agent_archive(name)] if seeds is None else [folder / AGENT_FILE for folder in seeds.values()]


def add_agent_options(parser: argparse.ArgumentParser, *, episodes: int) -> None:
    """Adds the options that say which agent, where, how often and how; `episodes` is the default number of these."""
    add_agent(parser)
    add_episode_options(parser, episodes=episodes)


def add_episode_options(parser: argparse.ArgumentParser, *, episodes: int, first_seed: int | None = None) -> None:
    """Adds the options that say where episodes are played, how many and how.

    Args:
        parser: The command's parser.
        episodes: Their default number.
        first_seed: The default seed; None: from the agent's own.
    """
    parser.add_argument("--env", metavar="ID", help="id of the environment (default: the one that it was trained on)")
    parser.add_argument(
        "--episodes",
        type=positive_int,
        default=episodes,
        metavar="N",
        help=f"number of episodes (default: {episodes})",
    )
    default = "from the agent's own" if first_seed is None else first_seed
    parser.add_argument(
        "--seed", type=seed, default=first_seed, metavar="S", help=f"seed of the episodes (default: {default})"
    )
    parser.add_argument("--stochastic", action="store_true", help="sample actions, instead of taking the policy's mean")
    parser.add_argument("--device", metavar="NAME", help="where the networks live (default: where they were)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let code of the archive's author run, where it has any; only if you trust them",
    )


@contextmanager
def saved_agent(args: argparse.Namespace) -> Iterator[tuple[Agent[Any], str]]:
    """Loads the agent that the options name. Gives it and its environment's id.

    Raises:
        ConfigError: If no environment is known, or the folder is one of several seeds.
    """
    path = agent_file(args)
    with read_archive(path) as archive:
        env_id = args.env or archive.manifest.get("env_id")
    if not isinstance(env_id, str):
        raise ConfigError(f"{path}: doesn't say which environment it was trained on; give one: --env ID")
    importable(env_id)
    with explain_unregistered(args, env_id):
        model = load(path, env_id, device=args.device, trust=args.trust, backend=args.backend, n_envs=1)
    try:
        yield model, env_id
    finally:
        if model.env is not None:
            model.env.close()


@contextmanager
def explain_unregistered(args: argparse.Namespace, env_id: str) -> Iterator[None]:
    """Says what to do where the environment that an agent was trained on isn't registered here."""
    try:
        yield
    except UnregisteredEnv as error:
        if args.env is not None:
            raise
        raise ConfigError(f"{error} Where a module registers it, name both: --env module:{env_id}") from error


def importable(env_id: str) -> None:
    """Lets a `module:id` find a module in the current folder, as a script there would; installed ones come first."""
    if ":" in env_id and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
