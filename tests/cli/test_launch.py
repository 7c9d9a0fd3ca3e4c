"""What is recorded of a process that works on a run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from slc_agents.cli import launch
from slc_agents.cli.launch import Launch, git_state
from slc_agents.compute import cpu_count


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "init.defaultBranch=trunk"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    try:
        git(tmp_path, "init", "-q")
    except FileNotFoundError:
        pytest.skip("git isn't installed")
    return tmp_path


def test_the_state_of_the_users_code(repository: Path) -> None:
    (repository / "code.py").write_text("1")
    assert git_state(repository) == {"commit": None, "branch": "trunk", "dirty": False}
    git(repository, "add", "code.py")
    git(repository, "commit", "-q", "-m", "one")
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "branch": "trunk", "dirty": False}
    (repository / "sub").mkdir()
    (repository / "runs").write_text("what git doesn't know is no change of the code")
    assert git_state(repository / "sub") == {"commit": commit, "branch": "trunk", "dirty": False}
    (repository / "code.py").write_text("2")
    assert git_state(repository)["dirty"] is True
    git(repository, "checkout", "-q", "--detach")
    assert git_state(repository) == {"commit": commit, "branch": None, "dirty": True}


def test_where_there_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_state(outside) == {"problem": "not a git repository"}


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (FileNotFoundError(2, "No such file", "git"), "git isn't installed"),
        (PermissionError(13, "Permission denied", "git"), "git failed: [Errno 13] Permission denied: 'git'"),
        (subprocess.TimeoutExpired(["git"], 10), "git failed: Command '['git']' timed out after 10 seconds"),
        (
            SimpleNamespace(returncode=128, stdout="", stderr="fatal: detected dubious\nownership\n"),
            "git failed: detected dubious ownership",
        ),
    ],
)
def test_git_may_fail(monkeypatch: pytest.MonkeyPatch, outcome: object, problem: str) -> None:
    def run(*arguments: object, **options: object) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(launch.subprocess, "run", run)
    assert git_state() == {"problem": problem}


def test_a_launch_says_all_but_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-mine")
    monkeypatch.setitem(launch.sys.modules, "mujoco", SimpleNamespace(__version__="9.9"))
    begun = Launch.begin(["train", "sac", "X v0"], {"torch": "2.0"})
    assert begun.command == "slc-agents train sac 'X v0'"
    assert begun.directory == str(tmp_path)
    assert begun.versions["torch"] == "2.0"
    assert begun.versions["mujoco"] == "9.9"
    assert begun.machine["cpu_count"] == cpu_count() >= 1
    assert begun.machine["processor"]
    assert begun.machine["platform"]
    assert (begun.ended, begun.seconds, begun.outcome) == (None, None, None)
    ended = begun.end("finished", 1.23456)
    assert (ended.seconds, ended.outcome, ended.started) == (1.235, "finished", begun.started)
    assert ended.ended is not None
    assert ended.ended >= begun.started
    assert "secret-of-mine" not in json.dumps(vars(ended))
