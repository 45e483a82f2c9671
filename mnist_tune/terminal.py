"""Messages on the terminal while a command runs."""

from __future__ import annotations

import sys


def announce(line: str, quiet: bool = False) -> None:
    """Print a line to standard error, so that standard output holds only tables."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
