from __future__ import annotations

import sys

import pytest
from drawn_envs import DrawnEnv
from fake_model import FakeModel, run_steps
from PIL import Image

from slc_agents.callbacks import VideoCallback
from slc_agents.envs import make_vector_env
from slc_agents.errors import MissingDependencyError, RenderError
from slc_agents.seeding import make_seed


def n_frames(path):
    with Image.open(path) as image:
        return image.n_frames


def test_videos_every_so_many_steps(tmp_path):
    env, model = DrawnEnv(), FakeModel()
    callback = VideoCallback(env, tmp_path / "videos", 10, n_episodes=2, format="gif", deterministic=False)
    run_steps(callback, model, 24, n_envs=3)
    names = ["video_12_steps.gif", "video_21_steps.gif"]
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == names
    assert n_frames(tmp_path / "videos" / names[0]) == 6 + 4
    assert [seed for seed in env.seeds if seed is not None] == [make_seed(3, "eval", steps) for steps in (12, 21)]
    assert set(model.asked) == {False}
    assert model.checked == "VideoCallback: env"


def test_options_act(tmp_path):
    model = FakeModel()
    model.config.max_ep_len = 2
    callback = VideoCallback(DrawnEnv, tmp_path, 5, format="gif", name_prefix="film", fps=10)
    run_steps(callback, model, 5)
    (path,) = tmp_path.iterdir()
    assert path.name == "film_5_steps.gif"
    with Image.open(path) as image:
        assert (image.n_frames, image.info["duration"]) == (3, 100)
    assert set(model.asked) == {True}


def test_mp4_is_the_default(tmp_path):
    run_steps(VideoCallback(DrawnEnv, tmp_path, 5), FakeModel(), 5)
    assert [path.name for path in tmp_path.iterdir()] == ["video_5_steps.mp4"]


def test_what_can_t_work_is_said_before_training(tmp_path, monkeypatch):
    for wrong in ({"format": "avi"}, {"video_freq": 0}, {"n_episodes": 0}):
        with pytest.raises(ValueError, match=r"allowed are .mp4|of at least 1"):
            VideoCallback(DrawnEnv, tmp_path, **wrong)
    with pytest.raises(RenderError, match="render_mode=None"):
        run_steps(VideoCallback(DrawnEnv(None), tmp_path, 5), FakeModel(), 1)
    model = FakeModel()
    env = DrawnEnv()
    model.env = make_vector_env(env)
    with pytest.raises(ValueError, match="VideoCallback: env is the environment that is trained in"):
        run_steps(VideoCallback(env, tmp_path, 5), model, 1)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependencyError, match=r"slc-agents\[video\]"):
        VideoCallback(DrawnEnv, tmp_path)
