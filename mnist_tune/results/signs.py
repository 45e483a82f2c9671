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
import math
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
        if writer is None:
            return None
        if not writer:
            return False
        folder = working_folder(where)
        place = writer["host"], writer.get("folder")
        if place == (platform.node(), str(folder)):
            return _is_locked(folder)
        if _age(where) < ALIVE_S:
            return True
        return None
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
    except BlockingIOError:
        return True
    except OSError:
        return None
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
        if "host" not in writer:
            writer = {}
        return Sign(writer, version)
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
        files = object_storage.files(uri)
    finally:
        storage.remove(probe)
    if SIGN not in files:
        return math.inf
    signed = files[SIGN]["last_modified"].timestamp()
    now: float = files[name]["last_modified"].timestamp()
    return now - signed


class WriterTurn:
    """The turn of this process to write a folder, whose local lock it holds. Raises
    `UserError` if a process on another node is writing, or has just begun to, and
    OSError."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        before = _files(folder)
        if before:
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
        for number, file_of_before in _files(folder).items():
            if number < self._number:
                file_of_before.unlink(missing_ok=True)

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
        lock = self._folder / ".lock"
        new_signs = 0
        try:
            who, last = _sign(file)
            # the lock that we hold says that it has ended
            if _is_here(who, self._folder):
                return
            os.utime(lock)  # by the clock of the mount
            age_s = max((lock.stat().st_mtime_ns - last) / 1e9, 0)
            wait_s = SILENCE_S - age_s
            if wait_s >= 0:
                sign = f"{who[0]} wrote to {self._folder} {age_s:.0f} s ago"
                say(f"{sign}; waiting {wait_s:.0f} s to see whether it still does")
            while wait_s > 0 and who:
                pause_s = min(LOOK_S, wait_s)
                time.sleep(pause_s)
                wait_s -= pause_s
                who, now = _sign(file)
                if who and now != last:
                    new_signs += 1
                    last = now
                    wait_s = SILENCE_S
                if new_signs == 2:
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
        _, newest = max(_files(folder).items())
        who, touched = _sign(newest)
        silence_s = time.time() - touched / 1e9
        return not _is_here(who, folder) and silence_s < SILENCE_S
    return False


def _files(folder: Path) -> dict[int, Path]:
    """Return the writers' files by their numbers."""
    files = dict[int, Path]()
    for name in os.listdir(folder):
        match = re.fullmatch(r"\.writer-(\d{1,9})", name)
        if match:
            files[int(match[1])] = folder / name
    return files


def _sign(file: Path) -> tuple[list[str], int]:
    """Return where a writer is, as `_here` of its own, empty if it has ended, and when
    it touched its file."""
    with storage.open_file(file) as opened:
        text = opened.read().decode(errors="replace")
        status = os.fstat(opened.fileno())
        return text.splitlines(), status.st_mtime_ns


def _here(folder: Path) -> list[str]:
    """Return the name of this host, and what names the mount of a folder: the boot of
    this machine, and the device. For containers of one machine the second is the same,
    whatever they are called."""
    names = [platform.node()]
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        names.append(f"{boot} {folder.stat().st_dev}")
    return names


def _is_here(who: list[str], folder: Path) -> bool:
    """Return whether a writer is one whose lock holds for us, too, or has ended."""
    return not who or not {*who}.isdisjoint(_here(folder))
