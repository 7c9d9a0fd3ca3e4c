"""On a CUDA device: the mirror of the buffer, recorded steps, and the copy that acts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slc_agents.compute import ComputeOptions
from slc_agents.pytorch.acting_copy import ActingCopy, ActingPolicy
from slc_agents.pytorch.batches import HostBatches, leaves, to_batch
from slc_agents.pytorch.device_memory import DeviceMemory
from slc_agents.pytorch.policies import make_policy
from slc_agents.pytorch.sac import SACLearner
from slc_agents.pytorch.steps import EagerSteps, GraphedSteps
from slc_agents.seeding import make_generator
from tests.buffers.test_replay_buffer import SPACES, Driver, make
from tests.pytorch.test_steps import ACTION, BOX, DICT, IMAGE, RATES, SMALL_CNN, add, make_buffer, own_encoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICE = torch.device("cuda", 0)
EAGER, GRAPHED = ComputeOptions(graphs=False), ComputeOptions()
POLICIES = [
    (BOX, "MlpPolicy", {"normalize_observations": True}),
    (BOX, "GSDEPolicy", {}),
    (IMAGE, "CnnPolicy", SMALL_CNN),
    (DICT, "MultiInputPolicy", {**SMALL_CNN, "share_encoder": True}),
]
MLP = POLICIES[0]


def make_learner(space: Any, policy: str, kwargs: dict[str, Any], options: ComputeOptions | None = None) -> SACLearner:
    learner = SACLearner(
        make_policy(policy, space, ACTION, {"hidden_sizes": [32, 32], **kwargs}, 0),
        device=DEVICE,
        batch_size=32,
        polyak=0.9,
        alpha=0.7,
        adaptive_temperature=True,
        target_entropy=None,
        generators={stream: make_generator(0, stream) for stream in ("action", "learner")},
        compute=options or GRAPHED,
    )
    learner.set_learning_rates(dict.fromkeys(RATES, 1e-3))
    return learner


def train(learner: SACLearner, blocks: tuple[int, ...] = (1, 3, 2)) -> SACLearner:
    buffer = make_buffer(learner, capacity=60)
    for i, n in enumerate(blocks):
        learner.update(buffer, n)
        add(buffer, 25, seed=i)
    return learner


def assert_states(ours: SACLearner, theirs: SACLearner, **tolerance: float) -> None:
    expected = theirs.state_dict()
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, expected[name], err_msg=name, **{"rtol": 0.0, **tolerance})


@pytest.mark.parametrize("space", sorted(SPACES))
@pytest.mark.parametrize("every", [1, 7, 90])
def test_the_mirror_is_exact(space: str, every: int) -> None:
    buffer, driver = make(SPACES[space], 150, 3), Driver(SPACES[space], 3)
    mirror = DeviceMemory(buffer, DEVICE)
    rng = np.random.default_rng(every)
    for step in range(200):
        driver.step([buffer], rng.choice(["go", "end", "cut", "break", "skip"], 3).tolist())
        if step % every == 0 and buffer.is_ready:
            rows = rng.integers(0, len(buffer), (2, 50))
            for one, inputs in zip(rows, mirror.inputs(buffer, rows), strict=True):
                ours, theirs = mirror.make(inputs), to_batch(buffer.gather(one), torch.device("cpu"))
                for a, b in zip(leaves(ours), leaves(theirs), strict=True):
                    assert a.device == DEVICE
                    assert torch.equal(a.cpu(), b)
            driver.step([buffer], ["go"] * 3)  # at once, while the device may still be copying


@pytest.mark.parametrize(("space", "policy", "kwargs"), POLICIES)
def test_recorded_steps_are_those_of_the_learner(space: Any, policy: str, kwargs: Any) -> None:
    """Within float32's rounding: the library of matrix products may choose otherwise while it is recorded."""
    graphed, eager = make_learner(space, policy, kwargs), make_learner(space, policy, kwargs, EAGER)
    assert type(graphed.steps) is GraphedSteps
    assert type(eager.steps) is EagerSteps
    assert_states(train(graphed), train(eager), rtol=1e-3, atol=1e-4)
    ours, theirs = graphed.read_metrics(), eager.read_metrics()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-3, atol=1e-4)
    assert {int(a) for name, a in graphed.state_dict().items() if name.endswith("/step")} == {6}


@pytest.mark.parametrize("kwargs", [{}, {"n_critics": 2}, {"horizon_length": 3}, {"policy": "GSDEPolicy"}])
def test_recorded_steps_of_lac_are_those_of_the_learner(make_lac_learner: Any, kwargs: dict[str, Any]) -> None:
    pair = [make_lac_learner(device=DEVICE, compute=compute, **kwargs) for compute in (GRAPHED, EAGER)]
    for learner in pair:
        learner.set_learning_rates(dict.fromkeys((*RATES, "lr_labda"), 1e-3))
        train(learner)
    assert type(pair[0].steps) is GraphedSteps
    assert_states(*pair, rtol=1e-3, atol=1e-4)


def test_it_is_the_same_run_wherever_steps_are_recorded() -> None:
    """To the last bit: in another learner, in the middle, and whatever has been computed before."""
    whole = train(make_learner(*MLP), (2, 2, 2))
    first, second = make_learner(*MLP), make_learner(*MLP)
    buffer = make_buffer(first, capacity=60)
    first.update(buffer, 2)
    add(buffer, 25, seed=0)
    second.load_state_dict(first.state_dict())
    second.generators = first.generators
    for seed in (1, 2):
        second.update(buffer, 2)
        add(buffer, 25, seed=seed)
    assert_states(second, whole, atol=0.0)


def test_minibatches_from_the_cpu_are_the_same() -> None:
    mirrored = make_learner(*MLP)
    sent = make_learner(*MLP, ComputeOptions(replay_on_device=False))
    assert_states(train(mirrored), train(sent), atol=0.0)
    assert type(mirrored._batches) is DeviceMemory
    assert type(sent._batches) is HostBatches
    assert "minibatches from the CPU" in sent.describe(make_buffer(sent))


def test_a_buffer_that_is_too_large_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slc_agents.pytorch.device_memory.MAX_FRACTION", 1e-12)
    learner = train(make_learner(*MLP))
    assert type(learner._batches) is HostBatches
    assert "would take more than" in learner.describe(make_buffer(learner))


def test_a_block_does_not_wait_for_the_device() -> None:
    learner = make_learner(*MLP)
    buffer = make_buffer(learner)
    learner.update(buffer, 2)
    add(buffer, 5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        learner.update(buffer, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_steps_are_recorded_anew_for_other_minibatches() -> None:
    learners = make_learner(*MLP), make_learner(*MLP, EAGER)
    for learner in learners:
        train(learner)
        learner.batch_size = 8
        train(learner)
    assert_states(*learners, rtol=1e-3, atol=2e-4)


def test_hooks_are_called_at_each_step() -> None:
    learner = train(make_learner(*MLP))
    calls: list[int] = []
    handle = learner.policy.actor.register_forward_hook(lambda *_: calls.append(1))
    buffer = make_buffer(learner)
    learner.update(buffer, 3)
    assert len(calls) == 6
    handle.remove()
    learner.update(buffer, 3)
    assert len(calls) == 6


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.BatchNorm1d(3)])
def test_a_user_s_own_network_is_not_recorded_and_learns(layer: nn.Module) -> None:
    learner = make_learner(BOX, "CnnPolicy", {"encoder": own_encoder(layer)})
    before = learner.state_dict()
    assert type(train(learner).steps) is EagerSteps
    assert type(learner.acting_policy) is ActingPolicy
    assert (learner.state_dict()["actor/head/mean/bias"] != before["actor/head/mean/bias"]).any()


def test_it_acts_on_the_cpu_with_what_was_learned() -> None:
    learner = make_learner(*MLP)
    observation = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert type(learner.acting_policy) is ActingCopy
    for i in range(3):
        learner.observe(observation + i)
        train(learner)
        tensor = torch.from_numpy(observation).to(DEVICE)
        with torch.inference_mode():
            expected = learner.policy.actor.mean_action(learner.policy.features(tensor)).cpu().numpy()
        np.testing.assert_allclose(learner.act(observation, deterministic=True), expected, atol=1e-5)
        for ours, theirs in zip(
            [*learner.acting_policy.policy.actor.parameters(), *learner.acting_policy.policy.normalizer.buffers()],
            [*learner.policy.actor.parameters(), *learner.policy.normalizer.buffers()],
            strict=True,
        ):
            assert ours.device.type == "cpu"
            assert torch.equal(ours, theirs.cpu())
