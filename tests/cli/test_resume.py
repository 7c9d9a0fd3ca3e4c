"""`slc-agents train --resume`: after an interruption, and after kill -9 at any instant."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slc_agents.callbacks import Callback
from slc_agents.persistence import read_archive
from tests.support.fingerprint import progress_rows

Command = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def tensors(folder: Path) -> dict[str, Any]:
    with read_archive(folder / "agent.zip") as archive:
        return archive.tensors()


def contents(folder: Path) -> dict[Path, bytes]:
    """All of a folder's files but the log of what was said."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"}


def assert_same_run(one: Path, other: Path) -> None:
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert progress_rows(one / "progress.csv") == progress_rows(other / "progress.csv")
    evaluations = [json.loads((folder / "evaluation.json").read_text()) for folder in (one, other)]
    assert evaluations[0] == evaluations[1]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets Ctrl-C come, or the process end, at a step."""

    def stop(step: int) -> None:
        from slc_agents.cli import run_folder

        class Stopping(run_folder.RunCheckpoints):
            def on_step(self) -> None:
                super().on_step()
                if self.num_timesteps == step:
                    os.kill(os.getpid(), 2)

        monkeypatch.setattr("slc_agents.cli.train.RunCheckpoints", Stopping)
        Stopping.__name__ = "RunCheckpoints"

    return stop


def test_it_goes_on_exactly(small: list[str], command: Command, stop_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "whole").code == 0
    stop_at(137)
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "parts")
    assert code == 130
    assert "interrupted after 137 of 300 steps" in out
    assert out.splitlines()[-1] == "go on: slc-agents train --resume parts"
    assert sorted(path.name for path in Path("parts/checkpoints").iterdir()) == [
        "checkpoint_0_steps.zip",
        "checkpoint_137_steps.zip",
    ]
    stop_at(-1)
    Path("parts").rename("moved")
    code, out, err = command("train", "--resume", "moved")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "SAC on Pendulum-v1, seed 1; going on after 137 steps"
    assert_same_run(Path("moved"), Path("whole"))
    assert not Path("moved/checkpoints").exists()
    run = json.loads(Path("moved/run.json").read_text())
    assert [launch["outcome"] for launch in run["launches"]] == ["interrupted", "finished"]
    assert run["launches"][1]["command"] == "slc-agents train --resume moved"
    assert run["command"] == run["launches"][0]["command"]

    code, _, err = command("train", "--resume", "moved")
    assert code == 1
    assert err == "error: --resume moved: this run has reached its end; there is nothing to go on with\n"


def test_a_run_that_knows_of_no_launches_goes_on(small: list[str], command: Command, stop_at: Any) -> None:
    """As those from before these were recorded."""
    stop_at(137)
    command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x")
    stop_at(-1)
    run = json.loads(Path("x/run.json").read_text())
    Path("x/run.json").write_text(json.dumps({key: run[key] for key in run if key not in ("command", "launches")}))
    Path("x/log.txt").unlink()
    assert command("train", "--resume", "x").code == 0
    run = json.loads(Path("x/run.json").read_text())
    assert (run["command"], run["finished"], len(run["launches"])) == (None, True, 1)


@contextmanager
def killed_in(function: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the command ends where it calls one of its functions."""

    def die(*arguments: object, **options: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(f"slc_agents.cli.train.{function}", die)
        yield


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "whole").code == 0
    with killed_in("_train", monkeypatch):
        assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x").code == 9
    assert sorted(path.name for path in Path("x").iterdir()) == ["log.txt", "run.json"]
    (launch,) = json.loads(Path("x/run.json").read_text())["launches"]
    assert (launch["ended"], launch["seconds"], launch["outcome"]) == (None, None, None)
    assert "holds a run already (run.json)" in command("train", "sac", "Pendulum-v1", "--out", "x").err
    assert command("train", "--resume", "x").code == 0
    assert_same_run(Path("x"), Path("whole"))


@pytest.mark.filterwarnings("default")
def test_a_spoiled_checkpoint_gives_way_to_the_one_before(small: list[str], command: Command, stop_at: Any) -> None:
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "whole").code == 0
    stop_at(137)
    command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x", "--checkpoint-freq", 100)
    stop_at(-1)
    newest = Path("x/checkpoints/checkpoint_137_steps.zip")
    newest.write_bytes(newest.read_bytes()[:-1000])
    Path("x/checkpoints/.checkpoint_200_steps.zip.0123.tmp").write_bytes(b"half written")
    code, out, err = command("train", "--resume", "x")
    assert code == 0
    assert "checkpoint_137_steps.zip" in err
    assert "looking for an earlier checkpoint" in err
    assert "going on after 100 steps" in out
    assert_same_run(Path("x"), Path("whole"))
    assert not Path("x/checkpoints").exists()


def test_a_kill_in_the_evaluation_costs_only_that(
    small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is due in the last step too: it must not be taken for a run that is yet to begin."""
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "whole").code == 0
    with killed_in("_finish", monkeypatch):
        options = [*small, "--seed", 1, "--out", "x", "--checkpoint-freq", 100]
        assert command("train", "sac", "Pendulum-v1", *options).code == 9
    code, out, _ = command("train", "--resume", "x")
    assert code == 0
    assert "going on after 200 steps" in out
    assert_same_run(Path("x"), Path("whole"))


def test_checkpoints_that_can_t_be_read_are_no_reason_to_begin_again(
    small: list[str], command: Command, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slc_agents.cli import train
    from slc_agents.errors import UntrustedCodeError

    stop_at(137)
    command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x")
    stop_at(-1)
    before = contents(Path("x"))

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise UntrustedCodeError(f"{path}: it needs --trust")

    with monkeypatch.context() as patch:
        patch.setattr(train, "load", refuse)
        code, _, err = command("train", "--resume", "x")
    assert code == 1
    assert err == "error: x/checkpoints/checkpoint_137_steps.zip: it needs --trust\n"
    assert contents(Path("x")) == before
    assert Path("x/log.txt").read_text().endswith("it needs --trust\n")
    for name in ("agent.zip", "config.yaml", "progress.csv", "run.json"):
        Path("x", name).unlink()
    assert "holds a run already (checkpoints)" in command("train", "sac", "Pendulum-v1", "--out", "x").err


def test_going_on_that_fails_leaves_the_agent(
    small: list[str], command: Command, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slc_agents.cli import train

    stop_at(137)
    command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x")
    before = Path("x/agent.zip").read_bytes()

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(train, "_train", fail)
    Path("x").rename("moved")
    assert command("train", "--resume", "moved").code == 1
    assert Path("moved/agent.zip").read_bytes() == before


def test_what_makes_no_sense(small: list[str], command: Command, stop_at: Any) -> None:
    stop_at(137)
    command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "x")
    stop_at(-1)
    code, _, err = command("train", "--resume", "x", "--lr-a", 1e-3, "--total-timesteps", 5)
    assert code == 2
    assert "--resume goes on with the run's own settings: leave out --total-timesteps, --lr-a" in err
    assert "is of sac on Pendulum-v1" in command("train", "sac", "Ant-v5", "--resume", "x").err
    assert "there is no run.json" in command("train", "--resume", "y").err
    assert "missing: ENV_ID (or --resume RUN" in command("train", "sac").err
    assert "--trust goes with --resume" in command("train", "sac", "Pendulum-v1", "--trust").err
    Path("x/run.json").write_text("{")
    assert "x/run.json: not the file that" in command("train", "--resume", "x").err


def test_checkpoints_come_by_steps_or_by_time(small: list[str], command: Command, monkeypatch: Any) -> None:
    saved: list[int] = []

    def save(self: Callback) -> None:
        saved.append(self.num_timesteps)

    monkeypatch.setattr("slc_agents.callbacks.CheckpointCallback.save", save)
    command("train", "sac", "Pendulum-v1", *small, "--out", "x", "--checkpoint-freq", 120)
    assert saved == [0, 120, 240]
    saved.clear()
    command("train", "sac", "Pendulum-v1", *small, "--out", "y")
    assert saved == [0]
    saved.clear()
    monkeypatch.setattr("slc_agents.cli.train.CHECKPOINT_SECONDS", 0.0)
    command("train", "sac", "Pendulum-v1", *small, "--out", "z")
    assert saved == list(range(300))  # none at its end


KILLS = 50


@pytest.mark.slow
def test_kill_at_any_instant(small: list[str], tmp_path: Path) -> None:
    """Fifty kills, at random and while something is being written; then the weights of a run that was never killed."""
    settings = [*small, "--total-timesteps", "6000", "--seed", "1", "--checkpoint-freq", "20"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "slc_agents", "train"]
    whole = [*program, "sac", "Pendulum-v1", *settings, "--out", "whole", "--quiet"]
    subprocess.run(whole, cwd=tmp_path, env=environment, check=True, capture_output=True)

    moments = random.Random(0)
    folder = tmp_path / "killed"
    kills = in_a_write = 0
    arguments = [*program, "sac", "Pendulum-v1", *settings, "--out", "killed", "--quiet"]
    while True:
        begun = folder.joinpath("run.json").exists()
        process = subprocess.Popen(
            [*program, "--resume", "killed", "--quiet"] if begun else arguments,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:  # which closes the pipes
            if kills < KILLS:
                in_a_write += _kill(process, folder, moments)
                kills += 1
            out, err = process.communicate(timeout=600)
        if process.returncode == 0:
            assert (kills, err) == (KILLS, ""), "the run ended before the last kill; it must be longer"
            break
        assert (process.returncode, kills <= KILLS) == (-9, True), f"{out}{err}"
    print(f"{kills} kills, {in_a_write} of them while something was being written")
    assert in_a_write >= KILLS // 5
    assert_same_run(folder, tmp_path / "whole")


def _kill(process: subprocess.Popen[str], folder: Path, moments: random.Random) -> bool:
    """Kills at a random moment of training, or in the first write after it; returns whether that was in a write."""
    known = _newest(folder)
    deadline = time.monotonic() + 120
    while _newest(folder) == known and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)  # until it trains
    time.sleep(moments.uniform(0.0, 0.2))
    waits_for_write = moments.random() < 0.6
    writing = False
    while waits_for_write and not writing and process.poll() is None and time.monotonic() < deadline:
        writing = any(folder.glob("**/.*.tmp"))
    process.kill()
    process.wait()
    return writing


def _newest(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("checkpoints/checkpoint_*") if path.exists()), default=0.0)
