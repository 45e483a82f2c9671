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

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

SILENCE_S = 60.0
"""A writer counts as dead after this many seconds without a sign of life: here it touches its file."""

LOOK_S = 1.0
"""Seconds between two looks whether it did."""

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


def waits_for(host: str, where: Place, age: float, left: float) -> str:
    """Say that a writer is waited for, which gave its last sign of life `age` seconds ago."""
    return f"{host} wrote to {where} {age:.0f} s ago; waiting {left:.0f} s to see whether it still does"


def still_writes(host: str, where: Place) -> UserError:
    """Return the error of a process that would write what another one is writing."""
    return UserError(f"a sweep on {host} is writing to {where}; wait for it, or stop it first")


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

    def _await_silence(self, number: int, say: Callable[[str], None]) -> None:
        file = self._file(number)
        try:
            host, last = file.read_text(), file.stat().st_mtime_ns
            if host in ("", platform.node()):  # it has ended, or the lock that we hold says so
                return
            os.utime(self._folder / ".lock")  # by the clock of the mount
            age = ((self._folder / ".lock").stat().st_mtime_ns - last) / 1e9
            left = SILENCE_S - max(age, 0)
            if left > 0:
                say(waits_for(host, self._folder, age, left))
            until = time.monotonic() + left
            while time.monotonic() < until:
                time.sleep(min(LOOK_S, left))
                if file.stat().st_mtime_ns != last:
                    raise still_writes(host, self._folder)
        except FileNotFoundError:  # another process began meanwhile, and has removed it
            raise UserError(f"another process has just written to {self._folder}; try again") from None

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"writer-(\d{1,9})", name) for name in os.listdir(self._folder))
        return [int(one[1]) for one in found if one]

    def _file(self, number: int) -> Path:
        return self._folder / f"writer-{number}"
