"""Exporting: what is written computes what `predict` does, in every format, and needs nothing of this package."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import slc_agents
from slc_agents import SAC
from slc_agents.errors import ExportError, MissingDependencyError
from slc_agents.learner.export import example_observation
from slc_agents.policies import CnnPolicy, MlpPolicy
from slc_agents.pytorch.export import export_policy
from slc_agents.pytorch.export.acting import DeterministicPolicy
from slc_agents.pytorch.export.formats import FORMATS
from slc_agents.pytorch.normalizer import ObservationNormalizer

Box, Dict = gymnasium.spaces.Box, gymnasium.spaces.Dict
FLAT = Box(-np.inf, np.inf, (3,), np.float32)
DICT = Dict({"b": Box(-3, 3, (2,), np.float64), "a": Box(0, 9, (1, 2), np.uint8)})
# Names that the files could have inside, and some that no variable has.
KEYS = Dict({key: Box(-1, 1, (2,)) for key in ("low", "observation", "action", "self", "a b", "é.1", "policy")})
ASYMMETRIC = Box(np.array([-2.0, 0.0, 5.0], np.float32), np.array([2.0, 1e-3, 900.0], np.float32))
UNIT = Box(-1, 1, (2,), np.float32)
SMALL_CNN = {"cnn_layers": [(4, 3, 2)], "cnn_features": 8}
MIXED = Dict(
    {
        "z": Box(0, 255, (2, 9, 8, 3), np.uint8),  # a stack
        "action": Box(0, 255, (3, 8, 9), np.uint8),
        "speed é": Box(-np.inf, np.inf, (2,), np.float64),
        "low": Box(0, 1, ()),
    }
)


class OwnEncoder(nn.Module):
    def __init__(self, observation_space: Any, width: int) -> None:
        super().__init__()
        self.n_features = width
        self.layer = nn.Linear(int(np.prod(observation_space.shape)), width)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.layer(observation.flatten(1))
        return torch.where(hidden > 0, hidden, 0.1 * hidden)


# policy, observation space, action space, policy_kwargs
CASES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "flat": ("MlpPolicy", FLAT, ASYMMETRIC, {}),
    "scalar": ("MlpPolicy", Box(-1, 1, ()), ASYMMETRIC, {}),
    "2-D": ("MlpPolicy", Box(-1, 1, (2, 3), np.float64), Box(-3, 5, (2, 2), np.float32), {}),
    "Dict": ("MlpPolicy", DICT, ASYMMETRIC, {}),
    "keys": ("MlpPolicy", KEYS, UNIT, {}),
    "one key": ("MlpPolicy", Dict({"x": FLAT}), UNIT, {}),
    "float64 actions": ("MlpPolicy", FLAT, Box(-1e6, 3.0, (2,), np.float64), {}),
    "far and narrow": ("MlpPolicy", Box(900, 1000, (2,)), Box(1000, 1000.5, (1, 1, 2)), {}),
    "normalised": ("MlpPolicy", FLAT, ASYMMETRIC, {"normalize_observations": True}),
    "normalised Dict": ("MlpPolicy", DICT, ASYMMETRIC, {"normalize_observations": True, "activation": "Tanh"}),
    "channels first": ("CnnPolicy", Box(0, 255, (3, 9, 8), np.uint8), ASYMMETRIC, SMALL_CNN),
    "channels last": ("CnnPolicy", Box(0, 255, (9, 8, 3), np.uint8), UNIT, {**SMALL_CNN, "share_encoder": True}),
    "grey": ("CnnPolicy", Box(0, 255, (9, 8), np.uint8), UNIT, SMALL_CNN),
    "own encoder": ("CnnPolicy", FLAT, UNIT, {"encoder": OwnEncoder, "encoder_kwargs": {"width": 5}}),
    "mixed": ("MultiInputPolicy", MIXED, ASYMMETRIC, {**SMALL_CNN, "normalize_observations": True}),
}
QUICK = {"torchscript": set(CASES), "torch_export": {"keys", "channels last"}, "onnx": {"mixed"}}


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
    kwargs = {"hidden_sizes": [16], **policy_kwargs}
    return SAC(policy, Still(observation_space, action_space), seed=0, policy_kwargs=kwargs)


def observations(space: Any, n: int, seed: int) -> Any:
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def as_floats(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: value.astype(np.float32) for key, value in observation.items()}
    return observation.astype(np.float32)


def as_tensors(observation: Any) -> Any:
    floats = as_floats(observation)
    if isinstance(floats, dict):
        return {key: torch.from_numpy(value) for key, value in floats.items()}
    return torch.from_numpy(floats)


def reload(path: Path) -> Callable[[Any], Any]:
    """What a user does with the file: numpy in, numpy out."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return lambda observation: session.run(
            ["action" if "action" not in (i.name for i in session.get_inputs()) else "action_"],
            as_floats(observation if isinstance(observation, dict) else {"observation": observation}),
        )[0]
    if path.suffix == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded: Any = torch.jit.load(str(path))
    else:
        loaded = torch.export.load(path).module()

    def run(observation: Any) -> Any:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return loaded(as_tensors(observation)).numpy()

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- the numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format"),
    [
        pytest.param(name, format, marks=[] if name in QUICK[format] else [pytest.mark.slow])
        for format in FORMATS
        for name in CASES
    ],
)
def test_the_file_computes_what_predict_does(tmp_path: Path, name: str, format: str) -> None:
    policy, observation_space, action_space, kwargs = CASES[name]
    model = make(observation_space, action_space, policy, **kwargs)
    if kwargs.get("normalize_observations"):
        seen = as_floats(observations(observation_space, 100, 1))
        model._learner.observe(
            {key: 5 + 3 * part for key, part in seen.items()} if isinstance(seen, dict) else 5 + 3 * seen
        )
    path = tmp_path / "new" / "folder" / f"policy{FORMATS[format].suffix}"
    model.export(path, format)
    written = reload(path)
    low, high = action_space.low.astype(np.float64), action_space.high.astype(np.float64)
    rounding = np.spacing(np.float32(np.abs(high).max()))
    for n in (1, 5):
        observation = observations(observation_space, n, n)
        action = written(observation)
        assert action.dtype == np.float32
        assert action.shape == (n, *action_space.shape)
        expected, _ = model.predict(observation, deterministic=True)
        assert (np.abs(action - expected) <= 1e-5 * (high - low) + rounding * (name == "far and narrow")).all()
        assert (action >= action_space.low.astype(np.float32)).all()
        assert (action <= action_space.high.astype(np.float32)).all()
        if isinstance(observation, dict):
            np.testing.assert_array_equal(written(dict(reversed(observation.items()))), action)
    assert names(path.parent) == [path.name, f"{path.name}.json"]


@pytest.mark.parametrize(
    "format", ["torchscript", *(pytest.param(format, marks=pytest.mark.slow) for format in ("torch_export", "onnx"))]
)
def test_saturated_actions_stay_inside_the_bounds(tmp_path: Path, format: str) -> None:
    ends = np.sort(np.random.default_rng(0).uniform(-3, 3, (2, 300)).astype(np.float32), axis=0)
    model = make(FLAT, Box(*ends))
    with torch.no_grad():
        model.policy.actor.mean.bias.fill_(100.0)
        model.policy.actor.mean.bias[::2] = -100.0
    path = tmp_path / f"policy{FORMATS[format].suffix}"
    model.export(path)
    action = reload(path)(np.zeros((1, 3), np.float32))[0]
    # Scaling alone rounds beyond some of them.
    assert (action >= ends[0]).all()
    assert (action <= ends[1]).all()
    np.testing.assert_allclose(action[1::2], ends[1, 1::2], atol=1e-5)
    np.testing.assert_allclose(action[::2], ends[0, ::2], atol=1e-5)


def test_examples_are_inside_the_bounds_and_not_too_large() -> None:
    space = Dict({"far": Box(900, 1000, (9,)), "wide": Box(-1e9, np.inf, (9,)), "image": Box(0, 255, (9,), np.uint8)})
    example = example_observation(space, 50)
    assert isinstance(example, dict)
    assert list(example) == ["far", "image", "wide"]
    for key, low, high in (("far", 900, 910), ("wide", -10, 10), ("image", 0, 255)):
        assert example[key].shape == (50, 9)
        assert low <= example[key].min() < low + 0.1 * (high - low)
        assert high >= example[key].max() > high - 0.1 * (high - low)


# -- what is in the file -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SAC, Path]:
    """One agent, and the folder with its policy in each format."""
    folder = tmp_path_factory.mktemp("exported")
    model = make(DICT, ASYMMETRIC, normalize_observations=True, hidden_sizes=[64, 64])
    model._learner.observe(observations(DICT, 100, 0))
    for format in FORMATS:
        model.export(folder / "policy", format)
    return model, folder


def test_only_what_acting_needs_is_exported(exported: tuple[SAC, Path]) -> None:
    model, folder = exported
    n_bytes = 4 * sum(parameter.numel() for parameter in model.policy.actor.parameters())
    for name, overhead in (("policy.pt", 40_000), ("policy.pt2", 50_000), ("policy.onnx", 10_000)):
        # The critics would be another 84 kB. ONNX can do without the standard deviation's layer.
        assert n_bytes - 4 * 65 * 3 < (folder / name).stat().st_size < n_bytes + overhead
    model = make(Box(0, 255, (9, 8), np.uint8), UNIT, "CnnPolicy", share_encoder=True, **SMALL_CNN)
    module = DeterministicPolicy(model.policy, as_tensors(example_observation(model.observation_space, 2)))
    # The shared encoder was the critics'; it is the actor's here, so that the file can be moved to another device.
    assert {name.split(".")[1] for name, _ in module.named_parameters()} == {"actor"}
    n_shared = sum(p.numel() for p in model.policy.critic.encoder.parameters())
    n_actor = sum(p.numel() for p in model.policy.actor.parameters())
    assert sum(p.numel() for p in module.parameters()) == n_actor + n_shared


def test_a_frozen_normaliser_is_the_same_to_the_last_bit() -> None:
    normalizer = ObservationNormalizer(4)
    normalizer.observe(torch.randn(99, 4, generator=torch.Generator().manual_seed(0)) * 3 + 7)
    observation = 50 * torch.randn(1000, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(normalizer.frozen()(observation), normalizer(observation))
    assert {tensor.dtype for tensor in normalizer.frozen().state_dict().values()} == {torch.float32}


def test_onnx_inputs_are_the_keys_sorted(exported: tuple[SAC, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1] / "policy.onnx")
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [(i.name, i.shape, i.type) for i in inputs] == [
        ("a", ["batch", 1, 2], "tensor(float)"),
        ("b", ["batch", 2], "tensor(float)"),
    ]
    assert [(o.name, o.shape, o.type) for o in outputs] == [("action", ["batch", 3], "tensor(float)")]


def test_an_onnx_file_is_valid_float32_and_tells_nothing_of_the_machine(exported: tuple[SAC, Path]) -> None:
    import onnx

    model = onnx.load(exported[1] / "policy.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert {tensor.data_type for tensor in model.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert b"slc_agents" not in (exported[1] / "policy.onnx").read_bytes()
    assert b".py" not in (exported[1] / "policy.onnx").read_bytes()


def test_the_json_file(exported: tuple[SAC, Path], tmp_path: Path) -> None:
    for format, written in FORMATS.items():
        file = exported[1] / f"policy{written.suffix}"
        description = json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))
        versions = description.pop("versions")
        assert versions["slc_agents"] == slc_agents.__version__
        assert versions["torch"] == torch.__version__
        assert versions.get("onnx_opset") == (18 if format == "onnx" else None)
        assert ("onnx" in versions) == (format == "onnx")
        assert description == {
            "format": format,
            "agent": "SAC",
            "env_id": None,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "observation": "dict",
            "inputs": [
                {
                    "name": "a",
                    "shape": ["batch", 1, 2],
                    "dtype": "float32",
                    "low": 0,
                    "high": 9,
                    "units": "the environment's own, whole numbers (uint8), not divided by 255",
                },
                {
                    "name": "b",
                    "shape": ["batch", 2],
                    "dtype": "float32",
                    "low": -3,
                    "high": 3,
                    "units": "the environment's own, not normalised",
                },
            ],
            "outputs": [
                {
                    "name": "action",
                    "shape": ["batch", 3],
                    "dtype": "float32",
                    "low": [-2.0, 0.0, 5.0],
                    "high": [2.0, pytest.approx(1e-3), 900.0],
                    "units": "the environment's own",
                }
            ],
        }


def test_the_json_file_of_a_named_environment(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"hidden_sizes": [8]})
    model.save(tmp_path / "agent.zip")
    SAC.load(tmp_path / "agent.zip").export(tmp_path / "policy.pt")
    description = json.loads((tmp_path / "policy.pt.json").read_text(encoding="utf-8"))
    assert description["env_id"] == "Pendulum-v1"
    assert description["observation"] == "tensor"
    assert [port["name"] for port in description["inputs"]] == ["observation"]
    assert description["outputs"][0]["low"] == -2.0  # the same for all
    make(FLAT).export(tmp_path / "unbounded")
    description = json.loads((tmp_path / "unbounded.pt.json").read_text(encoding="utf-8"))
    assert (description["inputs"][0]["low"], description["inputs"][0]["high"]) == ("-inf", "inf")


# -- where the package is not ------------------------------------------------------------------------------------------

BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import warnings; warnings.simplefilter("ignore", DeprecationWarning)
import numpy as np
observation = dict(np.load("observation.npz"))
"""
WITH_TORCH = """
import torch
observation = {key: torch.from_numpy(value) for key, value in observation.items()}
np.save("policy.pt.npy", torch.jit.load("policy.pt")(observation).numpy())
np.save("policy.pt2.npy", torch.export.load("policy.pt2").module()(observation).detach().numpy())
"""
WITH_ONNX_RUNTIME = """
import onnxruntime
np.save("policy.onnx.npy", onnxruntime.InferenceSession("policy.onnx").run(["action"], observation)[0])
"""


@pytest.mark.parametrize(
    ("code", "files", "blocked"),
    [
        (WITH_TORCH, ["policy.pt", "policy.pt2"], ("slc_agents", "gymnasium")),
        (WITH_ONNX_RUNTIME, ["policy.onnx"], ("slc_agents", "gymnasium", "torch", "onnxscript")),
    ],
)
def test_it_loads_where_the_package_is_not(
    exported: tuple[SAC, Path], code: str, files: list[str], blocked: tuple[str, ...]
) -> None:
    model, folder = exported
    observation = observations(DICT, 3, 0)
    np.savez(folder / "observation.npz", **as_floats(observation))
    prologue = BLOCKED.format(blocked=blocked)
    attempts = "".join(
        f"\ntry: import {name}\nexcept ImportError: pass\nelse: raise SystemExit('{name} is there')" for name in blocked
    )
    subprocess.run([sys.executable, "-c", prologue + attempts + code], cwd=folder, check=True, timeout=300)
    expected, _ = model.predict(observation, deterministic=True)
    for name in files:
        difference = np.abs(np.load(folder / f"{name}.npy") - expected)
        assert (difference <= 1e-5 * (ASYMMETRIC.high - ASYMMETRIC.low)).all()


# -- what can't be exported --------------------------------------------------------------------------------------------


class Branching(MlpPolicy):
    def features(self, observation: Any) -> torch.Tensor:
        flat = self.flatten(observation)
        return flat if bool(flat.sum() > 1e9) else -flat  # never true in the examples


class Constant(MlpPolicy):
    def features(self, observation: Any) -> torch.Tensor:
        flat = self.flatten(observation)
        return flat * torch.tensor(flat.detach().numpy().mean())  # a trace keeps the number of its example


class BranchingEncoder(OwnEncoder):
    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return super().forward(observation) if bool(observation.mean() < 1e9) else observation[:, : self.n_features]


class BranchingCnnPolicy(CnnPolicy):
    def __init__(self, *spaces: Any, hidden_sizes: Any) -> None:
        super().__init__(*spaces, encoder=BranchingEncoder, encoder_kwargs={"width": 3}, hidden_sizes=hidden_sizes)


@pytest.mark.parametrize("policy", [Branching, Constant, BranchingCnnPolicy])
@pytest.mark.parametrize("format", ["torchscript", "torch_export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_policy_that_can_not_be_followed_is_refused(tmp_path: Path, policy: Any, format: str) -> None:
    model = make(policy=policy)
    path = tmp_path / f"policy{FORMATS[format].suffix}"
    with pytest.raises(ExportError, match="nothing was written"):
        model.export(path)
    assert names(tmp_path) == []
    path.write_bytes(b"older")
    Path(f"{path}.json").write_bytes(b"older too")
    with pytest.raises(ExportError, match="nothing was written"):
        model.export(path)
    assert names(tmp_path) == [path.name, f"{path.name}.json"]
    assert path.read_bytes() == b"older"
    assert Path(f"{path}.json").read_bytes() == b"older too"


@pytest.mark.slow
def test_an_operation_that_the_format_lacks_is_named(tmp_path: Path) -> None:
    model = make(output_activation={"actor": "RReLU"})
    with pytest.raises(ExportError, match=r"onnx, nothing was written.*rrelu"):
        model.export(tmp_path / "policy.onnx")
    assert names(tmp_path) == []


class Optimist(MlpPolicy):
    """Acts by what its critics say."""

    def features(self, observation: Any) -> torch.Tensor:
        flat = self.flatten(observation)
        value: torch.Tensor = self.critic(flat, torch.zeros(flat.shape[0], 3))
        return flat * value.amin(0).unsqueeze(1)


def test_a_policy_that_acts_by_its_critics_keeps_them(tmp_path: Path) -> None:
    model = make(policy=Optimist)
    model.export(tmp_path / "policy.pt2")
    observation = observations(FLAT, 4, 0)
    expected, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(reload(tmp_path / "policy.pt2")(observation), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda action: action[:, :2], r"\(1, 2\).*float32 \(1, 3\)"),
        (lambda action: action.double(), "float64"),
        (lambda action: action + 0.1, "differ"),
        (lambda action: action + torch.nan, "differ"),
        (lambda action: action.view(2, 3)[:1], "any batch size"),
    ],
)
def test_what_was_written_wrongly_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any, message: str
) -> None:
    right = DeterministicPolicy.forward
    monkeypatch.setattr(DeterministicPolicy, "forward", lambda self, observation: wrong(right(self, observation)))
    with pytest.raises(ExportError, match=message):
        make().export(tmp_path / "policy.pt")
    assert names(tmp_path) == []


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"{module}.*slc-agents\[onnx\]"):
        make().export(tmp_path / "new" / "policy.onnx")
    assert names(tmp_path) == []
    make().export(tmp_path / "policy.pt")  # needs none of them


# -- around it ---------------------------------------------------------------------------------------------------------


def test_exporting_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    model = make(normalize_observations=True)
    before, stream = model.get_parameters(), torch.random.get_rng_state()
    parameters = list(model.policy.parameters())
    flags = [p.requires_grad for p in parameters]
    for format, written in FORMATS.items():
        if format != "onnx":  # which is torch_export, translated
            export_policy(model.policy, tmp_path / f"policy{written.suffix}", format)
    assert torch.equal(torch.random.get_rng_state(), stream)
    assert all(one is other for one, other in zip(model.policy.parameters(), parameters, strict=True))
    assert [p.requires_grad for p in parameters] == flags
    assert all(not module.training for module in model.policy.modules())
    for name, array in model.get_parameters().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("path", "format", "file"),
    [
        ("a", None, "a.pt"),
        ("a.pt", None, "a.pt"),
        ("b", "torchscript", "b.pt"),
        ("c.v2", "torchscript", "c.v2"),
        ("c.v2", "torch_export", "c.v2"),
        ("d.pt2", None, "d.pt2"),
    ],
)
def test_suffixes(tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, format: str | None, file: str) -> None:
    make().export(tmp_path / path, format)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert names(tmp_path) == [file, f"{file}.json"]
    written = json.loads((tmp_path / f"{file}.json").read_text(encoding="utf-8"))
    assert written["format"] == (format or ("torch_export" if file == "d.pt2" else "torchscript"))


@pytest.mark.parametrize(("path", "format"), [("a.xyz", None), ("a.pt", "tensorrt"), ("a.onnx", "torchscript")])
def test_unknown_formats(tmp_path: Path, path: str, format: str | None) -> None:
    with pytest.raises(ValueError, match=r"torchscript \(\.pt\), onnx \(\.onnx\), torch_export \(\.pt2\)"):
        make().export(tmp_path / path, format)
    with pytest.raises(ValueError, match=r"tensorrt.*torchscript"):
        export_policy(make().policy, tmp_path / "a.pt", "tensorrt")
    assert names(tmp_path) == []
