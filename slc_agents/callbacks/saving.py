"""Writing the agent to disk while it trains."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slc_agents.callbacks.base import Callback, Periodic
from slc_agents.errors import check_flag, check_path, check_whole_number

__all__ = ["AGENT_FILE", "CONFIG_FILE", "EXPORT_FILE", "CheckpointCallback", "ExportCallback", "RunFolderCallback"]

# What a run folder's files are called.
AGENT_FILE = "agent.zip"
CONFIG_FILE = "config.yaml"
EXPORT_FILE = "policy.pt"


class CheckpointCallback(Periodic):
    """Saves the agent every so many environment steps, as `<save_path>/<name_prefix>_<steps>_steps.zip`.

    Args:
        save_freq: Environment steps between two checkpoints, summed over parallel environments.
        save_path: Folder to write to; made if it isn't there.
        name_prefix: Beginning of the files' names.
        save_replay_buffer: Whether the replay buffer, and all else that resumption needs, is saved with it.
        keep: How many of the checkpoints written by this callback to keep, the newest. None: all. One more is there for
            a moment: the oldest goes when the newest is on the disk.
    """

    every_name = "save_freq"

    def __init__(
        self,
        save_freq: int,
        save_path: str | os.PathLike[str],
        name_prefix: str = "model",
        *,
        save_replay_buffer: bool = False,
        keep: int | None = None,
    ) -> None:
        super().__init__(save_freq)
        self.save_path = check_path("CheckpointCallback: save_path", save_path)
        if not isinstance(name_prefix, str):
            raise TypeError(f"CheckpointCallback: name_prefix={name_prefix!r}: a text is needed")
        self.name_prefix = name_prefix
        self.save_replay_buffer = check_flag("CheckpointCallback: save_replay_buffer", save_replay_buffer)
        self.keep = None if keep is None else check_whole_number("CheckpointCallback: keep", keep)
        self._written: list[Path] = []

    def on_step(self) -> bool | None:
        """Saves when it is time, and removes what is too old."""
        self._remove_old()
        return super().on_step()

    def on_period(self) -> None:
        """Saves."""
        path = self.save_path / f"{self.name_prefix}_{self.num_timesteps}_steps.zip"
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        self.model.save(path, replay_buffer=self.save_replay_buffer)

    def on_training_end(self) -> None:
        """Removes what is too old."""
        self._remove_old()

    def _remove_old(self) -> None:
        # Not in on_period: what is saved there with the replay buffer is written at the end of the step.
        while self.keep is not None and len(self._written) > self.keep:
            self._written.pop(0).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns which checkpoints there are."""
        return {"written": [str(path) for path in self._written]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        if state:
            self._written = [Path(path) for path in state["written"]]


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
        """Writes the config."""
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
        # An agent that has diverged is no use to anybody, and would overwrite the last one that was.
        if not all(np.isfinite(array).all() for array in self.model.get_parameters().values()):
            return False
        self.model.save(self.folder / AGENT_FILE)
        return True


def _plain_or_repr(value: object) -> object:
    """What only code can express is shown, though it can't be read back."""
    if isinstance(value, dict):
        return {str(key): _plain_or_repr(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_or_repr(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
