"""What a sink is: somewhere that rows of the log go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

__all__ = ["Sink", "Value"]

Value: TypeAlias = float | int | str
"""What a cell of a row may hold."""


class Sink(Protocol):
    """Somewhere that rows go to.

    A sink opens what it needs at its first `write`, not when it is made, and may be written to again after `close`.
    It may have more methods, which are called where they are there:

    - `write_hyperparameters(hyperparameters)`, when training starts, with a flat mapping;
    - `write_note(text)`, when there is something to tell, with a line of text;
    - `write_histogram(key, values, step)`, after a row, with finite numbers, float64 [n], n >= 1;
    - `write_figure(key, image, step)`, after a row, with red, green and blue, uint8 [height, width, 3].
    """

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Stores one row.

        Args:
            row: Values by key; keys may be missing, or new, from one row to the next.
            step: Number of environment steps so far.
        """

    def close(self) -> None:
        """Flushes and frees what is open."""
