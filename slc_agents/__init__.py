"""Off-policy actor-critic agents for learning control.

>>> from slc_agents import SAC
>>> model = SAC("MlpPolicy", "Pendulum-v1").learn(20_000)

Importing the package registers the control tasks `slc/...` with gymnasium.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slc_agents.registration import register_control_tasks

if TYPE_CHECKING:
    from slc_agents.agents.config import LACConfig, SACConfig
    from slc_agents.agents.lac import LAC
    from slc_agents.agents.loading import load
    from slc_agents.agents.sac import SAC

__all__ = ["LAC", "SAC", "LACConfig", "SACConfig", "load"]

# Imported when first used: nobody who wants an environment or a schedule should wait for a backend.
_HOMES = {
    "LAC": "slc_agents.agents.lac",
    "LACConfig": "slc_agents.agents.config",
    "SAC": "slc_agents.agents.sac",
    "SACConfig": "slc_agents.agents.config",
    "load": "slc_agents.agents.loading",
}

register_control_tasks()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("slc-agents")
        except PackageNotFoundError:  # a checkout that isn't installed
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
