"""The zoo's agents, fresh and pretrained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slc_agents import SAC, load, zoo, zoo_files
from slc_agents.agents.evaluation import recorded_evaluation
from slc_agents.errors import ConfigError
from slc_agents.zoo import configs, packing

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"policy_kwargs": {"hidden_sizes": [8]}, "batch_size": 8}


def test_make_gives_a_fresh_agent_with_the_files_settings() -> None:
    model = zoo.make("sac", "Pendulum-v1", seed=3, gamma=0.5, **SMALL)
    config = zoo.load_config("sac", "Pendulum-v1", seed=3, gamma=0.5, **SMALL)
    assert isinstance(model, SAC)
    assert model.config == config
    assert (model.num_timesteps, model.seed) == (0, 3)
    assert model.observation_space.shape == (3,)


def test_learn_without_a_number_runs_for_the_files_own_length() -> None:
    length = zoo.load_config("sac", "Pendulum-v1")
    stopped: list[int] = []

    def stop(model: SAC) -> bool:
        assert model.run is not None
        stopped.append(model.run.total)
        return False

    zoo.make("sac", "Pendulum-v1", seed=3, **SMALL).learn(callback=stop)
    assert stopped == [length.epochs * length.steps_per_epoch]


def test_settings_of_another_environment_and_those_for_any() -> None:
    model = zoo.make("sac", "slc/Oscillator-v1", settings="default", seed=3, **SMALL)
    assert model.config == zoo.load_config("sac", "default", seed=3, **SMALL)
    assert model.observation_space.shape == (8,)
    model = zoo.make("sac", "slc/Oscillator-v1", settings="Pendulum-v1", seed=3, **SMALL)
    assert model.config == zoo.load_config("sac", "Pendulum-v1", seed=3, **SMALL)
    # Never without being asked for.
    with pytest.raises(FileNotFoundError, match="sac/default is for any environment"):
        zoo.make("sac", "HumanoidStandup-v5")


def test_what_the_policy_refuses_is_found_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sac").mkdir()
    path = tmp_path / "sac" / "Pendulum-v1.yaml"
    path.write_text("epochs: 1\npolicy_kwargs:\n  n_critics: 1\n  hidden_sizes: [0]\n")
    monkeypatch.setattr(configs, "zoo_configs_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"Pendulum-v1\.yaml:4: policy_kwargs: hidden_sizes=\[0\]"):
        zoo.make("sac", "Pendulum-v1")
    with pytest.raises(ValueError, match=r"^policy_kwargs: hidden_sizes=\[-1\]"):
        zoo.make("sac", "Pendulum-v1", policy_kwargs={"hidden_sizes": [-1]})
    path.write_text("epochs: 1\npolicy_kwargs: {net_arch: [8]}\n")
    with pytest.raises(
        ConfigError, match=r"Pendulum-v1\.yaml:2: policy_kwargs of MlpPolicy .*'net_arch'.*hidden_sizes"
    ):
        zoo.make("sac", "Pendulum-v1")
    path.write_text("device: tpu\n")
    with pytest.raises(ConfigError, match=r"Pendulum-v1\.yaml:1: device='tpu'"):
        zoo.make("sac", "Pendulum-v1")


def test_make_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="did you mean 'gamma'"):
        zoo.make("sac", "Pendulum-v1", gama=1)
    with pytest.raises(ValueError, match="sac"):
        zoo.make("ppo", "Pendulum-v1")
    with pytest.raises(FileNotFoundError, match="sac/Pendulum-v1"):
        zoo.make("sac", "Pendulum-v0")


def test_pretrained_agents_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_files, "zoo_configs_folder", lambda: tmp_path)
    assert zoo.list_agents() == []
    with pytest.raises(FileNotFoundError, match="none yet"):
        zoo.agent_path("sac", "Pendulum-v1")

    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, **SMALL)
    model.save(tmp_path / "agents" / "sac__Pendulum-v1.zip")
    assert zoo.list_agents() == ["sac/Pendulum-v1"]
    assert zoo.agent_path("sac", "Pendulum-v1") == tmp_path / "agents" / "sac__Pendulum-v1.zip"
    loaded = zoo.load_agent("sac", "Pendulum-v1")
    observation = np.array([1.0, 0.0, 0.5], np.float32)
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )
    for by_name in (load("zoo:sac/Pendulum-v1"), SAC.load("zoo:sac/Pendulum-v1")):
        assert by_name.get_parameters().keys() == model.get_parameters().keys()
        np.testing.assert_array_equal(
            by_name.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
        )
    started = SAC("MlpPolicy", "Pendulum-v1", seed=2, start_policy="zoo:sac/Pendulum-v1", **SMALL)
    np.testing.assert_array_equal(
        started.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )
    with pytest.raises(FileNotFoundError, match="did you mean 'sac/Pendulum-v1'"):
        zoo.load_agent("sac", "Pendulm-v1")
    said = zoo.agent_manifest("SAC", "Pendulum-v1")
    assert (said["class"], said["counters"]["num_timesteps"], said["config"]["seed"]) == ("SAC", 0, 1)


def test_every_pretrained_agent_says_how_good_it_is() -> None:
    for name in zoo.list_agents():
        algo, env_id = name.split("/", 1)
        said = zoo.agent_manifest(algo, env_id)
        assert (said["class"].lower(), said["env_id"]) == (algo, env_id)
        evaluation = recorded_evaluation(name, said)
        assert evaluation is not None
        assert evaluation["episodes"] >= 100
        assert evaluation["deterministic"] is True
        assert said["settings"] == {"zoo": name, "changed": []}
        # Nor has the zoo's file changed since.
        assert packing._settings_of(zoo.load_agent(algo, env_id), env_id) == said["settings"]
        assert said["counters"]["num_timesteps"] > 0
        assert said["left_out"] == ["optimizers", "target_networks"]
        assert "code.pkl" not in said["members"]
        assert zoo.agent_path(algo, env_id).stat().st_size <= 4 * 2**20
        model = zoo.load_agent(algo, env_id)
        # Not a sample of the space: where that has float32's own bounds, most of it is no observation.
        action, _ = model.predict(np.zeros(model.observation_space.shape or (), np.float32), deterministic=True)
        assert model.action_space.contains(action)


def test_importing_the_zoo_imports_no_backend() -> None:
    code = "import sys; from slc_agents import zoo; zoo.list_configs(); print([m in sys.modules for m in sys.argv[1:]])"
    result = subprocess.run(
        [sys.executable, "-c", code, "torch", "mujoco"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[False, False]"
