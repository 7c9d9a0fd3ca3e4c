"""Sinks of a user's own, which keep what they receive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slc_agents.logger import Value


class RowSink:
    """One that knows rows alone."""

    def __init__(self) -> None:
        self.received: list[Any] = []  # in order

    def write(self, row: Mapping[str, Value], step: int) -> None:
        self.received.append((dict(row), step))

    def close(self) -> None: ...


class MediaSink(RowSink):
    """One that shows everything."""

    def __init__(self) -> None:
        super().__init__()
        self.histograms: dict[str, Any] = {}  # the last values and step of each
        self.figures: dict[str, Any] = {}

    def write_histogram(self, key: str, values: Any, step: int) -> None:
        self.received.append((key, values.tolist(), step))
        self.histograms[key] = (values, step)

    def write_figure(self, key: str, image: Any, step: int) -> None:
        self.received.append((key, image, step))
        self.figures[key] = (image, step)
