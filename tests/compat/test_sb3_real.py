"""Files that Stable-Baselines3 itself wrote, and what it computes with them; where `make peers` has installed it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slc_agents.compat.sb3 import load_agent
from slc_agents.errors import ArchiveError

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
NAMES = ["mlp", "options", "fixed", "sde", "expln", "cnn", "multi", "vectors"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="`make peers` has not installed Stable-Baselines3"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sb3")
    script = ROOT / "tests" / "support" / "sb3_real.py"
    subprocess.run([PYTHON, script, made], check=True, timeout=300, capture_output=True, text=True)
    return made


def load(folder: Path, name: str, **kwargs: Any) -> Any:
    return load_agent(folder / f"{name}.zip", **kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_and_learns_what_theirs_does(folder: Path, name: str) -> None:
    model = load(folder, name)
    with np.load(folder / f"{name}.npz") as arrays:
        theirs = dict(arrays)
    keys = {key.removeprefix("observation/"): theirs[key] for key in theirs if key.startswith("observation/")}
    observation: Any = keys.get("", keys)
    action = model.predict(observation, deterministic=True)[0]
    np.testing.assert_allclose(action, theirs["action"], rtol=0, atol=2e-6)

    tensors = (
        {key: torch.from_numpy(array) for key, array in observation.items()}
        if isinstance(observation, dict)
        else torch.from_numpy(observation)
    )
    scaled = (action - np.array([-2, 0])) / np.array([2, 2.5]) - 1
    with torch.no_grad():
        features = model.policy.features(tensors)
        sample, log_prob = model.policy.actor(features, torch.from_numpy(theirs["noise"]))
        values = model.policy.critic(features, torch.from_numpy(scaled.astype(np.float32)))
    np.testing.assert_allclose(sample, theirs["sample"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(log_prob, theirs["log_prob"], rtol=0, atol=2e-3)  # theirs adds 1e-6 inside a logarithm
    np.testing.assert_allclose(values, theirs["values"], rtol=1e-5, atol=1e-5)

    # The critics' step depends on no noise where nothing more is owed: their optimiser must have gone on as theirs.
    one = {key: array[:1] for key, array in observation.items()} if isinstance(observation, dict) else observation[:1]
    done, reward = np.ones(1, bool), np.full(1, 2.0)
    for _ in range(16):
        model.replay_buffer.add(one, np.full((1, 2), 0.3, np.float32), reward, one, done, ~done)
    before = model.get_parameters()
    model._learner.set_learning_rates(dict.fromkeys(model.config.rates, 0.0003))
    model._learner.update(model.replay_buffer, 1)
    after = model.get_parameters()
    for part in ("critic", "critic_target"):
        head = "head/" if model.policy.critic is not getattr(model.policy.critic, "head", model.policy.critic) else ""
        ours = after[f"{part}/1/{head}value/weight"]
        np.testing.assert_allclose(ours, theirs[f"after/{part}.qf1.{last_layer(theirs)}.weight"].T, rtol=0, atol=1e-6)
        assert np.abs(ours - before[f"{part}/1/{head}value/weight"]).max() > 1e-7
        first = theirs[f"after/{part}.qf0.0.weight"].T
        np.testing.assert_allclose(
            np.sort(after[f"{part}/0/{head}trunk/0/weight"], axis=0), np.sort(first, axis=0), rtol=0, atol=2e-6
        )


def last_layer(theirs: dict[str, Any]) -> int:
    return max(int(name.split(".")[2]) for name in theirs if name.startswith("after/critic.qf0."))


def test_statistics_of_observations(folder: Path) -> None:
    model = load(folder, "normalized", vec_normalize=folder / "vecnormalize.npz")
    with np.load(folder / "normalized.npz") as theirs:
        action = model.predict(theirs["observation"], deterministic=True)[0]
        np.testing.assert_allclose(action, theirs["action"], rtol=0, atol=2e-6)


def test_settings(folder: Path) -> None:
    config = load(folder, "options").config
    assert (config.update_every, config.steps_per_update) == (3, 3)
    assert (config.alpha, config.target_entropy, config.polyak) == (0.1, -1.5, 0.99)


def test_another_algorithm(folder: Path) -> None:
    with pytest.raises(ArchiveError, match="TD3"):
        load(folder, "td3")
