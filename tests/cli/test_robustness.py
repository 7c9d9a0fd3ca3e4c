"""`slc-agents robustness`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slc_agents import LAC, SAC
from slc_agents.cli.formatting import with_interval
from slc_agents.cli.multi_seed import MultiSeedPlan
from slc_agents.evaluation import evaluate_robustness

Command = Callable[..., Any]

SHORT = ("--episodes", 3, "--max-ep-len", 10, "--sizes", "0,4")


def save(path: str, seed: int = 0, algo: Any = SAC, env: str = "slc/Oscillator-v1") -> Any:
    settings = {"opt_type": "minimize"} if env.startswith("slc/") else {}
    model = algo("MlpPolicy", env, seed=seed, policy_kwargs={"hidden_sizes": [8]}, **settings)
    model.save(path)
    return model


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not written, which takes most of the time."""
    monkeypatch.setattr("slc_agents.cli.robustness.save_figure", lambda figure, out: None)


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_run_gets_its_table_and_figures_into_its_folder(command: Command) -> None:
    model = save("run/agent.zip")
    code, out, err = command("robustness", "run", *SHORT)
    assert (code, err) == (0, "")
    folder = "run/robustness/action-impulse"
    names = ("robustness.csv", "robustness.json", "robustness.png", "trajectories.png")
    for kind, name in zip(("table", "table", "figure", "figure"), names, strict=True):
        assert f"{kind}: {folder}/{name}\n" in out
        assert Path(folder, name).exists()
    assert Path(folder, "robustness.png").read_bytes().startswith(b"\x89PNG")
    expected = evaluate_robustness({"run": model}, "action-impulse", [0, 4], n_episodes=3, max_ep_len=10).rows()
    assert [float(row["cost"]) for row in rows(f"{folder}/robustness.csv")] == [row["cost"] for row in expected]
    assert out.startswith("slc/Oscillator-v1 under action-impulse, 3 episodes each")
    for row in expected:
        assert with_interval(row["cost"], row["cost_low"], row["cost_high"]) in out
    assert "differences" not in out
    assert "95% intervals, over an agent's episodes" in out


@pytest.mark.usefixtures("undrawn")
def test_several_agents_are_compared_with_the_first(command: Command) -> None:
    save("a/agent.zip")
    save("b.zip", 1)
    options = ("--disturbance", "parameter:translation", "--sizes", "1,2", *SHORT[:4], "--seed", 5)
    code, out, _ = command("robustness", "a", "b.zip", *options)
    assert code == 0
    found = json.loads(Path("robustness/parameter-translation/robustness.json").read_text())
    assert (found["agents"], found["sizes"], found["seed"], found["neutral"]) == (["a", "b"], [1, 2], 5, 1)
    assert "differences from a, start by start" in out
    difference = found["differences"][1]
    assert (difference["agent"], difference["size"]) == ("b", 2)
    assert f"{difference['cost_difference']:.4g} [" in out
    out = command("robustness", "a", "b.zip", *options, "--label", "one", "--label", "two", "--out", "x").out
    assert "differences from one" in out
    assert {row["agent"] for row in rows("x/robustness.csv")} == {"one", "two"}


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_seeds_is_one_agent(command: Command) -> None:
    for seed in (0, 1):
        save(f"many/seed-{seed}/agent.zip", seed)
    MultiSeedPlan({0: "seed-0", 1: "seed-1"}, 1, "1").write(Path("many"))
    code, out, _ = command("robustness", "many", *SHORT)
    assert code == 0
    assert "over the models of an agent" in out
    found = rows("many/robustness/action-impulse/robustness.csv")
    assert [row["models"] for row in found] == ["2", "2"]


def test_options_act(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from slc_agents.cli import robustness

    asked: list[dict[str, Any]] = []

    class EnoughError(Exception):
        pass

    def spy(agents: Any, family: Any, sizes: Any, **options: Any) -> Any:
        asked.append({"agents": agents, "family": family, "sizes": sizes, **options})
        raise EnoughError

    monkeypatch.setattr(robustness, "evaluate_robustness", spy)
    save("a.zip")
    options = (
        "--disturbance",
        "action-impulse",
        "--steps",
        "3..5",
        "--period",
        9,
        "--parts",
        "1,0,0",
        "--sizes=-1,0.5",
    )
    command("robustness", "a.zip", *options, "--stochastic", "--episodes", 7, "--env", "slc/Oscillator-v1")
    (one,) = asked
    assert (one["sizes"], one["deterministic"], one["n_episodes"], one["seed"]) == ((-1.0, 0.5), False, 7, 0)
    assert (one["env"], one["max_ep_len"]) == ("slc/Oscillator-v1", None)
    import gymnasium

    env = one["family"].at(2.0)(gymnasium.make("slc/Oscillator-v1"))
    assert (env.steps, env.period, env.magnitude.tolist()) == ([3, 4, 5], 9, [2, 0, 0])


def test_an_agent_of_the_zoo_and_a_task_without_reference(command: Command) -> None:
    options = ("--disturbance", "action-delay", "--sizes", "0,2", *SHORT[:4])
    code, out, _ = command("robustness", "zoo:sac/Pendulum-v1", *options)
    assert code == 0
    assert "zoo:sac/Pendulum-v1" in out
    assert "no trajectories.png: Pendulum-v1: its info has no 'reference'" in out
    assert Path("robustness/action-delay/robustness.png").exists()
    assert not Path("robustness/action-delay/trajectories.png").exists()


def test_without_matplotlib_there_are_tables(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    save("run/agent.zip", algo=LAC)
    code, out, _ = command("robustness", "run", *SHORT)
    assert code == 0
    assert "no robustness.png: drawing a figure needs" in out
    assert Path("run/robustness/action-impulse/robustness.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.zip", "p.zip"], "different environments (a: slc/Oscillator-v1, p: Pendulum-v1)"),
        (["a.zip", "--env", "Pendulum-v1"], "a: the environment: its observation space"),
        (["a.zip", "a.zip"], "an agent is there twice"),
        (["a.zip", "--label", "x", "--label", "y"], "--label: received ['x', 'y'] for 1 agent"),
        (["a.zip", "--disturbance", "parameter:mass"], "Oscillator has no parameter 'mass'"),
        (["a.zip", "--disturbance", "observation-noise"], "--sizes 0,0.1,0.2"),
        (["sac/Pendulum-v1"], "the zoo's agent of that name is zoo:sac/Pendulum-v1"),
        (["nothing"], "nothing"),
    ],
)
def test_errors_are_one_line(command: Command, arguments: list[str], words: str) -> None:
    save("a.zip")
    save("p.zip", env="Pendulum-v1")
    code, out, err = command("robustness", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1.13456, 1.1, 1.2), "1.135 [1.1, 1.2]"),
        ((0.5, float("nan"), float("nan")), "0.5"),
        ((float("nan"),) * 3, "-"),
        ((-1e-15, -1e-14, 3e-15), "0 [0, 0]"),
    ],
)
def test_estimates_are_written_with_their_intervals(value: tuple[float, float, float], text: str) -> None:
    assert with_interval(*value) == text
    assert with_interval(0.125, 0.05, 0.25, percent=True) == "12% [5%, 25%]"
