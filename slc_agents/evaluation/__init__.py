"""Evaluating policies: how good they are, how robust, and how their Lyapunov functions move along closed loops.

    from slc_agents.evaluation import evaluate_policy, evaluate_robustness, measure_stability

Importing this costs no backend; agents are imported when one is loaded, matplotlib when something is drawn.
"""

from __future__ import annotations

from slc_agents.evaluation.family import DisturbanceFamily, named_disturbance
from slc_agents.evaluation.robustness import Outcome, RobustnessResult, evaluate_robustness
from slc_agents.evaluation.stability import Phase, StabilityResult, measure_stability
from slc_agents.training.evaluation import Predictor, evaluate_policy

__all__ = [
    "DisturbanceFamily",
    "Outcome",
    "Phase",
    "Predictor",
    "RobustnessResult",
    "StabilityResult",
    "evaluate_policy",
    "evaluate_robustness",
    "measure_stability",
    "named_disturbance",
]
