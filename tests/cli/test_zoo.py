"""`slc-agents zoo`, and the commands that take an agent of the zoo by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from drawn_envs import DrawnEnv

from slc_agents import SAC, zoo, zoo_files
from slc_agents.cli import zoo as zoo_command
from slc_agents.evaluation import evaluate_policy
from slc_agents.zoo import configs

Command = Callable[..., Any]
SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "seed": 1}


@pytest.fixture
def small_zoo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of settings for one environment, and of an untrained agent for it and another."""
    folder = tmp_path_factory.mktemp("small_zoo")
    (folder / "sac").mkdir()
    (folder / "sac" / "default.yaml").write_text("gamma: 0.9\npolicy_kwargs:\n  n_critics: 1\n")
    (folder / "sac" / "Pendulum-v1.yaml").write_text(
        "inherits: default\nepochs: 3\nsteps_per_epoch: 1e3\npolicy_kwargs: {hidden_sizes: [8]}\n"
        "lr_a: {type: constant, value: 1e-3}\n"
    )
    monkeypatch.setattr(zoo_files, "zoo_configs_folder", lambda: folder)
    monkeypatch.setattr(configs, "zoo_configs_folder", lambda: folder)
    (folder / "agents").mkdir()
    zoo.pack_agent(zoo.make("sac", "Pendulum-v1", seed=1), folder / "agents", episodes=2)
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Drawn-v0", DrawnEnv)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    SAC("MlpPolicy", spec.id, opt_type="minimize", **SMALL).save(folder / "agents" / "sac__slc_test__Drawn-v0.zip")
    return folder


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def score(model: Any, episodes: int, seed: int) -> str:
    mean, std = evaluate_policy(model, "Pendulum-v1", episodes, seed=seed)
    return f"{mean:.1f} ± {std:.1f}"


@pytest.mark.usefixtures("small_zoo")
def test_list(command: Command) -> None:
    said = zoo.agent_manifest("sac", "Pendulum-v1")["evaluation"]
    code, out, err = command("zoo", "list")
    assert (code, err) == (0, "")
    header, *rows = lines(out)
    assert header == ["name", "settings:", "steps", "agent:", "steps", "score", "episodes"]
    text = score(zoo.load_agent("sac", "Pendulum-v1"), 2, said["seed"])
    # An agent whose file was not packed is listed with what its file says.
    assert rows == [["sac/Pendulum-v1", "3,000", "0", "return", *text.split(), "2"], ["sac/slc_test/Drawn-v0", "0"]]


def test_list_of_the_zoo_that_there_is(command: Command) -> None:
    code, out, err = command("zoo", "list")
    assert (code, err) == (0, "")
    names = [row[0] for row in lines(out)[1:]]
    assert names == sorted({*zoo.list_configs(), *zoo.list_agents()})
    assert "sac/Pendulum-v1" in names


def test_show(command: Command, small_zoo: Path) -> None:
    said = zoo.agent_manifest("sac", "Pendulum-v1")["evaluation"]
    code, out, err = command("zoo", "show", "sac/Pendulum-v1")
    assert (code, err) == (0, "")
    assert command("zoo", "show", "SAC", "Pendulum-v1").out == out
    rows = lines(out)
    assert rows[0] == ["settings:", str(small_zoo / "sac" / "Pendulum-v1.yaml")]
    assert rows[1:7] == [
        ["gamma", "0.9", "default.yaml:1"],
        ["policy_kwargs.n_critics", "1", "default.yaml:3"],
        ["policy_kwargs.hidden_sizes", "[8]", "Pendulum-v1.yaml:4"],
        ["epochs", "3", "Pendulum-v1.yaml:2"],
        ["steps_per_epoch", "1000.0", "Pendulum-v1.yaml:3"],
        ["lr_a", "{'type':", "'constant',", "'value':", "0.001}", "Pendulum-v1.yaml:5"],
    ]
    assert rows[7] == ["all", "else", "as", "in", "SACConfig"]
    assert f"pretrained agent: {small_zoo / 'agents' / 'sac__Pendulum-v1.zip'}, " in out
    text = score(zoo.load_agent("sac", "Pendulum-v1"), 2, said["seed"])
    assert f"{text} over 2 episodes, seed {said['seed']}" in out
    assert ["trained", "for", "0", "steps,", "0", "gradient", "steps"] in rows
    assert ["seed", "1"] in rows
    assert ["settings", "the", "zoo's", "for", "sac/Pendulum-v1"] in rows
    assert "gymnasium " in out


@pytest.mark.usefixtures("small_zoo")
def test_show_of_one_without_the_other(command: Command) -> None:
    out = command("zoo", "show", "sac/default").out
    assert "gamma" in out
    assert "no pretrained agent" in out
    out = command("zoo", "show", "sac/slc_test/Drawn-v0").out
    assert "sac/slc_test/Drawn-v0: the zoo has no settings" in out
    assert "its own" in out
    assert "mean" not in out
    code, out, err = command("zoo", "show", "sac/Pendulm-v1")
    assert (code, out) == (1, "")
    assert "did you mean 'sac/Pendulum-v1'" in err


def test_show_of_settings_that_are_wrong(command: Command, small_zoo: Path) -> None:
    (small_zoo / "sac" / "default.yaml").write_text("gama: 0.9\n")
    code, out, err = command("zoo", "show", "sac/Pendulum-v1")
    assert (code, out) == (1, "")
    assert "default.yaml:1: SACConfig has no keyword 'gama'" in err


def test_pack(command: Command, small_run: Path) -> None:
    code, out, err = command("zoo", "pack", small_run, "--episodes", 2, "--seed", 5)
    assert (code, err) == (0, "")
    path = small_run / "sac__Pendulum-v1.zip"
    text = score(SAC.load(small_run / "agent.zip"), 2, 5)
    assert out.startswith(f"pretrained agent: {path}, ")
    assert f"{text} over 2 episodes, seed 5" in out
    assert "300 steps" in out
    assert "the zoo's for sac/Pendulum-v1, but for " in out
    # What its file says is what evaluating it gives.
    assert command("evaluate", path, "--episodes", 2, "--seed", 5).out == (
        f"mean return: {text} over 2 episodes\nits file says: {text} over 2 episodes, seed 5\n"
    )
    assert command("zoo", "pack", small_run / "agent.zip", "--episodes", 1, "--out", "new/x").code == 0
    assert command("evaluate", "new/x.zip", "--episodes", 1).code == 0
    code, out, err = command("zoo", "pack", small_run, "--out", small_run / "agent.zip")
    assert (code, out) == (1, "")
    assert "would be lost" in err
    code, _, err = command("zoo", "pack", small_run, "--env", "MountainCarContinuous-v0", "--episodes", 1)
    assert code == 1
    assert "observation" in err


def test_code_needs_trust(command: Command) -> None:
    SAC("MlpPolicy", "Pendulum-v1", lr_a=lambda p: 1e-3, **SMALL).save("a.zip")
    code, out, err = command("zoo", "pack", "a.zip", "--episodes", 1)
    assert (code, out) == (1, "")
    assert "--trust" in err
    assert command("zoo", "pack", "a.zip", "--episodes", 1, "--trust").code == 0


def test_push(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    received: dict[str, Any] = {}

    def push(source: Path, repo_id: str, **kwargs: Any) -> str:
        received.update(kwargs, source=source, repo_id=repo_id)
        return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(zoo_command, "push_to_hub", push)
    options = ["--episodes", 3, "--seed", 4, "--env", "X-v0", "--revision", "v1", "--private", "--trust"]
    assert command("zoo", "push", "runs/x", "user/x", *options) == (0, "sent to https://huggingface.co/user/x\n", "")
    assert received == {
        "source": Path("runs/x"),
        "repo_id": "user/x",
        "env": "X-v0",
        "episodes": 3,
        "seed": 4,
        "trust": True,
        "private": True,
        "revision": "v1",
    }
    command("zoo", "push", "runs/x", "user/x")
    assert (received["episodes"], received["private"], received["revision"]) == (100, None, None)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["zoo"], "ACTION"),
        (["zoo", "lits"], "'lits'"),
        (["zoo", "show"], "NAME"),
        (["zoo", "pack"], "RUN_OR_ARCHIVE"),
        (["zoo", "pack", "x", "--episodes", "0"], "at least 1"),
        (["zoo", "pack", "x", "--epsiodes", "1"], "did you mean --episodes"),
        (["zoo", "push", "x"], "REPO_ID"),
        (["evaluate", "sac"], "sac Pendulum-v1"),
        (["evaluate", "ppo", "Pendulum-v1"], "'ppo'"),
    ],
)
def test_arguments_that_make_no_sense(command: Command, arguments: list[str], word: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert word in err


@pytest.mark.parametrize("arguments", [["zoo"], ["zoo", "list"], ["zoo", "show"], ["zoo", "pack"], ["zoo", "push"]])
def test_help(command: Command, arguments: list[str]) -> None:
    code, out, err = command(*arguments, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: slc-agents {' '.join(arguments)}")
    assert max(map(len, out.splitlines())) <= 80


# -- an agent by its name ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_zoo")
def test_evaluate_by_name_prints_what_the_file_says_beside_it(command: Command) -> None:
    model, seed = zoo.load_agent("sac", "Pendulum-v1"), zoo.agent_manifest("sac", "Pendulum-v1")["evaluation"]["seed"]
    said, measured = score(model, 2, seed), score(model, 1, 9)
    for algo in ("sac", "SAC"):
        assert command("evaluate", algo, "Pendulum-v1", "--episodes", 1, "--seed", 9) == (
            0,
            f"mean return: {measured} over 1 episode\nits file says: {said} over 2 episodes, seed {seed}\n",
            "",
        )
    # With its own number of episodes it repeats what was measured.
    first, second = command("evaluate", "sac", "Pendulum-v1", "--episodes", 2).out.splitlines()
    assert first.split(": ")[1] == second.split(": ")[1].split(",")[0]


@pytest.mark.usefixtures("small_zoo")
def test_enjoy_by_name(command: Command) -> None:
    code, out, err = command("enjoy", "sac", "slc_test/Drawn-v0", "--episodes", 1, "--record", "a.gif")
    assert (code, err) == (0, "")
    assert out == "episode 1: cost 15.0, length 5\nvideo: a.gif\n"


@pytest.mark.usefixtures("small_zoo")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_export_by_name_writes_here(command: Command) -> None:
    code, out, err = command("export", "SAC", "slc_test/Drawn-v0")
    assert (code, err) == (0, "")
    assert out.startswith("sac__slc_test__Drawn-v0.pt: torchscript")
    assert sorted(path.name for path in Path().iterdir()) == [
        "sac__slc_test__Drawn-v0.pt",
        "sac__slc_test__Drawn-v0.pt.json",
    ]


@pytest.mark.usefixtures("small_zoo")
def test_a_name_that_is_not_there(command: Command) -> None:
    for name in ("evaluate", "export"):
        code, out, err = command(name, "sac", "Pendulm-v1")
        assert (code, out) == (1, "")
        assert "no pretrained agent 'sac/Pendulm-v1'; did you mean 'sac/Pendulum-v1'?" in err


def test_a_folder_may_be_called_like_an_algorithm(command: Command, small_run: Path) -> None:
    shutil.move(small_run, "sac")
    assert command("evaluate", "sac", "--episodes", 1).code == 0


@pytest.mark.usefixtures("small_zoo")
def test_train_from_the_zoos_settings_and_agent(small: list[str], command: Command) -> None:
    rest = [option for option in small if option != "--policy-kwargs" and "hidden_sizes" not in option]
    options = [*rest, "--start-policy", "zoo:sac/Pendulum-v1", "--out", "x", "--seed", 1]
    code, out, err = command("train", "sac", "Pendulum-v1", *options)
    assert (code, err) == (0, "")
    assert "settings: the zoo's for sac/Pendulum-v1, with" in out
    text = Path("x/config.yaml").read_text()
    assert "gamma: 0.9\n" in text
    assert "start_policy: zoo:sac/Pendulum-v1\n" in text


@pytest.mark.usefixtures("small_zoo")
def test_train_with_settings_by_name(small: list[str], command: Command) -> None:
    code, out, err = command("train", "sac", "Pendulum-v1", *small, "--config", "zoo:sac/default", "--out", "x")
    assert (code, err) == (0, "")
    assert "settings: zoo:sac/default, with" in out
    assert "gamma: 0.9\n" in Path("x/config.yaml").read_text()


def test_train_says_in_which_file_what_is_wrong(command: Command) -> None:
    for text, words in (
        ("epochs: 1\nlogger_kwargs: {folder: x}\n", "own.yaml:2: unknown key 'folder'"),
        ("epochs: 1\nseed: -1\n", "own.yaml:2: seed=-1"),
        ("policy_kwargs: {net_arch: [8]}\n", "own.yaml:1: policy_kwargs of MlpPolicy"),
        ("inherits: zoo:sac/default\nlr_a: lin_1e-3\n", "own.yaml:2: lr_a='lin_1e-3'"),
        ("inherits: zoo:sac/nothing\n", "own.yaml:1: inherits"),
    ):
        Path("own.yaml").write_text(text)
        code, out, err = command("train", "sac", "Pendulum-v1", "--config", "own.yaml", "--out", "x")
        assert (code, out) == (1, "")
        assert words in err
        assert err.count("\n") == 1
    code, _, err = command("train", "sac", "Pendulum-v1", "--config", "own.yaml", "--seed", -1, "--out", "x")
    assert code == 1
    assert not Path("x").exists()
