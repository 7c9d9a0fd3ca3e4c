"""The oscillators' dynamics, costs and parameters, by hand-computed values."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from slc_agents.envs.oscillator import Oscillator, OscillatorComplicated

START = [1.0, 2.0, 3.0, 0.5, 2.0, 1.0]  # m1 to m3, p1 to p3


def at(state: list[float], **parameters: Any) -> Oscillator:
    env = Oscillator(**parameters)
    env.reset(seed=0)
    env.state = np.array(state)
    return env


def test_a_step_by_hand() -> None:
    env = at(START)
    observation, cost, terminated, truncated, info = env.step(np.array([0.1, 0.2, 1.0], np.float32))
    expected = [
        1.0 - 0.16 + 1.6 / (1 + 1.0) + 0.5,  # repressed by p3
        2.0 - 0.32 + 1.6 / (1 + 0.25) + 1.0,  # by p1
        3.0 - 0.48 + 1.6 / (1 + 4.0) + 5.0,  # by p2
        0.5 - 0.03 + 0.16,
        2.0 - 0.12 + 0.32,
        1.0 - 0.06 + 0.48,
    ]
    np.testing.assert_allclose(env.state, expected, rtol=1e-7)
    reference = 8 + 7 * math.sin(2 * math.pi / 200)  # of the time after the step
    np.testing.assert_allclose(observation, [*expected, reference, 0.63 - reference], rtol=1e-6)
    assert cost == pytest.approx((0.63 - reference) ** 2, rel=1e-12)
    assert info == {
        "reference": pytest.approx(reference),
        "state_of_interest": pytest.approx(0.63),
        "reference_error": pytest.approx(0.63 - reference),
    }
    assert (terminated, truncated) == (False, False)
    assert env.time == 1.0


def test_four_genes_in_a_ring() -> None:
    env = OscillatorComplicated()
    env.reset(seed=0)
    env.state = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 3.0])
    observation = env.step(np.array([0.0, 0.0, 0.0, 1.0]))[0]
    np.testing.assert_allclose(env.state[:4], [0.84 + 0.16, 0.84 + 1.6, 0.84 + 0.8, 0.84 + 0.32 + 5.0])
    np.testing.assert_allclose(env.state[4:], [0.16, 0.94 + 0.16, 1.88 + 0.16, 2.82 + 0.16])
    assert observation.shape == (10,)
    assert observation[9] == pytest.approx(0.16 - observation[8])


def test_starts_and_the_first_observation() -> None:
    env = Oscillator()
    starts = np.array([env.reset(seed=None if i else 1)[0] for i in range(200)])
    assert starts[:, :6].min() >= 0
    assert starts[:, :6].max() <= 5
    np.testing.assert_allclose(starts[:, :6].mean(axis=0), 2.5, atol=0.35)
    np.testing.assert_array_equal(starts[:, 6], 8)
    np.testing.assert_allclose(starts[:, 7], starts[:, 3] - 8, rtol=1e-6)


def test_the_reference_is_a_sine_in_time() -> None:
    env = Oscillator()
    assert [env.reference(time) for time in (0, 50, 100, 150, 200)] == pytest.approx([8, 15, 8, 1, 8])
    env.reset(seed=1)
    for _ in range(50):
        info = env.step(np.zeros(3))[4]
    assert info["reference"] == pytest.approx(15)


@pytest.mark.parametrize(("protein", "ends"), [(17.9, False), (18.5, True)])
def test_it_ends_when_the_cost_exceeds_100(protein: float, ends: bool) -> None:
    wanted = 8 + 7 * math.sin(2 * math.pi / 200)
    env = at([0.0, 0.0, 0.0, protein / 0.94, 0.0, 0.0])
    _, cost, terminated, _, _ = env.step(np.zeros(3))
    assert cost == pytest.approx((protein - wanted) ** 2)
    assert terminated is ends
    assert at([0.0, 0.0, 0.0, protein / 0.94, 0.0, 0.0], cost_limit=None).step(np.zeros(3))[2] is False


def test_the_complicated_one_never_ends() -> None:
    env = OscillatorComplicated()
    env.reset(seed=0)
    env.state = np.full(8, 100.0)
    _, cost, terminated, _, _ = env.step(np.zeros(4))
    assert cost > 1e4
    assert terminated is False


def test_concentrations_stay_above_0_and_actions_in_their_bounds() -> None:
    low, high = (at(START, mrna_degradation=2.0) for _ in range(2))
    low.step(np.full(3, -9.0))
    high.step(np.full(3, 9.0))
    np.testing.assert_allclose(low.state[:3], [0.0, 0.0, 0.0])
    np.testing.assert_allclose(high.state[:3], [-1 + 0.8 + 5, -2 + 1.28 + 5, -3 + 0.32 + 5])


CHANGES: dict[str, tuple[float, Any]] = {
    "mrna_degradation": (0.3, {0: 0.7 + 0.8}),
    "transcription": (3.2, {0: 0.84 + 1.6}),
    "dissociation": (3.0, {0: 0.84 + 0.4}),
    "light_gain": (1.0, {0: 0.84 + 0.8}),
    "protein_degradation": (0.5, {3: 0.25 + 0.16}),
    "translation": (0.5, {3: 0.47 + 0.5}),
    "dt": (2.0, {0: 1 - 0.32 + 1.6, 3: 0.5 - 0.06 + 0.32}),
    "reference_mean": (10.0, {6: 10 + 7 * math.sin(math.pi / 100)}),
    "reference_amplitude": (3.0, {6: 8 + 3 * math.sin(math.pi / 100)}),
    "reference_period": (4.0, {6: 15.0}),
}


@pytest.mark.parametrize("at_run_time", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_parameters_act(name: str, at_run_time: bool) -> None:
    value, expected = CHANGES[name]
    if at_run_time:
        env = at(START)
        setattr(env, name, value)
    else:
        env = at(START, **{name: value})
    observation = env.step(np.array([0.0, 1.0, 1.0] if name != "light_gain" else [0.0, 0.0, 1.0]))[0]
    for index, wanted in expected.items():
        assert observation[index] == pytest.approx(wanted, rel=1e-6)


def test_the_light_gain_acts() -> None:
    env = at(START)
    env.light_gain = 2.0
    assert env.step(np.array([0.5, 0.0, 0.0]))[0][0] == pytest.approx(0.84 + 0.8 + 1.0)


def test_a_gene_can_have_a_rate_of_its_own() -> None:
    env = at(START, translation=[0.16, 0.0, 1.0])
    env.step(np.zeros(3))
    np.testing.assert_allclose(env.state[3:], [0.63, 1.88, 3.94])


def test_the_starts_can_be_changed() -> None:
    assert Oscillator(max_start=0.0).reset(seed=3)[0][:6].tolist() == [0] * 6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dt": 0}, "dt=0: a finite number above 0"),
        ({"translation": -1}, "translation=-1: a finite number of at least 0"),
        ({"translation": [1, 2]}, r"translation=\[1, 2\]: a number is needed, or 3, one for each gene"),
        ({"translation": [1, 2, -3]}, r"translation\[2\]=-3.0: a finite number of at least 0"),
        ({"dissociation": 0.0}, "dissociation=0.0: a finite number above 0"),
        ({"reference_mean": math.nan}, "reference_mean=nan: a finite number"),
        ({"reference_period": "long"}, "reference_period='long': a finite number"),
        ({"max_start": -1}, "max_start=-1"),
        ({"cost_limit": 0}, "cost_limit=0"),
    ],
)
def test_parameters_out_of_range(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Oscillator(**parameters)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Oscillator(period=3)  # type: ignore[call-arg]


def test_a_greedy_controller_costs_about_84() -> None:
    """At each step the light on gene 1, of five strengths, that brings p1 closest to the reference three steps on."""
    lights, env = np.linspace(0, 1, 5), gym.make("slc/Oscillator-v1")
    plant: Any = env.unwrapped
    costs = []
    for i in range(12):
        env.reset(seed=None if i else 0)
        ended, total = False, 0.0
        while not ended:
            m, p, repressor = np.full(5, plant.state[0]), np.full(5, plant.state[3]), plant.state[5]
            for _ in range(3):
                m, p = m - 0.16 * m + 1.6 / (1 + repressor**2) + 5 * lights, p - 0.06 * p + 0.16 * m
            best = lights[np.argmin(np.abs(p - plant.reference(plant.time + 3)))]
            _, cost, terminated, ended, _ = env.step(np.array([best, 0.0, 0.0], np.float32))
            assert not terminated
            total += float(cost)
        costs.append(total)
    assert np.mean(costs) == pytest.approx(84, abs=25)  # the standard deviation over starts is 48
