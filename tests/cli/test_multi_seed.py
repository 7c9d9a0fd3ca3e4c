"""`slc-agents train --seeds`: several seeds of a training, and the folder that holds them."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slc_agents.cli.main import main
from slc_agents.cli.multi_seed import MultiSeedPlan, parse_seeds, summarize
from slc_agents.cli.processes import Job, Watcher
from slc_agents.errors import ConfigError
from tests.cli.test_resume import assert_same_run

Command = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0..4", (0, 1, 2, 3, 4)),
        ("0,3,7", (0, 3, 7)),
        ("3", (3,)),
        ("10..11, 2 ,5..5", (10, 11, 2, 5)),
    ],
)
def test_seeds_are_read(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is neither a seed nor a range"),
        ("0..", "'0..' is neither"),
        ("-1", "'-1' is neither"),
        ("0-4", "such as 0..4 or 0,3,7"),
        ("1,,2", "'' is neither"),
        ("4..0", "goes down; 0..4 is needed"),
        ("0..3,2", "seed 2 is there twice"),
        ("0..1000000000000", "more than 1000 seeds"),
    ],
)
def test_what_are_no_seeds(text: str, problem: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(problem)):
        parse_seeds(text)


def test_seeds_are_summed_up() -> None:
    evaluations = {seed: {"mean": float(mean), "std": 1.0, "episodes": 5} for seed, mean in ((0, 1), (4, 2), (7, 6))}
    summary = summarize(evaluations)
    assert (summary["mean"], summary["std"]) == (3.0, pytest.approx(np.sqrt(7)))
    half = 4.303 * np.sqrt(7) / np.sqrt(3)
    assert summary["interval"] == pytest.approx([3 - half, 3 + half])
    assert summary["seeds"]["4"] == {"mean": 2.0, "std": 1.0, "episodes": 5}
    alone = summarize({3: evaluations[0]})
    assert (alone["mean"], alone["std"], alone["interval"]) == (1.0, None, None)
    json.dumps(summary)


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    plan = MultiSeedPlan({0: "seed-0", 7: "seed-7/exp"}, 2, "1")
    plan.write(tmp_path)
    assert MultiSeedPlan.read(tmp_path) == plan
    (tmp_path / "seeds.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"seeds.json: not the file that"):
        MultiSeedPlan.read(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no seeds.json"):
        MultiSeedPlan.read(tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0..x"], ["--seeds", "'0..x'", "0..4 or 0,3,7"]),
        (["--seeds", "0..1", "--seed", "3"], ["--seed and --seeds: give one of them"]),
        (["--jobs", "2"], ["--jobs goes with --seeds"]),
        (["--seeds", "0..1", "--jobs", "0"], ["--jobs", "at least 1"]),
    ],
)
def test_options_that_make_no_sense(command: Command, options: list[str], words: list[str]) -> None:
    code, out, err = command("train", "sac", "Pendulum-v1", *options)
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
    assert list(Path().iterdir()) == []


def test_what_is_wrong_with_settings_shows_before_a_process_begins(command: Command) -> None:
    code, out, err = command("train", "sac", "Pendulum-v1", "--seeds", "0..1", "--policy", "Mlp", "--out", "x")
    assert (code, out) == (1, "")
    assert err.startswith("error: policy='Mlp'")
    assert list(Path().iterdir()) == []


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Runs the seeds' commands in this process, one after the other; those in "skip" are interrupted, "fail" fail."""
    seen: dict[str, Any] = {"skip": (), "fail": ()}

    def run(jobs: Sequence[Job], n_at_once: int, environment: dict[str, str], watcher: Watcher) -> bool:
        seen.update(seeds=[job.key for job in jobs], jobs=n_at_once, environment=environment)
        interrupted = False
        for job in jobs:
            if job.key in seen["skip"]:
                interrupted = True
                continue
            watcher.began(job.key)
            before = capsys.readouterr()
            if job.key in seen["fail"]:
                code = 1
                with job.log.open("a") as log:
                    log.write("Traceback ...\nerror: it [broke] (--debug shows where)\n")
            else:
                code = main(job.arguments)
            capsys.readouterr()
            print(before.out, end="")
            watcher.look()
            watcher.ended(job.key, code, 1.0)
        return interrupted

    monkeypatch.setattr("slc_agents.cli.train_seeds.run_jobs", run)
    return seen


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take most of the time."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.mark.usefixtures("undrawn")
def test_several_seeds(small: list[str], command: Command, in_process: dict[str, Any]) -> None:
    assert command("train", "sac", "Pendulum-v1", *small, "--seed", 3, "--out", "alone", "--quiet").code == 0
    in_process["skip"] = (3,)
    options = [*small, "--seeds", "1,3", "--jobs", 5, "--out", "many", "--compute-kwargs", "{num_threads: 1}"]
    code, out, err = command("train", "sac", "Pendulum-v1", *options)
    assert (code, err) == (130, "")
    assert (in_process["seeds"], in_process["jobs"]) == ([1, 3], 2)
    assert in_process["environment"]["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")
    assert out.splitlines()[0].startswith("SAC on Pendulum-v1, 2 seeds (1, 3), 2 at once with 1 thread each; settings:")
    assert re.search(r"^mean return: -[\d.]+ over 1 seed$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "go on: slc-agents train --resume many"
    plan = json.loads(Path("many/seed-3/run.json").read_text())
    assert (plan["config"]["seed"], plan["launches"], plan["finished"]) == (3, [], False)
    assert plan["command"].startswith("slc-agents train sac Pendulum-v1 --total-timesteps 300")
    assert plan["command"].endswith("--seeds 1,3 --jobs 5 --out many --compute-kwargs '{num_threads: 1}'")

    in_process["skip"] = ()
    code, out, err = command("train", "--resume", "many", "--jobs", 1)
    assert (code, err) == (0, "")
    assert (in_process["seeds"], in_process["jobs"]) == ([3], 1)
    assert out.splitlines()[0] == "2 seeds (1, 3), 1 at once with 1 thread each; going on with 3"
    assert_same_run(Path("many/seed-3"), Path("alone"))
    rows = [line.split() for line in out.splitlines() if re.match(r"\s+[13]\s", line)]
    means = []
    for seed, row in zip((1, 3), rows, strict=True):
        evaluation = json.loads(Path(f"many/seed-{seed}/evaluation.json").read_text())
        means.append(evaluation["mean"])
        assert row[:6] == [
            str(seed),
            f"{evaluation['mean']:.1f}",
            "±",
            f"{evaluation['std']:.1f}",
            "3",
            "300",
        ]
    summary = json.loads(Path("many/evaluation.json").read_text())
    assert summary["mean"] == pytest.approx(np.mean(means))
    assert summary["env"] == "Pendulum-v1"
    low, high = summary["interval"]
    assert (
        f"mean return: {np.mean(means):.1f} ± {np.std(means, ddof=1):.1f} over 2 seeds, "
        f"95% interval of the mean {low:.1f} to {high:.1f} (t)" in out
    )
    assert "no learning curve: " in out
    assert [launch["outcome"] for launch in json.loads(Path("many/seeds.json").read_text())["launches"]] == [
        "interrupted",
        "finished",
    ]

    code, _, err = command("train", "--resume", "many")
    assert code == 1
    assert err == "error: --resume many: all seeds have reached their end; there is nothing to go on with\n"
    assert "leave out --seeds, --gamma" in command("train", "--resume", "many", "--seeds", 1, "--gamma", 0.5).err
    assert "is of sac on Pendulum-v1" in command("train", "sac", "Ant-v5", "--resume", "many").err
    assert "--jobs goes with --seeds, or" in command("train", "--resume", "alone", "--jobs", 2).err
    for arguments in (["sac", "Pendulum-v1", "--out", "many"], ["sac", "Pendulum-v1", "--seeds", "8", "--out", "many"]):
        assert "--out many: holds a run already (seeds.json)" in command("train", *arguments).err
    for name in ("evaluate", "enjoy", "export"):
        record = ["--record", "x.gif"] if name == "enjoy" else []
        code, _, err = command(name, "many", *record)
        assert (code, "give one of many/seed-1, many/seed-3" in err) == (1, True), err


@pytest.mark.usefixtures("undrawn")
def test_one_that_fails_is_no_reason_for_the_others(
    small: list[str], command: Command, in_process: dict[str, Any]
) -> None:
    in_process["fail"] = (0,)
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--seeds", "0..1", "--out", "x", "--quiet")
    assert code == 1
    lines = out.splitlines()
    assert "seed 0 failed: it [broke]; its log: x/seed-0/log.txt" in lines
    assert any(re.match(r"\s+0\s+failed", line) for line in lines)
    assert any(re.match(r"\s+1\s+-[\d.]+ ± ", line) for line in lines)
    assert lines[-1] == "go on: slc-agents train --resume x"
    assert json.loads(Path("x/seeds.json").read_text())["launches"][0]["outcome"] == "failed: seed 0"
    assert json.loads(Path("x/evaluation.json").read_text())["seeds"].keys() == {"1"}


def test_a_terminal_gets_bars(
    small: list[str], command: Command, in_process: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    Path("mine.yaml").write_text("seed: 9\nlogger_kwargs: {exp_name: exp}\n")
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--seeds", "4", "--config", "mine.yaml")
    assert code == 0
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"sac-Pendulum-v1-seeds-\d{8}-\d{6}", folder.name)
    assert json.loads((folder / "seeds.json").read_text())["folders"] == {"4": "seed-4/exp"}
    assert (folder / "seed-4/exp/agent.zip").exists()
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out)
    assert re.search(r"seed 4 ━+ 300/300 +evaluating", text)
    assert re.search(r"seed 4: return -[\d.]+ ± [\d.]+, in 0:00:01", text)


@pytest.mark.slow
def test_processes_are_stopped_and_go_on_exactly(small: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "slc_agents", "train"]
    settings = [*small, "--total-timesteps", "4000", "--checkpoint-freq", "100"]

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*program, *arguments], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )

    def wait_for(name: str) -> None:
        deadline = time.monotonic() + 240
        while not (tmp_path / name).exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    for seed in ("1", "2", "3"):
        with start("sac", "Pendulum-v1", *settings, "--seed", seed, "--out", f"whole-{seed}", "--quiet") as process:
            assert process.wait(240) == 0
    with start("sac", "Pendulum-v1", *settings, "--seeds", "1..3", "--jobs", "2", "--out", "many") as process:
        wait_for("many/seed-1/progress.csv")
        wait_for("many/seed-2/progress.csv")
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 130
    assert not (tmp_path / "many/seed-3/progress.csv").exists()
    with start("--resume", "many") as process:  # killed: its children hear of it, and end in good order
        time.sleep(8)
        process.kill()
    deadline = time.monotonic() + 120
    while _children_of("many/seed") and time.monotonic() < deadline:
        time.sleep(0.1)
    with start("--resume", "many", "--jobs", "3") as process:
        assert process.wait(240) == 0
    for seed in ("1", "2", "3"):
        assert_same_run(tmp_path / f"many/seed-{seed}", tmp_path / f"whole-{seed}")


def _children_of(name: str) -> bool:
    """Whether there are processes of seeds, as Linux tells."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return any(b"slc_agents.cli.child" in line and name.encode() in line for line in lines)
