"""Every library does the same work: the nets, minibatches and numbers of steps that the setting says."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.libraries import IMAGES, LIBRARIES, Setting
from benchmarks.throughput import MEASURES
from tests.support.backends import needs_tensorflow

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers" / "bin" / "python"


def check(facts: dict[str, Any]) -> None:
    first = lambda n_inputs: n_inputs * 32 + 32  # noqa: E731
    trunk = 32 * 16 + 16
    assert facts["actor"] == first(3) + trunk + 2 * (16 + 1)
    assert facts["critics"] == 3 * (first(3 + 1) + trunk + (16 + 1))
    assert facts["batch sizes"] == [8, 8]
    assert facts["stored"] == 2_000
    assert facts["same buffer without an agent"]
    assert facts["steps"] == 12  # at least 10, by 4 environments
    assert facts["updates"] == 4 + 12  # one for each environment step, of which a first round made it ready
    assert facts["measures"] == list(MEASURES)
    assert facts["done"] == [1, 50, 4, 1, 1, 1, 4, 1]


def test_ours() -> None:
    from benchmark_facts import facts

    check(facts("slc_agents"))


@needs_tensorflow
def test_ours_on_tensorflow() -> None:
    library = LIBRARIES["tensorflow"](
        Setting("Pendulum-v1", 1, 8, hidden=(8,), replay_size=100), {"compute_kwargs": {"graphs": False}}
    )
    library.make_agent()
    assert library.model.backend == "tf2"
    library.fill(library.model.replay_buffer)
    before = library.model.get_parameters()
    library.update(2)
    library.wait()
    after = library.model.get_parameters()
    assert after["optimizer/critic/step"] == 2
    assert (after["critic_target/0/value/weight"] == before["critic_target/0/value/weight"]).all()  # rates are still 0
    assert (after["optimizer/actor/mean/weight/m"] != 0).any()


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="`make peers` has not installed the other libraries")
@pytest.mark.parametrize("name", ["stable_baselines3", "sbx"])
def test_peers(name: str) -> None:
    output = subprocess.run(
        [PEERS, ROOT / "tests" / "support" / "benchmark_facts.py", name],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    ).stdout
    check(json.loads(output.splitlines()[-1]))


def test_plain_torch_learns_what_its_buffer_says() -> None:
    """Where every transition ends with a reward of 1, that is every action's value."""
    library = LIBRARIES["torch"](Setting("Pendulum-v1", 1, 32, hidden=(16,), replay_size=100), {})
    library.make_agent()
    buffer = library.model.replay_buffer
    library.fill(buffer)
    buffer[2].fill_(1.0)
    buffer[4].fill_(1.0)

    def error() -> float:
        values = library.model._values(library.model.critic, buffer[0], buffer[1])
        return float((values - 1.0).detach().square().mean())

    before = error()
    library.update(300)
    assert error() < 0.8 * before
    assert library.model.log_alpha.detach() < 0  # above the target entropy, the temperature falls
    with pytest.raises(NotImplementedError):
        library.save(Path())


def test_an_episode_is_one_chain_of_observations() -> None:
    steps = list(LIBRARIES["slc_agents"](Setting("Pendulum-v1", n_envs=2), {}).episode(seed=0))
    assert len(steps) == 1_000
    assert steps[0].observation.shape == (2, 3)
    for step, following in itertools.pairwise(steps):
        np.testing.assert_array_equal(step.next_observation, following.observation)
        assert not step.truncated.any()
    assert steps[-1].truncated.all()


def test_every_episode_is_another() -> None:
    library = LIBRARIES["slc_agents"](Setting("Pendulum-v1"), {})
    first, second = (next(library.episode(seed)) for seed in (0, 1))
    assert not np.array_equal(first.observation, second.observation)


@pytest.mark.parametrize(("env_id", "dtype"), [("Pendulum-v1", np.float32), (IMAGES, np.uint8)])
def test_a_buffer_without_an_agent_is_filled_to_the_brim(env_id: str, dtype: type) -> None:
    library = LIBRARIES["slc_agents"](Setting(env_id, replay_size=100), {})
    buffer = library.make_buffer()
    library.fill(buffer)
    assert len(buffer) == buffer.capacity == 100
    assert buffer.sample(8).observation.dtype == dtype
    assert library.buffer_bytes(buffer) == buffer.nbytes


def test_more_settings_reach_the_agent() -> None:
    library = LIBRARIES["slc_agents"](Setting("Pendulum-v1", replay_size=100), {"gamma": 0.5})
    library.make_agent()
    assert library.model.config.gamma == 0.5
