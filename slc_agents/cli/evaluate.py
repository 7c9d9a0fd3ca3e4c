"""`slc-agents evaluate`: run episodes of a saved agent."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import UnregisteredEnv

from slc_agents.agents.base import Agent
from slc_agents.agents.loading import load
from slc_agents.callbacks.saving import AGENT_FILE
from slc_agents.cli.flags import positive_int, seed
from slc_agents.errors import ConfigError
from slc_agents.evaluation import evaluate_policy
from slc_agents.persistence import read_archive
from slc_agents.seeding import make_seed

__all__ = ["add_command", "evaluate_agent", "importable", "run", "score_line"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "evaluate",
        help="run episodes of a saved agent, print their mean return",
        description="Run episodes of a saved agent and print the mean and the standard deviation of their returns. "
        "With its defaults it repeats the evaluation that `train` did.",
        epilog="example: slc-agents evaluate runs/x --episodes 100 --seed 1",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("path", metavar="RUN_OR_ARCHIVE", type=Path, help="a run folder, or an agent's archive (.zip)")
    parser.add_argument("--env", metavar="ID", help="id of the environment (default: the one that it was trained on)")
    parser.add_argument(
        "--episodes", type=positive_int, default=50, metavar="N", help="number of episodes (default: 50)"
    )
    parser.add_argument("--seed", type=seed, metavar="S", help="seed of the episodes (default: from the agent's own)")
    parser.add_argument("--stochastic", action="store_true", help="sample actions, instead of taking the policy's mean")
    parser.add_argument("--device", metavar="NAME", help="where the networks live (default: where they were)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let code of the archive's author run, where it has any; only if you trust them",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    path = args.path / AGENT_FILE if args.path.is_dir() else args.path
    with read_archive(path) as archive:
        env_id = args.env or archive.manifest.get("env_id")
    if not isinstance(env_id, str):
        raise ConfigError(f"{path}: doesn't say which environment it was trained on; give one: --env ID")
    importable(env_id)
    try:
        model = load(path, env_id, device=args.device, trust=args.trust, n_envs=1)
    except UnregisteredEnv as error:
        if args.env is not None:
            raise
        raise ConfigError(f"{error} Where a module registers it, name both: --env module:{env_id}") from error
    try:
        evaluation = evaluate_agent(model, env_id, args.episodes, seed=args.seed, deterministic=not args.stochastic)
    finally:
        if model.env is not None:
            model.env.close()
    print(score_line(model, evaluation))
    return 0


def evaluate_agent(
    model: Agent[Any], env_id: str, n_episodes: int, *, seed: int | None = None, deterministic: bool = True
) -> dict[str, Any]:
    """Runs episodes in an environment of their own.

    Args:
        model: The agent.
        env_id: Id of the environment.
        n_episodes: Number of episodes.
        seed: Seed of the first reset; None: one that follows from the agent's, and differs from its training's.
        deterministic: Whether the policy's mean action is taken, not a sample.

    Returns:
        What came out, in JSON-able values: `mean, std, episodes, seed, deterministic, returns, lengths`.
    """
    seed = make_seed(model.seed, "test", 0) if seed is None else seed  # tests in training have the epochs from 1 on
    returns, lengths = evaluate_policy(
        model,
        env_id,
        n_episodes,
        deterministic,
        return_episode_rewards=True,
        seed=seed,
        max_ep_len=model.config.max_ep_len,
    )
    return {
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "episodes": n_episodes,
        "seed": seed,
        "deterministic": deterministic,
        "returns": [float(value) for value in returns],
        "lengths": [int(value) for value in lengths],
    }


def score_line(model: Agent[Any], evaluation: Mapping[str, Any]) -> str:
    """Says an evaluation in one line: `mean return: -150.3 ± 80.2 over 50 episodes`."""
    mean, std, episodes = evaluation["mean"], evaluation["std"], evaluation["episodes"]
    word = "cost" if model.config.opt_type == "minimize" else "return"
    digits = 1 if abs(mean) >= 10 else 3
    over = "1 episode" if episodes == 1 else f"{episodes} episodes"
    return f"mean {word}: {mean:.{digits}f} ± {std:.{digits}f} over {over}"


def importable(env_id: str) -> None:
    """Lets a `module:id` find a module in the current folder, as a script there would; installed ones come first."""
    if ":" in env_id and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
