"""`slc-agents export`: write a saved agent's policy to a file that runs without this package."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slc_agents.agents.loading import load
from slc_agents.cli.saved_agent import USAGE, add_agent, agent_file
from slc_agents.zoo_files import ZOO_PREFIX, agent_name, file_name

__all__ = ["add_command", "run"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "export",
        usage=USAGE,
        help="write a saved agent's policy to a file that runs without this package",
        description="Write the deterministic policy of a saved agent to a file that runs without this package, and a "
        "JSON file beside it that says what it takes and gives. The file is compared with the agent before it gets "
        "its name.",
        epilog="example: slc-agents export runs/x --format onnx --out policy.onnx",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    add_agent(parser)
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="torchscript (.pt), onnx (.onnx) or torch_export (.pt2); with --backend tf2 saved_model (.savedmodel, a "
        "folder) or tflite (.tflite) (default: by the file's suffix, or the first of these)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="file to write (default: policy.pt, or with another suffix, in the run folder, or beside the archive by "
        "its name; of an agent of the zoo here, by its name)",
    )
    parser.add_argument("--device", metavar="NAME", help="where the networks are loaded to (default: where they were)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let code of the archive's author run, where it has any; only if you trust them",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    archive = agent_file(args)
    model = load(archive, device=args.device, trust=args.trust, backend=args.backend)
    out = args.out or _default_out(args, model.check_export("policy", args.format)[0].suffix)
    path, _ = model.check_export(out, args.format)
    model.export(path, args.format)
    description = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    print(f"{path}: {description['format']}, {_size(path) / 1e3:.1f} kB")
    for kind in ("inputs", "outputs"):
        for port in description[kind]:
            print(f"  {kind.removesuffix('s'):6} {_port_line(port)}")
    return 0


def _default_out(args: argparse.Namespace, suffix: str) -> Path:
    if args.of_env is not None:
        return Path(file_name(agent_name(args.agent, args.of_env)) + suffix)
    if args.agent.startswith(ZOO_PREFIX):
        return Path(file_name(args.agent.removeprefix(ZOO_PREFIX)) + suffix)
    is_folder = Path(args.agent).is_dir()
    return Path(args.agent) / f"policy{suffix}" if is_folder else Path(args.agent.removesuffix(".zip") + suffix)


def _size(path: Path) -> int:
    """Returns how many bytes a file has, or the files of a folder have together."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _port_line(port: Mapping[str, Any]) -> str:
    shape = ", ".join(map(str, port["shape"]))
    return f"{port['name']}: {port['dtype']} [{shape}], {_text(port['low'])} to {_text(port['high'])}"


def _text(bound: Any) -> str:
    """Says a bound, if it is the same everywhere or short."""
    text = json.dumps(bound).replace('"', "")
    return text if len(text) <= 60 else "bounds in the JSON file"
