"""Policies: their keywords, their weights, and the user's own."""

from __future__ import annotations

import copy
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import slc_agents.policies
from slc_agents import SAC
from slc_agents.errors import UnsupportedSpaceError
from slc_agents.policies import LyapunovEnsemble, MlpPolicy
from slc_agents.pytorch import policies
from slc_agents.pytorch.normalizer import ObservationNormalizer
from slc_agents.pytorch.policies import make_policy

BOX = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
ACTION = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


def make(
    kwargs: dict[str, Any] | None = None, policy: Any = "MlpPolicy", seed: int = 0, observation_space: Any = BOX
) -> Any:
    return make_policy(policy, observation_space, ACTION, kwargs, seed)


def shapes(net: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")]


# -- keywords ----------------------------------------------------------------------------------------------------------


def test_defaults_are_the_seed_s() -> None:
    policy = make()
    assert shapes(policy.actor) == [(3, 256), (256, 256), (256, 2), (256, 2)]
    assert shapes(policy.critic) == shapes(policy.critic_target) == [(2, 5, 256), (2, 256, 256), (2, 256, 1)]
    assert policy.activation == {"actor": nn.ReLU, "critic": nn.ReLU}
    assert policy.output_activation == {"actor": nn.ReLU, "critic": nn.Identity}
    assert not isinstance(policy.normalizer, ObservationNormalizer)


@pytest.mark.parametrize(
    ("given", "actor", "critic"),
    [
        ([4], [4], [4]),
        ((4, 5), [4, 5], [4, 5]),
        (np.array([4, 5]), [4, 5], [4, 5]),
        ({"actor": [4]}, [4], [256, 256]),
        ({"critic": [4, 5, 6]}, [256, 256], [4, 5, 6]),
        ({"actor": [4], "critic": (5,)}, [4], [5]),
        ({}, [256, 256], [256, 256]),
    ],
)
def test_hidden_sizes(given: Any, actor: list[int], critic: list[int]) -> None:
    policy = make({"hidden_sizes": given})
    assert [shape[-1] for shape in shapes(policy.actor)] == [*actor, 2, 2]
    assert [shape[-1] for shape in shapes(policy.critic)] == [*critic, 1]


@pytest.mark.parametrize(
    ("given", "actor", "critic"),
    [
        ("tanh", nn.Tanh, nn.Tanh),
        (nn.ELU, nn.ELU, nn.ELU),
        ({"critic": nn.Tanh}, nn.ReLU, nn.Tanh),
        ({"actor": "ELU"}, nn.ELU, nn.ReLU),
    ],
)
def test_activation(given: Any, actor: type, critic: type) -> None:
    policy = make({"activation": given, "hidden_sizes": [4, 4]})
    assert type(policy.actor.trunk[0].activation) is actor
    assert type(policy.actor.trunk[1].activation) is nn.ReLU  # the last hidden layer has output_activation
    assert [type(layer.activation) for layer in policy.critic.trunk] == [critic, critic]


@pytest.mark.parametrize(
    ("given", "actor", "critic"),
    [
        ("Tanh", nn.Tanh, nn.Tanh),
        (None, nn.Identity, nn.Identity),
        ({"actor": None}, nn.Identity, nn.Identity),
        ({"critic": nn.Softplus}, nn.ReLU, nn.Softplus),
        ({"actor": "Tanh"}, nn.Tanh, nn.Identity),
    ],
)
def test_output_activation(given: Any, actor: type, critic: type) -> None:
    policy = make({"output_activation": given, "hidden_sizes": [4, 4]})
    assert [type(layer.activation) for layer in policy.actor.trunk] == [nn.ReLU, actor]
    assert type(policy.actor.mean.activation) is type(policy.actor.log_std.activation) is nn.Identity
    assert type(policy.critic.value.activation) is critic


@pytest.mark.parametrize("n", [1, 2, 5, np.int64(3)])
def test_n_critics(n: Any) -> None:
    policy = make({"n_critics": n, "hidden_sizes": [4]})
    assert policy.critic(torch.zeros(7, 3), torch.zeros(7, 2)).shape == (n, 7)
    assert type(policy.n_critics) is int


def test_targets_start_as_the_critics_with_memory_of_their_own() -> None:
    policy = make({"hidden_sizes": [4]})
    for ours, theirs in zip(policy.critic.parameters(), policy.critic_target.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()
        assert ours.requires_grad
        assert not theirs.requires_grad


def test_the_caller_s_objects_and_the_defaults_stay_as_they_were() -> None:
    class Greedy(MlpPolicy):
        def __init__(self, observation_space: Any, action_space: Any, **kwargs: Any) -> None:
            super().__init__(observation_space, action_space, **kwargs)
            kwargs["hidden_sizes"]["actor"].append(99)
            kwargs["hidden_sizes"]["critic"] = None
            kwargs.clear()

    kwargs = {"hidden_sizes": {"actor": [4]}, "activation": {"critic": nn.Tanh}, "output_activation": {"actor": "Tanh"}}
    before, defaults = (
        copy.deepcopy(kwargs),
        copy.deepcopy([policies.DEFAULT_HIDDEN_SIZES, policies.DEFAULT_ACTIVATION]),
    )
    make(kwargs)
    make(kwargs, policy=Greedy)
    assert kwargs == before
    assert defaults == [policies.DEFAULT_HIDDEN_SIZES, policies.DEFAULT_ACTIVATION]
    assert [shape[-1] for shape in shapes(make().actor)] == [256, 256, 2, 2]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"hidden_size": [4]}, ["hidden_size", "did you mean 'hidden_sizes'"]),
        ({"n_critic": 2}, ["did you mean 'n_critics'"]),
        ({"normalise_observations": True}, ["did you mean 'normalize_observations'"]),
        ({"net_arch": [4]}, ["net_arch", "hidden_sizes"]),
        ({"activation_fn": nn.ReLU}, ["activation_fn", "here it is activation"]),
        ({"zzz": 1}, ["zzz", "hidden_sizes", "activation", "output_activation", "n_critics", "normalize_observations"]),
        ({"observation_space": BOX}, ["observation_space"]),
    ],
)
def test_unknown_keywords(kwargs: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        make(kwargs)
    for word in ["policy_kwargs of MlpPolicy", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"hidden_sizes": []}, ["hidden_sizes=[]", "at least one"]),
        ({"hidden_sizes": [8, 0]}, ["hidden_sizes=[8, 0]", "positive"]),
        ({"hidden_sizes": [-8]}, ["hidden_sizes=[-8]"]),
        ({"hidden_sizes": [8.5]}, ["hidden_sizes=[8.5]"]),
        ({"hidden_sizes": [True]}, ["hidden_sizes=[True]"]),
        ({"hidden_sizes": 64}, ["hidden_sizes=64", "list"]),
        ({"hidden_sizes": "64"}, ["hidden_sizes='64'"]),
        ({"hidden_sizes": None}, ["hidden_sizes=None"]),
        ({"hidden_sizes": {"actor": [0]}}, ["hidden_sizes['actor']=[0]"]),
        ({"hidden_sizes": {"pi": [8], 3: [8]}}, ["hidden_sizes", "pi", "['actor', 'critic']"]),
        ({"activation": {"actr": "ReLU"}}, ["activation", "actr", "['actor', 'critic']"]),
        ({"activation": "Sqrt"}, ["activation='Sqrt'", "ReLU"]),
        ({"output_activation": {"critic": 3}}, ["output_activation['critic']=3"]),
        ({"n_critics": 0}, ["n_critics=0", "at least 1"]),
        ({"n_critics": 2.5}, ["n_critics=2.5"]),
        ({"n_critics": True}, ["n_critics=True"]),
        ({"normalize_observations": 1}, ["normalize_observations=1", "True or False"]),
        ({"normalize_observations": "yes"}, ["normalize_observations='yes'"]),
    ],
)
def test_bad_values(kwargs: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match="policy_kwargs") as caught:
        make(kwargs)
    for word in words:
        assert word in str(caught.value)


def test_errors_reach_the_agent_s_user() -> None:
    with pytest.raises(TypeError, match=r"net_arch.*hidden_sizes"):
        SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [4]})
    with pytest.raises(ValueError, match="n_critics=0"):
        SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"n_critics": 0})


@pytest.mark.parametrize("policy", ["MlpPolicies", "", "mlppolicy"])
def test_unknown_policy_names(policy: str) -> None:
    with pytest.raises(ValueError, match="'MlpPolicy'") as caught:
        make(policy=policy)
    assert repr(policy) in str(caught.value)


@pytest.mark.parametrize("name", policies.POLICIES)
def test_every_policy_has_a_public_class_of_its_name(name: str) -> None:
    assert getattr(slc_agents.policies, name) is policies.POLICIES[name]


def test_ensembles_of_a_user_s_own_are_split_wherever_they_stand() -> None:
    class Nested(MlpPolicy):
        def make_critic(self) -> nn.Module:
            critic = nn.Module()
            critic.shift = nn.Parameter(torch.zeros(3))
            critic.inner = super().make_critic()
            return critic

    names = SAC(Nested, "Pendulum-v1", policy_kwargs={"hidden_sizes": [4]}).get_parameters()
    assert names["critic/shift"].shape == (3,)  # what the members share is one tensor
    assert names["critic/1/inner/value/weight"].shape == (4, 1)
    assert "optimizer/critic/0/inner/value/weight/m" in names


@pytest.mark.parametrize("policy", [3, None, dict, nn.Linear(1, 1)])
def test_what_is_no_policy(policy: Any) -> None:
    with pytest.raises(TypeError, match="policy"):
        make(policy=policy)


@pytest.mark.parametrize(
    "space", [gymnasium.spaces.Discrete(3), gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)})]
)
def test_unsupported_observation_spaces(space: Any) -> None:
    with pytest.raises(UnsupportedSpaceError):
        make(observation_space=space)


# -- observations ------------------------------------------------------------------------------------------------------


def test_dict_observations_are_joined_in_the_space_s_order() -> None:
    space = gymnasium.spaces.Dict(
        {
            "b": gymnasium.spaces.Box(0, 255, (2, 2), np.uint8),
            "a": gymnasium.spaces.Box(-1, 1, (3,)),
            "c": gymnasium.spaces.Box(-1, 1, ()),
        }
    )
    policy = make(observation_space=space)
    observation = {
        "c": torch.tensor([7.0, 8.0]),
        "b": torch.arange(8, dtype=torch.uint8).reshape(2, 2, 2),
        "a": torch.tensor([[10.0, 11, 12], [13, 14, 15]]),
    }
    expected: dict[str, Any] = {"a": [[10, 11, 12], [13, 14, 15]], "b": [[0, 1, 2, 3], [4, 5, 6, 7]], "c": [[7], [8]]}
    expected["b"] = (np.array(expected["b"]) / 255).tolist()  # bytes are scaled to [0, 1]
    flat = policy.features(observation)
    assert flat.dtype == torch.float32
    np.testing.assert_allclose(flat, np.concatenate([expected[key] for key in space.spaces], axis=1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_boxes_of_any_shape_are_flattened(shape: tuple[int, ...]) -> None:
    space = gymnasium.spaces.Box(-1, 1, shape, np.float64)
    observation = torch.arange(4 * int(np.prod(shape)), dtype=torch.float64).reshape(4, *shape)
    assert torch.equal(make(observation_space=space).features(observation), observation.reshape(4, -1).float())


# -- weights -----------------------------------------------------------------------------------------------------------


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = make(seed=5).state_dict()
    torch.manual_seed(2)
    torch.rand(3)
    second, other = make(seed=5).state_dict(), make(seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all((first[name] != other[name]).any() for name in first)


def test_making_an_agent_touches_no_global_generator() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)

    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002

    before = states()
    model = SAC("MlpPolicy", "Pendulum-v1", seed=3, policy_kwargs={"hidden_sizes": [8]}, update_after=5, batch_size=4)
    model.learn(12)
    model.predict(model.observation_space.sample())
    assert states() == before


def test_weights_and_training_are_independent_of_torch_s_default_dtype() -> None:
    def trained() -> dict[str, np.ndarray]:
        model = SAC(
            "MlpPolicy", "Pendulum-v1", seed=3, policy_kwargs={"hidden_sizes": [8], "normalize_observations": True},
            update_after=5, update_every=5, batch_size=4, steps_per_epoch=10, num_test_episodes=1, max_ep_len=5,
        )  # fmt: skip
        row = model.learn(20).logger.latest
        return {**model.get_parameters(), "loss": np.array(row["train/critic_loss"])}

    expected = trained()
    torch.set_default_dtype(torch.float64)
    try:
        result = trained()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, array in expected.items():
        assert result[name].dtype == array.dtype, name
        np.testing.assert_array_equal(result[name], array, err_msg=name)


# -- the user's own ----------------------------------------------------------------------------------------------------


class LinearActor(nn.Module):
    def __init__(self, n_inputs: int, n_actions: int) -> None:
        super().__init__()
        self.mean = nn.Linear(n_inputs, n_actions)

    def forward(self, features: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u = self.mean(features) + 0.1 * noise
        return torch.tanh(u), (-0.5 * noise**2 - torch.log(1 - torch.tanh(u) ** 2 + 1e-6)).sum(-1)

    def mean_action(self, features: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.mean(features))


class TwoCritics(nn.Module):
    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            [nn.Linear(n_inputs, 1), nn.Sequential(nn.Linear(n_inputs, 4), nn.Tanh(), nn.Linear(4, 1))]
        )

    def forward(self, features: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        x = torch.cat([features, action], dim=-1)
        return torch.stack([net(x)[:, 0] for net in self.nets])


class OwnPolicy(MlpPolicy):
    def __init__(self, observation_space: Any, action_space: Any, gain: float = 1.0, **kwargs: Any) -> None:
        self.gain = gain
        super().__init__(observation_space, action_space, **kwargs)

    def make_actor(self) -> nn.Module:
        return LinearActor(self.n_features, self.n_actions)

    def make_critic(self) -> nn.Module:
        return TwoCritics(self.n_features + self.n_actions)


def test_a_policy_of_the_user_s_own_is_used_and_trained() -> None:
    model = SAC(
        OwnPolicy, "Pendulum-v1", seed=0, policy_kwargs={"gain": 2.0, "normalize_observations": True},
        update_after=8, update_every=4, steps_per_update=3, batch_size=4, lr_a=1e-2, lr_c=1e-2,
    )  # fmt: skip
    assert model.policy.gain == 2.0
    before = model.get_parameters()
    assert "actor/mean/weight" in before
    assert "critic/nets/1/2/bias" in before
    assert "optimizer/critic/nets/0/weight/m" in before
    model.learn(20)
    after = model.get_parameters()
    moved = {name for name in before if (before[name] != after[name]).any()}
    for name in ("actor/mean/weight", "critic/nets/0/weight", "critic/nets/1/2/bias", "critic_target/nets/1/0/weight"):
        assert name in moved
    action, _ = model.predict(np.zeros((4, 3), np.float32), deterministic=True)
    actor = model.policy.actor
    expected = 2 * actor.mean_action(model.policy.features(torch.zeros(4, 3))).detach().numpy()
    np.testing.assert_allclose(action, expected, rtol=1e-6)


def test_its_weights_come_from_the_agent_s_seed_too() -> None:
    states = [make(policy=OwnPolicy, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["actor.mean.weight"], states[2]["actor.mean.weight"])


def test_an_unknown_keyword_of_its_own_names_the_nearest() -> None:
    class Strict(MlpPolicy):
        def __init__(self, observation_space: Any, action_space: Any, *, gain: float = 1.0) -> None:
            super().__init__(observation_space, action_space)

    with pytest.raises(TypeError, match=r"policy_kwargs of Strict.*'gian'.*'gain'"):
        make({"gian": 2.0}, policy=Strict)


def test_its_targets_are_never_trained_by_gradients() -> None:
    class OwnTargets(MlpPolicy):
        def __init__(self, observation_space: Any, action_space: Any, **kwargs: Any) -> None:
            super().__init__(observation_space, action_space, **kwargs)
            self.critic_target = copy.deepcopy(self.critic)

    assert not any(p.requires_grad for p in make({"hidden_sizes": [4]}, policy=OwnTargets).critic_target.parameters())


def test_a_policy_that_lacks_parts_is_refused() -> None:
    class Half(nn.Module):
        def __init__(self, observation_space: Any, action_space: Any) -> None:
            super().__init__()
            self.observation_space, self.action_space = observation_space, action_space
            self.actor = nn.Linear(3, 2)

        def features(self, observation: torch.Tensor) -> torch.Tensor:
            return observation

    with pytest.raises(
        TypeError, match=r"Half lacks normalizer, critic, critic_target, observe, actor\.mean_action; .*MlpPolicy"
    ):
        make(policy=Half)


# -- Lyapunov functions ------------------------------------------------------------------------------------------------


def make_lyapunov(kwargs: dict[str, Any] | None = None, policy: Any = "MlpPolicy", space: Any = BOX) -> Any:
    return make_policy(policy, space, ACTION, kwargs, 0, lyapunov=True)


def test_defaults_of_lac_are_slc_s_with_one_critic() -> None:
    policy = make_lyapunov()
    assert shapes(policy.actor) == shapes(policy.actor_target) == [(3, 256), (256, 256), (256, 2), (256, 2)]
    assert shapes(policy.critic) == shapes(policy.critic_target) == [(1, 5, 256), (1, 256, 256)]
    assert [type(layer.activation) for layer in policy.critic.trunk] == [nn.ReLU, nn.ReLU]
    assert type(policy.critic) is LyapunovEnsemble
    assert policy.n_critics == 1
    assert policy.output_activation == {"actor": nn.ReLU}


def test_each_layer_of_a_lyapunov_function_has_the_activation() -> None:
    policy = make_lyapunov({"activation": {"critic": "Tanh"}, "hidden_sizes": {"critic": [4, 5, 6]}, "n_critics": 2})
    assert shapes(policy.critic) == [(2, 5, 4), (2, 4, 5), (2, 5, 6)]
    assert [type(layer.activation) for layer in policy.critic.trunk] == [nn.Tanh] * 3
    assert policy.critic(torch.randn(7, 3), torch.randn(7, 2)).shape == (2, 7)


def test_its_output_activation_is_the_actor_s_alone() -> None:
    for given in ("Tanh", {"actor": "Tanh"}):
        policy = make_lyapunov({"output_activation": given})
        assert type(policy.actor.trunk[-1].activation) is nn.Tanh
        assert type(policy.critic.trunk[-1].activation) is nn.ReLU
    with pytest.raises(ValueError, match=r"output_activation has the keys \['critic'\]; allowed are \['actor'\]"):
        make_lyapunov({"output_activation": {"critic": "Identity"}})


@pytest.mark.parametrize("policy", ["MlpPolicy", "GSDEPolicy"])
def test_the_actor_s_slow_copy_starts_equal_and_is_never_trained_by_gradients(policy: str) -> None:
    made = make_lyapunov({"hidden_sizes": [4]}, policy=policy)
    for part in ("actor", "critic"):
        ours, theirs = getattr(made, part), getattr(made, f"{part}_target")
        assert type(ours) is type(theirs)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.data_ptr() != other.data_ptr()
            assert one.requires_grad
            assert not other.requires_grad


def test_a_shared_encoder_s_slow_copy_serves_both_slow_copies() -> None:
    image = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    small = {"cnn_layers": [(4, 3, 2)], "cnn_features": 8, "hidden_sizes": [4]}
    for shared in (True, False):
        made = make_lyapunov({**small, "share_encoder": shared}, "CnnPolicy", image)
        assert type(made.critic.head) is LyapunovEnsemble
        encoder = made.actor_target.encoder.encoder if shared else made.actor_target.encoder
        assert (encoder is made.critic_target.encoder) == shared
        assert encoder is not made.critic.encoder


def test_a_seed_gives_lac_the_weights_that_it_gives_sac() -> None:
    ours, theirs = make_lyapunov({"hidden_sizes": [4]}), make({"hidden_sizes": [4], "n_critics": 1})
    for one, other in zip(ours.actor.parameters(), theirs.actor.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(ours.critic.trunk[0].weight, theirs.critic.trunk[0].weight)
    assert not hasattr(theirs, "actor_target")


def test_lyapunov_is_not_the_user_s_to_say() -> None:
    class Open(MlpPolicy):
        def __init__(self, observation_space: Any, action_space: Any, **kwargs: Any) -> None:
            super().__init__(observation_space, action_space, **kwargs)

    for policy in ("MlpPolicy", "GSDEPolicy", Open):
        with pytest.raises(TypeError, match=r"'lyapunov'; the agent says it"):
            make({"lyapunov": True}, policy=policy)
    assert type(make_lyapunov({"hidden_sizes": [4]}, policy=Open).critic) is LyapunovEnsemble


def test_policies_of_one_s_own_for_lac() -> None:
    class Wide(MlpPolicy):
        def make_actor(self) -> nn.Module:
            actor = super().make_actor()
            actor.gain = nn.Parameter(torch.ones(()))
            return actor

    made = make_lyapunov({"hidden_sizes": [4]}, policy=Wide)
    assert made.actor_target.gain is not made.actor.gain
    assert not made.actor_target.gain.requires_grad

    class Strict(MlpPolicy):
        def __init__(self, observation_space: Any, action_space: Any) -> None:
            super().__init__(observation_space, action_space)

    with pytest.raises(TypeError, match=r"Strict lacks actor_target; .*, actor_target\..* keyword `lyapunov`"):
        make_lyapunov(policy=Strict)

    class Foreign(nn.Module):
        def __init__(self, observation_space: Any, action_space: Any) -> None:
            super().__init__()
            inner = make_lyapunov({"hidden_sizes": [4]})
            self.observation_space, self.action_space = observation_space, action_space
            self.actor, self.critic, self.normalizer = inner.actor, inner.critic, inner.normalizer
            self.actor_target, self.critic_target = copy.deepcopy((self.actor, self.critic))
            self.features, self.observe = inner.features, inner.observe

    assert not any(p.requires_grad for p in make_lyapunov(policy=Foreign).actor_target.parameters())


# -- state-dependent noise ---------------------------------------------------------------------------------------------


def test_gsde_keywords_act() -> None:
    default = make(policy="GSDEPolicy").actor
    assert isinstance(default.clip, nn.Hardtanh)
    assert (default.clip.min_val, default.clip.max_val, default.use_expln) == (-2.0, 2.0, False)
    assert default.log_std.shape == (256, 2)
    assert (default.log_std == -3.0).all()
    kwargs = {"clip_mean": None, "use_expln": True, "log_std_init": 0.5, "hidden_sizes": [4]}
    actor = make(kwargs, policy="GSDEPolicy").actor
    assert isinstance(actor.clip, nn.Identity)
    assert actor.use_expln
    assert (actor.log_std == 0.5).all()
    assert (default.noise_steps, make({"noise_steps": 8.0}, policy="GSDEPolicy").actor.noise_steps) == (1, 8)


@pytest.mark.parametrize("use_expln", [False, True])
def test_gsde_is_a_squashed_gaussian_whose_variance_is_that_of_the_noise(use_expln: bool) -> None:
    actor = make({"hidden_sizes": [4], "use_expln": use_expln, "clip_mean": 0.1}, policy="GSDEPolicy").actor
    with torch.no_grad():
        actor.log_std.copy_(torch.linspace(-1.0, 1.0, 8).reshape(4, 2))
    features, noise = torch.randn(5, 3, generator=torch.manual_seed(0)), torch.linspace(-1, 1, 10).reshape(5, 2)
    hidden = actor.trunk(features)
    weights = actor.log_std.exp()
    if use_expln:  # arXiv 2005.05719: exp(x) below 0, log(1 + x) + 1 above
        weights = torch.where(actor.log_std > 0, torch.log(1 + actor.log_std.clamp(min=0)) + 1, weights)
    std = (hidden**2 @ weights**2 + 1e-6).sqrt()
    mean = actor.mean(hidden).clamp(-0.1, 0.1)
    assert (mean.abs() == 0.1).any()
    u = torch.distributions.Normal(mean, std)
    squashed = torch.distributions.TransformedDistribution(u, torch.distributions.TanhTransform(cache_size=1))
    action, log_prob = actor(features, noise)
    torch.testing.assert_close(action, torch.tanh(mean + std * noise))
    torch.testing.assert_close(log_prob, squashed.log_prob(action).sum(dim=1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actor.mean_action(features), torch.tanh(mean))
    log_prob.sum().backward()
    assert torch.isfinite(actor.log_std.grad).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"clip_mean": 0.0}, r"clip_mean=0\.0"),
        ({"clip_mean": "2"}, "clip_mean='2'"),
        ({"use_expln": 1}, "use_expln=1"),
        ({"log_std_init": float("nan")}, "log_std_init=nan"),
        ({"noise_steps": 0}, "noise_steps=0: a whole number of at least 1"),
        ({"noise_steps": -1}, "noise_steps=-1: a whole number of at least 1"),
        ({"noise_steps": 2.5}, r"noise_steps=2\.5"),
        ({"noise_steps": True}, "noise_steps=True"),
        ({"noise_steps": "4"}, "noise_steps='4'"),
    ],
)
def test_gsde_keywords_are_checked(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(kwargs, policy="GSDEPolicy")


def test_the_name_that_other_libraries_have_for_gsde() -> None:
    with pytest.raises(TypeError, match="GSDEPolicy"):
        SAC("MlpPolicy", "Pendulum-v1", use_sde=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'noise_steps'; it is a keyword of GSDEPolicy"):
        make({"noise_steps": 4})
    with pytest.raises(TypeError, match="'sde_sample_freq'; here it is noise_steps"):
        make({"sde_sample_freq": 4}, policy="GSDEPolicy")
