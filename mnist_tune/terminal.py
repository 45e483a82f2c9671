"""Messages on the terminal while a command runs."""

from __future__ import annotations

import sys


def announce(line: str, quiet: bool = False) -> None:
    """Print a line to standard error, so that standard output holds only tables.
    `quiet` leaves out progress, and no note or warning."""
    if not quiet or line.startswith(("note: ", "warning: ")):
        print(line, file=sys.stderr, flush=True)
