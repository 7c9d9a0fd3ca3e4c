"""Writes the parts of the documentation that come from the code.

    python docs/generate.py           # rewrites them
    python docs/generate.py --check   # exits with 1 if they are stale, and changes nothing

A generated part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # the checkout's own package, installed or not

from slc_agents import zoo  # noqa: E402
from slc_agents.agents.config import AgentConfig, LACConfig, SACConfig  # noqa: E402
from slc_agents.zoo.packing import EPISODES  # noqa: E402


def error_table() -> str:
    """Returns Markdown tables of what users see of wrong input, by giving it. It takes some seconds."""
    sys.path.insert(0, str(DOCS.parent / "tests" / "support"))
    from error_cases import table

    return table()


def hyperparameter_table(config_class: type[AgentConfig]) -> str:
    """Returns a Markdown table of a config class: each field's name, default and documentation."""
    descriptions = config_class.descriptions()
    lines = ["| name | default | what it does |", "|---|---|---|"]
    for field in dataclasses.fields(config_class):
        description = descriptions[field.name].replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{_default(field)}` | {description} |")
    return "\n".join(lines)


def _default(field: dataclasses.Field[Any]) -> str:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(default, float):
        return f"{default:g}"
    return f"{default:_}" if isinstance(default, int) and not isinstance(default, bool) else repr(default)


def settings_table() -> str:
    """Returns a Markdown table of the zoo's settings: name, task, and the environment steps that they train for.

    Raises:
        ValueError: If a file doesn't begin with a comment that says the task.
    """
    lines = ["| settings | task | steps |", "|---|---|---|"]
    for name in zoo.list_configs():
        algo, _, env_id = name.partition("/")
        path, config = zoo.config_path(algo, env_id), zoo.load_config(algo, env_id)
        begin = f"# {algo.upper()} on {env_id}: "
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        if not first.startswith(begin):
            raise ValueError(f"{path}: its first line must say the task, {begin}...")
        task = first.removeprefix(begin).replace("|", "\\|")
        lines.append(f"| `{name}` | {task[0].upper()}{task[1:]} | {config.epochs * config.steps_per_epoch:,} |")
    return "\n".join(lines)


def agents_table() -> str:
    """Returns a Markdown table of the pretrained agents: what each was trained for, and what that reached."""
    lines = [f"| agent | steps | seed | return of {EPISODES} episodes | file |", "|---|---|---|---|---|"]
    for name in zoo.list_agents():
        algo, _, env_id = name.partition("/")
        manifest, size = zoo.agent_manifest(algo, env_id), zoo.agent_path(algo, env_id).stat().st_size
        evaluation, steps = manifest["evaluation"], manifest["counters"]["num_timesteps"]
        if evaluation["episodes"] != EPISODES:
            raise ValueError(f"{name}: evaluated over {evaluation['episodes']} episodes; {EPISODES} are needed")
        score = f"{evaluation['mean']:.1f} ± {evaluation['std']:.1f}"
        lines.append(f"| `{name}` | {steps:,} | {manifest['config']['seed']} | {score} | {size / 1e6:.2f} MB |")
    return "\n".join(lines)


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "sac.md": {"hyperparameters": lambda: hyperparameter_table(SACConfig)},
    "lac.md": {"hyperparameters": lambda: hyperparameter_table(LACConfig)},
    "guide/errors.md": {"errors": error_table},
    "guide/zoo.md": {"settings": settings_table, "agents": agents_table},
}


def replace_part(text: str, name: str, content: str) -> str:
    """Returns a page's text with the part between its markers replaced.

    Raises:
        ValueError: If the page doesn't have each marker once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page must have {begin} and {end} once each")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n{content}\n{end}{after}"


def generate(text: str, page: str) -> str:
    """Returns what a page's text should be."""
    for name, make in PARTS[page].items():
        text = replace_part(text, name, make())
    return text


def main(argv: list[str] | None = None) -> int:
    """Rewrites or checks all pages; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the parts of the documentation that come from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is stale")
    check = parser.parse_args(argv).check
    stale = []
    for page in PARTS:
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        wanted = generate(text, page)
        if text != wanted:
            stale.append(page)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    for page in stale:
        sys.stdout.write(
            f"docs/{page} is stale; run: python docs/generate.py\n" if check else f"docs/{page} rewritten\n"
        )
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
