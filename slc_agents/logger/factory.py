"""Making a logger of an agent's `logger_kwargs`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slc_agents.errors import ConfigError
from slc_agents.logger.console_sink import ConsoleSink
from slc_agents.logger.csv_sink import PROGRESS_FILE, CsvSink
from slc_agents.logger.logger import Logger
from slc_agents.logger.sink import Sink
from slc_agents.logger.tensorboard_sink import TensorBoardSink
from slc_agents.logger.wandb_sink import DEFAULT_PROJECT, WandbSink

__all__ = ["LOGGER_KEYS", "SINK_NAMES", "make_logger", "validate_logger_kwargs"]

SINK_NAMES = ("csv", "tensorboard", "wandb")
LOGGER_KEYS = ("output_dir", "exp_name", "sinks", "verbose")


def make_logger(
    output_dir: Path | str | None = None,
    exp_name: str | None = None,
    sinks: Sequence[str] = ("csv",),
    verbose: int = 0,
) -> Logger:
    """Makes a logger from an agent's `logger_kwargs`. Nothing is written before the first row.

    Args:
        output_dir: Folder of the run. None: nothing is written to disk, and the sink `csv` does nothing.
        exp_name: Name of the experiment: the run's folder is then `output_dir/exp_name`, and W&B's project is so named.
        sinks: Any of `csv` (`progress.csv`), `tensorboard` (folder `tensorboard`) and `wandb`.
        verbose: From 1 on, rows are printed too.

    Returns:
        The logger; its `output_dir` is the run's folder.

    Raises:
        ConfigError: A `ValueError`: if a sink is unknown, or one that writes to disk is asked for without `output_dir`.
        MissingDependencyError: If a sink's package is not installed.
        TypeError: If an argument has the wrong type.
    """
    validate_logger_kwargs({"output_dir": output_dir, "exp_name": exp_name, "sinks": sinks, "verbose": verbose})
    folder = None if output_dir is None else Path(output_dir).expanduser() / (exp_name or "")
    made: list[Sink] = []
    if folder is not None:
        for name in dict.fromkeys(sinks):  # a name given twice counts once
            if name == "csv":
                made.append(CsvSink(folder / PROGRESS_FILE))
            elif name == "tensorboard":
                made.append(TensorBoardSink(folder / "tensorboard"))
            else:
                made.append(WandbSink(exp_name or DEFAULT_PROJECT, folder))
    if verbose >= 1:
        made.append(ConsoleSink())
    return Logger(folder, made)


def validate_logger_kwargs(kwargs: Mapping[str, Any]) -> None:
    """Checks an agent's `logger_kwargs`, without making or importing anything.

    Args:
        kwargs: Keyword arguments for `make_logger`.

    Raises:
        ConfigError: A `ValueError`: if a value is not allowed.
        TypeError: If a key is unknown (the nearest valid one is named), or a value has the wrong type.
    """
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"logger_kwargs must be a dictionary with keys of {', '.join(LOGGER_KEYS)}, got {kwargs!r}")
    for key in kwargs:
        if key not in LOGGER_KEYS:
            raise TypeError(f"unknown key {key!r} in logger_kwargs{_suggestion(key, LOGGER_KEYS)}")

    output_dir, exp_name = kwargs.get("output_dir"), kwargs.get("exp_name")
    if output_dir is not None and not isinstance(output_dir, str | Path):
        raise TypeError(f"output_dir must be a path or None, got {output_dir!r}")
    if exp_name is not None and not isinstance(exp_name, str):
        raise TypeError(f"exp_name must be a text or None, got {exp_name!r}")
    if output_dir == "" or exp_name == "":
        raise ConfigError("output_dir and exp_name must not be empty; leave them out, or use None, for none")
    if exp_name is not None and (Path(exp_name).is_absolute() or ".." in Path(exp_name).parts):
        raise ConfigError(f"exp_name must name a folder inside output_dir, got {exp_name!r}")

    verbose = kwargs.get("verbose", 0)
    if not isinstance(verbose, int):
        raise TypeError(f"verbose must be an integer, got {verbose!r}")
    if verbose < 0:
        raise ConfigError(f"verbose must be 0 (silent) or more (1: print each row), got {verbose}")

    sinks = kwargs.get("sinks", ())
    if isinstance(sinks, str):
        raise TypeError(f"sinks must be a list of names, got the text {sinks!r}; write sinks=[{sinks!r}]")
    if not isinstance(sinks, list | tuple):
        raise TypeError(f"sinks must be a list of names of {', '.join(SINK_NAMES)}, got {sinks!r}")
    for name in sinks:
        if not isinstance(name, str):
            raise TypeError(f"sinks must hold names of {', '.join(SINK_NAMES)}, got {name!r}")
        if name not in SINK_NAMES:
            raise ConfigError(f"unknown log sink {name!r}{_suggestion(name, SINK_NAMES)}")
        # The sink csv is on by default, so it can't be an error there.
        if output_dir is None and name != "csv":
            raise ConfigError(
                f"the log sink {name!r} writes files, but output_dir is None (nothing on disk); "
                "set output_dir in logger_kwargs, or leave the sink out"
            )


def _suggestion(name: object, valid: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return f"{hint} Valid: {', '.join(valid)}"
