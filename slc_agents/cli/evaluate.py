"""`slc-agents evaluate`: run episodes of a saved agent."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from slc_agents.agents.base import Agent
from slc_agents.cli.formatting import count
from slc_agents.cli.saved_agent import add_agent_options, episodes_seed, saved_agent
from slc_agents.evaluation import evaluate_policy

__all__ = ["add_command", "digits", "evaluate_agent", "mean_and_std", "run", "score_line"]


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
    add_agent_options(parser, episodes=50)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    with saved_agent(args) as (model, env_id):
        evaluation = evaluate_agent(model, env_id, args.episodes, seed=args.seed, deterministic=not args.stochastic)
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
    seed = episodes_seed(model, seed)
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
    word = "cost" if model.config.opt_type == "minimize" else "return"
    return f"mean {word}: {mean_and_std(evaluation)} over {count(evaluation['episodes'], 'episode')}"


def mean_and_std(evaluation: Mapping[str, Any]) -> str:
    """Says mean and standard deviation: `-150.3 ± 80.2`."""
    mean, std = evaluation["mean"], evaluation["std"]
    return f"{mean:.{digits(mean)}f} ± {std:.{digits(mean)}f}"


def digits(value: float) -> int:
    """Returns how many digits after the point are worth showing of a return."""
    return 1 if abs(value) >= 10 else 3
