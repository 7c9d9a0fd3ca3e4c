"""Watching a policy: episodes one by one, and recordings of them as GIF or MP4."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from slc_agents.envs.episode_limit import check_episode_limit, episode_limit
from slc_agents.envs.rules import require_env
from slc_agents.envs.vector import make_vector_env, refuse_vector_env
from slc_agents.errors import MissingDependencyError, RenderError, check_positive, check_whole_number, require
from slc_agents.transition import Episode

if TYPE_CHECKING:
    from slc_agents.training.evaluation import Predictor

__all__ = [
    "VIDEO_FORMATS",
    "check_video_format",
    "drawing_error",
    "make_rendering_env",
    "play_episodes",
    "record_episodes",
    "record_video",
]

VIDEO_FORMATS = (".mp4", ".gif")
_DEFAULT_FPS = 30.0
_GIF_MAX_FPS = 50.0  # shorter delays than 1/50 s are played slowly by most viewers


def record_video(
    model: Predictor,
    env: str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]],
    path: str | os.PathLike[str],
    *,
    n_episodes: int | None = None,
    n_steps: int | None = None,
    deterministic: bool = True,
    seed: int | None = None,
    fps: float | None = None,
    max_ep_len: int | None = None,
) -> Path:
    """Records a policy's episodes as a video.

    Args:
        model: Anything with a `predict` like the agents'.
        env: An id, or an environment or a factory with `render_mode="rgb_array"`. One that is made here is closed.
        path: The file; its suffix says the format: `.mp4` or `.gif`. Folders are made.
        n_episodes: Number of episodes. None: 1, or as many as there is time for where `n_steps` is given.
        n_steps: Environment steps after which the recording ends, also within an episode. None: no such limit.
        deterministic: Whether the policy's mean action is taken, not a sample.
        seed: Seed of the first reset.
        fps: Frames per second. None: the environment's own (`metadata["render_fps"]`), else 30.
        max_ep_len: Length at which episodes are truncated. None: the environment's own limit.

    Returns:
        The path of the file. It is written beside its place and moved there when it is whole.

    Raises:
        ValueError: If the suffix is unknown, or a number is out of range.
        MissingDependencyError: If the packages of the extra `video` are missing.
        RenderError: If the environment can't be drawn.
    """
    target = check_video_format(path)
    if fps is not None:
        check_positive("fps", fps)
    for _ in record_episodes(
        model,
        env,
        target,
        n_episodes=n_episodes,
        n_steps=n_steps,
        deterministic=deterministic,
        seed=seed,
        fps=fps,
        max_ep_len=max_ep_len,
    ):
        pass
    return target


def record_episodes(
    model: Predictor,
    env: str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]],
    path: Path,
    *,
    fps: float | None = None,
    **options: Any,
) -> Iterator[Episode]:
    """Records episodes as `record_video` does, and yields each when it has ended. The file is whole at the end."""
    drawn = make_rendering_env(env, "rgb_array")
    try:
        rate = fps or float(drawn.metadata.get("render_fps") or _DEFAULT_FPS)
        with _Recording(path, rate) as recording:
            yield from play_episodes(model, _FilmedEnv(drawn, recording.add), **options)
    finally:
        if drawn is not env:
            drawn.close()


def play_episodes(
    model: Predictor,
    env: gymnasium.Env[Any, Any],
    *,
    n_episodes: int | None = None,
    n_steps: int | None = None,
    deterministic: bool = True,
    seed: int | None = None,
    max_ep_len: int | None = None,
) -> Iterator[Episode]:
    """Runs episodes one after the other and yields each when it has ended; see `record_video` for the arguments."""
    steps_left = math.inf if n_steps is None else check_whole_number("n_steps", n_steps)
    if n_episodes is None:
        episodes_left = 1.0 if n_steps is None else math.inf
    else:
        episodes_left = check_whole_number("n_episodes", n_episodes)
    vector_env = make_vector_env(env)
    check_episode_limit(vector_env, max_ep_len)
    with episode_limit(vector_env, max_ep_len):
        state, starts, reward_sum, length = None, True, 0.0, 0
        observation, _ = vector_env.reset(seed=seed)
        while True:
            action, state = model.predict(observation, state, np.array([starts]), deterministic)
            observation, reward, terminated, truncated, _ = vector_env.step(np.asarray(action))
            reward_sum, length, steps_left = reward_sum + float(reward[0]), length + 1, steps_left - 1
            starts = bool(terminated[0] or truncated[0] or length == max_ep_len)
            if starts:
                yield Episode(reward_sum, length, 0)
                episodes_left -= 1
            if not episodes_left or not steps_left:
                return
            if starts:
                observation, _ = vector_env.reset()
                reward_sum, length = 0.0, 0


def make_rendering_env(
    env: str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]], render_mode: str
) -> gymnasium.Env[Any, Any]:
    """Makes an environment that can be drawn, or returns it where it is made already.

    Args:
        env: An id, an environment or a factory.
        render_mode: `rgb_array` or `human`.

    Raises:
        RenderError: If it can't be drawn in that mode.
        TypeError: If it is a vector environment, or none at all.
    """
    refuse_vector_env(env)
    if isinstance(env, str):
        made = _make(env, render_mode)
    elif isinstance(env, gymnasium.Env):
        made = env
    else:
        made = require_env(env() if callable(env) else env, "env: received")
    if made.render_mode != render_mode:
        if made is not env:
            made.close()
        raise RenderError(
            f"env: {made} has render_mode={made.render_mode!r}; {render_mode!r} is needed. Make it with "
            f"gymnasium.make(..., render_mode={render_mode!r}); in a class of your own, take render_mode in __init__, "
            f"keep it as self.render_mode, and name {render_mode!r} in metadata['render_modes']"
        )
    return made


def _make(env_id: str, render_mode: str) -> gymnasium.Env[Any, Any]:
    unable = RenderError(
        f"env: {env_id} can't be drawn with render_mode={render_mode!r}, which is not in its metadata['render_modes']"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*render_mode.*")  # the errors here say it
        try:
            made = gymnasium.make(env_id, render_mode=render_mode)
        except DependencyNotInstalled as error:
            raise _missing(error) from error
        except (TypeError, gymnasium.error.Error) as error:
            if "render_mode" in str(error) or "human" in str(error):
                raise unable from error
            raise
    if render_mode not in (made.metadata.get("render_modes") or ()):
        made.close()
        raise unable
    return made


def _missing(error: DependencyNotInstalled) -> MissingDependencyError:
    return MissingDependencyError(f"{error}. For the tasks of classic control: pip install 'slc-agents[video]'")


def drawing_error(env: gymnasium.Env[Any, Any], error: Exception) -> RenderError | MissingDependencyError:
    """Returns what to raise where drawing an environment has failed."""
    if isinstance(error, MissingDependencyError):
        return error
    if isinstance(error, DependencyNotInstalled):
        return _missing(error)
    bases = {base.__name__ for base in type(env.unwrapped).__mro__}
    hint = (
        "Without a display, MuJoCo draws with the environment variable MUJOCO_GL=egl (a GPU's driver) or "
        "MUJOCO_GL=osmesa (software; needs the system's libosmesa6), set before Python starts"
        if "MujocoEnv" in bases
        else "Where pygame draws and there is no display, set the environment variable SDL_VIDEODRIVER=dummy"
    )
    return RenderError(f"{env}: drawing failed with {type(error).__name__}: {error}. {hint}")


class _FilmedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Hands on a frame after each reset and step."""

    def __init__(self, env: gymnasium.Env[Any, Any], take: Callable[[NDArray[np.uint8]], None]) -> None:
        super().__init__(env)
        self.take = take

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        self.take(self._frame())
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self.take(self._frame())
        return result

    def _frame(self) -> NDArray[np.uint8]:
        try:
            frame: Any = self.env.render()
        except MissingDependencyError:
            raise
        except Exception as error:
            raise drawing_error(self.env, error) from error
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            shown = f"{frame.shape} {frame.dtype}" if isinstance(frame, np.ndarray) else repr(frame)
            raise RenderError(
                f"{self.env}: render() returned {shown}; an array of shape (height, width, 3) and dtype uint8 is needed"
            )
        return frame


def check_video_format(path: str | os.PathLike[str]) -> Path:
    """Returns the path, if its suffix is a format's and the packages that write it are there.

    Raises:
        ValueError: If the suffix is unknown.
        MissingDependencyError: If a package is missing.
    """
    target = Path(path)
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise ValueError(
            f"path={os.fspath(path)!r}: the suffix says the format; allowed are {', '.join(VIDEO_FORMATS)}"
        )
    if target.suffix.lower() == ".gif":
        require("PIL.Image", "video", "recording a GIF")
    else:
        require("imageio_ffmpeg", "video", "recording an MP4")
    return target


class _Recording:
    """A video that is being written beside its place; it gets its name when it is whole."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._shape: tuple[int, ...] | None = None
        self._partial = Path()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.stem}-", suffix=self.path.suffix, dir=self.path.parent)
        os.close(handle)
        self._partial = Path(name)
        self._writer: _Writer = _GifWriter(self.fps) if self.path.suffix.lower() == ".gif" else _Mp4Writer(self.fps)
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Adds a frame, [height, width, 3]."""
        if self._shape is None:
            self._shape = frame.shape
            self._writer.begin(self._partial, frame.shape[1], frame.shape[0])
        elif frame.shape != self._shape:
            raise RenderError(
                f"the frames changed their shape from {self._shape} to {frame.shape}; it must stay the same"
            )
        self._writer.add(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._shape is not None:
                self._writer.finish()
            if error is None:
                umask = os.umask(0)
                os.umask(umask)
                self._partial.chmod(0o666 & ~umask)  # mkstemp's files are their owner's alone
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)


class _Writer(Protocol):
    """Writes one format."""

    def begin(self, path: Path, width: int, height: int) -> None: ...
    def add(self, frame: NDArray[np.uint8]) -> None: ...
    def finish(self) -> None: ...


class _Mp4Writer:
    """MP4, H.264, through ffmpeg, which gets each frame at once."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._ffmpeg: Any = None

    def begin(self, path: Path, width: int, height: int) -> None:
        ffmpeg = require("imageio_ffmpeg", "video", "recording an MP4")
        # The format wants even sides; an odd one grows by one.
        self._ffmpeg = ffmpeg.write_frames(
            str(path), (width, height), fps=self.fps, codec="libx264", quality=8, macro_block_size=2
        )
        self._ffmpeg.send(None)

    def add(self, frame: NDArray[np.uint8]) -> None:
        self._ffmpeg.send(np.ascontiguousarray(frame))

    def finish(self) -> None:
        self._ffmpeg.close()


class _GifWriter:
    """GIF, through Pillow, with its frames in memory, 256 colours each.

    A GIF's delays are hundredths of a second: above 50 frames per second some frames are left out.
    """

    def __init__(self, fps: float) -> None:
        self._stride = math.ceil(fps / _GIF_MAX_FPS)
        self._delay = max(2, round(100 * self._stride / fps))  # in 1/100 s
        self._count = 0
        self._frames: list[Any] = []

    def begin(self, path: Path, width: int, height: int) -> None:
        self._path = path
        self._image: Any = require("PIL.Image", "video", "recording a GIF")

    def add(self, frame: NDArray[np.uint8]) -> None:
        if self._count % self._stride == 0:
            self._frames.append(self._image.fromarray(frame).quantize(method=self._image.Quantize.FASTOCTREE))
        self._count += 1

    def finish(self) -> None:
        self._frames[0].save(
            self._path, save_all=True, append_images=self._frames[1:], duration=10 * self._delay, loop=0
        )
