"""The sign of life of the one process that writes a sweep in object storage: `writer.json`, which it renews."""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.folder import working_folder

SIGN = "writer.json"

INTERVAL_S = 20.0
"""Seconds between two signs of life."""

RETRY_S = 2.0
"""Seconds until a sign is tried again that could not be given."""

SILENCE_S = 60.0
"""A writer counts as dead after this many seconds without a sign of life."""


class SignOfLife:
    """A writer's own sign. Others see that it lives, and it sees if another one has taken its place.

    Args:
        to: the URI of the sweep.
    """

    def __init__(self, to: str) -> None:
        self._to = to
        self._writer = {"host": platform.node(), "folder": str(working_folder(to)), "process": os.getpid()}
        self._writer["id"] = secrets.token_hex(8)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def give(self) -> None:
        """Leave a sign. Raises OSError."""
        content = self._writer | {"time": time.time()}
        storage.write(storage.join(self._to, SIGN), json.dumps(content).encode())

    def renew(self) -> None:
        """Go on giving signs, in a thread: an upload may take longer than a writer may be silent."""
        self._thread.start()

    def is_there(self) -> bool:
        """Return whether the last sign is this one: no other writer has come since. Raises OSError."""
        found = last_sign(self._to)
        return found is not None and found.get("id") == self._writer["id"]

    def withdraw(self) -> None:
        """Give no more signs and remove the last one, unless it is another writer's."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):  # then others wait until it is old
            if self.is_there():
                storage.remove(storage.join(self._to, SIGN))

    def _run(self) -> None:
        wait = INTERVAL_S
        while not self._ended.wait(wait):
            try:
                if not self.is_there():
                    return
                self.give()
                wait = INTERVAL_S
            except OSError:
                wait = RETRY_S


def await_silence(to: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Make sure that no other process is writing the sweep at `to`. Wait if one gave a sign of life just now.

    Returns:
        The last sign of life of a writer, if there is one.

    Raises:
        UserError: the other process is still writing.
        OSError: the storage can't be read, or written.
    """
    first = last_sign(to)
    if first is None or _is_here(first, to):
        return first
    age = max(_age(to), 0)
    if age > SILENCE_S:
        return first
    left = SILENCE_S - age
    say(f"{first['host']} wrote to {to} {age:.0f} s ago; waiting {left:.0f} s to see whether it still does")
    time.sleep(left)
    refuse_another_sign(to, first)
    return first


def refuse_another_sign(to: str, seen: dict[str, Any] | None) -> None:
    """Raise a `UserError` if another process has given a sign of life since the one that was seen."""
    found = last_sign(to)
    if found and found != seen and not _is_here(found, to):
        raise UserError(f"a sweep on {found['host']} is writing to {to}; wait for it, or stop it first")


def last_sign(to: str) -> dict[str, Any] | None:
    """Return the last sign of life of a writer, or None. Raises OSError."""
    content = storage.read(storage.join(to, SIGN))
    try:
        found = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
    valid = isinstance(found, dict) and isinstance(found.get("host"), str) and isinstance(found.get("time"), float)
    return found if valid else None


def _is_here(sign: dict[str, Any], to: str) -> bool:
    """Return whether a sign's writer has the same working folder on this machine. Then the folder's lock decides."""
    return (sign["host"], sign.get("folder")) == (platform.node(), str(working_folder(to)))


def _age(to: str) -> float:
    """Return the seconds since the last sign by the storage's clock: those of two machines may differ. Raises OSError.

    The storage says the time only of what is written, so a file is.
    """
    name = f"clock-{secrets.token_hex(8)}"
    probe = storage.join(to, name)
    storage.write(probe, b"")
    try:
        times = storage.times(to)
    finally:
        storage.remove(probe)
    return times[name] - times.get(SIGN, -float("inf"))
