"""How the commands write errors, times and numbers of things."""

from __future__ import annotations

import re

__all__ = ["SEE_DEBUG", "count", "duration", "one_line", "plain"]

SEE_DEBUG = " (--debug shows where)"


def count(n: int, what: str) -> str:
    """Returns a number of things: `1 seed`, `1,000 seeds`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


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
