"""A bar for files that take a while to write or read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

__all__ = ["show_progress"]


@contextmanager
def show_progress(title: str, total: int, *, visible: bool) -> Iterator[Callable[[int], object] | None]:
    """Shows how many of `total` bytes are done; what it gives is to be called with the bytes of each piece.

    Args:
        title: What is being done.
        total: Bytes in all.
        visible: Whether to show anything; otherwise it gives None.
    """
    if not visible:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)
