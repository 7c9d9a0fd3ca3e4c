"""Acting: that numpy computes what the policy's own methods do, and only where it may."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from slc_agents.policies import GSDEPolicy, MlpPolicy
from slc_agents.pytorch.acting import Acting
from slc_agents.pytorch.policies import SquashedGaussianActor, make_policy

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)
DICT = spaces.Dict(
    {
        "z": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "image": spaces.Box(0, 255, (2, 3), np.uint8),
        "a": spaces.Box(-np.inf, np.inf, (), np.float32),
    }
)
ACTION = spaces.Box(-1.0, 1.0, (2,), np.float32)
CPU = torch.device("cpu")


def make_acting(policy: Any = "MlpPolicy", space: Any = BOX, seed: int = 0, **policy_kwargs: Any) -> Acting:
    made = make_policy(policy, space, ACTION, {"hidden_sizes": [8, 7], **policy_kwargs}, seed)
    return Acting(made.eval(), CPU)


def observe(space: gymnasium.Space[Any], n: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if isinstance(space, spaces.Dict):
        return {key: observe(box, n, seed + i) for i, (key, box) in enumerate(space.spaces.items())}
    if space.dtype == np.uint8:
        return rng.integers(0, 256, (n, *(space.shape or ())), dtype=np.uint8)
    return (2.0 * rng.standard_normal((n, *(space.shape or ())))).astype(np.float32)


def noise_for(n: int) -> Any:
    return np.random.default_rng(5).standard_normal((n, 2), dtype=np.float32)


def in_torch(acting: Acting, observation: Any, noise: Any) -> Any:
    """What the policy's own methods say."""
    with torch.no_grad():
        if isinstance(observation, dict):
            tensors: Any = {key: torch.from_numpy(value) for key, value in observation.items()}
        else:
            tensors = torch.from_numpy(observation)
        features = acting.policy.features(tensors)
        if noise is None:
            return acting.policy.actor.mean_action(features).numpy()
        if noise.ndim == 3:
            return acting.policy.actor.explore(features, torch.from_numpy(noise)).numpy()
        return acting.policy.actor(features, torch.from_numpy(noise))[0].numpy()


def way_of(acting: Acting, observation: Any, noise: Any = None) -> str:
    """Acts, and says by which way; whichever it is, the actions must be the policy's."""
    ways = []
    own = Acting._act_in_torch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Acting, "_act_in_torch", lambda self, *args: ways.append("torch") or own(self, *args))
        action = acting.act(observation, noise)
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, in_torch(acting, observation, noise), rtol=1e-5, atol=1e-6)
    return ways[0] if ways else "numpy"


OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one layer": {"hidden_sizes": [5]},
    "three layers": {"hidden_sizes": [5, 4, 6]},
    "tanh": {"activation": "Tanh"},
    "elu": {"activation": "ELU"},
    "leaky relu": {"activation": "LeakyReLU"},
    "hardtanh": {"activation": "Hardtanh"},
    "identity": {"activation": None},
    "output tanh": {"output_activation": "Tanh"},
    "output identity": {"output_activation": {"actor": None}},
    "normalised": {"normalize_observations": True},
    "gsde": {"policy": "GSDEPolicy", "log_std_init": -0.5},
    "gsde unclipped": {"policy": "GSDEPolicy", "clip_mean": None},
    "gsde clipped hard": {"policy": "GSDEPolicy", "clip_mean": 0.05},
    "gsde expln": {"policy": "GSDEPolicy", "use_expln": True, "log_std_init": 0.4},
    "gsde expln small": {"policy": "GSDEPolicy", "use_expln": True, "log_std_init": -0.4},
    "gsde tanh normalised": {"policy": "GSDEPolicy", "activation": "Tanh", "normalize_observations": True},
}


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("space", [BOX, DICT], ids=["Box", "Dict"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_few_observations_go_through_numpy_and_give_the_same_actions(
    options: dict[str, Any], space: Any, sampled: bool
) -> None:
    made = make_acting(space=space, **options)
    if options.get("normalize_observations"):
        for seed in range(1, 4):
            made.policy.observe(torch.utils._pytree.tree_map(torch.from_numpy, observe(space, 4, seed)))
    for n in (1, 2, 7, 17):
        assert way_of(made, observe(space, n, seed=n), noise_for(n) if sampled else None) == "numpy"


@pytest.mark.parametrize("name", [name for name in OPTIONS if name.startswith("gsde")])
def test_weights_of_noise_go_through_numpy_too(name: str) -> None:
    made = make_acting(**OPTIONS[name])
    for n in (1, 2, 17):
        weights = np.random.default_rng(n).standard_normal((n, *made.policy.actor.weights_shape), dtype=np.float32)
        assert way_of(made, observe(BOX, n, seed=n), weights) == "numpy"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)])
def test_boxes_of_every_shape_and_type(shape: tuple[int, ...], dtype: Any) -> None:
    low, high = (0, 255) if dtype is np.uint8 else (-np.inf, np.inf)
    space = spaces.Box(low, high, shape, dtype)
    assert way_of(make_acting(space=space), observe(space, 3), noise_for(3)) == "numpy"


def test_standard_deviations_are_clamped() -> None:
    made = make_acting()
    for bias in (50.0, -50.0):
        with torch.no_grad():
            made.policy.actor.log_std.bias.fill_(bias)
        assert way_of(made, observe(BOX, 2), 0.1 * noise_for(2)) == "numpy"


def test_moments_are_those_of_the_moment() -> None:
    made = make_acting(normalize_observations=True)
    before = made.act(observe(BOX, 2), None)
    made.policy.observe(torch.from_numpy(10.0 + observe(BOX, 6, seed=1)))
    assert way_of(made, observe(BOX, 2)) == "numpy"
    assert (made.act(observe(BOX, 2), None) != before).any()
    far = np.full((1, 3), 1e6, np.float32)  # clipped
    assert way_of(made, far) == "numpy"


def test_the_rows_of_a_large_network_are_fewer() -> None:
    for size, most in ((256, 8), (512, 2)):  # 2**19 multiplications
        made = make_acting(hidden_sizes=[size, size])
        ways = [way_of(made, observe(BOX, n)) for n in (1, most, most + 1, 100)]
        assert ways == ["numpy", "numpy", "torch", "torch"]
    assert way_of(make_acting(hidden_sizes=[1024, 1024]), observe(BOX, 1)) == "torch"


# -- what may change under it --------------------------------------------------------------------------------------


def changed(change: Any, **options: Any) -> str:
    """Acts, changes the policy, and says by which way it acts then."""
    made = make_acting(**options)
    before = made.act(observe(BOX, 3), None)
    assert way_of(made, observe(BOX, 3)) == "numpy"
    with torch.no_grad():
        change(made.policy)
    way = way_of(made, observe(BOX, 3))
    assert (made.act(observe(BOX, 3), None) != before).any(), "the change must show"
    return way


class Doubled(SquashedGaussianActor):
    """Not quite the known actor."""

    def mean_action(self, features: torch.Tensor) -> torch.Tensor:
        return super().mean_action(2.0 * features)


def exchange_memory(policy: Any) -> None:
    weight = policy.actor.mean.weight
    weight.data = weight.data + 1.0


def exchange_all_memory(policy: Any) -> None:
    """Into one flat buffer."""
    parameters = list(policy.actor.parameters())
    flat = torch.cat([parameter.reshape(-1) for parameter in parameters]) * 1.5
    offset = 0
    for parameter in parameters:
        parameter.data = flat[offset : offset + parameter.numel()].view(parameter.shape)
        offset += parameter.numel()
    flat.mul_(2.0)  # the views must show it


def exchange_parameter(policy: Any) -> None:
    policy.actor.trunk[0].weight = nn.Parameter(policy.actor.trunk[0].weight + 1.0)


def transpose_memory(policy: Any) -> None:
    weight = policy.actor.trunk[0].weight
    weight.data = (weight.data + 1.0).t().contiguous().t()


CHANGES: dict[str, tuple[Any, str]] = {
    "values": (lambda policy: policy.actor.mean.bias.add_(1.0), "numpy"),
    "loaded values": (
        lambda policy: policy.load_state_dict({k: 2 * v for k, v in policy.state_dict().items()}),
        "numpy",
    ),
    "a parameter's memory": (exchange_memory, "numpy"),
    "all parameters' memory": (exchange_all_memory, "numpy"),
    "a parameter": (exchange_parameter, "numpy"),
    "another order in memory": (transpose_memory, "numpy"),
    "a known activation": (lambda policy: setattr(policy.actor.trunk[0], "activation", nn.Tanh()), "numpy"),
    "a layer more": (lambda policy: policy.actor.trunk.append(nn.Tanh()), "numpy"),
    "an unknown activation": (lambda policy: setattr(policy.actor.trunk[0], "activation", nn.Softsign()), "torch"),
    "another actor": (lambda policy: setattr(policy, "actor", Doubled(3, 2, [4], nn.ReLU, nn.ReLU)), "torch"),
    "a hook on a layer": (
        lambda policy: policy.actor.trunk[1].register_forward_hook(lambda module, inputs, output: 2.0 * output),
        "torch",
    ),
    "a hook before a layer": (
        lambda policy: policy.actor.trunk[1].register_forward_pre_hook(lambda module, inputs: (2.0 * inputs[0],)),
        "torch",
    ),
    "a method of one layer": (
        lambda policy: setattr(policy.actor.trunk[1], "forward", lambda x: torch.ones(len(x), 7)),
        "torch",
    ),
    "a method of the policy": (lambda policy: setattr(policy, "features", lambda o: 3.0 * policy.flatten(o)), "torch"),
    "spectral norm": (lambda policy: nn.utils.parametrizations.spectral_norm(policy.actor.trunk[0], "weight"), "torch"),
}


@pytest.mark.parametrize(("change", "way"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_policy_is_seen(change: Any, way: str) -> None:
    assert changed(change) == way


def test_what_the_settings_of_a_part_say_is_looked_up() -> None:
    assert changed(lambda policy: setattr(policy.actor.clip, "max_val", -1.0), policy="GSDEPolicy") == "numpy"
    made = make_acting("GSDEPolicy", log_std_init=1.0)
    before = made.act(observe(BOX, 2), noise_for(2))
    made.policy.actor.use_expln = True
    assert way_of(made, observe(BOX, 2), noise_for(2)) == "numpy"
    assert (made.act(observe(BOX, 2), noise_for(2)) != before).any()


def test_a_hook_that_is_gone_is_forgotten() -> None:
    made = make_acting()
    hook = made.policy.actor.register_forward_hook(lambda module, inputs, output: None)
    assert way_of(made, observe(BOX, 1)) == "torch"
    hook.remove()
    assert way_of(made, observe(BOX, 1)) == "numpy"
    everywhere = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert way_of(made, observe(BOX, 1)) == "torch"
    finally:
        everywhere.remove()


# -- whom it isn't for ---------------------------------------------------------------------------------------------


class OwnFeatures(MlpPolicy):
    def features(self, observation: Any) -> torch.Tensor:
        return 2.0 * super().features(observation)


class OwnFlatten(GSDEPolicy):
    def flatten(self, observation: Any) -> torch.Tensor:
        return super().flatten(observation).flip(1)


class OwnActor(MlpPolicy):
    def make_actor(self) -> nn.Module:
        return Doubled(self.n_features, self.n_actions, [4], nn.ReLU, nn.ReLU)


class OwnCritic(MlpPolicy):
    """Acts as its parent does."""

    def make_critic(self) -> nn.Module:
        return super().make_critic()


class OwnNormalizer(MlpPolicy):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.normalizer = nn.LayerNorm(self.n_features)


class PlainActor:
    """No module at all."""

    def __init__(self) -> None:
        self.inner = Doubled(3, 2, [4], nn.ReLU, nn.ReLU)
        self.mean_action = self.inner.mean_action

    def __call__(self, features: torch.Tensor, noise: torch.Tensor) -> Any:
        return self.inner(features, noise)


class OwnPlainActor(MlpPolicy):
    def make_actor(self) -> Any:
        return PlainActor()


class OwnActivation(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1.0


@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({"policy": OwnFeatures}, "torch"),
        ({"policy": OwnFlatten}, "torch"),
        ({"policy": OwnActor}, "torch"),
        ({"policy": OwnPlainActor}, "torch"),
        ({"policy": OwnNormalizer}, "torch"),
        ({"policy": OwnCritic}, "numpy"),
        ({"activation": OwnActivation}, "torch"),
        ({"activation": "GELU"}, "torch"),
        ({"policy": "MultiInputPolicy", "space": DICT, "cnn_layers": [(4, 2, 1)]}, "torch"),
    ],
)
def test_what_is_not_known_through_and_through_is_left_to_torch(options: dict[str, Any], way: str) -> None:
    space = options.get("space", BOX)
    assert way_of(make_acting(**options), observe(space, 2)) == way


def test_another_device_or_precision_is_left_to_torch() -> None:
    made = make_acting(normalize_observations=True)
    assert made._find_numpy() is not None
    for change in (lambda policy: policy.to("meta"), lambda policy: policy.double(), lambda policy: policy.float()):
        twin = copy.deepcopy(made)
        change(twin.policy)
        assert twin._in_numpy_now() is None


# -- the rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_acts_with_its_own_policy(duplicate: Any) -> None:
    made = make_acting()
    before = made.act(observe(BOX, 2), None)
    twin = duplicate(made)
    with torch.no_grad():
        twin.policy.actor.mean.bias.add_(1.0)
    assert way_of(twin, observe(BOX, 2)) == "numpy"
    assert (twin.act(observe(BOX, 2), None) != before).any()
    np.testing.assert_array_equal(made.act(observe(BOX, 2), None), before)


@pytest.mark.parametrize("policy", ["MlpPolicy", "GSDEPolicy"])
def test_what_is_not_finite_shows_in_the_action_without_a_warning(policy: str) -> None:
    made = make_acting(policy)
    with torch.no_grad():
        made.policy.actor.mean.weight.fill_(torch.inf)
        made.policy.actor.trunk[0].weight[0, 0] = torch.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for noise in (None, noise_for(1)):
            assert np.isnan(made.act(np.full((1, 3), 1e38, np.float32), noise)).all()


def test_where_an_observation_lies_in_memory_changes_nothing() -> None:
    made = make_acting(hidden_sizes=[256, 256], space=spaces.Box(-1, 1, (17,), np.float32))
    observation = observe(spaces.Box(-1, 1, (17,), np.float32), 1)
    room = np.zeros(17 + 64, np.float32)
    actions = set()
    for offset in range(32):
        placed = room[offset : offset + 17].reshape(1, 17)
        placed[:] = observation
        actions.add(made.act(placed, noise_for(1)).tobytes())
    assert len(actions) == 1


def test_actions_are_fresh_each_time() -> None:
    made = make_acting()
    observation = observe(BOX, 2)
    given = observation.copy()
    first = made.act(observation, None)
    kept = first.copy()
    second = made.act(observe(BOX, 2, seed=1), None)
    np.testing.assert_array_equal(first, kept)
    second.fill(0.0)
    np.testing.assert_array_equal(made.act(observation, None), kept)
    np.testing.assert_array_equal(observation, given)
