"""Searching for hyperparameters, with Optuna (the extra `tune`).

    from slc_agents.tuning import Tuner

    result = Tuner("sac", "Pendulum-v1", timesteps=20_000, seed=0).run(trials=50, out="pendulum.yaml")
    model = SAC("MlpPolicy", "Pendulum-v1", result.config).learn()

Importing this costs neither a backend nor Optuna.
"""

from __future__ import annotations

from slc_agents.tuning.results import TuningResult
from slc_agents.tuning.space import Choices, Parameter, Range, SearchSpace
from slc_agents.tuning.tuner import Tuner
from slc_agents.tuning.workers import WorkerError

__all__ = ["Choices", "Parameter", "Range", "SearchSpace", "Tuner", "TuningResult", "WorkerError"]
