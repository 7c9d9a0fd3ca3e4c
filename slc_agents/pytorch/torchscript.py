"""TorchScript, which torch has announced the end of."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

__all__ = ["without_end_of_jit"]


@contextlib.contextmanager
def without_end_of_jit() -> Iterator[None]:
    """Keeps from the user that announcement: it is still what runs without Python and without a compiler at hand."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield
