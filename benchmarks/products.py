"""How long do the matrix products of a gradient step take, by each way that they may be computed?

    python -m benchmarks.products

The ways are timed in turn, round after round; what counts are the ratios to torch's default within a round. The last
column is the largest error of an entry, as a part of the largest entry.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch

from benchmarks.harness import machine
from slc_agents.pytorch.accelerate import ComputePlan

SHAPES = {"two critics' hidden layer": (2, 256, 256, 256), "two critics' first layer": (2, 256, 23, 256)}
WAYS: dict[str, tuple[Literal["default", "onednn"], torch.dtype]] = {
    "float32, torch's default": ("default", torch.float32),
    "float32, oneDNN": ("onednn", torch.float32),
    "bfloat16": ("default", torch.bfloat16),
}


@contextmanager
def way(matmul: Literal["default", "onednn"], threads: int) -> Iterator[None]:
    """Computes as a learner would by this choice."""
    with ComputePlan(torch.device("cpu"), "float32", "fused", threads, matmul).in_force():
        yield


def seconds(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, n: int) -> float:
    """Returns what one of `n` products takes."""
    start = time.perf_counter()
    for _ in range(n):
        torch.bmm(a, b, out=out)
    return (time.perf_counter() - start) / n


def main() -> None:
    """Prints a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--products", type=int, default=100, help="in a round (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    for name, (n, rows, inputs, outputs) in SHAPES.items():
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(n, *shape, generator=generator) for shape in ((rows, inputs), (inputs, outputs)))
        exact = torch.bmm(a.double(), b.double())
        times, errors = np.zeros((options.rounds + 1, len(WAYS))), []
        for r in range(options.rounds + 1):  # the first one warms up
            for i, (matmul, dtype) in enumerate(WAYS.values()):
                x, y, out = a.to(dtype), b.to(dtype), torch.empty(n, rows, outputs, dtype=dtype)
                with way(matmul, options.threads):
                    times[r, i] = seconds(x, y, out, options.products)
                if r == 0:
                    errors.append(float((out - exact).abs().max() / exact.abs().max()))
        ratios = times[1:, :1] / times[1:]
        print(f"\n{name}: {n} x [{rows}, {inputs}] x [{inputs}, {outputs}], {options.threads} thread(s)")
        for i, label in enumerate(WAYS):
            spread = f"{np.median(ratios[:, i]):.2f} ({ratios[:, i].min():.2f} to {ratios[:, i].max():.2f})"
            print(f"{label:25} {1e6 * np.median(times[1:, i]):7.1f} µs   {spread:22} {errors[i]:.1e}")


if __name__ == "__main__":
    main()
