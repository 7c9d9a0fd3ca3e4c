"""Recording videos of the agent while it trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

from slc_agents.callbacks.base import Periodic
from slc_agents.envs import make_vector_env
from slc_agents.envs.vector import have_one_in_common
from slc_agents.envs.video import check_video_format, make_rendering_env, record_video
from slc_agents.errors import check_flag, check_number, check_path, check_whole_number
from slc_agents.seeding import make_seed

__all__ = ["VideoCallback"]


class VideoCallback(Periodic):
    """Records episodes every so many environment steps, as `<folder>/<name_prefix>_<steps>_steps.<format>`.

    Args:
        env: What to record in, other than the environment that is trained in: an id, or an environment or a factory
            with `render_mode="rgb_array"`.
        folder: Folder to write to; made if it isn't there.
        video_freq: Environment steps between two videos, summed over parallel environments.
        n_episodes: Episodes of one video.
        format: `mp4` or `gif`.
        name_prefix: Beginning of the files' names.
        deterministic: Whether the policy's mean action is taken, not a sample.
        fps: Frames per second. None: the environment's own, else 30.

    Raises:
        ValueError: If the format is unknown, or a number is out of range.
        MissingDependencyError: If the packages of the extra `video` are missing.
    """

    every_name = "video_freq"

    def __init__(
        self,
        env: str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]],
        folder: str | os.PathLike[str],
        video_freq: int = 50_000,
        *,
        n_episodes: int = 1,
        format: str = "mp4",
        name_prefix: str = "video",
        deterministic: bool = True,
        fps: float | None = None,
    ) -> None:
        super().__init__(video_freq)
        if not (isinstance(env, (str, gymnasium.Env)) or callable(env)):
            raise TypeError(f"VideoCallback: env: received {env!r}; an id, an environment or a factory is needed")
        self.env = env
        self.folder = check_path("VideoCallback: folder", folder)
        self.n_episodes = check_whole_number("VideoCallback: n_episodes", n_episodes)
        for name, value in (("format", format), ("name_prefix", name_prefix)):
            if not isinstance(value, str):
                raise TypeError(f"VideoCallback: {name}={value!r}: a text is needed")
        self.format = format
        self.name_prefix = name_prefix
        self.deterministic = check_flag("VideoCallback: deterministic", deterministic)
        self.fps = None if fps is None else check_number("VideoCallback: fps", fps, minimum=0.1)
        check_video_format(self._path(0))

    def on_training_start(self) -> None:
        """Sees that it will be possible, rather than fail after hours."""
        super().on_training_start()
        env = make_rendering_env(self.env, "rgb_array")
        try:
            vector_env = make_vector_env(env)
            self.model.check_spaces(vector_env, "VideoCallback: env")
            if self.model.env is not None and have_one_in_common(vector_env, self.model.env):
                raise ValueError(
                    "VideoCallback: env is the environment that is trained in, whose episodes a recording would cut "
                    "off. Give another one, or an id or a factory"
                )
        finally:
            if env is not self.env:
                env.close()

    def on_period(self) -> None:
        """Records."""
        record_video(
            self.model,
            self.env,
            self._path(self.num_timesteps),
            n_episodes=self.n_episodes,
            deterministic=self.deterministic,
            seed=make_seed(self.model.seed, "eval", self.num_timesteps),
            fps=self.fps,
            max_ep_len=self.model.config.max_ep_len,
        )

    def _path(self, steps: int) -> Path:
        return self.folder / f"{self.name_prefix}_{steps}_steps.{self.format}"
