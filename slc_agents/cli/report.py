"""`slc-agents report`: a run as a page of HTML."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import slc_agents
from slc_agents.cli.flags import output_file
from slc_agents.cli.formatting import SEE_DEBUG, one_line
from slc_agents.cli.report_data import Subject, read_subject
from slc_agents.cli.report_episode import RecordedEpisode, record_episode
from slc_agents.cli.report_figures import histogram, learning_curve, metric_curves, thin
from slc_agents.cli.report_page import Figures, build_page
from slc_agents.cli.run_folder import write_text
from slc_agents.errors import ConfigError, MissingDependencyError

__all__ = ["add_command", "run"]

REPORT_FILE = "report.html"

T = TypeVar("T")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "report",
        help="write a report of a run: one HTML file with all of it",
        description="Write a report of a run, or of a folder of several seeds: learning curves, evaluation, an "
        "animated episode, losses, settings, versions and code, in one HTML file that needs no network. What can't be "
        "drawn here, the report says why.",
        epilog="example: slc-agents report runs/x --out report.html",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("path", metavar="RUN", type=Path, help="a run folder, or a folder of several seeds")
    parser.add_argument(
        "--out", metavar="FILE", type=output_file, help=f"the file to write (default: {REPORT_FILE} in the folder)"
    )
    parser.add_argument("--no-video", action="store_true", help="leave out the animated episode")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let code of the archive's author run, where it has any, for the animated episode; only if you trust them",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    folder: Path = args.path
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: {'is a file' if folder.exists() else 'there is no such folder'}; give a run folder"
        )
    subject = read_subject(folder)
    figures = _figures(subject, with_episode=not args.no_video, trust=args.trust)
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    page = build_page(subject, figures, f"Written on {now} by slc-agents {slc_agents.__version__}.")
    out: Path = args.out or folder / REPORT_FILE
    write_text(out, page)
    print(f"report: {out}")
    return 0


def _figures(subject: Subject, *, with_episode: bool, trust: bool) -> Figures:
    group, rows = subject.group, 1
    if group is not None:
        thinned = [thin(run) for run in group.runs]
        group, rows = type(group)([run for run, _ in thinned], group.folder), max(n for _, n in thinned)
    returns = [value for run in subject.evaluated for value in (run.evaluation or {}).get("returns", ())]
    no_log = "There is no log yet: no epoch has ended."
    return Figures(
        curve=no_log if group is None else _or_why(lambda: learning_curve(group)),
        metrics=no_log if group is None else _or_why(lambda: dict(metric_curves(group))),
        histogram=_or_why(lambda: histogram(returns, subject.word)) if returns else "The returns are not recorded.",
        episode=_episode(subject, trust=trust) if with_episode else "it was not asked for (--no-video)",
        rows=rows,
    )


def _or_why(draw: Callable[[], T]) -> T | str:
    """Draws; returns why it can't be done, where that is nobody's mistake."""
    try:
        return draw()
    except (ConfigError, MissingDependencyError) as error:
        return one_line(error)


def _episode(subject: Subject, *, trust: bool) -> RecordedEpisode | str:
    run = subject.typical
    if not run.manifest:
        return "no agent has been saved yet"
    if run.env_id is None:
        return "the agent's file doesn't say which environment it was trained in"
    try:
        return record_episode(run.folder, run.env_id, trust=trust)
    except Exception as error:  # drawing runs other people's code, and the report is worth having without it
        return one_line(error).removesuffix(SEE_DEBUG)
