"""Weights that stable-learning-control saved, as the start of an agent.

What that library computes stands here once more in plain torch: a state dict in its layout, an action, a value.
"""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from slc_agents import LAC, SAC
from slc_agents.compat.slc import lac, read_weights, sac
from slc_agents.errors import ArchiveError

LOW, HIGH = torch.tensor([-3.0, 0.5]), torch.tensor([1.0, 40.0])
N_OBSERVATIONS, HIDDEN = 3, {"actor": [7, 6], "critic": [5, 9]}
SMALL: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": HIDDEN},
    "replay_size": 100,
    "num_test_episodes": 0,
    "seed": 0,
}


class LopsidedEnv(gymnasium.Env[Any, Any]):
    """Takes actions in bounds of which none is another's negative."""

    metadata: ClassVar[dict[str, Any]] = {}
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (N_OBSERVATIONS,), np.float32)
    action_space = gymnasium.spaces.Box(LOW.numpy(), HIGH.numpy(), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 1.0, False, True, {}


class ByteEnv(LopsidedEnv):
    """Shows bytes."""

    observation_space = gymnasium.spaces.Box(0, 255, (N_OBSERVATIONS,), np.uint8)


def make_state(algorithm: str = "SAC") -> OrderedDict[str, Any]:
    """A state dict as the library saves it: every linear layer [out, in], and log alpha in float64."""
    generator = torch.Generator().manual_seed(1)
    state: OrderedDict[str, Any] = OrderedDict(log_alpha=torch.tensor(np.log(0.3)))

    def add(name: str, n_inputs: int, n_outputs: int) -> None:
        state[f"{name}.weight"] = torch.randn(n_outputs, n_inputs, generator=generator) / n_inputs**0.5
        state[f"{name}.bias"] = torch.randn(n_outputs, generator=generator)

    for copy in ("ac", "ac_targ"):
        add(f"{copy}.pi.net.0", N_OBSERVATIONS, 7)
        add(f"{copy}.pi.net.2", 7, 6)
        add(f"{copy}.pi.mu_layer", 6, 2)
        add(f"{copy}.pi.log_std_layer", 6, 2)
        for critic in ("Q1", "Q2"):
            add(f"{copy}.{critic}.Q.0", N_OBSERVATIONS + 2, 5)
            add(f"{copy}.{critic}.Q.2", 5, 9)
            add(f"{copy}.{critic}.Q.4", 9, 1)
    state["alg_name"] = algorithm
    return state


def layer(state: dict[str, Any], name: str, x: Tensor) -> Tensor:
    return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def hidden(state: dict[str, Any], observation: Tensor) -> Tensor:
    return layer(state, "ac.pi.net.2", layer(state, "ac.pi.net.0", observation).relu()).relu()


def their_action(state: dict[str, Any], observation: Tensor) -> Tensor:
    """The deterministic action: the squashed mean, from [-1, 1] to the bounds."""
    mean = layer(state, "ac.pi.mu_layer", hidden(state, observation))
    return (torch.tanh(mean) + 1.0) * (HIGH - LOW) / 2 + LOW


def their_values(state: dict[str, Any], copy: str, observation: Tensor, action: Tensor) -> Tensor:
    """Values [2, B] of actions in the environment's units."""
    values = []
    for name in (f"{copy}.Q1.Q", f"{copy}.Q2.Q"):
        x = torch.cat([observation, action], dim=-1)
        x = layer(state, f"{name}.2", layer(state, f"{name}.0", x).relu()).relu()
        values.append(layer(state, f"{name}.4", x).squeeze(-1))
    return torch.stack(values)


def save_run(folder: Path, state: Any = None, opt_type: str | None = None) -> Path:
    """Saves a run as the library does; returns the file of weights."""
    file = folder / "torch_save" / "model_state.pt"
    file.parent.mkdir(parents=True)
    torch.save(make_state() if state is None else state, file)
    if opt_type is not None:
        info = {"alg_name": "SAC", "setup_kwargs": {"opt_type": opt_type, "gamma": 0.99}}
        (file.parent / "save_info.json").write_text(json.dumps(info), encoding="utf-8")
    return file


def our_values(model: Any, critic: str, observation: Any, action: Tensor) -> Tensor:
    internal = (action - LOW) / (HIGH - LOW) * 2 - 1
    with torch.no_grad():
        values: Tensor = getattr(model.policy, critic)(model.policy.features(torch.as_tensor(observation)), internal)
    return values


def check_same(model: Any, state: dict[str, Any], observation: NDArray[Any], sign: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(2)
    as_floats = torch.as_tensor(observation).float()
    np.testing.assert_allclose(
        model.predict(observation, deterministic=True)[0], their_action(state, as_floats), rtol=1e-6, atol=1e-6
    )
    action = LOW + (HIGH - LOW) * torch.rand(len(observation), 2, generator=generator)
    for theirs, ours in (("ac", "critic"), ("ac_targ", "critic_target")):
        expected = sign * their_values(state, theirs, as_floats, action)
        assert expected.std() > 0.1
        np.testing.assert_allclose(our_values(model, ours, observation, action), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def observation() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(32, N_OBSERVATIONS)).astype(np.float32)


@pytest.mark.parametrize("start", [".", "torch_save", "torch_save/model_state.pt"])
def test_an_agent_starts_from_them_and_computes_the_same(
    tmp_path: Path, observation: NDArray[np.float32], start: str
) -> None:
    save_run(tmp_path)
    model = SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=tmp_path / start)
    state = make_state()
    check_same(model, state, observation)
    log_std = layer(state, "ac.pi.log_std_layer", hidden(state, torch.as_tensor(observation)))
    with torch.no_grad():
        np.testing.assert_allclose(
            model.policy.actor.log_std(model.policy.actor.trunk(torch.as_tensor(observation))),
            log_std,
            rtol=1e-5,
            atol=1e-6,
        )
    assert model.get_parameters()["alpha/log_value"] == np.float32(np.log(0.99))  # starts fresh


def test_critics_of_a_cost_are_turned_into_those_of_its_negative(
    tmp_path: Path, observation: NDArray[np.float32]
) -> None:
    """Ours learn the return of -cost."""
    start = save_run(tmp_path / "it_says_so", opt_type="Minimize")
    check_same(SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start), make_state(), observation, -1.0)
    start = save_run(tmp_path / "it_says_otherwise", opt_type="maximize")
    minimize = {**SMALL, "opt_type": "minimize"}
    check_same(SAC("MlpPolicy", LopsidedEnv, **minimize, start_policy=start), make_state(), observation)
    start = save_run(tmp_path / "it_says_nothing")
    check_same(SAC("MlpPolicy", LopsidedEnv, **minimize, start_policy=start), make_state(), observation, -1.0)
    kwargs = {"hidden_sizes": HIDDEN, "output_activation": {"critic": "Softplus"}}
    with pytest.raises(ValueError, match=r"learned costs.*'Identity'"):
        SAC("MlpPolicy", LopsidedEnv, **{**minimize, "policy_kwargs": kwargs}, start_policy=start)


def test_a_checkpoint_is_read_with_what_the_run_says_of_it(tmp_path: Path, observation: NDArray[np.float32]) -> None:
    file = save_run(tmp_path, opt_type="minimize")
    checkpoint = file.parent / "checkpoints" / "iter10" / file.name
    checkpoint.parent.mkdir(parents=True)
    file.rename(checkpoint)
    check_same(SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=checkpoint), make_state(), observation, -1.0)


@pytest.mark.parametrize("text", ["{", "[]", '{"setup_kwargs": {}}', '{"setup_kwargs": {"opt_type": "both"}}'])
def test_a_file_beside_that_says_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    file = save_run(tmp_path)
    (file.parent / "save_info.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArchiveError, match=r"save_info.json.*opt_type"):
        SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=file)


def test_bytes_are_seen_divided_here_and_undivided_there(tmp_path: Path) -> None:
    state = make_state()
    for name in [name for name in state if name.endswith(".0.weight")]:
        state[name][:, :N_OBSERVATIONS] /= 255
    start = save_run(tmp_path, state)
    observation = np.random.default_rng(0).integers(0, 256, (32, N_OBSERVATIONS), np.uint8)
    check_same(SAC("MlpPolicy", ByteEnv, **SMALL, start_policy=start), state, observation)


def test_parts(tmp_path: Path) -> None:
    start = save_run(tmp_path)
    fresh = SAC("MlpPolicy", LopsidedEnv, **SMALL).get_parameters()
    model = SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start, start_policy_parts=["temperature"])
    tensors = model.get_parameters()
    assert tensors.pop("alpha/log_value") == np.float32(np.log(0.3))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, fresh[name], name)
    for part in ("optimizers", "buffer"):
        with pytest.raises(ValueError, match=f"networks and temperature alone. Leave out {part}"):
            SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start, start_policy_parts=["networks", part])


def test_the_function_of_that_library_takes_them(tmp_path: Path, observation: NDArray[np.float32]) -> None:
    save_run(tmp_path)
    short: dict[str, Any] = {"epochs": 1, "steps_per_epoch": 4, "num_test_episodes": 0, "replay_size": 9}
    policy, _ = sac(LopsidedEnv, ac_kwargs={"hidden_sizes": HIDDEN}, start_policy=str(tmp_path), **short)
    with torch.no_grad():
        ours = policy.actor.mean_action(torch.as_tensor(observation))
    expected = (their_action(make_state(), torch.as_tensor(observation)) - LOW) / (HIGH - LOW) * 2 - 1
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_an_agent_that_is_there_takes_them(tmp_path: Path, observation: NDArray[np.float32]) -> None:
    save_run(tmp_path)
    model = SAC("MlpPolicy", LopsidedEnv, **SMALL)
    model.set_parameters(model.get_parameters() | read_weights(tmp_path, model))
    check_same(model, make_state(), observation)
    assert model.get_parameters()["alpha/log_value"] == np.float32(np.log(0.3))
    with pytest.raises(FileNotFoundError, match=r"model_state.pt"):
        read_weights(tmp_path / "nowhere", model)


def test_an_agent_of_this_package_wins_whatever_its_file_is_called(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", LopsidedEnv, **{**SMALL, "seed": 5})
    save_run(tmp_path)
    for path, start in ((tmp_path / "agent.zip", tmp_path), (tmp_path / "agent.pt", tmp_path / "agent.pt")):
        model.save(path)
        warm = SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start)
        np.testing.assert_array_equal(
            warm.get_parameters()["actor/mean/weight"], model.get_parameters()["actor/mean/weight"]
        )


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    start = save_run(tmp_path)
    for kwargs, name in (
        ({"hidden_sizes": {"actor": [8, 6], "critic": [5, 9]}}, "actor/trunk/0/weight"),
        ({"hidden_sizes": {"actor": [7], "critic": [5, 9]}}, "actor/mean/weight"),
        ({"hidden_sizes": {"actor": [7, 6, 4], "critic": [5, 9]}}, "actor/trunk/2/weight"),
        ({"hidden_sizes": HIDDEN, "n_critics": 3}, "critic/2/trunk/0/weight"),
        ({"hidden_sizes": HIDDEN, "normalize_observations": True}, "normalizer/"),
    ):
        with pytest.raises(ValueError, match=f"model_state.pt doesn't fit this agent: tensor '{name}"):
            SAC("MlpPolicy", LopsidedEnv, **{**SMALL, "policy_kwargs": kwargs}, start_policy=start)
    with pytest.raises(
        ValueError, match=r"doesn't fit this agent: tensor 'actor/trunk/0/weight' has 3 rows.* 2 inputs"
    ):
        SAC("MlpPolicy", "MountainCarContinuous-v0", **SMALL, start_policy=start)
    with pytest.raises(
        ValueError, match=r"doesn't fit this agent: tensor 'critic/0/trunk/0/weight' has 5 rows.* 4 inputs"
    ):
        SAC("MlpPolicy", "Pendulum-v1", **SMALL, start_policy=start)


def make_lac_state(twin: bool = False, log_labda: float = -0.7) -> dict[str, Any]:
    """A state dict of LAC, or of LATC: all layers of a critic but the last one of Q, and the sum of their squares."""
    names = {"Q1.Q": "L.L", "Q2.Q": "L2.L"} if twin else {"Q1.Q": "L.L"}
    state = {name: value for name, value in make_state("LAC").items() if ".Q.4." not in name}
    for theirs, name in names.items():
        state = {key.replace(theirs, name): value for key, value in state.items()}
    return {
        "log_labda": torch.tensor(log_labda, dtype=torch.float64),
        **{key: value for key, value in state.items() if ".Q2." not in key},
    }


def their_lyapunov_values(state: dict[str, Any], name: str, observation: Tensor, action: Tensor) -> Tensor:
    x = torch.cat([observation, action], dim=-1)
    return (layer(state, f"{name}.2", layer(state, f"{name}.0", x).relu()).relu() ** 2).sum(-1)


@pytest.mark.parametrize("twin", [False, True])
def test_lac_computes_what_theirs_computes(tmp_path: Path, observation: NDArray[np.float32], twin: bool) -> None:
    state = make_lac_state(twin)
    kwargs = {**SMALL, "policy_kwargs": {"hidden_sizes": HIDDEN, "n_critics": 1 + twin}}
    start = save_run(tmp_path, state)
    model = LAC("MlpPolicy", LopsidedEnv, **kwargs, start_policy=start, start_policy_parts=("networks", "temperature"))
    o = torch.from_numpy(observation)
    np.testing.assert_allclose(
        model.predict(observation, deterministic=True)[0], their_action(state, o), rtol=1e-6, atol=1e-6
    )
    target = {name.replace("ac_targ.", "ac."): value for name, value in state.items() if "ac_targ." in name}
    with torch.no_grad():
        mean = model.policy.actor_target.mean_action(model.policy.features(o))
    np.testing.assert_allclose((mean + 1.0) * (HIGH - LOW) / 2 + LOW, their_action(target, o), rtol=1e-5, atol=1e-5)
    action = LOW + (HIGH - LOW) * torch.rand(len(o), 2, generator=torch.Generator().manual_seed(2))
    for theirs, ours in (("ac", "critic"), ("ac_targ", "critic_target")):
        names = [f"{theirs}.L.L", f"{theirs}.L2.L"][: 1 + twin]
        expected = torch.stack([their_lyapunov_values(state, name, o, action) for name in names])
        assert expected.std() > 0.1
        np.testing.assert_allclose(our_values(model, ours, observation, action), expected, rtol=1e-5, atol=1e-5)
    parameters = model.get_parameters()
    assert parameters["alpha/log_value"] == np.float32(np.log(0.3))
    assert parameters["labda/log_value"] == np.float32(-0.7)
    assert set(read_weights(start, model)) == {name for name in parameters if not name.startswith("optimizer/")}


def test_lac_s_multiplier_above_its_bound_starts_at_it(tmp_path: Path) -> None:
    start = save_run(tmp_path, make_lac_state(log_labda=3.0))
    model = LAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start, start_policy_parts=("temperature",))
    assert model.get_parameters()["labda/log_value"] == 0.0


def test_the_function_lac_starts_from_theirs(tmp_path: Path) -> None:
    start = save_run(tmp_path, make_lac_state())
    short: dict[str, Any] = {"epochs": 1, "steps_per_epoch": 10, "num_test_episodes": 0, "replay_size": 50, "seed": 0}
    policy, _ = lac(LopsidedEnv, ac_kwargs={"hidden_sizes": HIDDEN}, start_policy=str(start), **short)
    model = LAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start)
    for ours, theirs in zip(policy.parameters(), model.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)  # nothing was learned in ten steps


@pytest.mark.parametrize(
    ("make", "n_critics", "message"),
    [
        (make_state, 1, "an agent of SAC, has no tensor 'ac.L.L.0.weight'"),
        (make_lac_state, 2, "an agent of LAC, has no tensor 'ac.L2.L.0.weight'"),
        (lambda: make_lac_state(twin=True), 1, "an agent of LAC, has a tensor 'ac.L2.L.0.weight'"),
        (lambda: {k: v for k, v in make_lac_state().items() if k != "log_labda"}, 1, "has no tensor 'log_labda'"),
    ],
)
def test_what_is_no_lac_of_that_kind_is_refused(
    tmp_path: Path, make: Callable[[], Any], n_critics: int, message: str
) -> None:
    start = save_run(tmp_path, make())
    kwargs = {**SMALL, "policy_kwargs": {"hidden_sizes": HIDDEN, "n_critics": n_critics}}
    with pytest.raises(ValueError, match=f"not an agent of LAC as .*{message}"):
        LAC("MlpPolicy", LopsidedEnv, **kwargs, start_policy=start)


def without(name: str) -> Callable[[], dict[str, Any]]:
    return lambda: {key: value for key, value in make_state().items() if key != name}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_lac_state, "an agent of LAC, has no tensor 'ac.Q1.Q.0.weight'"),
        (without("ac.pi.mu_layer.bias"), "has no tensor 'ac.pi.mu_layer.bias'"),
        (without("log_alpha"), "has no tensor 'log_alpha'"),
        (lambda: make_state() | {"log_labda": torch.zeros(())}, "has a tensor 'log_labda'"),
        (lambda: make_state() | {"epoch": 3}, "has 'epoch', which is no tensor"),
        (lambda: make_state() | {"log_alpha": torch.tensor(1)}, "has 'log_alpha', which is no tensor of floating"),
        (lambda: make_state() | {"ac.Q1.Q.0.bias": torch.zeros(())}, r"'ac.Q1.Q.0.bias' have shapes \(5, 5\) and \(\)"),
        (lambda: torch.zeros(3), "holds one ndarray"),
        (lambda: {"log_alpha": Path("x")}, "without running code"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, make: Callable[[], Any], message: str) -> None:
    start = save_run(tmp_path, make())
    with pytest.raises(ValueError, match=f"model_state.pt.*{message}"):
        SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start)


class RunsCode:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    evidence = tmp_path / "it ran"
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps({"log_alpha": RunsCode(evidence)}))
    for start in (save_run(tmp_path, {"log_alpha": RunsCode(evidence)}), plain):
        with pytest.raises(ArchiveError, match="without running code"):
            SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start)
    assert not evidence.exists()
    pickle.loads(plain.read_bytes())  # our own; it would have been seen
    assert evidence.exists()


def test_damaged_files_and_exports_are_refused(tmp_path: Path) -> None:
    whole = save_run(tmp_path).read_bytes()
    SAC("MlpPolicy", LopsidedEnv, **SMALL).export(tmp_path / "exported.pt")
    exported = (tmp_path / "exported.pt").read_bytes()
    for content in (b"", b"text", whole[:300], whole[:-50], exported):
        (tmp_path / "damaged.pt").write_bytes(content)
        with pytest.raises(ArchiveError, match=r"damaged.pt: no weights that can be read"):
            SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=tmp_path / "damaged.pt")


def test_files_that_are_not_there_and_those_of_tensorflow(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*model_state.pt"):
        SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=tmp_path / "model_state.pt")
    (tmp_path / "empty" / "torch_save").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no file .*model_state.pt"):
        SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=tmp_path / "empty")
    weights = tmp_path / "run" / "tf2_save" / "weights_checkpoint"
    weights.parent.mkdir(parents=True)
    weights.with_name("weights_checkpoint.index").touch()
    for start in (weights, weights.parent, weights.parent.parent):
        with pytest.raises(ArchiveError, match=r"weights of TensorFlow.*torch_save"):
            SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=start)
    with pytest.raises(ArchiveError, match=r"a folder without agent\.zip"):
        SAC("MlpPolicy", LopsidedEnv, **SMALL, start_policy=tmp_path)
