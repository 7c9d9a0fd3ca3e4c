"""The command `slc-agents`: its commands, and what all of them do with errors, warnings and Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import slc_agents
from slc_agents.cli.exit_codes import FAILED, INTERRUPTED
from slc_agents.cli.formatting import one_line, plain

__all__ = ["build_parser", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: The arguments; None: those of the process.

    Returns:
        The exit code: 0 on success, 1 on an error, 2 where the arguments make no sense, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            args = _parse(arguments)
            return int(args.run(args))
        except SystemExit as exit:  # argparse: it has said what there is to say
            return exit.code if isinstance(exit.code, int) else 0 if exit.code is None else FAILED
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # whoever was to read this has gone; Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except Exception as error:
            if "--debug" in arguments:
                traceback.print_exc()
            print(f"error: {one_line(error)}", file=sys.stderr)
            return FAILED


def build_parser() -> argparse.ArgumentParser:
    """Makes the parser of all commands."""
    from slc_agents.cli import enjoy, evaluate, export, plot, report, robustness, stability, train, tune, zoo

    # Understood before and after the command's name; each parser would overwrite the other's answer with a default.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = _Parser(
        prog="slc-agents",
        description="Train, evaluate and compare off-policy actor-critic agents.",
        epilog="`slc-agents COMMAND --help` says what a command takes.",
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"slc-agents {slc_agents.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (train, evaluate, robustness, stability, enjoy, export, plot, report, tune, zoo):
        command.add_command(commands, common)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {plain(message)} (see {self.prog} --help)\n")


def _parse(arguments: list[str]) -> argparse.Namespace:
    args, unknown = build_parser().parse_known_args(arguments)
    if unknown:
        # A slip of the finger, or an option that another library has, deserves more than "unrecognized".
        command: argparse.ArgumentParser = args.parser
        flags = [flag for flag in unknown if flag.startswith("-")]
        command.error(f"unknown {'option' if flags else 'argument'} {(flags or unknown)[0]}{_hint(args, flags)}")
    args.arguments = arguments  # as they were given, for what records them
    return args


def _hint(args: argparse.Namespace, flags: list[str]) -> str:
    if not flags:
        return ""
    from slc_agents.cli.flags import suggestion

    return suggestion(args.parser, flags[0])


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    print(f"warning: {plain(str(message))}", file=sys.stderr if file is None else file)
