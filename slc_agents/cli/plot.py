"""`slc-agents plot`: learning curves of runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from slc_agents.cli.curves import CURVE_FILE, DEFAULT_X, DEFAULT_Y, draw_run, draw_runs
from slc_agents.cli.flags import output_file, positive_int
from slc_agents.cli.multi_seed import seed_folders

__all__ = ["add_command", "run"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "plot",
        usage="%(prog)s RUN [RUN ...] [options]",
        help="draw learning curves of runs",
        description="Draw learning curves. Runs that differ in nothing but the seed become one curve: their mean, and "
        "its 95% confidence interval by Student's t distribution. A folder of several seeds is such a curve too.",
        epilog="example: slc-agents plot runs/a-seed1 runs/a-seed2 runs/b --out comparison.png",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders, or folders of several seeds")
    parser.add_argument(
        "--x", metavar="COLUMN", help=f"column of progress.csv for the horizontal axis (default: {DEFAULT_X})"
    )
    parser.add_argument(
        "--y",
        metavar="COLUMN",
        help=f"column for the vertical axis (default: the first that is there of {', '.join(DEFAULT_Y)})",
    )
    parser.add_argument(
        "--smooth",
        metavar="N",
        type=positive_int,
        default=1,
        help="rows of the log around each that its value is averaged over (default: 1, as they are)",
    )
    parser.add_argument(
        "--label",
        metavar="TEXT",
        dest="labels",
        action="append",
        help="what a curve is called; once for each curve, in their order (default: the folder's name, and what "
        "differs from the others)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=output_file,
        help="the figure: .png, .svg or .pdf; .png is appended where a suffix is missing "
        f"(default: {CURVE_FILE} in the run folder, or here for several runs)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    runs: list[Path] = args.runs
    alone = runs[0] if len(runs) == 1 else None
    home = alone if alone is not None and alone.is_dir() else Path()
    out: Path = args.out or home / CURVE_FILE
    if not out.suffix:
        out = out.with_name(f"{out.name}.png")
    as_given = args.x is None and args.y is None and args.labels is None
    if alone is not None and as_given and seed_folders(alone) is None:
        draw_run(alone, out, smooth=args.smooth)
    else:
        draw_runs(runs, out, x=args.x, y=args.y, smooth=args.smooth, labels=args.labels)
    print(f"figure: {out}")
    return 0
