"""The error for mistakes that the user can fix, and texts made safe to show."""

from __future__ import annotations

import re
from typing import Any


class UserError(Exception):
    """A mistake of the caller, or in the set-up of the machine.

    The message says what was wrong, where, and what to do, in one line. A command
    prints it and exits with code 2.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(escaped(redacted(message)))


# The repetitions are bounded: a long text could be crafted to keep unbounded ones busy
# for ever.
_USER = re.compile(r"(?<=://)[^\s'\"]{1,500}(?=@)")
_SECRET = re.compile(
    r"((?:secret|token|password|key|signature|credential)[\w-]{0,50}=)[^\s&'\"]+",
    re.IGNORECASE,
)


def why(error: Exception) -> str:
    """Return what an error says, and of what kind it is unless it is a `UserError`."""
    return (
        str(error)
        if isinstance(error, UserError)
        else f"{type(error).__name__}: {error}"
    )


def escaped(text: str) -> str:
    """Return the text with every unprintable character replaced by its escape
    sequence."""
    escapes = (
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )
    return text if text.isprintable() else "".join(escapes)


def printable(value: Any) -> Any:
    """Return a JSON value with every unprintable character in its texts replaced by its
    escape sequence."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def redacted(text: str) -> str:
    """Return the text with users, passwords, keys and tokens of its URIs hidden:
    `s3://***@bucket/sweep?token=***`."""
    return _SECRET.sub(r"\1***", _USER.sub("***", text))
