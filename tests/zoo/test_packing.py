"""Packed agents: small files that say how good the agent is, with which everything works but going on with its run."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slc_agents import SAC, load, zoo
from slc_agents.errors import (
    ArchiveError,
    ConfigError,
    NonFiniteError,
    NotResumableError,
    UntrustedCodeError,
)
from slc_agents.evaluation import evaluate_policy
from slc_agents.persistence import read_archive
from slc_agents.policies import MlpPolicy
from tests.support.fingerprint import fingerprint

SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "batch_size": 8, "replay_size": 300}
SMALL |= {"num_test_episodes": 0, "update_after": 50, "update_every": 10, "steps_per_update": 2, "start_steps": 20}
OBSERVATIONS = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -3.0]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, a checkpoint of an interrupted run with its buffer, and the first one packed."""
    folder = tmp_path_factory.mktemp("packing")
    model = zoo.make(
        "sac", "Pendulum-v1", seed=3, **SMALL, logger_kwargs={"output_dir": str(folder / "run")}, export=False
    )
    model.learn(300)
    other = SAC("MlpPolicy", "Pendulum-v1", seed=4, **SMALL)
    other.learn(400, lambda m: m.num_timesteps < 200).save(folder / "checkpoint.zip", replay_buffer=True)
    zoo.pack_agent(folder / "run", folder / "packed.zip", episodes=2)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> SAC:
    """The agent that was packed."""
    return SAC.load(folder / "run" / "agent.zip")


def manifest(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("manifest.json")))


def acts(model: Any) -> Any:
    return model.predict(OBSERVATIONS, deterministic=True)[0]


def test_the_file_says_what_the_agent_is(folder: Path, model: SAC) -> None:
    said = manifest(folder / "packed.zip")
    evaluation = said["evaluation"]
    mean, std = evaluate_policy(model, "Pendulum-v1", 2, seed=evaluation["seed"])
    assert evaluation == {
        "mean": mean,
        "std": std,
        "episodes": 2,
        "seed": evaluation["seed"],
        "deterministic": True,
        "mean_length": 200.0,
        "env_id": "Pendulum-v1",
    }
    assert said["counters"]["num_timesteps"] == 300
    assert said["config"]["seed"] == 3
    assert set(said["versions"]) == {"slc_agents", "python", "numpy", "gymnasium", "torch"}
    assert said["settings"]["zoo"] == "sac/Pendulum-v1"
    assert set(said["settings"]["changed"]) == set(SMALL)
    assert said["left_out"] == ["optimizers", "target_networks"]
    # Nothing of where it was made.
    assert said["config"]["logger_kwargs"] == {}
    assert str(folder) not in json.dumps(said)


def test_it_holds_what_it_needs_and_no_more(folder: Path, model: SAC) -> None:
    with read_archive(folder / "packed.zip") as archive:
        tensors, names = archive.tensors(), archive.array_names
    parameters = model.get_parameters()
    assert names == []
    assert set(tensors) == {name for name in parameters if name.split("/")[0] in ("actor", "critic", "alpha")}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, parameters[name])
        assert tensor.dtype == np.float32
    assert (folder / "packed.zip").stat().st_size < 0.5 * (folder / "run" / "agent.zip").stat().st_size


def test_equal_agents_are_packed_into_equal_files(folder: Path) -> None:
    again = zoo.pack_agent(folder / "run" / "agent", folder / "again", episodes=2)
    assert again == folder / "again.zip"
    assert again.read_bytes() == (folder / "packed.zip").read_bytes()
    other = zoo.pack_agent(folder / "run" / "agent.zip", folder / "other.zip", episodes=2, seed=7)
    assert manifest(other)["evaluation"]["seed"] == 7
    assert manifest(other)["evaluation"]["mean"] != manifest(again)["evaluation"]["mean"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_it_acts_is_evaluated_and_exported(folder: Path, model: SAC, tmp_path: Path) -> None:
    packed = load(folder / "packed.zip")
    np.testing.assert_array_equal(acts(packed), acts(model))
    assert packed.evaluate(1, "Pendulum-v1", seed=1) == model.evaluate(1, "Pendulum-v1", seed=1)
    packed.export(tmp_path / "policy.pt")
    exported = torch.jit.load(tmp_path / "policy.pt")(torch.from_numpy(OBSERVATIONS))
    np.testing.assert_allclose(exported.detach().numpy(), acts(model), atol=4e-5)
    assert (packed.num_timesteps, packed.seed, packed.env_id) == (300, 3, "Pendulum-v1")


def test_what_was_left_out_starts_afresh(folder: Path, model: SAC) -> None:
    was, has = model.get_parameters(), load(folder / "packed.zip").get_parameters()
    assert set(has) == set(was)
    for name, tensor in has.items():
        if name.startswith("optimizer/"):
            assert not tensor.any(), name
        elif name.startswith("critic_target/"):
            np.testing.assert_array_equal(tensor, was[name.replace("critic_target/", "critic/")])
            assert (tensor != was[name]).any(), name
        else:
            np.testing.assert_array_equal(tensor, was[name])
    assert has["alpha/log_value"] != pytest.approx(np.log(0.99))


def test_it_learns_on(folder: Path) -> None:
    packed = load(folder / "packed.zip", "Pendulum-v1")
    before = packed.get_parameters()
    packed.learn(200)
    after = packed.get_parameters()
    assert packed.num_timesteps == 200
    assert after["optimizer/actor/step"] == packed.n_updates == 32
    for part in ("actor/", "critic/", "critic_target/", "alpha/"):
        assert any((after[name] != before[name]).any() for name in before if name.startswith(part)), part


def test_saved_again_it_is_a_whole_agent(folder: Path, tmp_path: Path) -> None:
    packed = load(folder / "packed.zip")
    packed.save(tmp_path / "whole.zip")
    assert {"left_out", "evaluation"} & set(manifest(tmp_path / "whole.zip")) == set()
    again, was = SAC.load(tmp_path / "whole.zip").get_parameters(), packed.get_parameters()
    assert set(again) == set(was)
    assert all((again[name] == was[name]).all() for name in was)


def test_it_is_a_start_policy(folder: Path, model: SAC) -> None:
    started = SAC("MlpPolicy", "Pendulum-v1", seed=9, start_policy=str(folder / "packed.zip"), **SMALL)
    np.testing.assert_array_equal(acts(started), acts(model))
    has, was = started.get_parameters(), model.get_parameters()
    name = "critic/1/trunk/0/weight"
    np.testing.assert_array_equal(has["critic_target/1/trunk/0/weight"], was[name])
    assert has["alpha/log_value"] == pytest.approx(np.log(0.99))
    parts = ("networks", "temperature")
    started = SAC(
        "MlpPolicy", "Pendulum-v1", start_policy=str(folder / "packed.zip"), start_policy_parts=parts, **SMALL
    )
    np.testing.assert_array_equal(started.get_parameters()["alpha/log_value"], was["alpha/log_value"])


@pytest.mark.parametrize(
    ("part", "words"), [("optimizers", "without its optimisers"), ("buffer", "without its buffer")]
)
def test_what_needs_the_rest_says_so(folder: Path, part: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SAC("MlpPolicy", "Pendulum-v1", start_policy=str(folder / "packed.zip"), start_policy_parts=(part,), **SMALL)


def test_its_run_cannot_be_resumed(folder: Path) -> None:
    with pytest.raises(NotResumableError, match=r"saved without replay_buffer=True. Call learn"):
        load(folder / "packed.zip", "Pendulum-v1").resume()


def test_a_checkpoint_is_packed_without_its_buffer(folder: Path, tmp_path: Path) -> None:
    path = zoo.pack_agent(folder / "checkpoint.zip", tmp_path, episodes=1)
    assert path == tmp_path / "sac__Pendulum-v1.zip"
    said = manifest(path)
    assert "training" not in said
    assert set(said["members"]) == {"tensors.safetensors"}
    assert said["counters"]["num_timesteps"] == 200
    np.testing.assert_array_equal(acts(load(path)), acts(load(folder / "checkpoint.zip")))


def test_an_agent_at_hand_stays_as_it_is(tmp_path: Path) -> None:
    agent = SAC("MlpPolicy", "Pendulum-v1", seed=4, **SMALL).learn(100)
    twin = SAC("MlpPolicy", "Pendulum-v1", seed=4, **SMALL).learn(100)
    path = zoo.pack_agent(agent, tmp_path / "agent.zip", episodes=1)
    assert fingerprint(agent.learn(100, reset_num_timesteps=False)) == fingerprint(
        twin.learn(100, reset_num_timesteps=False)
    )
    assert manifest(path)["counters"]["num_timesteps"] == 100


def test_a_fixed_temperature_and_a_normaliser_are_kept(tmp_path: Path) -> None:
    kwargs = {**SMALL, "policy_kwargs": {"hidden_sizes": [8], "normalize_observations": True, "n_critics": 3}}
    agent = SAC("MlpPolicy", "Pendulum-v1", seed=4, adaptive_temperature=False, alpha=0.3, **kwargs).learn(100)
    packed = load(zoo.pack_agent(agent, tmp_path / "agent.zip", episodes=1))
    has, was = packed.get_parameters(), agent.get_parameters()
    assert has["alpha/fixed_value"] == np.float32(0.3)
    assert has["normalizer/count"] == was["normalizer/count"] == 100
    np.testing.assert_array_equal(has["normalizer/mean"], was["normalizer/mean"])
    np.testing.assert_array_equal(has["critic_target/2/value/weight"], was["critic/2/value/weight"])
    np.testing.assert_array_equal(acts(packed), acts(agent))


class Wrapped(nn.Module):
    """Calls a network by way of another name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.inner(*inputs)


class WrappedTargetPolicy(MlpPolicy):
    """Has a target network whose tensors aren't called like those of the critics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.critic_target = Wrapped(self.critic_target)


def test_targets_that_are_no_plain_copies_are_kept(tmp_path: Path) -> None:
    agent = SAC(WrappedTargetPolicy, "Pendulum-v1", seed=4, **SMALL).learn(100)
    path = zoo.pack_agent(agent, tmp_path / "agent.zip", episodes=1)
    assert manifest(path)["left_out"] == ["optimizers"]
    with pytest.raises(UntrustedCodeError, match="trust=True"):
        load(path)
    has, was = load(path, trust=True).get_parameters(), agent.get_parameters()
    kept = [name for name in was if name.startswith("critic_target/")]
    assert all("inner" in name for name in kept)
    assert all((has[name] == was[name]).all() for name in kept)


def test_the_environment_is_the_agents_or_given(tmp_path: Path) -> None:
    import gymnasium
    from gymnasium.envs.classic_control import PendulumEnv

    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TimeLimit(PendulumEnv(), 10)

    agent = SAC("MlpPolicy", make, seed=4, **SMALL)
    with pytest.raises(ConfigError, match="give one"):
        zoo.pack_agent(agent, tmp_path / "agent.zip")
    said = manifest(zoo.pack_agent(agent, tmp_path, env=make, episodes=2))
    assert (tmp_path / "sac__agent.zip").exists()
    assert (said["env_id"], said["evaluation"]["env_id"], said["evaluation"]["mean_length"]) == (None, None, 10.0)
    assert said["settings"] == {"zoo": None, "changed": []}
    said = manifest(zoo.pack_agent(agent, tmp_path, env="gymnasium.envs:Pendulum-v1", episodes=1))
    assert (said["env_id"], said["settings"]["zoo"]) == ("gymnasium.envs:Pendulum-v1", "sac/Pendulum-v1")
    assert (tmp_path / "sac__Pendulum-v1.zip").exists()


def test_costs_and_other_settings(tmp_path: Path) -> None:
    agent = SAC("MlpPolicy", "Pendulum-v1", seed=4, opt_type="minimize", **SMALL)
    said = manifest(zoo.pack_agent(agent, tmp_path, episodes=1))
    assert "opt_type" in said["settings"]["changed"]
    agent = zoo.make("sac", "Pendulum-v1", seed=5, device="cpu", export=False, save_freq=7)
    assert manifest(zoo.pack_agent(agent, tmp_path, episodes=1))["settings"]["changed"] == []
    agent = zoo.make("sac", "Pendulum-v1", policy="GSDEPolicy", seed=5)
    assert manifest(zoo.pack_agent(agent, tmp_path, episodes=1))["settings"]["changed"] == ["policy"]


def test_mistakes_write_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "agent.zip"
    for source, keywords, error, words in (
        (folder / "nothing", {}, FileNotFoundError, "nothing"),
        (folder, {}, ArchiveError, "agent.zip"),
        (3, {}, TypeError, "received 3"),
        (folder / "run", {"episodes": 0}, ValueError, "episodes=0"),
        (folder / "run", {"seed": -1}, ValueError, "seed=-1"),
        (folder / "run", {"env": "MountainCarContinuous-v0", "episodes": 1}, ValueError, "observation"),
        (folder / "run", {"trust": 1}, TypeError, "trust=1"),
    ):
        with pytest.raises(error, match=words):
            zoo.pack_agent(source, target, **keywords)  # type: ignore[arg-type]
    assert not target.parent.exists()


def test_the_file_to_pack_is_not_lost(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    path.write_bytes((folder / "checkpoint.zip").read_bytes())
    os.link(path, tmp_path / "same.zip")
    for source, target in ((path, path), (path, tmp_path / "same.zip"), (tmp_path, path)):
        with pytest.raises(ConfigError, match="would be lost"):
            zoo.pack_agent(source, target)
    assert path.read_bytes() == (folder / "checkpoint.zip").read_bytes()


def test_an_agent_that_diverged_is_not_packed(tmp_path: Path) -> None:
    agent = SAC("MlpPolicy", "Pendulum-v1", seed=4, **SMALL)
    nn.init.constant_(agent.policy.critic.trunk[0].bias, np.nan)
    with pytest.raises(NonFiniteError, match="diverged"):
        zoo.pack_agent(agent, tmp_path / "agent.zip")
    assert list(tmp_path.iterdir()) == []


# -- files that lie ----------------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Another manifest, as somebody would write it who knows the format."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "manifest.json":
                said = json.loads(data)
                change(said)
                data = json.dumps(said).encode()
            new.writestr(info.filename, data)
    return target


@pytest.mark.parametrize(
    "left_out",
    [None, "optimizers", {}, 3, ["actor"], [["optimizers"]], [None], ["optimizers"], ["target_networks"], []],
    ids=repr,
)
def test_a_packed_file_that_lies_about_what_it_has_is_refused(folder: Path, tmp_path: Path, left_out: Any) -> None:
    path = rewritten(folder / "packed.zip", tmp_path / "lies.zip", lambda said: said.update(left_out=left_out))
    with pytest.raises(ArchiveError, match=r"lies\.zip: "):
        load(path)
    with pytest.raises(ValueError, match=r"lies\.zip"):
        SAC("MlpPolicy", "Pendulum-v1", start_policy=str(path), start_policy_parts=("networks", "optimizers"), **SMALL)


@pytest.mark.parametrize("left_out", [["optimizers"], ["target_networks"], ["optimizers", "target_networks"]], ids=repr)
def test_a_whole_file_that_says_to_be_packed_is_refused(folder: Path, tmp_path: Path, left_out: Any) -> None:
    source = folder / "run" / "agent.zip"
    path = rewritten(source, tmp_path / "lies.zip", lambda said: said.update(left_out=left_out))
    with pytest.raises(ArchiveError, match=r"lies\.zip: left_out=.* and yet there is a tensor"):
        load(path)
