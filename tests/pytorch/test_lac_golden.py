"""LAC's gradient step against a reference that is written straight from the equations, in float64.

See `tests.support.reference` for what it has in common with others.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from slc_agents.pytorch.fused import fuse
from slc_agents.pytorch.policies import LyapunovEnsemble
from tests.support.reference import (
    ACTIVATIONS,
    BOX_2D,
    DICT,
    Reference,
    assert_rates_move_their_group_alone,
    assert_steps_are_reproducible,
    run_beside,
    with_gradient,
)

RATES = [
    {"lr_a": 1e-3, "lr_c": 3e-3, "lr_alpha": 5e-3, "lr_labda": 2e-3},
    {"lr_a": 2e-3, "lr_c": 1e-3, "lr_alpha": 1e-3, "lr_labda": 4e-3},
    {"lr_a": 0.0, "lr_c": 2e-3, "lr_alpha": 2e-3, "lr_labda": 1e-3},
    {"lr_a": 1e-3, "lr_c": 0.0, "lr_alpha": 0.0, "lr_labda": 0.0},
]


class LACReference(Reference):
    """LAC in one piece."""

    groups = ("actor", "critic", "alpha", "labda")
    targets = ("critic", "actor")
    default_critics = 1

    def __init__(self, state: dict[str, np.ndarray], case: dict[str, Any], mistake: str = "") -> None:
        super().__init__(state, case, mistake)
        self.alpha3 = case.get("alpha3", 0.2)
        self.labda_min = case.get("labda_min", 1e-4)
        self.is_finite = bool(case.get("horizon_length", 0))
        self.terminal_target = case.get("terminal_target", (7.0, 0.0))
        self.terminal_value = case.get("terminal_value", (7.0, 0.0))

    def lyapunov(self, name: str, o: torch.Tensor, a: torch.Tensor) -> list[torch.Tensor]:
        values = []
        for i in range(self.n_critics):
            x, depth = torch.cat([o, a], 1), sum(k.startswith(f"{name}/{i}/") for k in self.w) // 2
            for j in range(depth):
                x = x @ self.w[f"{name}/{i}/trunk/{j}/weight"] + self.w[f"{name}/{i}/trunk/{j}/bias"]
                is_linear = self.mistake == "linear last layer" and j == depth - 1
                x = ACTIVATIONS["Identity" if is_linear else self.activation["critic"]](x)
            values.append((x**2).sum(1))
        return values

    def largest(self, values: list[torch.Tensor]) -> torch.Tensor:
        result = values[0]
        for value in values[1:]:
            result = torch.minimum(result, value) if self.mistake == "smallest critic" else torch.maximum(result, value)
        return result

    def target(self, batch: Any, next_o: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        if self.is_finite:
            return batch.horizon_return.double()
        name = "actor" if self.mistake == "target of the current policy" else "actor_target"
        next_a, next_log_prob = self.policy(next_o, noise[2], name)
        next_value = self.largest(self.lyapunov("critic_target", next_o, next_a))
        if self.mistake == "entropy in the target":
            next_value = next_value - self.alpha() * next_log_prob
        cost, gamma = batch.reward.double(), float(batch.discount.max())
        ended = batch.terminated.double()
        behind = self.behind_an_end(self.terminal_target, batch, next_value)
        return ((1 - ended) * (cost + gamma * next_value) + ended * behind).detach()

    def behind_an_end(self, parts: tuple[float, float], batch: Any, next_value: torch.Tensor) -> torch.Tensor:
        kept = torch.ones_like(batch.terminated) if self.mistake == "mean of all" else ~batch.terminated
        mean = next_value[kept].mean().detach() if kept.any() else 0.0
        return parts[0] * batch.reward.double() + parts[1] * mean

    def step(self, batch: Any, noise: torch.Tensor, rates: dict[str, float]) -> dict[str, float]:
        o, next_o = self.observation(batch.observation), self.observation(batch.next_observation)
        a, cost, noise = batch.action.double(), batch.reward.double(), noise.double()
        alpha, labda = self.alpha().detach(), torch.exp(self.w["labda/log_value"]).detach()

        y = self.target(batch, next_o, noise)
        before = [value.detach() for value in self.lyapunov("critic", o, a)]
        critic_loss = self.adam(
            "critic",
            lambda: sum(0.5 * ((value - y) ** 2).mean() for value in self.lyapunov("critic", o, a)),
            rates["lr_c"],
        )
        if self.mistake == "difference to the updated critic":
            before = [value.detach() for value in self.lyapunov("critic", o, a)]

        deltas, log_probs = [], []

        def actor_loss() -> torch.Tensor:
            _, log_prob = self.policy(o, noise[1])
            next_a, next_log_prob = self.policy(next_o, noise[0])
            if self.mistake == "entropy at the next observation":
                log_prob = next_log_prob
            next_value = self.largest(self.lyapunov("critic", next_o, next_a))
            if self.mistake != "difference beyond the end":
                ended = batch.terminated.double()
                behind = self.behind_an_end(self.terminal_value, batch, next_value)
                next_value = (1 - ended) * next_value + ended * behind
            delta = (next_value - self.largest(before) + self.alpha3 * cost).mean()
            deltas.append(delta.detach())
            log_probs.append(log_prob.detach().mean())
            return labda * delta + alpha * log_prob.mean()

        target_entropy = -float(a.shape[1]) if self.target_entropy is None else self.target_entropy

        def alpha_loss() -> torch.Tensor:
            return -self.alpha() * (log_probs[0] + target_entropy)

        def labda_loss() -> torch.Tensor:
            log_labda = self.w["labda/log_value"]
            return -(torch.exp(log_labda) if self.mistake == "loss of lambda itself" else log_labda) * deltas[0]

        actor_value = self.adam("actor", actor_loss, rates["lr_a"])
        alpha_value = self.adam("alpha", alpha_loss, rates["lr_alpha"]) if self.adaptive else alpha_loss()
        labda_value = self.adam("labda", labda_loss, rates["lr_labda"])
        if self.mistake != "lambda without bounds":
            log_labda = min(max(float(self.w["labda/log_value"]), math.log(self.labda_min)), 0.0)
            self.w["labda/log_value"] = torch.tensor(log_labda, dtype=torch.float64)
        if self.mistake == "target policy that stays":
            self.targets = ("critic",)
        self.move_targets()
        return {
            "critic_loss": float(critic_loss),
            "actor_loss": float(actor_value),
            "alpha_loss": float(alpha_value),
            "labda_loss": float(labda_value),
            "alpha": float(alpha),
            "labda": float(labda),
            "entropy": -float(log_probs[0]),
            "delta": float(deltas[0]),
            "lyapunov_value": float(torch.stack(before).mean()),
        }


CASES: dict[str, dict[str, Any]] = {
    "infinite horizon": {},
    "finite horizon": {"horizon_length": 5, "terminal_value": (5.0, 0.0)},
    "two critics": {"n_critics": 2},
    "two critics, finite horizon": {"n_critics": 2, "horizon_length": 3, "terminal_value": (3.0, 0.0)},
    "three critics": {"n_critics": 3},
    "nothing is owed after the end": {"terminal_target": (1.0, 0.0), "terminal_value": (0.0, 0.0)},
    "an average state follows the end": {"terminal_target": (1.0, 0.9), "terminal_value": (0.0, 1.0)},
    "alpha3": {"alpha3": 1.0},
    "no decrease wanted": {"alpha3": 0.0},
    "multiplier at its upper bound": {"labda": 1.0, "alpha3": 50.0},
    "multiplier at its lower bound": {"labda": 0.011, "labda_min": 0.01089, "terminal_value": (-50.0, 0.0)},
    "fixed temperature": {"adaptive_temperature": False, "alpha": 0.3},
    "no temperature": {"adaptive_temperature": False, "alpha": 0.0},
    "target entropy": {"target_entropy": 1.5},
    "gamma": {"gamma": 0.5},
    "frozen targets": {"polyak": 1.0},
    "targets that follow at once": {"polyak": 0.0},
    "hidden sizes": {"hidden_sizes": {"actor": [5], "critic": [7, 4, 6]}},
    "one layer": {"hidden_sizes": {"actor": [5], "critic": [7]}},
    "activations": {"activation": {"actor": "Tanh", "critic": "ELU"}},
    "fused activations": {"activation": {"critic": "Tanh"}, "n_critics": 2},
    "output activation": {"output_activation": {"actor": "Tanh"}},
    "Dict observations": {"observation_space": DICT},
    "2-D observations and actions": {
        "observation_space": BOX_2D,
        "action_space": gymnasium.spaces.Box(-1, 1, (2, 2), np.float64),
    },
    "normalisation": {"normalize_observations": True, "n_critics": 2},
}
# What each mistake needs to show.
MISTAKES: dict[str, dict[str, Any]] = {
    "mean of all": CASES["an average state follows the end"],
    "linear last layer": {},
    "target of the current policy": {},
    "entropy in the target": {},
    "difference to the updated critic": {},
    "entropy at the next observation": {},
    "difference beyond the end": {},
    "loss of lambda itself": {},
    "lambda without bounds": {"labda": 1.0, "alpha3": 50.0},
    "target policy that stays": {},
    "smallest critic": {"n_critics": 2},
}


def run_both(make_learner: Any, make_batch: Any, case: dict[str, Any], mistake: str = "") -> list[tuple[float, str]]:
    """Runs learner and reference side by side; returns how far each number is off, as parts of what is allowed."""
    gamma = case.get("gamma", 0.9)
    learner = make_learner(**{key: value for key, value in case.items() if key != "gamma"})
    if case.get("normalize_observations"):
        learner.observe(np.random.default_rng(9).normal(1.0, [0.01, 3.0, 1.0], (50, 3)).astype(np.float32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that a target differs from what it follows from the beginning
        for parameter in (*learner.policy.actor_target.parameters(), *learner.policy.critic_target.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    reference = LACReference(learner.state_dict(), case, mistake)
    return run_beside(learner, reference, make_batch, RATES, gamma=gamma)


@pytest.mark.parametrize("name", CASES)
def test_gradient_steps_equal_the_reference(make_lac_learner: Any, make_batch: Any, name: str) -> None:
    worst = max(run_both(make_lac_learner, make_batch, CASES[name]))
    assert worst[0] <= 1.0, worst


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_notices(make_lac_learner: Any, make_batch: Any, mistake: str) -> None:
    assert max(run_both(make_lac_learner, make_batch, MISTAKES[mistake], mistake))[0] > 3.0


def test_the_multiplier_does_not_wind_up(make_lac_learner: Any, make_batch: Any) -> None:
    """At a bound the parameter itself stays there, and so leaves it with the first steps the other way."""
    for sign, bound in ((1.0, 0.0), (-1.0, math.log(0.5))):
        learner = make_lac_learner(labda=0.9, labda_min=0.5, polyak=1.0)
        learner.set_learning_rates({"lr_a": 0.0, "lr_c": 0.0, "lr_alpha": 0.0, "lr_labda": 0.2})
        batch, noise = make_batch(learner, 0)
        for _ in range(12):
            learner.alpha3 = 1e3 * sign
            learner.step(batch, noise)
        assert learner.state_dict()["labda/log_value"] == np.float32(bound)
        learner.alpha3 = -1e4 * sign
        for _ in range(6):
            learner.step(batch, noise)
        assert abs(float(learner.state_dict()["labda/log_value"]) - bound) > 0.2


def test_no_group_moves_another(make_lac_learner: Any, make_batch: Any) -> None:
    rates = {"actor": "lr_a", "critic": "lr_c", "alpha": "lr_alpha", "labda": "lr_labda"}
    assert_rates_move_their_group_alone(make_lac_learner, make_batch, rates)


def test_losses_leave_no_gradients_elsewhere(make_lac_learner: Any, make_batch: Any) -> None:
    learner = make_lac_learner(normalize_observations=True)
    batch, noise = make_batch(learner, 0)
    loss, value = learner.critic_loss(batch, noise)
    loss.backward()
    assert with_gradient(learner.policy) == {"critic"}

    learner = make_lac_learner()
    multipliers = learner.alpha().detach(), learner.labda().detach()
    learner.actor_loss(batch, noise, *multipliers, value)[0].backward()
    assert with_gradient(learner.policy) == {"actor"}
    assert all(p.grad is None for p in learner.frozen_critic.parameters())
    assert learner.alpha.log_value.grad is learner.labda.log_value.grad is None


def test_terminated_ends_the_value(make_lac_learner: Any, make_batch: Any) -> None:
    learner, other = make_lac_learner(), make_lac_learner()
    batch, noise = make_batch(learner, 0)
    batch = batch._replace(terminated=torch.ones(16, dtype=torch.bool), discount=torch.zeros(16))
    elsewhere = batch._replace(next_observation=batch.next_observation + 5.0)
    for one, two in zip(learner.step(batch, noise), other.step(elsewhere, noise), strict=True):
        assert float(one) == float(two)


def test_a_finite_horizon_needs_no_third_sample_and_no_target(make_lac_learner: Any, make_batch: Any) -> None:
    learner, other = make_lac_learner(horizon_length=2), make_lac_learner(horizon_length=2)
    batch, noise = make_batch(learner, 0)
    assert noise.shape == (2, 16, 2)
    with torch.no_grad():
        for parameter in (*other.policy.critic_target.parameters(), *other.policy.actor_target.parameters()):
            parameter.fill_(100.0)
    assert [float(x) for x in learner.step(batch, noise)] == [float(x) for x in other.step(batch, noise)]


def test_the_same_step_twice_gives_the_same_bits(make_lac_learner: Any, make_batch: Any) -> None:
    assert_steps_are_reproducible(functools.partial(make_lac_learner, n_critics=2), make_batch, RATES[0])


def test_a_lyapunov_function_is_a_sum_of_squares() -> None:
    ensemble = LyapunovEnsemble(3, 2, [5, 4], torch.nn.Tanh, n_critics=2)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.normal_()
    features, action = torch.randn(7, 3), torch.rand(7, 2)
    values = ensemble(features, action)
    assert values.shape == (2, 7)
    hidden = ensemble.trunk(torch.cat([features, action], dim=1))
    torch.testing.assert_close(values, (hidden * hidden).sum(-1))
    assert (values >= 0).all()
    torch.testing.assert_close(fuse(ensemble)(features, action), values)
