"""Logging: one row of numbers per epoch, and pictures beside it, to as many sinks as wanted.

An agent and its callbacks call `Logger.record` and `Logger.record_mean` as often as they like; once per epoch the agent
calls `Logger.dump`, which hands one row to every sink (`progress.csv`, the console, TensorBoard, Weights & Biases).
Keys are Stable-Baselines3's, such as `rollout/ep_rew_mean`: the part before the slash is the group.
`Logger.record_histogram` and `Logger.record_figure` take what no cell can hold; it goes out with the next row, to the
sinks that can show it (TensorBoard, Weights & Biases).

`progress.csv` is the record that a resumed run continues exactly (it is cut back to the checkpoint's row), and what
`read_progress` reads for plots. TensorBoard and Weights & Biases only ever receive rows.
This package knows nothing of agents and of tensors; values are turned into plain Python numbers and NumPy's arrays on
entry.
"""

from __future__ import annotations

from slc_agents.logger.console_sink import ConsoleSink
from slc_agents.logger.csv_sink import PROGRESS_FILE, CsvSink, read_progress
from slc_agents.logger.factory import LOGGER_KEYS, make_logger, validate_logger_kwargs
from slc_agents.logger.logger import Logger
from slc_agents.logger.sink import Sink, Value
from slc_agents.logger.tensorboard_sink import TensorBoardSink
from slc_agents.logger.wandb_sink import WandbSink

__all__ = [
    "LOGGER_KEYS",
    "PROGRESS_FILE",
    "ConsoleSink",
    "CsvSink",
    "Logger",
    "Sink",
    "TensorBoardSink",
    "Value",
    "WandbSink",
    "make_logger",
    "read_progress",
    "validate_logger_kwargs",
]
