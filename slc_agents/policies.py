"""Policies: the networks of an agent. They live with their backend, which is imported when one is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slc_agents.pytorch.policies import (
        CnnEncoder,
        CnnPolicy,
        CriticEnsemble,
        GSDEPolicy,
        LyapunovEnsemble,
        MlpPolicy,
        MultiInputEncoder,
        MultiInputPolicy,
        SquashedGaussianActor,
        StateDependentNoiseActor,
    )

__all__ = [
    "CnnEncoder",
    "CnnPolicy",
    "CriticEnsemble",
    "GSDEPolicy",
    "LyapunovEnsemble",
    "MlpPolicy",
    "MultiInputEncoder",
    "MultiInputPolicy",
    "SquashedGaussianActor",
    "StateDependentNoiseActor",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("slc_agents.pytorch.policies"), name)
