"""Who may write a sweep's folder. On a mount that machines share, a lock may hold on one of them only.

So each writer also creates `.writer-N`, with the next number, which only one can. It touches that file as long as it
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

SILENCE_S = 60.0
"""A writer counts as dead after this many seconds in which it did not touch its file."""

LOOK_S = 1.0
"""Seconds between two looks whether it did."""


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
            silent = "after this one gave no sign of life for a while"
            raise UserError(f"another process took over {self._folder}, {silent}")
        os.utime(self._file(self._number))

    def end(self) -> None:
        """Let others begin without waiting."""
        with suppress(OSError, UserError):
            self.go_on()
            storage.write(self._file(self._number), b"")

    def _sign(self, number: int) -> tuple[str, int]:
        """Return the host of a writer, empty if it has ended, and when it touched its file."""
        with storage.open_file(self._file(number)) as file:
            return file.read().decode(errors="replace"), os.fstat(file.fileno()).st_mtime_ns

    def _await_silence(self, number: int, say: Callable[[str], None]) -> None:
        """Return once the writer of this number has ended, or has been silent for `SILENCE_S`.

        One new sign may be of a process that was killed since, which the mount shows late. Two are from one that lives.
        """
        lock, heard = self._folder / ".lock", 0
        try:
            host, last = self._sign(number)
            if host in ("", platform.node()):  # on this node, the lock that we hold says that it has ended
                return
            os.utime(lock)  # by the clock of the mount
            age = max((lock.stat().st_mtime_ns - last) / 1e9, 0)
            if (left := SILENCE_S - age) >= 0:
                said = f"{host} wrote to {self._folder} {age:.0f} s ago"
                say(f"{said}; waiting {left:.0f} s to see whether it still does")
            while left > 0 and host:
                time.sleep(pause := min(LOOK_S, left))
                left -= pause
                host, now = self._sign(number)
                if host and now != last:
                    heard, last, left = heard + 1, now, SILENCE_S
                if heard == 2:
                    raise UserError(f"a sweep on {host} is writing to {self._folder}; wait for it, or stop it first")
        except FileNotFoundError:  # another process began meanwhile, and has removed it
            raise UserError(f"another process has just written to {self._folder}; try again") from None

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"\.writer-(\d{1,9})", name) for name in os.listdir(self._folder))
        return [int(one[1]) for one in found if one]

    def _file(self, number: int) -> Path:
        return self._folder / f".writer-{number}"
