"""A launch: one process that works on a run. When, by which command, with which versions, where, on which code.

What it records is chosen here, one by one. The environment's variables are not among it: they hold secrets.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from slc_agents.compute import cpu_count

__all__ = ["FINISHED", "INTERRUPTED", "Launch", "command_line", "git_state", "machine"]

FINISHED = "finished"
INTERRUPTED = "interrupted"
GIT_SECONDS = 10.0  # a repository on a slow network disk must not hold up a training
SIMULATORS = ("mujoco", "Box2D", "pygame")  # what the environments' steps may depend on, where it is loaded


@dataclass(frozen=True)
class Launch:
    """One process that works on a run, from its beginning to its end.

    Attributes:
        command: The command line.
        directory: The folder that it was given in.
        started: When, with the offset from UTC.
        versions: Of Python and the libraries.
        machine: Platform, processor, number of processors.
        git: What `git_state` says of the folder.
        ended: When; None while it runs, and where it was killed.
        seconds: How long it took.
        outcome: `finished`, `interrupted`, or `failed: ...`; None as `ended`.
    """

    command: str
    directory: str
    started: str
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    ended: str | None = None
    seconds: float | None = None
    outcome: str | None = None

    @classmethod
    def begin(cls, arguments: Sequence[str], versions: Mapping[str, str]) -> Self:
        """Describes this process.

        Args:
            arguments: Those of `slc-agents`.
            versions: What is known of versions already; simulators are added.
        """
        return cls(
            command=command_line(arguments),
            directory=str(Path.cwd()),
            started=_now(),
            versions={**versions, **_simulators()},
            machine=machine(),
            git=git_state(),
        )

    def end(self, outcome: str, seconds: float) -> Self:
        """Returns it with its end, which is now."""
        return replace(self, ended=_now(), seconds=round(seconds, 3), outcome=outcome)


def command_line(arguments: Sequence[str]) -> str:
    """Returns a command line that a shell would understand."""
    return shlex.join(["slc-agents", *arguments])


def git_state(folder: Path | None = None) -> dict[str, Any]:
    """Says on which code of the user's a run is made: that of the repository around a folder.

    Args:
        folder: The folder; None: the current one.

    Returns:
        `commit` (None before the first), `branch` (None where none is checked out) and `dirty`: whether files that git
        knows differ from the commit. Or `problem`, where there is nothing to say: no repository, no git.
    """
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=none"]
    # Looking must change nothing, not even the index that git would refresh by the way.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return {"problem": "git isn't installed"}
    except (OSError, subprocess.SubprocessError) as error:
        return {"problem": f"git failed: {' '.join(str(error).split())}"}
    if result.returncode != 0:
        said = " ".join(result.stderr.split()).removeprefix("fatal: ")
        return {"problem": "not a git repository" if said.startswith("not a git") else f"git failed: {said}"}
    lines = result.stdout.splitlines()
    about = dict(line.removeprefix("# branch.").split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = about.get("oid"), about.get("head")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


def machine() -> dict[str, Any]:
    """Says what computes: platform, processor, and how many of these this process may use."""
    return {"platform": platform.platform(), "processor": _processor(), "cpu_count": cpu_count()}


def _processor() -> str:
    """Returns the processor's name; Python has only its family on Linux, if that."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _simulators() -> dict[str, str]:
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in SIMULATORS}
    return {name: str(version) for name, version in versions.items() if version is not None}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
