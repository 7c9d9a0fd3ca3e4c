"""The one place where devices are named."""

from __future__ import annotations

import re

import tensorflow as tf

__all__ = ["resolve_device"]


def resolve_device(device: str) -> str:
    """Finds a device by its name, and returns TensorFlow's own: `CPU:0`, `GPU:1`.

    Args:
        device: `cpu`; `gpu` or `cuda`, with `:N` for one of several; `auto`, the best that is there.

    Raises:
        ValueError: If the name is none of these, or the device is not there.
    """
    count = len(tf.config.list_physical_devices("GPU"))
    if device == "auto":
        device = "gpu" if count else "cpu"
    if device == "cpu":
        return "CPU:0"
    match = re.fullmatch(r"(?:gpu|cuda)(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device={device!r}: allowed with TensorFlow are cpu, gpu, gpu:N, cuda, cuda:N and auto")
    index = int(match[1] or 0)
    if index >= count:
        raise ValueError(
            f"device={device!r}: TensorFlow {tf.__version__} sees {count} GPU(s) on this machine; use 'cpu', or 'auto' "
            "for the best that is there"
        )
    return f"GPU:{index}"
