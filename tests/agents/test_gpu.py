"""On a CUDA device: the same agent as on the CPU, saved on one and loaded on the other, resumed exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slc_agents import SAC
from tests.support.fingerprint import fingerprint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [32, 32], "normalize_observations": True}, "seed": 0}
SMALL |= {"update_after": 50, "update_every": 10, "steps_per_update": 5, "batch_size": 32, "num_test_episodes": 0}


@pytest.mark.parametrize("device", ["gpu", "cuda", "gpu:0", "cuda:0", "auto"])
def test_names_of_the_device(device: str) -> None:
    assert SAC("MlpPolicy", "Pendulum-v1", device=device, **SMALL).device == torch.device("cuda", 0)


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"gpu:99.*CUDA device"):
        SAC("MlpPolicy", "Pendulum-v1", device="gpu:99", **SMALL)


def test_saved_on_one_and_loaded_on_the_other(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", device="cuda", **SMALL).learn(300)
    model.save(tmp_path / "gpu")
    loaded = SAC.load(tmp_path / "gpu", device="cpu")
    assert str(loaded.device) == "cpu"
    for name, array in model.get_parameters().items():
        np.testing.assert_array_equal(loaded.get_parameters()[name], array, err_msg=name)
    observation = np.array([[0.5, -0.5, 1.0]], np.float32)
    ours, theirs = (agent.predict(observation, deterministic=True)[0] for agent in (loaded, model))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    loaded.save(tmp_path / "cpu")
    again = SAC.load(tmp_path / "cpu", "Pendulum-v1", device="cuda")
    again.learn(100)
    assert again.device.type == "cuda"


def test_one_step_is_that_of_the_cpu() -> None:
    models = [SAC("MlpPolicy", "Pendulum-v1", device=device, **SMALL) for device in ("cpu", "cuda")]
    for model in models:
        model.learn(60)  # one block of gradient steps, after the same random actions
    ours, theirs = (model.get_parameters() for model in models)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("compute_kwargs", [{}, {"graphs": False}, {"replay_on_device": False}])
def test_it_resumes_exactly(tmp_path: Path, compute_kwargs: dict[str, Any]) -> None:
    settings = {**SMALL, "device": "cuda", "compute_kwargs": compute_kwargs}
    whole = SAC("MlpPolicy", "Pendulum-v1", **settings).learn(400)
    first = SAC("MlpPolicy", "Pendulum-v1", **settings)
    first.learn(400, lambda model: model.num_timesteps < 233)
    first.save(tmp_path / "half", replay_buffer=True)
    resumed = SAC.load(tmp_path / "half", "Pendulum-v1").resume()
    assert fingerprint(resumed) | {"callbacks": ""} == fingerprint(whole) | {"callbacks": ""}


def test_the_log_says_how_steps_are_computed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="slc_agents"):
        SAC("MlpPolicy", "Pendulum-v1", device="cuda", **SMALL).learn(60)
    assert "on cuda:0: float32, fused networks, whole steps as CUDA graphs, a copy of the replay buffer there (" in (
        caplog.text
    )


def test_it_is_exported_from_there(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", device="cuda", **SMALL)
    model.export(tmp_path / "policy.pt")
    policy = torch.jit.load(tmp_path / "policy.pt", map_location="cpu")
    observation = np.array([[0.5, -0.5, 1.0]], np.float32)
    expected, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(policy(torch.from_numpy(observation)).detach().numpy(), expected, atol=1e-4)
