"""The TensorFlow backend: the same agents, whose networks and gradient steps are TensorFlow's.

>>> from slc_agents.tf2 import SAC
>>> model = SAC("MlpPolicy", "Pendulum-v1").learn(20_000)

It mirrors `slc_agents.pytorch` file by file, and needs the extra `tf2`. TensorFlow is imported when an agent is made.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slc_agents.agents.tf2 import LAC, SAC

__all__ = ["LAC", "SAC"]

# What TensorFlow tells the terminal of its build while it is imported is no news; warnings and errors are. That it uses
# oneDNN, it says in any case.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# How many threads compute is said for all backends in one way; TensorFlow would take all processors.
if "OMP_NUM_THREADS" in os.environ:
    for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_name, os.environ["OMP_NUM_THREADS"])


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("slc_agents.agents.tf2"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
