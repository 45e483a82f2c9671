"""Errors that are the user's to mend, and what no error or record may show."""

from __future__ import annotations

import re


class UserError(Exception):
    """A mistake of the caller or of the machine's set-up.

    The message names what was wrong, where, and what to do; a command prints it and exits with 2.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


# Bounded: a text may be long, and made to take for ever.
_USER = re.compile(r"(?<=://)[^\s'\"]{1,500}(?=@)")
_SECRET = re.compile(r"((?:secret|token|password|key|signature|credential)[\w-]{0,50}=)[^\s&'\"]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Without the user and password, and without the keys and tokens, that an address in it holds:
    `s3://***@bucket/sweep?token=***`."""
    return _SECRET.sub(r"\1***", _USER.sub("***", text))
