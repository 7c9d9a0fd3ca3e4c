"""Acting: numpy, single operations and graphs give the same actions, of the weights of that moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slc_agents.compute import ComputeOptions
from tests.support.backends import BackendUnderTest
from tests.support.reference import DICT

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.acting import ACTIVATIONS, ELEMENTWISE  # noqa: E402
from slc_agents.tf2.policies import MlpPolicy  # noqa: E402

make_learner = BackendUnderTest("tf2").make_learner
NAMES = [name for name, function in ACTIVATIONS.items() if function in ELEMENTWISE]


def observations(n: int, space: Any = None) -> Any:
    rng = np.random.default_rng(0)
    if space is None:
        return 3.0 * rng.standard_normal((n, 3)).astype(np.float32)
    return {key: rng.standard_normal((n, *box.shape)).astype(np.float32) for key, box in space.spaces.items()}


def acted(learner: Any, seen: Any, *, numpy: bool) -> list[Any]:
    """The mean and a sample."""
    assert (learner.acting._in_numpy() is not None) == numpy
    return [learner.act(seen, deterministic=True), learner.act(seen, generator=np.random.default_rng(1))]


def without_numpy(learner: Any) -> Any:
    learner.acting._in_numpy = lambda: None
    return learner


@pytest.mark.parametrize(
    "kwargs", [*({"activation": name} for name in NAMES), {"normalize_observations": True}, {"observation_space": DICT}]
)
def test_numpy_computes_what_tensorflow_does(kwargs: dict[str, Any]) -> None:
    learner = make_learner(**kwargs)
    seen = observations(6, kwargs.get("observation_space"))
    learner.observe(seen)
    in_numpy = acted(learner, seen, numpy=True)
    expected = acted(without_numpy(learner), seen, numpy=False)
    for ours, theirs in zip(in_numpy, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert ours.dtype == np.float32


@pytest.mark.parametrize("policy", ["MlpPolicy", "GSDEPolicy"])
def test_a_graph_computes_it_for_any_number_of_observations(policy: str) -> None:
    kwargs = {"policy": policy, **({"noise_steps": 2, "log_std_init": -0.5} if policy == "GSDEPolicy" else {})}
    eager, graph = (make_learner(compute=ComputeOptions(graphs=graphs), **kwargs) for graphs in (False, True))
    for n in (1, 5):
        seen = observations(n)
        for one, other in zip(*(acted(without_numpy(one), seen, numpy=False) for one in (eager, graph)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(eager.act(seen), graph.act(seen), rtol=1e-5, atol=1e-6)
    assert len(graph.acting._functions) == (3 if policy == "GSDEPolicy" else 2)


def test_the_weights_are_those_of_the_moment() -> None:
    learner, seen = make_learner(), observations(2)
    before = acted(learner, seen, numpy=True)
    learner.policy.actor.mean.bias.assign_add([0.5, -0.5])
    after = acted(learner, seen, numpy=True)
    assert all((one != other).all() for one, other in zip(before, after, strict=True))
    np.testing.assert_allclose(np.arctanh(after[0]) - np.arctanh(before[0]), [[0.5, -0.5]] * 2, rtol=1e-4)
    learner.policy.actor = make_learner(policy="GSDEPolicy", seed=3).policy.actor
    np.testing.assert_array_equal(
        acted(learner, seen, numpy=False)[0], learner.policy.actor.mean_action(tf.constant(seen)).numpy()
    )


class Doubling(MlpPolicy):
    def features(self, observation: Any) -> Any:
        return 2.0 * super().features(observation)


def test_what_numpy_does_not_know_is_tensorflow_s() -> None:
    seen = observations(4)
    np.testing.assert_allclose(
        acted(make_learner(policy=Doubling), seen, numpy=False)[0], make_learner().act(2.0 * seen, True), rtol=1e-5
    )
    acted(make_learner(activation="Mish"), seen, numpy=False)
    own = make_learner()
    own.policy.actor.mean_action = lambda features: tf.zeros([len(features), 2])
    np.testing.assert_array_equal(acted(own, seen, numpy=False)[0], np.zeros((4, 2)))


def test_many_observations_are_tensorflow_s_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, seen = make_learner(), observations(50)
    in_numpy = acted(learner, seen, numpy=True)
    assert learner.acting._in_numpy().max_rows == 2**19 // 64
    learner.acting._in_numpy().max_rows = 49
    monkeypatch.setattr("slc_agents.tf2.acting.NumpyPolicy.act", None)
    for one, other in zip(acted(learner, seen, numpy=True), in_numpy, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        one[:] = 0.0  # it is the caller's, and may be written to
