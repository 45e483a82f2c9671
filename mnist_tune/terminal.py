"""What is said on the terminal while a command runs."""

from __future__ import annotations

import sys


def announce(line: str, quiet: bool = False) -> None:
    """A line about what goes on, on standard error so that tables stay clean on standard output."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
