"""A policy exported to TorchScript, run by the C++ program of `examples/cpp`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from slc_agents import SAC

SOURCE = Path(__file__).parents[2] / "examples" / "cpp"
DICT = gymnasium.spaces.Dict(
    {
        "speed": gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "camera": gymnasium.spaces.Box(0, 255, (8, 9, 3), np.uint8),
    }
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("cmake") is None or all(shutil.which(name) is None for name in ("c++", "g++", "clang++")),
        reason="needs cmake and a C++ compiler",
    ),
]


class DictEnv(gymnasium.Env[Any, Any]):
    observation_space = DICT
    action_space = gymnasium.spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([2.0, 9.0], np.float32))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("build")
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (["cmake", "-S", SOURCE, "-B", build, prefix], ["cmake", "--build", build]):
        subprocess.run(command, check=True, timeout=900)
    return build / "run_policy"


def run(program: Path, *arguments: object, numbers: Any) -> subprocess.CompletedProcess[str]:
    text = "\n".join(" ".join(map(repr, map(float, row))) for row in numbers)
    command = [program, *map(str, arguments)]
    return subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=300)


def test_a_tensor(program: Path, tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"normalize_observations": True})
    model._learner.observe(np.random.default_rng(1).normal(1, 2, (50, 3)).astype(np.float32))
    model.export(tmp_path / "policy.pt")
    observations = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)
    shape = json.loads((tmp_path / "policy.pt.json").read_text())["inputs"][0]["shape"][1:]
    result = run(program, tmp_path / "policy.pt", "x".join(map(str, shape)), numbers=observations)
    assert (result.returncode, result.stderr) == (0, "")
    actions = np.array([line.split() for line in result.stdout.splitlines()], np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    assert np.abs(actions - expected).max() <= 1e-5 * 4


def test_a_dict_with_an_image(program: Path, tmp_path: Path) -> None:
    kwargs = {"cnn_layers": [(4, 3, 2)], "cnn_features": 8, "hidden_sizes": [16]}
    model = SAC("MultiInputPolicy", DictEnv(), seed=0, policy_kwargs=kwargs)
    model.export(tmp_path / "policy.pt")
    DICT.seed(0)
    samples = [DICT.sample() for _ in range(5)]
    observations = {key: np.stack([sample[key] for sample in samples]) for key in DICT.spaces}
    numbers = np.concatenate([observations["speed"].reshape(5, -1), observations["camera"].reshape(5, -1)], axis=1)
    result = run(program, tmp_path / "policy.pt", "speed=2", "camera=8x9x3", numbers=numbers)
    assert (result.returncode, result.stderr) == (0, "")
    actions = np.array([line.split() for line in result.stdout.splitlines()], np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    assert (np.abs(actions - expected) <= 1e-5 * np.array([3.0, 9.0])).all()


def test_mistakes(program: Path, tmp_path: Path) -> None:
    SAC("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"hidden_sizes": [8]}).export(tmp_path / "policy.pt")
    assert run(program, numbers=[]).returncode == 2
    for arguments, numbers in (
        ((tmp_path / "gone.pt", "3"), [[1, 2, 3]]),
        ((tmp_path / "policy.pt", "3"), [[1, 2, 3], [1, 2]]),
        ((tmp_path / "policy.pt", "4"), [[1, 2, 3, 4]]),
        ((tmp_path / "policy.pt", "3,1"), [[1, 2, 3]]),
        ((tmp_path / "policy.pt", "three"), [[1, 2, 3]]),
        ((tmp_path / "policy.pt", "-3"), [[1, 2, 3]]),
    ):
        result = run(program, *arguments, numbers=numbers)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
