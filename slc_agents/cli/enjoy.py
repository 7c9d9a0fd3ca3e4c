"""`slc-agents enjoy`: watch a saved agent, in a window or as a video."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slc_agents.agents.base import Agent
from slc_agents.agents.evaluation import episodes_seed, score_name
from slc_agents.cli.saved_agent import USAGE, add_agent_options, saved_agent
from slc_agents.envs.video import check_video_format, drawing_error, make_rendering_env, play_episodes, record_episodes
from slc_agents.errors import ConfigError, RenderError
from slc_agents.transition import Episode

__all__ = ["add_command", "run"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "enjoy",
        usage=USAGE,
        help="watch a saved agent, or record a video of it",
        description="Show a saved agent's episodes in a window, or record them as a video, and print each one's return "
        "and length. With the same seed these are the first episodes of `evaluate`.",
        epilog="example: slc-agents enjoy runs/x --episodes 2 --record pendulum.mp4",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    add_agent_options(parser, episodes=5)
    parser.add_argument(
        "--record", metavar="FILE", type=Path, help="record a video, .mp4 or .gif, instead of opening a window"
    )
    parser.add_argument(
        "--fps", type=_positive, metavar="X", help="frames per second of the video (default: the environment's own)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.record is None:
        if args.fps is not None:
            raise ConfigError("--fps is for a video: give --record FILE too; a window has the environment's own speed")
        _require_display()
    else:
        check_video_format(args.record)
        # Nothing is shown: so SDL, which draws classic control, need not look for a screen, and complain of none.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    with saved_agent(args) as (model, env_id):
        options = {
            "n_episodes": args.episodes,
            "deterministic": not args.stochastic,
            "seed": episodes_seed(model, args.seed),
            "max_ep_len": model.config.max_ep_len,
        }
        if args.record is None:
            episodes = _show(model, env_id, options)
        else:
            episodes = record_episodes(model, env_id, args.record, fps=args.fps, **options)
        word = score_name(model.config.opt_type)
        for number, episode in enumerate(episodes, 1):
            digits = 1 if abs(episode.reward) >= 10 else 3
            print(f"episode {number}: {word} {episode.reward:.{digits}f}, length {episode.length}", flush=True)
    if args.record is not None:
        print(f"video: {args.record}")
    return 0


def _show(model: Agent[Any], env_id: str, options: dict[str, Any]) -> Iterator[Episode]:
    """Plays episodes in a window, which the environment itself opens and draws at each step."""
    env = make_rendering_env(env_id, "human")
    try:
        yield from play_episodes(model, env, **options)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pygame", "glfw", "mujoco") and not isinstance(
            error, ImportError
        ):
            raise
        raise RenderError(f"{drawing_error(env, error)}. Or record a video: --record FILE.mp4") from error
    finally:
        env.close()


def _require_display() -> None:
    # Elsewhere there is one, or nobody can tell. SDL_VIDEODRIVER chooses how pygame shows a window, or that it doesn't.
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in names):
        raise RenderError(
            "there is no display to open a window on (DISPLAY and WAYLAND_DISPLAY are not set); record a video "
            "instead: --record FILE.mp4"
        )


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: a number above 0 is needed")
    return number
