"""Evaluating policies: see `evaluate_policy`."""

from __future__ import annotations

from slc_agents.training.evaluation import Predictor, evaluate_policy

__all__ = ["Predictor", "evaluate_policy"]
