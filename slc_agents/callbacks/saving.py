"""Writing the agent to disk while it trains."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from slc_agents.callbacks.base import Callback
from slc_agents.errors import check_flag, check_number, check_path, check_whole_number

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent

__all__ = ["AGENT_FILE", "CONFIG_FILE", "EXPORT_FILE", "CheckpointCallback", "ExportCallback", "RunFolderCallback"]

# What a run folder's files are called.
AGENT_FILE = "agent.zip"
CONFIG_FILE = "config.yaml"
EXPORT_FILE = "policy"  # with the suffix of the first of the agent's formats


class CheckpointCallback(Callback):
    """Saves the agent again and again while it trains, as `<save_path>/<name_prefix>_<steps>_steps.zip`.

    Each file is written beside its place and renamed, so a process that is killed at any moment leaves whole ones. With
    `save_replay_buffer=True` each is a point from which `load` and `resume` go on exactly, and one more is written
    where Ctrl-C or a callback ends the run early.

    Args:
        save_freq: Environment steps between two checkpoints, summed over parallel environments; None: only by time.
        save_path: Folder to write to; made if it isn't there.
        name_prefix: Beginning of the files' names.
        save_replay_buffer: Whether the replay buffer, and all else that resumption needs, is saved with it.
        keep: How many of the checkpoints written by this callback to keep, the newest. None: all. One more is there for
            a moment: the oldest goes when the newest is on the disk.
        keep_best: Whether the one with the best mean return of the last 100 training episodes (for costs, the lowest)
            is kept beside these.
        every_seconds: Seconds between two checkpoints, whichever of the two comes first; None: only by steps. When they
            are written has no influence on training.

    Attributes:
        best_path: The checkpoint with the best mean return so far, or None.

    Raises:
        ValueError: If there is neither `save_freq` nor `every_seconds`, or a number is out of range.
    """

    def __init__(
        self,
        save_freq: int | None,
        save_path: str | os.PathLike[str],
        name_prefix: str = "model",
        *,
        save_replay_buffer: bool = False,
        keep: int | None = None,
        keep_best: bool = False,
        every_seconds: float | None = None,
    ) -> None:
        if save_freq is None and every_seconds is None:
            raise ValueError("CheckpointCallback: save_freq=None, every_seconds=None: one of them is needed")
        self.save_freq = None if save_freq is None else check_whole_number("CheckpointCallback: save_freq", save_freq)
        self.every_seconds = None
        if every_seconds is not None:
            self.every_seconds = check_number("CheckpointCallback: every_seconds", every_seconds, minimum=0)
        self.save_path = check_path("CheckpointCallback: save_path", save_path)
        if not isinstance(name_prefix, str):
            raise TypeError(f"CheckpointCallback: name_prefix={name_prefix!r}: a text is needed")
        self.name_prefix = name_prefix
        self.save_replay_buffer = check_flag("CheckpointCallback: save_replay_buffer", save_replay_buffer)
        self.keep = None if keep is None else check_whole_number("CheckpointCallback: keep", keep)
        self.keep_best = check_flag("CheckpointCallback: keep_best", keep_best)
        self._written: list[str] = []  # names, the newest last
        self._best: str | None = None
        self._best_return: float | None = None
        self._best_before: tuple[str | None, float | None] = (None, None)
        self._periods = 0
        self._saved_at: float | None = None
        self._saved_step = -1

    @property
    def best_path(self) -> Path | None:
        """The checkpoint with the best mean return so far, or None."""
        return None if self._best is None else self.save_path / self._best

    def on_training_start(self) -> None:
        """Counts steps and seconds from here."""
        self._periods = self._periods_now()
        self._saved_at, self._saved_step = time.monotonic(), -1

    def on_step(self) -> None:
        """Saves when it is time, and removes what is too old."""
        if self._saved_at is None:  # what is saved with the replay buffer is written after the step
            self._saved_at = time.monotonic()
        self._remove_old()
        periods = self._periods_now()
        is_late = self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds
        if periods > self._periods or is_late:
            self._periods = periods
            self.save()

    def save(self) -> None:
        """Saves now; with the replay buffer, at the end of the step. An agent that has diverged isn't saved."""
        if not is_finite(self.model):
            return
        name = f"{self.name_prefix}_{self.num_timesteps}_steps.zip"
        if name in self._written:
            self._written.remove(name)
        self._written.append(name)
        score = self.model.mean_recent_return
        if score is not None and (self._best_return is None or self.model.is_better(score, self._best_return)):
            self._best_before = self._best, self._best_return
            self._best, self._best_return = name, score
        self.model.save(self.save_path / name, replay_buffer=self.save_replay_buffer)
        self._saved_at, self._saved_step = None, self.num_timesteps

    def on_training_end(self) -> None:
        """Saves a run that can be resumed from here, and removes what is too old."""
        self._remove_old()
        run = self.model.run
        # Not in the middle of a step: the last checkpoint is one from which the run goes on exactly.
        is_whole = self.model.is_interrupted and run is not None and run.exact
        if self.save_replay_buffer and is_whole and self._saved_step != self.num_timesteps:
            self.save()

    def _periods_now(self) -> int:
        return 0 if self.save_freq is None else self.num_timesteps // self.save_freq

    def _remove_old(self) -> None:
        # Not when it saves: what is saved with the replay buffer is written at the end of the step.
        if self.keep is None:
            return
        # Only those that are there: what couldn't be written must not cost the last one that was.
        present = [name for name in self._written if (self.save_path / name).exists()]
        if self.keep_best and self._best not in present:
            self._best, self._best_return = self._best_before
        kept = {*present[-self.keep :], *([self._best] if self.keep_best else [])}
        for name in [name for name in self._written if name not in kept]:
            self._written.remove(name)
            (self.save_path / name).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns which checkpoints there are, and which is the best."""
        return {"written": list(self._written), "best": self._best, "best_return": self._best_return}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        if state:
            self._written = list(state["written"])
            self._best, self._best_return = state["best"], state["best_return"]


class ExportCallback(Callback):
    """Exports the deterministic policy at the end of training, or, given to an `EvalCallback`, whenever that calls it.

    As `callback_on_new_best` it so keeps the best policy. What is wrong with path or format shows before training.

    Args:
        path: File to write; see the agent's `export`.
        format: One of the formats of the agent's `export`; None: by the file's suffix.
    """

    def __init__(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        self.path = check_path("ExportCallback: path", path)
        if format is not None and not isinstance(format, str):
            raise TypeError(f"ExportCallback: format={format!r}: the name of a format is needed, or None")
        self.format = format

    def on_training_start(self) -> None:
        """Checks the format, and that what it needs is installed."""
        self.model.check_export(self.path, self.format)

    def on_step(self) -> None:
        """Exports, where an `EvalCallback` asks for it."""
        if self.parent is not None:
            self.model.export(self.path, self.format)

    def on_training_end(self) -> None:
        """Exports, unless the best was what was asked for."""
        if self.parent is None:
            self.model.export(self.path, self.format)


class RunFolderCallback(Callback):
    """Keeps a run's folder: the config from the start, the agent every so many epochs and at the end, the export.

    Args:
        folder: The run's folder.
        save_freq: Epochs between two saves of the agent.
        export: Whether the policy is exported at the end.
    """

    def __init__(self, folder: Path, save_freq: int, *, export: bool) -> None:
        self.folder = folder
        self.save_freq = save_freq
        self.export = export
        self._saves = 0

    def on_training_start(self) -> None:
        """Writes the settings, as a settings file is written."""
        run = self.model.run
        self._saves = 0 if run is None else run.finished_epochs // self.save_freq
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"logger_kwargs: output_dir: no folder can be made there ({error.strerror})",
                str(self.folder),
            ) from error
        plain = {name: _plain_or_repr(value) for name, value in self.model.config.to_dict().items()}
        policy = self.model.policy_class
        if isinstance(policy, str) and policy != "MlpPolicy":  # a user's own has no name that a settings file could say
            plain = {"policy": policy, **plain}
        text = yaml.safe_dump(plain, sort_keys=False)
        (self.folder / CONFIG_FILE).write_text(text, encoding="utf-8")

    def on_epoch_end(self) -> None:
        """Saves the agent when it is time."""
        run = self.model.run
        # Not a remainder: where an epoch is shorter than a vector step, several end at once.
        if run is not None and run.finished_epochs // self.save_freq > self._saves:
            self._saves = run.finished_epochs // self.save_freq
            self._save()

    def on_training_end(self) -> None:
        """Saves the agent, and exports its policy."""
        if self._save() and self.export:
            self.model.export(self.folder / EXPORT_FILE)

    def _save(self) -> bool:
        if not is_finite(self.model):
            return False
        self.model.save(self.folder / AGENT_FILE)
        return True


def is_finite(model: Agent[Any]) -> bool:
    """Whether an agent can be of use; one that has diverged is none, and would take the place of one that was."""
    return all(np.isfinite(array).all() for array in model.get_parameters().values())


def _plain_or_repr(value: object) -> object:
    """What only code can express is shown, though it can't be read back."""
    if isinstance(value, dict):
        return {str(key): _plain_or_repr(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_or_repr(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
