"""Whether a process writes a sweep, and which one may: the one place that knows.

In a folder, its lock says so or, on a mount that machines share, its writer's file: a
lock may hold on one of them only. So each writer also creates `.writer-N`, with the
next number, which only one can. It touches that file as long as it lives, and empties
it at its end. Whoever finds a higher number than its own writes nothing more.

In object storage, the writer gives a sign of life every 20 seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mnist_tune import object_storage, storage
from mnist_tune.errors import UserError, printable
from mnist_tune.object_storage import Version
from mnist_tune.results.folder import working_folder
from mnist_tune.storage import Place

SIGN = "writer.json"

ALIVE_S = 120.0
"""How old the last sign of life of a writer that runs may be, in seconds by the clock
of the storage."""

SILENCE_S = 60.0
"""A writer counts as dead after this many seconds in which it did not touch its
file."""

LOOK_S = 1.0
"""Seconds between two looks whether it did."""


class Sign(NamedTuple):
    """The last sign of life of a writer in object storage."""

    writer: dict[str, Any] | None
    """Who wrote it; empty if the writer has ended, and None if there is no sign that
    can be read."""
    version: Version | None


def is_being_written(where: Place) -> bool | None:
    """Return whether a process writes a sweep. None if we can't know: nobody may let us
    look at another user's folder, and what gave no sign for `ALIVE_S` in object storage
    may have been killed, or be cut off."""
    if isinstance(where, Path):
        return _is_locked(where)
    try:
        writer = last_sign(where).writer
        if not writer:
            return None if writer is None else False
        if (writer["host"], writer.get("folder")) == (
            platform.node(),
            str(working_folder(where)),
        ):
            return _is_locked(working_folder(where))
        return True if _age(where) < ALIVE_S else None
    except OSError:
        return None


def _is_locked(folder: Path) -> bool | None:
    try:
        descriptor = os.open(
            folder / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except PermissionError:
        return None
    except OSError:  # there is none, or it is a link
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return _lives_elsewhere(folder)
    except OSError as error:
        return True if isinstance(error, BlockingIOError) else None
    finally:
        os.close(descriptor)


def last_sign(uri: str) -> Sign:
    """Return the last sign of life. Raises OSError."""
    try:
        content, version = object_storage.read(storage.join(uri, SIGN))
    except FileNotFoundError:
        return Sign(None, None)
    with suppress(ValueError):
        writer = printable(json.loads(content))
        return Sign(writer if "host" in writer else {}, version)
    return Sign(None, version)


def _age(uri: str) -> float:
    """Return the seconds since the last sign by the storage's clock: those of two
    machines may differ. Raises OSError.

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


class WriterTurn:
    """The turn of this process to write a folder, whose local lock it holds. Raises
    `UserError` if a process on another node is writing, or has just begun to, and
    OSError."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        if before := _files(folder):
            self._await_silence(before[max(before)], say)
        self._number = max(before, default=0) + 1
        self._file = folder / f".writer-{self._number}"
        try:
            with open(self._file, "x", opener=storage.no_link) as file:
                file.write("\n".join(_here(folder)))
        except FileExistsError:
            raise UserError(
                f"another process has just written to {folder}; try again"
            ) from None
        for number, of_before in _files(folder).items():
            if number < self._number:
                of_before.unlink(missing_ok=True)

    def go_on(self) -> None:
        """Show that this process lives. Raises `UserError` if another one took over, or
        OSError."""
        if max(_files(self._folder), default=0) != self._number:
            silent = "after this one gave no sign of life for a while"
            raise UserError(f"another process took over {self._folder}, {silent}")
        os.utime(self._file)

    def end(self) -> None:
        """Let others begin without waiting."""
        with suppress(OSError, UserError):
            self.go_on()
            storage.write(self._file, b"")

    def _await_silence(self, file: Path, say: Callable[[str], None]) -> None:
        """Return once the writer of this file has ended, or has been silent for
        `SILENCE_S`.

        One new sign may be of a process that was killed since, which the mount shows
        late. Two are from one that lives.
        """
        lock, heard = self._folder / ".lock", 0
        try:
            who, last = _sign(file)
            # the lock that we hold says that it has ended
            if _is_here(who, self._folder):
                return
            os.utime(lock)  # by the clock of the mount
            age = max((lock.stat().st_mtime_ns - last) / 1e9, 0)
            if (left := SILENCE_S - age) >= 0:
                said = f"{who[0]} wrote to {self._folder} {age:.0f} s ago"
                say(f"{said}; waiting {left:.0f} s to see whether it still does")
            while left > 0 and who:
                time.sleep(pause := min(LOOK_S, left))
                left -= pause
                who, now = _sign(file)
                if who and now != last:
                    heard, last, left = heard + 1, now, SILENCE_S
                if heard == 2:
                    raise UserError(
                        f"a sweep on {who[0]} is writing to {self._folder}; wait for it, or stop it first"
                    )
        except FileNotFoundError:  # another process began meanwhile, and has removed it
            raise UserError(
                f"another process has just written to {self._folder}; try again"
            ) from None


def _lives_elsewhere(folder: Path) -> bool:
    """Return whether a process on another node, whose lock may hold there only, is
    writing a folder."""
    with suppress(OSError, ValueError):  # there is no file
        who, touched = _sign(max(_files(folder).items())[1])
        return not _is_here(who, folder) and time.time() - touched / 1e9 < SILENCE_S
    return False


def _files(folder: Path) -> dict[int, Path]:
    """Return the writers' files by their numbers."""
    found = (re.fullmatch(r"\.writer-(\d{1,9})", name) for name in os.listdir(folder))
    return {int(one[1]): folder / one[0] for one in found if one}


def _sign(file: Path) -> tuple[list[str], int]:
    """Return where a writer is, as `_here` of its own, empty if it has ended, and when
    it touched its file."""
    with storage.open_file(file) as opened:
        return opened.read().decode(errors="replace").splitlines(), os.fstat(
            opened.fileno()
        ).st_mtime_ns


def _here(folder: Path) -> list[str]:
    """Return the name of this host, and what names the mount of a folder: the boot of
    this machine, and the device. For containers of one machine the second is the same,
    whatever they are called."""
    found = [platform.node()]
    with suppress(OSError):
        found.append(
            f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {folder.stat().st_dev}"
        )
    return found


def _is_here(who: list[str], folder: Path) -> bool:
    """Return whether a writer is one whose lock holds for us, too, or has ended."""
    return not who or not {*who}.isdisjoint(_here(folder))
