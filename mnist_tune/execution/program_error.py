"""Whose a failure is: the program's, a lack of memory, or the device's. What then
happens to lanes follows from it."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_tune.errors import ErrorKind, UserError

FRAME = re.compile(r'^ *File "([^"<]+)", line (\d+).*$', re.MULTILINE)

OF_XLA = ("XlaRuntimeError", "JaxRuntimeError")
"""The names of XLA's errors. Their messages begin with a status."""

QUOTED = "Traceback (most recent call last):"
"""Stands in an error of XLA if Python code that it called back raised: its frames
follow, its type and its message."""

NO_MEMORY = re.compile("RESOURCE_EXHAUSTED|OUT_OF_MEMORY")
"""XLA's word for it, and that of CUDA's driver."""

OF_NO_DEVICE = ("INVALID_ARGUMENT", "UNIMPLEMENTED")
"""The statuses of a program that no device can run."""

NO_DEVICE = re.compile("^Unable to initialize backend|(Array|Buffer) has been deleted")
"""JAX's words for a device that it can't use, and for lanes that were lost with a call
that failed."""

OF_THE_MACHINE = {"OSError", "MemoryError", "RayError"}
"""Errors that may be gone in another process, or on another machine, unless the user's
own code raised them. By name: Ray is not imported for what it has not raised."""


class ProgramError(UserError):
    """An error of the program or of the user's own code, which another process would
    meet, too. It says the type, the message in one line, and the innermost `file:line`
    outside libraries."""

    kind = ErrorKind.PROGRAM


class OutOfMemoryError(Exception):
    """The device has no memory for a call. It works as before."""


class DeviceError(Exception):
    """The device or the machine failed. This process can train no more, another one
    may: once a GPU has failed, its process meets the same error again and again."""


def classified(error: Exception) -> UserError | OutOfMemoryError | DeviceError:
    """Return what an exception is. A `UserError` ends one trial, for a lack of memory
    lanes train in smaller batches, and after a failure of the device its process ends,
    and its trials go on elsewhere."""
    if isinstance(error, (UserError, OutOfMemoryError, DeviceError)):
        return error
    text, of_xla, kind = (
        str(error).strip() or "no message",
        type(error).__name__ in OF_XLA,
        type(error).__name__,
    )
    message, quotes = text.splitlines()[0], of_xla and QUOTED in text
    if of_xla and not quotes:
        if NO_MEMORY.search(text):
            return OutOfMemoryError(message)
        if not text.startswith(OF_NO_DEVICE):
            return DeviceError(message)
    trace = text if quotes else "".join(traceback.format_exception(error))
    frames = [*FRAME.finditer(trace)]
    if quotes and frames:
        raised = re.search(
            r"^([\w.]+)(?:: (.*))?$", trace[frames[-1].end() :], re.MULTILINE
        )
        kind, message = (
            (raised[1].rpartition(".")[2], raised[2] or "no message")
            if raised
            else (kind, message)
        )
    own = [
        frame
        for frame in frames
        if frame[1].startswith(_PACKAGE) or not frame[1].startswith(_LIBRARIES)
    ]
    users = bool(own) and not own[-1][1].startswith(_PACKAGE)
    of_the_machine = OF_THE_MACHINE & {base.__name__ for base in type(error).__mro__}
    if NO_DEVICE.search(text) or (of_the_machine and not users):
        return DeviceError(f"{kind}: {message}")
    place = ":".join((own or frames)[-1].groups()) if frames else "?:?"
    return ProgramError(f"{kind}: {message} ({place})")


@contextmanager
def classifying() -> Iterator[None]:
    """Raise what is raised within as what it is."""
    try:
        yield
    except Exception as error:
        if (kind := classified(error)) is error:
            raise
        raise kind from error


_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = tuple(
    sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")
)
