"""The TensorFlow agents as users hold them: training, files that both backends read, resuming, what isn't there."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import slc_agents
from slc_agents import load, zoo
from slc_agents.agents.files import write_packed_agent
from slc_agents.compat.slc import read_weights
from slc_agents.errors import ArchiveError, ConfigError, MissingDependencyError, UnsupportedSpaceError
from slc_agents.policies import MlpPolicy as TorchPolicy
from slc_agents.tf2 import LAC, SAC

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.policies import MlpPolicy  # noqa: E402

EAGER = {"graphs": False}  # a graph takes seconds to be made
OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
CLASSES = {"SAC": (slc_agents.SAC, SAC), "LAC": (slc_agents.LAC, LAC)}


def make(cls: Any = SAC, env: Any = "Pendulum-v1", **keywords: Any) -> Any:
    settings: dict[str, Any] = {
        "seed": 0,
        "update_after": 10,
        "update_every": 5,
        "steps_per_update": 2,
        "steps_per_epoch": 20,
        "batch_size": 8,
        "num_test_episodes": 0,
        "policy_kwargs": {"hidden_sizes": [8, 8], "normalize_observations": True},
        **({"compute_kwargs": EAGER} if "tf2" in cls.__module__ else {}),
    }
    return cls("MlpPolicy", env, **{**settings, **keywords})


def costs() -> Any:
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    return gymnasium.wrappers.TransformReward(env, lambda reward: -reward)


def assert_same(one: Any, other: Any) -> None:
    ours, theirs = one.get_parameters(), other.get_parameters()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """A trained agent of each class and backend, not to be changed."""
    env = {"SAC": "Pendulum-v1", "LAC": costs}
    return {f"{name} {cls.backend}": make(cls, env[name]).learn(30) for name, both in CLASSES.items() for cls in both}


# -- the agent ---------------------------------------------------------------------------------------------------------


def test_the_classes_are_pytorch_s_but_for_what_computes() -> None:
    for theirs, ours in CLASSES.values():
        assert issubclass(ours, theirs)
        assert (theirs.backend, ours.backend) == ("pytorch", "tf2")
        assert inspect.signature(ours) == inspect.signature(theirs)
        text = inspect.getdoc(ours)
        assert text is not None
        assert "on TensorFlow" in text
        assert "steps_per_update" in text
        assert "CnnPolicy" in text.partition("Hyperparameters")[0]
    assert {"SAC", "LAC"} <= set(dir(slc_agents.tf2))
    with pytest.raises(AttributeError, match="no attribute 'DDPG'"):
        slc_agents.tf2.DDPG  # noqa: B018


@pytest.mark.parametrize("name", CLASSES)
def test_training_moves_every_part_and_logs(trained: dict[str, Any], name: str) -> None:
    model, fresh = trained[f"{name} tf2"], make(CLASSES[name][1], costs if name == "LAC" else "Pendulum-v1")
    assert (model.num_timesteps, model.n_updates) == (30, 10)
    assert isinstance(model.policy, MlpPolicy)
    assert model.device == "CPU:0"
    before = fresh.get_parameters()
    for part, array in model.get_parameters().items():
        if not part.startswith("optimizer/"):
            assert (array != before[part]).any(), part
    action, _ = model.predict(OBSERVATIONS)
    assert action.shape == (5, 1)
    assert action.dtype == np.float32
    assert (np.abs(action) <= 2.0).all()
    assert (model.predict(OBSERVATIONS)[0] != action).all()
    expected = f"gradient steps on CPU:0: TensorFlow {tf.__version__}, one operation at a time"
    assert model._learner.describe(model.replay_buffer) == expected
    assert model._learner.versions() == {"tensorflow": tf.__version__}


def test_with_graphs_it_learns_to_act_as_an_identity(tmp_path: Path) -> None:
    """A task that is solved in seconds: the reward is highest where the action is the observation."""

    class Identity(gymnasium.Env):  # type: ignore[type-arg]
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.seen = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
            return self.seen, {}

        def step(self, action: Any) -> Any:
            reward = -float(np.abs(action - self.seen)[0])
            self.seen = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
            return self.seen, reward, False, True, {}

    model = make(
        env=Identity,
        update_after=100,
        update_every=50,
        steps_per_update=50,
        start_steps=100,
        batch_size=32,
        gamma=0.0,
        steps_per_epoch=500,
        lr_decay_type="constant",
        alpha=0.1,
        compute_kwargs={},
        policy_kwargs={"hidden_sizes": [16]},
        logger_kwargs={"output_dir": str(tmp_path)},
        **dict.fromkeys(("lr_a", "lr_c", "lr_alpha"), 1e-2),
    ).learn(500)
    seen = np.linspace(-0.8, 0.8, 9, dtype=np.float32)[:, None]
    assert np.abs(model.predict(seen, deterministic=True)[0] - seen).mean() < 0.2
    assert (tmp_path / "progress.csv").read_text().count("\n") == 2


def test_minimising_costs_is_maximising_their_negatives() -> None:
    one, other = make(env=costs, opt_type="minimize").learn(20), make().learn(20)
    assert_same(one, other)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_another_agent(how: Any) -> None:
    model = make().learn(15)
    model.env, model._collector, model._env_source = None, None, None  # an environment is no part of it
    twin = how(model)
    assert_same(model, twin)
    np.testing.assert_array_equal(
        model.predict(OBSERVATIONS, deterministic=True)[0], twin.predict(OBSERVATIONS, deterministic=True)[0]
    )
    for one in (model, twin):
        one._learner.update(one.replay_buffer, 2)
    assert_same(model, twin)
    twin._learner.update(twin.replay_buffer, 1)
    assert (twin.get_parameters()["actor/mean/weight"] != model.get_parameters()["actor/mean/weight"]).any()


# -- what isn't there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"precision": "bfloat16"}, "precision='bfloat16': the TensorFlow agents have no such choice"),
        ({"num_threads": 2}, "num_threads=2.*OMP_NUM_THREADS"),
        ({"matmul": "onednn"}, "matmul='onednn'"),
        ({"fused": False}, "fused=False"),
        ({"replay_on_device": False}, "replay_on_device=False"),
    ],
)
def test_choices_of_pytorch_s_are_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(compute_kwargs=keywords)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", r"device='gpu': TensorFlow .* sees 0 GPU"),
        ("gpu:3", "sees 0 GPU"),
        ("cuda:0", "sees 0 GPU"),
        ("mps", "allowed with TensorFlow are cpu, gpu"),
        ("tpu", "allowed with TensorFlow are cpu, gpu"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, device: str, message: str) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ValueError, match=message):
        make(device=device)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from slc_agents.tf2.device import resolve_device

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert resolve_device("auto") == "CPU:0"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind} 0", f"{kind} 1"])
    names = {name: resolve_device(name) for name in ("cpu", "auto", "gpu", "gpu:1", "cuda:1")}
    assert names == {
        "cpu": "CPU:0",
        "auto": "GPU:0",
        "gpu": "GPU:0",
        "gpu:1": "GPU:1",
        "cuda:1": "GPU:1",
    }


def test_spaces_are_checked_as_everywhere() -> None:
    with pytest.raises(UnsupportedSpaceError, match="continuous actions"):
        make(env="CartPole-v1")


def test_without_tensorflow_one_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: dict[str, Any]
) -> None:
    trained["SAC tf2"].save(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependencyError, match=r"a TensorFlow agent needs .*'slc-agents\[tf2\]'"):
        make()
    with pytest.raises(MissingDependencyError, match=r"a\.zip: a TensorFlow agent needs .*backend='pytorch'"):
        load(tmp_path / "a.zip")
    assert load(tmp_path / "a.zip", backend="pytorch").backend == "pytorch"


def test_a_user_of_one_backend_imports_no_other(tmp_path: Path) -> None:
    code = f"""
import sys
import slc_agents, slc_agents.tf2, slc_agents.zoo, slc_agents.callbacks
from slc_agents.tf2 import SAC
assert not {{"torch", "tensorflow", "keras"}} & set(sys.modules)
model = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={{"hidden_sizes": [4]}}, update_after=5, steps_per_update=1,
            steps_per_epoch=20, num_test_episodes=1, compute_kwargs={{"graphs": False}})
model.learn(20)
model.save({str(tmp_path / "a")!r}, replay_buffer=True)
loaded = slc_agents.load({str(tmp_path / "a")!r}, "Pendulum-v1")
loaded.evaluate(1)
assert "tensorflow" in sys.modules and type(loaded) is SAC
assert "torch" not in sys.modules
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    noise = ("WARNING: All log messages before absl", "I0000 ")  # that oneDNN is used; it can't be told to be silent
    assert [line for line in result.stderr.splitlines() if not line.startswith(noise)] == []


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("wrote", "reads"), [("tf2", "pytorch"), ("pytorch", "tf2"), ("tf2", "tf2")])
def test_a_file_of_one_backend_is_the_other_s_too(
    trained: dict[str, Any], tmp_path: Path, name: str, wrote: str, reads: str
) -> None:
    model, cls = trained[f"{name} {wrote}"], CLASSES[name][reads == "tf2"]
    model.save(tmp_path / "agent")
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        assert json.loads(archive.read("manifest.json"))["backend"] == wrote
    loaded = cls.load(tmp_path / "agent")
    assert type(loaded) is cls
    assert_same(loaded, model)
    expected, _ = model.predict(OBSERVATIONS, deterministic=True)
    np.testing.assert_allclose(loaded.predict(OBSERVATIONS, deterministic=True)[0], expected, rtol=1e-5, atol=1e-6)
    assert type(load(tmp_path / "agent")) is type(model)  # by itself, what wrote it computes
    assert type(load(tmp_path / "agent", backend=reads)) is cls  # type: ignore[arg-type]
    if name == "LAC":
        values = [one.lyapunov_value(OBSERVATIONS, expected) for one in (loaded, model)]
        np.testing.assert_allclose(*values, rtol=1e-4)
    # How another backend computes is nothing to this one.
    assert loaded.config.compute_kwargs == (model.config.compute_kwargs if wrote == reads else {})


@pytest.mark.parametrize("reads", [0, 1])
def test_a_packed_file_is_both_s_too(trained: dict[str, Any], tmp_path: Path, reads: int) -> None:
    model = trained["LAC tf2"]
    write_packed_agent(model, tmp_path / "packed.zip", {})
    loaded = CLASSES["LAC"][reads].load(tmp_path / "packed.zip")
    expected, _ = model.predict(OBSERVATIONS, deterministic=True)
    np.testing.assert_allclose(loaded.predict(OBSERVATIONS, deterministic=True)[0], expected, rtol=1e-5, atol=1e-6)
    tensors = loaded.get_parameters()
    assert tensors["optimizer/critic/step"] == 0
    np.testing.assert_array_equal(tensors["actor_target/mean/bias"], tensors["actor/mean/bias"])


def test_unknown_backends_are_refused(trained: dict[str, Any], tmp_path: Path) -> None:
    trained["SAC tf2"].save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"backend='tf': allowed are 'pytorch', 'tf2'"):
        load(tmp_path / "agent", backend="tf")  # type: ignore[arg-type]
    from slc_agents.persistence.archive import _OWN_KEYS, read_archive, write_archive

    with read_archive(tmp_path / "agent.zip") as archive:
        manifest = {key: archive.manifest[key] for key in archive.manifest if key not in _OWN_KEYS}
        write_archive(tmp_path / "odd.zip", {**manifest, "backend": "jax"}, tensors=archive.tensors())
    with pytest.raises(ArchiveError, match=r"odd\.zip: backend='jax': allowed are 'pytorch', 'tf2'"):
        load(tmp_path / "odd.zip")


def test_a_policy_class_of_the_other_backend_is_refused(tmp_path: Path) -> None:
    class Own(TorchPolicy):
        pass

    slc_agents.SAC(Own, "Pendulum-v1", policy_kwargs={"hidden_sizes": [4]}).save(tmp_path / "own")
    with pytest.raises(TypeError, match="allowed with TensorFlow are a name such as 'MlpPolicy', or a policy class"):
        SAC.load(tmp_path / "own", trust=True)


@pytest.mark.parametrize("cls", [SAC, LAC])
def test_an_interrupted_run_goes_on_exactly(tmp_path: Path, cls: Any) -> None:
    env = "slc/OscillatorComplicated-v1" if cls is LAC else "Pendulum-v1"
    compute = EAGER if cls is LAC else {}
    keywords: dict[str, Any] = {
        "compute_kwargs": compute,
        "lr_decay_ref": "step",
        "num_test_episodes": 1,
        "max_ep_len": 15,
    }
    whole = make(cls, env, **keywords).learn(40)
    model = make(cls, env, **keywords).learn(40, lambda model: model.num_timesteps < 23)
    assert model.num_timesteps == 23
    model.save(tmp_path / "run", replay_buffer=True)
    resumed = cls.load(tmp_path / "run", env).resume()
    assert resumed.num_timesteps == 40
    assert_same(resumed, whole)
    observation = np.ones(resumed.observation_space.shape, np.float32)
    np.testing.assert_array_equal(resumed.predict(observation)[0], whole.predict(observation)[0])


def test_a_run_goes_on_in_the_other_backend_but_not_exactly(tmp_path: Path) -> None:
    model = make(slc_agents.SAC).learn(40, lambda model: model.num_timesteps < 23)
    model.save(tmp_path / "run", replay_buffer=True)
    loaded = SAC.load(tmp_path / "run", "Pendulum-v1", compute_kwargs=EAGER)
    with pytest.warns(UserWarning, match="not exactly the run that would have been"):
        loaded.resume()
    assert (loaded.num_timesteps, loaded.n_updates) == (40, 14)


def test_it_starts_from_an_agent_of_the_zoo() -> None:
    pretrained = zoo.load_agent("sac", "Pendulum-v1")
    kwargs = pretrained.config.policy_kwargs
    model = make(start_policy="zoo:sac/Pendulum-v1", policy_kwargs=kwargs)
    expected, _ = pretrained.predict(OBSERVATIONS, deterministic=True)
    np.testing.assert_allclose(model.predict(OBSERVATIONS, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    same = zoo.load_agent("sac", "Pendulum-v1", backend="tf2")
    assert type(same) is SAC
    np.testing.assert_allclose(same.predict(OBSERVATIONS, deterministic=True)[0], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"doesn't fit this agent: tensor .* has shape"):
        make(start_policy="zoo:sac/Pendulum-v1", policy_kwargs={**(kwargs or {}), "hidden_sizes": [3]})


def test_it_starts_from_a_live_agent_of_the_other_backend_with_its_optimisers(trained: dict[str, Any]) -> None:
    start, parts = trained["SAC pytorch"], ("networks", "temperature", "optimizers", "buffer")
    model = make(start_policy=start, start_policy_parts=parts)
    assert_same(model, start)
    assert len(model.replay_buffer) == 30


def test_weights_of_stable_learning_control_are_pytorch_s_to_read(tmp_path: Path) -> None:
    (tmp_path / "torch_save").mkdir()
    (tmp_path / "torch_save" / "save_info.json").write_text("{}")
    with pytest.raises(ValueError, match="stable-learning-control are read by the PyTorch agents"):
        make(start_policy=str(tmp_path))
    with pytest.raises(ValueError, match=r"a PyTorch agent is needed, this one is of tf2.*backend='tf2'"):
        read_weights(tmp_path, make())
    with pytest.raises(FileNotFoundError):
        make(start_policy=str(tmp_path / "missing"))


def test_a_fresh_agent_of_the_zoo_s_settings() -> None:
    model = zoo.make("sac", "Pendulum-v1", backend="tf2", seed=1)
    assert type(model) is SAC
    assert model.config.to_dict() == zoo.make("sac", "Pendulum-v1", seed=1).config.to_dict()
