"""The agent archive: what goes in comes out, and nothing that is done to a file does harm."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from slc_agents.errors import ArchiveError
from slc_agents.persistence.archive import FORMAT, FORMAT_VERSION, read_archive, write_archive

Arrays = dict[str, NDArray[Any]]

MANIFEST = {"class": "SAC", "config": {"lr_a": 1e-4, "layers": [256, 256], "none": None, "ünïcode": "→"}, "steps": 7}
TENSORS: Arrays = {
    "actor/trunk/0/weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "scalar": np.array(-1.5),
    "empty": np.zeros((0, 3), np.float32),
    "mask": np.array([True, False]),
    "image": np.arange(8, dtype=np.uint8),
    "steps": np.array([2**40, -1], np.int64),
    "half": np.array([0.5], np.float16),
    "special": np.array([np.nan, np.inf, -0.0]),
}
ARRAYS: Arrays = {
    "replay_buffer/observation": np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
    "replay_buffer/observation/nested key": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
    "scalar": np.array(3, np.int32),
    "empty": np.zeros((0, 2), np.float64),
    "done": np.array([[True], [False]]),
    "größe": np.arange(3, dtype=np.int64),
}


def assert_same(actual: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    assert list(actual.keys() - expected.keys()) == []
    assert list(expected.keys() - actual.keys()) == []
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        assert actual[name].shape == value.shape, name
        assert actual[name].tobytes() == value.tobytes(), name


def read_all(path: Path) -> tuple[dict[str, Any], Arrays, Arrays, bytes | None]:
    with read_archive(path) as archive:
        return archive.manifest, archive.tensors(), archive.arrays(), archive.code()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "agent.zip", MANIFEST, tensors=TENSORS, arrays=ARRAYS, code=b"opaque")


# What goes in comes out


def test_round_trip(saved: Path) -> None:
    manifest, tensors, arrays, code = read_all(saved)
    members = manifest.pop("members")
    assert manifest == {"format": FORMAT, "format_version": FORMAT_VERSION, **MANIFEST}
    assert set(members) == {"tensors.safetensors", "code.pkl", *(f"arrays/{name}.npy" for name in ARRAYS)}
    assert_same(tensors, TENSORS)
    assert_same(arrays, ARRAYS)
    assert code == b"opaque"


def test_what_is_read_can_be_changed(saved: Path) -> None:
    _, tensors, arrays, _ = read_all(saved)
    for value in (*tensors.values(), *arrays.values()):
        value[...] = 0


def test_the_manifest_describes_the_bytes_of_the_members(saved: Path) -> None:
    members = read_all(saved)[0]["members"]
    with zipfile.ZipFile(saved) as zip_file:
        assert zip_file.testzip() is None
        assert set(zip_file.namelist()) == {"manifest.json", *members}
        for name, record in members.items():
            content = zip_file.read(name)
            assert record == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert_same(safetensors.numpy.load(zip_file.read("tensors.safetensors")), TENSORS)
        done = np.load(io.BytesIO(zip_file.read("arrays/done.npy")), allow_pickle=False)
    assert_same({"done": done}, {"done": ARRAYS["done"]})


def test_an_archive_without_arrays_and_code(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "agent", {}, tensors={})
    assert read_all(path)[1:] == ({}, {}, None)
    with read_archive(path) as archive:
        assert not archive.has_code
        with pytest.raises(KeyError, match="no array 'x'"):
            archive.array("x")


def test_arrays_in_any_layout(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    arrays = {
        "fortran": np.asfortranarray(base),
        "transposed": base.transpose(1, 2, 0),
        "strided": base[:, ::2, ::-1],
        "broadcast": np.broadcast_to(np.float32(2), (3, 3)),
        "big_endian": base.astype(">f8"),
    }
    path = write_archive(tmp_path / "agent", {}, tensors=arrays, arrays=arrays)
    _, tensors, read, _ = read_all(path)
    assert_same(read, arrays)
    assert_same(tensors, {name: value.astype(value.dtype.newbyteorder("=")) for name, value in arrays.items()})


def test_an_array_larger_than_a_piece_of_the_stream(tmp_path: Path) -> None:
    arrays = {"large": np.random.default_rng(1).integers(0, 256, (3, 3_000_001), np.uint8)}
    path = write_archive(tmp_path / "agent", {}, tensors={}, arrays=arrays)
    assert_same(read_all(path)[2], arrays)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=hnp.arrays(
        st.one_of(
            hnp.boolean_dtypes(),
            hnp.integer_dtypes(),
            hnp.unsigned_integer_dtypes(),
            hnp.floating_dtypes(sizes=(32, 64)),
        ),
        hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
    )
)
def test_any_array_survives(tmp_path: Path, array: NDArray[Any]) -> None:
    path = write_archive(tmp_path / "agent", {}, tensors={}, arrays={"a": array})
    assert_same(read_all(path)[2], {"a": array})


def test_equal_contents_make_equal_files(tmp_path: Path) -> None:
    first = write_archive(tmp_path / "a", MANIFEST, tensors=TENSORS, arrays=ARRAYS)
    second = write_archive(tmp_path / "b", MANIFEST, tensors=TENSORS, arrays=ARRAYS)
    assert first.read_bytes() == second.read_bytes()


def test_suffix_and_folders_are_filled_in(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "new" / "folders" / "agent", {}, tensors={})
    assert path == tmp_path / "new" / "folders" / "agent.zip"
    assert read_archive(path.with_suffix("")).path == path
    assert write_archive(tmp_path / "agent.bin", {}, tensors={}).name == "agent.bin"
    (tmp_path / "dotted.v1.zip").write_bytes(path.read_bytes())
    assert read_archive(str(tmp_path / "dotted.v1")).path.name == "dotted.v1.zip"


def test_a_closed_or_forgotten_archive_holds_no_file_open(saved: Path) -> None:
    archive = read_archive(saved)
    archive.close()
    archive.close()
    with pytest.raises(ArchiveError):
        archive.tensors()
    forgotten = read_archive(saved)
    del forgotten  # a file left open would warn, and warnings are errors
    gc.collect()


def test_an_open_archive_reads_on_when_the_file_is_replaced(saved: Path) -> None:
    with read_archive(saved) as archive:
        write_archive(saved, {}, tensors={})
        assert_same(archive.tensors(), TENSORS)


# Writing: whole or not at all


class Failing:
    """An array that can't be had."""

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        raise OSError("the disk is on fire")


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"arrays": {"good": np.zeros(1000), "bad": Failing()}}, OSError, "on fire"),
        ({"manifest": {"score": float("nan")}}, ArchiveError, "JSON"),
        ({"manifest": {"score": [float("inf")]}}, ArchiveError, "JSON"),
        ({"manifest": {"score": np.float32(1)}}, ArchiveError, "JSON"),
        ({"manifest": {"members": {}}}, ArchiveError, "'members'.*other names"),
        ({"manifest": {"text": "x" * (65 * 2**20)}}, ArchiveError, "are allowed"),
        ({"tensors": {"o": np.array([object()])}}, ArchiveError, "'o' is of dtype object"),
        ({"tensors": {"__metadata__": np.zeros(1)}}, ArchiveError, "__metadata__"),
        ({"arrays": {"o": np.array(["text"])}}, ArchiveError, "dtype"),
        ({"arrays": {"s": np.zeros(1, [("a", "f4")])}}, ArchiveError, "dtype"),
        *(
            ({"arrays": {name: np.zeros(1)}}, ArchiveError, "array name")
            for name in ("", "../up", "a/../b", "/root", "a//b", "a\\b", "c:/x", "new\nline", "nul\0", "x" * 2000)
        ),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    saved: Path, keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = saved.read_bytes()
    with pytest.raises(error, match=message):
        write_archive(saved, **{"manifest": {}, "tensors": {}, **keywords})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_failure_of_the_last_step_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slc_agents.persistence.archive.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_archive(saved, {}, tensors={})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


# Damage


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing.*nothing\.zip"):
        read_archive(tmp_path / "nothing")
    with pytest.raises(ArchiveError, match="not a file"):
        read_archive(tmp_path)


def test_truncated_anywhere(saved: Path) -> None:
    content = saved.read_bytes()
    ends = {*range(200), *range(0, len(content), 37), *range(len(content) - 200, len(content))}
    for end in ends:
        saved.write_bytes(content[:end])
        with pytest.raises(ArchiveError):
            read_all(saved)


def flips(size: int) -> Iterator[tuple[int, int]]:
    rng = random.Random(0)
    for _ in range(2500):
        yield rng.randrange(size), 1 << rng.randrange(8)
    for position in range(size - 1200, size):  # the zip's directory, where a flip may be harmless
        yield position, 1 << rng.randrange(8)


def test_flipped_bits(saved: Path) -> None:
    content = saved.read_bytes()
    expected = read_all(saved)
    refused = 0
    for position, bit in flips(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= bit
        saved.write_bytes(damaged)
        try:
            manifest, tensors, arrays, code = read_all(saved)
        except ArchiveError:
            refused += 1
            continue
        assert (manifest, code) == (expected[0], expected[3]), position
        assert_same(tensors, expected[1])
        assert_same(arrays, expected[2])
    assert refused > 2000


def test_overwritten_and_missing_stretches(saved: Path) -> None:
    content = saved.read_bytes()
    expected = read_all(saved)
    rng = random.Random(1)
    for _ in range(300):
        start = rng.randrange(len(content))
        length = rng.randrange(1, 100)
        middle = rng.choice([b"", b"\0" * length, b"\xff" * length, rng.randbytes(length)])
        saved.write_bytes(content[:start] + middle + content[start + length :])
        try:
            manifest, tensors, arrays, code = read_all(saved)
        except ArchiveError:
            continue
        assert (manifest, code) == (expected[0], expected[3])
        assert_same(tensors, expected[1])
        assert_same(arrays, expected[2])


# Hostile files. Their hashes fit their contents: an attacker computes them as well as we do.


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as zip_file:
        return {name: zip_file.read(name) for name in zip_file.namelist() if name != "manifest.json"}


def record(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def forge(
    path: Path,
    members: dict[str, bytes],
    *,
    listed: dict[str, Any] | None = None,
    manifest: dict[str, Any] | bytes | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    if not isinstance(manifest, bytes):
        records = {name: record(content) for name, content in members.items()} if listed is None else listed
        document = {"format": FORMAT, "format_version": FORMAT_VERSION, "members": records, **(manifest or {})}
        manifest = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w", compression) as zip_file:
        zip_file.writestr("manifest.json", manifest)
        for name, content in members.items():
            zip_file.writestr(name, content)
    return path


def npy_bytes(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    encoded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(encoded)) + encoded + data


def refused(path: Path, message: str) -> None:
    with pytest.raises(ArchiveError, match=message) as caught:
        read_all(path)
    assert str(path) in str(caught.value)


EMPTY = safetensors.numpy.save({})


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "hostile.zip"


def test_a_forged_archive_that_tells_the_truth_is_read(target: Path) -> None:
    forge(target, {"tensors.safetensors": EMPTY, "arrays/a.npy": npy_bytes(HEADER.format("<f4", "(2,)"), b"\0" * 8)})
    assert_same(read_all(target)[2], {"a": np.zeros(2, np.float32)})


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"text" * 100, b"\0" * 1000, pickle.dumps([1]), b"PK\x05\x06" + b"\xff" * 18]
)
def test_not_a_zip(target: Path, content: bytes) -> None:
    target.write_bytes(content)
    refused(target, "not a zip file, or it is cut short")


def test_another_library_s_zip(target: Path) -> None:
    with zipfile.ZipFile(target, "w") as zip_file:
        zip_file.writestr("data", "{}")
        zip_file.writestr("policy.pth", b"\x80\x04.")
    refused(target, "not an agent archive of slc_agents")
    forge(target, {}, manifest={"format": "something.else"})
    refused(target, "not an agent archive of slc_agents")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "written by a newer slc_agents.*[Uu]pgrade"),
        ({"format_version": 10**30, "members": "of another shape"}, "written by a newer slc_agents"),
        ({"format_version": 0}, "not a positive integer"),
        ({"format_version": True}, "not a positive integer"),
        ({"format_version": "1"}, "not a positive integer"),
        ({"format_version": None}, "not a positive integer"),
        ({"members": None}, "no list of members"),
        ({"members": []}, "no list of members"),
        ({"members": {"tensors.safetensors": "sha"}}, "not its sha256 and size"),
        ({"members": {"tensors.safetensors": {"sha256": "", "size": -1}}}, "not its sha256 and size"),
        ({"members": {"tensors.safetensors": {"sha256": "", "size": True}}}, "not its sha256 and size"),
        ({"members": {"tensors.safetensors": {"sha256": "", "size": len(EMPTY)}}}, "sha256 is not the recorded one"),
        ({"members": {"tensors.safetensors": {**record(EMPTY), "size": 3}}}, "3 are recorded"),
        (b"", "can't be read"),
        (b"\xff\xfe", "can't be read"),
        (b"{", "can't be read"),
        (b"[]", "not an agent archive"),
        (b'{"format": NaN}', "NaN is not a JSON number"),
        (b"[" * 200_000, "can't be read"),
        (b"1" * 10_000, "can't be read"),
    ],
)
def test_hostile_manifests(target: Path, manifest: dict[str, Any] | bytes, message: str) -> None:
    refused(forge(target, {"tensors.safetensors": EMPTY}, manifest=manifest), message)


def test_a_manifest_beyond_all_measure(target: Path) -> None:
    forge(target, {}, manifest=b" " * (64 * 2**20 + 1))
    refused(target, "are allowed")


def test_missing_and_unlisted_members(target: Path) -> None:
    forge(target, {}, listed={})
    refused(target, "tensors.safetensors.*missing")
    forge(
        target, {"tensors.safetensors": EMPTY}, listed={"tensors.safetensors": record(EMPTY), "code.pkl": record(b"")}
    )
    refused(target, r"code\.pkl.*missing")
    forge(target, {"tensors.safetensors": EMPTY, "code.pkl": b""}, listed={"tensors.safetensors": record(EMPTY)})
    refused(target, r"code\.pkl.*not listed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(target: Path) -> None:
    forge(target, {"tensors.safetensors": EMPTY})
    with zipfile.ZipFile(target, "a") as zip_file:
        zip_file.writestr("tensors.safetensors", EMPTY)
    refused(target, "more than once")
    forge(target, {"tensors.safetensors": EMPTY})
    with zipfile.ZipFile(target, "a") as zip_file:
        zip_file.writestr("manifest.json", b"{}")
    refused(target, "more than once")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil.npy",
            "arrays/../../evil.npy",
            "/etc/passwd",
            "arrays//x.npy",
            "arrays/..\\x.npy",
            "arrays/c:/x.npy",
        ),
        *("arrays/", "arrays/.npy", "arrays/x.npy/..", "evil.py", "other.safetensors", "arrays/x\n.npy"),
    ],
)
def test_hostile_names(target: Path, name: str) -> None:
    refused(forge(target, {"tensors.safetensors": EMPTY, name: b""}), "not a member's name")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs(target: Path, compression: int) -> None:
    bomb = npy_bytes(HEADER.format("|u1", f"({2**24},)"), b"\0" * 2**24)
    forge(target, {"tensors.safetensors": EMPTY, "arrays/bomb.npy": bomb}, compression=compression)
    assert target.stat().st_size < 2**17
    refused(target, "is compressed")


def directory_field(path: Path, member: str, offset: int, value: bytes) -> None:
    """Overwrites a field in a member's entry of the zip's directory."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(member.encode()) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(content)


def test_lies_in_the_directory_of_the_zip(saved: Path) -> None:
    content = saved.read_bytes()
    member = "arrays/done.npy"
    compressed, size, flags, method, header = 20, 24, 8, 10, 42
    lies: list[tuple[dict[int, bytes], str]] = [
        ({flags: b"\x01\x00"}, "is encrypted"),
        ({flags: b"\x40\x00"}, "is encrypted"),
        ({method: struct.pack("<H", 8)}, "is compressed"),
        ({method: struct.pack("<H", 99)}, "is compressed"),
        ({size: struct.pack("<I", 2**31)}, "is compressed"),
        ({size: struct.pack("<I", 2**31), compressed: struct.pack("<I", 2**31)}, "are recorded"),
        ({header: struct.pack("<I", 0)}, "can't be read"),
        ({header: struct.pack("<I", 2**32 - 2)}, "can't be read"),
    ]
    for fields, message in lies:
        saved.write_bytes(content)
        for offset, value in fields.items():
            directory_field(saved, member, offset, value)
        refused(saved, message)


def test_members_that_share_their_bytes(target: Path) -> None:
    block = npy_bytes(HEADER.format("|u1", "(4000,)"), b"\0" * 4000)
    names = ["arrays/a.npy", "arrays/b.npy"]
    forge(
        target,
        {"tensors.safetensors": EMPTY, names[0]: block, names[1]: b""},
        listed={"tensors.safetensors": record(EMPTY), **{name: record(block) for name in names}},
    )
    sizes = struct.pack("<II", len(block), len(block))
    directory_field(target, names[1], 20, sizes)
    refused(target, "overlap")


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"not an array",
        npy_bytes(HEADER.format("<f4", "(3,)"), b"\0" * 8),
        npy_bytes(HEADER.format("<f4", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format("<f8", f"({2**40}, {2**20})"), b"\0" * 8),
        npy_bytes(HEADER.format("<f8", f"({2**62}, 4)"), b""),
        npy_bytes(HEADER.format("<f8", f"(0, {2**70})"), b""),
        npy_bytes(HEADER.format("<f8", "(-1, -1)"), b"\0" * 8),
        npy_bytes(HEADER.format("<f8", "(True,)"), b"\0" * 8),
        npy_bytes(HEADER.format("<f8", "(1.0,)"), b"\0" * 8),
        npy_bytes(HEADER.format("<f8", "(" + "1, " * 100 + ")"), b"\0" * 8),
        npy_bytes(HEADER.format("<U2", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format("<M8[s]", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format("|V8", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format("|O", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format("no", "(1,)"), b"\0" * 8),
        npy_bytes(HEADER.format(",", "(1,)"), b"\0" * 8),
        npy_bytes("__import__('os').abort()"),
        npy_bytes("(" * 5000),
        npy_bytes("'" + "\\"),
        npy_bytes("{"),
        npy_bytes("\0"),
        npy_bytes(" " * 60_000),
        npy_bytes(HEADER.format("<f4", "(2,)"), b"\0" * 8, version=b"\x02\x00"),
        npy_bytes(HEADER.format("<f4", "(2,)"), b"\0" * 8, version=b"\x09\x09"),
    ],
)
def test_hostile_arrays(target: Path, content: bytes) -> None:
    forge(target, {"tensors.safetensors": EMPTY, "arrays/a.npy": content})
    refused(target, r"arrays/a\.npy.* can't be read")


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        safetensors_bytes(b"{"),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 4]}}, b"\0" * 4),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}}, b"\0" * 4),
        safetensors_bytes({"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        safetensors_bytes({"a": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4),
        safetensors_bytes({}, b"\0" * 4),
    ],
)
def test_hostile_tensors(target: Path, content: bytes) -> None:
    refused(forge(target, {"tensors.safetensors": content}), r"tensors\.safetensors.* can't be read")


class Exploding:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.trace,)


def test_pickles_are_never_loaded(target: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    pickled = pickle.dumps(Exploding(trace))
    buffer = io.BytesIO()
    np.save(buffer, np.array([Exploding(trace)], dtype=object), allow_pickle=True)
    for content in (pickled, buffer.getvalue()):
        forge(target, {"tensors.safetensors": EMPTY, "arrays/a.npy": content})
        refused(target, "can't be read")
    forge(target, {"tensors.safetensors": pickled})
    refused(target, "can't be read")
    forge(target, {"tensors.safetensors": EMPTY, "code.pkl": pickled})
    assert read_all(target)[3] == pickled
    assert not trace.exists()
    pickle.loads(pickled)
    assert trace.exists()  # so the trap works
