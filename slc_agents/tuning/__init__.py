"""Searching for hyperparameters, with Optuna (the extra `tune`).

    from slc_agents.tuning import Tuner

    result = Tuner("sac", "Pendulum-v1", timesteps=20_000, seed=0).run(trials=50, out="pendulum.yaml")
    model = SAC("MlpPolicy", "Pendulum-v1", result.config).learn()

Importing this costs neither a backend nor Optuna.
"""

from __future__ import annotations

from slc_agents.tuning.results import TuningResult
from slc_agents.tuning.space import SearchSpace
from slc_agents.tuning.task import Task
from slc_agents.tuning.tuner import Tuner
from slc_agents.tuning.workers import WorkerError

__all__ = ["SearchSpace", "Task", "Tuner", "TuningResult", "WorkerError"]
