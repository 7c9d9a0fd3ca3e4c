"""What references for gradient steps have in common: they are written straight from the equations, in float64.

They share nothing with the package but the names of the tensors: separate critics, matrix products, densities of
`torch.distributions`, the change of variables of tanh, Adam from its paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from torch.distributions import Normal

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
ACTIVATIONS = {
    "ReLU": lambda x: x.clamp(min=0),
    "Tanh": torch.tanh,
    "ELU": lambda x: torch.where(x > 0, x, torch.exp(x) - 1),
    "Softplus": lambda x: torch.log1p(torch.exp(x)),
    "Identity": lambda x: x,
}
BOX_2D = gymnasium.spaces.Box(-np.inf, np.inf, (2, 2), np.float64)
DICT = gymnasium.spaces.Dict(
    {"position": gymnasium.spaces.Box(-1, 1, (2,)), "angle": gymnasium.spaces.Box(-1, 1, (1, 3))}
)


class Reference:
    """An algorithm in one piece. `mistake` does one thing wrong, to show that the comparison would notice it."""

    groups: tuple[str, ...]
    targets: tuple[str, ...] = ("critic",)  # what has a slow copy
    default_critics = 2

    def __init__(self, state: dict[str, np.ndarray], case: dict[str, Any], mistake: str = "") -> None:
        self.w = {k: torch.tensor(v, dtype=torch.float64) for k, v in state.items() if not k.startswith("optimizer/")}
        self.m = {k: torch.zeros_like(v) for k, v in self.w.items()}
        self.v = {k: torch.zeros_like(v) for k, v in self.w.items()}
        self.t = dict.fromkeys(self.groups, 0)
        self.n_critics = case.get("n_critics", self.default_critics)
        self.activation = {"actor": "ReLU", "critic": "ReLU"} | case.get("activation", {})
        self.output = {"actor": "ReLU", "critic": "Identity"} | case.get("output_activation", {})
        self.polyak = case.get("polyak", 0.9)
        self.alpha_0 = case.get("alpha", 0.7)
        self.adaptive = case.get("adaptive_temperature", True)
        self.target_entropy = case.get("target_entropy")
        self.mistake = mistake

    def observation(self, observation: Any) -> torch.Tensor:
        if isinstance(observation, dict):
            rows = torch.cat([observation[key].double().reshape(16, -1) for key in sorted(observation)], dim=1)
        else:
            rows = observation.double().reshape(16, -1)
        if "normalizer/mean" in self.w:
            rows = (rows - self.w["normalizer/mean"]) / torch.sqrt(self.w["normalizer/var"] + 1e-8)
            rows = torch.minimum(torch.maximum(rows, torch.tensor(-10.0)), torch.tensor(10.0))
        return rows

    def hidden(self, name: str, x: torch.Tensor, activation: str, last: str) -> torch.Tensor:
        depth = len({k.split("/")[-2] for k in self.w if k.startswith(f"{name}/trunk/")})
        for i in range(depth):
            x = x @ self.w[f"{name}/trunk/{i}/weight"] + self.w[f"{name}/trunk/{i}/bias"]
            x = ACTIVATIONS[last if i == depth - 1 else activation](x)
        return x

    def policy(self, o: torch.Tensor, noise: torch.Tensor, name: str = "actor") -> tuple[torch.Tensor, torch.Tensor]:
        h = self.hidden(name, o, self.activation["actor"], self.output["actor"])
        mean = h @ self.w[f"{name}/mean/weight"] + self.w[f"{name}/mean/bias"]
        log_std = h @ self.w[f"{name}/log_std/weight"] + self.w[f"{name}/log_std/bias"]
        std = torch.exp(torch.clip(log_std, -20, 2))
        u = mean + std * noise
        log_prob = Normal(mean, std).log_prob(u) - torch.log(1 - torch.tanh(u) ** 2)
        return torch.tanh(u), log_prob.sum(1)

    def alpha(self) -> torch.Tensor:
        return (
            torch.exp(self.w["alpha/log_value"]) if self.adaptive else torch.tensor(self.alpha_0, dtype=torch.float64)
        )

    def adam(self, group: str, loss: Any, rate: float) -> torch.Tensor:
        names = [k for k in self.w if k.startswith(f"{group}/")]
        for name in names:
            self.w[name] = self.w[name].detach().requires_grad_()
        value = loss()
        gradients = torch.autograd.grad(value, [self.w[name] for name in names])
        self.t[group] += 1
        for name, g in zip(names, gradients, strict=True):
            self.m[name] = BETA_1 * self.m[name] + (1 - BETA_1) * g
            self.v[name] = BETA_2 * self.v[name] + (1 - BETA_2) * g**2
            m_hat = self.m[name] / (1 - BETA_1 ** self.t[group])
            v_hat = self.v[name] / (1 - BETA_2 ** self.t[group])
            self.w[name] = self.w[name].detach() - rate * m_hat / (torch.sqrt(v_hat) + EPSILON)
        return value.detach()

    def move_targets(self) -> None:
        for part in self.targets:
            for name in [k for k in self.w if k.startswith(f"{part}/")]:
                target = name.replace(f"{part}/", f"{part}_target/", 1)
                self.w[target] = self.polyak * self.w[target] + (1 - self.polyak) * self.w[name].detach()


def run_beside(
    learner: Any, reference: Any, make_batch: Any, rates: list[dict[str, float]], **batch_kwargs: Any
) -> list[tuple[float, str]]:
    """Runs learner and reference side by side, a step for each of `rates`.

    Returns:
        How far each number is off, as parts of what is allowed, and its name.
    """
    off: list[tuple[float, str]] = []
    for i, step_rates in enumerate(rates):
        batch, noise = make_batch(learner, seed=i, **batch_kwargs)
        learner.set_learning_rates(step_rates)
        metrics = dict(zip(learner.metric_names, map(float, learner.step(batch, noise)), strict=True))
        expected = reference.step(batch, noise, step_rates)
        assert set(metrics) == set(expected)
        for name, value in expected.items():
            off.append((abs(metrics[name] - value) / (2e-5 * (1 + abs(value))), f"step {i}: {name}"))
        state = learner.state_dict()
        for name, value in reference.w.items():
            error = float((torch.from_numpy(state[name]) - value.detach()).abs().max())
            off.append((error / 1e-5, f"step {i}: {name}"))
            group = name.split("/")[0]
            if group not in reference.groups or name.endswith("fixed_value"):
                continue
            # Where it is alpha's it is optimizer/alpha/log_value; the critics' first name is not repeated either.
            for letter, moments in (("m", reference.m), ("v", reference.v)):
                moment = moments[name]
                error = float((torch.from_numpy(state[f"optimizer/{name}/{letter}"]) - moment).abs().max())
                off.append(
                    (error / (1e-4 * (1e-2 + float(moment.abs().max()))), f"step {i}: optimizer/{name}/{letter}")
                )
        for group, t in reference.t.items():
            if f"optimizer/{group}/step" in state:
                assert state[f"optimizer/{group}/step"] == t == i + 1
    return off


def assert_rates_move_their_group_alone(make: Any, make_batch: Any, rates: Mapping[str, str]) -> None:
    """A step with one group's rate alone moves that group and nothing else.

    Args:
        make: Makes a learner.
        make_batch: Makes a minibatch and noise.
        rates: The rate of each group.
    """
    for moved, rate in rates.items():
        learner = make(polyak=1.0)
        before = learner.state_dict()
        learner.set_learning_rates({**dict.fromkeys(rates.values(), 0.0), rate: 1e-2})
        learner.step(*make_batch(learner, 0))
        after = learner.state_dict()
        changed = {k.split("/")[0] for k in before if not k.startswith("optimizer") and (before[k] != after[k]).any()}
        assert changed == {moved}


def assert_steps_are_reproducible(make: Any, make_batch: Any, rates: dict[str, float]) -> None:
    """Two learners that are alike do the same steps, bit for bit."""
    states = []
    for _ in range(2):
        learner = make()
        learner.set_learning_rates(rates)
        for i in range(3):
            learner.step(*make_batch(learner, i))
        states.append(learner.state_dict())
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)


def with_gradient(module: torch.nn.Module) -> set[str]:
    """Returns the parts of a module whose parameters have a gradient."""
    return {name.split(".")[0] for name, parameter in module.named_parameters() if parameter.grad is not None}
