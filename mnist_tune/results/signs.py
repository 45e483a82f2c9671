"""Whether a process writes a sweep: the one place that knows.

In a folder, its lock says so or, on a mount that machines share, its writer's file. In object storage, its writer gives
a sign of life every 20 seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mnist_tune import object_storage, storage
from mnist_tune.columns import NAME, Column, first_wrong
from mnist_tune.errors import printable
from mnist_tune.object_storage import Version
from mnist_tune.results.folder import working_folder
from mnist_tune.results.turns import lives_elsewhere
from mnist_tune.storage import Place

SIGN = "writer.json"

SIGN_BYTES = 2**20

ALIVE_S = 120.0
"""How old the last sign of life of a writer that runs may be, in seconds by the clock of the storage."""


class Sign(NamedTuple):
    """The last sign of life of a writer in object storage."""

    writer: dict[str, Any] | None
    """Who wrote it; empty if the writer has ended, and None if there is no sign that can be read."""
    version: Version | None


def is_being_written(where: Place) -> bool | None:
    """Return whether a process writes a sweep. None if we can't know: nobody may let us look at another user's folder,
    and what gave no sign for `ALIVE_S` in object storage may have been killed, or be cut off."""
    if isinstance(where, Path):
        return _is_locked(where)
    try:
        writer = last_sign(where).writer
        if not writer:
            return None if writer is None else False
        if (writer["host"], writer.get("folder")) == (platform.node(), str(working_folder(where))):
            return _is_locked(working_folder(where))
        return True if _age(where) < ALIVE_S else None
    except OSError:
        return None


def _is_locked(folder: Path) -> bool | None:
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return None
    except OSError:  # there is none, or it is a link
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return lives_elsewhere(folder)
    except OSError as error:
        return True if isinstance(error, BlockingIOError) else None
    finally:
        os.close(descriptor)


def last_sign(uri: str) -> Sign:
    """Return the last sign of life. Raises OSError."""
    try:
        content, version = object_storage.read(storage.join(uri, SIGN), SIGN_BYTES)
    except FileNotFoundError:
        return Sign(None, None)
    with suppress(ValueError, RecursionError):
        found = printable(json.loads(content))
        if first_wrong(found, (Column("host", NAME), Column("folder", NAME))) is None:
            return Sign(found if "host" in found else {}, version)
    return Sign(None, version)


def _age(uri: str) -> float:
    """Return the seconds since the last sign by the storage's clock: those of two machines may differ. Raises OSError.

    The storage says the time only of what is written, so a file is.
    """
    name = f"clock-{secrets.token_hex(8)}"
    probe = storage.join(uri, name)
    storage.write(probe, b"")
    try:
        found = object_storage.files(uri)
    finally:
        storage.remove(probe)
    written = {one: meta["last_modified"].timestamp() for one, meta in found.items()}
    return written[name] - written.get(SIGN, -float("inf"))
