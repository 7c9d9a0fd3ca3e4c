"""Image and Dict observations: the encoders, where their gradients go, and agents that have them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from torch.nn.functional import conv2d, softplus

from slc_agents import SAC, load
from slc_agents.errors import UnsupportedSpaceError, UntrustedCodeError
from slc_agents.learner.images import channel_axis
from slc_agents.policies import CnnEncoder, CnnPolicy, MultiInputEncoder
from slc_agents.pytorch.normalizer import IdentityNormalizer
from slc_agents.pytorch.policies import make_policy

ACTION = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
LAYERS = [(4, 4, 2), (6, 3, 1)]
SMALL: dict[str, Any] = {"cnn_layers": LAYERS, "cnn_features": 5}


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


MIXED = spaces.Dict(
    {
        "pose": spaces.Box(-1, 1, (2, 2), np.float64),
        "forward": image(14, 12, 3),  # a name that modules have already
        "age": spaces.Box(-1, 1, ()),
        "b.c d": image(2, 12, 14),  # and one that they can't have
    }
)


def pixels(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8))


def samples(space: Any, n: int, seed: int = 0) -> Any:
    space.seed(seed)
    rows = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space.spaces}
    return np.stack(rows)


def encode(weights: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """The reference: convolutions, a dense layer, ReLUs; of an image [B, C, H, W], by the archive's tensors."""
    for i, (_, _, stride) in enumerate(LAYERS):
        kernel, bias = (weights[f"{name}/convolutions/{i}/{part}"] for part in ("weight", "bias"))
        x = conv2d(x, kernel, bias, stride=stride).clamp(min=0)
    return (x.reshape(len(x), -1) @ weights[f"{name}/output/weight"] + weights[f"{name}/output/bias"]).clamp(min=0)


def by_name(module: nn.Module, name: str = "net") -> dict[str, torch.Tensor]:
    return {f"{name}/{key.replace('.', '/')}": value for key, value in module.state_dict().items()}


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((3, 64, 64), None, "first"),
        ((64, 64, 3), None, "last"),
        ((64, 64, 12), None, "last"),
        ((4, 84, 84), None, "first"),
        ((84, 84, 1), None, "last"),
        ((1, 84, 84), None, "first"),
        ((16, 16, 16), None, "last"),  # where it can't be told
        ((3, 64, 3), None, "last"),
        ((64, 64, 3), "first", "first"),
        ((3, 64, 64), "last", "last"),
        ((4, 3, 64, 64), None, "first"),
        ((4, 64, 64, 3), None, "last"),
    ],
)
def test_where_the_channels_are(shape: tuple[int, ...], channels: Any, expected: str) -> None:
    assert channel_axis(shape, channels) == expected


@pytest.mark.parametrize(
    ("shape", "to_channels_first", "n_channels"),
    [
        ((12, 14), lambda x: x[:, None], 1),
        ((3, 12, 14), lambda x: x, 3),
        ((12, 14, 3), lambda x: x.permute(0, 3, 1, 2), 3),
        ((2, 3, 12, 14), lambda x: torch.cat([x[:, 0], x[:, 1]], dim=1), 6),
        ((2, 12, 14, 3), lambda x: torch.cat([x[:, i].permute(0, 3, 1, 2) for i in (0, 1)], dim=1), 6),
    ],
)
def test_an_image_of_any_layout_against_a_reference(
    shape: tuple[int, ...], to_channels_first: Callable[[torch.Tensor], torch.Tensor], n_channels: int
) -> None:
    torch.manual_seed(0)
    encoder = CnnEncoder(image(*shape), **SMALL)
    assert [tuple(layer.weight.shape) for layer in encoder.convolutions] == [(4, n_channels, 4, 4), (6, 4, 3, 3)]
    x = pixels(7, *shape) / 255
    features = encoder(x)
    assert features.shape == (7, 5)
    assert features.std() > 0
    torch.testing.assert_close(features, encode(by_name(encoder), "net", to_channels_first(x)), rtol=1e-5, atol=1e-6)


def test_the_default_is_the_nature_cnn() -> None:
    encoder = CnnEncoder(image(4, 84, 84))
    shapes = [(tuple(layer.weight.shape), layer.stride) for layer in encoder.convolutions]
    assert shapes == [((32, 4, 8, 8), (4, 4)), ((64, 32, 4, 4), (2, 2)), ((64, 64, 3, 3), (1, 1))]
    assert encoder.output.weight.shape == (64 * 7 * 7, 512)  # the paper's sizes
    assert encoder.n_features == 512


def test_images_that_are_too_small() -> None:
    assert CnnEncoder(image(36, 40, 3)).output.weight.shape == (64 * 1 * 1, 512)
    for shape in ((35, 40, 3), (3, 36, 35)):
        with pytest.raises(ValueError, match=r"at least 36x36 pixels.*35.*cnn_layers=\[\(16, 3, 2\).*ResizeObserv"):
            CnnEncoder(image(*shape))
    assert CnnEncoder(image(9, 9, 1), cnn_layers=[(2, 3, 3), (2, 3, 1)]).output.weight.shape == (2, 512)
    with pytest.raises(ValueError, match="at least 9x9"):
        CnnEncoder(image(8, 9, 1), cnn_layers=[(2, 3, 3), (2, 3, 1)])


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"cnn_layers": []}, ["cnn_layers=[]", "at least one"]),
        ({"cnn_layers": [(8, 3)]}, ["cnn_layers=[(8, 3)]", "channels, kernel, stride"]),
        ({"cnn_layers": [(8, 3, 0)]}, ["cnn_layers=[(8, 3, 0)]", "positive"]),
        ({"cnn_layers": [(8, 3.5, 1)]}, ["cnn_layers=[(8, 3.5, 1)]"]),
        ({"cnn_layers": 3}, ["cnn_layers=3"]),
        ({"cnn_features": 0}, ["cnn_features=0", "at least 1"]),
        ({"channels": "frist"}, ["channels='frist'", "'first', 'last'"]),
        ({"share_encoder": 1}, ["share_encoder=1", "True or False"]),
        ({"encoder_kwargs": {"a": 1}}, ["encoder_kwargs={'a': 1}", "without an encoder"]),
        ({"encoder": "CnnEncoder"}, ["encoder='CnnEncoder'", "class"]),
        ({"encoder": nn.Flatten, "cnn_features": 64}, ["cnn_features=64", "encoder_kwargs"]),
        ({"hidden_sizes": []}, ["hidden_sizes=[]"]),
    ],
)
def test_bad_values(kwargs: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match="policy_kwargs") as caught:
        make_policy("CnnPolicy", image(40, 40, 3), ACTION, kwargs, 0)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "space", "words"),
    [
        ("CnnPolicy", spaces.Box(-1, 1, (3,)), "'MlpPolicy' for vectors"),
        ("CnnPolicy", spaces.Box(0, 1, (64, 64, 3)), "convert images of another type to uint8"),
        ("CnnPolicy", image(64), "'MlpPolicy' for vectors"),
        ("CnnPolicy", MIXED, "'MultiInputPolicy' for a Dict"),
        ("MultiInputPolicy", spaces.Box(-1, 1, (3,)), "Use 'MlpPolicy'"),
        ("MultiInputPolicy", image(64, 64, 3), "Use 'CnnPolicy'"),
    ],
)
def test_spaces_that_a_policy_is_not_for(policy: str, space: Any, words: str) -> None:
    with pytest.raises(UnsupportedSpaceError, match=policy) as caught:
        make_policy(policy, space, ACTION, None, 0)
    assert words in str(caught.value)


def test_a_small_image_in_a_dict_is_named() -> None:
    with pytest.raises(ValueError, match=r"key 'forward'.*at least 36x36|key 'b.c d'.*at least 36x36"):
        make_policy("MultiInputPolicy", MIXED, ACTION, None, 0)


# -- Dict observations -------------------------------------------------------------------------------------------------


def test_a_dict_against_a_reference() -> None:
    torch.manual_seed(0)
    encoder = MultiInputEncoder(MIXED, **SMALL)
    assert encoder.n_features == 5 + 5 + 4 + 1
    observation = {
        "pose": torch.rand(7, 2, 2),
        "forward": pixels(7, 14, 12, 3) / 255,
        "age": torch.rand(7),
        "b.c d": pixels(7, 2, 12, 14) / 255,
    }
    weights = by_name(encoder)
    expected = [
        encode(weights, "net/image_0", observation["b.c d"]),
        encode(weights, "net/image_forward", observation["forward"].permute(0, 3, 1, 2)),
        observation["age"][:, None],
        observation["pose"].reshape(7, 4),
    ]
    torch.testing.assert_close(encoder(observation), torch.cat(expected, dim=1), rtol=1e-5, atol=1e-6)


def test_a_dict_without_images_and_one_without_vectors() -> None:
    vectors = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (1,))})
    policy: Any = make_policy("MultiInputPolicy", vectors, ACTION, {"hidden_sizes": [4]}, 0)
    observation = {"b": torch.ones(1, 1), "a": torch.zeros(1, 2)}
    assert policy.critic.encoder(policy.critic.unflatten(policy.features(observation))).tolist() == [[0, 0, 1]]
    images = spaces.Dict({"a": image(12, 12, 3)})
    policy = make_policy("MultiInputPolicy", images, ACTION, SMALL, 0)
    assert isinstance(policy.normalizer, IdentityNormalizer)
    policy.observe({"a": pixels(3, 12, 12, 3)})
    assert policy.actor.mean_action(policy.features({"a": pixels(3, 12, 12, 3)})).shape == (3, 2)


def test_vectors_are_normalised_and_images_only_scaled() -> None:
    policy: Any = make_policy("MultiInputPolicy", MIXED, ACTION, {**SMALL, "normalize_observations": True}, 0)
    assert policy.normalizer.mean.shape == (5,)
    observation = {
        "pose": torch.tensor([[[1.0, 2], [3, 4]], [[3, 6], [3, 4]]], dtype=torch.float64),
        "forward": pixels(2, 14, 12, 3),
        "age": torch.tensor([10.0, 30.0]),
        "b.c d": pixels(2, 2, 12, 14),
    }
    policy.observe(observation)
    assert policy.normalizer.mean.tolist() == [20, 2, 4, 3, 4]
    assert policy.normalizer.var.tolist() == [100, 1, 4, 0, 0]
    seen = policy.actor.unflatten(policy.features(observation))
    assert set(seen) == set(observation)
    for key in ("forward", "b.c d"):
        torch.testing.assert_close(seen[key], observation[key] / 255)
    torch.testing.assert_close(seen["age"], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(seen["pose"], torch.tensor([[[-1.0, -1], [0, 0]], [[1, 1], [0, 0]]]))


def test_images_alone_are_only_scaled() -> None:
    policy: Any = make_policy("CnnPolicy", image(12, 12, 3), ACTION, SMALL, 0)
    x = pixels(4, 12, 12, 3)
    policy.observe(x)
    torch.testing.assert_close(policy.actor.unflatten(policy.features(x)), x / 255)


@pytest.mark.parametrize(
    ("name", "space"),
    [("CnnPolicy", image(12, 12, 3)), ("MultiInputPolicy", spaces.Dict({"a": image(12, 12, 3)}))],
)
def test_normalisation_without_anything_to_normalise_is_refused(name: str, space: Any) -> None:
    with pytest.raises(ValueError, match="normalize_observations=True; all that this policy observes are images"):
        make_policy(name, space, ACTION, {**SMALL, "normalize_observations": True}, 0)


# -- gradients ---------------------------------------------------------------------------------------------------------


class Reference:
    """Both losses on images [B, C, H, W] in [0, 1], written out by the names of the archive's tensors."""

    def __init__(self, state: dict[str, np.ndarray], shared: bool, alpha: float) -> None:
        self.w = {
            name: torch.from_numpy(array).requires_grad_(not name.startswith("critic_target/"))
            for name, array in state.items()
            if not name.startswith("optimizer/")
        }
        self.shared, self.alpha = shared, alpha

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"{name}/weight"] + self.w[f"{name}/bias"]

    def policy(self, o: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = encode(self.w, "critic/encoder", o).detach() if self.shared else encode(self.w, "actor/encoder", o)
        for i in (0, 1):
            x = self.dense(f"actor/head/trunk/{i}", x).clamp(min=0)
        log_std = self.dense("actor/head/log_std", x).clamp(-20, 2)
        u = self.dense("actor/head/mean", x) + log_std.exp() * noise
        log_prob = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - 2 * (np.log(2) - u - softplus(-2 * u))
        return torch.tanh(u), log_prob.sum(1)

    def q(self, name: str, o: torch.Tensor, a: torch.Tensor) -> list[torch.Tensor]:
        values = []
        for i in (0, 1):
            x = torch.cat([encode(self.w, f"{name}/encoder", o), a], dim=1)
            for j in (0, 1):
                x = self.dense(f"{name}/{i}/head/trunk/{j}", x).clamp(min=0)
            values.append(self.dense(f"{name}/{i}/head/value", x)[:, 0])
        return values

    def critic_loss(self, batch: Any, noise: torch.Tensor) -> torch.Tensor:
        next_action, next_log_prob = self.policy(batch.next_observation / 255, noise)
        next_q = torch.minimum(*self.q("critic_target", batch.next_observation / 255, next_action))
        y = (batch.reward + batch.discount * (next_q - self.alpha * next_log_prob)).detach()
        qs = self.q("critic", batch.observation / 255, batch.action)
        return sum((0.5 * ((q - y) ** 2).mean() for q in qs), torch.zeros(()))

    def actor_loss(self, batch: Any, noise: torch.Tensor) -> torch.Tensor:
        action, log_prob = self.policy(batch.observation / 255, noise)
        q = torch.minimum(*self.q("critic", batch.observation / 255, action))
        return (self.alpha * log_prob - q).mean()


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_go_where_they_should(make_learner: Any, make_batch: Any, shared: bool, losses: Any) -> None:
    """The losses and all gradients of one step are the reference's, the encoders' among them."""
    learner = make_learner(image(3, 14, 12), policy="CnnPolicy", share_encoder=shared, **SMALL)
    with torch.no_grad():  # slow copies that differ from what they copy
        for parameter in learner.policy.critic_target.parameters():
            parameter.mul_(1.3)
    batch, noise = make_batch(learner, seed=1)
    batch = batch._replace(observation=pixels(16, 3, 14, 12), next_observation=pixels(16, 3, 14, 12, seed=1))
    alpha = learner.alpha().detach()
    reference = Reference(learner.state_dict(), shared, float(alpha))
    names = {parameter: name for name, parameter in learner.policy.named_parameters()}

    def compare(loss: torch.Tensor, expected: torch.Tensor, group: str) -> None:
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
        for tensor in reference.w.values():
            tensor.grad = None
        expected.backward()
        learner.policy.zero_grad()
        loss.backward()
        seen = set()
        for parameter, name in names.items():
            for key, part in learner._split(name, torch.zeros(1) if parameter.grad is None else parameter.grad):
                if not key.startswith(group):
                    assert parameter.grad is None, key
                    continue
                assert parameter.grad is not None, key
                torch.testing.assert_close(part, reference.w[key].grad, rtol=1e-3, atol=1e-6, msg=key)
                seen.add(key)
        assert seen == {key for key in reference.w if key.startswith(group)}
        assert (f"{group}encoder/convolutions/0/weight" in seen) == (group == "critic/" or not shared)

    critic_loss, actor_loss = losses(learner, batch, noise)
    compare(critic_loss, reference.critic_loss(batch, noise[0]), "critic/")
    compare(actor_loss, reference.actor_loss(batch, noise[1]), "actor/")


@pytest.mark.parametrize("shared", [False, True])
def test_one_step_moves_every_encoder_once(make_learner: Any, make_batch: Any, shared: bool) -> None:
    learner = make_learner(image(3, 14, 12), policy="CnnPolicy", share_encoder=shared, polyak=0.9, **SMALL)
    learner.set_learning_rates({"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 0.0})
    batch, noise = make_batch(learner, seed=1)
    batch = batch._replace(observation=pixels(16, 3, 14, 12), next_observation=pixels(16, 3, 14, 12, seed=1))
    before = learner.state_dict()
    learner.step(batch, noise)
    after = learner.state_dict()
    encoders = {"critic/encoder", "critic_target/encoder", *(() if shared else ("actor/encoder",))}
    found = {name.removesuffix("/output/bias") for name in after if name.endswith("encoder/output/bias")}
    assert found == encoders
    for encoder in encoders:
        moved = np.abs(after[f"{encoder}/output/bias"] - before[f"{encoder}/output/bias"]).max()
        assert moved == pytest.approx(1e-3 if "target" in encoder else 1e-2, rel=1e-2)  # Adam's first step
    assert ("optimizer/actor/encoder/output/bias/m" in after) is not shared
    assert "optimizer/critic/encoder/output/bias/v" in after
    if shared:  # the actor's encoder is the critics', now and after it moved
        encoder = learner.policy.critic.encoder
        x = learner.policy.features(batch.observation)
        actor = learner.policy.actor
        expected = actor.head.mean_action(encoder(actor.unflatten(x)))
        assert torch.equal(actor.mean_action(x), expected)


# -- agents ------------------------------------------------------------------------------------------------------------


class Still(gymnasium.Env[Any, Any]):
    """Pictures of nothing."""

    def __init__(self, observation_space: Any) -> None:
        self.observation_space, self.action_space = copy.deepcopy(observation_space), ACTION
        self.observation_space.seed(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), float(action[0]), False, False, {}


TRAINING: dict[str, Any] = {
    "seed": 0,
    "update_after": 8,
    "update_every": 4,
    "steps_per_update": 2,
    "batch_size": 4,
    "num_test_episodes": 0,
    "max_ep_len": 5,
    "replay_size": 100,
    "lr_a": 1e-2,
    "lr_c": 1e-2,
}
CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "channels last": ("CnnPolicy", image(14, 12, 3), {}),
    "channels first, shared": ("CnnPolicy", image(3, 14, 12), {"share_encoder": True, "n_critics": 3}),
    "stack": ("CnnPolicy", image(2, 14, 12, 3), {}),
    "grey": ("CnnPolicy", image(14, 12), {"n_critics": 1}),
    "Dict": ("MultiInputPolicy", MIXED, {}),
    "Dict, shared, normalised": ("MultiInputPolicy", MIXED, {"share_encoder": True, "normalize_observations": True}),
}


def make(name: str, **options: Any) -> SAC:
    policy, space, kwargs = CASES[name]
    return SAC(policy, Still(space), policy_kwargs={"hidden_sizes": [8], **SMALL, **kwargs}, **TRAINING, **options)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_an_agent_s_life(tmp_path: Path, name: str) -> None:
    model = make(name)
    before = model.get_parameters()
    model.learn(20)
    after = model.get_parameters()
    for tensor in before:
        if "/encoder/" in tensor and tensor.endswith("output/weight"):
            assert (before[tensor] != after[tensor]).any(), tensor
    stored = model.replay_buffer.sample(3).observation
    for key, box in ({"": stored} if not isinstance(stored, dict) else stored).items():
        expected = np.float32 if key in ("pose", "age") else np.uint8
        assert box.dtype == expected

    many = samples(model.observation_space, 5)
    one = {key: rows[1] for key, rows in many.items()} if isinstance(many, dict) else many[1]
    actions, _ = model.predict(many, deterministic=True)
    assert actions.shape == (5, 2)
    assert np.ptp(actions, axis=0).min() > 0
    np.testing.assert_allclose(model.predict(one, deterministic=True)[0], actions[1], rtol=1e-5, atol=1e-6)

    model.save(tmp_path / "agent", replay_buffer=True)
    loaded = load(tmp_path / "agent")  # asks for no trust
    for tensor, array in loaded.get_parameters().items():
        np.testing.assert_array_equal(array, after[tensor], err_msg=tensor)
    np.testing.assert_array_equal(loaded.predict(many, deterministic=True)[0], actions)
    loaded.set_env(Still(model.observation_space))
    loaded.learn(10)

    started = make(name, start_policy=str(tmp_path / "agent.zip"))
    np.testing.assert_array_equal(started.predict(many, deterministic=True)[0], actions)
    started.learn(12)
    assert (started.predict(many, deterministic=True)[0] != actions).any()

    model.export(tmp_path / "policy.pt")
    exported = torch.jit.load(str(tmp_path / "policy.pt"))
    floats = (
        {key: torch.from_numpy(rows).float() for key, rows in many.items()}
        if isinstance(many, dict)
        else torch.from_numpy(many).float()
    )
    np.testing.assert_allclose(exported(floats).numpy(), actions, rtol=1e-5, atol=1e-5)


def test_names_in_the_archive() -> None:
    names = {
        name: array.shape
        for name, array in make("channels first, shared").get_parameters().items()
        if name.split("/")[0] in ("actor", "critic")
    }
    head = {"trunk/0/weight": (5 + 2, 8), "trunk/0/bias": (8,), "value/weight": (8, 1), "value/bias": (1,)}
    assert names == {
        "actor/head/trunk/0/weight": (5, 8), "actor/head/trunk/0/bias": (8,),
        "actor/head/mean/weight": (8, 2), "actor/head/mean/bias": (2,),
        "actor/head/log_std/weight": (8, 2), "actor/head/log_std/bias": (2,),
        "critic/encoder/convolutions/0/weight": (4, 3, 4, 4), "critic/encoder/convolutions/0/bias": (4,),
        "critic/encoder/convolutions/1/weight": (6, 4, 3, 3), "critic/encoder/convolutions/1/bias": (6,),
        "critic/encoder/output/weight": (6 * 4 * 3, 5), "critic/encoder/output/bias": (5,),
        **{f"critic/{i}/head/{name}": shape for i in range(3) for name, shape in head.items()},
    }  # fmt: skip


def test_copies_are_whole_and_independent() -> None:
    policy: Any = make("Dict, shared, normalised").policy
    twin = copy.deepcopy(policy)
    observation = {key: torch.from_numpy(rows) for key, rows in samples(MIXED, 3).items()}
    before = policy.actor.mean_action(policy.features(observation))
    with torch.no_grad():
        for parameter in twin.critic.encoder.parameters():
            parameter.mul_(-2.0).add_(0.1)
    assert torch.equal(policy.actor.mean_action(policy.features(observation)), before)
    assert (
        twin.actor.mean_action(twin.features(observation)) != before
    ).any()  # the copy's actor has the copy's encoder


# -- the user's own ----------------------------------------------------------------------------------------------------


class Means(nn.Module):
    """What each channel is on average, times a gain that is learned."""

    def __init__(self, observation_space: Any, gain: float = 1.0) -> None:
        super().__init__()
        self.n_features = observation_space.shape[-1]
        self.gain = nn.Parameter(torch.full((self.n_features,), gain))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return observation.mean(dim=(1, 2)) * self.gain


@pytest.mark.parametrize("shared", [False, True])
def test_an_encoder_of_the_user_s_own(tmp_path: Path, shared: bool) -> None:
    kwargs = {"encoder": Means, "encoder_kwargs": {"gain": 2.0}, "share_encoder": shared, "hidden_sizes": [8]}
    model = SAC("CnnPolicy", Still(image(6, 4, 3)), policy_kwargs=kwargs, **TRAINING)
    assert model.get_parameters()["critic/encoder/gain"].tolist() == [2, 2, 2]
    x = pixels(5, 6, 4, 3)
    seen = model.policy.critic.encoder(model.policy.critic.unflatten(model.policy.features(x)))
    torch.testing.assert_close(seen, 2 * (x / 255).mean(dim=(1, 2)))
    model.learn(20)
    moved = {name for name, array in model.get_parameters().items() if name.endswith("/gain") and (array != 2).any()}
    assert moved == {"critic/encoder/gain", "critic_target/encoder/gain", *(() if shared else ("actor/encoder/gain",))}
    model.save(tmp_path / "agent")
    with pytest.raises(UntrustedCodeError, match="encoder"):
        load(tmp_path / "agent")
    loaded = load(tmp_path / "agent", trust=True)
    actions = [m.predict(x.numpy(), deterministic=True)[0] for m in (model, loaded)]
    np.testing.assert_array_equal(*actions)


def test_an_encoder_of_the_user_s_own_may_take_any_box() -> None:
    policy: Any = make_policy("CnnPolicy", spaces.Box(-9, 9, (6, 4, 3)), ACTION, {"encoder": Means}, 0)
    x = torch.rand(2, 6, 4, 3)
    torch.testing.assert_close(policy.actor.unflatten(policy.features(x)), x)  # no bytes, so not scaled


@pytest.mark.parametrize("encoder", [nn.Flatten, lambda space: nn.Flatten(), lambda space: "an encoder"])
def test_what_is_no_encoder(encoder: Any) -> None:
    with pytest.raises(TypeError, match="n_features"):
        make_policy("CnnPolicy", image(6, 4, 3), ACTION, {"encoder": encoder}, 0)


def test_heads_of_a_subclass_get_encoded_features() -> None:
    class Own(CnnPolicy):
        def make_critic(self) -> nn.Module:
            assert self.n_features == 5
            return super().make_critic()

        def make_encoder(self) -> nn.Module:
            encoder = super().make_encoder()
            encoder.marked = True  # type: ignore[assignment]
            return encoder

    policy: Any = make_policy(Own, image(14, 12, 3), ACTION, SMALL, 0)
    assert policy.actor.encoder.marked
    assert policy.critic.encoder.marked


@pytest.mark.parametrize(
    ("name", "hint"),
    [("features_extractor_class", "encoder"), ("cnn_layer", "cnn_layers"), ("share_encoders", "share_encoder")],
)
def test_unknown_keywords(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"policy_kwargs of CnnPolicy.*{name}.*{hint}"):
        make_policy("CnnPolicy", image(64, 64, 3), ACTION, {name: 1}, 0)
