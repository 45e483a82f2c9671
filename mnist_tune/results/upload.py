"""Upload a sweep's files to object storage while the sweep runs."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.invocation import command
from mnist_tune.results.folder import FILES, JOURNAL

INTERVAL_S = 2.0
"""Seconds between two uploads: rows arrive at most this late while the storage answers."""

SIGN_S = 20.0
"""Seconds between two signs of life (`writer.json`) of the process that writes a sweep."""

SILENCE_S = 60.0
"""A writer on another machine counts as dead after this many seconds without a sign of life."""

PATIENCE_S = 60.0
"""Seconds for which the last upload of a sweep is retried."""

SEGMENT_BYTES = 2**18
"""Size of the journal's segments. The journal only grows, so all segments but the last are uploaded once."""

SIGN = "writer.json"


class Upload:
    """A thread that uploads a sweep's files whenever they change.

    Args:
        folder: the local folder in which the sweep is written.
        to: the URI to which it is uploaded.
        say: called with a line when uploads begin to fail, and when they work again.
        resume: whether the folder was made from what is there (`folder.fetch`), so that its journal begins with that.
    """

    def __init__(self, folder: Path, to: str, say: Callable[[str], None], resume: bool = False) -> None:
        self._folder, self._to, self._say = folder, to, say
        self._seen: dict[str, tuple[int, int]] = {}
        self._signed, self._failing = 0.0, False
        self._journal_bytes = _uploaded_bytes(to) if resume else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Upload what is left and stop.

        Raises:
            UserError: the upload failed for `PATIENCE_S`. The files stay in the local folder.
        """
        self._ended.set()
        self._thread.join()
        deadline = time.monotonic() + PATIENCE_S
        while (error := self._upload()) and time.monotonic() <= deadline:
            time.sleep(INTERVAL_S)
        if error:
            raise UserError(
                f"the end of the sweep could not be uploaded to {self._to} ({storage.reason(error)}); the whole sweep "
                f"is in {self._folder}: {command('summarize')} {self._folder}; "
                f"once the storage answers, --resume '{self._to}' on this machine uploads it"
            )
        storage.remove(storage.join(self._to, SIGN))

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._upload()

    def _upload(self) -> OSError | None:
        """Upload what is new. If that fails, return the error; announce it unless the last upload failed too."""
        try:
            self._upload_new()
        except OSError as error:
            if not self._failing:
                why = storage.reason(error)
                self._say(f"can't upload to {self._to} ({why}); rows are kept in {self._folder} until an upload works")
            self._failing = True
            return error
        if self._failing:
            self._say(f"uploads to {self._to} work again")
        self._failing = False
        return None

    def _upload_new(self) -> None:
        if time.monotonic() - self._signed > SIGN_S:
            sign(self._to)
            self._signed = time.monotonic()
        self._upload_journal()
        for name in FILES:
            path = self._folder / name
            if path.exists() and self._seen.get(name) != (stamp := (path.stat().st_mtime_ns, path.stat().st_ino)):
                storage.write(storage.join(self._to, name), path.read_bytes())
                self._seen[name] = stamp

    def _upload_journal(self) -> None:
        journal = self._folder / JOURNAL
        while journal.stat().st_size > self._journal_bytes:
            number = self._journal_bytes // SEGMENT_BYTES
            with journal.open("rb") as file:
                file.seek(number * SEGMENT_BYTES)
                content = file.read(SEGMENT_BYTES)
            storage.write(storage.join(self._to, "journal", f"{number:06d}"), content)
            self._journal_bytes = number * SEGMENT_BYTES + len(content)


def _uploaded_bytes(to: str) -> int:
    """Return how much of the journal is there already, in segments of today's size."""
    sizes = storage.sizes(storage.join(to, "journal"))
    whole = 0
    while sizes.get(f"{whole:06d}") == SEGMENT_BYTES:
        whole += 1
    return whole * SEGMENT_BYTES


def sign(to: str) -> None:
    """Leave a sign of life at `to`. Raises OSError."""
    content = {"host": platform.node(), "process": os.getpid(), "time": time.time()}
    storage.write(storage.join(to, SIGN), json.dumps(content).encode())


def await_silence(to: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Make sure that no other machine is writing the sweep at `to`. Wait if one gave a sign of life just now.

    Returns:
        The last sign of life of a writer, if there is one.

    Raises:
        UserError: the other machine is still writing.
        OSError: the storage can't be read.
    """
    first = last_sign(to)
    if first is None or first["host"] == platform.node():  # on this machine the folder's lock decides
        return first
    age = time.time() - first["time"]
    if age > SILENCE_S:
        return first
    left = SILENCE_S - max(age, 0)
    say(f"{first['host']} wrote to {to} {max(age, 0):.0f} s ago; waiting {left:.0f} s to see whether it still does")
    time.sleep(left)
    refuse_another_sign(to, first)
    return first


def refuse_another_sign(to: str, seen: dict[str, Any] | None) -> None:
    """Raise a `UserError` if another machine has given a sign of life since the one that was seen."""
    found = last_sign(to)
    if found and found != seen and found["host"] != platform.node():
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
