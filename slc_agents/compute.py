"""What a user may say of how gradient steps are computed, and how several processes share the processors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from slc_agents.errors import ConfigError, check_flag, check_whole_number, reject_unknown_keywords

__all__ = ["ComputeOptions", "MatmulPath", "Precision", "cpu_count", "threads_each"]

Precision = Literal["float32", "bfloat16"]
MatmulPath = Literal["default", "onednn"]


@dataclass(frozen=True)
class ComputeOptions:
    """How gradient steps are computed. None leaves a choice to the learner, which makes the same one every time.

    Attributes:
        precision: Type of the matrix products between hidden layers; parameters and all else are float32.
        num_threads: Threads of a gradient step on the CPU.
        matmul: Who multiplies float32 matrices on the CPU: torch's default, or oneDNN.
        fused: Whether the usual networks run as single nodes of autograd with derivatives written by hand.
        graphs: Whether gradient steps are recorded and replayed as a whole, where the policy allows it: on the CPU as
            TorchScript, on a CUDA device as CUDA graphs. By itself, that is done on a CUDA device, and on the CPU where
            all networks are fused.
        replay_on_device: Whether the device has a copy of the replay buffer, to gather minibatches there. By itself, a
            CUDA device has where the copy takes no more than half of its memory.

    Raises:
        ConfigError: If a value is not allowed.
    """

    precision: Precision = "float32"
    num_threads: int | None = None
    matmul: MatmulPath | None = None
    fused: bool = True
    graphs: bool | None = None
    replay_on_device: bool | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("precision", get_args(Precision)), ("matmul", (None, *get_args(MatmulPath)))):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"compute_kwargs: {name}={value!r}; allowed are {', '.join(map(repr, allowed))}")
        try:
            if self.num_threads is not None:
                object.__setattr__(self, "num_threads", check_whole_number("num_threads", self.num_threads))
            object.__setattr__(self, "fused", check_flag("fused", self.fused))
            for name in ("graphs", "replay_on_device"):
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, check_flag(name, getattr(self, name)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"compute_kwargs: {error}") from None
        if self.precision != "float32" and not self.fused:
            raise ConfigError(
                f"compute_kwargs: precision={self.precision!r} with fused=False: only fused networks compute in it"
            )

    @classmethod
    def parse(cls, kwargs: Mapping[str, Any]) -> Self:
        """Makes options of an agent's `compute_kwargs`.

        Raises:
            ConfigError: If a value is not allowed.
            TypeError: If a key is unknown; the message names the nearest valid one.
        """
        reject_unknown_keywords(kwargs, [field.name for field in fields(cls)], "compute_kwargs", _ELSEWHERE)
        return cls(**kwargs)


_ELSEWHERE = {
    "threads": "here it is num_threads",
    "cuda_graphs": "here it is graphs",
    "dtype": "here it is precision, 'float32' or 'bfloat16'",
    "device": "it is a keyword of the agent itself",
    "batch_size": "it is a keyword of the agent itself",
}


def cpu_count() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_each(compute_kwargs: Mapping[str, Any], n_processes: int) -> str:
    """Returns OMP_NUM_THREADS of each of several processes that compute at once.

    It is what the environment or the settings say, else a share of the processors.

    Args:
        compute_kwargs: The agent's.
        n_processes: How many processes compute at once.
    """
    chosen = os.environ.get("OMP_NUM_THREADS") or compute_kwargs.get("num_threads")
    return str(chosen or max(1, cpu_count() // n_processes))
