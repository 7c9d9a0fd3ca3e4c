"""`slc-agents enjoy`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from drawn_envs import BlindEnv, DrawnEnv
from PIL import Image

from slc_agents import SAC
from slc_agents.evaluation import evaluate_policy

Command = Callable[..., Any]


@pytest.fixture
def drawn_agent(command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent in an environment that draws quickly."""
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Drawn-v0", DrawnEnv)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    model = SAC("MlpPolicy", spec.id, seed=1, policy_kwargs={"hidden_sizes": [8]})
    model.save("drawn.zip")
    return Path("drawn.zip")


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_display")
def test_a_video(command: Command, drawn_agent: Path) -> None:
    code, out, err = command("enjoy", drawn_agent, "--episodes", 2, "--record", "a/b.gif", "--fps", 10)
    # Of the first episode 1 to 5, of the second 11 to 13.
    assert (code, err) == (0, "")
    assert out == "episode 1: return 15.0, length 5\nepisode 2: return 36.0, length 3\nvideo: a/b.gif\n"
    with Image.open("a/b.gif") as image:
        assert (image.n_frames, image.info["duration"]) == (10, 100)  # type: ignore[attr-defined]
    assert command("enjoy", drawn_agent, "--record", "a.mp4").out.count("episode") == 5


def test_a_window_shows_the_episodes_of_evaluate(
    command: Command, small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(gymnasium.envs.classic_control.PendulumEnv.metadata, "render_fps", 2000)
    model = SAC.load(small_run / "agent.zip")
    for options, deterministic in ((), True), (("--stochastic",), False):
        agent = SAC.load(small_run / "agent.zip")
        returns, _ = evaluate_policy(agent, "Pendulum-v1", 1, deterministic, return_episode_rewards=True, seed=5)
        code, out, err = command("enjoy", small_run, "--episodes", 1, "--seed", 5, *options)
        assert (code, out, err) == (0, f"episode 1: return {returns[0]:.1f}, length 200\n", "")
    assert model.config.opt_type == "maximize"


@pytest.mark.usefixtures("no_display")
def test_no_display(command: Command, drawn_agent: Path) -> None:
    code, out, err = command("enjoy", drawn_agent)
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no display")
    assert "--record FILE.mp4" in err
    assert err.count("\n") == 1


def test_a_window_that_does_not_open(command: Command, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "nonsense")
    code, _, err = command("enjoy", small_run)
    assert code == 1
    assert "drawing failed" in err
    assert "--record FILE.mp4" in err
    assert err.count("\n") == 1


def test_what_makes_no_sense(command: Command, drawn_agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--fps is for a video" in command("enjoy", drawn_agent, "--fps", 3).err
    assert "a number above 0" in command("enjoy", drawn_agent, "--fps", 0, "--record", "a.gif").err
    assert "allowed are .mp4, .gif" in command("enjoy", drawn_agent, "--record", "a.avi").err
    assert (
        "'-1': a whole number of at least 0 is needed"
        in command("enjoy", drawn_agent, "--seed", -1, "--record", "a.gif").err
    )
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Blind-v0", BlindEnv)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    code, _, err = command("enjoy", drawn_agent, "--env", spec.id, "--record", "a.gif")
    assert code == 1
    assert "can't be drawn" in err


def test_a_cost_is_called_one_and_other_options_act(command: Command, drawn_agent: Path) -> None:
    SAC(
        "MlpPolicy",
        "slc_test/Drawn-v0",
        seed=1,
        opt_type="minimize",
        max_ep_len=2,
        lr_a=lambda p: 1e-3,
        policy_kwargs={"hidden_sizes": [8]},
    ).save("cost.zip")
    options = ["cost.zip", "--episodes", 1, "--record", "a.gif", "--device", "cpu"]
    assert "--trust" in command("enjoy", *options).err
    assert command("enjoy", *options, "--trust").out == "episode 1: cost 3.000, length 2\nvideo: a.gif\n"
