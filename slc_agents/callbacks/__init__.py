"""Callbacks: the user's code inside training."""

from __future__ import annotations

from slc_agents.callbacks.base import (
    Callback,
    CallbackLike,
    CallbackList,
    EveryNTimesteps,
    FunctionCallback,
    make_callback,
)
from slc_agents.callbacks.evaluation import (
    EvalCallback,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from slc_agents.callbacks.foreign import ForeignCallback
from slc_agents.callbacks.histograms import HistogramCallback
from slc_agents.callbacks.progress import ProgressBarCallback
from slc_agents.callbacks.saving import CheckpointCallback, ExportCallback
from slc_agents.callbacks.stopping import StopTrainingOnMaxEpisodes
from slc_agents.callbacks.video import VideoCallback

__all__ = [
    "Callback",
    "CallbackLike",
    "CallbackList",
    "CheckpointCallback",
    "EvalCallback",
    "EveryNTimesteps",
    "ExportCallback",
    "ForeignCallback",
    "FunctionCallback",
    "HistogramCallback",
    "ProgressBarCallback",
    "StopTrainingOnMaxEpisodes",
    "StopTrainingOnNoModelImprovement",
    "StopTrainingOnRewardThreshold",
    "VideoCallback",
    "make_callback",
]
