"""Exporting to TorchScript: what is written computes what `predict` does, and needs nothing of this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from slc_agents import SAC
from slc_agents.policies import MlpPolicy
from slc_agents.pytorch import export
from slc_agents.pytorch.export import export_policy

FLAT = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
DICT = gymnasium.spaces.Dict(
    {"b": gymnasium.spaces.Box(-3, 3, (2,), np.float64), "a": gymnasium.spaces.Box(0, 9, (1, 2), np.uint8)}
)
ASYMMETRIC = gymnasium.spaces.Box(np.array([-2.0, 0.0, 5.0], np.float32), np.array([2.0, 1e-3, 900.0], np.float32))
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "flat": (FLAT, ASYMMETRIC, {}),
    "scalar": (gymnasium.spaces.Box(-1, 1, ()), ASYMMETRIC, {}),
    "2-D": (gymnasium.spaces.Box(-1, 1, (2, 3), np.float64), gymnasium.spaces.Box(-3, 5, (2, 2), np.float32), {}),
    "Dict": (DICT, ASYMMETRIC, {}),
    "float64 actions": (FLAT, gymnasium.spaces.Box(-1e6, 3.0, (2,), np.float64), {}),
    "normalised": (FLAT, ASYMMETRIC, {"normalize_observations": True}),
    "normalised Dict": (DICT, ASYMMETRIC, {"normalize_observations": True, "activation": "Tanh"}),
}


class Still(gymnasium.Env[Any, Any]):
    """An environment that does nothing."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def make(
    observation_space: Any = FLAT, action_space: Any = ASYMMETRIC, policy: Any = MlpPolicy, **policy_kwargs: Any
) -> SAC:
    return SAC(
        policy, Still(observation_space, action_space), seed=0, policy_kwargs={"hidden_sizes": [16], **policy_kwargs}
    )


def observations(space: Any, n: int, seed: int) -> Any:
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def as_tensors(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: torch.from_numpy(value.astype(np.float32)) for key, value in observation.items()}
    return torch.from_numpy(observation.astype(np.float32))


def reload(path: Path) -> Any:
    return torch.jit.load(str(path))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_the_file_computes_what_predict_does(tmp_path: Path, name: str) -> None:
    observation_space, action_space, kwargs = CASES[name]
    model = make(observation_space, action_space, **kwargs)
    if kwargs.get("normalize_observations"):
        model._learner.observe(
            observations(observation_space, 100, 1)
            if name == "normalised Dict"
            else 5 + 3 * observations(observation_space, 100, 1)
        )
    path = tmp_path / "new" / "folder" / "policy.pt"
    model.export(path)
    written = reload(path)
    low, high = action_space.low.astype(np.float64), action_space.high.astype(np.float64)
    for n in (1, 5):
        observation = observations(observation_space, n, n)
        with torch.no_grad():
            action = written(as_tensors(observation))
        assert action.dtype == torch.float32
        assert action.shape == (n, *action_space.shape)
        expected, _ = model.predict(observation, deterministic=True)
        assert (np.abs(action.numpy() - expected) <= 1e-5 * (high - low)).all()
        assert (action.numpy() >= action_space.low.astype(np.float32)).all()
        assert (action.numpy() <= action_space.high.astype(np.float32)).all()
    assert [file.name for file in path.parent.iterdir()] == ["policy.pt"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_saturated_actions_stay_inside_the_bounds(tmp_path: Path) -> None:
    ends = np.sort(np.random.default_rng(0).uniform(-3, 3, (2, 300)).astype(np.float32), axis=0)
    model = make(FLAT, gymnasium.spaces.Box(*ends))
    for name, sign in (("high", 1.0), ("low", -1.0)):
        with torch.no_grad():
            model.policy.actor.mean.bias.fill_(sign * 100.0)
        model.export(tmp_path / f"{name}.pt")
        action = reload(tmp_path / f"{name}.pt")(torch.zeros(1, 3)).numpy()[0]
        # Scaling alone rounds beyond some of them.
        assert (action >= ends[0]).all()
        assert (action <= ends[1]).all()
        np.testing.assert_allclose(action, ends[int(sign > 0)], atol=1e-5)


def test_no_warning_leaks(tmp_path: Path) -> None:
    make().export(tmp_path / "policy.pt")  # warnings are errors here


def test_it_loads_where_the_package_is_not(tmp_path: Path) -> None:
    model = make(DICT, ASYMMETRIC, normalize_observations=True)
    model.export(tmp_path / "policy.pt")
    observation = observations(DICT, 3, 0)
    np.savez(tmp_path / "observation.npz", **{key: value.astype(np.float32) for key, value in observation.items()})
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("slc_agents", "gymnasium"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import warnings; warnings.simplefilter("ignore")
import numpy as np, torch
policy = torch.jit.load("policy.pt")
observation = {key: torch.from_numpy(value) for key, value in np.load("observation.npz").items()}
np.save("action.npy", policy(observation).numpy())
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    expected, _ = model.predict(observation, deterministic=True)
    difference = np.abs(np.load(tmp_path / "action.npy") - expected)
    assert (difference <= 1e-5 * (ASYMMETRIC.high - ASYMMETRIC.low)).all()


class Branching(MlpPolicy):
    def features(self, observation: Any) -> torch.Tensor:
        flat = self.flatten(observation)
        return flat if bool(flat.sum() > 1e9) else -flat  # never true in the examples


class Constant(MlpPolicy):
    def features(self, observation: Any) -> torch.Tensor:
        flat = self.flatten(observation)
        return flat * torch.tensor(flat.detach().numpy().mean())  # the trace keeps the number of its example


@pytest.mark.parametrize("policy", [Branching, Constant])
@pytest.mark.parametrize("there_before", [False, True])
def test_a_policy_that_a_trace_can_not_follow_is_refused(tmp_path: Path, policy: Any, there_before: bool) -> None:
    path = tmp_path / "policy.pt"
    if there_before:
        path.write_bytes(b"older")
    with pytest.raises(RuntimeError, match="nothing was written"):
        make(policy=policy).export(path)
    assert [file.name for file in tmp_path.iterdir()] == (["policy.pt"] if there_before else [])
    if there_before:
        assert path.read_bytes() == b"older"


def test_what_was_written_wrongly_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unscaled(self: Any, observation: Any) -> torch.Tensor:
        action: torch.Tensor = self.policy.actor.mean_action(self.policy.features(observation))
        return action

    monkeypatch.setattr(export.DeterministicPolicy, "forward", unscaled)
    with pytest.raises(RuntimeError, match="differ"):
        make().export(tmp_path / "policy.pt")
    assert not list(tmp_path.iterdir())


def test_exporting_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    model = make(normalize_observations=True)
    before = model.get_parameters()
    flags = [p.requires_grad for p in model.policy.parameters()]
    export_policy(model.policy, tmp_path / "policy.pt", "torchscript")
    assert [p.requires_grad for p in model.policy.parameters()] == flags
    assert not model.policy.training
    assert all(not module.training for module in model.policy.modules())
    for name, array in model.get_parameters().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("path", "format", "file"), [("a", None, "a.pt"), ("a.pt", None, "a.pt"), ("b", "torchscript", "b.pt")]
)
def test_suffixes(tmp_path: Path, path: str, format: str | None, file: str) -> None:
    make().export(tmp_path / path, format)
    assert [found.name for found in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(("path", "format"), [("a.xyz", None), ("a.pt", "tensorrt")])
def test_unknown_formats(tmp_path: Path, path: str, format: str | None) -> None:
    with pytest.raises(ValueError, match="torchscript"):
        make().export(tmp_path / path, format)
    with pytest.raises(ValueError, match=r"tensorrt.*torchscript"):
        export_policy(make().policy, tmp_path / "a.pt", "tensorrt")
    assert not list(tmp_path.iterdir())
