"""`slc-agents zoo`: what the zoo has, and packing agents as it has them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slc_agents.agents.evaluation import recorded_evaluation, score_name, score_text
from slc_agents.cli.flags import positive_int, seed
from slc_agents.cli.saved_agent import importable
from slc_agents.persistence import read_archive
from slc_agents.zoo import (
    config_path,
    list_agents,
    list_configs,
    load_config,
    load_config_file,
    pack_agent,
    push_to_hub,
    read_config_file,
)
from slc_agents.zoo.packing import EPISODES
from slc_agents.zoo_files import agent_name, missing, pretrained_agents

__all__ = ["add_command"]


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    parser = commands.add_parser(
        "zoo",
        help="list and show the zoo's settings and agents, pack agents, send them to the Hugging Face hub",
        description="The zoo: settings that work, and pretrained agents.",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    options: dict[str, Any] = {"parents": [common], "allow_abbrev": False}

    listing = actions.add_parser(
        "list",
        help="list settings and pretrained agents",
        description="List the zoo's settings, with the environment steps that they train for, and its pretrained "
        "agents, with what their files say: environment steps and evaluation.",
        **options,
    )
    listing.set_defaults(run=run_list, parser=listing)

    show = actions.add_parser(
        "show",
        usage="%(prog)s NAME",
        help="show settings, and what a pretrained agent's file says",
        description="Show settings, each with the file and line where it stands, and what the pretrained agent's file "
        "says of it.",
        epilog="example: slc-agents zoo show sac/Pendulum-v1",
        **options,
    )
    show.add_argument("name", metavar="NAME", nargs="+", help="as in sac/Pendulum-v1, or sac Pendulum-v1")
    show.set_defaults(run=run_show, parser=show)

    pack = actions.add_parser(
        "pack",
        help="evaluate a saved agent and write it into a small file",
        description="Evaluate a saved agent and write it into a small file that says what came out: networks and "
        "settings, without optimisers, target networks and replay buffer.",
        epilog="example: slc-agents zoo pack runs/x --out agents/pendulum.zip",
        **options,
    )
    _add_packing_options(pack)
    pack.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="file to write, or a folder for it (default: ALGO__ENV_ID.zip in the run folder, or beside the archive)",
    )
    pack.set_defaults(run=run_pack, parser=pack)

    push = actions.add_parser(
        "push",
        help="send a saved agent to the Hugging Face hub",
        description="Evaluate a saved agent, pack it, and send it to the Hugging Face hub with its settings and a card "
        "that says what it is. Needs the extra `hub`; log in before: hf auth login.",
        epilog="example: slc-agents zoo push runs/x user/sac-pendulum",
        **options,
    )
    _add_packing_options(push)
    push.add_argument("repo_id", metavar="REPO_ID", help="user/name of the repository, which is made if it isn't there")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository a private one")
    push.add_argument("--revision", metavar="NAME", help="branch to send to (default: the main one)")
    push.set_defaults(run=run_push, parser=push)


def _add_packing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="RUN_OR_ARCHIVE", type=Path, help="a run folder, or an agent's archive (.zip)"
    )
    parser.add_argument("--env", metavar="ID", help="id of the environment (default: the one that it was trained on)")
    parser.add_argument(
        "--episodes",
        type=positive_int,
        default=EPISODES,
        metavar="N",
        help=f"episodes of the evaluation (default: {EPISODES})",
    )
    parser.add_argument("--seed", type=seed, metavar="S", help="seed of the episodes (default: from the agent's own)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let code of the archive's author run, where it has any; only if you trust them",
    )


def run_list(args: argparse.Namespace) -> int:
    """Runs `zoo list`."""
    table = _table()
    table.show_header = True
    for column in ("name", "settings: steps", "agent: steps", "score", "episodes"):
        table.add_column(column, justify="left" if column == "name" else "right")
    configs, agents = list_configs(), pretrained_agents()
    for name in sorted({*configs, *agents}):
        algo, _, env_id = name.partition("/")
        steps = ""
        if name in configs:
            config = load_config(algo, env_id)
            steps = f"{config.epochs * config.steps_per_epoch:,}"
        table.add_row(escape(name), steps, *(_agent_cells(agents[name]) if name in agents else ()))
    _print(table)
    return 0


def _agent_cells(path: Path) -> tuple[str, str, str]:
    manifest = _manifest(path)
    evaluation = recorded_evaluation(path, manifest)
    steps = f"{manifest['counters']['num_timesteps']:,}"
    if evaluation is None:
        return steps, "", ""
    return steps, f"{_score_name(manifest)} {score_text(evaluation)}", str(evaluation["episodes"])


def run_show(args: argparse.Namespace) -> int:
    """Runs `zoo show`."""
    algo, _, env_id = "/".join(args.name).partition("/")
    name = agent_name(algo, env_id)
    agents = pretrained_agents()
    try:
        path = config_path(algo, env_id)
    except FileNotFoundError:
        if name not in agents:
            raise missing("settings and no agent", name, {*list_configs(), *list_agents()}) from None
        print(f"{name}: the zoo has no settings")
    else:
        _show_settings(algo, path)
    if name in agents:
        _show_agent(agents[name])
    else:
        print("no pretrained agent")
    return 0


def _show_settings(algo: str, path: Path) -> None:
    from slc_agents.agents.loading import agent_class

    file = read_config_file(path)
    load_config_file(path, agent_class(algo).config_class)  # says what is wrong with it, if anything is
    print(f"settings: {path}")
    table = _table()
    for key, value in _flat(file.values):
        place = file.places[key]
        table.add_row(escape(".".join(key)), escape(str(value)), escape(f"{place.path.name}:{place.line}"))
    _print(table)
    print(f"all else as in {agent_class(algo).config_class.__name__}\n")


def _flat(values: Mapping[str, Any], outer: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Returns the values with the paths to their keys: of mappings of keywords, those inside, which stand anywhere."""
    rows: list[tuple[tuple[str, ...], Any]] = []
    for key, value in values.items():
        path = (*outer, key)
        inside = isinstance(value, Mapping) and (outer or key.endswith("_kwargs"))
        rows += _flat(value, path) if inside else [(path, value)]
    return rows


def _show_agent(path: Path) -> None:
    manifest = _manifest(path)
    evaluation, counters = recorded_evaluation(path, manifest), manifest["counters"]
    print(f"pretrained agent: {path}, {path.stat().st_size / 1e3:.1f} kB")
    table = _table()
    if evaluation is not None:
        over = f"over {evaluation['episodes']} episodes, seed {evaluation['seed']}"
        table.add_row(f"mean {_score_name(manifest)}", f"{score_text(evaluation)} {over}")
    table.add_row("trained for", f"{counters['num_timesteps']:,} steps, {counters['n_updates']:,} gradient steps")
    table.add_row("seed", str(manifest["config"]["seed"]))
    table.add_row("settings", escape(_settings_text(manifest.get("settings") or {})))
    table.add_row("versions", escape(", ".join(f"{name} {version}" for name, version in manifest["versions"].items())))
    _print(table)


def _settings_text(settings: Mapping[str, Any]) -> str:
    if not settings.get("zoo"):
        return "its own"
    changed = settings.get("changed")
    return f"the zoo's for {settings['zoo']}{', but for ' + ', '.join(changed) if changed else ''}"


def run_pack(args: argparse.Namespace) -> int:
    """Runs `zoo pack`."""
    importable(args.env or "")
    out = args.out or (args.source if args.source.is_dir() else args.source.parent)
    path = pack_agent(args.source, out, env=args.env, episodes=args.episodes, seed=args.seed, trust=args.trust)
    _show_agent(path)
    return 0


def run_push(args: argparse.Namespace) -> int:
    """Runs `zoo push`."""
    importable(args.env or "")
    address = push_to_hub(
        args.source,
        args.repo_id,
        env=args.env,
        episodes=args.episodes,
        seed=args.seed,
        trust=args.trust,
        private=args.private,
        revision=args.revision,
    )
    print(f"sent to {address}")
    return 0


def _manifest(path: Path) -> Mapping[str, Any]:
    with read_archive(path) as archive:
        return archive.manifest


def _score_name(manifest: Mapping[str, Any]) -> str:
    return score_name(manifest["config"]["opt_type"])


def _table() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))


def _print(table: Table) -> None:
    # Where no terminal says how wide it is, nothing is cut.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
