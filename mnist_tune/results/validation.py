"""Text from a file in a sweep's folder, whoever wrote it: fit to be shown on a terminal."""

from __future__ import annotations

from typing import Any


def printable(value: Any) -> Any:
    """A JSON value whose text does nothing to a terminal or a reader: such characters are spelt out."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_spelt_out, value))
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def _spelt_out(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
