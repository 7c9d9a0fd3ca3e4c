"""Resuming at full length, in a process of its own: hashes of all that a run is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fingerprint import progress_rows

ROOT = Path(__file__).resolve().parents[2]
HALF = 5_000
PROGRAM = """
import json, sys
from pathlib import Path
from slc_agents import SAC
from slc_agents.callbacks import EvalCallback
from slc_agents.envs import make_vector_env
from tests.support.fingerprint import fingerprint

part, policy, env_id, n_envs, asynchronous, half, folder = json.loads(sys.argv[1])
if __name__ == "__main__":
    env = make_vector_env(env_id, n_envs, asynchronous=asynchronous)
    callbacks = [EvalCallback(env_id, n_eval_episodes=1, eval_freq=2 * half // 5)]
    archive = Path(folder) / "interrupted.zip"
    if part == "second half":
        model = SAC.load(archive, env)
        model.resume(callbacks)
    else:
        if part == "first half":
            callbacks.append(lambda model: model.num_timesteps < half)
        else:
            callbacks.append(lambda model: None)
        model = SAC(
            policy, env, seed=1, start_steps=500, update_after=500, update_every=53, steps_per_update=8,
            steps_per_epoch=1700, num_test_episodes=1,
            policy_kwargs={"hidden_sizes": [64, 64], "normalize_observations": True}
            | ({"noise_steps": 53} if policy == "GSDEPolicy" else {}),
            logger_kwargs={"output_dir": Path(folder) / ("whole" if part == "whole" else "halves")},
        )
        model.learn(2 * half, callbacks)
        model.save(archive if part == "first half" else Path(folder) / "whole.zip", replay_buffer=True)
    found = fingerprint(model)
    found.pop("callbacks")  # the one that stops has a place among them
    print(json.dumps({**found, "best": callbacks[0].best_mean_reward, "history": callbacks[0].history}))
    env.close()
"""


def run(folder: Path, part: str, policy: str, env_id: str, n_envs: int, asynchronous: bool) -> dict[str, Any]:
    job = json.dumps([part, policy, env_id, n_envs, asynchronous, HALF, str(folder)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = folder / "program.py"
    program.write_text(PROGRAM)  # a file, which worker processes import again
    command = [sys.executable, str(program), job]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "new episodes" not in result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "env_id", "n_envs", "asynchronous"),
    [
        ("MlpPolicy", "Pendulum-v1", 1, False),
        ("MlpPolicy", "HalfCheetah-v5", 1, False),
        ("MlpPolicy", "Ant-v5", 1, False),
        ("MlpPolicy", "Humanoid-v5", 1, False),
        ("MlpPolicy", "Pendulum-v1", 4, False),
        ("MlpPolicy", "HalfCheetah-v5", 2, True),
        ("GSDEPolicy", "Pendulum-v1", 3, False),
    ],
)
def test_two_halves_are_the_whole(tmp_path: Path, policy: str, env_id: str, n_envs: int, asynchronous: bool) -> None:
    whole, first, second = (
        run(tmp_path, part, policy, env_id, n_envs, asynchronous) for part in ("whole", "first half", "second half")
    )
    assert first["parameters"] != whole["parameters"]
    assert second == whole
    print(
        policy,
        env_id,
        n_envs,
        asynchronous,
        {name: value[:12] for name, value in whole.items() if isinstance(value, str)},
    )
    assert progress_rows(tmp_path / "halves" / "progress.csv") == progress_rows(tmp_path / "whole" / "progress.csv")
