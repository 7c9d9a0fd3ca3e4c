"""Weights & Biases as a sink."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import require
from slc_agents.logger.media import Image, bin_values
from slc_agents.logger.sink import Value

__all__ = ["DEFAULT_PROJECT", "WandbSink"]

DEFAULT_PROJECT = "slc_agents"


class WandbSink:
    """Sends rows to Weights & Biases.

    A run that the user has started (`wandb.init`) is used and left open; otherwise the first row starts one.
    The environment variable `WANDB_MODE` (`online`, `offline`, `disabled`) is honoured.

    Args:
        project: Name of the project.
        output_dir: Folder under which W&B keeps its files; None for W&B's default.

    Raises:
        MissingDependencyError: If wandb is not installed.
    """

    STEP_KEY = "global_step"

    def __init__(self, project: str = DEFAULT_PROJECT, output_dir: Path | str | None = None) -> None:
        self.project = project
        self.output_dir = None if output_dir is None else Path(output_dir)
        self._module = require("wandb", "wandb", "the log sink 'wandb'")
        self._run: Any = None
        self._own_run = False
        self._run_id: str | None = None

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Logs a row, with `step` as the key `global_step`, which is the default horizontal axis."""
        self._log(row, step)

    def write_histogram(self, key: str, values: NDArray[np.float64], step: int) -> None:
        """Logs a histogram of 64 bins."""
        counts, edges = bin_values(values)
        self._log({key: self._module.Histogram(np_histogram=(counts.tolist(), edges.tolist()))}, step)

    def write_figure(self, key: str, image: Image, step: int) -> None:
        """Logs a picture.

        Raises:
            MissingDependencyError: If pillow, which matplotlib brings, is not installed.
        """
        require("PIL.Image", "plot", "a figure in W&B")
        self._log({key: self._module.Image(image)}, step)

    def write_hyperparameters(self, hyperparameters: Mapping[str, Value]) -> None:
        """Stores hyperparameters in the run's config; what the user has put there stays."""
        if self._run is None:
            self._open()
        if self._own_run:
            self._run.config.update(dict(hyperparameters), allow_val_change=True)
        else:
            self._run.config.setdefaults(dict(hyperparameters))

    def close(self) -> None:
        """Finishes the run if the sink started it; a later row continues the same run."""
        if self._run is not None and self._own_run:
            self._run.finish()
        self._run = None

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        if self._run is None:
            self._open()
        # Not as log(step=...): W&B drops rows whose step is less than the last one's, as when `learn` starts over.
        self._run.log({**values, self.STEP_KEY: step})

    def _open(self) -> None:
        self._own_run = self._module.run is None
        if self._own_run:
            if self.output_dir is not None:
                # W&B silently falls back to a temporary folder if this one is not there.
                self.output_dir.mkdir(parents=True, exist_ok=True)
            self._run = self._module.init(
                project=self.project,
                dir=None if self.output_dir is None else str(self.output_dir),
                id=self._run_id,
                resume=None if self._run_id is None else "allow",
                # Two agents in one process get a run each, instead of both writing to the first.
                reinit="create_new",
            )
            self._run_id = self._run.id
        else:
            self._run = self._module.run
        self._run.define_metric(self.STEP_KEY)
        self._run.define_metric("*", step_metric=self.STEP_KEY)
