"""Layers, activations by torch's names, and what variables are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.backends import ACTION, BOX

tf = pytest.importorskip("tensorflow")

from slc_agents.tf2.networks import ACTIVATIONS, Dense, Mlp, drawing_from, find_activation, named_variables  # noqa: E402
from slc_agents.tf2.policies import MlpPolicy, make_policy  # noqa: E402


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torch_s(name: str) -> None:
    x = np.linspace(-8.0, 8.0, 41, dtype=np.float32)[None]
    theirs = torch.from_numpy(x).requires_grad_()
    expected = getattr(torch.nn, name)()(theirs)
    expected.sum().backward()
    ours = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(ours)
        value = find_activation(name.lower(), "activation")(ours)
    np.testing.assert_allclose(value, expected.detach(), rtol=2e-5, atol=1e-6)
    # At its corners an activation has no gradient that both must agree on.
    smooth = ~np.isin(x, (-3.0, -1.0, 0.0, 1.0, 3.0, 6.0))
    gradient = tape.gradient(value, ours).numpy()
    assert theirs.grad is not None
    np.testing.assert_allclose(gradient[smooth], theirs.grad.numpy()[smooth], rtol=2e-4, atol=1e-5)


def test_activations_are_found_by_torch_s_classes_and_none_is_the_identity() -> None:
    assert find_activation(torch.nn.Tanh, "activation") is ACTIVATIONS["Tanh"]
    assert find_activation(None, "activation") is ACTIVATIONS["Identity"]


@pytest.mark.parametrize("given", ["relo", 3, torch.nn.Linear, MlpPolicy, len])
def test_what_is_no_activation_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"policy_kwargs: activation=.*with TensorFlow the name.*ReLU, Tanh"):
        find_activation(given, "policy_kwargs: activation")


def test_a_layer_computes_and_starts_as_torch_s_do() -> None:
    with drawing_from(np.random.default_rng(0)):
        layer = Dense(400, 300, tf.nn.relu)
    x = np.random.default_rng(1).standard_normal((2, 400)).astype(np.float32)
    expected = np.maximum(x @ layer.weight.numpy() + layer.bias.numpy(), 0.0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    for variable in (layer.weight, layer.bias):  # uniform in ±1/√400
        assert 0.0495 < np.abs(variable.numpy()).max() <= 0.05
        assert variable.numpy().std() == pytest.approx(0.05 / np.sqrt(3), rel=0.06)


def test_initial_weights_follow_from_the_seed_alone() -> None:
    tf.random.set_seed(3)
    before = tf.random.get_global_generator().state.numpy()
    one, same, other = (make_policy("MlpPolicy", BOX, ACTION, {"hidden_sizes": [4]}, seed) for seed in (0, 0, 1))
    pairs = [dict(named_variables(policy)) for policy in (one, same, other)]
    for name, variable in pairs[0].items():
        np.testing.assert_array_equal(variable, pairs[1][name], err_msg=name)
    assert (pairs[0]["actor/mean/weight"] != pairs[2]["actor/mean/weight"]).numpy().all()
    assert (pairs[0]["critic/0/value/weight"] != pairs[0]["critic/1/value/weight"]).numpy().all()
    assert (tf.random.get_global_generator().state.numpy() == before).all()
    free = [MlpPolicy(BOX, ACTION, hidden_sizes=[4]) for _ in range(2)]  # without a seed, from the system's entropy
    assert (free[0].actor.mean.weight != free[1].actor.mean.weight).numpy().any()


def test_variables_are_named_by_where_they_are() -> None:
    class Odd(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last = Mlp(2, [3, 1], tf.nn.relu, tf.identity)
            self.own = tf.Variable(1.0)
            self.layers = [Dense(1, 1), Dense(1, 1)]
            self._hidden = tf.Variable(2.0)

    expected = [f"last/{i}/{kind}" for i in (0, 1) for kind in ("weight", "bias")] + ["own"]
    expected += [f"layers/{i}/{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    assert [name for name, _ in named_variables(Odd())] == expected
