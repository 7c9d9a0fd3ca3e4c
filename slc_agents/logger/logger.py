"""The logger: gathers what is recorded, and hands it to the sinks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slc_agents.errors import ArchiveError
from slc_agents.logger.csv_sink import CsvSink
from slc_agents.logger.media import Image, check_figure, histogram_values, render
from slc_agents.logger.sink import Sink, Value

__all__ = ["Logger"]


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
        self._histograms: dict[str, NDArray[np.float64]] = {}  # of the next row, as are the figures
        self._figures: dict[str, Image] = {}
        self._warned_of: set[str] = set()  # keys of histograms that have had values that are not finite
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

    def record_histogram(self, key: str, values: ArrayLike) -> None:
        """Has the distribution of some numbers shown beside the next row; the last call before the dump wins.

        Sinks that can't show it (`progress.csv`, the console) leave it out. It isn't part of `state_dict`.

        Args:
            key: Its name, such as `weights/actor/trunk/0/weight`.
            values: Numbers, of any shape. NaN and infinities are left out, with one warning for each key.

        Raises:
            TypeError: If these aren't real numbers.
            ValueError: If there are none.
        """
        numbers = histogram_values(_checked_key(key), values)
        finite = numbers[np.isfinite(numbers)]
        if len(finite) < len(numbers) and key not in self._warned_of:
            self._warned_of.add(key)
            warnings.warn(
                f"the histogram {key!r} leaves out {len(numbers) - len(finite)} of {len(numbers)} values, which are "
                "not finite; this is said once",
                stacklevel=2,
            )
        self._histograms.pop(key, None)
        if len(finite):
            self._histograms[key] = finite

    def record_figure(self, key: str, figure: Any) -> None:
        """Has a picture shown beside the next row; the last call before the dump wins.

        It is drawn here and now, so the figure may be changed or closed afterwards; where no sink can show it, it
        isn't drawn. `progress.csv` and the console leave it out. It isn't part of `state_dict`.

        Args:
            key: Its name, such as `eval/episode`.
            figure: A matplotlib `Figure`, or red, green and blue as an array [height, width, 3] of uint8.

        Raises:
            TypeError: If it is neither.
            ValueError: If the array has another shape.
        """
        check_figure(_checked_key(key), figure)
        if self.shows_figures:
            self._figures[key] = render(figure)

    @property
    def shows_histograms(self) -> bool:
        """Whether a sink can show histograms."""
        return any(hasattr(sink, "write_histogram") for sink in self.sinks)

    @property
    def shows_figures(self) -> bool:
        """Whether a sink can show figures."""
        return any(hasattr(sink, "write_figure") for sink in self.sinks)

    def dump(self, step: int) -> dict[str, Value]:
        """Writes what was recorded since the last dump as one row to all sinks, and clears it.

        Histograms and figures follow, also where there is no row.

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
        self._write_media(int(step))
        return row

    def _write_media(self, step: int) -> None:
        histograms, self._histograms = self._histograms, {}
        figures, self._figures = self._figures, {}
        for sink in self.sinks:
            write_histogram, write_figure = (getattr(sink, f"write_{kind}", None) for kind in ("histogram", "figure"))
            if write_histogram is not None:
                for key, values in histograms.items():
                    write_histogram(key, values, step)
            if write_figure is not None:
                for key, image in figures.items():
                    write_figure(key, image, step)

    def note(self, text: str) -> None:
        """Tells those who look on: a line where rows are printed, and in Python's log of this package, at level INFO.

        Args:
            text: What there is to tell.
        """
        logging.getLogger("slc_agents").info(text)
        for sink in self.sinks:
            write = getattr(sink, "write_note", None)
            if write is not None:
                write(text)

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
