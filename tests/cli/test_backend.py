"""`--backend`: the commands with agents that TensorFlow computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slc_agents
from tests.support.backends import needs_tensorflow

Command = Callable[..., Any]
OBSERVATION = np.array([[0.1, -0.9, 2.0], [1.0, 0.0, -8.0]], np.float32)


@needs_tensorflow
def test_a_tensorflow_agent_is_trained_resumed_evaluated_and_exported(small: list[str], command: Command) -> None:
    options = [*small, "--total-timesteps", 100, "--eval-episodes", 1, "--seed", 1, "--out", "x"]
    code, out, err = command("train", "sac", "Pendulum-v1", "--backend", "tf2", *options)
    assert (code, err) == (0, "")
    assert out.startswith("SAC on Pendulum-v1, seed 1; ")
    assert "gradient steps on CPU:0: TensorFlow" in Path("x/log.txt").read_text(encoding="utf-8")
    run = json.loads(Path("x/run.json").read_text())
    assert run["backend"] == "tf2"
    assert "tensorflow" in run["launches"][0]["versions"]
    model = slc_agents.load("x/agent.zip")
    assert type(model).__module__ == "slc_agents.agents.tf2"

    ours = command("evaluate", "x", "--episodes", 1, "--seed", 3).out
    assert command("evaluate", "x", "--episodes", 1, "--seed", 3, "--backend", "pytorch").out == ours
    code, out, err = command("export", "x")
    assert (code, err) == (0, "")
    size = sum(file.stat().st_size for file in Path("x/policy.savedmodel").rglob("*") if file.is_file())
    assert out.splitlines()[0] == f"x/policy.savedmodel: saved_model, {size / 1e3:.1f} kB"

    # Killed before its first checkpoint, it begins again where its plan says what computes.
    (Path("x") / "run.json").write_text(json.dumps({**run, "finished": False, "launches": []}))
    code, out, err = command("train", "--resume", "x", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(Path("x/run.json").read_text())["finished"]
    assert type(slc_agents.load("x/agent.zip")) is type(model)
    again = slc_agents.load("x/agent.zip").get_parameters()
    for name, array in model.get_parameters().items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)


@needs_tensorflow
def test_a_pytorch_agent_becomes_a_saved_model(command: Command) -> None:
    model = slc_agents.SAC("MlpPolicy", "Pendulum-v1", seed=1, policy_kwargs={"hidden_sizes": [8]})
    model.save("agent.zip")
    assert command("export", "agent.zip", "--backend", "tf2").code == 0
    import tensorflow as tf

    policy = tf.saved_model.load("agent.savedmodel")
    np.testing.assert_allclose(policy(OBSERVATION), model.predict(OBSERVATION, deterministic=True)[0], atol=4e-5)


@pytest.mark.parametrize("arguments", [("train", "sac", "Pendulum-v1"), ("export", "sac", "Pendulum-v1")])
def test_backends_are_known_ones(command: Command, arguments: tuple[str, ...]) -> None:
    code, _, err = command(*arguments, "--backend", "jax")
    assert code == 2
    assert "argument --backend: invalid choice: 'jax'" in err


def test_without_tensorflow_one_line_says_what_to_do(
    small: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    code, _, err = command("train", "sac", "Pendulum-v1", "--backend", "tf2", *small, "--out", "x")
    assert code == 1
    assert err.count("\n") == 1
    assert "pip install 'slc-agents[tf2]'" in err
    assert not Path("x").exists()


def test_a_run_s_backend_stays(small_run: Path, command: Command) -> None:
    code, _, err = command("train", "--resume", small_run, "--backend", "tf2")
    assert code == 2
    assert "leave out --backend" in err
