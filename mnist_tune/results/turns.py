"""Who may write a sweep's folder on a shared mount, where a lock may hold on one node only.

Each writer creates `writer-N` there, with the next number, which only one can. It touches that file as long as it
lives, and empties it at its end. Whoever finds a higher number than its own writes nothing more.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

SILENCE_S = 60.0
"""A writer counts as dead after this many seconds without a sign of life: here it touches its file."""

LOOK_S = 1.0
"""Seconds between two looks whether it gave one."""

MOUNTS = Path("/proc/self/mountinfo")
SHARED = re.compile(r"nfs|cifs|smb|lustre|gpfs|beegfs|ceph|gluster|pvfs|orangefs|afs|wekafs|panfs|fuse\.")
"""File systems that several machines may share, as their types begin."""


def is_shared(folder: Path) -> bool:
    """Return whether a folder is on a mount that other machines may share."""
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:  # another system than Linux
        return False
    points = {Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), one[4])): one for one in mounts}
    nearest = next((points[one] for one in (folder.resolve(), *folder.resolve().parents) if one in points), None)
    return nearest is not None and bool(SHARED.match(nearest[nearest.index("-") + 1]))


class Sign(NamedTuple):
    """The last sign of life of a writer. There is no writer if it has ended, and no version if it gave none."""

    writer: dict[str, Any] | None
    version: Any


def wait_for_silence(
    where: Place, last: Sign, age: float, look: Callable[[], Sign], say: Callable[[str], None]
) -> Sign:
    """Return the last sign of life in a folder, once no other process is writing there: wait if one just did. `last`
    was given `age` seconds ago. Raises `UserError` if a process still writes.

    One new sign while this waits may be a request that a killed process had sent. Two are from a process that lives.
    """
    left, heard = SILENCE_S - max(age, 0), 0
    if last.writer and left >= 0:
        said = f"{last.writer['host']} wrote to {where} {max(age, 0):.0f} s ago"
        say(f"{said}; waiting {left:.0f} s to see whether it still does")
    while left > 0:
        pause = min(LOOK_S, left)
        time.sleep(pause)
        left -= pause
        found = look()
        if found.writer is None:
            return found
        if found != last:
            heard += 1
            if heard == 2:
                host = found.writer["host"]
                raise UserError(f"a sweep on {host} is writing to {where}; wait for it, or stop it first")
            last, left = found, SILENCE_S
    return last


def taken_over(where: Place, more: str = "") -> UserError:
    """Return the error of a writer that was taken for dead."""
    return UserError(f"another process took over {where}, after this one gave no sign of life for a while{more}")


class Turn:
    """The turn of this process to write a folder, whose local lock it holds. Raises `UserError` if a process on another
    node is writing, or has just begun to, and OSError."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        last = self._newest()
        if last:
            self._await_silence(last, say)
        self._number = last + 1
        try:
            with open(self._file(self._number), "x", opener=storage.no_link) as file:
                file.write(platform.node())
        except FileExistsError:
            raise UserError(f"another process has just written to {folder}; try again") from None
        for number in self._numbers():
            if number < self._number:
                self._file(number).unlink(missing_ok=True)

    def go_on(self) -> None:
        """Show that this process lives. Raises `UserError` if another one took over, or OSError."""
        if self._newest() != self._number:
            raise taken_over(self._folder)
        os.utime(self._file(self._number))

    def end(self) -> None:
        """Let others begin without waiting."""
        with suppress(OSError, UserError):
            self.go_on()
            storage.write(self._file(self._number), b"")

    def _sign(self, number: int) -> Sign:
        host = self._file(number).read_text()
        return Sign({"host": host} if host else None, self._file(number).stat().st_mtime_ns)

    def _await_silence(self, number: int, say: Callable[[str], None]) -> None:
        lock = self._folder / ".lock"
        try:
            last = self._sign(number)
            if last.writer and last.writer["host"] != platform.node():  # else the lock that we hold says that it ended
                os.utime(lock)  # by the clock of the mount
                age = (lock.stat().st_mtime_ns - last.version) / 1e9
                wait_for_silence(self._folder, last, age, lambda: self._sign(number), say)
        except FileNotFoundError:  # another process began meanwhile, and has removed it
            raise UserError(f"another process has just written to {self._folder}; try again") from None

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"writer-(\d{1,9})", name) for name in os.listdir(self._folder))
        return [int(one[1]) for one in found if one]

    def _file(self, number: int) -> Path:
        return self._folder / f"writer-{number}"
