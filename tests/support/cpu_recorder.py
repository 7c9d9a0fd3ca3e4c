"""A stand-in for a CUDA graph on the CPU: it holds fast operations with the very tensors that they had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# What makes Python, or the shape of a result, wait for values: none of it can be a part of a CUDA graph.
aten = torch.ops.aten
WAITING = {
    *(aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.is_nonzero.default),
    *(aten.equal.default, aten.lift_fresh.default, aten.index.Tensor, aten.index_put_.default),
}


class CpuRecorder:
    """Records like `CudaRecorder`: what is replayed is operations on fixed memory, and no Python.

    Attributes:
        n_warm_up: Times that `warm_up` was called.
        n_recorded: Times that `record` was called.
    """

    def __init__(self) -> None:
        self.n_warm_up = self.n_recorded = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        self.n_warm_up += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records work; in doing so it does it, which a CUDA graph doesn't."""
        self.n_recorded += 1
        mode = _Recording()
        with mode:
            work()
        return mode.replay

    def wait(self) -> None:
        pass


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITING:
            raise RuntimeError(f"{func} is not permitted while recording")
        output = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, output))
        return output

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, output in self.calls:
            again = func(*args, **kwargs)
            for ours, theirs in zip(_tensors(output), _tensors(again), strict=True):
                if ours.untyped_storage().data_ptr() != theirs.untyped_storage().data_ptr():
                    ours.copy_(theirs)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
