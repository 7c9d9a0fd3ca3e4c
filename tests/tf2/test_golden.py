"""Gradient steps equal PyTorch's, from the same weights, minibatch and noise; those of a graph equal single ones.

PyTorch's are compared with a reference that is written straight from the equations: tests/pytorch/test_sac_golden.py.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents.compute import ComputeOptions
from tests.support.backends import BackendUnderTest, make_buffer, random_batch
from tests.support.reference import BOX_2D, DICT

tf = pytest.importorskip("tensorflow")

PYTORCH, TENSORFLOW = BackendUnderTest("pytorch"), BackendUnderTest("tf2")
RATES = [
    {"lr_a": 1e-3, "lr_c": 3e-3, "lr_alpha": 5e-3, "lr_labda": 1e-2},
    {"lr_a": 2e-3, "lr_c": 1e-3, "lr_alpha": 1e-3, "lr_labda": 1e-3},
    {"lr_a": 1e-2, "lr_c": 0.0, "lr_alpha": 0.0, "lr_labda": 2e-3},
]
IMAGE = gymnasium.spaces.Box(0, 255, (3, 4), np.uint8)
FRAMES = gymnasium.spaces.Box(0, 255, (2, 3, 8, 9), np.uint8)  # [stack, C, H, W]
PICTURES = gymnasium.spaces.Dict(
    {
        "a vector": gymnasium.spaces.Box(-1, 1, (2, 2)),
        "left": gymnasium.spaces.Box(0, 255, (9, 8, 3), np.uint8),
        "to the right": gymnasium.spaces.Box(0, 255, (8, 9), np.uint8),
    }
)
CNN: dict[str, Any] = {"cnn_layers": [(4, 3, 2), (5, 2, 1)], "cnn_features": 6}
ON_FRAMES: dict[str, Any] = {"policy": "CnnPolicy", "observation_space": FRAMES, **CNN}
ON_PICTURES: dict[str, Any] = {"policy": "MultiInputPolicy", "observation_space": PICTURES, **CNN}

SAC_CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "one critic": {"n_critics": 1},
    "three critics": {"n_critics": 3},
    "fixed temperature": {"adaptive_temperature": False, "alpha": 0.3},
    "target entropy": {"target_entropy": 1.5},
    "gamma": {"gamma": 0.5},
    "polyak": {"polyak": 0.25},
    "frozen targets": {"polyak": 1.0},
    "hidden sizes": {"hidden_sizes": {"actor": [5], "critic": [7, 4, 6]}},
    "activations": {"activation": {"actor": "Tanh", "critic": "ELU"}},
    "output activations": {"output_activation": {"actor": "Tanh", "critic": "Softplus"}},
    "Dict observations": {"observation_space": DICT},
    "2-D observations": {"observation_space": BOX_2D},
    "images, flat": {"observation_space": IMAGE},
    "normalisation": {"normalize_observations": True},
    "gSDE": {"policy": "GSDEPolicy", "clip_mean": 0.1},
    "convolutions": ON_FRAMES,
    "convolutions, channels last": {**ON_FRAMES, "channels": "last", "cnn_layers": [(4, 3, 2)]},
    "convolutions, a shared encoder": {**ON_FRAMES, "share_encoder": True},
    "a Dict with images": ON_PICTURES,
    "a Dict with images, normalised": {**ON_PICTURES, "normalize_observations": True, "share_encoder": True},
    "gSDE without clipping": {"policy": "GSDEPolicy", "clip_mean": None, "use_expln": True, "log_std_init": 0.2},
}
LAC_CASES: dict[str, dict[str, Any]] = {
    "infinite horizon": {},
    "finite horizon": {"horizon_length": 3},
    "LATC": {"n_critics": 2, "alpha3": 1.0},
    "LATC, finite horizon": {"n_critics": 2, "horizon_length": 2},
    "a multiplier at its bound": {"labda": 1.0, "labda_min": 0.999},
    "nothing is owed after the end": {"terminal_target": (1.0, 0.0), "terminal_value": (0.0, 0.0)},
    "an average state follows the end": {"terminal_target": (1.0, 0.9), "terminal_value": (0.0, 1.0)},
    "normalisation": {"normalize_observations": True},
    "fixed temperature": {"adaptive_temperature": False, "alpha": 0.3},
    "gSDE": {"policy": "GSDEPolicy", "activation": "Tanh"},
    "convolutions": ON_FRAMES,
    "a Dict with images, a shared encoder": {**ON_PICTURES, "share_encoder": True},
}
CASES = [("make_learner", name) for name in SAC_CASES] + [("make_lac_learner", name) for name in LAC_CASES]


def off(one: Any, other: Any) -> float:
    """How far arrays are off each other, as parts of what rounding allows."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.max(np.abs(one - other) / (2e-5 * (1.0 + np.abs(other)))))


def run_beside(make: str, case: dict[str, Any], *, spoil: bool = False) -> list[tuple[float, str]]:
    """Runs both backends side by side; returns how far each number is off, and its name."""
    case = dict(case)
    gamma = case.pop("gamma", 0.9)
    theirs, ours = (getattr(backend, make)(**case) for backend in (PYTORCH, TENSORFLOW))
    if case.get("normalize_observations"):
        # Far from the standard moments, and one observation far outside, so that the clipping acts.
        seen: Any = np.random.default_rng(9).normal(1.0, [0.01, 3.0, 1.0], (50, 3)).astype(np.float32)
        if "observation_space" in case:
            seen = random_batch(theirs, 9)[0].observation
        for learner in (theirs, ours):
            learner.observe(seen)
    start = theirs.state_dict()
    ours.load_state_dict({**start, "alpha/log_value": start["alpha/log_value"] + 1e-3} if spoil else start)
    found = []
    for i, rates in enumerate(RATES):
        batch, noise = random_batch(theirs, i, gamma)
        metrics = []
        for backend, learner in ((PYTORCH, theirs), (TENSORFLOW, ours)):
            learner.set_learning_rates({name: rate for name, rate in rates.items() if name in known(learner)})
            metrics.append(list(map(float, learner.step(backend.to_batch(batch), backend.tensor(noise)))))
        names = theirs.metric_names
        assert ours.metric_names == names
        found += [(off(b, a), f"step {i}: {name}") for name, a, b in zip(names, *metrics, strict=True)]
        expected, state = theirs.state_dict(), ours.state_dict()
        assert state.keys() == expected.keys()
        found += [(off(state[name], array), f"step {i}: {name}") for name, array in expected.items()]
    return found


def known(learner: Any) -> set[str]:
    return {"lr_a", "lr_c", "lr_alpha"} | ({"lr_labda"} if "labda" in learner.modules() else set())


@pytest.mark.parametrize(("make", "name"), CASES)
def test_gradient_steps_equal_pytorch_s(make: str, name: str) -> None:
    worst = max(run_beside(make, (SAC_CASES if make == "make_learner" else LAC_CASES)[name]))
    assert worst[0] <= 1.0, worst


@pytest.mark.parametrize("make", ["make_learner", "make_lac_learner"])
def test_the_comparison_notices(make: str) -> None:
    assert max(run_beside(make, {}, spoil=True))[0] > 10.0


@pytest.mark.parametrize("make", ["make_learner", "make_lac_learner"])
def test_a_block_as_a_graph_equals_single_steps(make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a block is so large that it is done in parts, and where Python's numbers have changed since."""
    learners = [
        getattr(TENSORFLOW, make)(normalize_observations=True, compute=ComputeOptions(graphs=graphs))
        for graphs in (True, False)
    ]
    for learner in learners:
        learner.set_learning_rates({name: rate for name, rate in RATES[0].items() if name in known(learner)})
        learner.observe(np.random.default_rng(0).normal(1.0, 2.0, (9, 3)).astype(np.float32))
    buffers = [make_buffer(learner) for learner in learners]

    def update(n: int) -> None:
        for learner, buffer in zip(learners, buffers, strict=True):
            learner.update(buffer, n)
        graph, single = (learner.state_dict() for learner in learners)
        for name, array in single.items():
            np.testing.assert_allclose(graph[name], array, rtol=1e-4, atol=1e-5, err_msg=name)

    update(3)
    assert learners[0]._transition_bytes == 45
    monkeypatch.setattr("slc_agents.tf2.learner.MAX_BLOCK_BYTES", 2 * 16 * 45)
    graph = learners[0]._blocks
    update(5)
    assert learners[0]._blocks is graph  # any number of steps fits
    for learner in learners:
        learner.polyak = 0.5
    update(2)
    means = [learner.read_metrics() for learner in learners]
    assert means[0] == pytest.approx(means[1], rel=1e-4)
