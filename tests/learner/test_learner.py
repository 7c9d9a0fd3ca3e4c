"""The learner's contract: acting, updating, metrics, rates, state. Each backend's learner keeps it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents.seeding import make_generator
from tests.support.backends import RATES, make_buffer

DICT = gymnasium.spaces.Dict(
    {"a": gymnasium.spaces.Box(-1, 1, (2,)), "b": gymnasium.spaces.Box(-1, 1, (1, 2), np.float64)}
)


# -- acting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("deterministic", [False, True])
def test_actions_have_their_shape_type_and_bounds(make_learner: Any, n: int, deterministic: bool) -> None:
    learner = make_learner()
    action = learner.act(1e4 * np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32), deterministic)
    assert action.shape == (n, 2)
    assert action.dtype == np.float32
    assert type(action) is np.ndarray
    assert (np.abs(action) <= 1).all()
    action[:] = 0  # it is the caller's, and may be written to


def test_acts_on_dict_observations_and_flattens_actions(make_learner: Any) -> None:
    learner = make_learner(DICT, gymnasium.spaces.Box(-1, 1, (2, 3)))
    action = learner.act({"a": np.zeros((4, 2), np.float32), "b": np.zeros((4, 1, 2), np.float32)})
    assert action.shape == (4, 6)


def test_deterministic_actions_are_the_mean_and_draw_nothing(backend: Any, make_learner: Any) -> None:
    learner = make_learner()
    o = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    state = str(learner.generators["action"].bit_generator.state)
    first = learner.act(o, deterministic=True)
    np.testing.assert_array_equal(first, learner.act(o, deterministic=True))
    np.testing.assert_allclose(first, backend.array(learner.policy.actor.mean_action(backend.tensor(o))), 1e-5, 1e-6)
    assert str(learner.generators["action"].bit_generator.state) == state


def test_samples_take_their_noise_from_the_generator_given_or_their_own(backend: Any, make_learner: Any) -> None:
    learner, twin = make_learner(), make_learner()
    o = np.zeros((4, 3), np.float32)
    first, second = learner.act(o), learner.act(o)
    assert (first != second).any()
    assert (first[0] != first[1]).all()
    # What another generator gives leaves the learner's own stream where it was.
    from_other = twin.act(o, generator=np.random.default_rng(7))
    np.testing.assert_array_equal(from_other, learner.act(o, generator=np.random.default_rng(7)))
    np.testing.assert_array_equal(twin.act(o), first)
    noise = np.random.default_rng(7).standard_normal((4, 2), dtype=np.float32)
    expected, _ = learner.policy.actor(backend.tensor(o), backend.tensor(noise))
    np.testing.assert_allclose(from_other, backend.array(expected), 1e-5, 1e-6)


# -- learning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_update_does_that_many_steps(make_learner: Any, n: int) -> None:
    learner = make_learner()
    learner.set_learning_rates(RATES)
    learner.update(make_buffer(learner), n)
    state = learner.state_dict()
    assert {name: int(array) for name, array in state.items() if name.endswith("/step")} == {
        "optimizer/actor/step": n,
        "optimizer/critic/step": n,
        "optimizer/alpha/step": n,
    }


def test_update_equals_steps_on_the_same_batches_and_noise(backend: Any, make_learner: Any) -> None:
    learner, by_hand = make_learner(normalize_observations=True), make_learner(normalize_observations=True)
    for one in (learner, by_hand):
        one.set_learning_rates(RATES)
        one.observe(np.random.default_rng(1).normal(1, 2, (9, 3)).astype(np.float32))
    learner.update(make_buffer(learner), 4)
    buffer = make_buffer(by_hand)
    indices = buffer.sample_indices(4, by_hand.batch_size)
    noise = backend.tensor(by_hand.generators["learner"].standard_normal((4, 2, 16, 2), dtype=np.float32))
    metrics = []
    for i in range(4):
        batch = backend.to_batch(buffer.gather(indices[i]))
        metrics.append([float(x) for x in by_hand.step(batch, noise[i])])
    expected = by_hand.state_dict()
    for name, array in learner.state_dict().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
    result = learner.read_metrics()
    assert tuple(result) == learner.metric_names
    np.testing.assert_allclose(list(result.values()), np.mean(metrics, axis=0), rtol=1e-5)


def test_update_of_dict_observations(make_learner: Any) -> None:
    learner = make_learner(DICT)
    learner.set_learning_rates(RATES)
    before = learner.state_dict()
    learner.update(make_buffer(learner), 2)
    assert (learner.state_dict()["critic/0/trunk/0/weight"] != before["critic/0/trunk/0/weight"]).all(axis=1).all()


def test_metrics_are_means_since_they_were_read(make_learner: Any) -> None:
    learner, twin = make_learner(), make_learner()
    assert learner.read_metrics() == {}
    buffers = make_buffer(learner), make_buffer(twin)
    parts = []
    for n in (3, 1):
        learner.update(buffers[0], n)
        twin.update(buffers[1], n)
        parts.append((n, twin.read_metrics()))
        assert twin.read_metrics() == {}
    together = learner.read_metrics()
    for name, value in together.items():
        assert type(value) is float
        assert value == pytest.approx(sum(n * part[name] for n, part in parts) / 4, rel=1e-5)
    assert together["alpha"] == pytest.approx(0.7)  # the rates are 0 before they are set


@pytest.mark.parametrize(("rate", "moved"), [("lr_a", "actor"), ("lr_c", "critic"), ("lr_alpha", "alpha")])
def test_each_rate_acts_on_its_own(make_learner: Any, rate: str, moved: str) -> None:
    learner = make_learner(polyak=1.0)
    before = learner.state_dict()
    learner.set_learning_rates({rate: 1e-2})
    learner.update(make_buffer(learner), 1)
    after = learner.state_dict()
    groups = {k.split("/")[0] for k in before if not k.startswith("optimizer") and (before[k] != after[k]).any()}
    assert groups == {moved}
    # Adam's first step is the rate, wherever there is a gradient at all.
    steps = np.concatenate([np.abs(after[k] - before[k]).ravel() for k in before if k.startswith(f"{moved}/")])
    assert steps.max() == pytest.approx(1e-2, rel=1e-3)


def test_a_fixed_temperature_takes_a_rate_and_ignores_it(make_learner: Any) -> None:
    learner = make_learner(alpha=0.3, adaptive_temperature=False)
    learner.set_learning_rates(RATES)
    learner.update(make_buffer(learner), 3)
    state = learner.state_dict()
    assert state["alpha/fixed_value"] == np.float32(0.3)
    assert not any(name.startswith("optimizer/alpha") for name in state)


@pytest.mark.parametrize(("polyak", "expected"), [(1.0, "stay"), (0.0, "follow"), (0.75, "between")])
def test_targets_move_by_polyak(make_learner: Any, polyak: float, expected: str) -> None:
    learner = make_learner(polyak=polyak)
    learner.set_learning_rates(RATES)
    before = learner.state_dict()
    learner.update(make_buffer(learner), 1)
    after = learner.state_dict()
    for name in [k for k in before if k.startswith("critic/")]:
        target = name.replace("critic", "critic_target", 1)
        assert (after[name] != before[name]).any()
        if expected == "stay":
            np.testing.assert_array_equal(after[target], before[target])
        elif expected == "follow":
            np.testing.assert_array_equal(after[target], after[name])
        np.testing.assert_allclose(after[target], polyak * before[target] + (1 - polyak) * after[name], atol=1e-7)


# -- state -------------------------------------------------------------------------------------------------------------

LAYOUT = {
    "actor/trunk/0/weight": (3, 8),
    "actor/trunk/0/bias": (8,),
    "actor/trunk/1/weight": (8, 8),
    "actor/trunk/1/bias": (8,),
    "actor/mean/weight": (8, 2),
    "actor/mean/bias": (2,),
    "actor/log_std/weight": (8, 2),
    "actor/log_std/bias": (2,),
    **{
        f"{net}/{i}/{name}": shape
        for net in ("critic", "critic_target")
        for i in (0, 1)
        for name, shape in {
            "trunk/0/weight": (5, 8),
            "trunk/0/bias": (8,),
            "trunk/1/weight": (8, 8),
            "trunk/1/bias": (8,),
            "value/weight": (8, 1),
            "value/bias": (1,),
        }.items()
    },
    "alpha/log_value": (),
    "normalizer/mean": (3,),
    "normalizer/var": (3,),
    "normalizer/count": (),
}


def test_names_and_layout_of_the_archive(make_learner: Any) -> None:
    state = make_learner(normalize_observations=True).state_dict()
    trained = {name: shape for name, shape in LAYOUT.items() if name.split("/")[0] in ("actor", "critic", "alpha")}
    moments = {f"optimizer/{name}/{letter}": shape for name, shape in trained.items() for letter in "mv"}
    steps: dict[str, tuple[int, ...]] = {f"optimizer/{group}/step": () for group in ("actor", "critic", "alpha")}
    assert {name: array.shape for name, array in state.items()} == {**LAYOUT, **moments, **steps}
    for name, array in state.items():
        expected = np.int64 if name.endswith("/step") else np.float64 if name.startswith("normalizer/") else np.float32
        assert array.dtype == expected, name
        assert array.flags.c_contiguous
        assert array.flags.owndata


def test_the_layout_says_how_to_compute(backend: Any, make_learner: Any) -> None:
    """Whoever reads the archive without this package gets the same actions and values."""
    learner = make_learner()
    w = learner.state_dict()
    o, a = (np.random.default_rng(i).standard_normal((5, n)).astype(np.float32) for i, n in enumerate((3, 2)))
    h = o
    for i in (0, 1):
        h = np.maximum(h @ w[f"actor/trunk/{i}/weight"] + w[f"actor/trunk/{i}/bias"], 0)
    np.testing.assert_allclose(
        np.tanh(h @ w["actor/mean/weight"] + w["actor/mean/bias"]), learner.act(o, deterministic=True), atol=1e-6
    )
    for k in (0, 1):
        h = np.concatenate([o, a], axis=1)
        for i in (0, 1):
            h = np.maximum(h @ w[f"critic/{k}/trunk/{i}/weight"] + w[f"critic/{k}/trunk/{i}/bias"], 0)
        value = (h @ w[f"critic/{k}/value/weight"] + w[f"critic/{k}/value/bias"])[:, 0]
        expected = backend.array(learner.policy.critic(backend.tensor(o), backend.tensor(a)))[k]
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_state_is_a_copy(make_learner: Any) -> None:
    learner = make_learner()
    state, kept = learner.state_dict(), learner.state_dict()
    for array in state.values():
        array.fill(7)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_round_trip_continues_bit_for_bit(make_learner: Any, adaptive: bool) -> None:
    def make(seed: int) -> Any:
        learner = make_learner(seed=seed, normalize_observations=True, n_critics=3, adaptive_temperature=adaptive)
        learner.set_learning_rates(RATES)
        return learner

    learner, other = make(0), make(1)
    learner.observe(np.random.default_rng(0).normal(3, 2, (5, 3)).astype(np.float32))
    learner.update(make_buffer(learner), 3)
    other.update(make_buffer(other), 1)
    other.load_state_dict(learner.state_dict())
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name], err_msg=name)
    for one in (learner, other):
        one.generators = {stream: make_generator(5, stream) for stream in ("action", "learner")}
        one.update(make_buffer(one, seed=2), 3)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name], err_msg=name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("actor/mean/weight"), ["'actor/mean/weight'", "missing", "[8, 2]"]),
        (lambda s: s.pop("optimizer/critic/1/value/bias/v"), ["'optimizer/critic/1/value/bias/v'", "missing"]),
        (lambda s: s.pop("optimizer/alpha/step"), ["'optimizer/alpha/step'", "missing"]),
        (
            lambda s: s.update({"actor/mean/weight": np.zeros((8, 3), np.float32)}),
            ["'actor/mean/weight'", "[8, 3]", "[8, 2]"],
        ),
        (
            lambda s: s.update({"critic/1/trunk/0/bias": np.zeros((), np.float32)}),
            ["'critic/1/trunk/0/bias'", "[]", "[8]"],
        ),
        (
            lambda s: s.update({"critic/2/trunk/0/bias": np.zeros(8, np.float32)}),
            ["'critic/2/trunk/0/bias'", "none of that name"],
        ),
        (lambda s: s.update({"normalizer/mean": np.zeros(3)}), ["'normalizer/mean'"]),
        (lambda s: s.update({"critic_target/1/value/bias": np.array(["x"])}), ["'critic_target/1/value/bias'", "<U1"]),
        (lambda s: s.update({"alpha/log_value": np.array(1j)}), ["'alpha/log_value'", "complex128"]),
        (lambda s: s.update({"optimizer/actor/step": np.array(np.nan)}), ["'optimizer/actor/step'", "float64"]),
    ],
)
def test_state_that_does_not_fit_is_refused_and_changes_nothing(
    make_learner: Any, change: Any, words: list[str]
) -> None:
    learner = make_learner()
    before = learner.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match="tensor") as caught:
        learner.load_state_dict(state)
    for word in words:
        assert word in str(caught.value)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_the_first_tensor_that_differs_is_named(make_learner: Any) -> None:
    wider = make_learner(hidden_sizes={"actor": [8, 9], "critic": [8, 9]})
    with pytest.raises(ValueError, match=r"'actor/trunk/1/weight' has shape \[8, 9\]; the agent's has \[8, 8\]"):
        make_learner().load_state_dict(wider.state_dict())


def test_parts_are_taken_alone(make_learner: Any) -> None:
    learner, other = make_learner(seed=0), make_learner(seed=1, alpha=3.0)
    before, given = learner.state_dict(), other.state_dict()
    learner.load_state_dict(given, take=lambda name: name.startswith(("actor/", "alpha/")))
    for name, array in learner.state_dict().items():
        source = given if name.startswith(("actor/", "alpha/")) else before
        np.testing.assert_array_equal(array, source[name], err_msg=name)


def test_loading_leaves_the_given_arrays_alone_and_takes_read_only_ones(make_learner: Any) -> None:
    learner, other = make_learner(seed=0), make_learner(seed=1)
    state = other.state_dict()
    for array in state.values():
        array.flags.writeable = False
    learner.load_state_dict(state)
    learner.set_learning_rates(RATES)
    learner.update(make_buffer(learner), 1)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_learners_do_not_disturb_each_other(make_learner: Any) -> None:
    alone, first, second = make_learner(seed=0), make_learner(seed=0), make_learner(seed=1)
    buffers = {id(one): make_buffer(one) for one in (alone, first, second)}
    for one in (alone, first, second):
        one.set_learning_rates(RATES)
    for _ in range(3):
        alone.update(buffers[id(alone)], 1)
    for _ in range(3):
        first.update(buffers[id(first)], 1)
        second.update(buffers[id(second)], 1)
        second.act(np.zeros((1, 3), np.float32))
    for name, array in alone.state_dict().items():
        np.testing.assert_array_equal(array, first.state_dict()[name], err_msg=name)
