"""Reading what `torch.save` wrote, without running code from it."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from typing import Any

import torch
from torch import Tensor

from slc_agents.errors import ArchiveError, MissingDependencyError

__all__ = ["read_pth"]

# Before it, torch.load(weights_only=True) could be made to run code (CVE-2025-32434) or to corrupt memory
# (CVE-2026-24747).
SAFE_VERSION = (2, 10)
# What torch raises on bytes that it can't read, or refuses because code would run.
_PARSE_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_pth(content: bytes, name: str) -> Any:
    """Reads a file of tensors in dicts and lists.

    Args:
        content: The file's bytes.
        name: What to call it in errors.

    Returns:
        Its dicts and lists, with float32, integer or bool numpy arrays for tensors, and plain values.

    Raises:
        ArchiveError: If it is damaged, or holds anything else, such as what would have to run code.
        MissingDependencyError: If torch is too old to read files of strangers safely.
    """
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < SAFE_VERSION:
        raise MissingDependencyError(
            f"{name}: reading it safely needs torch >= {'.'.join(map(str, SAFE_VERSION))}, older versions can be made "
            f"to run code from such a file; torch {torch.__version__} is installed"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles that torch didn't write, which it then refuses
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return _plain(loaded)
    except _PARSE_ERRORS as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ArchiveError(f"{name}: damaged, or it holds more than tensors and plain values ({reason})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        tensor = value.detach()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"a tensor claims the shape {list(tensor.shape)}, for which it has too few numbers")
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy().copy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__}")
