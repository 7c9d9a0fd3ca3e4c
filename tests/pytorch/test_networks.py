"""Layers, ensembles and activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slc_agents.pytorch.critics import CriticEnsemble
from slc_agents.pytorch.networks import Dense, EnsembleDense, find_activation, make_ensemble_mlp, make_mlp
from slc_agents.pytorch.policies import SquashedGaussianActor


@pytest.mark.parametrize("n_inputs", [1, 7, 400])
def test_initial_weights_are_uniform_within_one_over_root_of_inputs(n_inputs: int) -> None:
    bound = 1 / math.sqrt(n_inputs)
    for layer in (Dense(n_inputs, 2000), EnsembleDense(3, n_inputs, 2000)):
        for values in (layer.weight.detach().numpy().ravel(), layer.bias.detach().numpy().ravel()):
            assert np.abs(values).max() <= bound
            # Uniform: mean 0, standard deviation bound/√3, quarter points at half the bound: within 6 standard errors.
            assert abs(values.mean()) < 6 * bound / math.sqrt(3 * values.size)
            assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 6 / math.sqrt(values.size)
            assert abs((np.abs(values) < bound / 2).mean() - 0.5) < 3 / math.sqrt(values.size)
            assert np.abs(values).max() > 0.99 * bound


def test_initial_weights_are_distributed_as_torch_s_own() -> None:
    ours, theirs = Dense(9, 20000), nn.Linear(9, 20000)
    for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        quantiles = torch.linspace(0, 1, 11)
        difference = torch.quantile(a.detach().ravel()[:20000], quantiles) - torch.quantile(
            b.detach().ravel()[:20000], quantiles
        )
        assert float(difference.abs().max()) < 0.02 * (2 / 3)


def test_members_of_an_ensemble_start_different() -> None:
    layer = EnsembleDense(3, 4, 5)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert not torch.equal(layer.bias[1], layer.bias[2])


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_an_ensemble_equals_its_members_one_by_one(n: int, activation: type[nn.Module]) -> None:
    ensemble = make_ensemble_mlp(n, 4, (6, 5), activation)
    x = torch.randn(10, 4)
    together = ensemble(x)
    assert together.shape == (n, 10, 5)
    for i in range(n):
        single = make_mlp(4, (6, 5), activation, activation)
        with torch.no_grad():
            for theirs, ours in zip(single.parameters(), ensemble.parameters(), strict=True):
                theirs.copy_(ours[i])
        torch.testing.assert_close(together[i], single(x), rtol=1e-5, atol=1e-6)


def test_an_ensemble_takes_an_input_of_its_own_for_each_member() -> None:
    layer = EnsembleDense(2, 3, 4)
    x = torch.randn(2, 5, 3)
    for i in range(2):
        torch.testing.assert_close(layer(x)[i], x[i] @ layer.weight[i] + layer.bias[i])


def test_a_critic_s_gradient_stays_in_its_member() -> None:
    critic = CriticEnsemble(3, 2, (6, 5), nn.ReLU, nn.Identity, 3)
    values = critic(torch.randn(7, 3), torch.randn(7, 2))
    assert values.shape == (3, 7)
    values[1].sum().backward()
    for parameter in critic.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[0].any()
        assert not parameter.grad[2].any()
    assert critic.value.weight.grad[1].any()  # type: ignore[union-attr]


def test_critics_share_no_parameters_of_an_activation() -> None:
    with pytest.raises(ValueError, match=r"activation.*'trunk\.0\.activation\.weight'.*2 critics"):
        CriticEnsemble(3, 2, (6,), nn.PReLU, nn.Identity, 2)
    assert CriticEnsemble(3, 2, (6,), nn.PReLU, nn.Identity, 1)(torch.zeros(4, 3), torch.zeros(4, 2)).shape == (1, 4)


def test_mlp_has_its_activations_where_they_belong() -> None:
    net = make_mlp(2, (3, 4), nn.ReLU, nn.Tanh)
    x = 5 * torch.randn(50, 2)
    first = torch.relu(x @ net[0].weight + net[0].bias)
    torch.testing.assert_close(net(x), torch.tanh(first @ net[1].weight + net[1].bias))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ReLU", nn.ReLU),
        ("relu", nn.ReLU),
        ("TANH", nn.Tanh),
        ("identity", nn.Identity),
        ("LeakyReLU", nn.LeakyReLU),
        ("silu", nn.SiLU),
        (None, nn.Identity),
        (nn.ELU, nn.ELU),
    ],
)
def test_activations_by_class_and_name(given: Any, found: type[nn.Module]) -> None:
    assert find_activation(given, "activation") is found


@pytest.mark.parametrize("given", ["relux", "Linear", 3, nn.ReLU(), torch.relu, "", "MultiheadAttention", "Threshold"])
def test_what_is_no_activation_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="ReLU") as caught:
        find_activation(given, "policy_kwargs: activation")
    assert repr(given) in str(caught.value)
    assert "policy_kwargs: activation" in str(caught.value)


# -- the actor ---------------------------------------------------------------------------------------------------------


def actor_with(mean: float, log_std: float, n_actions: int = 1) -> SquashedGaussianActor:
    """An actor that has the same distribution everywhere."""
    actor = SquashedGaussianActor(2, n_actions, (4,), nn.ReLU, nn.ReLU)
    with torch.no_grad():
        for head, value in ((actor.mean, mean), (actor.log_std, log_std)):
            head.weight.zero_()
            head.bias.fill_(value)
    return actor


def exact_log_prob(u: float, mean: float, log_std: float) -> float:
    """In float64, and with log(1 - tanh²) = -2 log cosh, written so that nothing over- or underflows."""
    log_cosh = abs(u) + math.log1p(math.exp(-2 * abs(u))) - math.log(2)
    return -0.5 * ((u - mean) / math.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi) + 2 * log_cosh


@pytest.mark.parametrize("mean", [-60.0, -9.0, -1.0, 0.0, 0.5, 4.0, 12.0, 90.0])
@pytest.mark.parametrize("log_std", [-5.0, 0.0, 2.0])
@pytest.mark.parametrize("noise", [-3.0, 0.0, 0.25, 3.0])
def test_log_prob_is_right_also_far_out(mean: float, log_std: float, noise: float) -> None:
    action, log_prob = actor_with(mean, log_std)(torch.zeros(1, 2), torch.tensor([[noise]]))
    u = mean + math.exp(log_std) * noise
    assert float(log_prob.detach()) == pytest.approx(exact_log_prob(u, mean, log_std), rel=2e-6, abs=2e-6)
    assert float(action.detach()) == pytest.approx(math.tanh(u), abs=1e-6)


def test_log_prob_has_finite_gradients_far_out() -> None:
    for mean in (-200.0, -20.0, 20.0, 200.0):
        actor = actor_with(mean, 0.0)
        _, log_prob = actor(torch.zeros(1, 2), torch.tensor([[1.0]]))
        log_prob.sum().backward()
        # d/du of 2 log cosh u = 2 tanh u
        assert float(actor.mean.bias.grad) == pytest.approx(2 * math.tanh(mean + 1.0), rel=1e-5)


def test_log_probs_of_dimensions_add_up() -> None:
    noise = torch.tensor([[0.3, -1.0, 2.0]])
    _, log_prob = actor_with(0.2, -0.5, n_actions=3)(torch.zeros(1, 2), noise)
    expected = sum(exact_log_prob(0.2 + math.exp(-0.5) * n, 0.2, -0.5) for n in noise[0].tolist())
    assert log_prob.shape == (1,)
    assert float(log_prob.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("raw", "clamped"), [(-50.0, -20.0), (-20.0, -20.0), (1.9, 1.9), (2.0, 2.0), (7.0, 2.0)])
def test_log_std_is_clamped(raw: float, clamped: float) -> None:
    action, log_prob = actor_with(0.1, raw)(torch.zeros(1, 2), torch.tensor([[1.5]]))
    u = 0.1 + math.exp(clamped) * 1.5
    assert float(action.detach()) == pytest.approx(math.tanh(u), abs=1e-6)
    assert float(log_prob.detach()) == pytest.approx(
        -1.125 - clamped - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(u) ** 2), abs=2e-4
    )


def test_mean_action_is_the_squashed_mean() -> None:
    actor = SquashedGaussianActor(3, 2, (4, 5), nn.Tanh, nn.ReLU)
    x = torch.randn(6, 3)
    h = torch.relu(
        torch.tanh(x @ actor.trunk[0].weight + actor.trunk[0].bias) @ actor.trunk[1].weight + actor.trunk[1].bias
    )
    torch.testing.assert_close(actor.mean_action(x), torch.tanh(h @ actor.mean.weight + actor.mean.bias))
    torch.testing.assert_close(actor.mean_action(x), actor(x, torch.zeros(6, 2))[0])
