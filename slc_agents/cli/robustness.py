"""`slc-agents robustness`: agents under a disturbance of several sizes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slc_agents.agents.loading import load
from slc_agents.cli.curves import save_figure
from slc_agents.cli.flags import numbers, positive_int, whole_numbers
from slc_agents.cli.formatting import count, with_interval
from slc_agents.cli.saved_agent import add_episode_options, agent_files, explain_unregistered, importable
from slc_agents.errors import ConfigError, MissingDependencyError
from slc_agents.evaluation import RobustnessResult, evaluate_robustness, named_disturbance
from slc_agents.evaluation.family import NAMES
from slc_agents.zoo_files import ZOO_PREFIX

__all__ = ["add_command", "run"]

FOLDER = "robustness"
EPISODES = 50


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    names = "; ".join(f"{name}{'NAME' if name.endswith(':') else ''}, {text}" for name, text in NAMES.items())
    parser = commands.add_parser(
        "robustness",
        usage="%(prog)s AGENT [AGENT ...] [options]",
        help="run agents under a disturbance of several sizes",
        description="Run episodes of agents under a disturbance of several sizes, and say death rate, return (or cost) "
        "and tracking error, with 95% intervals. Episodes start alike for each agent and each size. The table and the "
        "figures are written too. A folder of several seeds is one agent, whose intervals are over the seeds.",
        epilog="example: slc-agents robustness runs/lac runs/sac --disturbance action-impulse --sizes 0,20,40,80",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "agents",
        metavar="AGENT",
        nargs="+",
        help="run folders, folders of several seeds, archives (.zip), or pretrained agents of the zoo, "
        f"{ZOO_PREFIX}ALGO/ENV_ID; the others are compared with the first one",
    )
    parser.add_argument(
        "--disturbance",
        metavar="NAME",
        default="action-impulse",
        help=f"what is disturbed, and what its size is: {names.replace('`', '')} (default: action-impulse)",
    )
    parser.add_argument(
        "--sizes",
        type=numbers,
        metavar="X,X,...",
        help="sizes of the disturbance, in the task's units; where the first one is negative, --sizes=-1,0,1 (default: "
        "of actions parts and multiples of half their range, of delays 0,1,2,4,8, of factors 0.25,0.5,1,2,4)",
    )
    parser.add_argument(
        "--steps",
        type=partial(whole_numbers, what="step"),
        metavar="N,N,...",
        help="of action-impulse: in which steps it pushes, such as 100 or 100..104 (default: 20, and each 20th after)",
    )
    parser.add_argument(
        "--period", type=positive_int, metavar="N", help="of action-impulse: after how many steps they come again"
    )
    parser.add_argument(
        "--parts",
        type=numbers,
        metavar="X,X,...",
        help="what the size is multiplied with for each part of the action or observation (default: 1 for all)",
    )
    parser.add_argument(
        "--label",
        metavar="TEXT",
        dest="labels",
        action="append",
        help="what an agent is called; once for each, in their order (default: by its folder or file)",
    )
    add_episode_options(parser, episodes=EPISODES, first_seed=0)
    parser.add_argument(
        "--max-ep-len", type=positive_int, metavar="N", help="length of an episode (default: as in training)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help=f"folder for table and figures (default: {FOLDER}/DISTURBANCE in the run folder, or here for several "
        "agents)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    family = named_disturbance(args.disturbance, steps=args.steps, period=args.period, parts=args.parts)
    files = {label: agent_files(name) for label, name in zip(_labels(args), args.agents, strict=True)}
    agents = {
        label: [load(path, device=args.device, trust=args.trust) for path in paths] for label, paths in files.items()
    }
    ids = {model.env_id for models in agents.values() for model in models if model.env_id is not None}
    with ExitStack() as stack:
        for env_id in [args.env or "", *ids]:
            importable(env_id)
            stack.enter_context(explain_unregistered(args, env_id))
        result = evaluate_robustness(
            agents,
            family,
            args.sizes,
            env=args.env,
            n_episodes=args.episodes,
            seed=args.seed,
            deterministic=not args.stochastic,
            max_ep_len=args.max_ep_len,
            progress_bar=sys.stdout.isatty(),
        )
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(_table(result))
    if len(result.agents) > 1:
        console.print(_differences(result))
    print(_about_intervals(result))
    alone = Path(args.agents[0]) if len(args.agents) == 1 else Path()
    home = alone if alone.is_dir() else Path()
    out: Path = args.out or home / FOLDER / result.disturbance.replace(":", "-")
    for path in result.save(out):
        print(f"table: {path}")
    figures: dict[str, Callable[[], Any]] = {
        "robustness.png": result.draw,
        "trajectories.png": result.draw_trajectories,
    }
    for name, draw in figures.items():
        try:
            save_figure(draw(), out / name)
        except (ConfigError, MissingDependencyError) as error:
            print(f"no {name}: {error}")
        else:
            print(f"figure: {out / name}")
    return 0


def _labels(args: argparse.Namespace) -> Sequence[str]:
    """Returns what the agents are called: as the user says, or by their folders and files, as far as these differ."""
    given, names = args.labels, args.agents
    if given is not None:
        if len(given) != len(names) or len(set(given)) < len(given):
            raise ConfigError(f"--label: received {given} for {count(len(names), 'agent')}; each needs one of its own")
        labels: Sequence[str] = given
        return labels
    if len(set(names)) < len(names):
        raise ConfigError(f"{' '.join(names)}: an agent is there twice")
    short = [name if name.startswith(ZOO_PREFIX) else _short(Path(name)) for name in names]
    return short if len(set(short)) == len(short) else names


def _short(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _new_table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)


def _table(result: RobustnessResult) -> Table:
    table = _new_table(f"{result.env} under {result.disturbance}, {count(result.n_episodes, 'episode')} each")
    rows = result.rows()
    measured = _measured(rows[0])
    _add_columns(table, measured)
    table.add_column("length", justify="right")
    for i, row in enumerate(rows):
        last_of_agent = i + 1 == len(rows) or rows[i + 1]["agent"] != row["agent"]
        cells = [_cell(row, name) for name in measured]
        table.add_row(
            escape(row["agent"]), f"{row['size']:g}", *cells, f"{row['length']:,.1f}", end_section=last_of_agent
        )
    return table


def _differences(result: RobustnessResult) -> Table:
    table = _new_table(f"differences from {result.agents[0]}, start by start")
    rows = result.differences()
    names = [name.removesuffix("_difference") for name in _measured(rows[0])]
    _add_columns(table, ["death_rate", *names])
    for row in rows:
        cells = [f"{row['death_rate_difference']:+.0%}", *(_cell(row, f"{name}_difference") for name in names)]
        table.add_row(escape(row["agent"]), f"{row['size']:g}", *cells)
    return table


def _measured(row: dict[str, Any]) -> list[str]:
    """Returns the columns that have an interval."""
    return [name for name in row if f"{name}_low" in row]


def _add_columns(table: Table, measured: Sequence[str]) -> None:
    table.add_column("agent", no_wrap=True)
    for name in ("size", *measured):
        table.add_column(name.replace("_", " "), justify="right")


def _cell(row: dict[str, Any], name: str) -> str:
    estimate = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return escape(with_interval(*estimate, percent=name.startswith("death_rate")))


def _about_intervals(result: RobustnessResult) -> str:
    models = {len(outcome.returns) for outcome in result.outcomes}
    over = "the models of an agent" if min(models) > 1 else "an agent's episodes"
    if len(models) > 1:
        over = "the models of an agent, or the episodes of its only one"
    warning = f"; an episode that dies early has less time to add up a {result.score}"
    died = any(outcome.deaths.any() for outcome in result.outcomes)
    return f"in brackets: 95% intervals, over {over}{warning if died else ''}"
