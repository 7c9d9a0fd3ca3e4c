"""Ctrl-C, in two steps: the first ends training at the end of a vector step, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt"]


class Interrupt:
    """Turns the first Ctrl-C into a flag while it is entered; a second one raises `KeyboardInterrupt` as usual.

    Python delivers signals to the main thread only, so elsewhere it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._held = self._postponed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        self.requested = self._postponed = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            # A program that ignores or handles Ctrl-C in its own way goes on doing so.
            if self._previous is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread() and self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested = True
        elif self._held:
            self._postponed = True
        else:
            raise KeyboardInterrupt

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Makes the second Ctrl-C wait for what would be left half done; keep that short."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._postponed:
            self._postponed = False
            raise KeyboardInterrupt
