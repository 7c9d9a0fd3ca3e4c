"""Logging: one row of numbers per epoch, to as many sinks as wanted.

An agent and its callbacks call `Logger.record` and `Logger.record_mean` as often as they like; once per epoch the agent
calls `Logger.dump`, which hands one row to every sink (`progress.csv`, the console, TensorBoard, Weights & Biases).
Keys are Stable-Baselines3's, such as `rollout/ep_rew_mean`: the part before the slash is the group.

`progress.csv` is the record that a resumed run continues exactly (it is cut back to the checkpoint's row), and what
`read_progress` reads for plots. TensorBoard and Weights & Biases only ever receive rows.
This module knows nothing of agents and of tensors; values are turned into plain Python numbers on entry.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from slc_agents.errors import ArchiveError, ConfigError, require

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
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

Value: TypeAlias = float | int | str
"""What a cell of a row may hold."""

PROGRESS_FILE = "progress.csv"
SINK_NAMES = ("csv", "tensorboard", "wandb")
LOGGER_KEYS = ("output_dir", "exp_name", "sinks", "verbose")
DEFAULT_PROJECT = "slc_agents"

_event_files = itertools.count()  # numbers the TensorBoard files of this process


class Sink(Protocol):
    """Somewhere that rows go to.

    A sink opens what it needs at its first `write`, not when it is made, and may be written to again after `close`.
    One that also has `write_hyperparameters(hyperparameters)` gets them, as a flat mapping, when training starts.
    """

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Stores one row.

        Args:
            row: Values by key; keys may be missing, or new, from one row to the next.
            step: Number of environment steps so far.
        """

    def close(self) -> None:
        """Flushes and frees what is open."""


@dataclass
class _Mean:
    """A running mean, kept as its sum so that a resumed run goes on with the same rounding."""

    total: float = 0.0
    count: int = 0


class Logger:
    """Gathers values between two dumps and hands them, one row at a time, to its sinks.

    Making a logger writes nothing: folders and files appear with the first row.

    Args:
        output_dir: Folder of the run, for whoever stores files beside the log; the logger itself doesn't write there.
        sinks: Where rows go.

    Attributes:
        output_dir: The run's folder, or None if nothing is to be written to disk.
        sinks: The sinks.
        latest: The last row that was dumped (empty before the first).
    """

    def __init__(self, output_dir: Path | str | None = None, sinks: Sequence[Sink] = ()) -> None:
        self.output_dir = None if output_dir is None else Path(output_dir).expanduser()
        self.sinks: tuple[Sink, ...] = tuple(sinks)
        self.latest: dict[str, Value] = {}
        self._pending: dict[str, Value | _Mean] = {}
        self._hyperparameters: dict[str, Value] = {}  # those that the sinks have
        # Rows that `progress.csv` is to be cut back to before the next one is written; None if it stays as it is.
        self._cut_back_to: int | None = None

    def record(self, key: str, value: Value) -> None:
        """Sets the value of `key` in the next row; the last call before the dump wins, over `record_mean` as well.

        Args:
            key: Name of the column, such as `train/alpha`.
            value: A number (NumPy's scalars and 0-d arrays are converted; True and False become 1 and 0) or a text.

        Raises:
            TypeError: If the value is neither.
        """
        self._pending[_checked_key(key)] = _plain(key, value)

    def record_mean(self, key: str, value: float) -> None:
        """Adds a number to the mean that `key` has in the next row.

        A value that `record` set for the same key since the last dump is replaced.

        Args:
            key: Name of the column, such as `train/critic_loss`.
            value: A number.

        Raises:
            TypeError: If the value is not a number.
        """
        number = _plain(key, value)
        if isinstance(number, str):
            raise TypeError(f"the mean of {key!r} needs numbers, got the text {value!r}; use record() for texts")
        mean = self._pending.get(_checked_key(key))
        if not isinstance(mean, _Mean):
            mean = self._pending[key] = _Mean()
        mean.total += number
        mean.count += 1

    def dump(self, step: int) -> dict[str, Value]:
        """Writes what was recorded since the last dump as one row to all sinks, and clears it.

        Args:
            step: Number of environment steps so far.

        Returns:
            The row, also kept as `latest`. If nothing was recorded, it is empty, and no row is written.

        Raises:
            FileExistsError: At the first row, if `progress.csv` belongs to another run (see `prepare`).
        """
        row = {
            key: entry.total / entry.count if isinstance(entry, _Mean) else entry
            for key, entry in self._pending.items()
        }
        if row:
            self.prepare()
            for sink in self.sinks:
                sink.write(row, int(step))
            self.latest = dict(row)
            self._pending.clear()
        return row

    def write_hyperparameters(self, hyperparameters: Mapping[str, Any]) -> None:
        """Hands hyperparameters to the sinks that record such: TensorBoard and Weights & Biases.

        Nothing is written where these are the ones that were handed over last.

        Args:
            hyperparameters: Values by name, of any kind. Mappings in it are flattened (`policy_kwargs/hidden_sizes`);
                what is neither a number nor a text is recorded as the text that Python shows of it.
        """
        flat = _flat(hyperparameters)
        if flat == self._hyperparameters:
            return
        self._hyperparameters = flat
        for sink in self.sinks:
            write = getattr(sink, "write_hyperparameters", None)
            if write is not None:
                write(flat)

    def prepare(self) -> None:
        """Makes sure that rows can be written, as `dump` does, for those who want to know before a long epoch.

        After `load_state_dict` this cuts `progress.csv` back; otherwise it changes nothing on disk.

        Raises:
            FileExistsError: If `progress.csv` belongs to another run, which is never overwritten.
        """
        for sink in self._csv_sinks():
            if self._cut_back_to is None:
                sink.prepare()
            else:
                sink.truncate(self._cut_back_to, last_row=self.latest)
        self._cut_back_to = None

    @property
    def rows_written(self) -> int:
        """Number of rows in `progress.csv` (0 without that sink)."""
        if self._cut_back_to is not None:
            return self._cut_back_to
        return next((sink.rows_written for sink in self._csv_sinks()), 0)

    def close(self) -> None:
        """Flushes and closes all sinks. A later `dump` opens them again and goes on where they were."""
        for sink in self.sinks:
            sink.close()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: values recorded but not yet dumped, the last row, and the length of `progress.csv`.

        Returns:
            A dictionary that JSON can hold. Entries of `pending` are lists, because their order is that of the columns.
        """
        pending = [
            [key, "mean", entry.total, entry.count] if isinstance(entry, _Mean) else [key, "last", entry]
            for key, entry in self._pending.items()
        ]
        return {"pending": pending, "latest": dict(self.latest), "rows_written": self.rows_written}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state that `state_dict` returned, and continues that run's `progress.csv`.

        The file is cut back only when the run goes on (`prepare` or the first `dump`), because an agent may also be
        loaded from an early checkpoint just to look at it, which must not cost the rows that came later.

        Raises:
            ArchiveError: If the state is not one of a logger.
        """
        try:
            pending: dict[str, Value | _Mean] = {
                key: _Mean(float(rest[0]), int(rest[1])) if kind == "mean" else rest[0]
                for key, kind, *rest in state["pending"]
            }
            latest, rows = dict(state["latest"]), int(state["rows_written"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ArchiveError(f"this is not the state of a logger ({type(error).__name__}: {error})") from error
        if rows < 0:
            raise ArchiveError(f"the logger's rows_written must be 0 or more, the state says {rows}")
        self._pending, self.latest, self._cut_back_to = pending, latest, rows

    def _csv_sinks(self) -> list[CsvSink]:
        return [sink for sink in self.sinks if isinstance(sink, CsvSink)]


class CsvSink:
    """Writes rows to a standard CSV file, whose columns may grow while the run goes on.

    Missing cells are empty. Floats are written so that they read back exactly. Each row is in the file when `write`
    returns, and a change of the header replaces the file in one step, so a run that is killed leaves a readable file.

    Args:
        path: The file; its folder is made when needed.
        resume: Whether to append to a file that is there already. If not, such a file is an error: it is another run's.

    Attributes:
        path: The file.
        rows_written: Number of data rows in the file, once it is open.
    """

    def __init__(self, path: Path | str, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.rows_written = 0
        self._resume = resume
        self._columns: list[str] | None = None  # None: not opened yet

    def prepare(self) -> None:
        """Opens the file if it isn't open: reads what is there when resuming, and makes nothing new.

        Raises:
            FileExistsError: If there is a file and `resume` was not asked for.
            ValueError: If there is a file to resume that is not a `progress.csv`.
        """
        if self._columns is not None:
            return
        if not self.path.exists():
            self._columns = []
            return
        if not self._resume:
            raise FileExistsError(
                f"{self.path} holds the log of an earlier run, which would be lost; "
                "choose another output_dir (or exp_name), or resume that run from its checkpoint"
            )
        # Rewritten even though nothing is new: an interrupted last line would otherwise run into the next row.
        self._replace(*_read_table(self.path))

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Appends a row. `step` is not stored; a run that wants it as a column records it.

        Raises:
            FileExistsError: As `prepare`.
        """
        self.prepare()
        cells = _cells(row)
        columns = list(dict.fromkeys([*(self._columns or ()), *cells]))
        exists = self.path.exists()
        if exists and columns == self._columns:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(_csv_text(columns, [cells]))
            self.rows_written += 1
        else:
            earlier = _read_table(self.path)[1] if exists else []
            self._replace(columns, [*earlier, cells])

    def truncate(self, rows: int, *, last_row: Mapping[str, Value] | None = None) -> None:
        """Cuts the file back to its first `rows` rows and goes on from there; columns that are then empty go too.

        Without a file (the run goes on in another folder) this starts a new one. With `rows=0` nothing tells whether
        the file is this run's, so it is not deleted but renamed (`progress.csv.1`, and so on).

        Args:
            rows: Number of data rows to keep.
            last_row: What the last of these rows must hold, to recognise another run's file. None to not check.

        Raises:
            FileExistsError: If the file has fewer rows, or another last row: it is another run's. It stays as it is.
            ValueError: If `rows` is negative or the file is not a `progress.csv`.
        """
        if rows < 0:
            raise ValueError(f"rows must be 0 or more, got {rows}")
        if rows == 0 and self.path.exists():
            os.replace(self.path, _unused_name(self.path))
        if not self.path.exists():
            self._columns, self.rows_written = [], 0
            return
        columns, table = _read_table(self.path)
        found = f"it has only {len(table)}" if len(table) < rows else ""
        if not found and last_row is not None and table[rows - 1] != _cells(last_row):
            found = f"its row {rows} is a different one"
        if found:
            raise FileExistsError(
                f"{self.path} is not the log of the run to resume: the checkpoint was made after {rows} rows, "
                f"but {found}; choose another output_dir (or exp_name), or move the file away"
            )
        kept = table[:rows]
        self._replace([column for column in columns if any(column in cells for cells in kept)], kept)

    def close(self) -> None:
        """Does nothing: no file stays open between two rows."""

    def _replace(self, columns: list[str], table: list[dict[str, str]]) -> None:
        """Puts a new file in the place of the old one, in one step; a kill at any instant leaves one of the two."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            header = {column: column for column in columns}
            temporary.write_text(_csv_text(columns, [header, *table]), encoding="utf-8", newline="")
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._columns, self.rows_written = columns, len(table)


class ConsoleSink:
    """Prints each row as a table, grouped by the part of the keys before the slash.

    Args:
        console: A rich console; None for rich's global one, so that tables appear above progress bars that share it.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def write(self, row: Mapping[str, Value], step: int) -> None:
        """Prints a row, under a heading with the step."""
        # rich takes a noticeable part of the import time of the package, and silent runs don't need it.
        import rich
        from rich.table import Table
        from rich.text import Text

        groups: dict[str, list[tuple[str, Value]]] = {}
        for key, value in row.items():
            group, slash, name = key.partition("/")
            groups.setdefault(group if slash else "", []).append((name if slash else key, value))

        table = Table(title=f"step {step}", show_header=False)
        table.add_column("key", overflow="fold")
        table.add_column("value", justify="right", overflow="fold")
        # Text objects, since plain strings would have "[...]" in them read as markup.
        for group, entries in groups.items():
            if group:
                table.add_row(Text(f"{group}/", style="bold"), "")
            for name, value in entries:
                shown = f"{value:.5g}" if isinstance(value, float) else str(value)
                table.add_row(Text(f"  {name}" if group else name), Text(shown))
        (self._console or rich.get_console()).print(table)

    def close(self) -> None:
        """Does nothing: the console is not ours to close."""


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
        if self._run is None:
            self._open()
        # Not as log(step=...): W&B drops rows whose step is less than the last one's, as when `learn` starts over.
        self._run.log({**row, self.STEP_KEY: step})

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


def read_progress(path: Path | str) -> dict[str, list[float]]:
    """Reads the numbers of a run's `progress.csv`.

    Args:
        path: The file, or the run's folder.

    Returns:
        The columns by key, all of the same length; NaN where a row has no value. Columns with texts are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a `progress.csv`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / PROGRESS_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path} doesn't exist; give a progress.csv, or the folder of a run that has one")
    columns, table = _read_table(path)
    numbers: dict[str, list[float]] = {}
    for column in columns:
        try:
            numbers[column] = [float(cells.get(column, "nan")) for cells in table]
        except ValueError:
            continue  # a column of texts
    if not table or not numbers:
        raise ValueError(f"{path} is not a progress.csv: it has no column of numbers")
    return numbers


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key must be a text such as 'train/alpha', got {key!r}")
    if not key or len(key.splitlines()) > 1 or key != key.strip():
        raise ValueError(f"a key must be one line without spaces around it, such as 'train/alpha', got {key!r}")
    return key


def _plain(key: str, value: Any) -> Value:
    """Returns the value as a plain `str`, `int` or `float`; NumPy's scalars would be written with their type's name."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the value of {key!r} must be a number or a text, got {value!r}") from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Returns a nested mapping as a flat one of plain values."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, int | float | str) else repr(value)
    return flat


def _cells(row: Mapping[str, Value]) -> dict[str, str]:
    """Returns a row as it stands in the file: without the cells that are empty there."""
    texts = {key: repr(value) if isinstance(value, float) else str(value) for key, value in row.items()}
    # csv.writer leaves a carriage return unquoted, and csv.reader then takes it for the end of a line.
    return {key: text.replace("\r\n", "\n").replace("\r", "\n") for key, text in texts.items() if text}


def _csv_text(columns: list[str], table: Iterable[Mapping[str, str]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([cells.get(column, "") for column in columns] for cells in table)
    return buffer.getvalue()


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns the columns and the rows (without their empty cells) of a `progress.csv`.

    Raises:
        ValueError: If it is not one.
    """
    problem = f"{path} is not a progress.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{problem}: {error}") from error
    if not lines or not all(lines[0]) or len(set(lines[0])) < len(lines[0]):
        raise ValueError(f"{problem}: its first line must name the columns, each once")
    columns, rows = lines[0], lines[1:]
    if rows and len(rows[-1]) < len(columns) and not text.endswith("\n"):
        rows.pop()  # the machine went down while this line was being written
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(columns):
            raise ValueError(f"{problem}: row {number} has {len(cells)} cells, its header {len(columns)}")
    return columns, [{column: cell for column, cell in zip(columns, cells, strict=True) if cell} for cells in rows]


def _unused_name(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return candidate


def _suggestion(name: object, valid: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.3)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return f"{hint} Valid: {', '.join(valid)}"
