"""The progress bar fits into one line of a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from slc_agents import SAC
from slc_agents.callbacks import ProgressBarCallback

SMALL = {"steps_per_epoch": 200, "update_after": 100, "batch_size": 8, "policy_kwargs": {"hidden_sizes": [8]}}


def bars(width: int, total: int, opt_type: str = "maximize") -> list[str]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system="standard")
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, opt_type=opt_type, num_test_episodes=1, **SMALL)
    model.learn(total, [ProgressBarCallback(console), lambda agent: agent.num_timesteps < 400])
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n")
    return [line for line in text.splitlines() if "steps/s" in line]


@pytest.mark.parametrize(("width", "words"), [(80, 1), (120, 2), (160, 4)])
def test_a_line_has_all_that_there_is_room_for(width: int, words: int) -> None:
    lines = bars(width, 1_000_000)
    assert lines
    shown = ["return", "test", "actor loss", "critic loss"][:words]
    number = r"\s+-?[\d.e+]+"
    pattern = r"\s+400/1,000,000 ━+ \s*[\d,]+ steps/s \S+ left " + r"\s+".join(name + number for name in shown)
    assert re.fullmatch(pattern, lines[-1]), lines[-1]
    assert {len(line) for line in lines} == {width}
    assert lines[-1].count("━") >= 8


def test_the_end_says_how_long_it_took() -> None:
    last = bars(80, 400, "minimize")[-1]
    assert re.fullmatch(r"400/400 ━+ +[\d,]+ steps/s in \d:\d\d:\d\d +cost +-?[\d.e+]+", last), last
