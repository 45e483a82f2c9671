"""Messages on the terminal while a command runs, and texts of others made safe to print there."""

from __future__ import annotations

import sys
from typing import Any

from mnist_tune.errors import escaped


def announce(line: str, quiet: bool = False) -> None:
    """Print a line to standard error, so that standard output holds only tables. `quiet` leaves out progress, and no
    note or warning."""
    if not quiet or line.startswith(("note: ", "warning: ")):
        print(line, file=sys.stderr, flush=True)


def printable(value: Any) -> Any:
    """Return a JSON value with every unprintable character in its texts replaced by its escape sequence."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value
