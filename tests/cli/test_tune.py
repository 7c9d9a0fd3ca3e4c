"""`slc-agents tune`, most of it without training."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_trials import FakeTraining

from slc_agents import SACConfig, zoo
from slc_agents.cli.main import build_parser
from slc_agents.tuning import SearchSpace, study
from slc_agents.tuning.training import Outcome

Command = Callable[..., Any]
QUICK = ["--timesteps", "100", "--evaluations", "4", "--seed", "0"]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    """Replaces training."""
    fake = FakeTraining()
    monkeypatch.setattr(study, "run_trial", fake)
    return fake


@pytest.fixture
def space() -> str:
    """A small search space's file, in the folder that the command runs in."""
    Path("space.yaml").write_text(
        "lr_a: {low: 1e-5, high: 1e-1, log: true}\npolicy_kwargs.hidden_sizes: {choices: {a: [4], b: [8]}}\n"
    )
    return "space.yaml"


def test_a_whole_search(command: Command, training: FakeTraining, space: str) -> None:
    training.ends = {2: Outcome("diverged", reason="NaN " * 50)}
    code, out, err = command(
        *("tune", "sac", "Pendulum-v1", *QUICK, "--trials", 12, "--space", space, "--startup-trials", 3),
        *("--sampler", "random", "--out", "best.yaml", "--study", "mine", "--lr-alpha", "0.5"),
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "SAC on Pendulum-v1: 12 trials of 100 steps, study mine, seed 0",
        "searched: lr_a, policy_kwargs.hidden_sizes",
        "settings to start from: the zoo's for sac/Pendulum-v1",
        "value of a trial: the mean return of the last 2 of 4 evaluations of 5 episodes each",
    ]
    assert lines[4] == " 1/12   trial 0: -0.000   best -0.000 of trial 0   0 s   (the settings to start from)"
    assert re.fullmatch(r" 2/12   trial 1: -\d\.\d{3}   best -0.000 of trial 0   0 s", lines[5])
    assert re.fullmatch(r" 3/12   trial 2: diverged: NaN NaN .* \.\.\.   best -0.000 of trial 0   0 s", lines[6])
    assert any(re.match(r".*: given up at evaluation 2 of 4 with -\d\.\d{3}   best", line) for line in lines[7:16])
    table = {line.split()[0]: line.split()[1:] for line in lines[16:22] if line.strip()}
    assert table["parameter"][:2] == ["trial", "0"]
    assert table["value"][0] == "-0.000"
    assert table["lr_a"][0] == "0.001"
    assert table["hidden_sizes"][0] == "default"
    assert set(table["hidden_sizes"][1:]) <= {"4", "8"}
    assert re.fullmatch(r"trials: \d complete, 1 diverged, \d stopped", lines[-4])
    assert lines[-3:] == [
        "best: -0.000 of trial 0 (the settings to start from: -0.000)",
        "its settings: best.yaml",
        "train with them: slc-agents train sac Pendulum-v1 --config best.yaml --total-timesteps 100",
    ]
    config = zoo.load_config_file("best.yaml", SACConfig)
    assert (config.lr_a, config.lr_alpha) == (1e-3, 0.5)
    assert all(plan.settings["lr_alpha"] == 0.5 for plan in training.plans)


def test_going_on(command: Command, training: FakeTraining, space: str) -> None:
    options = ["--space", space, "--storage", "sqlite:///study.db", "--trials", 4, "--evaluations", 1]
    search = ["tune", "sac", "Pendulum-v1", *QUICK, *options]
    training.ends = {2: KeyboardInterrupt()}
    code, out, err = command(*search)
    assert (code, err) == (130, "")
    assert out.splitlines()[-1] == "interrupted; the same command goes on"
    first = zoo.load_config_file("tuned/sac-Pendulum-v1.yaml", SACConfig)
    code, out, _ = command(*search)
    assert code == 0
    assert out.splitlines()[4] == "going on after 2 trials"
    assert [line.split()[0] for line in out.splitlines()[5:7]] == ["3/4", "4/4"]
    assert len(training.plans) == 5
    assert zoo.load_config_file("tuned/sac-Pendulum-v1.yaml", SACConfig) == first
    assert command(*search).code == 0
    assert len(training.plans) == 5


def test_the_file_trains(command: Command, training: FakeTraining, space: str, small: list[str]) -> None:
    options = ["--space", space, "--steps-per-epoch", 50, "--update-after", 50, "--quiet", "--trials", 3]
    code, out, _ = command("tune", "sac", "Pendulum-v1", *QUICK, *options, "--out", "best.yaml", "--lr-c", "1e-3")
    assert code == 0
    assert len(out.splitlines()) == 3
    train = shlex.split(out.splitlines()[-1].removeprefix("train with them: slc-agents "))
    quick = ["--batch-size", 4, "--steps-per-update", 1, "--update-every", 50, "--eval-episodes", 1]
    code, out, _ = command(*train, *quick, "--out", "run", "--seed", 1)
    assert code == 0
    assert "settings: best.yaml" in out
    assert "epoch 2/2" in out
    config = zoo.load_config_file("run/config.yaml", SACConfig)
    found = zoo.load_config_file("best.yaml", SACConfig)
    assert (config.lr_a, config.lr_c, config.policy_kwargs) == (found.lr_a, found.lr_c, found.policy_kwargs)


def test_really_training(command: Command, space: str) -> None:
    quick = ["--update-after", 50, "--update-every", 50, "--steps-per-update", 1, "--batch-size", 4]
    code, out, err = command(
        "tune", "sac", "Pendulum-v1", *QUICK, *quick, "--space", space, "--trials", 2, "--eval-episodes", 1
    )
    assert (code, err) == (0, "")
    (path,) = Path("tuned").iterdir()
    assert re.fullmatch(r"sac-Pendulum-v1-\d{8}-\d{6}\.yaml", path.name)
    assert f"its settings: {path}" in out
    assert re.search(r"2/2   trial 1: -[\d,]+\.\d   best -[\d,]+\.\d of trial \d   \d+ s", out)


def test_the_options_reach_the_search(
    command: Command, training: FakeTraining, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    from slc_agents.cli import tune

    class Spy(tune.Tuner):
        def __init__(self, *args: Any, **options: Any) -> None:
            seen.update(args=args, **options)
            super().__init__(*args, **{**options, "storage": None})

        def run(self, *args: Any, **options: Any) -> Any:
            seen.update(trials=args[0], **options)
            return super().run(*args, **{**options, "jobs": 1})

    monkeypatch.setattr(tune, "Tuner", Spy)
    options = {
        "policy": "GSDEPolicy",
        "evaluations": 3,
        "eval_episodes": 2,
        "seeds_per_trial": 2,
        "sampler": "random",
        "pruner": "none",
        "startup_trials": 4,
        "storage": "sqlite:///x.db",
        "study": "name",
        "seed": 3,
        "jobs": 2,
        "trials": 1,
        "timesteps": 200,
    }
    flags = [str(part) for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    code, _, _ = command("tune", "SAC", "Pendulum-v1", *flags, "--space", space, "--timeout", "0.5", "--gamma", ".9")
    assert code == 0
    assert seen["args"] == ("sac", "Pendulum-v1")
    assert {name: seen[name] for name in options} == options
    assert (seen["timeout"], seen["gamma"], seen["space"], seen["out"]) == (
        30,
        0.9,
        Path(space),
        Path("tuned/name.yaml"),
    )
    assert zoo.read_config_file("tuned/name.yaml").policy == "GSDEPolicy"
    assert build_parser().parse_args(["tune", "sac", "x", "--total-timesteps", "7"]).timesteps == 7


def test_the_space_is_printed(command: Command, space: str) -> None:
    code, out, err = command("tune", "sac", "Pendulum-v1", "--print-space", "--gamma", "0.9")
    assert (code, err) == (0, "")
    printed = SearchSpace.from_dict(yaml.safe_load(out), SACConfig)
    assert printed.parameters == SearchSpace.default("sac", SACConfig).without({"gamma": 0.9}).parameters
    out = command("tune", "sac", "Pendulum-v1", "--print-space", "--space", space).out
    assert list(yaml.safe_load(out)) == ["lr_a", "policy_kwargs.hidden_sizes"]
    assert sorted(Path().iterdir()) == [Path(space)]


def test_importances_stand_in_the_table(command: Command, training: FakeTraining, space: str) -> None:
    out = command(
        *("tune", "sac", "Pendulum-v1", *QUICK, "--space", space, "--trials", 40, "--pruner", "none"),
        *("--sampler", "random"),
    ).out
    assert re.search(r"^parameter .* importance$", out, re.MULTILINE)
    importance = re.search(r"^lr_a .* (0\.\d\d|1\.00)$", out, re.MULTILINE)
    assert importance is not None
    assert float(importance[1]) > 0.6
    assert max(map(len, out.split("40/40")[1].splitlines()[1:8])) <= 80


def test_where_nothing_was_found(command: Command, training: FakeTraining, space: str) -> None:
    training.ends = {0: Outcome("diverged", reason="NaN\nat step 3"), 1: KeyboardInterrupt()}
    search = ["tune", "sac", "Pendulum-v1", *QUICK, "--space", space, "--quiet"]
    code, out, err = command(*search, "--trials", 1)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: study '.*' has no complete trial yet; the last one: diverged: NaN at step 3\n", err)
    code, out, err = command(*search, "--trials", 2)
    assert (code, out, err) == (
        130,
        "interrupted before a trial was complete; without --storage it can't be gone on with\n",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ["ENV_ID"]),
        (["Pendulum-v1", "--epochs", "3"], 2, ["--epochs"]),
        (["Pendulum-v1", "--trails", "3"], 2, ["--trails", "--trials"]),
        (["Pendulum-v1", "--trials", "0"], 2, ["--trials", "at least 1"]),
        (["Pendulum-v1", "--timeout", "-1"], 2, ["--timeout", "above 0"]),
        (["Pendulum-v1", "--sampler", "grid"], 2, ["'grid'", "tpe"]),
        (["Pendulum-v1", "--seed", "x"], 2, ["--seed"]),
        (["Pendulm-v1"], 1, ["Pendulm", "Pendulum"]),
        (["CartPole-v1"], 1, ["Discrete"]),
        (["Pendulum-v1", "--space", "none.yaml"], 1, ["none.yaml"]),
        (["Pendulum-v1", "--config", "none.yaml"], 1, ["none.yaml"]),
        (["Pendulum-v1", "--space", "bad.yaml"], 1, ["bad.yaml:2: gamma: gamma=1.5", "less than or equal to 1"]),
        (["Pendulum-v1", "--storage", "study.db"], 1, ["storage='study.db'", "sqlite:///study.db"]),
        (["Pendulum-v1", "--out", "bad.yaml"], 1, ["bad.yaml", "isn't overwritten"]),
        (["Pendulum-v1", "--gamma", "2"], 1, ["gamma=2"]),
    ],
)
def test_errors_are_one_line(command: Command, arguments: list[str], code: int, words: list[str]) -> None:
    Path("bad.yaml").write_text("lr_a: {low: 1e-5, high: 1e-2}\ngamma: {low: 0.9, high: 1.5}\n")
    Path("good.yaml").write_text("lr_a: {low: 1e-5, high: 1e-2}\n")
    received = command("tune", "sac", "--space", "good.yaml", *arguments, "--quiet")
    assert (received.code, received.out) == (code, "")
    assert received.err.startswith("error: ")
    assert received.err.count("\n") == 1
    assert [word for word in words if word not in received.err] == [], received.err
    assert {path.name for path in Path().iterdir()} == {"bad.yaml", "good.yaml"}


def test_without_optuna(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = command("tune", "sac", "Pendulum-v1")
    assert code == 1
    assert "pip install 'slc-agents[tune]'" in err
    assert command("tune", "--help").code == 0
