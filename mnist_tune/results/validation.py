"""Make text from an untrusted file safe to print on a terminal."""

from __future__ import annotations

from typing import Any


def printable(value: Any) -> Any:
    """Return a JSON value with every unprintable character in its texts replaced by its escape sequence."""
    if isinstance(value, str):
        escaped = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in value)
        return value if value.isprintable() else "".join(escaped)
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value
