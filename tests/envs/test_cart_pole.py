"""The cart-poles' dynamics, costs and parameters, by values from other sources than their code."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from slc_agents.envs.cart_pole import CartPoleCost, CartPoleTrackingCost

DEGREE = math.pi / 180
START = [1.0, 0.5, 0.1, -0.3]


def at(state: list[float], kind: Any = CartPoleCost, **parameters: Any) -> Any:
    env = kind(**parameters)
    env.reset(seed=0)
    env.state = np.array(state)
    return env


def accelerations(state: Any, force: float, cart: float, pole: float, length: float, g: float = 9.8) -> Any:
    """Lagrange's equations of a cart with a uniform rod, as a linear system for the two accelerations."""
    _, _, theta, omega = state
    half, inertia = length / 2, pole * length**2 / 12
    mass_matrix = np.array(
        [[cart + pole, pole * half * math.cos(theta)], [pole * half * math.cos(theta), inertia + pole * half**2]]
    )
    right = [force + pole * half * omega**2 * math.sin(theta), pole * g * half * math.sin(theta)]
    return np.linalg.solve(mass_matrix, right)


@pytest.mark.parametrize(
    ("parameters", "physics"),
    [
        ({}, (1.0, 0.1, 1.0)),
        ({"cart_mass": 2.0}, (2.0, 0.1, 1.0)),
        ({"pole_mass": 0.7}, (1.0, 0.7, 1.0)),
        ({"pole_length": 0.4}, (1.0, 0.1, 0.4)),
        ({"gravity": 1.6}, (1.0, 0.1, 1.0, 1.6)),
    ],
)
@pytest.mark.parametrize("at_run_time", [False, True])
def test_a_step_obeys_lagrange(parameters: dict[str, float], physics: Any, at_run_time: bool) -> None:
    env = at(START, **({} if at_run_time else parameters))
    if at_run_time:
        vars(env).update(parameters)
    env.step(np.array([3.0], np.float32))
    x_acceleration, theta_acceleration = accelerations(START, 3.0, *physics)
    expected = [1.0 + 0.02 * 0.5, 0.5 + 0.02 * x_acceleration, 0.1 - 0.02 * 0.3, -0.3 + 0.02 * theta_acceleration]
    np.testing.assert_allclose(env.state, expected, rtol=1e-12)


def test_it_is_gymnasiums_plant() -> None:
    """Its CartPole has the same numbers, and pushes with 10 N to the left or right."""
    theirs: Any = gym.make("CartPole-v1").unwrapped
    theirs.reset(seed=0)
    theirs.state = tuple(START)
    ours = at(START)
    for push in (1, 0, 1, 1, 0):
        theirs.step(push)
        ours.step(np.array([10.0 if push else -10.0], np.float32))
    np.testing.assert_allclose(ours.state, theirs.state, rtol=1e-12)


def test_cost_and_info() -> None:
    env = at([2.0, 1.0, 5 * DEGREE, 0.0])
    observation, cost, terminated, truncated, info = env.step(np.zeros(1))
    assert observation.dtype == np.float32
    np.testing.assert_allclose(observation, env.state, rtol=1e-6)
    assert cost == pytest.approx((2.02 / 10) ** 2 + 20 * (5 / 20) ** 2)
    assert (terminated, truncated, env.time) == (False, False, 0.02)
    np.testing.assert_allclose(info["state_of_interest"], [2.02, 5 * DEGREE])
    np.testing.assert_allclose(info["reference"], [0, 0])
    np.testing.assert_allclose(info["reference_error"], [2.02, 5 * DEGREE])


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ([9.9, 4.0, 0.0, 0.0], False),
        ([9.9, 6.0, 0.0, 0.0], True),
        ([-9.9, -6.0, 0.0, 0.0], True),
        ([0.0, 0.0, 19.9 * DEGREE, 0.0], False),
        ([0.0, 0.0, 19.9 * DEGREE, 0.1], True),
        ([0.0, 0.0, -19.9 * DEGREE, -0.1], True),
    ],
)
def test_it_ends_outside_with_the_cost_100(state: list[float], ends: bool) -> None:
    _, cost, terminated, _, _ = at(state).step(np.zeros(1))
    assert terminated is ends
    assert (cost == 100.0) is ends


def test_the_limits_can_be_changed() -> None:
    env = at([12.0, 0.0, 0.0, 0.0])
    env.x_limit = 20.0
    assert env.step(np.zeros(1))[1:3] == (pytest.approx(0.36), False)
    env = at([0.0, 0.0, 30 * DEGREE, 0.0], theta_limit=math.radians(60))
    assert env.step(np.zeros(1))[1:3] == (pytest.approx(5.0), False)
    env.cost_limit = 4.0
    assert env.step(np.zeros(1))[1:3] == (4.0, True)


def test_tracking() -> None:
    env = at([2.0, 1.0, 15 * DEGREE, 0.0], CartPoleTrackingCost)
    for _ in range(5):
        observation, cost, terminated, _, info = env.step(np.zeros(1))
    reference = 7 * math.sin(2 * math.pi * 0.005 * 0.1)  # at 0.1 s, after the fifth step
    x, theta = env.state[[0, 2]]
    assert env.time == pytest.approx(0.1)
    assert observation.tolist() == [*env.state.astype(np.float32), np.float32(reference)]
    assert cost == pytest.approx((x - reference) ** 2 + (theta / (60 * DEGREE)) ** 2)
    assert terminated is False
    assert info == {
        "reference": pytest.approx(reference),
        "state_of_interest": x,
        "reference_error": pytest.approx(x - reference),
    }


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ([10.1, 0.0, 0.0, 0.0], True),
        ([9.5, 0.0, 0.0, 0.0], False),
        ([0.0, 0.0, 59 * DEGREE, 0.0], False),
        ([0.0, 0.0, 61 * DEGREE, 0.0], True),
    ],
)
def test_tracking_ends_outside_with_the_cost_100(state: list[float], ends: bool) -> None:
    _, cost, terminated, _, _ = at(state, CartPoleTrackingCost).step(np.zeros(1))
    assert terminated is ends
    assert (cost == 100.0) is ends


def test_the_reference_can_be_changed() -> None:
    env = at(START, CartPoleTrackingCost, reference_amplitude=2.0, reference_frequency=12.5)
    assert env.step(np.zeros(1))[0][4] == pytest.approx(2.0)
    env.reference_amplitude = 3.0
    assert env.step(np.zeros(1))[4]["reference"] == pytest.approx(0.0, abs=1e-12)
    assert env.step(np.zeros(1))[4]["reference"] == pytest.approx(-3.0)


def test_the_force_is_clipped_and_its_limit_can_be_changed() -> None:
    def speed(force: float, **change: float) -> float:
        env = at([0.0] * 4)
        vars(env).update(change)
        env.step(np.array([force]))
        return float(env.state[1])

    assert speed(50.0) == speed(20.0) > speed(10.0) > 0
    assert speed(-50.0) == -speed(20.0)
    assert speed(20.0, max_force=10.0) == speed(10.0)
    assert CartPoleCost(max_force=3.0).action_space == gym.spaces.Box(-3.0, 3.0, (1,), np.float32)


@pytest.mark.parametrize("kind", [CartPoleCost, CartPoleTrackingCost])
def test_starts(kind: Any) -> None:
    env = kind()
    starts = np.array([env.reset(seed=None if i else 1)[0] for i in range(300)])
    np.testing.assert_allclose(np.abs(starts[:, :4]).max(axis=0), [5, 0.2, 0.2, 0.2], rtol=0.05)
    np.testing.assert_allclose(starts[:, :4].mean(axis=0), 0, atol=0.5)
    assert np.abs(starts[:, 4:]).sum() == 0  # the reference at the time 0
    assert kind(max_start_x=0, max_start=0).reset(seed=1)[0].tolist() == [0.0] * starts.shape[1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pole_length": 0}, "pole_length=0: a finite number above 0"),
        ({"cart_mass": -1.0}, "cart_mass=-1.0: a finite number above 0"),
        ({"gravity": "moon"}, "gravity='moon': a finite number of at least 0"),
        ({"dt": math.inf}, "dt=inf"),
        ({"max_start_x": -1}, "max_start_x=-1"),
        ({"reference_frequency": None}, "reference_frequency=None"),
    ],
)
def test_parameters_out_of_range(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CartPoleTrackingCost(**parameters)


def lqr_gain() -> Any:
    """Solves the discrete Riccati equation of the plant near the upright by iteration."""
    dt, unit = 0.02, np.eye(4)
    rates = np.array([[0, 1, 0, 0], [0] * 4, [0, 0, 0, 1], [0] * 4], float)
    near = 1e-6
    rates[[1, 3], 2] = accelerations([0, 0, near, 0], 0.0, 1.0, 0.1, 1.0) / near
    a = unit + dt * rates
    b = dt * np.array([0, *accelerations([0] * 4, 1.0, 1.0, 0.1, 1.0)])[[0, 1, 0, 2]][:, None]
    q, r = np.diag([0.01, 0, 20 / (20 * DEGREE) ** 2, 0]), 1e-4
    p = q
    for _ in range(3000):
        gain = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
        p = q + a.T @ p @ (a - b @ gain)
    return gain[0]


def test_an_lqr_controller_costs_25_to_27() -> None:
    gain, env = lqr_gain(), gym.make("slc/CartPoleCost-v1")
    costs = []
    for i in range(60):
        state, ended, total, length = env.reset(seed=None if i else 0)[0], False, 0.0, 0
        while not ended:
            state, cost, terminated, truncated, _ = env.step(np.array([-gain @ state]))
            total, length, ended = total + float(cost), length + 1, terminated or truncated
        assert length == 250
        costs.append(total)
    assert np.mean(costs) == pytest.approx(26, abs=4)  # the standard deviation over starts is 20
