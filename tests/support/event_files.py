"""Reads TensorBoard's event files back, with nothing but the package that wrote them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def read_summaries(folder: Path) -> Iterator[tuple[int, Any]]:
    """Yields the step and the value of each summary in a folder's event files."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        content, position = path.read_bytes(), 0
        while position < len(content):  # records: length, its checksum, data, their checksum
            (length,) = struct.unpack_from("<Q", content, position)
            event = Event.FromString(content[position + 12 : position + 12 + length])
            position += 12 + length + 4
            for value in event.summary.value:
                yield event.step, value


def read_histograms(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """The histograms of each key, with their steps."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for step, value in read_summaries(folder):
        if value.HasField("histo"):
            found.setdefault(value.tag, []).append((step, value.histo))
    return found


def read_images(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """The pictures [height, width, 3] of each key, with their steps."""
    from PIL import Image

    found: dict[str, list[tuple[int, Any]]] = {}
    for step, value in read_summaries(folder):
        if value.HasField("image"):
            with Image.open(io.BytesIO(value.image.encoded_image_string)) as image:
                found.setdefault(value.tag, []).append((step, np.array(image)))
    return found
