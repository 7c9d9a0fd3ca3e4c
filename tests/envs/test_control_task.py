"""What all control tasks promise: registered, checked, seeded, restored, vectorised, drawn."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import env_checker

from slc_agents.envs import check_env, make_vector_env, record_video
from slc_agents.envs.state import get_env_state, set_env_state
from slc_agents.errors import MissingDependencyError
from slc_agents.registration import CONTROL_TASKS, register_control_tasks

IDS = [f"slc/{name}-v1" for name in CONTROL_TASKS]
OWN = [f"slc/{name}-v1" for name, (module, _) in CONTROL_TASKS.items() if module != "velocity_cost"]
# The force is in newtons. These agents scale actions to the bounds themselves.
NOT_NORMALISED = ".*we recommend using a symmetric and normalized space.*"


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_they_are_registered() -> None:
    found = {
        env_id.removeprefix("slc/").removesuffix("-v1"): spec.max_episode_steps
        for env_id, spec in gym.registry.items()
        if spec.namespace == "slc"
    }
    assert found == {
        "Oscillator": 400,
        "OscillatorComplicated": 400,
        "CartPoleCost": 250,
        "CartPoleTrackingCost": 250,
        "SwimmerCost": 250,
        "HalfCheetahCost": 200,
        "HopperCost": 250,
        "Walker2dCost": 250,
        "AntCost": 250,
        "HumanoidCost": 250,
    }
    register_control_tasks()  # again, without a warning


@pytest.mark.parametrize("env_id", IDS)
def test_checkers_have_nothing_to_say(env_id: str) -> None:
    check_env(env_id)
    with warnings.catch_warnings():
        if "CartPole" in env_id:
            warnings.filterwarnings("ignore", NOT_NORMALISED)
        # What MuJoCo draws with may not be there.
        env_checker.check_env(gym.make(env_id).unwrapped, skip_render_check=env_id not in OWN)


@pytest.mark.parametrize("env_id", IDS)
def test_spaces_are_float32_and_infos_say_what_is_tracked(env_id: str) -> None:
    env = gym.make(env_id)
    assert (env.observation_space.dtype, env.action_space.dtype) == (np.float32, np.float32)
    for info in (env.reset(seed=1)[1], env.step(env.action_space.sample())[4]):
        error = np.subtract(info["state_of_interest"], info["reference"])
        np.testing.assert_array_equal(info["reference_error"], error)
        assert np.all(error != 0) or env_id == "slc/CartPoleCost-v1"


def play(env: Any, n_steps: int, seed: int | None = None) -> list[Any]:
    """Plays random actions, through ends of episodes, and returns all that was seen."""
    seen: list[Any] = []
    if seed is not None:
        seen.append(env.reset(seed=seed)[0].tolist())
        env.action_space.seed(seed)
    for _ in range(n_steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen.append((observation.tolist(), reward.tolist(), terminated.tolist(), str(info)))
        done = terminated | truncated
        if done.any():
            seen.append(env.reset(options={"reset_mask": done})[0].tolist())
    return seen


@pytest.mark.parametrize("env_id", IDS)
def test_seeds_make_episodes(env_id: str) -> None:
    env = make_vector_env(env_id)
    episode = play(env, 20, seed=4)
    assert play(env, 20, seed=5)[0] != episode[0]
    assert play(env, 20, seed=4) == episode


@pytest.mark.parametrize(
    ("env_id", "asynchronous"), [*((env_id, False) for env_id in IDS), ("slc/CartPoleCost-v1", True), (IDS[4], True)]
)
def test_states_are_restored_exactly(env_id: str, asynchronous: bool) -> None:
    n_envs = 2 if asynchronous or env_id in OWN else 1
    first = make_vector_env(env_id, n_envs, asynchronous=asynchronous)
    play(first, 50, seed=8)
    state = copy.deepcopy(get_env_state(first))
    first.action_space.seed(3)
    expected = play(first, 40)

    second = make_vector_env(env_id, n_envs, asynchronous=asynchronous)
    second.reset(seed=0)
    set_env_state(second, state)
    second.action_space.seed(3)
    assert play(second, 40) == expected
    first.close(), second.close()


@pytest.mark.parametrize("env_id", OWN)
def test_get_state_is_a_copy_with_the_parameters(env_id: str) -> None:
    env: Any = gym.make(env_id, dt=0.01).unwrapped
    env.reset(seed=1)
    state = env.get_state()
    assert state["parameters"]["dt"] == 0.01
    kept = state["state"].tolist()
    env.state[:] = 7.0
    assert state["state"].tolist() == kept
    other: Any = gym.make(env_id).unwrapped
    other.reset(seed=2)
    other.set_state(state)
    assert (other.dt, other.state.tolist()) == (0.01, kept)


@pytest.mark.parametrize("env_id", IDS)
def test_pickles(env_id: str) -> None:
    env = gym.make(env_id)
    env.reset(seed=1)
    restored = pickle.loads(pickle.dumps(env.unwrapped))
    assert restored.reset(seed=5)[0].tolist() == env.reset(seed=5)[0].tolist()
    assert restored.observation_space == env.observation_space


@pytest.mark.parametrize("env_id", OWN)
def test_steps_that_make_no_sense(env_id: str) -> None:
    env = gym.make(env_id).unwrapped
    action: Any = env.action_space.sample()
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        env.step(action)
    env.reset()
    with pytest.raises(ValueError, match=re.escape(f"received the shape (); {action.shape} is needed")):
        env.step(action[0])


class Still:
    """A policy that does nothing."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        return np.zeros((len(observation), 1), np.float32), state


# -- drawing -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(request: pytest.FixtureRequest) -> Iterator[Any]:
    env = gym.make(request.param, render_mode="rgb_array")
    env.reset(seed=2)
    yield env
    env.close()


@pytest.mark.parametrize("drawn", OWN, indirect=True)
def test_a_frame_shows_the_state(drawn: Any) -> None:
    frame = drawn.render()
    assert (frame.shape, frame.dtype) == ((480, 640, 3), np.uint8)
    assert frame.mean() > 200  # on white
    np.testing.assert_array_equal(drawn.render(), frame)
    drawn.step(drawn.action_space.high)
    assert np.any(drawn.render() != frame)
    copied = copy.deepcopy(drawn)
    np.testing.assert_array_equal(copied.render(), drawn.render())


def blue(frame: Any) -> Any:
    """Where the first of the package's colours is, [row, column]."""
    return np.argwhere(np.all(np.abs(frame.astype(int) - (0x00, 0x72, 0xB2)) < 8, axis=2))


@pytest.mark.parametrize("drawn", ["slc/CartPoleCost-v1"], indirect=True)
def test_the_cart_is_where_the_state_says(drawn: Any) -> None:
    middles = []
    for x in (-5.0, 0.0, 5.0):
        drawn.unwrapped.state = np.array([x, 0.0, 0.0, 0.0])
        middles.append(blue(drawn.render()).mean(axis=0)[1])
    np.testing.assert_allclose(middles, [190, 320, 450], atol=2)


@pytest.mark.parametrize("drawn", ["slc/Oscillator-v1"], indirect=True)
def test_the_courses_grow_with_time(drawn: Any) -> None:
    ends = []
    for _ in range(3):
        for _ in range(30):
            drawn.step(np.zeros(3, np.float32))
        pixels = blue(drawn.render())
        ends.append(pixels[pixels[:, 0] > 300][:, 1].max())  # in the lower axes, right of the legend
    np.testing.assert_allclose(np.diff(ends), 0.3 * 556, atol=4)


def test_a_window_opens_and_closes() -> None:
    pygame = pytest.importorskip("pygame")
    env = gym.make("slc/Oscillator-v1", render_mode="human")
    env.reset(seed=1)
    assert env.render() is None
    env.step(np.zeros(3, np.float32))
    assert pygame.display.get_surface().get_size() == (640, 480)
    assert pygame.display.get_caption()[0] == "Oscillator"
    copy.deepcopy(env)
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_a_video_of_a_task(tmp_path: Path) -> None:
    assert record_video(Still(), "slc/CartPoleCost-v1", tmp_path / "a.gif", n_steps=3).stat().st_size > 1000


def test_without_a_render_mode_there_is_a_hint() -> None:
    env = gym.make("slc/Oscillator-v1").unwrapped
    env.reset()
    with pytest.warns(UserWarning, match="rgb_array"):
        env.render()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = gym.make("slc/Oscillator-v1", render_mode="rgb_array")
    env.reset()
    with pytest.raises(MissingDependencyError, match=r"pip install 'slc-agents\[video\]'"):
        env.render()
    with pytest.raises(MissingDependencyError, match=r"pip install 'slc-agents\[video\]'"):
        record_video(Still(), "slc/CartPoleCost-v1", tmp_path / "a.gif")
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.delitem(sys.modules, "slc_agents.envs.velocity_cost", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'slc-agents\[mujoco\]'"):
        gym.make("slc/HopperCost-v1")
