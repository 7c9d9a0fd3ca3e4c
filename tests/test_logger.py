"""Tests of `slc_agents.logger`: what is recorded is what every sink receives, and no run's log is lost."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import slc_agents.logger
from slc_agents.errors import ArchiveError, ConfigError, MissingDependencyError
from slc_agents.logger import (
    ConsoleSink,
    CsvSink,
    Logger,
    TensorBoardSink,
    Value,
    WandbSink,
    make_logger,
    read_progress,
    validate_logger_kwargs,
)


class MemorySink:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Value]]] = []
        self.closed = 0

    def write(self, row: Mapping[str, Value], step: int) -> None:
        self.rows.append((step, dict(row)))

    def close(self) -> None:
        self.closed += 1


def lines_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_rows(logger: Logger, steps: range) -> None:
    for step in steps:
        logger.record("time/total_timesteps", step)
        logger.record_mean("train/loss", step / 3)
        logger.dump(step)


# --- values -----------------------------------------------------------------------------------------------------------


def test_last_value_wins_and_means_are_averaged() -> None:
    sink = MemorySink()
    logger = Logger(sinks=[sink])
    logger.record("a", 1)
    logger.record("a", 2)
    for value in (1.0, 2.0, 6.0):
        logger.record_mean("m", value)
    assert logger.dump(7) == {"a": 2, "m": 3.0}
    assert sink.rows == [(7, {"a": 2, "m": 3.0})]


def test_sinks_that_take_hyperparameters_get_them_flat_and_once() -> None:
    class Takes(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.hyperparameters: list[Mapping[str, Value]] = []

        def write_hyperparameters(self, hyperparameters: Mapping[str, Value]) -> None:
            self.hyperparameters.append(hyperparameters)

    takes = Takes()
    logger = Logger(sinks=[MemorySink(), takes])
    nested = {"a": 1, "b": {"c": None, "d": {"e": [2, 3]}}, "f": {}, "g": True, "h": "text"}
    for values in (nested, nested, {"a": 2}):
        logger.write_hyperparameters(values)
    assert takes.hyperparameters == [
        {"a": 1, "b/c": "None", "b/d/e": "[2, 3]", "f": "{}", "g": True, "h": "text"},
        {"a": 2},
    ]
    assert takes.rows == []


def test_a_dump_clears() -> None:
    sink = MemorySink()
    logger = Logger(sinks=[sink])
    logger.record_mean("m", 10.0)
    logger.record("a", "x")
    logger.dump(1)
    logger.record_mean("m", 2.0)
    assert logger.dump(2) == {"m": 2.0}
    assert logger.latest == {"m": 2.0}


def test_a_dump_without_values_writes_no_row() -> None:
    sink = MemorySink()
    logger = Logger(sinks=[sink])
    logger.record("a", 1)
    logger.dump(1)
    assert logger.dump(2) == {}
    assert len(sink.rows) == 1
    assert logger.latest == {"a": 1}


def test_the_later_kind_of_record_replaces_the_earlier() -> None:
    logger = Logger()
    logger.record_mean("a", 5.0)
    logger.record("a", 1.0)
    logger.record("b", 100.0)
    logger.record_mean("b", 2.0)
    assert logger.dump(1) == {"a": 1.0, "b": 2.0}


def test_latest_is_a_copy() -> None:
    logger = Logger()
    logger.record("a", 1)
    logger.dump(1)["a"] = 99
    assert logger.latest == {"a": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(2.5), 2.5),
        (True, 1),
        (np.bool_(True), 1),
        (np.str_("x"), "x"),
    ],
)
def test_values_become_plain_python(value: Any, expected: Value) -> None:
    logger = Logger()
    logger.record("a", value)
    result = logger.dump(0)["a"]
    assert result == expected
    assert type(result) in (int, float, str)


@pytest.mark.parametrize("value", [None, [1.0], 1j, np.zeros(2), {}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="'train/x' must be a number or a text"):
        Logger().record("train/x", value)


def test_means_refuse_texts() -> None:
    with pytest.raises(TypeError, match="mean of 'a' needs numbers"):
        Logger().record_mean("a", "12")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "a\nb", " a"])
def test_bad_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="a key must be one line"):
        Logger().record(key, 1)


def test_close_closes_every_sink() -> None:
    sinks = [MemorySink(), MemorySink()]
    Logger(sinks=sinks).close()
    assert [sink.closed for sink in sinks] == [1, 1]


# --- progress.csv -----------------------------------------------------------------------------------------------------


def test_csv_holds_the_rows_and_is_readable_after_each(tmp_path: Path) -> None:
    logger = make_logger(tmp_path)
    for step in (1, 2):
        logger.record("step", step)
        logger.record("note", 'with, comma and "quotes"\r\nand a line')
        logger.dump(step)
        assert lines_of(tmp_path / "progress.csv") == [
            ["step", "note"],
            *([str(s), 'with, comma and "quotes"\nand a line'] for s in range(1, step + 1)),
        ]
    assert logger.rows_written == 2
    assert [path.name for path in tmp_path.iterdir()] == ["progress.csv"]


def test_nothing_is_on_disk_before_the_first_row(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    logger = make_logger(tmp_path / "run", sinks=("csv", "tensorboard"))
    logger.record("a", 1)
    logger.prepare()
    assert list(tmp_path.iterdir()) == []
    logger.dump(1)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["progress.csv", "tensorboard"]
    logger.close()


def test_columns_appear_over_time(tmp_path: Path) -> None:
    logger = make_logger(tmp_path)
    rows: list[dict[str, Value]] = [{"a": 1}, {"b": 2.5, "a": 3}, {"b": 4.5}, {"c": "x"}]
    for step, row in enumerate(rows):
        for key, value in row.items():
            logger.record(key, value)
        logger.dump(step)
    assert lines_of(tmp_path / "progress.csv") == [
        ["a", "b", "c"],
        ["1", "", ""],
        ["3", "2.5", ""],
        ["", "4.5", ""],
        ["", "", "x"],
    ]
    assert logger.rows_written == 4
    assert [path.name for path in tmp_path.iterdir()] == ["progress.csv"]  # no temporary file is left


def test_floats_read_back_exactly(tmp_path: Path) -> None:
    values = [
        0.1,
        1 / 3,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        math.inf,
        -math.inf,
        math.nan,
        1e16,
        123456789.123456789,
    ]
    values += np.random.default_rng(0).normal(size=100).tolist()
    logger = make_logger(tmp_path)
    for step, value in enumerate(values):
        logger.record("x", value)
        if step == 50:
            logger.record("late", 1)  # the file is rewritten half way
        logger.dump(step)
    read = read_progress(tmp_path)["x"]
    assert np.array(read).tobytes() == np.array(values).tobytes()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    write_rows(make_logger(tmp_path), range(3))
    before = (tmp_path / "progress.csv").read_bytes()
    again = make_logger(tmp_path)
    with pytest.raises(FileExistsError, match=r"progress\.csv.*choose another output_dir"):
        again.prepare()
    again.record("a", 1)
    with pytest.raises(FileExistsError, match=r"progress\.csv.*choose another output_dir"):
        again.dump(1)
    assert (tmp_path / "progress.csv").read_bytes() == before


def test_one_logger_goes_on_after_close(tmp_path: Path) -> None:
    logger = make_logger(tmp_path)
    write_rows(logger, range(2))
    logger.close()
    write_rows(logger, range(2, 4))
    assert read_progress(tmp_path)["time/total_timesteps"] == [0, 1, 2, 3]


def test_resume_appends_and_drops_an_interrupted_line(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_text("a,b\n1,2\n3")
    sink = CsvSink(path, resume=True)
    sink.write({"b": 5, "c": 6}, 1)
    assert lines_of(path) == [["a", "b", "c"], ["1", "2", ""], ["", "5", "6"]]
    assert sink.rows_written == 2
    with path.open("a") as file:
        file.write("7")
    CsvSink(path, resume=True).write({"a": 8, "b": 9, "c": 10}, 2)  # without a new column
    assert lines_of(path)[3:] == [["8", "9", "10"]]


def test_a_file_that_vanished_is_started_anew(tmp_path: Path) -> None:
    logger = make_logger(tmp_path)
    write_rows(logger, range(3))
    (tmp_path / "progress.csv").unlink()
    write_rows(logger, range(3, 5))
    assert read_progress(tmp_path)["time/total_timesteps"] == [3, 4]
    assert logger.rows_written == 2


def test_a_failed_rewrite_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = make_logger(tmp_path)
    write_rows(logger, range(2))
    before = (tmp_path / "progress.csv").read_bytes()

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    logger.record("new", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            logger.dump(2)
    assert (tmp_path / "progress.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["progress.csv"]
    assert logger.dump(2) == {"new": 1}  # the values were kept
    assert logger.rows_written == 3


# --- cutting back -----------------------------------------------------------------------------------------------------


def test_truncate_cuts_rows_and_columns_that_came_later(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "progress.csv")
    rows: list[dict[str, Value]] = [{"a": 1}, {"a": 2, "b": 0.5}, {"a": 3, "c": 7}]
    for step, row in enumerate(rows):
        sink.write(row, step)
    sink.truncate(2)
    assert lines_of(sink.path) == [["a", "b"], ["1", ""], ["2", "0.5"]]
    assert sink.rows_written == 2
    sink.write({"a": 4}, 3)
    assert lines_of(sink.path)[-1] == ["4", ""]


def test_truncate_refuses_another_runs_file(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "progress.csv")
    sink.write({"a": 1}, 1)
    before = sink.path.read_bytes()
    with pytest.raises(FileExistsError, match="after 2 rows, but it has only 1"):
        sink.truncate(2)
    with pytest.raises(FileExistsError, match="its row 1 is a different one"):
        sink.truncate(1, last_row={"a": 1.5})
    with pytest.raises(ValueError, match="got -1"):
        sink.truncate(-1)
    assert sink.path.read_bytes() == before


def test_truncate_to_nothing_sets_the_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    for value in (1, 2):
        sink = CsvSink(path)
        sink.truncate(0)
        sink.write({"a": value}, 1)
    sink.truncate(0)
    assert not path.exists()
    assert lines_of(tmp_path / "progress.csv.1") == [["a"], ["1"]]
    assert lines_of(tmp_path / "progress.csv.2") == [["a"], ["2"]]


def test_a_resumed_run_writes_the_file_of_an_uninterrupted_one(tmp_path: Path) -> None:
    def epoch(logger: Logger, number: int) -> None:
        for value in (number / 3, number / 7, 0.1):
            logger.record_mean("train/loss", value)
        if number >= 3:
            logger.record("rollout/ep_rew_mean", -0.1 * number)
        if number == 4:
            logger.record("eval/mean_reward", 1.0)
        logger.dump(number)

    straight = make_logger(tmp_path / "straight")
    for number in range(6):
        epoch(straight, number)

    first = make_logger(tmp_path / "resumed")
    for number in range(4):
        epoch(first, number)
    state = json.loads(json.dumps(first.state_dict()))
    epoch(first, 4)
    first.record("stray", 1)
    first.dump(5)  # rows after the checkpoint, of a run that was then killed

    second = make_logger(tmp_path / "resumed")
    second.load_state_dict(state)
    assert second.rows_written == 4
    assert second.latest == straight_row(tmp_path / "straight", 3)
    assert len(lines_of(tmp_path / "resumed" / "progress.csv")) == 1 + 6  # loading alone costs no rows
    for number in range(4, 6):
        epoch(second, number)
    assert (tmp_path / "resumed/progress.csv").read_bytes() == (tmp_path / "straight/progress.csv").read_bytes()
    assert second.rows_written == 6


def straight_row(folder: Path, number: int) -> dict[str, float]:
    return {key: column[number] for key, column in read_progress(folder).items() if not math.isnan(column[number])}


def test_prepare_cuts_back_once(tmp_path: Path) -> None:
    logger = make_logger(tmp_path)
    write_rows(logger, range(2))
    state = logger.state_dict()
    write_rows(logger, range(2, 5))
    resumed = make_logger(tmp_path)
    resumed.load_state_dict(state)
    resumed.prepare()
    assert read_progress(tmp_path)["time/total_timesteps"] == [0, 1]
    write_rows(resumed, range(10, 13))
    resumed.prepare()
    assert read_progress(tmp_path)["time/total_timesteps"] == [0, 1, 10, 11, 12]


def test_a_run_resumed_in_another_folder_starts_a_file(tmp_path: Path) -> None:
    logger = make_logger(tmp_path / "old")
    write_rows(logger, range(3))
    moved = make_logger(tmp_path / "new")
    moved.load_state_dict(logger.state_dict())
    write_rows(moved, range(3, 5))
    assert read_progress(tmp_path / "new")["time/total_timesteps"] == [3, 4]
    again = make_logger(tmp_path / "new")
    again.load_state_dict(moved.state_dict())  # counts the rows of the new file, not of the run
    write_rows(again, range(5, 6))
    assert read_progress(tmp_path / "new")["time/total_timesteps"] == [3, 4, 5]


def test_a_resumed_run_refuses_another_runs_folder(tmp_path: Path) -> None:
    mine = make_logger(tmp_path / "mine")
    write_rows(mine, range(2))
    other = make_logger(tmp_path / "other")
    write_rows(other, range(5, 9))
    resumed = make_logger(tmp_path / "other")
    resumed.load_state_dict(mine.state_dict())
    with pytest.raises(FileExistsError, match="not the log of the run to resume"):
        resumed.prepare()
    assert len(lines_of(tmp_path / "other" / "progress.csv")) == 1 + 4


def test_pending_values_survive(tmp_path: Path) -> None:
    logger = Logger()
    logger.record("text", "x")
    for value in (0.1, 0.2):
        logger.record_mean("m", value)
    logger.record("n", 3)
    resumed = Logger()
    resumed.load_state_dict(json.loads(json.dumps(logger.state_dict())))
    for each in (logger, resumed):
        each.record_mean("m", 0.3)
    expected = logger.dump(1)
    assert resumed.dump(1) == expected
    assert list(resumed.latest) == ["text", "m", "n"]  # the order of the columns
    assert expected["m"] == (0.1 + 0.2 + 0.3) / 3


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"pending": [["a"]], "latest": {}, "rows_written": 0},
        {"pending": [["a", "mean"]], "latest": {}, "rows_written": 0},
        {"pending": [], "latest": {}, "rows_written": -1},
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(state: dict[str, Any]) -> None:
    logger = Logger()
    logger.record("a", 1)
    with pytest.raises(ArchiveError, match="logger"):
        logger.load_state_dict(state)
    assert logger.dump(1) == {"a": 1}


# --- reading back -----------------------------------------------------------------------------------------------------


def test_read_progress_gives_numbers_and_nan(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_text("a,text,b\r\n1,x,\r\n2.5,y,3\r\n")
    for source in (path, tmp_path, str(path)):
        columns = read_progress(source)
        assert list(columns) == ["a", "b"]
        assert columns["a"] == [1.0, 2.5]
        assert math.isnan(columns["b"][0])
        assert columns["b"][1] == 3.0


def test_read_progress_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("a,b\n1,2\n3")
    assert read_progress(tmp_path) == {"a": [1.0], "b": [2.0]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a,b\n",
        b"# A title\nwith text\n",
        b"a,a\n1,2\n",
        b"a,b\n1\n2,3\n",
        b"a,b\n1,2,3\n",
        b"\xff\xfe\x00",
        b'a\n"1',
    ],
    ids=["empty", "blank", "no rows", "prose", "double column", "short row", "long row", "binary", "open quote"],
)
def test_read_progress_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.csv is not a progress\.csv"):
        read_progress(path)


def test_read_progress_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"progress\.csv doesn't exist"):
        read_progress(tmp_path)


# --- logger_kwargs ----------------------------------------------------------------------------------------------------


def test_without_output_dir_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = make_logger(exp_name="name")
    logger.record("a", 1)
    assert logger.dump(1) == {"a": 1}
    assert logger.output_dir is None
    assert logger.sinks == ()
    assert logger.rows_written == 0
    assert list(tmp_path.iterdir()) == []


def test_exp_name_is_a_folder_in_output_dir(tmp_path: Path) -> None:
    logger = make_logger(str(tmp_path), exp_name="mine", sinks=["csv", "csv"])
    write_rows(logger, range(1))
    assert logger.output_dir == tmp_path / "mine"
    assert len(lines_of(tmp_path / "mine" / "progress.csv")) == 2


def test_sinks_are_those_asked_for(tmp_path: Path) -> None:
    def kinds(**kwargs: Any) -> list[type]:
        return [type(sink) for sink in make_logger(**kwargs).sinks]

    assert kinds(output_dir=tmp_path) == [CsvSink]
    assert kinds(output_dir=tmp_path, sinks=[]) == []
    assert kinds(output_dir=tmp_path, verbose=1) == [CsvSink, ConsoleSink]
    assert kinds(verbose=1) == [ConsoleSink]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"output_dirs": "x"}, TypeError, "'output_dirs'.*did you mean 'output_dir'.*exp_name, sinks, verbose"),
        ({"log_dir": "x"}, TypeError, "did you mean 'output_dir'"),
        ({"output_dir": 3}, TypeError, "output_dir must be a path or None, got 3"),
        ({"output_dir": ""}, ConfigError, "must not be empty"),
        ({"exp_name": Path("x")}, TypeError, "exp_name must be a text"),
        ({"exp_name": "../x"}, ConfigError, "inside output_dir"),
        ({"exp_name": "/x"}, ConfigError, "inside output_dir"),
        ({"sinks": "csv"}, TypeError, r"write sinks=\['csv'\]"),
        ({"sinks": 1}, TypeError, "must be a list of names"),
        ({"sinks": [None]}, TypeError, "must hold names"),
        ({"sinks": ["tensorbord"]}, ConfigError, "did you mean 'tensorboard'.*csv, tensorboard, wandb"),
        ({"sinks": ["xyz"]}, ConfigError, "unknown log sink 'xyz'; Valid: csv"),
        ({"sinks": ["tensorboard"]}, ConfigError, "'tensorboard' writes files, but output_dir is None"),
        ({"sinks": ["wandb"]}, ConfigError, "'wandb' writes files, but output_dir is None"),
        ({"verbose": "1"}, TypeError, "verbose must be an integer"),
        ({"verbose": -1}, ConfigError, "got -1"),
    ],
)
def test_bad_logger_kwargs(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        validate_logger_kwargs(kwargs)
    if set(kwargs) <= {"output_dir", "exp_name", "sinks", "verbose"}:
        with pytest.raises(error, match=message):
            make_logger(**kwargs)


def test_good_logger_kwargs_create_nothing(tmp_path: Path) -> None:
    validate_logger_kwargs({})
    kwargs = {"output_dir": tmp_path / "run", "exp_name": "a", "sinks": ["wandb", "tensorboard", "csv"], "verbose": 2}
    validate_logger_kwargs(kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"slc-agents\[{name}\]"):
        make_logger(tmp_path, sinks=[name])


def test_the_module_imports_no_framework_and_no_optional_package() -> None:
    imported: set[str] = set()
    for path in Path(slc_agents.logger.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in imported}
    assert roots - set(sys.stdlib_module_names) == {"slc_agents", "rich", "numpy"}
    inner = {name for name in imported if name.startswith("slc_agents")}
    assert {name for name in inner if not name.startswith("slc_agents.logger.")} == {"slc_agents.errors"}


# --- console ----------------------------------------------------------------------------------------------------------


def test_console_groups_keys() -> None:
    output = io.StringIO()
    logger = Logger(sinks=[ConsoleSink(Console(file=output, width=80))])
    logger.record("train/actor_loss", -1.23456789)
    logger.record("rollout/ep_rew_mean", 250.0)
    logger.record("train/note[red]", "done")
    logger.record("plain", 12345678)
    logger.dump(4000)
    lines = [" ".join(line.strip("│┃ ").replace("│", " ").split()) for line in output.getvalue().splitlines()]
    assert lines[0] == "step 4000"
    assert [line for line in lines[1:] if line and line[0] not in "┏┡┌├└"] == [
        "train/",
        "actor_loss -1.2346",
        "note[red] done",
        "rollout/",
        "ep_rew_mean 250",
        "plain 12345678",
    ]


def test_verbose_prints_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    logger = make_logger(verbose=1)
    logger.record("train/alpha", 0.5)
    logger.dump(1)
    assert "alpha" in capsys.readouterr().out
    logger = make_logger(verbose=0)
    logger.record("train/alpha", 0.5)
    logger.dump(1)
    assert capsys.readouterr().out == ""


# --- TensorBoard and Weights & Biases ---------------------------------------------------------------------------------


def test_tensorboard_events_hold_the_values(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = make_logger(tmp_path, sinks=["tensorboard"])
    for step, value in ((1000, 0.5), (2000, 0.25)):
        logger.record("train/alpha", value)
        logger.record("train/n_updates", step)
        logger.record("note", "text")
        logger.dump(step)
    logger.close()
    logger.record("train/alpha", 0.125)
    logger.dump(3000)
    logger.close()

    folder = tmp_path / "tensorboard"
    events = []
    for path in sorted(folder.iterdir()):
        reader = accumulator.EventAccumulator(str(path))
        reader.Reload()
        events.append(reader)
    scalars = [(event.step, event.value) for reader in events for event in reader.Scalars("train/alpha")]
    assert sorted(scalars) == [(1000, 0.5), (2000, 0.25), (3000, 0.125)]
    first = next(reader for reader in events if "train/n_updates" in reader.Tags()["scalars"])
    assert [event.value for event in first.Scalars("train/n_updates")] == [1000, 2000]
    assert "note" not in first.Tags()["scalars"]


def test_tensorboard_has_the_hyperparameters_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    metadata = pytest.importorskip("tensorboard.plugins.hparams.metadata")
    logger = make_logger(tmp_path, sinks=["tensorboard"])
    logger.write_hyperparameters({"gamma": 0.5, "export": False, "policy_kwargs": {"hidden_sizes": [8, 8]}})
    logger.record("eval/mean_reward", 1.5)
    logger.dump(10)
    logger.close()

    (path,) = (tmp_path / "tensorboard").iterdir()  # in the run's own file, so that results stand beside them
    reader = accumulator.EventAccumulator(str(path))
    reader.Reload()
    assert reader.Scalars("eval/mean_reward")[0].value == 1.5
    content = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    assert found["gamma"].number_value == 0.5
    assert found["export"].WhichOneof("kind") == "bool_value"
    assert found["policy_kwargs/hidden_sizes"].string_value == "[8, 8]"
    experiment = metadata.parse_experiment_plugin_data(
        reader.summary_metadata["_hparams_/experiment"].plugin_data.content
    )
    assert [info.name.tag for info in experiment.metric_infos] == ["eval/mean_reward", "rollout/ep_rew_mean"]


def test_tensorboard_rows_reach_the_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    sink = TensorBoardSink(tmp_path)
    try:
        for step in (1, 2):
            sink.write({f"a/row{step}": 1.0}, step)
        deadline = time.monotonic() + 10.0
        while not (found := any(b"a/row2" in path.read_bytes() for path in tmp_path.iterdir())):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found
    finally:
        sink.close()


class FakeConfig(dict[str, Any]):
    """Stands for a run's config."""

    def update(self, values: Mapping[str, Any], allow_val_change: bool) -> None:  # type: ignore[override]
        assert allow_val_change
        super().update(values)

    def setdefaults(self, values: Mapping[str, Any]) -> None:
        super().update({**values, **self})


class FakeRun:
    """Stands for a run of W&B."""

    def __init__(self, run_id: str = "id") -> None:
        self.id = run_id
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str | None]] = []
        self.finished = 0
        self.config = FakeConfig()

    def log(self, row: dict[str, Any]) -> None:
        self.logged.append(row)

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def finish(self) -> None:
        self.finished += 1


class FakeWandb:
    """Stands for the module `wandb`, which takes seconds to import and to start."""

    def __init__(self, run: FakeRun | None = None) -> None:
        self.run = run
        self.started: list[tuple[FakeRun, dict[str, Any]]] = []

    def init(self, **settings: Any) -> FakeRun:
        run = FakeRun()
        self.started.append((run, settings))
        return run


def test_wandb_gets_rows_project_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    logger = make_logger(tmp_path, exp_name="mine", sinks=["wandb"])
    assert wandb.started == []
    for step, value in ((4000, 0.5), (0, 0.25)):  # the second from a `learn` that started over
        logger.record("train/alpha", value)
        logger.dump(step)
    logger.close()
    logger.record("train/alpha", 0.125)
    logger.dump(10)
    logger.close()

    (first, settings), (second, again) = wandb.started
    assert settings["project"] == "mine"
    assert settings["dir"] == str(tmp_path / "mine")
    assert settings["id"] is None
    assert settings["reinit"] == "create_new"  # not the run of another agent in this process
    assert first.logged == [{"train/alpha": 0.5, "global_step": 4000}, {"train/alpha": 0.25, "global_step": 0}]
    assert first.metrics == [("global_step", None), ("*", "global_step")]
    assert first.finished == 1
    assert (again["id"], again["resume"]) == ("id", "allow")
    assert second.logged == [{"train/alpha": 0.125, "global_step": 10}]


def test_wandb_uses_the_users_run_and_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun()
    wandb = FakeWandb(run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    sink = WandbSink()
    sink.write({"a": 1}, 5)
    sink.close()
    assert run.logged == [{"a": 1, "global_step": 5}]
    assert run.finished == 0
    assert wandb.started == []


def test_hyperparameters_stand_in_wandbs_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    logger = make_logger(tmp_path, sinks=["wandb"])
    logger.write_hyperparameters({"gamma": 0.9, "n_envs": 1})
    logger.write_hyperparameters({"gamma": 0.9, "n_envs": 2})
    ((run, _),) = wandb.started
    assert run.config == {"gamma": 0.9, "n_envs": 2}
    assert run.logged == []


def test_what_the_user_has_put_into_wandbs_config_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun()
    run.config["gamma"] = "mine"
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(run))
    WandbSink().write_hyperparameters({"gamma": 0.9, "seed": 3})
    assert run.config == {"gamma": "mine", "seed": 3}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_itself(tmp_path: Path, mode: str) -> None:
    # In a process of its own: W&B starts a service and leaves threads and sockets behind until the process ends.
    pytest.importorskip("wandb")
    script = (
        "from slc_agents.logger import make_logger\n"
        "logger = make_logger('out', sinks=['csv', 'wandb'])\n"
        "logger.write_hyperparameters({'gamma': 0.9, 'nested': {'sizes': [8, 8]}})\n"
        "for step in (2000, 1000):\n"
        "    logger.record('train/alpha', 0.5)\n"
        "    logger.dump(step)\n"
        "run = logger.sinks[1]._run\n"
        "assert dict(run.config) == {'gamma': 0.9, 'nested/sizes': '[8, 8]'}, dict(run.config)\n"
        "assert run.summary['train/alpha'] == 0.5, dict(run.summary)\n"
        "assert run.summary['global_step'] == 1000, dict(run.summary)\n"
        "logger.close()\n"
    )
    root = Path(slc_agents.logger.__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "WANDB_MODE": mode, "WANDB_SILENT": "true", "PYTHONPATH": path}
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(lines_of(tmp_path / "out" / "progress.csv")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    recorded = [path for path in (tmp_path / "out").rglob("*.wandb") if path.stat().st_size > 0]
    assert len(recorded) == (1 if mode == "offline" else 0)
