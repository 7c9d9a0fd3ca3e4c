from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from slc_agents.cli.main import main

# A run of 300 steps that takes a second.
SMALL = {
    "--total-timesteps": "300",
    "--steps-per-epoch": "100",
    "--start-steps": "50",
    "--update-after": "50",
    "--update-every": "10",
    "--steps-per-update": "1",
    "--batch-size": "8",
    "--num-test-episodes": "1",
    "--eval-episodes": "3",
    "--policy-kwargs": "{hidden_sizes: [8, 8]}",
}


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def small() -> list[str]:
    """Options of a small run."""
    return [part for option in SMALL.items() for part in option]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs `slc-agents` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def small_run(command: Callable[..., Result], small: list[str]) -> Path:
    """A run folder of SAC on Pendulum-v1."""
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "small", "--quiet").code == 0
    return Path("small")
