"""SAC's gradient step against a reference that is written straight from the equations, in float64.

See `tests.support.reference` for what it has in common with others.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

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
    {"lr_a": 1e-3, "lr_c": 3e-3, "lr_alpha": 5e-3},
    {"lr_a": 2e-3, "lr_c": 1e-3, "lr_alpha": 1e-3},
    {"lr_a": 0.0, "lr_c": 2e-3, "lr_alpha": 2e-3},
    {"lr_a": 1e-3, "lr_c": 0.0, "lr_alpha": 0.0},
]


class SACReference(Reference):
    """SAC in one piece."""

    groups = ("actor", "critic", "alpha")

    def q(self, name: str, o: torch.Tensor, a: torch.Tensor) -> list[torch.Tensor]:
        values = []
        for i in range(self.n_critics):
            member = f"{name}/{i}"
            h = self.hidden(member, torch.cat([o, a], 1), self.activation["critic"], self.activation["critic"])
            value = h @ self.w[f"{member}/value/weight"] + self.w[f"{member}/value/bias"]
            values.append(ACTIVATIONS[self.output["critic"]](value)[:, 0])
        return values

    def smallest(self, values: list[torch.Tensor]) -> torch.Tensor:
        result = values[0]
        for value in values[1:]:
            result = torch.maximum(result, value) if self.mistake == "largest critic" else torch.minimum(result, value)
        return result

    def step(self, batch: Any, noise: torch.Tensor, rates: dict[str, float]) -> dict[str, float]:
        o, next_o = self.observation(batch.observation), self.observation(batch.next_observation)
        a, r, noise = batch.action.double(), batch.reward.double(), noise.double()
        alpha = self.alpha().detach()
        if self.mistake == "targets first":
            self.move_targets()

        next_a, next_log_prob = self.policy(next_o, noise[0])
        entropy_term = 0.0 if self.mistake == "no entropy in the target" else alpha * next_log_prob
        y = (
            r + batch.discount.double() * (self.smallest(self.q("critic_target", next_o, next_a)) - entropy_term)
        ).detach()
        share = 1 / self.n_critics if self.mistake == "mean over critics" else 1.0
        before = dict(self.w)
        mean_q = torch.stack(self.q("critic", o, a)).mean().detach()
        critic_loss = self.adam(
            "critic", lambda: sum(0.5 * share * ((q - y) ** 2).mean() for q in self.q("critic", o, a)), rates["lr_c"]
        )

        log_probs = []

        def actor_loss() -> torch.Tensor:
            action, log_prob = self.policy(o, noise[1])
            log_probs.append(log_prob.detach())
            now = self.w
            if self.mistake == "actor sees the old critics":
                self.w = before
            q = self.smallest(self.q("critic", o, action))
            self.w = now
            return (alpha * log_prob - q).mean()

        n_actions = a.shape[1]
        target_entropy = -float(n_actions) if self.target_entropy is None else self.target_entropy

        def alpha_loss() -> torch.Tensor:
            return -(self.alpha() * (log_probs[0] + target_entropy)).mean()

        actor_value = self.adam("actor", actor_loss, rates["lr_a"])
        alpha_value = self.adam("alpha", alpha_loss, rates["lr_alpha"]) if self.adaptive else alpha_loss()
        if self.mistake != "targets first":
            self.move_targets()
        return {
            "critic_loss": float(critic_loss),
            "actor_loss": float(actor_value),
            "alpha_loss": float(alpha_value),
            "alpha": float(self.alpha().detach() if self.mistake == "alpha after the step" else alpha),
            "entropy": -float(log_probs[0].mean()),
            "q_value": float(mean_q),
        }


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "one critic": {"n_critics": 1},
    "three critics": {"n_critics": 3},
    "fixed temperature": {"adaptive_temperature": False, "alpha": 0.3},
    "no temperature": {"adaptive_temperature": False, "alpha": 0.0},
    "initial temperature": {"alpha": 2.5},
    "target entropy": {"target_entropy": 1.5},
    "gamma": {"gamma": 0.5},
    "polyak": {"polyak": 0.25},
    "frozen targets": {"polyak": 1.0},
    "targets that follow at once": {"polyak": 0.0},
    "hidden sizes": {"hidden_sizes": {"actor": [5], "critic": [7, 4, 6]}},
    "activations": {"activation": {"actor": "Tanh", "critic": "ELU"}},
    "output activations": {"output_activation": {"actor": "Tanh", "critic": "Softplus"}},
    "partial dicts": {"activation": {"critic": "Tanh"}, "output_activation": {"actor": "Identity"}},
    "Dict observations": {"observation_space": DICT},
    "2-D observations and actions": {
        "observation_space": BOX_2D,
        "action_space": gymnasium.spaces.Box(-1, 1, (2, 2), np.float64),
    },
    "normalisation": {"normalize_observations": True, "n_critics": 3},
}


def run_both(make_learner: Any, make_batch: Any, case: dict[str, Any], mistake: str = "") -> list[tuple[float, str]]:
    """Runs learner and reference side by side; returns how far each number is off, as parts of what is allowed."""
    gamma = case.get("gamma", 0.9)
    learner = make_learner(**{key: value for key, value in case.items() if key != "gamma"})
    if case.get("normalize_observations"):
        # Far from the standard moments, and one observation far outside, so that the clipping acts.
        learner.observe(np.random.default_rng(9).normal(1.0, [0.01, 3.0, 1.0], (50, 3)).astype(np.float32))
    reference = SACReference(learner.state_dict(), case, mistake)
    return run_beside(learner, reference, make_batch, RATES, gamma=gamma)


@pytest.mark.parametrize("name", CASES)
def test_gradient_steps_equal_the_reference(make_learner: Any, make_batch: Any, name: str) -> None:
    worst = max(run_both(make_learner, make_batch, CASES[name]))
    assert worst[0] <= 1.0, worst


@pytest.mark.parametrize(
    "mistake",
    [
        "actor sees the old critics",
        "alpha after the step",
        "targets first",
        "no entropy in the target",
        "largest critic",
        "mean over critics",
    ],
)
def test_the_comparison_notices(make_learner: Any, make_batch: Any, mistake: str) -> None:
    assert max(run_both(make_learner, make_batch, {}, mistake))[0] > 3.0


def test_no_group_moves_another(make_learner: Any, make_batch: Any) -> None:
    rates = {"actor": "lr_a", "critic": "lr_c", "alpha": "lr_alpha"}
    assert_rates_move_their_group_alone(make_learner, make_batch, rates)


def test_losses_leave_no_gradients_elsewhere(make_learner: Any, make_batch: Any, losses: Any) -> None:
    learner = make_learner(normalize_observations=True)
    batch, noise = make_batch(learner, 0)
    losses(learner, batch, noise)[0].backward()
    assert with_gradient(learner.policy) == {"critic"}
    assert learner.alpha.log_value.grad is None

    learner = make_learner()
    losses(learner, batch, noise)[1].backward()
    assert with_gradient(learner.policy) == {"actor"}
    assert all(p.grad is None for p in learner.frozen_critic.parameters())
    assert learner.alpha.log_value.grad is None


def test_terminated_ends_the_value(make_learner: Any, make_batch: Any) -> None:
    learner, other = make_learner(), make_learner()
    batch, noise = make_batch(learner, 0)
    batch = batch._replace(discount=torch.zeros_like(batch.discount))
    elsewhere = batch._replace(next_observation=batch.next_observation + 5.0)
    assert float(learner.step(batch, noise)[0]) == float(other.step(elsewhere, noise)[0])


def test_the_same_step_twice_gives_the_same_bits(make_learner: Any, make_batch: Any) -> None:
    assert_steps_are_reproducible(make_learner, make_batch, RATES[0])
