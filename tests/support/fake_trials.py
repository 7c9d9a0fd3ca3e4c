"""Trials without training, so that a search takes no time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from slc_agents.tuning.training import Outcome, TrialPlan

__all__ = ["TINY", "FakeTraining"]

# Settings whose agents are made in milliseconds, and of which nothing is searched.
TINY = {"policy_kwargs": {"hidden_sizes": [4]}, "timesteps": 100, "evaluations": 4}


class FakeTraining:
    """Stands for training: a trial's value is how near its lr_a is to 1e-3, in orders of magnitude; 0 is the best.

    Attributes:
        plans: Those of all trials.
        ends: What happens to a trial, by the number of its call, instead of its end.
        evaluations: What is reported for a plan; None: its value, each time.
    """

    def __init__(self) -> None:
        self.plans: list[TrialPlan] = []
        self.ends: dict[int, Outcome | BaseException] = {}
        self.evaluations: Callable[[TrialPlan], list[float]] | None = None

    @staticmethod
    def value(plan: TrialPlan) -> float:
        sign = 1 if plan.settings.get("opt_type") == "minimize" else -1
        return sign * abs(math.log10(plan.settings.get("lr_a", 1e-4)) + 3)

    def __call__(self, plan: TrialPlan, report: Any, interrupted: Any = lambda: False) -> Outcome:
        end = self.ends.get(len(self.plans))
        self.plans.append(plan)
        if isinstance(end, BaseException):
            raise end
        if end is not None:
            return end
        values = self.evaluations(plan) if self.evaluations else [self.value(plan)] * plan.evaluations
        for number, value in enumerate(values, start=1):
            if not report(number, value):
                return Outcome("stopped", reason="not promising")
        return Outcome("complete", values[-1])
