"""How gradient steps are computed on the processor at hand, chosen by what it is and by the size of the problem.

The choice depends on nothing else, least of all on a timing, so that equal runs stay equal. What torch lets one choose
for the whole process only is in force while a block of gradient steps runs; after it all is as it was.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from slc_agents.compute import ComputeOptions, MatmulPath, Precision

__all__ = ["ComputePlan", "Networks", "choose_plan", "is_known", "onednn_is_faster"]

Networks: TypeAlias = Literal["fused", "partly fused", "ordinary"]

# Multiply-adds of a matrix product that occupy a thread: fewer cost more in waiting for each other than they save.
WORK_PER_THREAD = 2_000_000


@dataclass(frozen=True)
class ComputePlan:
    """How a learner computes its gradient steps.

    Attributes:
        device: Where.
        precision: Type of the matrix products between hidden layers.
        networks: Whether networks are single nodes of autograd: those that are known, some of them, or none.
        num_threads: Threads on the CPU, at most; and no more than torch has been given.
        matmul: Who multiplies float32 matrices on the CPU.
        graphed: Whether each gradient step is the replay of a recorded one.
        widened: Whether products of bfloat16 are computed in float32 and rounded, for want of instructions.
    """

    device: torch.device
    precision: Precision
    networks: Networks
    num_threads: int
    matmul: MatmulPath
    graphed: bool = False
    widened: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Torch's name of the precision."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def __str__(self) -> str:
        networks = f"{self.networks} networks"
        if self.device.type != "cpu":
            graphs = ", whole steps as CUDA graphs" * self.graphed
            return f"gradient steps on {self.device}: {self.precision}, {networks}{graphs}"
        multiplier = "oneDNN's matrix products" if self.matmul == "onednn" else "torch's default matrix products"
        count = min(self.num_threads, torch.get_num_threads())
        threads = f"{count} thread{'s' * (count != 1)}"
        recorded = ", whole steps recorded" * self.graphed
        precision = f"{self.precision} by way of float32" if self.widened else self.precision
        return f"gradient steps on the CPU: {precision}, {threads}, {multiplier}, {networks}{recorded}"

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Computes by this plan inside the context; afterwards torch is as it was."""
        if self.device.type != "cpu":
            yield
            return
        threads = torch.get_num_threads()
        try:
            if threads > self.num_threads:
                torch.set_num_threads(self.num_threads)
            with _ONEDNN if self.matmul == "onednn" else nullcontext():
                yield
        finally:
            if threads > self.num_threads:
                torch.set_num_threads(threads)


class _OneDNN:
    """While anyone is inside, oneDNN multiplies float32 matrices; several may be, each in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = "none"

    def __enter__(self) -> None:
        matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        with self._lock:
            if self._inside == 0:
                inherited = torch.backends.mkldnn.fp32_precision
                self._before = "none" if matmul.fp32_precision == inherited else matmul.fp32_precision
                # The name says what processors with matrix units would do; those that `choose_plan` takes have none,
                # and compute in full float32. `onednn_is_faster` makes sure.
                matmul.fp32_precision = "bf16"
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.backends.mkldnn.matmul.fp32_precision = self._before  # type: ignore[attr-defined]


_ONEDNN = _OneDNN()


def choose_plan(policy: nn.Module, device: torch.device, batch_size: int, options: ComputeOptions) -> ComputePlan:
    """Chooses how to compute: a pure function of the processor and the problem's size.

    Args:
        policy: The networks.
        device: Where they live.
        batch_size: Transitions in a minibatch.
        options: What the user has said.
    """
    threads = options.num_threads or max(1, _largest_product(policy, batch_size) // WORK_PER_THREAD)
    matmul = options.matmul or ("onednn" if device.type == "cpu" and onednn_is_faster() else "default")
    if matmul == "onednn" and not _onednn_is_exact():
        matmul = "default"
        if device.type == "cpu":
            warnings.warn(
                "compute_kwargs: matmul='onednn': this torch doesn't have it, or on this processor it computes in less "
                "than float32; torch's default is taken",
                stacklevel=2,
            )
    widened = options.precision == "bfloat16" and device.type == "cpu" and not _has_bfloat16()
    if widened:
        warnings.warn(
            "compute_kwargs: precision='bfloat16': this processor has no instructions for it. Products are computed in "
            "float32 and rounded, which gives the same numbers but is slower than float32",
            stacklevel=2,
        )
    networks: Networks = "fused" if options.fused and device.type in ("cpu", "cuda") else "ordinary"
    graphed = options.graphs is not False and device.type in ("cpu", "cuda") and all(map(is_known, policy.modules()))
    return ComputePlan(device, options.precision, networks, threads, matmul, graphed, widened)


def is_known(module: nn.Module) -> bool:
    """Whether a module, apart from its parts, is known to do the same operations each time it is called.

    A user's own may look at values, or draw random numbers, and so may a method of a user's own on a known module;
    torch's dropout does that, and its batch normalisation changes statistics.
    """
    cls = type(module)
    if any(callable(value) and hasattr(cls, name) for name, value in vars(module).items()):
        return False
    is_torch_s = cls.__module__ in _KNOWN_MODULES and cls not in _RANDOM_CLASSES
    return is_torch_s or cls.__module__.startswith("slc_agents.")


_KNOWN_MODULES = {
    f"torch.nn.modules.{name}" for name in ("activation", "container", "conv", "flatten", "linear", "normalization")
}
_RANDOM_CLASSES = {nn.RReLU, nn.MultiheadAttention}


def _largest_product(policy: nn.Module, batch_size: int) -> int:
    """Returns the multiply-adds of a minibatch's way through the largest weight; convolutions have many for each."""
    if any(isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for module in policy.modules()):
        return sys.maxsize
    return batch_size * max((parameter.numel() for parameter in policy.parameters()), default=0)


def _capabilities() -> dict[str, Any]:
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def _has_bfloat16() -> bool:
    about = _capabilities()
    return about.get("architecture") != "x86_64" or bool(about.get("avx512_bf16") or about.get("amx_bf16"))


@lru_cache(maxsize=1)
def onednn_is_faster() -> bool:
    """Whether oneDNN is the better one here: on AMD processors with AVX-512, where torch's default takes AVX2 code."""
    about = _capabilities()
    is_amd = "AMD" in str(about.get("cpu_name", ""))
    return is_amd and bool(about.get("avx512_f")) and not about.get("amx_tile") and _onednn_is_exact()


@lru_cache(maxsize=1)
def _onednn_is_exact() -> bool:
    """Whether its products are there, and as exact as float32 ones."""
    if not torch.backends.mkldnn.is_available() or not hasattr(  # type: ignore[no-untyped-call]
        torch.backends.mkldnn, "matmul"
    ):
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(128, 128, generator=generator) for _ in range(2))
    with _ONEDNN:
        product = a @ b
    return bool((product.double() - a.double() @ b.double()).abs().max() < 1e-4)
