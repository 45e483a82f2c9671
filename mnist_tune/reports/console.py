"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 160
"""Width of the tables, in characters, if standard output is not a terminal."""


def table_console() -> Console:
    """Return the console that tables are printed to: as wide as the terminal, or `PLAIN_WIDTH` where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
