"""An episode of a saved agent as a picture that moves, small enough to stand in a page."""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from slc_agents.agents.base import Agent
from slc_agents.agents.evaluation import episodes_seed
from slc_agents.agents.loading import load
from slc_agents.callbacks.saving import AGENT_FILE
from slc_agents.cli.saved_agent import importable
from slc_agents.envs.video import check_video_format, make_rendering_env, record_episodes
from slc_agents.errors import MissingDependencyError
from slc_agents.transition import Episode

__all__ = ["RecordedEpisode", "record_episode"]

MAX_BYTES = 1_500_000  # of the file; in a page it takes a third more
MAX_STEPS = 1000
ATTEMPTS = 4


@dataclass(frozen=True)
class RecordedEpisode:
    """A recorded episode.

    Attributes:
        data_uri: The file itself, as an address.
        is_video: Whether it is an MP4; else it is a GIF.
        steps: Steps that are shown.
        reward: The episode's return; None where it goes on after these.
    """

    data_uri: str
    is_video: bool
    steps: int
    reward: float | None


def record_episode(folder: Path, env_id: str, *, trust: bool) -> RecordedEpisode:
    """Records the first episode of a run's evaluation.

    Args:
        folder: The run's folder.
        env_id: Id of its environment.
        trust: Whether code of the agent's file may run.

    Raises:
        MissingDependencyError: If what draws or writes is not installed.
        RenderError: If the environment can't be drawn.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing is shown
    importable(env_id)
    suffix = _suffix()
    model = load(folder / AGENT_FILE, env_id, trust=trust, n_envs=1)
    try:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"episode{suffix}"
            shrink, steps = 1, MAX_STEPS
            for _ in range(ATTEMPTS):
                shown, episode = _record(model, env_id, path, shrink, steps)
                size = path.stat().st_size
                if size <= MAX_BYTES:
                    break
                # First half as wide and high; if that isn't enough, only as much of the episode as fits.
                if shrink == 1:
                    shrink = 2
                else:
                    steps = max(1, int(shown * 0.8 * MAX_BYTES / size))
            content = base64.b64encode(path.read_bytes()).decode("ascii")
    finally:
        if model.env is not None:
            model.env.close()
    kind = "video/mp4" if suffix == ".mp4" else "image/gif"
    reward = None if episode is None else episode.reward
    return RecordedEpisode(f"data:{kind};base64,{content}", suffix == ".mp4", shown, reward)


def _suffix() -> str:
    """Returns the better of the formats that can be written here."""
    try:
        return check_video_format("episode.mp4").suffix
    except MissingDependencyError:
        return check_video_format("episode.gif").suffix


def _record(model: Agent[Any], env_id: str, path: Path, shrink: int, n_steps: int) -> tuple[int, Episode | None]:
    """Records, and returns the number of steps, and the episode if that was all of it."""
    with_frames = _Smaller(make_rendering_env(env_id, "rgb_array"), shrink)
    try:
        episodes = record_episodes(
            model,
            with_frames,
            path,
            n_episodes=1,
            n_steps=n_steps,
            seed=episodes_seed(model, None),
            max_ep_len=model.config.max_ep_len,
        )
        episode = next(iter(list(episodes)), None)
    finally:
        with_frames.close()
    return with_frames.steps, episode


class _Smaller(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Draws pictures that are that many times less wide and high, and counts steps."""

    def __init__(self, env: gymnasium.Env[Any, Any], shrink: int) -> None:
        super().__init__(env)
        self.shrink, self.steps = shrink, 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.env.step(action)

    def render(self) -> Any:
        frame = self.env.render()
        if self.shrink == 1 or not isinstance(frame, np.ndarray) or frame.ndim != 3:
            return frame
        return _shrunk(frame, self.shrink)


def _shrunk(frame: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """Returns a picture [height, width, 3] in which each block of k x k points is one, of their mean colour."""
    height, width = frame.shape[0] // k, frame.shape[1] // k
    blocks = frame[: height * k, : width * k].reshape(height, k, width, k, frame.shape[2])
    return np.asarray(blocks.mean(axis=(1, 3)), np.uint8)
