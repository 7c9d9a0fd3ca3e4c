"""TensorBoard as a sink."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slc_agents.errors import require
from slc_agents.logger.media import Image, bin_values
from slc_agents.logger.sink import Value

__all__ = ["TensorBoardSink"]

_event_files = itertools.count()  # numbers the event files of this process


class TensorBoardSink:
    """Writes rows as TensorBoard event files: numbers as scalars, texts as texts.

    Args:
        log_dir: Folder of the event files.

    Raises:
        MissingDependencyError: If tensorboardX is not installed.
    """

    FLUSH_SECONDS = 1
    RESULTS = ("eval/mean_reward", "rollout/ep_rew_mean")  # what stands beside hyperparameters

    def __init__(self, log_dir: Path | str) -> None:
        self.log_dir = Path(log_dir)
        self._module = require("tensorboardX", "tensorboard", "the log sink 'tensorboard'")
        self._writer: Any = None

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Stores a row, at `step` on the horizontal axis."""
        writer = self._open()
        for key, value in row.items():
            if isinstance(value, str):
                writer.add_text(key, value, step)
            else:
                writer.add_scalar(key, value, step)

    def write_hyperparameters(self, hyperparameters: Mapping[str, Value]) -> None:
        """Stores hyperparameters, for the tab HPARAMS, beside the returns that they led to."""
        writer = self._open()
        # The writer's own add_hparams makes another run of it, which would know nothing of this one's rows. The third
        # record says that the run has ended, which it hasn't.
        records = self._module.summary.hparams(dict(hyperparameters), dict.fromkeys(self.RESULTS))
        for summary in records[:2]:
            writer.file_writer.add_summary(summary)

    def write_histogram(self, key: str, values: NDArray[np.float64], step: int) -> None:
        """Stores a histogram, at `step` on its time axis."""
        counts, edges = bin_values(values)
        with np.errstate(over="ignore", invalid="ignore"):
            total, squares = float(values.sum()), float(values @ values)
        # Of each bin TensorBoard knows the right edge; an empty one to the left tells it where the first begins. The
        # bins are made here because the writer's own reach to 1e20 and no further.
        self._open().add_histogram_raw(
            key,
            min=float(values.min()),
            max=float(values.max()),
            num=len(values),
            sum=total,
            sum_squares=squares,
            bucket_limits=edges.tolist(),
            bucket_counts=[0, *counts.tolist()],
            global_step=step,
        )

    def write_figure(self, key: str, image: Image, step: int) -> None:
        """Stores a picture, for the tab IMAGES.

        Raises:
            MissingDependencyError: If pillow, which matplotlib brings, is not installed.
        """
        require("PIL.Image", "plot", "a figure in TensorBoard")
        self._open().add_image(key, image, step, dataformats="HWC")

    def _open(self) -> Any:
        if self._writer is None:
            # Event files are named by the second, and an equal name would overwrite what another writer has stored.
            suffix = f".{os.getpid()}.{next(_event_files)}"
            # Rows wait in tensorboardX's queue, so its flush() would miss them; its thread flushes at this interval.
            self._writer = self._module.SummaryWriter(
                logdir=str(self.log_dir), filename_suffix=suffix, flush_secs=self.FLUSH_SECONDS
            )
        return self._writer

    def close(self) -> None:
        """Closes the event file; a later row starts another one in the same folder."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
