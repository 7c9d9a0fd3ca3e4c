"""How the commands write errors, times and numbers of things."""

from __future__ import annotations

import math
import re

__all__ = ["SEE_DEBUG", "count", "duration", "one_line", "plain", "with_interval"]

SEE_DEBUG = " (--debug shows where)"
NOTHING = 1e-12


def count(n: int, what: str) -> str:
    """Returns a number of things: `1 seed`, `1,000 seeds`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def with_interval(value: float, low: float, high: float, *, percent: bool = False) -> str:
    """Returns an estimate with the edges of its interval, where it has one: `1.13 [1.11, 1.16]`, `12% [5%, 20%]`."""
    if math.isnan(value):
        return "-"
    # Of what cancels out, what rounding leaves is no number to show.
    rounded = [0.0 if abs(number) < NOTHING else number for number in (value, low, high)]
    texts = [f"{number:.0%}" if percent else f"{number:.4g}" for number in rounded]
    return texts[0] if math.isnan(low) else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def duration(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds: `0:01:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def one_line(error: BaseException) -> str:
    """Says an error in one line; with its type where that is part of the message, or the message is empty."""
    from gymnasium.error import Error as GymnasiumError

    from slc_agents.errors import SlcAgentsError

    text = plain(" ".join([str(error), *getattr(error, "__notes__", ())]))
    speaks_for_itself = isinstance(error, (SlcAgentsError, GymnasiumError, OSError, ValueError, TypeError, ImportError))
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return text if text and speaks_for_itself else f"{type(error).__name__}: {text}{SEE_DEBUG}"


def plain(text: str) -> str:
    """Returns a text in one line, without a terminal's colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
