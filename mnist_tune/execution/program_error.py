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

GUARDED = "Disallowed host-to-device transfer"
"""JAX's words for a copy to the device while a program runs. Only a callback can try to
make one, by any operation on the arrays that it gets."""

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


def classified(
    error: Exception | SystemExit,
) -> UserError | OutOfMemoryError | DeviceError:
    """Return what an exception is. A `UserError` ends one trial, for a lack of memory
    lanes train in smaller batches, and after a failure of the device its process ends,
    and its trials go on elsewhere."""
    if isinstance(error, (UserError, OutOfMemoryError, DeviceError)):
        return error
    text = str(error).strip() or "no message"
    message = text.splitlines()[0]
    kind = type(error).__name__
    is_of_xla = kind in OF_XLA
    if is_of_xla and QUOTED in text:
        trace = text
        quoted = _last_line(trace)
        if quoted:
            kind, message = quoted
    else:
        if is_of_xla and NO_MEMORY.search(text):
            return OutOfMemoryError(message)
        if is_of_xla and not text.startswith(OF_NO_DEVICE):
            return DeviceError(message)
        trace = "".join(traceback.format_exception(error))
    if GUARDED in message:
        what = "a callback computes with arrays of JAX"
        message = f"{what}, which it got; take them by np.asarray(x) first"
    frames = [*FRAME.finditer(trace)]
    outside = [frame for frame in frames if not _is_of_library(frame[1])]
    is_of_user = bool(outside) and not outside[-1][1].startswith(_PACKAGE)
    types = {base.__name__ for base in type(error).__mro__}
    is_of_machine = not is_of_user and not OF_THE_MACHINE.isdisjoint(types)
    if is_of_machine or NO_DEVICE.search(text):
        return DeviceError(f"{kind}: {message}")
    place = "?:?"
    if frames:
        innermost = (outside or frames)[-1]
        place = ":".join(innermost.groups())
    return ProgramError(f"{kind}: {message} ({place})")


def _last_line(trace: str) -> tuple[str, str] | None:
    """Return the type and the message of the exception that a traceback quotes; None if
    it has no frame, or no such line."""
    frames = [*FRAME.finditer(trace)]
    if not frames:
        return None
    tail = trace[frames[-1].end() :]
    raised = re.search(r"^([\w.]+)(?:: (.*))?$", tail, re.MULTILINE)
    if raised is None:
        return None
    kind = raised[1].rpartition(".")[2]
    return kind, raised[2] or "no message"


def _is_of_library(file: str) -> bool:
    """Return whether a file is a library's; this package may be among these."""
    is_installed = file.startswith(_LIBRARIES) or "/site-packages/" in file
    return is_installed and not file.startswith(_PACKAGE)


@contextmanager
def classifying() -> Iterator[None]:
    """Raise what is raised within as what it is."""
    try:
        yield
    # else a user's sys.exit would end the process, again and again
    except (Exception, SystemExit) as error:
        classified_error = classified(error)
        if classified_error is error:
            raise
        raise classified_error from error


_PACKAGE = str(Path(__file__).parents[1])
_PATHS = sysconfig.get_paths()
_LIBRARIES = (_PATHS["stdlib"], _PATHS["purelib"], _PATHS["platlib"])
