"""The agent archive: one zip that holds an agent and can't run code when it is read.

    manifest.json         what it is: format, version, whatever the caller records, size and sha256 of every member
    tensors.safetensors   the parameters, one tensor a name
    arrays/<name>.npy     large arrays (the replay buffer), streamed, without pickling
    code.pkl              optional bytes that only a caller who trusts the file asks for; never interpreted here

Members are stored, not compressed: weights hardly shrink, and a file can then never unfold into more than its own
size. Reading treats every byte as hostile: whatever is wrong with a file, the outcome is an `ArchiveError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import struct
import tokenize
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self, TypeGuard

import numpy as np
import safetensors
import safetensors.numpy
from numpy.lib import format as npy
from numpy.typing import NDArray

from slc_agents.errors import ArchiveError

__all__ = ["FORMAT", "FORMAT_VERSION", "Archive", "ArchivedArray", "is_archive", "read_archive", "write_archive"]

FORMAT = "slc_agents.agent"
FORMAT_VERSION = 1

_MANIFEST = "manifest.json"
_TENSORS = "tensors.safetensors"
_CODE = "code.pkl"
_ARRAY_NAME = re.compile(r"arrays/(?P<name>.+)\.npy", re.DOTALL)
_OWN_KEYS = ("format", "format_version", "members")

_MAX_MANIFEST_BYTES = 64 * 2**20
_MAX_NAME_LENGTH = 1000
_CHUNK_BYTES = 4 * 2**20
_ENCRYPTED_OR_PATCHED = 0x1 | 0x20 | 0x40  # bits of a zip member's flags
_DTYPES = frozenset(
    np.dtype(name) for name in ("bool", *(f"{kind}{8 * n}" for kind in ("int", "uint") for n in (1, 2, 4, 8)))
) | {np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)}

# What zipfile, json, numpy and safetensors raise on bytes that nobody meant them to read.
_PARSE_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    safetensors.SafetensorError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_archive(
    path: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    *,
    tensors: Mapping[str, NDArray[Any]],
    arrays: Mapping[str, NDArray[Any]] | None = None,
    code: bytes | None = None,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Writes an archive, whole or not at all: an error leaves an older file of that name as it was.

    Equal contents make equal files, byte for byte.

    Args:
        path: Where to. `.zip` is appended where a suffix is missing; parent folders are created.
        manifest: What to record in JSON; `format`, `format_version` and `members` are added.
        tensors: The parameters by name, of bool, integer or float type.
        arrays: Large arrays by name, of the same types, in any memory layout; streamed to the disk in pieces. A name
            may contain `/`.
        code: Bytes that are only read again where the caller asks for them.
        progress: Called with the number of bytes of each piece that was written.

    Returns:
        The path of the written file.

    Raises:
        ArchiveError: If the manifest can't be written as JSON, or a name or a type can't be stored.
    """
    target = Path(path)
    if not target.suffix:
        target = target.with_name(target.name + ".zip")
    _encode_manifest(target, manifest, {})  # a mistake in it shows before anything is written
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zip_file:
                _write_members(target, zip_file, manifest, tensors, arrays or {}, code, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)
    return target


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Opens an archive and checks its manifest against what the file holds.

    Args:
        path: The file; `.zip` is appended where there is no such file.

    Returns:
        The open archive. It is closed by a `with` statement, by `close()`, or when nobody refers to it any more.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is not an agent archive, is damaged, or is of a newer format.
    """
    return Archive(_find(Path(path)))


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Says whether there is a zip with a manifest, however damaged the rest of it may be."""
    try:
        with zipfile.ZipFile(path) as zip_file:
            return _MANIFEST in zip_file.namelist()
    except _PARSE_ERRORS:
        return False


class Archive:
    """An open agent archive. Each member is checked against its recorded size and sha256 when it is first read.

    Attributes:
        path: The file.
        manifest: What was recorded, with `format`, `format_version` and `members`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as on_error:
            file = on_error.enter_context(path.open("rb"))
            with _guard(path, "it is not a zip file, or it is cut short"):
                self._zip = on_error.enter_context(zipfile.ZipFile(file))
                self._infos = self._zip.infolist()
            with _guard(path, f"its {_MANIFEST} can't be read"):
                self.manifest = self._read_manifest()
            with _guard(path, "its contents don't fit its manifest"):
                self._check_members(os.fstat(file.fileno()).st_size)
            self._is_verified = False  # what was hashed once isn't hashed again when it is read from the open file
            # Closes the file also where a caller forgets to, without a warning.
            self._close = weakref.finalize(self, on_error.pop_all().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; closing it again does nothing."""
        self._close()

    @property
    def array_names(self) -> list[str]:
        """The names of the arrays, in the order in which they were written."""
        return [match["name"] for match in map(_ARRAY_NAME.fullmatch, self.manifest["members"]) if match]

    @property
    def has_code(self) -> bool:
        """Whether there is a member that carries code."""
        return _CODE in self.manifest["members"]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Reads the parameters, by name.

        Raises:
            ArchiveError: If the member is damaged.
        """
        with _guard(self.path, f"its member {_TENSORS!r} can't be read"):
            loaded = safetensors.numpy.load(self._read(_TENSORS))
            return {name: value if value.flags.writeable else value.copy() for name, value in loaded.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Reads all arrays, by name.

        Raises:
            ArchiveError: If one of them is damaged.
        """
        return {name: self.array(name) for name in self.array_names}

    def array(self, name: str) -> NDArray[Any]:
        """Reads one array, without holding it in memory twice.

        Raises:
            KeyError: If there is no array of that name.
            ArchiveError: If it is damaged.
        """
        return self.stored_array(name).read()

    def stored_array(self, name: str) -> ArchivedArray:
        """Finds one array, which is read later; the archive stays open for as long as it is needed.

        Raises:
            KeyError: If there is no array of that name.
            ArchiveError: If it is damaged.
        """
        member = f"arrays/{name}.npy"
        if member not in self.manifest["members"]:
            raise KeyError(f"{self.path} has no array {name!r}, only {self.array_names}")
        return ArchivedArray(self, member)

    def verify(self, progress: Callable[[int], object] | None = None) -> None:
        """Reads everything once, keeping nothing, and checks every sha256.

        Args:
            progress: Called with the number of bytes of each piece that was read.

        Raises:
            ArchiveError: If a member is damaged.
        """
        for member in self.manifest["members"]:
            with self._open_guarded(member) as reader:
                while reader.remaining:
                    data = reader.read(_CHUNK_BYTES)
                    if not data:
                        _refuse("it is cut short")
                    if progress is not None:
                        progress(len(data))
        self._is_verified = True

    @property
    def nbytes(self) -> int:
        """Bytes of all members."""
        return sum(record["size"] for record in self.manifest["members"].values())

    def code(self) -> bytes | None:
        """Reads the member that carries code, as bytes, or None where there is none. Only for callers with trust.

        Raises:
            ArchiveError: If the member is damaged.
        """
        if not self.has_code:
            return None
        with _guard(self.path, f"its member {_CODE!r} can't be read"):
            return self._read(_CODE)

    def _read_manifest(self) -> dict[str, Any]:
        infos = [info for info in self._infos if info.filename == _MANIFEST]
        if not infos:
            raise _foreign(self.path, f"a zip without {_MANIFEST}")
        _check_info(infos[0])
        if infos[0].file_size > _MAX_MANIFEST_BYTES:
            _refuse(f"it says to be {infos[0].file_size} bytes long; {_MAX_MANIFEST_BYTES} are allowed")
        manifest = json.loads(self._zip.read(infos[0]).decode("utf-8"), parse_constant=_refuse_constant)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise _foreign(self.path, f"its {_MANIFEST} doesn't say the format {FORMAT!r}")
        version = manifest.get("format_version")
        if not _is_count(version) or version < 1:
            _refuse(f"format_version={version!r} is not a positive integer")
        if version > FORMAT_VERSION:
            raise ArchiveError(
                f"{self.path}: written by a newer slc_agents, in format version {version}; this one reads up to "
                f"version {FORMAT_VERSION}. Upgrade it: pip install --upgrade slc-agents"
            )
        return manifest

    def _check_members(self, file_size: int) -> None:
        """Checks that the zip holds exactly the members that the manifest lists, in the listed sizes."""
        listed = self.manifest.get("members")
        if not isinstance(listed, dict):
            _refuse("its manifest has no list of members")
        names = [info.filename for info in self._infos]
        if len(set(names)) < len(names):
            _refuse(f"{sorted({name for name in names if names.count(name) > 1})} are there more than once")
        present = set(names) - {_MANIFEST}
        if missing := sorted({_TENSORS, *listed} - present):
            _refuse(f"{missing} are missing")
        if unlisted := sorted(present - listed.keys()):
            _refuse(f"{unlisted} are there, but not listed")
        for info in self._infos:
            _check_info(info)
            if info.filename != _MANIFEST:
                _check_member_name(info.filename)
                _check_record(info, listed[info.filename])
        if sum(info.file_size for info in self._infos) > file_size:
            _refuse("its members overlap")

    def _read(self, member: str) -> bytes:
        with self._open(member) as reader:
            return reader.read(reader.remaining)

    @contextlib.contextmanager
    def _open_guarded(self, member: str) -> Iterator[_CheckedReader]:
        """Opens a member like `_open`, with this package's error for whatever is wrong with it."""
        with _guard(self.path, f"its member {member!r} can't be read"), self._open(member) as reader:
            yield reader

    @contextlib.contextmanager
    def _open(self, member: str) -> Iterator[_CheckedReader]:
        """Opens a member; on leaving, all of it must have been read and its sha256 must be the recorded one."""
        record = self.manifest["members"][member]
        with self._zip.open(member) as stream:
            reader = _CheckedReader(stream, record["size"], hashes=not self._is_verified)
            yield reader
            if reader.remaining or stream.read(1):
                _refuse("its length is not the recorded one")
        if reader.sha256 is not None and reader.sha256.hexdigest() != record["sha256"]:
            _refuse("its sha256 is not the recorded one")


class ArchivedArray:
    """An array in an open archive, whose shape and type are known before it is read.

    Attributes:
        shape: Its shape.
        dtype: Its type.
    """

    def __init__(self, archive: Archive, member: str) -> None:
        self._archive, self._member = archive, member
        with _guard(archive.path, f"its member {member!r} can't be read"), archive._zip.open(member) as stream:
            reader = _CheckedReader(stream, archive.manifest["members"][member]["size"])
            self.shape, self._is_fortran, self.dtype = _read_npy_header(reader)

    def read(self) -> NDArray[Any]:
        """Reads it, without holding it in memory twice.

        Raises:
            ArchiveError: If it is damaged.
        """
        with self._archive._open_guarded(self._member) as reader:
            _read_npy_header(reader)
            array: NDArray[Any] = np.empty(self.shape, self.dtype, order="F" if self._is_fortran else "C")
            reader.read_array(array)
        return array

    def read_into(self, target: NDArray[Any]) -> None:
        """Fills an array of the same shape and type with it.

        Raises:
            ArchiveError: If it is damaged.
        """
        if self._is_fortran or not target.flags.c_contiguous or target.dtype != self.dtype:
            target[...] = self.read()
            return
        with self._archive._open_guarded(self._member) as reader:
            _read_npy_header(reader)
            reader.read_array(target)


class _CheckedReader:
    """Reads a member up to its recorded size, and hashes what was read, unless that was done before."""

    def __init__(self, stream: IO[bytes], size: int, *, hashes: bool = True) -> None:
        self.sha256 = hashlib.sha256() if hashes else None
        self.remaining = size
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self.remaining))
        self.remaining -= len(data)
        if self.sha256 is not None:
            self.sha256.update(data)
        return data

    def read_array(self, array: NDArray[Any]) -> None:
        """Fills a contiguous array, in pieces."""
        if not array.size:
            return
        target, filled = array.reshape(-1, order="A").view(np.uint8).data, 0
        while filled < len(target):
            data = self.read(min(_CHUNK_BYTES, len(target) - filled))
            if not data:
                _refuse("it is cut short")
            target[filled : filled + len(data)] = data
            filled += len(data)


class _HashingWriter:
    """Passes bytes on to a member, and records their number and hash."""

    def __init__(self, stream: IO[bytes], progress: Callable[[int], object] | None) -> None:
        self._stream = stream
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self._size += len(data)
        if self._progress is not None:
            self._progress(len(data))
        return self._stream.write(data)

    @property
    def record(self) -> dict[str, Any]:
        return {"sha256": self._sha256.hexdigest(), "size": self._size}


def _write_members(
    target: Path,
    zip_file: zipfile.ZipFile,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    arrays: Mapping[str, NDArray[Any]],
    code: bytes | None,
    progress: Callable[[int], object] | None,
) -> None:
    """Writes all members, the manifest with their hashes last."""
    members: dict[str, dict[str, Any]] = {}

    def write(name: str, content: Callable[[_HashingWriter], object]) -> None:
        info = zipfile.ZipInfo(name)  # with a fixed date: equal contents make equal files
        info.external_attr = 0o644 << 16
        with zip_file.open(info, "w", force_zip64=True) as stream:
            writer = _HashingWriter(stream, progress)
            content(writer)
        members[name] = writer.record

    encoded = _encode_tensors(target, tensors)
    write(_TENSORS, lambda writer: writer.write(encoded))
    for name, value in arrays.items():
        array = np.asarray(value)
        member = f"arrays/{name}.npy"
        _check_dtype(target, member, array)
        try:
            _check_member_name(member)
        except ValueError as error:
            raise ArchiveError(f"{target}: the array name {name!r} can't be stored: {error}") from error
        write(member, partial(npy.write_array, array=array, version=(1, 0), allow_pickle=False))
    if code is not None:
        write(_CODE, lambda writer: writer.write(code))
    document = _encode_manifest(target, manifest, members)
    write(_MANIFEST, lambda writer: writer.write(document))


def _encode_manifest(target: Path, manifest: Mapping[str, Any], members: Mapping[str, Any]) -> bytes:
    if taken := [key for key in _OWN_KEYS if key in manifest]:
        raise ArchiveError(f"{target}: the manifest's keys {taken} are the archive's own; choose other names")
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "members": members}
    try:
        encoded = json.dumps(document, allow_nan=False, indent=1).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ArchiveError(
            f"{target}: the manifest can't be written as JSON: {error}. It takes finite numbers, strings, booleans, "
            "None, lists and dicts with strings as keys; arrays belong into the archive's tensors or arrays"
        ) from error
    if len(encoded) > _MAX_MANIFEST_BYTES:
        raise ArchiveError(
            f"{target}: the manifest takes {len(encoded)} bytes; {_MAX_MANIFEST_BYTES} are allowed. Large contents "
            "belong into the archive's tensors or arrays"
        )
    return encoded


def _encode_tensors(target: Path, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    contiguous: dict[str, NDArray[Any]] = {}
    for name, value in tensors.items():
        array = np.asarray(value)
        _check_dtype(target, name, array)
        if name == "__metadata__":
            raise ArchiveError(f"{target}: no tensor can be named {name!r}: the file format keeps that name to itself")
        # asarray, as ascontiguousarray makes a vector of a scalar
        contiguous[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return safetensors.numpy.save(contiguous)


def _read_npy_header(reader: _CheckedReader) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads shape, order and type, which are believed only where they account for every byte of the member."""
    version = npy.read_magic(reader)  # type: ignore[arg-type]
    if version != (1, 0):
        _refuse(f"its npy version is {version}, not (1, 0)")
    shape, fortran_order, dtype = npy.read_array_header_1_0(reader)  # type: ignore[arg-type]
    if dtype.newbyteorder("=") not in _DTYPES:
        _refuse(f"its dtype {dtype} is not a bool, integer or float type")
    if not all(_is_count(length) for length in shape):
        _refuse(f"{shape} is not a shape")
    if math.prod(shape) * dtype.itemsize != reader.remaining:
        _refuse(f"its shape {shape} and dtype {dtype} don't fit the {reader.remaining} bytes that are there")
    return shape, fortran_order, dtype


def _check_dtype(target: Path, name: str, array: NDArray[Any]) -> None:
    if array.dtype.newbyteorder("=") not in _DTYPES:
        raise ArchiveError(
            f"{target}: {name!r} is of dtype {array.dtype}; an archive stores bool, integers up to 64 bits and floats "
            "of 16, 32 and 64 bits. Convert it, or record it in the manifest"
        )


def _check_info(info: zipfile.ZipInfo) -> None:
    """Checks one entry of the zip's directory: plain bytes of the stated number."""
    if info.flag_bits & _ENCRYPTED_OR_PATCHED:
        _refuse(f"{info.filename!r} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        _refuse(f"{info.filename!r} is compressed; an agent archive stores its members as they are")


def _check_member_name(member: str) -> None:
    """Checks that a name is one of ours, and would stay inside its folder if somebody unpacked the archive."""
    if member in (_TENSORS, _CODE):
        return
    match = _ARRAY_NAME.fullmatch(member)
    parts = match["name"].split("/") if match else [""]
    outside = any(part in ("", ".", "..") for part in parts) or re.match("[A-Za-z]:", parts[0])
    if outside or not member.isprintable() or "\\" in member or len(member) > _MAX_NAME_LENGTH:
        _refuse(
            f"{member!r} is not a member's name: no part may be empty, '.', '..' or a drive, none may contain a "
            f"backslash or a control character, and {_MAX_NAME_LENGTH} characters are allowed"
        )


def _check_record(info: zipfile.ZipInfo, record: object) -> None:
    match record:
        case {"sha256": str(), "size": int(size)} if _is_count(size):
            if size != info.file_size:
                _refuse(f"{info.filename!r} has {info.file_size} bytes; {size} are recorded")
        case _:
            _refuse(f"the record of {info.filename!r} is {record!r}, not its sha256 and size")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refuse(reason: str) -> NoReturn:
    """Says what is wrong; `_guard` adds where, and what to do."""
    raise ValueError(reason)


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON number")


def _foreign(path: Path, found: str) -> ArchiveError:
    return ArchiveError(
        f"{path}: not an agent archive of slc_agents ({found}). Give a file that an agent's save() or a training run "
        "has written"
    )


@contextlib.contextmanager
def _guard(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a parser raises on hostile bytes into this package's error."""
    try:
        yield
    except ArchiveError:
        raise
    except _PARSE_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise ArchiveError(
            f"{path}: {what} ({reason}). The file is damaged or not an agent archive; use another copy of it, or save "
            "the agent again"
        ) from error


def _find(path: Path) -> Path:
    with_suffix = path.with_name(path.name + ".zip") if path.name else path
    for candidate in (path, with_suffix):
        if candidate.is_file():
            return candidate
    if path.exists():
        raise ArchiveError(f"{path}: not a file. Give the path of an agent's .zip file")
    raise FileNotFoundError(f"there is no agent archive {path}, nor {with_suffix}; check the path")


def _sync_folder(folder: Path) -> None:
    """Makes a renaming survive a power failure, where the system lets folders be synchronised."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
