"""Messages on the terminal while a command runs."""

from __future__ import annotations

import sys


class Note(str):
    """A note or a warning as a line: that is shown even where progress is not."""

    text: str
    """What it says, without what kind of line it is."""


def note(text: str) -> Note:
    """Return a note as a line."""
    return _line("note", text)


def warning(text: str) -> Note:
    """Return a warning as a line."""
    return _line("warning", text)


def _line(kind: str, text: str) -> Note:
    line = Note(f"{kind}: {text}")
    line.text = text
    return line


def announce(line: str, quiet: bool = False) -> None:
    """Print a line to standard error, so that standard output holds only tables.
    `quiet` leaves out progress, and no `Note`."""
    if not quiet or isinstance(line, Note):
        print(line, file=sys.stderr, flush=True)
