"""What is fused computes what the networks themselves do: values, gradients, and whole gradient steps."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import slc_agents.pytorch.learner as learner_module
from slc_agents.compute import ComputeOptions
from slc_agents.pytorch.fused import FusedActor, FusedCritic, FusedLyapunov, FusedTrunk, Workspace, fuse
from slc_agents.pytorch.networks import Dense, EnsembleDense, make_ensemble_mlp
from slc_agents.pytorch.policies import CriticEnsemble, LyapunovEnsemble, MlpPolicy, SquashedGaussianActor

PLAIN = ComputeOptions(fused=False)
BFLOAT16 = ComputeOptions(precision="bfloat16")
IMAGE = gymnasium.spaces.Box(0, 255, (3, 12, 12), np.uint8)
PICTURES = {"policy": "CnnPolicy", "observation_space": IMAGE, "cnn_layers": [(4, 4, 2)], "cnn_features": 6}
MIXED = gymnasium.spaces.Dict({"eye": IMAGE, "arm": gymnasium.spaces.Box(-1, 1, (2,))})


class Doubled(MlpPolicy):
    """Has an actor of the user's own around the usual one."""

    def make_actor(self) -> nn.Module:
        class Own(SquashedGaussianActor):
            def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
                return super().forward(2.0 * features, noise)

        kinds = self.activation["actor"], self.output_activation["actor"]
        return Own(self.n_features, self.n_actions, self.hidden_sizes["actor"], *kinds)


# What it is made of, and what takes the place of its actor and of its critics.
CASES: dict[str, tuple[dict[str, Any], type, type]] = {
    "default": ({}, FusedActor, FusedCritic),
    "one critic": ({"n_critics": 1}, FusedActor, FusedCritic),
    "five critics": ({"n_critics": 5}, FusedActor, FusedCritic),
    "one hidden layer": ({"hidden_sizes": [7]}, FusedActor, FusedCritic),
    "deep": ({"hidden_sizes": {"actor": [5, 9, 6], "critic": [4, 8, 3, 6]}}, FusedActor, FusedCritic),
    "tanh": ({"activation": "Tanh", "output_activation": {"actor": "Tanh"}}, FusedActor, FusedCritic),
    "sigmoid": ({"activation": "Sigmoid", "output_activation": "Sigmoid"}, FusedActor, FusedCritic),
    "rectified values": ({"output_activation": {"critic": "ReLU"}}, FusedActor, FusedCritic),
    "bounded values": ({"output_activation": {"critic": "Tanh"}}, FusedActor, FusedCritic),
    "linear actor": ({"activation": "Identity", "output_activation": None}, FusedActor, FusedCritic),
    "normalisation": ({"normalize_observations": True}, FusedActor, FusedCritic),
    "Dict": (
        {"observation_space": gymnasium.spaces.Dict({"b": MIXED["arm"], "a": MIXED["arm"]})},
        FusedActor,
        FusedCritic,
    ),
    "unknown activation": ({"activation": {"actor": "SiLU"}}, SquashedGaussianActor, FusedCritic),
    "unknown activations": ({"activation": "ELU"}, SquashedGaussianActor, CriticEnsemble),
    "unknown last activation": ({"output_activation": {"critic": "Softplus"}}, FusedActor, CriticEnsemble),
    "the user's own actor": ({"policy": Doubled}, nn.Module, FusedCritic),
    "state-dependent noise": ({"policy": "GSDEPolicy"}, nn.Module, FusedCritic),
    "state-dependent noise, expln": (
        {"policy": "GSDEPolicy", "use_expln": True, "log_std_init": 0.2},
        nn.Module,
        FusedCritic,
    ),
    "images": (PICTURES, nn.Module, nn.Module),
    "images, shared encoder": ({**PICTURES, "share_encoder": True}, nn.Module, nn.Module),
    "Dict with images": ({**PICTURES, "policy": "MultiInputPolicy", "observation_space": MIXED}, nn.Module, nn.Module),
}


LYAPUNOV_CASES: dict[str, tuple[dict[str, Any], type]] = {
    "default": ({}, FusedLyapunov),
    "two critics": ({"n_critics": 2}, FusedLyapunov),
    "finite horizon": ({"horizon_length": 3}, FusedLyapunov),
    "one layer": ({"hidden_sizes": [7]}, FusedLyapunov),
    "deep": ({"hidden_sizes": {"actor": [5, 9, 6], "critic": [4, 8, 3, 6]}, "n_critics": 3}, FusedLyapunov),
    "tanh": ({"activation": "Tanh"}, FusedLyapunov),
    "linear": ({"activation": "Identity"}, FusedLyapunov),
    "normalisation": ({"normalize_observations": True}, FusedLyapunov),
    "unknown activation": ({"activation": {"critic": "ELU"}}, LyapunovEnsemble),
    "state-dependent noise": ({"policy": "GSDEPolicy"}, FusedLyapunov),
    "images": (PICTURES, nn.Module),
    "images, shared encoder": ({**PICTURES, "share_encoder": True}, nn.Module),
}


def moved(learner: Any, make_batch: Any, steps: int = 3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Does some gradient steps; returns the metrics of all, and the state."""
    learner.set_learning_rates(dict.fromkeys(learner._rate_names, 1e-3))
    learner.policy.train()
    metrics = [[float(x) for x in learner.step(*make_batch(learner, i))] for i in range(steps)]
    return np.array(metrics), learner.state_dict()


@pytest.mark.parametrize("name", CASES)
def test_gradient_steps_equal_those_of_the_ordinary_networks(make_learner: Any, make_batch: Any, name: str) -> None:
    kwargs, actor, critic = CASES[name]
    fused, plain = make_learner(**kwargs), make_learner(**kwargs, compute=PLAIN)
    assert isinstance(fused.actor, actor)
    assert isinstance(fused.critic, critic)
    assert plain.actor is plain.policy.actor
    metrics, state = moved(fused, make_batch)
    expected_metrics, expected = moved(plain, make_batch)
    np.testing.assert_allclose(metrics, expected_metrics, rtol=2e-5, atol=2e-6)
    for key, array in expected.items():
        # Adam makes steps of full size of gradients of the size of rounding errors; the moments show them as they are.
        scale = float(np.abs(array).max()) + 1e-3 if key.startswith("optimizer/") else 1.0
        np.testing.assert_allclose(state[key], array, rtol=1e-4, atol=2e-5 * scale, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_those_of_the_ordinary_networks(
    make_learner: Any, make_batch: Any, name: str, losses: Any
) -> None:
    kwargs = CASES[name][0]
    gradients: list[dict[str, Tensor]] = []
    for compute in (ComputeOptions(), PLAIN):
        learner = make_learner(**kwargs, compute=compute)
        batch, noise = make_batch(learner, 0)
        for loss in losses(learner, batch, noise):
            loss.backward()
        gradients.append({key: p.grad for key, p in learner.policy.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for key, gradient in gradients[1].items():
        torch.testing.assert_close(
            gradients[0][key], gradient, rtol=1e-4, atol=1e-6 + 1e-5 * float(gradient.abs().max())
        )


@pytest.mark.parametrize("name", LYAPUNOV_CASES)
def test_gradient_steps_of_lac_equal_those_of_the_ordinary_networks(
    make_lac_learner: Any, make_batch: Any, name: str
) -> None:
    kwargs, critic = LYAPUNOV_CASES[name]
    fused, plain = make_lac_learner(**kwargs), make_lac_learner(**kwargs, compute=PLAIN)
    for net in (fused.critic, fused.critic_target, fused.frozen_critic):
        assert isinstance(net, critic)
    assert type(fused.actor_target) is type(fused.actor)
    assert plain.actor_target is plain.policy.actor_target
    metrics, state = moved(fused, make_batch)
    expected_metrics, expected = moved(plain, make_batch)
    np.testing.assert_allclose(metrics, expected_metrics, rtol=2e-5, atol=2e-6)
    for key, array in expected.items():
        scale = float(np.abs(array).max()) + 1e-3 if key.startswith("optimizer/") else 1.0
        np.testing.assert_allclose(state[key], array, rtol=1e-4, atol=2e-5 * scale, err_msg=key)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Identity])
def test_gradients_of_lyapunov_functions(activation: type[nn.Module]) -> None:
    ensemble = LyapunovEnsemble(3, 2, [5, 4], activation, n_critics=2)
    generator = torch.Generator().manual_seed(0)
    outcomes = []
    rows = torch.randn(7, 5, generator=generator)
    for net in (fuse(ensemble), ensemble):
        inputs = [part.clone().requires_grad_() for part in rows.split([3, 2], dim=1)]
        ensemble.zero_grad()
        values = net(*inputs)
        (values * torch.linspace(-1, 1, 7)).sum().backward()
        outcomes.append([values, *(x.grad for x in inputs), *(p.grad for p in ensemble.parameters())])
        with torch.no_grad():
            torch.testing.assert_close(net(*inputs), values)
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_actor_of_state_dependent_noise_has_a_fused_trunk(make_learner: Any) -> None:
    learner = make_learner(policy="GSDEPolicy")
    assert type(learner.actor) is type(learner.policy.actor)
    assert isinstance(learner.actor.trunk, FusedTrunk)
    assert not isinstance(learner.policy.actor.trunk, FusedTrunk)
    assert learner.actor.log_std is learner.policy.actor.log_std


def test_behind_encoders_the_heads_are_fused(make_learner: Any) -> None:
    learner = make_learner(**PICTURES)
    assert isinstance(learner.actor.head, FusedActor)
    assert isinstance(learner.critic.head, FusedCritic)
    assert learner.critic.encoder is learner.policy.critic.encoder


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: nn.Sequential(nn.Linear(2, 2)), nn.Sequential])
def test_what_is_not_known_stays(make: Any) -> None:
    module = make()
    assert fuse(module) is module


def test_other_types_than_float32_stay(make_learner: Any) -> None:
    critic = copy.deepcopy(make_learner().policy.critic).double()
    assert fuse(critic) is critic


def test_hooks_of_a_user_are_called(make_learner: Any, make_batch: Any) -> None:
    learner = make_learner()
    seen: list[torch.Size] = []
    handle = learner.policy.actor.trunk[0].register_forward_hook(
        lambda module, inputs, output: seen.append(output.shape)
    )
    learner.follow_policy()
    assert "ordinary networks" in learner.describe()
    learner.step(*make_batch(learner, 0))
    assert seen == [(16, 8)] * 2
    handle.remove()
    learner.follow_policy()
    assert "fused networks" in learner.describe()
    learner.step(*make_batch(learner, 1))
    assert len(seen) == 2


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_on_parameters_are_called(make_learner: Any, make_batch: Any, register: str) -> None:
    learner = make_learner()
    weight = learner.policy.actor.mean.weight
    seen: list[Tensor] = []
    getattr(weight, register)(seen.append)
    learner.follow_policy()
    learner.step(*make_batch(learner, 0))
    assert len(seen) == 1


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # the actor's inputs want no gradients
@pytest.mark.parametrize("kwargs", [{}, {"policy": "GSDEPolicy"}, PICTURES], ids=["MLP", "gSDE", "images"])
def test_backward_hooks_are_called(make_learner: Any, make_batch: Any, kwargs: dict[str, Any]) -> None:
    learner = make_learner(**kwargs)
    seen: list[str] = []
    learner.policy.actor.register_full_backward_hook(lambda *_: seen.append("actor"))
    learner.follow_policy()
    learner.step(*make_batch(learner, 0))
    assert seen == ["actor"]


def tie(learner: Any) -> None:
    learner.policy.critic.trunk.append(learner.policy.critic.trunk[1])


def exchange(learner: Any) -> None:
    learner.policy.actor.trunk[0].activation = nn.Tanh()


def replace_forward(learner: Any) -> None:
    trunk = learner.policy.actor.trunk
    forward = type(trunk).forward
    trunk.forward = lambda x: 2.0 * forward(trunk, x)


def normalise_weights(learner: Any) -> None:
    nn.utils.parametrizations.weight_norm(learner.policy.actor.trunk[0])


@pytest.mark.parametrize("change", [tie, exchange, replace_forward, normalise_weights])
def test_changed_parts_count_in_learning(make_learner: Any, change: Any) -> None:
    learner = make_learner()
    features, noise = torch.randn(5, 3), torch.randn(5, 2)
    action = torch.rand(5, 2)
    before = learner.policy.actor(features, noise)[0], learner.policy.critic(features, action)
    change(learner)
    learner.follow_policy()
    after = learner.policy.actor(features, noise)[0], learner.policy.critic(features, action)
    if change is not normalise_weights:
        assert not (torch.allclose(before[0], after[0]) and torch.allclose(before[1], after[1]))
    torch.testing.assert_close(learner.actor(features, noise)[0], after[0])
    torch.testing.assert_close(learner.critic(features, action), after[1])


def take_elsewhere(learner: Any) -> None:
    for parameter in learner.policy.parameters():
        parameter.data = parameter.data.clone()


def change_type_and_back(learner: Any) -> None:
    learner.policy.double().float()


@pytest.mark.parametrize("move", [take_elsewhere, change_type_and_back])
@pytest.mark.parametrize("compute", [ComputeOptions(), PLAIN])
def test_parameters_in_other_memory_are_learned_there(
    make_learner: Any, make_batch: Any, move: Any, compute: ComputeOptions
) -> None:
    learner, still = make_learner(compute=compute), make_learner(compute=compute)
    for i in range(4):
        for one in (learner, still):
            one.set_learning_rates({"lr_a": 1e-3, "lr_c": 1e-3, "lr_alpha": 1e-3})
            one.follow_policy()
            one.step(*make_batch(one, i))
        if i == 1:
            move(learner)
    expected = still.state_dict()
    for key, array in learner.state_dict().items():
        np.testing.assert_allclose(array, expected[key], rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("compute", [ComputeOptions(), PLAIN])
def test_what_is_frozen_in_the_middle_stays(make_learner: Any, make_batch: Any, compute: ComputeOptions) -> None:
    learner = make_learner(compute=compute)
    learner.set_learning_rates({"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 1e-2})
    learner.step(*make_batch(learner, 0))
    learner.policy.actor.mean.requires_grad_(False)
    before = learner.state_dict()
    learner.follow_policy()
    learner.step(*make_batch(learner, 1))
    changed = {key for key, array in learner.state_dict().items() if not np.array_equal(array, before[key])}
    assert not [key for key in changed if "actor/mean" in key]
    assert {"actor/trunk/0/weight", "actor/log_std/weight", "critic/0/trunk/0/weight"} <= changed


def test_losses_may_depend_on_the_action_or_its_log_probability_alone(make_learner: Any) -> None:
    for part in (0, 1):
        gradients = []
        for compute in (ComputeOptions(), PLAIN):
            learner = make_learner(compute=compute)
            features = torch.linspace(-1, 1, 15).view(5, 3)
            learner.actor(features, torch.linspace(-1, 1, 10).view(5, 2))[part].sum().backward()
            gradients.append([p.grad for p in learner.policy.actor.parameters()])
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({}, "float32, 1 thread, "),
        ({"activation": "ELU"}, "ordinary networks"),
        ({"activation": {"critic": "ELU"}}, "partly fused networks"),
        ({"policy": "GSDEPolicy"}, " fused networks"),
    ],
)
def test_the_line_says_what_is_fused(make_learner: Any, kwargs: dict[str, Any], said: str) -> None:
    assert said in make_learner(**kwargs, compute=ComputeOptions(num_threads=1)).describe()


def test_bfloat16_without_a_network_that_computes_in_it_is_refused(make_learner: Any) -> None:
    with pytest.raises(ValueError, match=r"precision='bfloat16'.*none of this policy's is one on cpu: MlpPolicy"):
        make_learner(activation="ELU", compute=BFLOAT16)


def test_bfloat16_where_nothing_is_ever_fused_is_refused(make_learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = learner_module.choose_plan
    monkeypatch.setattr(learner_module, "choose_plan", lambda *args: replace(choose(*args), networks="ordinary"))
    with pytest.raises(ValueError, match=r"precision='bfloat16'"):
        make_learner(compute=BFLOAT16)


def test_networks_with_hooks_compute_in_float32_and_say_so(make_learner: Any) -> None:
    learner = make_learner(compute=BFLOAT16)
    assert "bfloat16" in learner.describe()
    handle = learner.policy.critic.register_forward_hook(lambda module, inputs, output: None)
    learner.follow_policy()
    assert "float32, " in learner.describe()
    assert "ordinary networks" in learner.describe()
    handle.remove()
    learner.follow_policy()
    assert "bfloat16" in learner.describe()


def test_layers_of_two_kinds_stay() -> None:
    layers = nn.Sequential(Dense(3, 4), EnsembleDense(2, 4, 5))
    assert fuse(layers) is layers
    assert layers(torch.zeros(6, 3)).shape == (2, 6, 5)


@pytest.mark.parametrize("algorithm", ["SAC", "LAC"])
def test_the_workspace_holds_no_more_than_is_used_at_once(
    make_learner: Any, make_lac_learner: Any, make_batch: Any, algorithm: str
) -> None:
    learner = {"SAC": make_learner, "LAC": make_lac_learner}[algorithm](n_critics=3, compute=BFLOAT16)
    counts = []
    for i in range(6):
        learner.step(*make_batch(learner, i))
        with torch.no_grad():
            learner.critic(torch.randn(16, 3, dtype=torch.float64), torch.rand(16, 2, dtype=torch.float64))
        counts.append(sum(map(len, learner.workspace._free.values())))
    assert counts[1:] == counts[:1] * 5


def test_frozen_parameters_get_no_gradients(make_learner: Any, make_batch: Any, losses: Any) -> None:
    learner = make_learner()
    learner.policy.actor.trunk.requires_grad_(False)
    learner.follow_policy()
    batch, noise = make_batch(learner, 0)
    losses(learner, batch, noise)[1].backward()
    assert all(p.grad is None for p in learner.policy.actor.trunk.parameters())
    assert float(learner.policy.actor.mean.weight.grad.abs().sum()) > 0


def test_gradients_add_up_until_they_are_cleared(make_learner: Any) -> None:
    learner = make_learner()
    features, action = torch.randn(5, 3), torch.rand(5, 2)

    def gradient() -> Tensor:
        learner.critic(features, action).sum().backward()
        return learner.policy.critic.trunk[1].weight.grad.clone()

    torch.testing.assert_close(2.0 * gradient(), gradient())


def test_an_ensemble_s_trunk_takes_one_input_for_all_or_one_for_each() -> None:
    trunk = make_ensemble_mlp(3, 4, [5, 6], nn.Tanh)
    fused = fuse(trunk)
    assert isinstance(fused, FusedTrunk)
    for shape in ((7, 4), (3, 7, 4)):
        inputs = [torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_() for _ in range(2)]
        outputs = [net(x) for net, x in zip((fused, trunk), inputs, strict=True)]
        torch.testing.assert_close(*outputs)
        for output in outputs:
            output.square().sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
        with torch.no_grad():
            torch.testing.assert_close(fused(inputs[0]), trunk(inputs[0]))


WIDE = {"hidden_sizes": [64, 64], "batch_size": 256}


@pytest.mark.parametrize(
    "name", ["default", "one hidden layer", "deep", "tanh", "normalisation", "state-dependent noise"]
)
def test_bfloat16_is_near_float32(make_learner: Any, make_batch: Any, name: str, losses: Any) -> None:
    """Gradients differ by what is left of 8 bits of mantissa, and point the same way."""
    kwargs = {**WIDE, **CASES[name][0]}
    flat: list[dict[str, Tensor]] = []
    for compute in (BFLOAT16, PLAIN):
        learner = make_learner(**kwargs, compute=compute)
        batch, noise = make_batch(learner, 0)
        for loss in losses(learner, batch, noise):
            loss.backward()
        parts = {"actor": learner.policy.actor, "critic": learner.policy.critic}
        flat.append({key: torch.cat([p.grad.flatten() for p in net.parameters()]) for key, net in parts.items()})
    for key, exact in flat[1].items():
        error = float((flat[0][key] - exact).norm() / exact.norm())
        assert error < 0.03
        if name != "one hidden layer":  # where there is nothing between hidden layers, all is float32
            assert error > 1e-5


def test_lyapunov_functions_in_bfloat16_are_near_those_in_float32() -> None:
    ensemble = LyapunovEnsemble(3, 2, [64, 64], nn.ReLU, n_critics=2)
    rows = torch.randn(256, 5, generator=torch.Generator().manual_seed(0)).split([3, 2], dim=1)
    outcomes = []
    for net in (fuse(ensemble, torch.bfloat16), ensemble):
        ensemble.zero_grad()
        values = net(*rows)
        values.sum().backward()
        outcomes.append((values.detach(), torch.cat([p.grad.flatten() for p in ensemble.parameters()])))
    for rounded, exact in zip(*outcomes, strict=True):
        assert 1e-5 < float((rounded - exact).norm() / exact.norm()) < 0.03


def test_products_of_bfloat16_by_way_of_float32_are_the_rounded_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    rounded = [torch.randn(shape, generator=generator).bfloat16() for shape in ((2, 64, 48), (2, 48, 32))]
    exact = torch.bmm(*(x.double() for x in rounded))
    for a, b, expected in (
        (*rounded, exact),
        (rounded[0][0], rounded[1][0], exact[0]),
        (rounded[1].mT, rounded[0].mT, exact.mT),
    ):
        product = Workspace(widens=True).multiply(a, b)
        assert product.dtype is torch.bfloat16
        assert float((product.double() - expected).abs().max() / expected.abs().max()) < 2**-8
        assert torch.equal(product, (a.float() @ b.float()).bfloat16())
        out = torch.empty_like(product)
        assert Workspace(widens=True).multiply(a, b, out=out) is out
        assert torch.equal(out, product)


def test_bfloat16_by_way_of_float32_takes_the_same_steps(
    make_learner: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the processor's own, up to the order of sums; in none of them does torch multiply bfloat16 itself."""
    outcomes = []
    for widened in (False, True):
        choose = learner_module.choose_plan
        with monkeypatch.context() as patch:
            patch.setattr(learner_module, "choose_plan", lambda *a, w=widened, c=choose: replace(c(*a), widened=w))
            learner = make_learner(**WIDE, compute=BFLOAT16)
        assert learner.workspace.widens is widened
        outcomes.append(moved(learner, make_batch))
    (metrics, state), (wide_metrics, wide_state) = outcomes
    np.testing.assert_allclose(wide_metrics, metrics, rtol=5e-3, atol=5e-3)
    for key in (key for key in state if key.startswith(("actor/", "critic/"))):
        np.testing.assert_allclose(wide_state[key], state[key], atol=4e-3, err_msg=key)


def test_bfloat16_keeps_parameters_and_moments_in_float32(make_learner: Any, make_batch: Any) -> None:
    learner = make_learner(**WIDE, compute=BFLOAT16)
    metrics, state = moved(learner, make_batch)
    expected_metrics, expected = moved(make_learner(**WIDE), make_batch)
    assert {array.dtype.kind for key, array in state.items() if not key.endswith("step")} == {"f"}
    assert all(p.dtype is torch.float32 for p in learner.policy.parameters())
    np.testing.assert_allclose(metrics, expected_metrics, rtol=0.02, atol=0.02)
    for key in (key for key in expected if key.startswith(("actor/", "critic/"))):
        np.testing.assert_allclose(state[key], expected[key], atol=4e-3, err_msg=key)
