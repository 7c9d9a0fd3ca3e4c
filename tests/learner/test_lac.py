"""What a learner of LAC holds and keeps, on each backend."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer

LAC_RATES = dict.fromkeys(("lr_a", "lr_c", "lr_alpha", "lr_labda"), 1e-2)


def make_buffer(learner: Any) -> ReplayBuffer:
    space, rng = learner.policy.observation_space, np.random.default_rng(0)
    shape = 50, space, learner.policy.action_space
    horizon = learner.horizon_length
    buffer = FiniteHorizonReplayBuffer(*shape, horizon_length=horizon, seed=0) if horizon else ReplayBuffer(*shape)
    buffer.generator = np.random.default_rng(0)
    for _ in range(30):
        o, o2 = rng.standard_normal((2, 1, 3))
        flags = rng.random(1) < 0.2, rng.random(1) < 0.1
        buffer.add(o, rng.uniform(0, 1, (1, 2)), rng.random(1), o2, *flags)
    return buffer


def test_names_and_layout_of_the_archive(make_lac_learner: Any) -> None:
    learner = make_lac_learner(n_critics=2, hidden_sizes={"actor": [4, 6], "critic": [5, 7]})
    shapes = {name: array.shape for name, array in learner.state_dict().items()}
    actor = {
        "trunk/0/weight": (3, 4),
        "trunk/0/bias": (4,),
        "trunk/1/weight": (4, 6),
        "trunk/1/bias": (6,),
        "mean/weight": (6, 2),
        "mean/bias": (2,),
        "log_std/weight": (6, 2),
        "log_std/bias": (2,),
    }
    critic = {"trunk/0/weight": (5, 5), "trunk/0/bias": (5,), "trunk/1/weight": (5, 7), "trunk/1/bias": (7,)}
    expected = {f"{part}/{name}": shape for part in ("actor", "actor_target") for name, shape in actor.items()}
    for part in ("critic", "critic_target"):
        expected |= {f"{part}/{i}/{name}": shape for i in (0, 1) for name, shape in critic.items()}
    expected |= {"alpha/log_value": (), "labda/log_value": ()}
    learned = [name for name in expected if "_target/" not in name]
    expected |= {f"optimizer/{name}/{letter}": expected[name] for name in learned for letter in "mv"}
    expected |= {f"optimizer/{group}/step": () for group in ("actor", "critic", "alpha", "labda")}
    assert shapes == expected


@pytest.mark.parametrize("kwargs", [{}, {"horizon_length": 3, "n_critics": 2}, {"policy": "GSDEPolicy"}])
def test_a_round_trip_continues_bit_for_bit(make_lac_learner: Any, kwargs: dict[str, Any]) -> None:
    learner, other = make_lac_learner(**kwargs), make_lac_learner(**kwargs, seed=5)
    learner.set_learning_rates(LAC_RATES)
    learner.update(make_buffer(learner), 2)
    copies = [copy.deepcopy(learner), pickle.loads(pickle.dumps(learner)), other]
    other.load_state_dict(learner.state_dict())
    other.generators = copy.deepcopy(learner.generators)
    other.set_learning_rates(LAC_RATES)
    for one in (learner, *copies):
        one.update(make_buffer(learner), 3)
    for one in copies:
        for name, array in learner.state_dict().items():
            np.testing.assert_array_equal(one.state_dict()[name], array, err_msg=name)
    assert learner.state_dict()["optimizer/labda/step"] == 5


@pytest.mark.parametrize("polyak", [0.0, 0.75, 1.0])
def test_both_targets_move_by_polyak_after_the_step(make_lac_learner: Any, make_batch: Any, polyak: float) -> None:
    learner = make_lac_learner(polyak=polyak)
    learner.set_learning_rates(LAC_RATES)
    before = learner.state_dict()
    learner.step(*make_batch(learner, 0))
    after = learner.state_dict()
    for part in ("actor", "critic"):
        for name in (name for name in before if name.startswith(f"{part}/")):
            target = name.replace(part, f"{part}_target", 1)
            expected = polyak * before[target] + (1 - polyak) * after[name]
            np.testing.assert_allclose(after[target], expected, atol=1e-7, err_msg=name)
            assert (after[name] != before[name]).any()


@pytest.mark.parametrize("finite", [False, True])
def test_update_equals_steps_on_the_same_batches_and_noise(backend: Any, make_lac_learner: Any, finite: bool) -> None:
    learner, other = (make_lac_learner(horizon_length=4 if finite else 0, batch_size=8) for _ in range(2))
    buffer, same = make_buffer(learner), make_buffer(learner)
    for one in (learner, other):
        one.set_learning_rates(LAC_RATES)
    learner.update(buffer, 3)
    noise = other.generators["learner"].standard_normal((3, 2 if finite else 3, 8, 2), dtype=np.float32)
    for rows, given in zip(same.sample_indices(3, 8), noise, strict=True):
        batch = same.gather(rows)
        other.step(backend.to_batch(batch), backend.tensor(given))
        assert (batch.horizon_return is not None) == finite
    for name, array in learner.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name], array, rtol=1e-5, atol=1e-7, err_msg=name)


def test_sac_s_tensors_do_not_fit(make_lac_learner: Any, make_learner: Any) -> None:
    with pytest.raises(ValueError, match="'actor_target/trunk/0/weight' is missing"):
        make_lac_learner().load_state_dict(make_learner().state_dict())


def test_its_policy_s_metrics_have_the_documented_names(make_lac_learner: Any) -> None:
    learner = make_lac_learner()
    learner.update(make_buffer(learner), 2)
    metrics = learner.read_metrics()
    assert set(metrics) >= {"critic_loss", "actor_loss", "alpha_loss", "labda_loss", "alpha", "labda", "entropy"}
    assert set(metrics) >= {"delta", "lyapunov_value"}
    assert metrics["labda"] == pytest.approx(0.9, rel=1e-6)
    assert metrics["labda_loss"] == pytest.approx(-np.log(0.9) * metrics["delta"], rel=1e-4)
    assert metrics["lyapunov_value"] > 0


def test_the_lyapunov_value_is_the_larger_critic_s(backend: Any, make_lac_learner: Any) -> None:
    learner = make_lac_learner(n_critics=2)
    o, a = (np.random.default_rng(i).standard_normal((40, n)).astype(np.float32) for i, n in enumerate((3, 2)))
    # The second critic is the first one, seen in a mirror: here one is larger, there the other.
    state = learner.state_dict()
    first, second = ({k: v for k, v in state.items() if k.startswith(f"critic/{i}/")} for i in (0, 1))
    mirrored = {k: -v if k.endswith("trunk/0/weight") else v for k, v in first.items()}
    learner.load_state_dict({**state, **dict(zip(second, mirrored.values(), strict=True))})
    each = backend.array(learner.policy.critic(backend.tensor(o), backend.tensor(a)))
    assert {*each.argmax(axis=0)} == {0, 1}
    value = learner.lyapunov_value(o, a)
    np.testing.assert_allclose(value, each.max(axis=0), rtol=1e-5)
    assert value.dtype == np.float32
