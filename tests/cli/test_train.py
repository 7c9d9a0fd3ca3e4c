"""`slc-agents train`, in this process and in one that gets Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import slc_agents
from slc_agents.evaluation import evaluate_policy
from slc_agents.logger import read_progress
from slc_agents.zoo import read_config_file

Command = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
FILES = {"agent.zip", "config.yaml", "progress.csv", "log.txt", "learning_curve.png", "evaluation.json", "run.json"}
UNFINISHED = {"checkpoints"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_run(small: list[str], command: Command) -> None:
    code, out, err = command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--out", "runs/x")
    folder = Path("runs/x")
    assert (code, err) == (0, "")
    assert names(folder) == FILES
    lines = out.splitlines()
    assert lines[0].startswith(
        "SAC on Pendulum-v1, seed 1; settings: the zoo's for sac/Pendulum-v1, with steps_per_epoch,"
    )
    assert [line.split("   ")[:2] for line in lines[1:4]] == [
        ["epoch 1/3", "100/300 steps"],
        ["epoch 2/3", "200/300 steps"],
        ["epoch 3/3", "300/300 steps"],
    ]
    assert re.fullmatch(r"epoch 3/3   300/300 steps   [\d,]+ steps/s   return -[\d,]+\.\d   test -[\d,]+\.\d", lines[3])
    assert lines[-1] == "run folder: runs/x"

    evaluation = json.loads((folder / "evaluation.json").read_text())
    model = slc_agents.load(folder / "agent.zip")
    returns, _ = evaluate_policy(model, "Pendulum-v1", 3, return_episode_rewards=True, seed=evaluation["seed"])
    assert evaluation["returns"] == returns
    assert (evaluation["mean"], evaluation["std"]) == (float(np.mean(returns)), float(np.std(returns)))
    assert (evaluation["episodes"], evaluation["timesteps"], evaluation["env"]) == (3, 300, "Pendulum-v1")
    assert lines[-2] == f"mean return: {np.mean(returns):.1f} ± {np.std(returns):.1f} over 3 episodes"

    config = yaml.safe_load((folder / "config.yaml").read_text())
    zoo_file = slc_agents.zoo.load_config("sac", "Pendulum-v1").to_dict()
    assert (config["seed"], config["batch_size"], config["steps_per_epoch"], config["lr_a"]) == (1, 8, 100, 1e-3)
    assert config["lr_c"] == zoo_file["lr_c"]
    assert config["logger_kwargs"]["output_dir"] == "runs/x"
    assert read_progress(folder)["time/total_timesteps"] == [100, 200, 300]
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")

    said = [line[21:] for line in (folder / "log.txt").read_text(encoding="utf-8").splitlines()]
    assert [lines[0], *lines[1:]] == [said[0], *said[2:]]
    assert said[1].startswith("gradient steps on the CPU: float32, ")


def test_a_run_says_where_it_comes_from(small: list[str], command: Command) -> None:
    code, _, _ = command("train", "sac", "Pendulum-v1", *small, "--out", "x", "--quiet")
    assert code == 0
    run = json.loads(Path("x/run.json").read_text())
    drawn = yaml.safe_load(Path("x/config.yaml").read_text())["seed"]
    assert (run["config"]["seed"], run["finished"]) == (drawn, True)
    assert run["command"] == shlex.join(["slc-agents", "train", "sac", "Pendulum-v1", *small, "--out", "x", "--quiet"])
    (launch,) = run["launches"]
    assert (launch["command"], launch["outcome"]) == (run["command"], "finished")
    assert launch["seconds"] > 0
    assert launch["ended"] >= launch["started"]
    assert {"slc_agents", "python", "numpy", "gymnasium", "torch"} <= launch["versions"].keys()
    assert launch["machine"].keys() == {"platform", "processor", "cpu_count"}
    assert launch["git"].keys() in ({"problem"}, {"commit", "branch", "dirty"})


def test_a_run_that_fails_says_so(small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from slc_agents.cli import train

    def fail(*arguments: object) -> None:
        raise ValueError("no\n  luck")

    monkeypatch.setattr(train, "evaluate_agent", fail)
    code, _, err = command("train", "sac", "Pendulum-v1", *small, "--out", "x")
    assert (code, err) == (1, "error: no luck\n")
    (launch,) = json.loads(Path("x/run.json").read_text())["launches"]
    assert launch["outcome"] == "failed: ValueError: no luck"
    assert "Traceback (most recent call last):" in Path("x/log.txt").read_text()


def test_runs_are_reproducible(small: list[str], command: Command) -> None:
    outputs = [command("train", "sac", "Pendulum-v1", *small, "--seed", 4, "--out", out).out for out in ("a", "b")]
    assert outputs[0].splitlines()[-2] == outputs[1].splitlines()[-2]
    a, b = (read_progress(Path(out)) for out in ("a", "b"))
    assert a["train/critic_loss"] == b["train/critic_loss"]


def test_another_policy(small: list[str], command: Command) -> None:
    code, _, _ = command("train", "sac", "Pendulum-v1", *small, "--policy", "GSDEPolicy", "--out", "x", "--quiet")
    assert code == 0
    assert type(slc_agents.load("x/agent.zip").policy).__name__ == "GSDEPolicy"
    assert json.loads(Path("x/run.json").read_text())["policy"] == "GSDEPolicy"
    code, _, err = command("train", "sac", "Pendulum-v1", "--policy", "Mlp", "--out", "y")
    assert code == 1
    assert "policy='Mlp': allowed are 'MlpPolicy', 'CnnPolicy'" in err


def test_quiet_and_the_default_folder(small: list[str], command: Command) -> None:
    runs = [command("train", "sac", "Pendulum-v1", *small, "--seed", 7, "--quiet") for _ in range(2)]
    assert [run.code for run in runs] == [0, 0]
    assert all(re.fullmatch(r"mean return: .*\nrun folder: .*\n", run.out) for run in runs)
    folders = [run.out.splitlines()[-1].removeprefix("run folder: ") for run in runs]
    assert len(set(folders)) == 2
    assert all(re.fullmatch(r"runs/sac-Pendulum-v1-seed7-\d{8}-\d{6}(-2)?", folder) for folder in folders)
    assert all(names(Path(folder)) == FILES for folder in folders)


def test_a_terminal_gets_a_bar(small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--out", "x")
    assert code == 0
    assert "300/300" in out
    assert "epoch 3/3" not in out


def test_a_folder_with_a_run_is_left_as_it_is(small: list[str], command: Command, small_run: Path) -> None:
    before = {path: path.read_bytes() for path in small_run.iterdir()}
    code, out, err = command("train", "sac", "Pendulum-v1", *small, "--out", small_run)
    assert (code, out) == (1, "")
    assert err == (
        "error: --out small: holds a run already (agent.zip, config.yaml, progress.csv, run.json), which would be "
        "lost; choose another folder, or go on with that run: slc-agents train --resume small\n"
    )
    assert {path: path.read_bytes() for path in small_run.iterdir()} == before
    code, _, err = command("train", "sac", "Pendulum-v1", *small, "--out", small_run / "agent.zip")
    assert code == 1
    assert "is a file" in err


def test_a_file_of_rl_baselines3_zoo(small: list[str], command: Command) -> None:
    text = "Pendulum-v1:\n  n_timesteps: !!float 2e4\n  policy: MlpPolicy\n  gamma: 0.9\n  learning_rate: lin_1e-3\n"
    Path("sac.yml").write_text(text + "  use_sde: True\n  train_freq: 4\n")
    train = ["train", "sac", "Pendulum-v1", "--sb3-config", "sac.yml"]
    code, out, err = command(*train, "--total-timesteps", 60, "--batch-size", 8, "--eval-episodes", 1, "--out", "x")
    assert (code, err) == (0, "")
    assert "settings: sac.yml, of RL Baselines3 Zoo, with batch_size from the command line" in out
    model = slc_agents.load("x/agent.zip")
    assert (type(model.policy).__name__, model.num_timesteps) == ("GSDEPolicy", 60)
    assert (model.config.gamma, model.config.batch_size, model.config.epochs) == (0.9, 8, 20)
    assert model.config.policy_kwargs == {"noise_steps": 4}
    for more in (["--config", "y.yaml"], ["--policy", "MlpPolicy"]):
        code, _, err = command(*train, *more)
        assert code == 2
        assert "goes with neither --config nor --policy" in err
    code, _, err = command("train", "--resume", "x", "--sb3-config", "sac.yml")
    assert code == 2
    assert "leave out --sb3-config" in err
    Path("sac.yml").write_text(text + "  frame_stack: 4\n")
    code, _, err = command(*train)
    assert (code, err.startswith("error: sac.yml:6: frame_stack: 4: ")) == (1, True)
    assert not Path("runs").exists()


def test_a_file_of_settings(small: list[str], command: Command) -> None:
    settings = {"seed": 9, "export": True, "gamma": 0.5, "logger_kwargs": {"exp_name": "exp", "sinks": ["csv"]}}
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    code, out, _ = command(
        "train", "sac", "Pendulum-v1", *small, "--config", "mine.yaml", "--gamma", ".8", "--out", "x"
    )
    assert code == 0
    assert "seed 9; settings: mine.yaml, with" in out.splitlines()[0]
    assert names(Path("x/exp")) >= FILES | {"policy.pt"}
    config = read_config_file("x/exp/config.yaml").values
    assert (config["seed"], config["gamma"], config["lr_c"]) == (9, 0.8, 3e-4)

    Path("bad.yaml").write_text("gamma: 0.5\nlerning_rate: 1\n")
    code, _, err = command("train", "sac", "Pendulum-v1", "--config", "bad.yaml")
    assert code == 1
    assert err.startswith("error: bad.yaml:2: SACConfig has no keyword 'lerning_rate'")


def test_an_environment_of_a_module_in_this_folder(
    small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my_costs.py").write_text(
        textwrap.dedent(
            """
            import gymnasium, numpy as np
            class Costs(gymnasium.Env):
                observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
                action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
                def reset(self, *, seed=None, options=None):
                    super().reset(seed=seed)
                    return np.zeros(1, np.float32), {}
                def step(self, action):
                    return np.zeros(1, np.float32), 0.5, False, False, {}
            gymnasium.register("ns/MyCosts-v0", Costs, max_episode_steps=10)
            """
        )
    )
    code, out, err = command("train", "sac", "my_costs:ns/MyCosts-v0", *small, "--opt-type", "minimize", "--seed", 1)
    assert (code, err) == (0, "")
    assert "settings: the defaults of SACConfig, since the zoo has none for sac/ns/MyCosts-v0" in out
    assert "mean cost: 5.000 ± 0.000 over 3 episodes" in out
    assert re.search(r"run folder: runs/sac-my_costs_ns__MyCosts-v0-seed1-[\d-]+\n", out)


def test_without_matplotlib_the_curve_is_left_out(
    small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--out", "x")
    assert code == 0
    assert names(Path("x")) == FILES - {"learning_curve.png"}
    assert "no learning curve: " in out
    assert "pip install 'slc-agents[plot]'" in out


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "slc_agents", "train", "sac", "Pendulum-v1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_ends_training_and_does_the_rest(small: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, *small, "--total-timesteps", "1000000000", "--out", "it's x", "--seed", "1")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("epoch "):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == ""
    assert names(tmp_path / "it's x") == FILES | UNFINISHED
    assert re.search(r"^interrupted after [\d,]+ of 1,000,000,000 steps$", out, re.MULTILINE)
    assert re.search(r"^mean return: .* over 3 episodes$", out, re.MULTILINE)
    assert "run folder: it's x\n" in out
    going_on = shlex.split(out.splitlines()[-1].removeprefix("go on: "))
    assert going_on == ["slc-agents", "train", "--resume", "it's x"]


def test_ctrl_c_before_the_first_row(small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from slc_agents.training.interrupt import Interrupt

    monkeypatch.setattr(Interrupt, "requested", True, raising=False)
    monkeypatch.setattr(Interrupt, "__enter__", lambda self: self)
    monkeypatch.setattr(Interrupt, "__init__", lambda self: setattr(self, "_previous", None))
    code, out, _ = command("train", "sac", "Pendulum-v1", *small, "--out", "x")
    assert code == 130
    assert "interrupted after 0 of 300 steps" in out
    assert "no learning curve: training ended before the first epoch did" in out
    assert names(Path("x")) == {"agent.zip", "config.yaml", "log.txt", "evaluation.json", "run.json"} | UNFINISHED


def test_ctrl_c_in_the_evaluation(small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from slc_agents.cli import train

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "evaluate_agent", interrupt)
    code, out, err = command("train", "sac", "Pendulum-v1", *small, "--out", "x")
    assert (code, err) == (130, "interrupted\n")
    assert "not evaluated; later: slc-agents evaluate x" in out
    assert names(Path("x")) == (FILES - {"evaluation.json"}) | UNFINISHED


def test_a_whole_run_of_lac(small: list[str], command: Command) -> None:
    options = [*small, "--seed", 1, "--horizon-length", 5, "--alpha3", 1, "--lr-labda", "1e-3", "--max-ep-len", 40]
    code, out, err = command("train", "lac", "slc/Oscillator-v1", *options, "--out", "runs/x")
    folder = Path("runs/x")
    assert (code, err) == (0, "")
    assert names(folder) == FILES
    lines = out.splitlines()
    assert lines[0].startswith("LAC on slc/Oscillator-v1, seed 1; settings: the zoo's for lac/slc/Oscillator-v1, with ")
    assert re.fullmatch(r"epoch 3/3   300/300 steps   [\d,]+ steps/s   cost [\d,]+\.\d   test [\d,]+\.\d", lines[3])
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["opt_type"], config["horizon_length"], config["alpha3"]) == ("minimize", 5, 1.0)
    assert config["gamma"] == 0.995  # the zoo's
    model = slc_agents.load(folder / "agent.zip")
    assert type(model).__name__ == "LAC"
    progress = read_progress(folder)
    assert progress["train/labda"][-1] > 0
    assert min(progress["train/lyapunov_value"][1:]) > 0
    code, out, _ = command("evaluate", folder, "--episodes", 2, "--seed", 0)
    assert code == 0
    assert "mean cost" in out


def test_lac_says_that_it_takes_no_rewards(command: Command) -> None:
    code, _, err = command("train", "lac", "Pendulum-v1", "--opt-type", "maximize", "--out", "x")
    assert code == 1
    assert "opt_type='maximize': must be 'minimize': LAC needs a cost" in err
    code, _, err = command("train", "sac", "Pendulum-v1", "--alpha3", "1", "--out", "x")
    assert code == 1
    assert "SACConfig has no keyword 'alpha3'" in err
