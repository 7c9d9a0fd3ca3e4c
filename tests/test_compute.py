"""What a user may say of how gradient steps are computed, and how processes share the processors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slc_agents import SAC, compute
from slc_agents.compute import ComputeOptions, threads_each
from slc_agents.errors import ConfigError


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"precision": "float16"}, r"precision='float16'; allowed are 'float32', 'bfloat16'"),
        ({"precision": 16}, r"precision=16"),
        ({"matmul": "mkl"}, r"matmul='mkl'; allowed are None, 'default', 'onednn'"),
        ({"num_threads": 0}, r"num_threads=0: a whole number of at least 1"),
        ({"num_threads": True}, r"num_threads=True"),
        ({"fused": 1}, r"fused=1: True or False"),
        ({"precision": "bfloat16", "fused": False}, r"only fused networks"),
    ],
)
def test_what_is_not_allowed_is_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^compute_kwargs: .*{message}"):
        ComputeOptions.parse(kwargs)
    with pytest.raises(ValueError, match=message):
        SAC("MlpPolicy", "Pendulum-v1", compute_kwargs=kwargs)


@pytest.mark.parametrize(("key", "hint"), [("num_thread", "num_threads"), ("dtype", "precision"), ("device", "agent")])
def test_unknown_keys_name_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(TypeError, match=rf"(?s){key}.*{hint}"):
        SAC("MlpPolicy", "Pendulum-v1", compute_kwargs={key: 1})


def test_options_reach_the_learner_and_the_file(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    options = {"precision": "bfloat16", "num_threads": 1, "matmul": "default"}
    model = SAC("MlpPolicy", "Pendulum-v1", compute_kwargs=options, num_test_episodes=0, update_after=10, seed=0)
    with caplog.at_level("INFO", logger="slc_agents"):
        model.learn(20)
    said = r"bfloat16( by way of float32)?, 1 thread, torch's default matrix products, fused networks"
    assert re.search(said, caplog.text)
    model.save(tmp_path / "x")
    assert SAC.load(tmp_path / "x").config.compute_kwargs == options
    other = SAC.load(tmp_path / "x", compute_kwargs={"fused": False})
    assert "ordinary networks" in other._learner.describe()


def test_threads_are_shared_unless_somebody_has_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(compute, "cpu_count", lambda: 8)
    assert [threads_each({}, jobs) for jobs in (1, 2, 3, 100)] == ["8", "4", "2", "1"]
    assert threads_each({"num_threads": 3}, 8) == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads_each({"num_threads": 3}, 8) == "5"
