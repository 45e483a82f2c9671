"""The folder that keeps, from one run to the next, what takes long to get: compiled programs and the files of MNIST."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

import platformdirs

from mnist_tune.errors import UserError

CACHE_VARIABLE = "MNIST_TUNE_CACHE"

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`$MNIST_TUNE_CACHE`, or the user's cache folder where that is unset or empty; it may be missing or read-only."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("mnist_tune")).absolute()


def writable_cache_folder() -> Path:
    """The cache folder, made where need be; a temporary one in place of a default that can't be written.

    Raises:
        UserError: `$MNIST_TUNE_CACHE` can't be written.
    """
    folder = cache_folder()
    if os.environ.get(CACHE_VARIABLE) and (reason := _why_unwritable(folder)):
        raise UserError(f"can't write to ${CACHE_VARIABLE}, {folder}: {reason}; set it to a folder that can be written")
    return writable_or_temporary(folder)


@functools.cache  # warns once a process
def writable_or_temporary(folder: Path) -> Path:
    """The folder, made where need be; where it can't be written, a temporary one of this user and machine."""
    reason = _why_unwritable(folder)
    if reason is None:
        return folder
    temporary = _temporary_folder()
    advice = f"set ${CACHE_VARIABLE} to a folder that can be written"
    _log.warning("can't write to the cache folder %s (%s), %s stands in for it; %s", folder, reason, temporary, advice)
    return temporary


def _why_unwritable(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _temporary_folder() -> Path:
    """The same one for all processes of this user; a new one where somebody else took its name, and could put there
    compiled programs that this user would run."""
    folder = Path(tempfile.gettempdir(), f"mnist_tune-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="mnist_tune-"))
