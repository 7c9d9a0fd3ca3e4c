"""`slc-agents evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slc_agents import SAC
from slc_agents.evaluation import evaluate_policy

Command = Callable[..., Any]


def test_it_repeats_the_evaluation_of_train(small: list[str], command: Command) -> None:
    line = command("train", "sac", "Pendulum-v1", *small, "--seed", 1, "--n-envs", 2, "--out", "x").out.splitlines()[-2]
    for path in ("x", "x/agent.zip", "x/agent"):
        assert command("evaluate", path, "--episodes", 3) == (0, f"{line}\n", "")


def test_options_act(command: Command, small_run: Path) -> None:
    model = SAC.load(small_run / "agent.zip")
    mean, std = evaluate_policy(model, "Pendulum-v1", 2, seed=5)
    assert command("evaluate", small_run, "--episodes", 2, "--seed", 5).out == (
        f"mean return: {mean:.1f} ± {std:.1f} over 2 episodes\n"
    )
    mean, std = evaluate_policy(SAC.load(small_run / "agent.zip"), "Pendulum-v1", 1, False, seed=5)
    out = command("evaluate", small_run, "--episodes", 1, "--seed", 5, "--stochastic", "--device", "cpu").out
    assert out == f"mean return: {mean:.1f} ± {std:.1f} over 1 episode\n"
    assert json.loads((small_run / "evaluation.json").read_text())["episodes"] == 3


def test_another_environment(command: Command, small_run: Path) -> None:
    code, _, err = command("evaluate", small_run, "--env", "MountainCarContinuous-v0")
    assert code == 1
    assert "observation space" in err
    assert command("evaluate", small_run, "--env", "gymnasium.envs:Pendulum-v1", "--episodes", 1).code == 0
    code, _, err = command("evaluate", small_run, "--seed", -1)
    assert code == 2
    assert "--seed: '-1': a whole number of at least 0 is needed" in err


def test_an_agent_whose_environment_has_no_id_or_an_unknown_one(command: Command) -> None:
    import gymnasium
    from gymnasium.envs.classic_control import PendulumEnv

    small = {"policy_kwargs": {"hidden_sizes": [8]}, "seed": 1}
    SAC("MlpPolicy", lambda: gymnasium.wrappers.TimeLimit(PendulumEnv(), 20), **small).save("a")
    code, _, err = command("evaluate", "a.zip")
    assert code == 1
    assert "--env ID" in err
    assert command("evaluate", "a.zip", "--env", "Pendulum-v1", "--episodes", 1).code == 0

    gymnasium.register("slc_test/Gone-v0", PendulumEnv, max_episode_steps=20)
    SAC("MlpPolicy", "slc_test/Gone-v0", **small).save("b")
    del gymnasium.registry["slc_test/Gone-v0"]
    code, _, err = command("evaluate", "b")
    assert code == 1
    assert "--env module:slc_test/Gone-v0" in err


def test_code_needs_trust(command: Command) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, lr_a=lambda p: 1e-3, policy_kwargs={"hidden_sizes": [8]})
    model.save("a.zip")
    code, out, err = command("evaluate", "a.zip", "--episodes", 1)
    assert (code, out) == (1, "")
    assert "--trust" in err
    assert command("evaluate", "a.zip", "--episodes", 1, "--trust").code == 0


def test_an_agent_of_the_zoo_is_named_by_two_arguments_or_with_the_zoos_prefix(command: Command) -> None:
    code, out, err = command("evaluate", "sac/Pendulum-v1")
    assert (code, out) == (1, "")
    assert "the zoo's agent of that name is zoo:sac/Pendulum-v1" in err
    lines = [command("evaluate", *name, "--episodes", 1) for name in (["sac", "Pendulum-v1"], ["zoo:sac/Pendulum-v1"])]
    assert lines[0] == lines[1]
    assert "mean return" in lines[0].out
