"""The cache folder, which keeps compiled programs and the files of MNIST from one run
to the next."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

from mnist_tune.errors import UserError

CACHE_VARIABLE = "MNIST_TUNE_CACHE"

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return `$MNIST_TUNE_CACHE`, or the user's cache folder if that is unset or empty.
    It may be missing."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("mnist_tune").absolute()


def writable_cache_folder() -> Path:
    """Return the cache folder, created if missing. If the default one is not writable,
    return a temporary folder; if `$MNIST_TUNE_CACHE` is not, raise a `UserError`."""
    folder = cache_folder()
    if os.environ.get(CACHE_VARIABLE):
        reason = _why_unwritable(folder)
        if reason:
            what = f"can't write to ${CACHE_VARIABLE}, {folder}: {reason}"
            raise UserError(f"{what}; set it to a writable folder")
    return writable_or_temporary(folder)


@functools.cache  # so that a process warns once
def writable_or_temporary(folder: Path) -> Path:
    """Return the folder, created if missing. If it is not writable, return a temporary
    folder of this user."""
    reason = _why_unwritable(folder)
    if reason is None:
        return folder
    temporary = own_folder(Path(tempfile.gettempdir()))
    advice = f"set ${CACHE_VARIABLE} to a writable folder"
    _log.warning(
        "can't write to the cache folder %s (%s), using %s instead; %s",
        folder,
        reason,
        temporary,
        advice,
    )
    return temporary


def _why_unwritable(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def own_folder(parent: Path) -> Path:
    """Return one folder for all processes of this user, which others can't enter. If
    another user has taken its name, make a new one: that user could replace the
    compiled programs that this process runs."""
    folder = parent / f"mnist_tune-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():
            folder.chmod(0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix="mnist_tune-", dir=parent))


def programs_folder(cache: Path) -> Path:
    """Return the folder of compiled programs below the cache folder, or below a
    temporary one: this process runs what is there, so no other user may write to it."""
    folder = writable_or_temporary(cache) / "xla"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = folder.stat()
    if there.st_uid == os.getuid() and not there.st_mode & 0o022:
        return folder
    _log.warning(
        "others may write to %s, so its programs are not run; remove it, or set $%s",
        folder,
        CACHE_VARIABLE,
    )
    return own_folder(Path(tempfile.gettempdir())) / "xla"
