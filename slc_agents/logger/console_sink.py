"""The console as a sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slc_agents.logger.sink import Value

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ConsoleSink"]


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

    def write_note(self, text: str) -> None:
        """Prints a line."""
        import rich
        from rich.text import Text

        (self._console or rich.get_console()).print(Text(text))

    def close(self) -> None:
        """Does nothing: the console is not ours to close."""
