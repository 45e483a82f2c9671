"""The error for mistakes that the user can fix, texts made safe to show, which name was
meant, and which library is missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import StrEnum
from importlib import import_module
from typing import Any, ClassVar


class ErrorKind(StrEnum):
    """What ended a trial in an error."""

    REFUSED = "refused"
    """Its config, its data or its saved state."""
    PROGRAM = "program"
    """Its program, or the user's own code, raised an error."""
    LAST_BATCH = "last_batch"
    """Its program can't train on the smaller last batch of an epoch. No resume helps,
    as a sweep keeps its options."""
    DIED = "died"
    """Its process died several times."""


class UserError(Exception):
    """A mistake of the caller, or in the set-up of the machine.

    The message says what was wrong, where, and what to do, in one line. A command
    prints it and exits with code 2.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.REFUSED
    """Its kind, if it ends a trial."""

    def __init__(self, message: str = "") -> None:
        super().__init__(escaped(redacted(message)))


class LastBatchError(UserError):
    """A program can't train on the smaller last batch of an epoch."""

    kind = ErrorKind.LAST_BATCH


class InterruptedSweepError(KeyboardInterrupt):
    """Ctrl-C, with the command that resumes the sweep whose folder was open."""

    def __init__(self, resume: str) -> None:
        super().__init__(f"resume with: {resume}")
        self.resume = resume


# The repetitions are bounded: a long text could be crafted to keep unbounded ones busy
# for ever.
_USER = re.compile(r"(?<=://)[^\s'\"]{1,500}(?=@)")
_SECRET = re.compile(
    r"((?:secret|token|password|key|signature|credential)[\w-]{0,50}=)[^\s&'\"]+",
    re.IGNORECASE,
)


def why(error: Exception) -> str:
    """Return what an error says, and of what kind it is unless it is a `UserError`."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def escaped(text: str) -> str:
    """Return the text with every unprintable character replaced by its escape
    sequence."""
    if text.isprintable():
        return text
    escapes = []
    for character in text:
        if not character.isprintable():
            character = character.encode("unicode_escape").decode()
        escapes.append(character)
    return "".join(escapes)


def printable(value: Any) -> Any:
    """Return a JSON value with every unprintable character in its texts replaced by its
    escape sequence."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return value


def redacted(text: str) -> str:
    """Return the text with users, passwords, keys and tokens of its URIs hidden:
    `s3://***@bucket/sweep?token=***`."""
    return _SECRET.sub(r"\1***", _USER.sub("***", text))


def registering(option: str, value: Any) -> str:
    """Return how to hand over code of one's own, for where it was given in place of its
    name; empty if the value is no such code, or the option names none."""
    register = {
        "architecture": "register",
        "task": "register",
        "optimizer": "register_optimizer",
    }
    values = value if isinstance(value, (tuple, list)) else [value]
    is_code = any(callable(item) or hasattr(item, "init") for item in values)
    if option not in register or not is_code:
        return ""
    return f"; register it, {register[option]}('mine')(function that returns it), and give {option}='mine'"


def closest(name: str, candidates: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` with the closest known name, or a list of all if
    none is close. A name is close to the first letters of its words, as `learning_rate`
    is to `lr`."""
    names = list(candidates)
    matches = [candidate for candidate in names if _initials(candidate) == name]
    matches += difflib.get_close_matches(name, names)
    if matches:
        return f"; did you mean {matches[0]!r}?"
    return f"; known are {', '.join(names) or 'none'}"


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))


def library(name: str, needed_by: str, package: str = "") -> Any:
    """Return a module of an optional library. Raises `UserError` if it is not
    installed. `package` is what installs it, if it is not called as the library is."""
    try:
        return import_module(name)
    except ImportError:
        package = package or name.partition(".")[0]
        how = f"to install it: python -m pip install {package}"
        raise UserError(f"{needed_by} needs {package}; {how}") from None
