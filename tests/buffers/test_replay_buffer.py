"""The replay buffer against a model that keeps every transition whole, and its promises one by one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slc_agents.buffers import ReplayBuffer
from slc_agents.errors import ArchiveError, UnsupportedSpaceError
from slc_agents.transition import Batch
from tests.support.transitions import (
    ACTION,
    DICT,
    IMAGE,
    SPACES,
    VECTOR,
    Driver,
    action_of,
    as_stored,
    assert_same,
    histories,
    observations,
)


def everything(buffer: ReplayBuffer) -> Any:
    return buffer.gather(np.arange(len(buffer)))


def assert_same_set(buffer: ReplayBuffer, stored: list[tuple[int, int, int, bool, bool]]) -> None:
    """The buffer holds these transitions, in whatever slots."""
    assert len(buffer) == len(stored)
    if stored:
        received = everything(buffer)
        by_id = sorted(stored, key=lambda transition: transition[1])
        expected = Driver(VECTOR, 1, stored=by_id).batch(list(range(len(by_id))))
        assert_same(Batch(*(column[np.argsort(received.reward)] for column in received[:6])), expected)


def make(space: gym.Space[Any] = VECTOR, capacity: int = 10, n_envs: int = 1, **keywords: Any) -> ReplayBuffer:
    return ReplayBuffer(capacity, space, ACTION, n_envs, **keywords)


def filled(space: gym.Space[Any] = VECTOR, capacity: int = 10, n_envs: int = 1, steps: int = 25) -> ReplayBuffer:
    """A buffer with every kind of event in it."""
    buffer, driver = make(space, capacity, n_envs, seed=0), Driver(space, n_envs)
    pattern = ["go", "go", "end", "go", "break", "cut", "skip"]
    for step in range(steps):
        driver.step([buffer], [pattern[(step + 2 * env) % len(pattern)] for env in range(n_envs)])
    return buffer


@given(history=histories(), space=st.sampled_from(sorted(SPACES)))
@settings(max_examples=100, deadline=None)
def test_holds_what_a_list_of_whole_transitions_holds(history: Any, space: str) -> None:
    n_envs, capacity, distinct, steps = history
    buffer, driver = make(SPACES[space], capacity, n_envs), Driver(SPACES[space], n_envs, distinct)
    for events in steps:
        driver.step([buffer], events)
        assert len(buffer) == min(len(driver.stored), capacity)
        if driver.stored:
            assert_same(everything(buffer), driver.expected(capacity))
            state = buffer.state_dict()
            kept = driver.stored[-capacity:]
            assert sorted(state["truncated"].tolist()) == sorted(stored[4] for stored in kept)
            assert len(state[next(name for name in state if name.startswith("tails"))]) <= n_envs + capacity


@given(history=histories(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_restored_buffer_goes_on_bit_for_bit(history: Any, data: st.DataObject) -> None:
    n_envs, capacity, distinct, steps = history
    buffer, driver = make(DICT, capacity, n_envs, seed=3), Driver(DICT, n_envs, distinct)
    save_at = data.draw(st.integers(0, len(steps)))
    for events in steps[:save_at]:
        driver.step([buffer], events)
    # The restored one has had another life before, of which nothing may remain.
    restored, other = make(DICT, capacity, n_envs, seed=9), Driver(DICT, n_envs)
    for events in steps[: data.draw(st.integers(0, len(steps)))]:
        other.step([restored], events)
    restored.load_state_dict(buffer.state_dict())
    restored.generator.bit_generator.state = buffer.generator.bit_generator.state
    assert_same(restored.state_dict(), buffer.state_dict())
    for events in steps[save_at:]:
        driver.step([buffer, restored], events)
        # Equal tables, not just equal samples: had the original lost a row, the restored one would reuse it here.
        assert_same(restored.state_dict(), buffer.state_dict())
        if buffer.is_ready:
            assert_same(restored.sample(4), buffer.sample(4))
            assert_same(everything(restored), driver.expected(capacity))


@given(history=histories(), extra=st.integers(0, 5), new_envs=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_content_moves_to_another_capacity_and_number_of_envs(history: Any, extra: int, new_envs: int) -> None:
    n_envs, capacity, distinct, steps = history
    buffer, driver = make(VECTOR, capacity, n_envs), Driver(VECTOR, n_envs, distinct)
    for events in steps:
        driver.step([buffer], events)
    moved = make(VECTOR, max(len(buffer) + extra, new_envs), new_envs)
    moved.load_state_dict(buffer.state_dict())
    if new_envs == n_envs:  # and goes on from there
        driver.stored = (
            driver.stored[len(driver.stored) - len(buffer) :] if moved.capacity != capacity else driver.stored
        )
        for events in steps:
            driver.step([moved], events)
        if driver.stored:
            assert_same(everything(moved), driver.expected(moved.capacity))
            reloaded = make(VECTOR, moved.capacity, new_envs)
            reloaded.load_state_dict(moved.state_dict())
            assert_same(reloaded.state_dict(), moved.state_dict())
        return
    assert_same_set(moved, driver.stored[len(driver.stored) - len(buffer) :])
    fresh = Driver(VECTOR, new_envs, n_steps=1000)
    fresh.step([moved], ["break"] * new_envs)  # no old transition may be taken for the new envs' last one
    kept = moved.capacity - new_envs
    old = driver.stored[len(driver.stored) - min(len(buffer), kept) :] if kept else []
    assert_same_set(moved, old + fresh.stored)


def test_long_run_restored_again_and_again_stays_the_same() -> None:
    generator = np.random.default_rng(0)
    buffer, driver = make(VECTOR, 40, 2), Driver(VECTOR, 2)
    restored = make(VECTOR, 40, 2)
    for step in range(300):
        if step % 7 == 0:
            restored.load_state_dict(buffer.state_dict())
        often_ends = step % 60 < 30  # by turns rows are taken and given back
        driver.step([buffer, restored], generator.choice(["go", "end", "break"] if often_ends else ["go"], 2).tolist())
        assert_same(restored.state_dict(), buffer.state_dict())
    assert_same(everything(buffer), driver.expected(40))


def test_many_episodes_move_to_more_envs() -> None:
    buffer, driver = make(VECTOR, 100), Driver(VECTOR, 1)
    for _ in range(100):
        driver.step([buffer], ["end"])
    for n_envs in (1, 40):
        moved = make(VECTOR, 100, n_envs)
        moved.load_state_dict(buffer.state_dict())
        assert_same_set(moved, driver.stored)


def test_a_segment_goes_on_only_where_all_keys_agree() -> None:
    buffer = make(DICT)
    flags = np.zeros(1, bool)
    ends, elsewhere = observations(DICT, [2]), {**observations(DICT, [2]), "state": observations(VECTOR, [7])}
    buffer.add(observations(DICT, [1]), action_of([1]), np.ones(1), ends, flags, flags)
    buffer.add(elsewhere, action_of([2]), np.ones(1), observations(DICT, [3]), flags, flags)
    received = everything(buffer)
    assert_same(received.next_observation["state"], as_stored(observations(VECTOR, [2, 3])))
    assert_same(received.observation["state"], as_stored(observations(VECTOR, [1, 7])))


def test_each_observation_is_stored_once() -> None:
    observation = gym.spaces.Box(-np.inf, np.inf, (17,), np.float64)
    action = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
    small, large = (ReplayBuffer(capacity, observation, action) for capacity in (1000, 3000))
    assert large.nbytes - small.nbytes == 2000 * (17 * 4 + 6 * 4 + 4 + 1 + 1 + 4)  # 102 bytes each

    before, current = small.nbytes, np.zeros((1, 17))
    for step in range(2500):
        small.add(
            current, np.zeros((1, 6)), np.zeros(1), current + 1.0, np.zeros(1, bool), np.array([step % 500 == 499])
        )
        current = current + 1.0
    assert small.nbytes == before
    assert len(small.state_dict()["tails"]) == 1 + 2  # one pending; final rows of overwritten episodes are reused


def test_tails_grow_with_the_number_of_episodes() -> None:
    buffer, driver = make(VECTOR, 500, 2), Driver(VECTOR, 2)
    before = buffer.nbytes
    for _ in range(700):
        driver.step([buffer], ["end", "cut"])
    assert_same(everything(buffer), driver.expected(500))
    assert len(buffer.state_dict()["tails"]) == 2 + 500
    assert buffer.nbytes - before <= 500 * 8


def test_next_observation_comes_back_to_the_bit() -> None:
    buffer = make()
    first, second = np.array([[1.0, -0.0]]), np.array([[1.0, 0.0]])
    flags = np.zeros(1, bool)
    buffer.add(first, np.zeros((1, 3)), np.zeros(1), first, flags, flags)
    buffer.add(second, np.zeros((1, 3)), np.zeros(1), second, flags, flags)
    buffer.add(second, np.zeros((1, 3)), np.zeros(1), second, flags, flags)
    assert everything(buffer).next_observation[:, 1].tobytes() == np.array([-0.0, 0.0, 0.0], np.float32).tobytes()
    assert buffer.state_dict()["next_index"].tolist() == [~1, 2, ~0]  # equal, but not to the bit: stored twice


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_types_and_shapes(space: Any) -> None:
    buffer = filled(space, capacity=20, n_envs=2)
    batch: Any = buffer.sample(7)
    pairs = [(space, batch.observation), (space, batch.next_observation)]
    if isinstance(space, gym.spaces.Dict):
        assert isinstance(batch.observation, dict)
        assert batch.observation.keys() == {"pixels", "state"}
        pairs = [(box, value[key]) for _, value in pairs for key, box in space.spaces.items()]
    for box, value in pairs:
        assert value.shape == (7, *box.shape)
        assert value.dtype == (np.uint8 if box.dtype == np.uint8 else np.float32)
    assert batch.action.shape == (7, 3)
    assert batch.action.dtype == np.float32
    assert [column.dtype for column in batch[2:3] + batch[4:6]] == [np.float32, np.float32, np.bool_]
    assert all(column.shape == (7,) for column in batch[2:3] + batch[4:6])
    assert batch.horizon_return is None


def test_only_termination_ends_the_discount() -> None:
    buffer, driver = make(gamma=0.5), Driver(VECTOR, 1)
    for event in ["go", "end", "cut", "both"]:
        driver.step([buffer], [event])
    batch = everything(buffer)
    assert batch.discount.tolist() == [0.5, 0.0, 0.5, 0.0]
    assert batch.terminated.tolist() == [False, True, False, True]
    assert buffer.state_dict()["truncated"].tolist() == [False, False, True, True]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_nothing_is_shared_with_the_caller(space: gym.Space[Any]) -> None:
    buffer = make(space, n_envs=2)
    arguments = [
        observations(space, [1, 2]),
        action_of([1, 2]),
        np.ones(2),
        observations(space, [3, 4]),
        np.zeros(2, bool),
        np.array([False, True]),
    ]
    buffer.add(*arguments)
    before = everything(buffer)

    def overwrite(value: Any) -> None:
        for array in value.values() if isinstance(value, dict) else [value]:
            array[...] = 1 - array if array.dtype != bool else ~array

    for argument in arguments:
        overwrite(argument)
    assert_same(everything(buffer), before)
    for value in everything(buffer)[:6]:
        overwrite(value)
    overwrite(buffer.state_dict())
    assert_same(everything(buffer), before)


def test_samples_uniformly_over_what_is_stored() -> None:
    for steps in (8, 25):  # part filled, and full
        buffer, driver = make(seed=0), Driver(VECTOR, 1)
        for _ in range(steps):
            driver.step([buffer], ["go"])
        indices = buffer.sample_indices(10, 1000)
        assert indices.shape == (10, 1000)
        assert indices.dtype == np.int64
        counts = np.bincount(indices.ravel(), minlength=len(buffer))
        assert len(counts) == len(buffer)
        expected = 10_000 / len(buffer)
        assert np.sum((counts - expected) ** 2 / expected) < 30.0  # chi-square, 9 degrees of freedom: p < 0.001


def test_sample_is_gather_of_the_drawn_indices() -> None:
    one, two = filled(), filled()
    assert_same(one.sample(32), two.gather(two.sample_indices(1, 32)[0]))
    # Minibatches drawn in one go are the ones drawn one by one.
    np.testing.assert_array_equal(one.sample_indices(3, 16), np.stack([two.sample_indices(1, 16)[0] for _ in range(3)]))


@pytest.mark.parametrize("space", [VECTOR, DICT], ids=["Box", "Dict"])
def test_several_minibatches_are_gathered_at_once(space: gym.Space[Any]) -> None:
    buffer = filled(space, n_envs=2)
    indices = buffer.sample_indices(3, 16)
    block = buffer.gather(indices)
    for i, rows in enumerate(indices):

        def of_one(column: Any, i: int = i) -> Any:
            return {key: of_one(value) for key, value in column.items()} if isinstance(column, dict) else column[i]

        assert_same(Batch(*map(of_one, block[:6])), buffer.gather(rows))


def test_seed_decides_the_samples() -> None:
    draws = {}
    for name, seed in {"0": 0, "again": 0, "1": 1, "generator": np.random.default_rng(0)}.items():
        buffer = make(seed=seed)
        Driver(VECTOR, 1).step([buffer], ["go"])
        for _ in range(9):
            Driver(VECTOR, 1).step([buffer], ["go"])
        draws[name] = buffer.sample_indices(2, 50).tolist()
    assert draws["0"] == draws["again"] == draws["generator"] != draws["1"]
    generator = np.random.default_rng(5)
    assert make(seed=generator).generator is generator


def test_clear_forgets_everything() -> None:
    buffer, fresh = filled(DICT, n_envs=2), make(DICT, n_envs=2)
    buffer.clear()
    assert len(buffer) == 0
    assert not buffer.is_ready
    driver = Driver(DICT, 2)
    for events in [["go", "end"], ["break", "go"]] * 15:
        driver.step([buffer, fresh], events)
    assert_same(everything(buffer), everything(fresh))
    assert_same(buffer.state_dict()["next_index"], fresh.state_dict()["next_index"])


def test_is_ready_with_the_first_transition() -> None:
    buffer, driver = make(), Driver(VECTOR, 1)
    assert not buffer.is_ready
    driver.step([buffer], ["skip"])
    assert not buffer.is_ready
    assert len(buffer) == 0
    driver.step([buffer], ["go"])
    assert buffer.is_ready


def test_gather_refuses_slots_that_hold_nothing() -> None:
    buffer, driver = make(), Driver(VECTOR, 1)
    driver.step([buffer], ["go"])
    with pytest.raises(IndexError):
        buffer.gather([1])


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((3, VECTOR, ACTION, 4), {}, "capacity=3 doesn't fit n_envs=4"),
        ((2**31, VECTOR, ACTION), {}, "capacity=2147483648"),
        ((0, VECTOR, ACTION), {}, "capacity=0: a whole number of at least 1"),
        ((2.5, VECTOR, ACTION), {}, "capacity=2.5: a whole number"),
        ((True, VECTOR, ACTION), {}, "capacity=True: a whole number"),
        ((10, VECTOR, ACTION, -1), {}, "n_envs=-1: a whole number"),
        ((10, VECTOR, ACTION), {"gamma": 1.5}, "gamma=1.5: a finite number of at least 0 and of at most 1 is needed"),
        ((10, gym.spaces.Discrete(3), ACTION), {}, r"observation space: received Discrete\(3\)"),
        ((10, gym.spaces.Dict({"a": DICT}), ACTION), {}, "observation space"),
        ((10, gym.spaces.Dict({"a": VECTOR, "b": gym.spaces.Discrete(2)}), ACTION), {}, "observation space"),
        ((10, VECTOR, gym.spaces.Discrete(3)), {}, r"action_space=Discrete\(3\) isn't supported"),
    ],
)
def test_constructor_errors(arguments: Any, keywords: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        ReplayBuffer(*arguments, **keywords)
    assert isinstance(error.value, UnsupportedSpaceError) == ("space" in message or "Dict" in message)


GOOD = {
    "observation": np.zeros((2, 2)),
    "action": np.zeros((2, 3)),
    "reward": np.zeros(2),
    "next_observation": np.zeros((2, 2)),
    "terminated": np.zeros(2, bool),
    "truncated": np.zeros(2, bool),
    "valid": np.ones(2, bool),
}


@pytest.mark.parametrize("name", GOOD)
def test_add_names_the_argument_of_a_wrong_shape(name: str) -> None:
    buffer = make(n_envs=2)
    buffer.add(**GOOD)
    with pytest.raises(ValueError, match=rf"^{name} has shape \(3,\), but \(2,.*\) is needed"):
        buffer.add(**{**GOOD, name: np.zeros(3)})
    assert len(buffer) == 2


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (
            DICT,
            {"pixels": np.zeros((1, 2, 3, 1), np.uint8)},
            r"observation is \['pixels'\].*keys \['pixels', 'state'\]",
        ),
        (DICT, np.zeros((1, 2)), "observation is ndarray, but the observation space is a Dict"),
        (DICT, {"pixels": np.zeros((1, 2, 3, 1), np.uint8), "state": np.zeros(2)}, r"observation\['state'\] has shape"),
        (VECTOR, {"state": np.zeros((1, 2))}, "observation is a dict, but the observation space is a Box"),
        (IMAGE, np.zeros((1, 2, 3, 1)), "observation has type float64, but its space is uint8"),
    ],
)
def test_add_names_what_is_wrong_with_an_observation(space: Any, observation: Any, message: str) -> None:
    arguments = {**{name: value[:1] for name, value in GOOD.items()}, "observation": observation}
    arguments["next_observation"] = observations(space, [1])
    with pytest.raises(ValueError, match=message):
        make(space).add(**arguments)


def test_sampling_errors() -> None:
    with pytest.raises(ValueError, match=r"empty.*add some first"):
        make().sample(4)
    for n, batch_size, message in [(0, 4, "n=0"), (1, 0, "batch_size=0"), (1, 2.5, "batch_size=2.5")]:
        with pytest.raises(ValueError, match=message):
            filled().sample_indices(n, batch_size)  # type: ignore[arg-type]


def test_lack_of_memory_says_what_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros

    def little_memory(shape: Any, dtype: Any = float) -> Any:
        if np.prod(shape) > 200:
            raise MemoryError
        return zeros(shape, dtype)

    monkeypatch.setattr(np, "zeros", little_memory)
    with pytest.raises(MemoryError, match=r"1,000,000 transitions needs 30,000,512 bytes .* lower replay_size"):
        make(VECTOR, 1_000_000)


def test_tails_that_cannot_grow_leave_no_half_transition(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, driver = make(VECTOR, 100), Driver(VECTOR, 1)

    def no_memory(shape: Any, dtype: Any = float) -> Any:
        raise MemoryError

    def fill() -> None:
        for _ in range(100):
            driver.step([buffer], ["end"])

    monkeypatch.setattr(np, "zeros", no_memory)
    with pytest.raises(MemoryError, match="lower replay_size"):
        fill()
    monkeypatch.undo()
    assert 50 < len(driver.stored) == len(buffer) < 100
    fill()
    assert_same(everything(buffer), driver.expected(100))


def damaged(name: str, value: Any) -> Any:
    def damage(state: dict[str, Any]) -> None:
        state[name] = value(state[name])

    return damage


def put(index: int, value: int) -> Any:
    def change(array: Any) -> Any:
        array = array.copy()
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("reward"), "'reward' is missing"),
        (lambda state: state.update(extra=np.zeros(1)), "'extra' is unknown"),
        (damaged("action", lambda a: a.astype(np.float64)), "'action' has type float64.*need float32"),
        (damaged("observation/state", lambda a: a[:, :1]), "'observation/state' has .*shape .*, but these"),
        (damaged("tails/pixels", lambda a: a[0]), "'tails/pixels' has"),
        (damaged("terminated", lambda a: a[:-1]), "'terminated' has length 9"),
        (damaged("tails/state", lambda a: a[:-1]), "'tails/state' has length"),
        (damaged("tails/pixels", lambda a: a[:-1]), "'tails/state' has length"),
        (damaged("count", lambda a: a[:0]), "'count' has length 0"),
        (damaged("last_number", lambda a: a[:0]), "'last_number' has length 0"),
        (damaged("count", put(0, 3)), "'count' is 3, but there are 10"),
        (damaged("last_number", put(0, 10**6)), "'last_number' isn't from -1 to"),
        (damaged("last_number", put(0, -2)), "'last_number' isn't from -1 to"),
        (damaged("next_index", put(4, 10)), "'next_index' doesn't go"),
        (damaged("next_index", put(4, -100)), "'next_index' doesn't go"),
        (damaged("next_index", put(4, 4)), "'next_index' doesn't go"),  # itself: would dangle
        (damaged("next_index", put(4, -1)), "'next_index' doesn't go"),  # a pending row that isn't its own
        (damaged("next_index", lambda a: np.where(a < -2, a.min(), a)), "'next_index' doesn't go"),  # a shared row
        (damaged("last_number", lambda a: a[::-1].copy()), "'next_index' doesn't go"),  # each other's pending row
    ],
)
def test_damaged_state_is_refused(damage: Any, message: str) -> None:
    saved, buffer = filled(DICT, n_envs=2), filled(DICT, n_envs=2, steps=9)
    before, state = buffer.state_dict(), saved.state_dict()
    damage(state)
    with pytest.raises(ArchiveError, match=message):
        buffer.load_state_dict(state)
    assert_same(buffer.state_dict(), before)
    buffer.load_state_dict(saved.state_dict())  # and the whole one is taken
    assert_same(everything(buffer), everything(saved))


def test_state_larger_than_the_capacity_is_refused() -> None:
    buffer = make(capacity=9)
    with pytest.raises(ArchiveError, match=r"holds 10 transitions.*capacity of 9: set replay_size to 10 or more"):
        buffer.load_state_dict(filled().state_dict())
    assert len(buffer) == 0


def test_state_of_other_spaces_is_refused() -> None:
    with pytest.raises(ArchiveError, match="'observation' is missing"):
        make(VECTOR).load_state_dict(filled(DICT).state_dict())
    with pytest.raises(ArchiveError, match="'observation' has type float32"):
        make(IMAGE).load_state_dict(filled(VECTOR).state_dict())


def test_state_holds_the_filled_part_only() -> None:
    buffer, driver = make(VECTOR, 1000), Driver(VECTOR, 1)
    for _ in range(5):
        driver.step([buffer], ["go"])
    assert {name: len(value) for name, value in buffer.state_dict().items()} == {
        **dict.fromkeys(["observation", "action", "reward", "terminated", "truncated", "next_index"], 5),
        **dict.fromkeys(["tails", "count", "last_number"], 1),
    }
    views = buffer.state_dict(copy=False)
    assert_same(views, buffer.state_dict())
    assert np.shares_memory(views["observation"], buffer.state_dict(copy=False)["observation"])
