"""MuJoCo's tasks with the cost of a velocity, beside gymnasium's own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import slc_agents  # noqa: F401 - registers the tasks

TASKS = ["Swimmer", "HalfCheetah", "Hopper", "Walker2d", "Ant", "Humanoid"]
HEALTHY = TASKS[2:]


@pytest.mark.parametrize("task", TASKS)
def test_it_is_gymnasiums_robot_with_another_cost(task: str) -> None:
    ours, theirs = gym.make(f"slc/{task}Cost-v1", reference_velocity=0.5), gym.make(f"{task}-v5")
    observation, info = ours.reset(seed=7)
    expected, _ = theirs.reset(seed=7)
    plant: Any = ours.unwrapped
    np.testing.assert_array_equal(observation, np.array([*expected, 0.5, plant.data.qvel[0]], np.float32))
    assert info["state_of_interest"] == plant.data.qvel[0]
    sizes = plant.observation_structure
    assert sum(sizes.values()) - sizes["skipped_qpos"] == observation.size
    theirs.action_space.seed(7)
    for _ in range(15):
        action = theirs.action_space.sample()
        observation, cost, terminated, _, info = ours.step(action)
        expected, _, ends, _, their_info = theirs.step(action)
        velocity = their_info["x_velocity"]
        np.testing.assert_array_equal(observation, np.array([*expected, 0.5, velocity], np.float32))
        assert terminated == ends
        assert cost == pytest.approx((velocity - 0.5) ** 2 + 10 * ends)
        assert (info["reference"], info["state_of_interest"]) == (0.5, velocity)
        assert info["reference_error"] == velocity - 0.5
        assert not [key for key in info if key.startswith("reward")]
        if terminated:
            break


@pytest.mark.parametrize("task", HEALTHY)
def test_being_unhealthy_costs_10_and_ends(task: str) -> None:
    env = gym.make(f"slc/{task}Cost-v1")
    env.reset(seed=0)
    plant: Any = env.unwrapped
    plant.data.qpos[1 if task in ("Hopper", "Walker2d") else 2] = 5.0 if task != "Hopper" else 0.3
    _, cost, terminated, _, info = env.step(np.zeros(env.action_space.shape or (), np.float32))
    assert terminated
    assert cost == pytest.approx((info["x_velocity"] - 1) ** 2 + 10)


def test_options_act() -> None:
    env = gym.make("slc/HopperCost-v1", unhealthy_cost=3.0, terminate_when_unhealthy=False, frame_skip=2)
    env.reset(seed=0)
    plant: Any = env.unwrapped
    plant.data.qpos[1] = 0.3
    _, cost, terminated, _, info = env.step(np.zeros(3, np.float32))
    assert not terminated
    assert cost == pytest.approx((info["x_velocity"] - 1) ** 2 + 3)
    assert plant.dt == pytest.approx(0.004)
    plant.reference_velocity = 2.0
    observation, cost, _, _, info = env.step(np.zeros(3, np.float32))
    assert observation[-2] == 2.0
    assert cost == pytest.approx((info["x_velocity"] - 2) ** 2 + 3)


@pytest.mark.parametrize(
    ("task", "options", "error", "message"),
    [
        ("Swimmer", {"reference_velocity": np.nan}, ValueError, "reference_velocity=nan: a finite number"),
        ("Hopper", {"unhealthy_cost": -1}, ValueError, "unhealthy_cost=-1: a finite number of at least 0"),
        ("Swimmer", {"unhealthy_cost": 1}, TypeError, "unhealthy_cost"),
        ("Ant", {"healthy_reward": 2}, TypeError, "AntCost has no keyword 'healthy_reward', which shapes gymnasium's"),
    ],
)
def test_options_that_make_no_sense(task: str, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gym.make(f"slc/{task}Cost-v1", **options)
