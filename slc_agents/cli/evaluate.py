"""`slc-agents evaluate`: run episodes of a saved agent."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from slc_agents.agents.base import Agent
from slc_agents.agents.evaluation import evaluate_agent, recorded_evaluation, score_name, score_text
from slc_agents.cli.formatting import count
from slc_agents.cli.saved_agent import USAGE, add_agent_options, agent_file, saved_agent
from slc_agents.persistence import read_archive

__all__ = ["add_command", "run", "score_line"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "evaluate",
        usage=USAGE,
        help="run episodes of a saved agent, print their mean return",
        description="Run episodes of a saved agent and print the mean and the standard deviation of their returns. "
        "With its defaults it repeats the evaluation that `train` did. Of an agent whose file says how it was "
        "evaluated, as the zoo's do, that is printed too.",
        epilog="example: slc-agents evaluate runs/x --episodes 100 --seed 1",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    add_agent_options(parser, episodes=50)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    path = agent_file(args)
    with read_archive(path) as archive:
        recorded = recorded_evaluation(path, archive.manifest)
    with saved_agent(args) as (model, env_id):
        evaluation = evaluate_agent(model, env_id, args.episodes, seed=args.seed, deterministic=not args.stochastic)
    print(score_line(model, evaluation))
    if recorded is not None:
        print(f"its file says: {score_text(recorded)} over {recorded['episodes']} episodes, seed {recorded['seed']}")
    return 0


def score_line(model: Agent[Any], evaluation: Mapping[str, Any]) -> str:
    """Says an evaluation in one line: `mean return: -150.3 ± 80.2 over 50 episodes`."""
    over = count(evaluation["episodes"], "episode")
    return f"mean {score_name(model.config.opt_type)}: {score_text(evaluation)} over {over}"
