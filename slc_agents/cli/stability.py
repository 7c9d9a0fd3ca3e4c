"""`slc-agents stability`: how an agent's Lyapunov function moves along closed loops."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slc_agents.cli.curves import save_figure
from slc_agents.cli.flags import positive_int
from slc_agents.cli.formatting import count, with_interval
from slc_agents.cli.saved_agent import USAGE, add_agent, add_episode_options, saved_agent
from slc_agents.errors import MissingDependencyError
from slc_agents.evaluation import StabilityResult, measure_stability

__all__ = ["add_command", "run"]

FOLDER = FIGURE = "stability"
EPISODES = 50


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "stability",
        usage=USAGE,
        help="measure how an agent's Lyapunov function moves along closed loops",
        description="Run episodes of an agent with a Lyapunov function (LAC) from many starts, and say how that "
        "function moves: its measured drift, the largest alpha3 that this satisfies, and how it decays, in the "
        "transient and in the steady phase, with 95% intervals. The table and a figure are written too. This measures; "
        "it certifies nothing.",
        epilog="example: slc-agents stability runs/x --episodes 100",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    add_agent(parser)
    add_episode_options(parser, episodes=EPISODES, first_seed=0)
    parser.add_argument(
        "--steady-from",
        type=positive_int,
        metavar="STEP",
        help="first step of the steady phase, which lasts to the end (default: half of an episode's length)",
    )
    parser.add_argument(
        "--max-ep-len", type=positive_int, metavar="N", help="length of an episode (default: as in training)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help=f"folder for table and figure (default: {FOLDER} in the run folder, or here)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    with saved_agent(args) as (model, env_id):
        result = measure_stability(
            model,
            env=env_id,
            n_episodes=args.episodes,
            steady_from=args.steady_from,
            seed=args.seed,
            deterministic=not args.stochastic,
            max_ep_len=args.max_ep_len,
        )
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(_table(result))
    decay = (
        f"{with_interval(*result.decay)} times what it is at the start" if result.phases[-1].steps else "not reached"
    )
    print(f"L in the steady phase: {decay}")
    print(f"death rate: {with_interval(*result.death_rate, percent=True)}")
    print("in brackets: 95% intervals over the episodes. This is what was measured in them; it certifies nothing.")
    home = Path(args.agent) if args.of_env is None and Path(args.agent).is_dir() else Path()
    out: Path = args.out or home / FOLDER
    for path in result.save(out):
        print(f"table: {path}")
    try:
        save_figure(result.draw(), out / f"{FIGURE}.png")
    except MissingDependencyError as error:
        print(f"no figure: {error}")
    else:
        print(f"figure: {out / f'{FIGURE}.png'}")
    return 0


def _table(result: StabilityResult) -> Table:
    title = f"{result.env}, {count(result.n_episodes, 'episode')}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for phase in result.phases:
        table.add_column(phase.name, justify="right")
    table.add_row("steps of an episode", *(f"{phase.first} to {phase.last}" for phase in result.phases))
    for label, name in (
        ("mean of L", "lyapunov_value"),
        ("mean cost c of a step", "cost"),
        ("measured drift, mean of L' - L", "drift"),
        ("largest alpha3 that this satisfies", "alpha3_max"),
        (f"mean of L' - L + alpha3 c, alpha3 = {result.alpha3:g}", "delta"),
    ):
        table.add_row(label, *(escape(with_interval(*getattr(phase, name))) for phase in result.phases))
    return table
