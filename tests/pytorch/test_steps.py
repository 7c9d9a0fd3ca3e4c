"""Recorded gradient steps: the same as those that the learner writes, recorded anew whenever they would not be.

They are recorded on the CPU here. A CUDA graph, too, repeats operations on fixed memory, and nothing of Python.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from slc_agents import SAC
from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer
from slc_agents.compute import ComputeOptions
from slc_agents.errors import ConfigError
from slc_agents.pytorch import learner as learner_module
from slc_agents.pytorch.accelerate import ComputePlan, choose_plan
from slc_agents.pytorch.batches import TensorBatch, leaves
from slc_agents.pytorch.device_memory import DeviceMemory
from slc_agents.pytorch.multiplier import make_multiplier
from slc_agents.pytorch.optimizer import NoOptimizer
from slc_agents.pytorch.policies import CnnPolicy, MlpPolicy, make_policy
from slc_agents.pytorch.recorders import CpuRecorder
from slc_agents.pytorch.sac import SACLearner
from slc_agents.pytorch.steps import EagerSteps, GraphedSteps

ACTION = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
IMAGE = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
DICT = gymnasium.spaces.Dict({"camera": IMAGE, "state": BOX})
SMALL_CNN: dict[str, Any] = {"cnn_layers": [(4, 3, 2)], "cnn_features": 8}
RATES = {"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 1e-2}
CUDA = torch.device("cuda", 0)


def make_buffer(learner: Any, n: int = 30, capacity: int = 50, seed: int = 0, ends: float = 0.2) -> ReplayBuffer:
    space, horizon = learner.policy.observation_space, getattr(learner, "horizon_length", 0)
    buffer = (
        FiniteHorizonReplayBuffer(capacity, space, ACTION, seed=seed, horizon_length=horizon)
        if horizon
        else ReplayBuffer(capacity, space, ACTION, seed=seed)
    )
    add(buffer, n, seed, ends)
    return buffer


def add(buffer: ReplayBuffer, n: int, seed: int = 0, ends: float = 0.2) -> None:
    rng = np.random.default_rng(seed)

    def draw(space: Any) -> Any:
        if isinstance(space, gymnasium.spaces.Dict):
            return {key: draw(box) for key, box in space.spaces.items()}
        if space.dtype == np.uint8:
            return rng.integers(0, 256, (1, *space.shape), np.uint8)
        return rng.standard_normal((1, *space.shape))

    for _ in range(n):
        o, o2 = draw(buffer.observation_space), draw(buffer.observation_space)
        buffer.add(o, rng.uniform(-1, 1, (1, 2)), rng.standard_normal(1), o2, rng.random(1) < ends, rng.random(1) < 0.1)


class CountingRecorder(CpuRecorder):
    """Records at once, as on a device where replays may differ from the steps themselves."""

    is_exact = False
    n_warm_up = n_recorded = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        self.n_warm_up += 1
        super().warm_up(work)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.n_recorded += 1
        return super().record(work)


@pytest.fixture
def make_pair(make_learner: Any, make_lac_learner: Any) -> Callable[..., Any]:
    """Makes two learners that are equal but for how they do their steps, each with a buffer of its own."""

    def make(*args: Any, mirror: bool | None = True, algorithm: str = "SAC", **kwargs: Any) -> Any:
        pair = [{"SAC": make_learner, "LAC": make_lac_learner}[algorithm](*args, **kwargs) for _ in range(2)]
        recorder = CountingRecorder()
        pair[0].steps, pair[1].steps = EagerSteps(), GraphedSteps(recorder)
        pair[1].compute = ComputeOptions(graphs=True, replay_on_device=mirror)
        for learner in pair:
            learner.set_learning_rates(RATES)
            if algorithm == "LAC":
                learner.set_learning_rates({"lr_labda": 1e-2})
        return pair, [make_buffer(learner) for learner in pair], recorder

    return make


def assert_equal(pair: Any) -> None:
    ours, theirs = (learner.state_dict() for learner in pair)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert pair[0].metrics_state() == pair[1].metrics_state()


# -- the same numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize(
    ("space", "policy", "kwargs"),
    [
        (BOX, "MlpPolicy", {}),
        (BOX, "MlpPolicy", {"normalize_observations": True, "n_critics": 3}),
        (BOX, "MlpPolicy", {"activation": "ELU"}),
        (BOX, "MlpPolicy", {"adaptive_temperature": False}),
        (BOX, "GSDEPolicy", {}),
        (IMAGE, "CnnPolicy", SMALL_CNN),
        (IMAGE, "CnnPolicy", {**SMALL_CNN, "share_encoder": True}),
        (DICT, "MultiInputPolicy", {**SMALL_CNN, "normalize_observations": True}),
        (BOX, "MlpPolicy", {"algorithm": "LAC", "normalize_observations": True}),
        (BOX, "MlpPolicy", {"algorithm": "LAC", "n_critics": 2, "horizon_length": 3}),
        (IMAGE, "CnnPolicy", {**SMALL_CNN, "algorithm": "LAC", "share_encoder": True}),
    ],
)
def test_replays_do_what_the_steps_do(make_pair: Any, space: Any, policy: str, kwargs: Any, mirror: bool) -> None:
    pair, buffers, recorder = make_pair(space, ACTION, policy, mirror=mirror, **kwargs)
    for block, n in enumerate((1, 3, 2)):
        for learner, buffer in zip(pair, buffers, strict=True):
            if kwargs.get("normalize_observations"):
                learner.observe(buffer.gather([block]).observation)
            learner.update(buffer, n)
            learner.set_learning_rates({"lr_a": 1e-3 / (block + 1)})
            add(buffer, 9, seed=block)
    assert_equal(pair)
    assert (recorder.n_warm_up, recorder.n_recorded) == (1, 1)
    steps = {int(array) for name, array in pair[1].state_dict().items() if name.endswith("/step")}
    assert steps == {6}  # those of the warm-up don't count


def test_other_terminal_costs_are_recorded_anew(make_pair: Any) -> None:
    pair, buffers, recorder = make_pair(algorithm="LAC")
    for learner, buffer in zip(pair, buffers, strict=True):
        learner.update(buffer, 2)
        learner.terminal_target = learner.terminal_value = (3.0, 0.0)
        learner.update(buffer, 2)
    assert recorder.n_recorded == 2
    assert_equal(pair)


def test_exact_replays_begin_when_nothing_has_changed_for_a_block(make_pair: Any) -> None:
    pair, buffers, recorder = make_pair()
    recorder.is_exact = True
    for block in range(6):
        for learner, buffer in zip(pair, buffers, strict=True):
            if block < 3:
                learner.target_entropy = -2 - block  # whole numbers count too
            learner.update(buffer, 2)
        assert recorder.n_recorded == (block > 2)
    assert_equal(pair)


def test_what_cannot_be_recorded_runs_as_it_is_written(make_pair: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "slc_agents")
    pair, buffers, _ = make_pair()
    for learner, buffer in zip(pair, buffers, strict=True):
        learner.compute = ComputeOptions()  # nobody has asked for graphs
        step = learner.step
        learner.step = lambda batch, noise, step=step: step(batch, noise * float(noise.sum() > 0))
        learner.update(buffer, 3)
        learner.update(buffer, 2)
    assert_equal(pair)
    (message,) = caplog.messages  # not with each block again
    assert message.startswith("gradient steps run one operation at a time after all, for one could not be recorded: ")


def test_a_replaced_multiplier_counts(make_pair: Any) -> None:
    pair, buffers, recorder = make_pair()
    for learner, buffer in zip(pair, buffers, strict=True):
        learner.update(buffer, 1)
        learner.alpha = make_multiplier(0.1, learned=False)
        learner.optimizers["alpha"] = NoOptimizer()
        learner.update(buffer, 2)
    assert recorder.n_recorded == 2
    assert_equal(pair)


def test_a_step_of_ones_own_is_recorded_only_when_asked_for(make_learner: Any) -> None:
    class Own(SACLearner):
        """Whose Python nobody knows."""

    Own.__module__ = "abcd.agents"
    learner = make_learner()
    kwargs: dict[str, Any] = {
        "device": learner.device,
        "batch_size": 16,
        "polyak": 0.9,
        "alpha": 0.7,
        "adaptive_temperature": True,
        "target_entropy": None,
        "generators": learner.generators,
    }
    assert type(SACLearner(learner.policy, **kwargs).steps) is GraphedSteps
    assert type(Own(learner.policy, **kwargs).steps) is EagerSteps
    assert type(Own(learner.policy, **kwargs, compute=ComputeOptions(graphs=True)).steps) is GraphedSteps


CHANGES: dict[str, Callable[[Any, ReplayBuffer], ReplayBuffer | None]] = {
    "another batch size": lambda learner, buffer: setattr(learner, "batch_size", 5),
    "another number": lambda learner, buffer: setattr(learner, "target_entropy", -3.5),
    "parameters elsewhere": lambda learner, buffer: learner.optimizers["alpha"].groups[0].move_in(),
    "a frozen parameter": lambda learner, buffer: setattr(learner.policy.actor.mean.bias, "requires_grad", False),
    "another buffer": lambda learner, buffer: make_buffer(learner, seed=5),
    "longer tails": lambda learner, buffer: add(buffer, 200, ends=1.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_step_is_recorded_anew_when_it_would_be_another(make_pair: Any, change: str) -> None:
    pair, buffers, recorder = make_pair()
    buffers = [make_buffer(learner, capacity=100) for learner in pair]
    for learner, buffer in zip(pair, buffers, strict=True):
        learner.update(buffer, 2)
        learner.update(CHANGES[change](learner, buffer) or buffer, 2)
    assert recorder.n_recorded == 2
    assert_equal(pair)


def test_nothing_else_makes_it_be_recorded_anew(make_pair: Any, make_learner: Any) -> None:
    pair, buffers, recorder = make_pair()
    for learner, buffer in zip(pair, buffers, strict=True):
        learner.update(buffer, 1)
        learner.set_learning_rates({"lr_c": 3e-3})
        learner.read_metrics()
        learner.update(buffer, 2)
        learner.load_state_dict(make_learner(seed=7).state_dict())
        learner.load_metrics_state(learner.metrics_state())
        state = buffer.state_dict()
        buffer.clear()
        add(buffer, 20, seed=3)
        learner.update(buffer, 1)
        buffer.load_state_dict(state)
        learner.update(buffer, 1)
    assert recorder.n_recorded == 1
    assert_equal(pair)


def test_hooks_are_called_at_each_step(make_pair: Any) -> None:
    pair, buffers, recorder = make_pair()
    calls: list[int] = [0, 0]
    for i, (learner, buffer) in enumerate(zip(pair, buffers, strict=True)):
        learner.update(buffer, 2)

        def count(*_: Any, i: int = i) -> None:
            calls[i] += 1

        handle = learner.policy.actor.register_forward_hook(count)
        learner.update(buffer, 2)
        handle.remove()
        learner.update(buffer, 2)
    assert calls[0] == calls[1] > 0
    assert recorder.n_recorded == 2  # anew when the hook has gone, for the networks are connected anew then
    assert_equal(pair)


def test_a_step_that_cannot_be_recorded_says_what_to_do_and_changes_nothing(make_pair: Any) -> None:
    pair, buffers, _ = make_pair()
    learner = pair[1]
    learner.update(buffers[1], 1)
    before, metrics = learner.state_dict(), learner.metrics_state()
    step = learner.step
    learner.step = lambda batch, noise: step(batch, noise * float(noise.sum() > 0))
    learner.batch_size = 7
    with pytest.raises(RuntimeError, match=r"could not be recorded.*'graphs': False"):
        learner.update(buffers[1], 1)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert learner.metrics_state() == metrics


class OnMeta(TorchDispatchMode):
    """Sees that no operation has to do with a tensor of another device: a copy from the CPU can't be recorded."""

    n_operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n_operations += 1
        # Adam does not know this device.
        output = None if func is torch.ops.aten._fused_adam_.tensor_lr else func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, output)):
            if isinstance(tensor, Tensor):
                assert tensor.device.type == "meta", func
        return output


@pytest.mark.parametrize(
    ("algorithm", "networks"), [("SAC", "fused"), ("SAC", "ordinary"), ("LAC", "fused"), ("LAC", "ordinary")]
)
@pytest.mark.parametrize("policy", ["MlpPolicy", "GSDEPolicy"])
def test_a_step_stays_on_its_device(
    make_learner: Any,
    make_lac_learner: Any,
    make_batch: Any,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    policy: str,
    networks: Any,
) -> None:
    make = {"SAC": make_learner, "LAC": make_lac_learner}[algorithm]
    meta = torch.device("meta")
    plan = ComputePlan(meta, "float32", networks, 1, "default")
    monkeypatch.setattr(learner_module, "choose_plan", lambda *_: plan)
    learner = make(policy=policy, normalize_observations=True)
    batch, noise = make_batch(learner, 0)
    batch, noise = TensorBatch(*(tensor.to(meta) for tensor in leaves(batch))), noise.to(meta)
    on_meta = make(policy=policy, normalize_observations=True, device=meta)
    assert on_meta.plan.networks == networks
    with OnMeta() as mode:
        on_meta.counted_step(batch, noise)
    assert mode.n_operations > 50


# -- what is chosen ----------------------------------------------------------------------------------------------------


class Own(MlpPolicy):
    """A user's policy: nobody knows what it does."""


class Noisy(nn.Module):
    """A user's encoder."""

    n_features = 4

    def __init__(self, space: Any, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]


def own_encoder(layer: nn.Module) -> Callable[[Any], nn.Module]:
    def make(space: Any) -> nn.Module:
        encoder = nn.Sequential(nn.Flatten(), layer, nn.Linear(3, 4))
        encoder.n_features = 4  # type: ignore[assignment]
        return encoder

    return make


def plan_of(policy: nn.Module, device: torch.device = CUDA, **options: Any) -> ComputePlan:
    return choose_plan(policy, device, 256, ComputeOptions(**{"graphs": True, **options}))


def test_policies_of_known_parts_are_recorded() -> None:
    known = [
        make_policy("MlpPolicy", BOX, ACTION, {"normalize_observations": True, "activation": "SiLU"}, 0),
        make_policy("GSDEPolicy", BOX, ACTION, {}, 0),
        make_policy("CnnPolicy", IMAGE, ACTION, SMALL_CNN, 0),
        make_policy("MultiInputPolicy", DICT, ACTION, SMALL_CNN, 0),
        CnnPolicy(BOX, ACTION, encoder=own_encoder(nn.LayerNorm(3))),
    ]
    unknown = [
        Own(BOX, ACTION),
        MlpPolicy(BOX, ACTION, activation=type("Act", (nn.ReLU,), {})),
        MlpPolicy(BOX, ACTION, activation={"actor": "RReLU"}),
        CnnPolicy(BOX, ACTION, encoder=Noisy),
        CnnPolicy(BOX, ACTION, encoder=own_encoder(nn.Dropout())),
        CnnPolicy(BOX, ACTION, encoder=own_encoder(nn.BatchNorm1d(3))),
    ]
    for part in ("features", "normalizer.forward"):
        replaced: Any = MlpPolicy(BOX, ACTION)
        owner = replaced.normalizer if "." in part else replaced
        setattr(owner, part.rpartition(".")[2], lambda x: x)
        unknown.append(replaced)
    assert [plan_of(policy).graphed for policy in known] == [True] * len(known)
    assert [plan_of(policy).graphed for policy in unknown] == [False] * len(unknown)
    assert not plan_of(known[0], graphs=False).graphed
    assert plan_of(known[0], torch.device("cpu")).graphed
    assert not plan_of(known[0], torch.device("mps")).graphed
    for device in (CUDA, torch.device("cpu")):
        assert choose_plan(known[0], device, 256, ComputeOptions()).graphed


def test_the_plan_says_so() -> None:
    plan = plan_of(MlpPolicy(BOX, ACTION))
    assert str(plan) == "gradient steps on cuda:0: float32, fused networks, whole steps as CUDA graphs"
    assert "graph" not in str(dataclasses.replace(plan, graphed=False))
    on_cpu = plan_of(MlpPolicy(BOX, ACTION), torch.device("cpu"))
    assert str(on_cpu).endswith("fused networks, whole steps recorded")
    assert "recorded" not in str(dataclasses.replace(on_cpu, graphed=False))


@pytest.mark.parametrize(
    ("kwargs", "graphs", "steps"),
    [
        ({}, None, GraphedSteps),
        ({}, False, EagerSteps),
        ({"activation": "ELU"}, None, EagerSteps),  # of which no network is fused
        ({"activation": {"critic": "ELU"}}, None, EagerSteps),
        ({"activation": "ELU"}, True, GraphedSteps),
    ],
)
def test_the_cpu_records_steps_of_fused_networks(
    make_learner: Any, kwargs: dict[str, Any], graphs: bool | None, steps: type
) -> None:
    learner = make_learner(compute=ComputeOptions(graphs=graphs), **kwargs)
    assert type(learner.steps) is steps
    assert learner.plan.graphed is (steps is GraphedSteps)


@pytest.mark.parametrize("duplicated", [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))])
def test_the_learner_follows_the_plan(
    make_learner: Any, monkeypatch: pytest.MonkeyPatch, duplicated: Callable[[Any], Any]
) -> None:
    graphed = ComputePlan(torch.device("cpu"), "float32", "fused", 1, "default", graphed=True)
    monkeypatch.setattr(learner_module, "choose_plan", lambda *_: graphed)
    learner = make_learner()
    assert type(learner.steps) is GraphedSteps
    learner.update(make_buffer(learner), 2)
    duplicate = duplicated(learner)
    assert type(duplicate.steps) is GraphedSteps
    for one in (learner, duplicate):
        one.generators = {"learner": np.random.default_rng(4)}
        one.set_learning_rates(RATES)
    before = learner.state_dict()
    duplicate.update(make_buffer(duplicate), 2)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)  # the copy's steps are its own
    learner.update(make_buffer(learner), 2)
    assert_equal((learner, duplicate))


def test_a_buffer_that_was_exchanged_is_let_go_before_another_is_copied(
    make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, learner), buffers, _ = make_pair()
    learner.update(buffers[0], 1)
    column = weakref.ref(learner._batches.tensors()[0])
    made: list[bool] = []

    def make_mirror(*args: Any) -> DeviceMemory:
        gc.collect()
        made.append(column() is None)
        return DeviceMemory(*args)

    monkeypatch.setattr(learner_module, "DeviceMemory", make_mirror)
    learner.update(buffers[1], 1)
    assert made == [True]


def test_the_line_of_a_run_says_where_minibatches_come_from(caplog: pytest.LogCaptureFixture) -> None:
    options = {"replay_on_device": True, "graphs": False}
    small: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "num_test_episodes": 0, "seed": 0}
    small |= {"update_after": 10, "update_every": 5, "steps_per_update": 3, "batch_size": 8, "replay_size": 15}
    model = SAC("MlpPolicy", "Pendulum-v1", compute_kwargs=options, **small)
    plain = SAC("MlpPolicy", "Pendulum-v1", **small)
    with caplog.at_level("INFO", logger="slc_agents"):
        plain.learn(30)
        assert "replay buffer" not in caplog.text
        model.learn(30)
    assert "a copy of the replay buffer there (" in caplog.text
    for name, array in plain.get_parameters().items():
        np.testing.assert_array_equal(array, model.get_parameters()[name], err_msg=name)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"graphs": "no"}, r"graphs='no': True or False"),
        ({"replay_on_device": 1}, r"replay_on_device=1: True or False"),
    ],
)
def test_what_is_not_allowed_is_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^compute_kwargs: .*{message}"):
        ComputeOptions.parse(kwargs)


def test_an_unknown_key_names_the_right_one() -> None:
    with pytest.raises(TypeError, match=r"cuda_graphs.*graphs"):
        ComputeOptions.parse({"cuda_graphs": True})
