"""Errors of the program or of the user's own code, which another process or machine would meet, too."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

from ray.exceptions import RayError

from mnist_tune.execution.lane_client import LaneLostError

FRAME = re.compile(r'^ *File "([^"<]+)", line (\d+)', re.MULTILINE)

OF_THE_MACHINE = (OSError, MemoryError, RayError, LaneLostError)
"""Errors that may be gone in another process, or on another machine."""

OF_THE_DEVICE = ("XlaRuntimeError", "JaxRuntimeError")
"""XLA's errors, such as a lack of memory. Once a GPU has failed, its process meets the same one again and again."""


class ProgramError(Exception):
    """An error of the program: its type, its message in one line, and the innermost `file:line` outside libraries."""

    def __init__(self, kind: str, message: str, place: str) -> None:
        super().__init__(kind, message, place)
        self.key = kind, place

    def __str__(self) -> str:
        return "{}: {} ({})".format(*self.args)


def program_error(error: Exception) -> ProgramError | None:
    """Return what an exception says as an error of the program; None if it may be the machine's or the device's."""
    cause = getattr(error, "cause", None) or error  # of an exception that was raised in a lane server
    if isinstance(cause, ProgramError):
        return cause
    if isinstance(cause, OF_THE_MACHINE) or type(cause).__name__ in OF_THE_DEVICE:
        return None
    frames = FRAME.findall("".join(traceback.format_exception(error)))
    own = [frame for frame in frames if frame[0].startswith(_PACKAGE) or not frame[0].startswith(_LIBRARIES)]
    place = ":".join((own or frames or [("?", "?")])[-1])
    return ProgramError(type(cause).__name__, (str(cause).strip() or "no message").splitlines()[0], place)


_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
