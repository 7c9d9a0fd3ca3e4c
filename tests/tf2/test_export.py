"""Exported policies: a SavedModel and TensorFlow Lite, read again where this package isn't installed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

import slc_agents
from slc_agents.agents.backend import EXPORT_FORMATS
from slc_agents.agents.files import KnownSpaces
from slc_agents.errors import ExportError
from slc_agents.tf2 import LAC, SAC

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.export import FORMATS, DeterministicPolicy, export_policy  # noqa: E402
from slc_agents.tf2.policies import MlpPolicy  # noqa: E402

ASYMMETRIC = Box(np.array([-5.0, 0.0], np.float32), np.array([1.0, 0.25], np.float32))
FLAT = Box(-10, 10, (3,), np.float32)
SPACES = {
    "vector": FLAT,
    "image": Box(0, 255, (4, 3), np.uint8),
    "dict": Dict({"z": Box(-1, 1, (2, 1)), "action": Box(0, 255, (3,), np.uint8), "odd key": Box(-1, 1, (1,))}),
}


def make(
    space: Any = FLAT, action_space: Any = ASYMMETRIC, cls: Any = SAC, policy: Any = "MlpPolicy", **kw: Any
) -> Any:
    known: Any = KnownSpaces(space, action_space)
    keywords = {"hidden_sizes": [8, 8], **kw}
    return cls(policy, known, seed=0, policy_kwargs=keywords, compute_kwargs={"graphs": False})


def observations(space: Any, n: int) -> Any:
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def floats(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: value.astype(np.float32) for key, value in observation.items()}
    return observation.astype(np.float32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("kind", "format"),
    [*((kind, "saved_model") for kind in SPACES), ("image", "tflite")],  # which takes seconds
)
def test_it_computes_what_the_agent_predicts(tmp_path: Path, kind: str, format: str) -> None:
    space = SPACES[kind]
    model = make(space, normalize_observations=True, output_activation={"actor": "Tanh"})
    model._learner.observe(observations(space, 50))
    model.export(tmp_path / "policy", format)
    path = tmp_path / f"policy{FORMATS[format].suffix}"
    assert names(tmp_path) == [path.name, f"{path.name}.json"]
    seen = observations(space, 11)
    expected, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(FORMATS[format].load(path)(floats(seen)), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """One agent, and the folder with its policy in each format."""
    folder = tmp_path_factory.mktemp("exported")
    model = make(SPACES["dict"], cls=LAC, policy="GSDEPolicy", hidden_sizes=[64, 64])
    for format in FORMATS:
        model.export(folder / "policy", format)
    return model, folder


def test_it_runs_in_a_process_without_this_package(exported: tuple[Any, Path]) -> None:
    """By `tf.saved_model.load`, its signature, and TensorFlow Lite's interpreter, for any batch size."""
    model, tmp_path = exported
    seen = observations(SPACES["dict"], 6)
    np.savez(tmp_path / "seen.npz", **seen)
    code = """
import sys
sys.modules["slc_agents"] = None
import numpy as np, tensorflow as tf
seen = {key: value.astype(np.float32) for key, value in np.load("seen.npz").items()}
model = tf.saved_model.load("policy.savedmodel")
spelled = {key.replace(" ", "_"): value for key, value in seen.items()}
signature = model.signatures["serving_default"](**{key: tf.constant(value) for key, value in spelled.items()})
lite = tf.lite.Interpreter("policy.tflite").get_signature_runner()(**spelled)
np.savez("acted.npz", called=model({key: tf.constant(value) for key, value in seen.items()}),
         signature=signature["action_"], lite=lite["action_"])
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path, timeout=200)
    expected, _ = model.predict(seen, deterministic=True)
    acted = np.load(tmp_path / "acted.npz")
    assert set(acted) == {"called", "signature", "lite"}
    for name, action in acted.items():
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_policy_trained_in_pytorch_deploys_as_a_saved_model(tmp_path: Path) -> None:
    torch_model = slc_agents.SAC(
        "MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"hidden_sizes": [8], "normalize_observations": True}
    )
    torch_model._learner.observe(observations(torch_model.observation_space, 20))
    torch_model.save(tmp_path / "agent")
    SAC.load(tmp_path / "agent").export(tmp_path / "policy")
    seen = observations(torch_model.observation_space, 5)
    policy = tf.saved_model.load(str(tmp_path / "policy.savedmodel"))
    action = policy(seen)
    np.testing.assert_allclose(action, torch_model.predict(seen, deterministic=True)[0], rtol=1e-5, atol=1e-5)


def test_actions_stay_inside_the_bounds_where_scaling_alone_rounds_beyond() -> None:
    ends = np.random.default_rng(0).uniform(-30, 30, (2, 40)).astype(np.float32)
    model = make(action_space=Box(ends.min(0), ends.max(0)))
    for bias in (100.0, -100.0):
        model.policy.actor.mean.bias.assign(np.full(40, bias))
        action = DeterministicPolicy(model.policy).act(np.zeros((1, 3), np.float32)).numpy()[0]
        assert (action >= ends.min(0)).all()
        assert (action <= ends.max(0)).all()
        np.testing.assert_allclose(action, ends.max(0) if bias > 0 else ends.min(0), atol=1e-5)


def test_the_json_file_says_what_it_takes_and_gives(exported: tuple[Any, Path]) -> None:
    _, tmp_path = exported
    folder = json.loads((tmp_path / "policy.savedmodel.json").read_text())
    file = json.loads((tmp_path / "policy.tflite.json").read_text())
    assert (folder["format"], file["format"]) == ("saved_model", "tflite")
    assert folder["versions"]["tensorflow"] == tf.__version__
    for description in (folder, file):
        assert [port["name"] for port in description["inputs"]] == ["action", "odd key", "z"]
        assert description["inputs"][2]["shape"] == ["batch", 2, 1]
        assert description["outputs"][0]["name"] == "action_"
        assert description["outputs"][0]["low"] == [-5.0, 0.0]
    assert file["sha256"] == hashlib.sha256((tmp_path / "policy.tflite").read_bytes()).hexdigest()
    assert {"saved_model.pb", "variables/variables.index"} <= set(folder["sha256"])
    graph = (tmp_path / "policy.savedmodel" / "saved_model.pb").read_bytes()
    assert folder["sha256"]["saved_model.pb"] == hashlib.sha256(graph).hexdigest()
    # Only what acting needs is in it: the critics would be another 35 kB. Nor is anything of the machine.
    weights = (tmp_path / "policy.savedmodel" / "variables" / "variables.data-00000-of-00001").stat().st_size
    trunk = 4 * (6 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2)
    assert trunk <= weights < trunk + 3_000
    assert str(Path(slc_agents.__file__).parent).encode() not in graph


def test_an_older_export_makes_way_for_a_new_one_and_not_for_a_failed_one(tmp_path: Path) -> None:
    class Numpy(MlpPolicy):
        def features(self, observation: Any) -> Any:
            flat = self.flatten(observation)
            return flat * np.float32(flat.numpy().mean())  # a graph has no such values

    path, model = tmp_path / "policy.savedmodel", make()
    model.export(path)
    old = Path(f"{path}.json").read_text()
    with pytest.raises(ExportError, match=r"can't be exported to .*nothing was written.*operations of TensorFlow"):
        make(policy=Numpy).export(path)
    assert Path(f"{path}.json").read_text() == old
    model.policy.actor.mean.bias.assign([0.5, -0.5])
    model.export(path)
    seen = observations(FLAT, 4)
    expected, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(FORMATS["saved_model"].load(path)(seen), expected, rtol=1e-5, atol=1e-5)
    assert names(tmp_path) == [path.name, f"{path.name}.json"]


def test_what_was_written_wrongly_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = FORMATS["saved_model"].load
    monkeypatch.setattr(FORMATS["saved_model"], "load", lambda path: lambda seen: right(path)(seen) + np.float32(0.1))
    with pytest.raises(ExportError, match=r"differ from the policy's by up to 0\.1"):
        make().export(tmp_path / "policy")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "format"), [("a.pt", None), ("a.onnx", None), ("a", "torchscript"), ("a.tflite", "saved_model")]
)
def test_formats_of_the_other_backend_are_refused(tmp_path: Path, path: str, format: str | None) -> None:
    theirs = format != "saved_model"
    hint = r"\. The pytorch agents export to it: save this one, and load\(path, backend='pytorch'\)" if theirs else ""
    with pytest.raises(ValueError, match=rf"are saved_model \(\.savedmodel\), tflite \(\.tflite\){hint}$"):
        make().export(tmp_path / path, format)
    torch_model = slc_agents.SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"hidden_sizes": [4]})
    with pytest.raises(ValueError, match=r"torchscript \(\.pt\), .*\. The tf2 agents export to it"):
        torch_model.export(tmp_path / "a.savedmodel")
    assert {one.backend: one._learner.export_formats for one in (torch_model, make())} == EXPORT_FORMATS
    with pytest.raises(ValueError, match="allowed are saved_model, tflite"):
        export_policy(make().policy, tmp_path / "a", "onnx")
    assert names(tmp_path) == []


def test_a_run_s_folder_gets_a_saved_model(tmp_path: Path) -> None:
    model = SAC(
        "MlpPolicy",
        "Pendulum-v1",
        seed=0,
        export=True,
        steps_per_epoch=10,
        num_test_episodes=0,
        policy_kwargs={"hidden_sizes": [4]},
        compute_kwargs={"graphs": False},
        logger_kwargs={"output_dir": str(tmp_path)},
    ).learn(10)
    assert {"agent.zip", "policy.savedmodel", "policy.savedmodel.json"} <= set(names(tmp_path))
    seen = observations(model.observation_space, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        action = FORMATS["saved_model"].load(tmp_path / "policy.savedmodel")(seen)
    np.testing.assert_allclose(action, model.predict(seen, deterministic=True)[0], rtol=1e-5, atol=1e-5)
