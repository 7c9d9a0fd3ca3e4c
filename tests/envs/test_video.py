"""Recording videos: what is in the file, and what is said where there can't be one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
from drawn_envs import BlindEnv, DrawnEnv
from PIL import Image

from slc_agents import SAC
from slc_agents.envs import make_vector_env, record_video
from slc_agents.envs.video import make_rendering_env, play_episodes
from slc_agents.errors import MissingDependencyError, RenderError
from slc_agents.evaluation import evaluate_policy


class Still:
    """A policy that does nothing, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bool, bool]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.asked.append((bool(episode_start[0]), deterministic))
        return np.zeros((len(observation), 2), np.float32), state


def bright_rows(frames: list[Any]) -> list[int]:
    """Where each frame's bright row is, in steps."""
    return [int(np.asarray(frame, float)[..., 0].mean(axis=1).argmax()) // 2 for frame in frames]


def read_mp4(path: Path) -> tuple[dict[str, Any], list[Any]]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    found = re.search(rb"Video: (\w+).*?, (\d{2,})x(\d+).*? ([\d.]+) fps", result.stderr)
    assert found is not None
    width, height = int(found[2]), int(found[3])
    frames = np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3)
    return {"codec": found[1].decode(), "size": (width, height), "fps": float(found[4])}, list(frames)


def read_gif(path: Path) -> tuple[list[int], list[Any]]:
    frames, delays = [], []
    with Image.open(path) as image:
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            frames.append(np.array(image.convert("RGB")))
            delays.append(image.info["duration"])
    return delays, frames


EPISODES = [*range(6), *range(4)]  # an episode of 5 steps and one of 3, each from its first observation on


def test_mp4(tmp_path: Path) -> None:
    path = record_video(Still(), DrawnEnv(), tmp_path / "deep" / "a.mp4", n_episodes=2)
    assert path == tmp_path / "deep" / "a.mp4"
    meta, frames = read_mp4(path)
    assert (meta["fps"], meta["codec"], meta["size"]) == (20, "h264", (48, 32))
    assert bright_rows(frames) == EPISODES
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]


def test_gif(tmp_path: Path) -> None:
    delays, frames = read_gif(record_video(Still(), DrawnEnv(), str(tmp_path / "a.GIF"), n_episodes=2))
    assert bright_rows(frames) == EPISODES
    assert set(delays) == {50}
    assert abs(int(frames[0][0, 0, 0]) - 220) < 10


def test_sides_of_odd_length(tmp_path: Path) -> None:
    meta, frames = read_mp4(record_video(Still(), DrawnEnv(size=(33, 47)), tmp_path / "a.mp4"))
    assert meta["size"] == (48, 34)
    assert len(frames) == 6


@pytest.mark.parametrize(("fps", "delay", "frames"), [(10, 100, 6), (50, 20, 6), (100, 20, 3), (60, 30, 3)])
def test_frames_per_second_of_a_gif(tmp_path: Path, fps: float, delay: int, frames: int) -> None:
    delays, seen = read_gif(record_video(Still(), DrawnEnv(), tmp_path / "a.gif", fps=fps))
    assert (set(delays), len(seen)) == ({delay}, frames)


def test_frames_per_second_of_an_mp4(tmp_path: Path) -> None:
    assert read_mp4(record_video(Still(), DrawnEnv(), tmp_path / "a.mp4", fps=12.5))[0]["fps"] == 12.5
    env = DrawnEnv()
    env.metadata = {}
    assert read_mp4(record_video(Still(), env, tmp_path / "b.mp4"))[0]["fps"] == 30


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [*range(6)]),
        ({"n_steps": 7}, [*range(6), 0, 1, 2]),
        ({"n_steps": 2}, [0, 1, 2]),
        ({"n_steps": 5}, [*range(6)]),
        ({"n_steps": 100, "n_episodes": 1}, [*range(6)]),
        ({"max_ep_len": 2, "n_episodes": 2}, [0, 1, 2, 0, 1, 2]),
    ],
)
def test_how_long(tmp_path: Path, options: dict[str, Any], rows: list[int]) -> None:
    assert bright_rows(read_gif(record_video(Still(), DrawnEnv(), tmp_path / "a.gif", **options))[1]) == rows


def test_seed_and_deterministic_and_episode_starts(tmp_path: Path) -> None:
    env, model = DrawnEnv(), Still()
    record_video(model, env, tmp_path / "a.gif", n_episodes=2, seed=7)
    assert env.seeds == [7, None]
    assert model.asked == [(i in (0, 5), True) for i in range(8)]
    record_video(model, env, tmp_path / "a.gif", n_steps=1, deterministic=False)
    assert model.asked[-1] == (True, False)


def test_who_closes(tmp_path: Path) -> None:
    env = DrawnEnv()
    record_video(Still(), env, tmp_path / "a.gif", n_steps=1)
    assert not env.closed
    made: list[DrawnEnv] = []
    record_video(Still(), lambda: made.append(DrawnEnv()) or made[0], tmp_path / "a.gif", n_steps=1)
    assert made[0].closed


def test_the_episodes_are_those_of_evaluate_policy() -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, policy_kwargs={"hidden_sizes": [8]})
    for limit, n in ((None, 1), (30, 2), (210, 1)):  # the environment's own limit is 200
        returns, lengths = evaluate_policy(
            model, "Pendulum-v1", n, return_episode_rewards=True, seed=3, max_ep_len=limit
        )
        played = list(play_episodes(model, gymnasium.make("Pendulum-v1"), n_episodes=n, seed=3, max_ep_len=limit))
        assert [episode.reward for episode in played] == returns
        assert [episode.length for episode in played] == lengths == [limit or 200] * n


def test_pendulum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, policy_kwargs={"hidden_sizes": [8]})
    meta, frames = read_mp4(record_video(model, "Pendulum-v1", tmp_path / "a.mp4", n_steps=3, seed=1))
    assert (meta["size"], meta["fps"], len(frames)) == ((500, 500), 30, 4)
    assert (frames[0] != frames[3]).any()


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        (DrawnEnv(None), RenderError, "has render_mode=None; 'rgb_array' is needed. Make it with gymnasium.make"),
        (lambda: DrawnEnv("human"), RenderError, "has render_mode='human'; 'rgb_array' is needed"),
        (make_vector_env(DrawnEnv), TypeError, "a single environment is needed"),
        (3, TypeError, r"a gymnasium\.Env is needed"),
        (DrawnEnv(frame=np.zeros((4, 4), np.uint8)), RenderError, r"returned \(4, 4\) uint8; .*\(height, width, 3\)"),
        (DrawnEnv(frame=np.zeros((4, 4, 3))), RenderError, r"float64; an array"),
        (DrawnEnv(frame="x"), RenderError, "returned 'x'"),
        (DrawnEnv(frame=OSError("no screen")), RenderError, "drawing failed with OSError: no screen.*SDL_VIDEODRIVER"),
    ],
)
def test_what_can_t_be_drawn(tmp_path: Path, env: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        record_video(Still(), env, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metadata", [{}, {"render_modes": ["human"]}])
def test_an_id_that_can_t_be_drawn(monkeypatch: pytest.MonkeyPatch, metadata: dict[str, Any]) -> None:
    monkeypatch.setattr(BlindEnv, "metadata", metadata)
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Blind-v0", BlindEnv)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    with pytest.raises(RenderError, match="slc_test/Blind-v0 can't be drawn with render_mode='rgb_array'"):
        make_rendering_env(spec.id, "rgb_array")


def test_mujoco_without_a_display_is_told_of_mujoco_gl(tmp_path: Path) -> None:
    class MujocoEnv(DrawnEnv):
        pass

    with pytest.raises(RenderError, match=r"MUJOCO_GL=egl .* or MUJOCO_GL=osmesa"):
        record_video(Still(), MujocoEnv(frame=RuntimeError("no context")), tmp_path / "a.gif")


def test_an_environment_without_its_drawing_package(tmp_path: Path) -> None:
    error = gymnasium.error.DependencyNotInstalled("pygame is not installed")
    with pytest.raises(MissingDependencyError, match=r"pygame is not installed.*slc-agents\[video\]"):
        record_video(Still(), DrawnEnv(frame=error), tmp_path / "a.gif")


@pytest.mark.parametrize(("module", "suffix"), [("imageio_ffmpeg", "mp4"), ("PIL.Image", "gif")])
def test_a_missing_package_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, suffix: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"{module}.*slc-agents\[video\]"):
        record_video(Still(), "no such environment", tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "a.avi"}, "a.avi.*allowed are .mp4, .gif"),
        ({"path": "a"}, "allowed are .mp4, .gif"),
        ({"fps": 0}, "fps=0: a finite number above 0"),
        ({"fps": "fast"}, "fps='fast'"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"n_episodes": 1.5}, r"n_episodes=1\.5"),
    ],
)
def test_what_makes_no_sense(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        record_video(Still(), DrawnEnv(), **{"path": "a.gif", **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_failure_leaves_the_old_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="mine"):
        record_video(Still(), DrawnEnv(wrong=RuntimeError("mine")), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_frame_that_changes_its_size(tmp_path: Path) -> None:
    class Growing(DrawnEnv):
        def render(self) -> Any:
            return np.zeros((32, 32 + 2 * self.elapsed, 3), np.uint8)

    with pytest.raises(RenderError, match=r"from \(32, 32, 3\) to \(32, 34, 3\)"):
        record_video(Still(), Growing(), tmp_path / "a.mp4")
