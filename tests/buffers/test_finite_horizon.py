"""The finite-horizon replay buffer against sums over a list of whole transitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer
from tests.support.transitions import ACTION, DICT, VECTOR, Driver, assert_same, histories, observations


def make(capacity: int = 12, n_envs: int = 1, horizon: int = 3, space: Any = VECTOR, **keywords: Any) -> Any:
    return FiniteHorizonReplayBuffer(capacity, space, ACTION, n_envs, horizon_length=horizon, **keywords)


def model(driver: Driver, horizon: int) -> list[tuple[float, bool]]:
    """For each transition that was ever stored, the sum of its window, and whether that is finished."""
    segments: list[list[int]] = []
    current: list[list[int] | None] = [None] * driver.n_envs
    for number, (observation, identity, _, _, _) in enumerate(driver.stored):
        env = identity % driver.n_envs
        segment = current[env]
        if segment is None or driver.stored[segment[-1]][2] != observation:
            segments.append(segment := [])
        segment.append(number)
        _, _, _, terminated, truncated = driver.stored[number]
        current[env] = None if terminated or truncated else segment
    windows: dict[int, tuple[float, bool]] = {}
    for segment in segments:
        rewards = [np.float32(driver.stored[number][1] / 8) for number in segment]
        for i, number in enumerate(segment):
            window = (rewards[i:] + [rewards[-1]] * horizon)[:horizon]
            finished = i + horizon <= len(segment) or all(segment is not one for one in current)
            windows[number] = float(np.add.accumulate(window, dtype=np.float32)[-1]), finished
    return [windows[number] for number in range(len(driver.stored))]


def check(buffer: Any, driver: Driver) -> None:
    """Everything that the buffer holds, sums, and is willing to sample is what the model says."""
    size, windows = len(buffer), model(driver, buffer.horizon_length)
    numbers = list(range(len(windows)))[len(windows) - size :]
    slots = {number: number % buffer.capacity for number in numbers}
    finished = sorted(slots[number] for number in numbers if windows[number][1])
    if size:
        batch = buffer.gather([slots[number] for number in numbers])
        assert_same(batch._replace(horizon_return=None), driver.batch(numbers))
        assert_same(batch.horizon_return, np.array([windows[number][0] for number in numbers], np.float32))
    assert buffer.is_ready == bool(finished)
    if finished:
        drawn = buffer.sample_indices(4, 50)
        assert set(drawn.ravel().tolist()) <= set(finished)
        buffer.generator = _Counting(len(finished))
        assert buffer.sample_indices(1, len(finished)).tolist() == [finished]
        buffer.generator = np.random.default_rng(0)


class _Counting:
    """Draws each number once."""

    def __init__(self, n: int) -> None:
        self.n = n

    def integers(self, low: int, high: int, size: tuple[int, int], dtype: Any) -> Any:
        assert (low, high, size) == (0, self.n, (1, self.n))
        return np.arange(self.n).reshape(size)


@given(history=histories(), horizon=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_sums_and_samples_as_a_list_of_whole_transitions_does(history: Any, horizon: int) -> None:
    n_envs, capacity, distinct, steps = history
    buffer = make(max(capacity, n_envs * horizon), n_envs, horizon)
    driver = Driver(VECTOR, n_envs, distinct)
    check(buffer, driver)
    for events in steps:
        driver.step([buffer], events)
        check(buffer, driver)
    buffer.clear()
    again = Driver(VECTOR, n_envs, distinct)
    for events in steps[:5]:
        again.step([buffer], events)
    check(buffer, again)


@given(history=histories(), horizon=st.integers(1, 4), data=st.data())
@settings(max_examples=100, deadline=None)
def test_restored_buffer_goes_on_bit_for_bit(history: Any, horizon: int, data: st.DataObject) -> None:
    n_envs, capacity, distinct, steps = history
    capacity = max(capacity, n_envs * horizon)
    buffer, restored = (make(capacity, n_envs, horizon, seed=seed) for seed in (3, 9))
    driver = Driver(VECTOR, n_envs, distinct)
    save_at = data.draw(st.integers(0, len(steps)))
    for events in steps[:save_at]:
        driver.step([buffer], events)
    Driver(VECTOR, n_envs).step([restored], ["go"] * n_envs)  # another life, of which nothing may remain
    restored.load_state_dict(buffer.state_dict())
    restored.generator.bit_generator.state = buffer.generator.bit_generator.state
    for events in [None, *steps[save_at:]]:
        if events is not None:
            driver.step([buffer, restored], events)
        assert_same(restored.state_dict(), buffer.state_dict())
        assert restored.is_ready == buffer.is_ready
        if buffer.is_ready:
            assert_same(restored.sample_indices(3, 20), buffer.sample_indices(3, 20))
            assert_same(restored.sample(4), buffer.sample(4))
    check(restored, driver)


@given(history=histories(), extra=st.integers(0, 9), horizons=st.tuples(st.integers(1, 4), st.integers(1, 4)))
@settings(max_examples=100, deadline=None)
def test_content_moves_to_another_capacity_and_horizon(history: Any, extra: int, horizons: tuple[int, int]) -> None:
    n_envs, capacity, distinct, steps = history
    # What the ordinary buffer has saved is taken too.
    for buffer in (make(max(capacity, n_envs * horizons[0]), n_envs, horizons[0]), make_plain(capacity, n_envs)):
        driver = Driver(VECTOR, n_envs, distinct)
        for events in steps:
            driver.step([buffer], events)
        moved = make(max(len(buffer) + extra, n_envs * horizons[1]), n_envs, horizons[1])
        moved.load_state_dict(buffer.state_dict())
        if moved.capacity > len(buffer):  # it begins with the oldest of them
            driver.stored = driver.stored[len(driver.stored) - len(buffer) :]
        check(moved, driver)
        for events in steps[:6]:
            driver.step([moved], events)
            check(moved, driver)


def make_plain(capacity: int, n_envs: int) -> ReplayBuffer:
    return ReplayBuffer(capacity, VECTOR, ACTION, n_envs)


def test_moving_to_another_number_of_envs_closes_all_windows() -> None:
    buffer, driver = make(20, 2, 4), Driver(VECTOR, 2)
    for _ in range(3):
        driver.step([buffer], ["go", "go"])
    assert not buffer.is_ready
    moved = make(20, 3, 4)
    moved.load_state_dict(buffer.state_dict())
    assert set(moved.sample_indices(1, 200)[0].tolist()) == set(range(6))
    ids = [2, 4, 6]  # of the first env; the last one goes on
    np.testing.assert_array_equal(moved.gather([0]).horizon_return, [np.float32(sum(ids) + ids[-1]) / 8])


def test_an_example_by_hand() -> None:
    buffer = make(horizon=3)
    costs, ends = [1.0, 2.0, 4.0, 8.0, 16.0], [False, False, True, False, False]
    for i, (cost, end) in enumerate(zip(costs, ends, strict=True)):
        start = observations(VECTOR, [10 * (i >= 3) + i])
        following = observations(VECTOR, [10 * (i >= 3) + i + 1])
        assert buffer.is_ready == (i >= 3)
        flags = np.array([end]), np.array([False])
        buffer.add(start, np.zeros((1, 3)), np.array([cost]), following, *flags)
    batch = buffer.gather([0, 1, 2, 3, 4])
    assert batch.horizon_return is not None
    assert batch.horizon_return.tolist() == [1 + 2 + 4, 2 + 4 + 4, 4 + 4 + 4, 8 + 16 + 16, 16 * 3]
    assert set(buffer.sample_indices(1, 100)[0].tolist()) == {0, 1, 2}
    assert batch.terminated.tolist() == [False, False, True, False, False]
    assert batch.discount.tolist() == [np.float32(0.99), np.float32(0.99), 0.0, np.float32(0.99), np.float32(0.99)]


def test_truncation_closes_windows_as_termination_does() -> None:
    for event in ("end", "cut", "both"):
        buffer, driver = make(horizon=5), Driver(VECTOR, 1)
        for _ in range(3):
            driver.step([buffer], ["go"])
        assert not buffer.is_ready
        driver.step([buffer], [event])
        assert set(buffer.sample_indices(1, 100)[0].tolist()) == {0, 1, 2, 3}


def test_a_new_segment_closes_windows() -> None:
    buffer, driver = make(horizon=5), Driver(VECTOR, 1)
    for event in ("go", "go", "break"):
        driver.step([buffer], [event])
    assert set(buffer.sample_indices(1, 100)[0].tolist()) == {0, 1}


def test_samples_uniformly_over_finished_windows() -> None:
    buffer, driver = make(30, 2, 4, seed=0), Driver(VECTOR, 2)
    for step in range(12):
        driver.step([buffer], ["go", "end" if step == 5 else "go"])
    counts = np.bincount(buffer.sample_indices(10, 1000).ravel(), minlength=24)
    finished = np.flatnonzero(counts)
    assert len(finished) == 24 - 2 * 3
    expected = 10_000 / len(finished)
    assert np.sum((counts[finished] - expected) ** 2 / expected) < 42.0  # chi-square, 17 degrees of freedom: p < 0.001


def test_with_a_horizon_of_one_it_samples_what_the_ordinary_buffer_samples() -> None:
    buffer, plain, driver = make(horizon=1, seed=4), ReplayBuffer(12, VECTOR, ACTION, seed=4), Driver(VECTOR, 1)
    for _ in range(20):
        driver.step([buffer, plain], ["go"])
    batch = buffer.sample(30)
    assert_same(batch.horizon_return, batch.reward)
    assert_same(batch._replace(horizon_return=None), plain.sample(30))


def test_several_minibatches_and_dict_observations() -> None:
    buffer, driver = make(space=DICT), Driver(DICT, 1)
    for event in ("go", "go", "go", "end", "go"):
        driver.step([buffer], [event])
    indices = buffer.sample_indices(3, 8)
    block = buffer.gather(indices)
    assert block.horizon_return is not None
    assert isinstance(block.observation, dict)
    assert block.observation["state"].shape == (3, 8, 2)
    assert_same(block.horizon_return[1], buffer.gather(indices[1]).horizon_return)


def test_sign_is_the_caller_s() -> None:
    costs, rewards = make(horizon=2), make(horizon=2)
    for buffer, sign in ((costs, 1.0), (rewards, -1.0)):
        for i in range(4):
            ends = observations(VECTOR, [i + 1])
            flags = np.zeros(1, bool), np.array([i == 3])
            buffer.add(observations(VECTOR, [i]), np.zeros((1, 3)), np.array([sign * (i + 0.5)]), ends, *flags)
    np.testing.assert_array_equal(costs.gather(range(4)).horizon_return, -rewards.gather(range(4)).horizon_return)
    assert costs.gather([0]).horizon_return.tolist() == [2.0]


@pytest.mark.parametrize(
    ("capacity", "n_envs", "horizon", "message"),
    [
        (10, 1, 0, "horizon_length=0: a whole number of at least 1"),
        (10, 1, 2.5, "horizon_length=2.5"),
        (10, 1, True, "horizon_length=True"),
        (11, 3, 4, r"capacity=11 doesn't fit horizon_length=4 and n_envs=3: .*12.*replay_size"),
    ],
)
def test_constructor_errors(capacity: int, n_envs: int, horizon: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(capacity, n_envs, horizon)
    make(12, 3, 4)


def test_sampling_before_a_window_is_finished_is_an_error() -> None:
    buffer, driver = make(horizon=3), Driver(VECTOR, 1)
    driver.step([buffer], ["go"])
    with pytest.raises(ValueError, match=r"no finished window of horizon_length=3 .*is_ready"):
        buffer.sample(4)
    for n, batch_size, message in [(0, 4, "n=0"), (1, 0, "batch_size=0")]:
        with pytest.raises(ValueError, match=message):
            buffer.sample_indices(n, batch_size)
