"""What all commands have in common: help, errors, warnings, Ctrl-C."""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slc_agents.cli import evaluate
from slc_agents.cli.main import main

Command = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException) -> Any:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["evaluate", "-h"], ["plot", "--help"], ["report", "--help"]]
)
def test_help(command: Command, arguments: list[str]) -> None:
    code, out, err = command(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: slc-agents")
    assert max(map(len, out.splitlines())) <= 80


def test_version_and_python_m() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "slc_agents", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("slc-agents ")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["fly"], ["'fly'", "train"]),
        (["train"], ["ALGO", "ENV_ID"]),
        (["train", "ppo", "Pendulum-v1"], ["'ppo'", "sac"]),
        (["train", "sac", "Pendulum-v1", "--learning-rate", "1e-3"], ["--learning-rate", "--lr-a"]),
        (["train", "sac", "Pendulum-v1", "--gama", "1"], ["--gama", "--gamma"]),
        (["train", "sac", "Pendulum-v1", "--lr", "1"], ["--lr", "--lr-a"]),
        (["train", "sac", "Pendulum-v1", "--lr-a"], ["--lr-a", "expected one argument"]),
        (["train", "sac", "Pendulum-v1", "--lr-a", "{a"], ["--lr-a", "'{a'", "YAML"]),
        (["train", "sac", "Pendulum-v1", "--lr-a", "!!python/name:os.system"], ["--lr-a", "tags"]),
        (["train", "sac", "Pendulum-v1", "--total-timesteps", "0"], ["--total-timesteps", "'0'", "at least 1"]),
        (["train", "sac", "Pendulum-v1", "--total-timesteps", "1.5"], ["'1.5'", "whole number"]),
        (["evaluate", "x", "--episodes", "-1"], ["--episodes"]),
        (["evaluate", "x", "y"], ["y"]),
        (["plot"], ["RUN"]),
        (["plot", "x", "--smooth", "0"], ["--smooth", "'0'", "at least 1"]),
        (["report"], ["RUN"]),
    ],
)
def test_arguments_that_make_no_sense(command: Command, arguments: list[str], words: list[str]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "sac", "Pendulm-v1"], ["Pendulm", "Pendulum"]),
        (["train", "sac", "CartPole-v1"], ["Discrete(2)"]),
        (["train", "sac", "no_such_module:X-v0"], ["no_such_module"]),
        (["train", "sac", "Pendulum-v1", "--lr-a", "-1"], ["lr_a=-1", ">= 0"]),
        (["train", "sac", "Pendulum-v1", "--seed", "one"], ["seed='one'"]),
        (["train", "sac", "Pendulum-v1", "--logger-kwargs", "7"], ["logger_kwargs=7"]),
        (["train", "sac", "Pendulum-v1", "--policy-kwargs", "{layers: 3}"], ["'layers'"]),
        (["train", "sac", "Pendulum-v1", "--config", "none.yaml"], ["none.yaml"]),
        (["train", "sac", "Pendulum-v1", "--start-policy", "none.zip"], ["none.zip"]),
        (["train", "sac", "Pendulum-v1", "--start-policy", "zoo:sac/None-v1"], ["sac/None-v1"]),
        (["evaluate", "none"], ["none"]),
        (["plot", "none"], ["none"]),
        (["report", "none"], ["none", "there is no such folder"]),
        (["report", "."], ["is no run folder"]),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(command: Command, arguments: list[str], words: list[str]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("arguments", [["--debug", "evaluate", "none"], ["evaluate", "none", "--debug"]])
def test_debug_shows_the_traceback(command: Command, arguments: list[str]) -> None:
    code, _, err = command(*arguments)
    assert code == 1
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("error: ")


def test_an_unexpected_error_says_its_type(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "run", raising(KeyError("x\ny")))
    assert command("evaluate", "x") == (1, "", "error: KeyError: 'x\\ny' (--debug shows where)\n")
    monkeypatch.setattr(evaluate, "run", raising(ValueError("a\n  b")))
    assert command("evaluate", "x") == (1, "", "error: a b\n")
    monkeypatch.setattr(evaluate, "run", raising(KeyboardInterrupt()))
    assert command("evaluate", "x") == (130, "", "interrupted\n")


def test_a_warning_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: argparse.Namespace) -> int:
        warnings.warn("\x1b[33mWARN:\x1b[0m mind\nthe step", stacklevel=1)
        return 0

    monkeypatch.setattr(evaluate, "run", run)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert command("evaluate", "x") == (0, "", "warning: WARN: mind the step\n")
    assert warnings.showwarning is before


def test_main_takes_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["slc-agents", "--version"])
    assert main() == 0
