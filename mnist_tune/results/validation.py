"""What may be believed of a file in a sweep's folder, whoever wrote it: its values' kinds, its ids, its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mnist_tune.trial import LARGEST

Checks = Mapping[str, Callable[[Any], bool]]


def wrong(values: Any, needed: Checks, told: Checks) -> str | None:
    """The first name whose value is not what it should be; None where all are.

    Args:
        values: read from a file.
        needed: what each of the values that must be there should be.
        told: of those that may be missing, or null.
    """
    if not isinstance(values, dict):
        return "it"
    found = [name for name, holds in needed.items() if name not in values or not holds(values[name])]
    found += [name for name, holds in told.items() if values.get(name) is not None and not holds(values[name])]
    return found[0] if found else None


def is_id(value: Any) -> bool:
    """Of a trial, and the reason that ended one. States are named by ids: none leads out of their folder."""
    return isinstance(value, str) and re.fullmatch(r"[\w-]{1,64}", value, re.ASCII) is not None


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    """NaN and infinity are: losses of what diverged."""
    return isinstance(value, float) or (type(value) is int and abs(value) <= LARGEST)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST


def printable(value: Any) -> Any:
    """A JSON value whose text does nothing to a terminal or a reader: such characters are spelt out."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_spelt_out, value))
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def _spelt_out(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
