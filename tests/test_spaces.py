from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slc_agents.errors import ArchiveError, UnsupportedSpaceError
from slc_agents.spaces import (
    ActionScale,
    check_action_space,
    check_observation_space,
    convert_observation,
    map_observation,
    observation_boxes,
    observation_size,
    space_from_dict,
    space_to_dict,
    storage_dtype,
    to_batch,
)

VECTOR = spaces.Box(-np.inf, np.inf, (3,))
IMAGE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
DOUBLE = spaces.Box(-np.inf, np.inf, (2,), np.float64)
SCALAR = spaces.Box(-1.0, 1.0, ())
BOTH = spaces.Dict({"image": IMAGE, "vector": VECTOR})


# -- which spaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [VECTOR, IMAGE, DOUBLE, SCALAR, BOTH, spaces.Box(0, 9, (2,), np.int64)])
def test_supported_observations(space):
    check_observation_space(space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), r"received Discrete\(3\); allowed are Box and a Dict of Boxes.*FlattenObservation"),
        (spaces.MultiDiscrete([2, 3]), "allowed are Box"),
        (spaces.Tuple([VECTOR]), "allowed are Box"),
        (spaces.Dict({"a": BOTH}), "key 'a': received Dict.*only Box is supported inside a Dict"),
        (spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)}), "key 'b'"),
        (spaces.Dict({}), "empty Dict"),
        (spaces.Dict({"": VECTOR}), "key '': a key must be a text, not empty"),
        (spaces.Dict({"a/b": VECTOR}), "'a/b': .*without '/'"),
        (spaces.Box(-1, 1, (0,)), "nothing to observe"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (0,))}), "nothing to observe"),
    ],
)
def test_unsupported_observations(space, message):
    with pytest.raises(UnsupportedSpaceError, match=message):
        check_observation_space(space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), r"received Discrete\(3\).*continuous actions only"),
        (spaces.MultiDiscrete([2, 3]), "continuous actions only"),
        (BOTH, "continuous actions only"),
        (spaces.Box(-np.inf, np.inf, (2,)), "bounds are not finite.*RescaleAction"),
        (spaces.Box(np.float32([0, 0]), np.float32([1, np.inf])), "bounds are not finite"),
        (spaces.Box(0, 5, (2,), np.int32), "dtype int32"),
        (spaces.Box(-1, 1, ()), r"shape \(\)"),
        (spaces.Box(-1, 1, (0,)), r"shape \(0,\)"),
        (spaces.Box(np.float32([0, 1]), np.float32([1, 1])), "each lower bound must be below"),
    ],
)
def test_unsupported_actions(space, message):
    with pytest.raises(UnsupportedSpaceError, match=message):
        check_action_space(space)
    with pytest.raises(UnsupportedSpaceError, match=message):
        ActionScale(space)


def test_boxes_sizes_and_dtypes():
    assert observation_boxes(VECTOR) == {"": VECTOR}
    assert observation_boxes(BOTH) == {"image": IMAGE, "vector": VECTOR}
    assert [observation_size(space) for space in (VECTOR, IMAGE, BOTH, SCALAR)] == [3, 60, 63, 1]
    assert [storage_dtype(box) for box in (VECTOR, DOUBLE, IMAGE)] == [np.float32, np.float32, np.uint8]


# -- actions -----------------------------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float32, 3, elements=st.floats(-100, 100, width=32)),
    hnp.arrays(np.float32, 3, elements=st.floats(0.125, 100, width=32)),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_ends_hit_the_bounds_exactly(low, width, dtype):
    space = spaces.Box(low.astype(dtype) / 3, (low.astype(dtype) + width) / 3, dtype=dtype)
    scale = ActionScale(space)
    action = np.array([[-1] * 3, [1] * 3, [0] * 3], np.float32)
    lowest, highest, middle = scale.to_env(action)
    np.testing.assert_array_equal(lowest, space.low)
    np.testing.assert_array_equal(highest, space.high)
    np.testing.assert_allclose(middle, (space.low + space.high) / 2, rtol=1e-5, atol=1e-5)


@given(hnp.arrays(np.float32, (5, 2), elements=st.floats(-1, 1, width=32)))
@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(np.array([-0.1, 1e-3], np.float32), np.array([0.3, 7.0], np.float32)),
        spaces.Box(np.array([-0.1, 1e-3]), np.array([0.3, 7.0]), dtype=np.float64),
        spaces.Box(-0.3, 0.1, (2,), np.float16),
        spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,)),
        spaces.Box(np.finfo(np.float64).min, np.finfo(np.float64).max, (2,), np.float64),
    ],
)
def test_actions_stay_inside_and_in_the_right_place(space, action):
    env_action = ActionScale(space).to_env(action)
    assert env_action.dtype == space.dtype
    assert all(space.contains(one) for one in env_action)
    low, high = space.low.astype(np.longdouble), space.high.astype(np.longdouble)
    expected = low + (high - low) * (action.astype(np.longdouble) + 1) / 2
    np.testing.assert_allclose(
        env_action.astype(np.longdouble) / high, expected / high, atol=4 * float(np.finfo(space.dtype).eps)
    )


def test_actions_get_their_shape():
    space = spaces.Box(np.array([[0, 0], [0, 0]], np.float32), np.array([[1, 2], [3, 4]], np.float32))
    env_action = ActionScale(space).to_env(np.array([[1, 1, 1, -1], [0, 0, 0, 0]], np.float32))
    assert env_action.tolist() == [[[1, 2], [3, 0]], [[0.5, 1], [1.5, 2]]]
    assert ActionScale(space).size == 4


def test_actions_come_back():
    space = spaces.Box(np.array([[-2, 0], [1, -1]], np.float32), np.array([[2, 1], [5, 3]], np.float32))
    scale = ActionScale(space)
    action = np.array([[0.5, -1, 0, 1], [-0.25, 0, 0.75, 0.5]], np.float32)
    assert scale.from_env(scale.to_env(action)).tolist() == action.tolist()
    outside = np.array([[[7, -7], [3, 1]]], np.float64)
    assert scale.from_env(outside).tolist() == [[1, -1, 0, 0]]
    assert scale.from_env(outside).dtype == np.float32


# -- observations ------------------------------------------------------------------------------------------------------


def test_conversion_copies_into_the_agents_dtypes():
    double = np.array([0.1, 0.2])
    converted = convert_observation(double, DOUBLE)
    assert converted.dtype == np.float32
    single = np.zeros(3, np.float32)
    assert convert_observation(single, VECTOR) is not single
    image = np.full((4, 5, 3), 7, np.uint8)
    both = convert_observation({"vector": [1, 2, 3], "image": image}, BOTH)
    assert both["vector"].dtype == np.float32
    assert both["image"].dtype == np.uint8
    assert not np.shares_memory(both["image"], image)


def test_images_must_come_unscaled():
    whole = np.full((4, 5, 3), 7.0)
    assert convert_observation(whole, IMAGE).dtype == np.uint8
    for scaled in (whole / 255, whole - 8, whole * 40, whole * np.nan):
        with pytest.raises(ValueError, match="Give images unscaled"):
            convert_observation(scaled, IMAGE)


def test_what_overflows_becomes_infinite_without_a_warning():
    assert convert_observation(np.array([1e300, 0.0]), DOUBLE).tolist() == [np.inf, 0.0]


def test_map_observation():
    assert map_observation(np.sum, np.ones(3)) == 3
    assert map_observation(np.sum, {"a": np.ones(3), "b": np.ones(2)}) == {"a": 3, "b": 2}


@pytest.mark.parametrize("space", [VECTOR, IMAGE, DOUBLE, SCALAR])
def test_a_single_observation_and_a_batch(space):
    one = np.ones(space.shape, space.dtype)
    batch, was_batch = to_batch(one, space)
    assert (batch.shape, was_batch) == ((1, *space.shape), False)
    batch, was_batch = to_batch(np.stack([one] * 4), space)
    assert (batch.shape, was_batch) == ((4, *space.shape), True)
    batch, was_batch = to_batch(one[None].tolist(), space)
    assert (batch.shape, was_batch) == ((1, *space.shape), True)


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "int64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_batch_is_a_copy_of_what_was_given(dtype, order):
    box = spaces.Box(-10, 10, (2, 3), np.float32)
    for shape in ((2, 3), (4, 2, 3)):
        given = np.arange(np.prod(shape)).reshape(shape).astype(dtype, order=order)
        given.flags.writeable = False
        batch, was_batch = to_batch(given, box)
        assert was_batch == (len(shape) == 3)
        assert batch.dtype == np.dtype("float32")
        assert batch.flags.writeable
        assert not np.shares_memory(batch, given)
        np.testing.assert_array_equal(batch, given if was_batch else given[None])


def test_dicts_of_one_and_of_a_batch():
    one = {"vector": np.zeros(3), "image": np.zeros((4, 5, 3), np.uint8)}
    batch, was_batch = to_batch(one, BOTH)
    assert ({key: value.shape for key, value in batch.items()}, was_batch) == (
        {"image": (1, 4, 5, 3), "vector": (1, 3)},
        False,
    )
    batch, was_batch = to_batch({key: np.stack([value] * 2) for key, value in one.items()}, BOTH)
    assert ({key: value.shape for key, value in batch.items()}, was_batch) == (
        {"image": (2, 4, 5, 3), "vector": (2, 3)},
        True,
    )


@pytest.mark.parametrize(
    ("observation", "space", "message"),
    [
        (np.zeros(4), VECTOR, r"received shape \(4,\); the space has \(3,\), with or without a leading batch"),
        (np.zeros((2, 2, 3)), VECTOR, r"received shape \(2, 2, 3\)"),
        (np.float32(0), VECTOR, r"received shape \(\)"),
        ({"vector": np.zeros(3)}, VECTOR, r"a mapping; an array of shape \(3,\)"),
        (np.zeros(3), BOTH, r"received ndarray; a mapping with the keys \['image', 'vector'\]"),
        ({"vector": np.zeros(3)}, BOTH, r"received \['vector'\]; a mapping"),
        ({"vector": np.zeros((2, 3)), "image": np.zeros((4, 5, 3))}, BOTH, "received shape"),
        ({"vector": np.zeros((2, 3)), "image": np.zeros((3, 4, 5, 3))}, BOTH, "different batch sizes"),
    ],
)
def test_observations_that_do_not_fit(observation, space, message):
    with pytest.raises(ValueError, match=message):
        to_batch(observation, space)


# -- descriptions ------------------------------------------------------------------------------------------------------


@st.composite
def boxes(draw):
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64", "float16", "uint8", "int64"])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
    if dtype.kind == "f":
        ends = st.floats(allow_nan=False, width=8 * dtype.itemsize)
    else:
        ends = st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
    one, other = (draw(hnp.arrays(dtype, shape, elements=ends)) for _ in range(2))
    low, high = np.minimum(one, other), np.maximum(one, other)
    if dtype.kind == "f":  # gymnasium refuses a lower bound of inf and an upper one of -inf
        low, high = np.where(low == np.inf, 0, low).astype(dtype), np.where(high == -np.inf, 0, high).astype(dtype)
        low = np.minimum(low, high)
    return spaces.Box(low, high, shape, dtype.type)


@given(st.one_of(boxes(), st.dictionaries(st.text(min_size=1), boxes(), min_size=1, max_size=3).map(spaces.Dict)))
def test_spaces_survive_json(space):
    text = json.dumps(space_to_dict(space), allow_nan=False)
    again = space_from_dict(json.loads(text))
    assert again == space
    for key, box in observation_boxes(space).items():
        other = observation_boxes(again)[key]
        assert (other.dtype, other.shape) == (box.dtype, box.shape)
        np.testing.assert_array_equal(other.low, box.low)
        np.testing.assert_array_equal(other.high, box.high)


def test_descriptions_of_images_are_short():
    large = spaces.Box(0, 255, (210, 160, 3), np.uint8)
    assert len(json.dumps(space_to_dict(large))) < 100
    assert space_from_dict(space_to_dict(large)) == large


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Discrete"},
        {"type": None},
        {"dtype": "O"},
        {"dtype": "nonsense"},
        {"dtype": "complex64"},
        {"shape": [2]},
        {"shape": [-1]},
        {"shape": "wide"},
        {"shape": [10**12, 10**6]},
        {"low": ["a", "b", "c"]},
        {"low": {"a": 1}},
        {"low": [2.0, 2.0, 2.0], "high": [1.0, 1.0, 1.0]},
    ],
)
def test_wrong_descriptions(change):
    description = space_to_dict(spaces.Box(np.float32([0, 1, 2]), np.float32([3, 4, 5])))
    assert space_from_dict(description)
    with pytest.raises(ArchiveError, match="not the description of a supported space"):
        space_from_dict({**description, **change})


@pytest.mark.parametrize(
    "description", [None, [], {}, {"type": "Dict"}, {"type": "Dict", "spaces": [1]}, {"type": "Box"}]
)
def test_descriptions_of_nothing(description):
    with pytest.raises(ArchiveError):
        space_from_dict(description)
