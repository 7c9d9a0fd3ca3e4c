"""The sink `csv`: a file whose columns may grow and which a resumed run continues exactly; and reading it back."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from slc_agents.logger.sink import Value

__all__ = ["PROGRESS_FILE", "CsvSink", "read_progress"]

PROGRESS_FILE = "progress.csv"


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
