"""The one place where devices are named."""

from __future__ import annotations

import re

import torch

__all__ = ["resolve_device"]


def resolve_device(device: str) -> torch.device:
    """Finds a device by its name.

    Args:
        device: `cpu`; `gpu` or `cuda`, with `:N` for one of several; `mps`; `auto`, the best that is there.

    Raises:
        ValueError: If the name is none of these, or the device is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if device == "mps":
        if torch.backends.mps.is_available():
            return torch.device("mps")
        raise ValueError("device='mps': this machine has no Metal device; use 'cpu' or 'auto'")
    match = re.fullmatch(r"(?:gpu|cuda)(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device={device!r}: allowed are cpu, gpu, gpu:N, cuda, cuda:N, mps and auto")
    index, count = int(match[1] or 0), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise ValueError(
            f"device={device!r}: torch {torch.__version__} sees {count} CUDA device(s) on this machine; "
            "use 'cpu', or 'auto' for the best that is there"
        )
    return torch.device("cuda", index)
