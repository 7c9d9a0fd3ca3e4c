from __future__ import annotations

import io
import re

import pytest
from fake_model import FakeModel, run_steps
from rich.console import Console

from slc_agents.callbacks import ProgressBarCallback, progress


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def drawn(console):
    """The step counts that were shown, each once."""
    return list(dict.fromkeys(int(t) for t in re.findall(r"(\d+)/100 ", console.file.getvalue())))


@pytest.mark.parametrize(("seconds", "expected"), [(-1.0, [0, 1, 2, 3]), (1e9, [0, 3])])
def test_it_is_drawn_at_the_start_as_often_as_can_be_seen_and_at_the_end(monkeypatch, seconds, expected):
    monkeypatch.setattr(progress, "REFRESH_SECONDS", seconds)
    console = terminal()
    run_steps(ProgressBarCallback(console), FakeModel(), 3)
    assert drawn(console) == expected


def test_the_terminal_is_left_as_it_was():
    console, model = terminal(), FakeModel()
    callback = ProgressBarCallback(console)
    run_steps(callback, model, 3, ends=False)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"  # the cursor
    assert hidden in console.file.getvalue()
    assert shown not in console.file.getvalue()
    callback.on_training_end()
    assert shown in console.file.getvalue()
    before = console.file.getvalue()
    callback.on_step()
    callback.on_training_end()
    assert console.file.getvalue() == before


def test_a_resumed_run_starts_where_it_was():
    console, model = terminal(), FakeModel()
    model.num_timesteps = 40
    run_steps(ProgressBarCallback(console), model, 42)
    assert drawn(console) == [40, 42]
