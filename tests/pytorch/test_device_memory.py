"""The mirror of a replay buffer against the buffer itself: the same minibatches, to the last bit, whatever happened."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer
from slc_agents.pytorch import device_memory
from slc_agents.pytorch.batches import HostBatches, TensorBatch, leaves, to_batch
from slc_agents.pytorch.device_memory import DeviceMemory, choose_place, mirror_bytes
from tests.buffers.test_replay_buffer import filled, make
from tests.support.transitions import ACTION, DICT, SPACES, VECTOR, Driver, histories

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
AFTERWARDS = st.sampled_from(["nothing", "nothing", "look", "look", "clear", "load", "load other"])


def bits(batch: TensorBatch) -> list[tuple[torch.dtype, torch.Size, bytes]]:
    return [(tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for tensor in leaves(batch)]


def assert_mirrors(mirror: DeviceMemory, buffer: ReplayBuffer) -> None:
    """The mirror gives what the buffer gives: for every transition, and in minibatches with repetitions."""
    if not buffer.is_ready:
        return
    everything = np.arange(len(buffer))
    indices = np.stack([everything, everything[::-1], np.zeros_like(everything)])
    for rows, given_ in zip(indices, mirror.inputs(buffer, indices), strict=True):
        ours, theirs = mirror.make(given_), to_batch(buffer.gather(rows), CPU)
        assert bits(ours) == bits(theirs)
        for a, b in ((ours.observation, theirs.observation), (ours.next_observation, theirs.next_observation)):
            assert isinstance(a, dict) == isinstance(b, dict)
            if isinstance(a, dict) and isinstance(b, dict):
                assert list(a) == list(b)


@given(history=histories(), space=st.sampled_from(sorted(SPACES)), data=st.data())
@settings(max_examples=150, deadline=None)
def test_gives_the_buffer_s_minibatches_whatever_happened_in_between(
    history: Any, space: str, data: st.DataObject
) -> None:
    n_envs, capacity, distinct, steps = history
    buffer, driver = make(SPACES[space], capacity, n_envs, gamma=0.987), Driver(SPACES[space], n_envs, distinct)
    other = filled(SPACES[space], capacity=max(capacity - 1, 3), n_envs=data.draw(st.integers(1, 3)), steps=11)
    mirror = DeviceMemory(buffer, CPU)
    for events in steps:
        driver.step([buffer], events)
        event = data.draw(AFTERWARDS)
        if event == "clear":
            buffer.clear()
        elif event == "load":
            buffer.load_state_dict(buffer.state_dict())
        elif event == "load other" and len(other) <= capacity:
            buffer.load_state_dict(other.state_dict())
        elif event == "look":
            assert_mirrors(mirror, buffer)
    assert_mirrors(mirror, buffer)


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_sums_ahead_are_the_buffer_s_to_the_bit(horizon: int) -> None:
    buffer = FiniteHorizonReplayBuffer(40, VECTOR, ACTION, 3, horizon_length=horizon)
    driver, mirror, rng = Driver(VECTOR, 3), DeviceMemory(buffer, CPU), np.random.default_rng(horizon)
    for step in range(120):
        driver.step([buffer], rng.choice(["go", "go", "go", "end", "cut", "break", "skip"], 3).tolist())
        if step % 7 == 0 and len(buffer):
            assert_mirrors(mirror, buffer)
    indices = np.arange(len(buffer))[None]
    given_ = next(mirror.inputs(buffer, indices))
    returns = mirror.make(given_).horizon_return
    assert returns is not None
    np.testing.assert_array_equal(returns.numpy(), buffer.gather(indices[0]).horizon_return)


@pytest.mark.parametrize("space", sorted(SPACES))
@pytest.mark.parametrize("every", [1, 7, 40, 90])
def test_a_ring_that_goes_round_many_times(space: str, every: int) -> None:
    buffer, driver = make(SPACES[space], 40, 3), Driver(SPACES[space], 3)
    mirror = DeviceMemory(buffer, CPU)
    rng = np.random.default_rng(every)
    for step in range(200):
        driver.step([buffer], rng.choice(["go", "go", "end", "cut", "break", "skip"], 3).tolist())
        if step % every == 0:
            assert_mirrors(mirror, buffer)
    assert_mirrors(mirror, buffer)


def test_follows_tails_that_grow() -> None:
    """Episodes of one step each need a row of the tails for every transition."""
    buffer, driver = make(DICT, 500, 2), Driver(DICT, 2)
    mirror = DeviceMemory(buffer, CPU)
    lengths = set()
    for step in range(300):
        driver.step([buffer], ["end", "cut"])
        if step % 20 == 0:
            assert_mirrors(mirror, buffer)
            lengths.add(mirror.tensors()[0].shape)
    assert len(lengths) > 2
    assert_mirrors(mirror, buffer)


def test_keeps_every_bit() -> None:
    space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    buffer = ReplayBuffer(4, space, gymnasium.spaces.Box(-1, 1, (1,)), gamma=1 / 3)
    for value in (-0.0, 0.0, 1e-45, -1e-45):
        array = np.full((1, 2), value, np.float32)
        buffer.add(array, array[:, :1], array[:, 0], array + 1, np.array([value > 0]), np.array([False]))
    assert_mirrors(DeviceMemory(buffer, CPU), buffer)


def test_copies_no_more_than_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []
    buffer, driver = make(VECTOR, 1000, 2), Driver(VECTOR, 2)
    mirror = DeviceMemory(buffer, CPU)
    for _ in range(700):
        driver.step([buffer], ["go", "go"])
    assert_mirrors(mirror, buffer)
    real = device_memory.send
    monkeypatch.setattr(device_memory, "send", lambda *args: (sent.append(args[0].shape), real(*args))[1])
    mirror._follow(buffer)
    width = 2 + 3 + 3  # an observation, an action; a reward, a discount, an end; which is a multiple of 16 bytes
    pending = [(2,), (2, width)]  # next observations that may have become others
    assert sent == [*pending, (2, 2)]
    sent.clear()
    for _ in range(3):
        driver.step([buffer], ["go", "end"])
    mirror._follow(buffer)
    rows = 4  # of the tails: a pending one, and the three of ends
    assert sent == [(6,), (6, width), (rows,), (rows, width), (2, 8)]
    sent.clear()
    buffer.clear()
    driver.step([buffer], ["go", "go"])
    mirror._follow(buffer)
    assert sent == [(2,), (2, width), *pending, (2, 2)]


@pytest.mark.parametrize("space", [VECTOR, DICT])
def test_many_rows_are_sent_in_pieces(monkeypatch: pytest.MonkeyPatch, space: Any) -> None:
    monkeypatch.setattr(device_memory, "MAX_PINNED_BYTES", 1000)
    buffer = filled(space, capacity=200, steps=150)
    assert_mirrors(DeviceMemory(buffer, CPU), buffer)


def test_belongs_to_one_buffer_and_does_not_keep_it_alive() -> None:
    buffer, other = filled(), filled()
    mirror = DeviceMemory(buffer, CPU)
    assert mirror.mirrors(buffer)
    assert not mirror.mirrors(other)
    with pytest.raises(ValueError, match="another replay buffer"):
        next(mirror.inputs(other, np.zeros((1, 1), np.int64)))
    alive = weakref.ref(buffer)
    del buffer
    gc.collect()
    assert alive() is None


def test_minibatches_from_the_cpu_are_the_buffer_s() -> None:
    buffer = filled(DICT)
    indices = buffer.sample_indices(3, 4)
    source = HostBatches(CPU)
    for rows, given_ in zip(indices, source.inputs(buffer, indices), strict=True):
        assert bits(source.make(given_)) == bits(to_batch(buffer.gather(rows), CPU))
    assert source.tensors() == []


# -- where minibatches are gathered ------------------------------------------------------------------------------------


def test_the_place_follows_from_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = make(VECTOR, 2**20)
    size = mirror_bytes(buffer)
    assert size == 2**20 * ((2 + 3 + 3) * 4 + 8)
    monkeypatch.setattr(device_memory, "total_memory", lambda device: 2 * size)
    assert choose_place(buffer, CUDA, None) == (True, "a copy of the replay buffer there (0.0 GiB)")
    monkeypatch.setattr(device_memory, "total_memory", lambda device: 2 * size - 1)
    on_device, about = choose_place(buffer, CUDA, None)
    assert not on_device
    assert about == (
        "minibatches from the CPU, since a copy of the replay buffer (0.0 GiB) would take more than 50% of the "
        "device's 0.1 GiB"
    )
    assert choose_place(buffer, CUDA, True).on_device
    assert choose_place(buffer, CUDA, False) == (False, "minibatches from the CPU")


def test_elsewhere_there_is_a_mirror_where_it_is_asked_for() -> None:
    buffer = make()
    for device in (CPU, torch.device("mps")):
        assert choose_place(buffer, device, None) == (False, "")
        assert choose_place(buffer, device, True).on_device


def test_the_place_does_not_depend_on_what_the_buffer_holds() -> None:
    buffer = make(VECTOR, 500, 2)
    before, reserved = mirror_bytes(buffer), buffer.nbytes
    driver = Driver(VECTOR, 2)
    for _ in range(200):
        driver.step([buffer], ["end", "end"])
    assert buffer.nbytes > reserved
    assert mirror_bytes(buffer) == before


def test_a_device_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: Any, **__: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(MemoryError, match=r"doesn't fit on cuda:0.*'replay_on_device': False"):
        DeviceMemory(filled(), CUDA)
