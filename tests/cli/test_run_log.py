"""A run's log: what was said, with the time, in a file and on the console."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import pytest

from slc_agents.cli.run_log import RunLog


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in text.splitlines())
    return [line[21:] for line in text.splitlines()]


@pytest.mark.parametrize(("quiet", "shown"), [(False, "a\nb\n"), (True, "b\n")])
def test_all_of_it_is_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool, shown: str) -> None:
    for _ in range(2):  # the second launch goes on with the file
        with RunLog(tmp_path, quiet=quiet) as log:
            log.say("a")
            log.tell("b")
            log.keep("c\nd")
            assert lines(tmp_path / "log.txt")[-4:] == ["a", "b", "c", "d"]  # at once
    assert capsys.readouterr() == (2 * shown, "")
    assert lines(tmp_path / "log.txt") == 2 * ["a", "b", "c", "d"]


def test_warnings_and_the_last_error_are_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *rest, **more: shown.append(str(message))
        before = warnings.showwarning
        with pytest.raises(ZeroDivisionError), RunLog(tmp_path, quiet=False):
            _ = (warnings.warn("mind\nthe step", stacklevel=1), 1 / 0)
        assert warnings.showwarning is before
    assert shown == ["mind\nthe step"]
    said = lines(tmp_path / "log.txt")
    assert said[0] == "warning: mind the step"
    assert said[1] == "Traceback (most recent call last):"
    assert said[-1] == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt), RunLog(tmp_path, quiet=False):
        raise KeyboardInterrupt
    assert lines(tmp_path / "log.txt")[-1] == "interrupted"


def test_nothing_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the console is the file."""
    with (tmp_path / "log.txt").open("a") as file, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *rest, **more: print("warned", file=sys.stderr)
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setattr(sys, "stderr", file)
        with RunLog(tmp_path, quiet=False) as log:
            log.say("a")
            log.tell("b")
            warnings.warn("c", stacklevel=1)
    assert lines(tmp_path / "log.txt") == ["a", "b", "warning: c"]
