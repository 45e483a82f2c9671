"""A sweep in object storage: its one writer, who gives signs of life there and uploads
the sweep's files.

Each file is written only if it still is what this writer last saw or wrote. A writer
that takes the sweep over first changes each file that its predecessor may write next.
So of two writers one goes on, and one that slept ends.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_tune import object_storage, storage
from mnist_tune.errors import UserError
from mnist_tune.invocation import command, words
from mnist_tune.object_storage import ChangedError, Version
from mnist_tune.results.folder import (
    FILES,
    JOURNAL,
    META,
    SEGMENT_BYTES,
    SEGMENTS,
    TABLES,
    fetch_journal,
)
from mnist_tune.results.signs import SIGN, last_sign

SIGN_S = 20.0
"""Seconds between two signs of life. One may be lost: a writer counts as silent after
`ALIVE_S`."""

INTERVAL_S = 2.0
"""Seconds between two uploads: rows arrive at most this late while the storage
answers."""

PATIENCE_S = 60.0
"""Seconds for which the last upload of a sweep is retried."""


class Remote:
    """The place of a sweep in object storage, for its one writer.

    What is in `folder` is uploaded `to` a URI. The `token` tells its files from those
    of other writers. Lines are said when uploads begin to fail, and when they work
    again.
    """

    def __init__(
        self, folder: Path, to: str, token: str, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._to = to
        self._token = token
        self._say = say
        self._versions: dict[str, Version | None] = {}
        self.files: dict[str, bytes] = {}
        """What the sweep's files hold, but for the journal, whose file is read. The
        writer says so in their order."""
        self._uploaded: dict[str, bytes] = {}
        self._journal_bytes = 0
        self._signed = False
        self._failing = False
        self._closed = threading.Event()
        self._withdrawn = threading.Event()
        self._threads: list[threading.Thread] = []
        self.refused: UserError | None = None
        """Why nothing is uploaded any more: another process writes the sweep."""

    def look(self) -> None:
        """Take note of what is there of a sweep that was fetched. Raises OSError;
        ChangedError if its `sweep.json` has changed since."""
        content, version = object_storage.read(storage.join(self._to, META))
        self._versions[META] = version
        if content != storage.read(self._folder / META):
            raise self._changed()
        for name in TABLES:
            with suppress(FileNotFoundError):
                place = storage.join(self._to, name)
                _, self._versions[name] = object_storage.owner_of(place)

    def claim(self) -> None:
        """Become the writer of a sweep, by its `sweep.json`: of several that write it
        over what they saw, one succeeds. From here on a former writer can't end the
        sweep, and its next sign fails. Raises OSError, ChangedError."""
        self._put(META, self.files[META])
        self._uploaded[META] = self.files[META]
        while not self._signed:
            self._versions[SIGN] = last_sign(self._to).version
            self._refuse_if_taken()
            # the former writer has just given another sign, or ended
            with suppress(ChangedError):
                self._give_sign()
                self._signed = True

    def clear(self) -> None:
        """Remove what a sweep has left whose `sweep.json` is gone. Raises OSError."""
        segments = storage.join(self._to, SEGMENTS)
        names = object_storage.below(segments)
        object_storage.remove(*(storage.join(segments, name) for name in names))
        object_storage.remove(*(storage.join(self._to, name) for name in TABLES))

    def take_over(self, begin: Callable[[], None]) -> None:
        """Fetch the journal, and change the file that a former writer of it can write
        or create next, after which it writes none. `begin` appends what is new to the
        local journal. Raises OSError, ChangedError if another process has come first.

        The former writer may upload rows until its journal is changed. So try again
        with these rows.
        """
        before = None
        segments = fetch_journal(self._to, self._folder)
        while segments != before:
            self._versions |= segments
            self._refuse_if_taken()
            # All segments but the last are full, and never change.
            self._journal_bytes = max(len(segments) - 1, 0) * SEGMENT_BYTES
            begin()
            try:
                self._upload_journal()
            except ChangedError:
                before = segments
                segments = fetch_journal(self._to, self._folder)
                continue
            return self._upload_new()
        raise self._changed()

    def _refuse_if_taken(self) -> None:
        """Raise a ChangedError if another process has become the writer since."""
        owner, _ = object_storage.owner_of(storage.join(self._to, META))
        if owner != self._token:
            raise self._changed()

    def _changed(self) -> ChangedError:
        return ChangedError(f"{self._to} was written since it was read")

    def start(self) -> None:
        """Go on giving signs and uploading, each in a thread: an upload may take longer
        than silence is allowed."""
        for work in (self._sign_on, self._upload_on):
            thread = threading.Thread(target=work, daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Upload what is left and stop. Raises `UserError` if the upload failed for
        `PATIENCE_S`, or another process writes the sweep. The files stay in the local
        folder."""
        self._closed.set()
        for thread in self._threads[1:]:
            thread.join()
        deadline = time.monotonic() + PATIENCE_S
        error = self._upload()
        while error and time.monotonic() <= deadline:
            time.sleep(INTERVAL_S)
            error = self._upload()
        if self.refused:
            raise self.refused
        if error:
            folder = shlex.quote(str(self._folder))
            why = storage.reason(error)
            raise UserError(
                f"the end of the sweep could not be uploaded to {self._to} ({why}); the whole sweep "
                f"is in {self._folder}: {command('show')} {folder}; "
                f"once the storage answers, {words('resume', self._to)} on this machine uploads it"
            )

    def withdraw(self) -> None:
        """Write nothing more, and let others go on from here."""
        self._closed.set()
        self._withdrawn.set()
        for thread in self._threads:
            thread.join()
        if self._signed:
            self._signed = False
            with suppress(OSError):  # then others wait until the last sign is old
                self._give_sign({})

    def _give_sign(self, writer: dict[str, Any] | None = None) -> None:
        if writer is None:
            writer = {
                "host": platform.node(),
                "folder": str(self._folder),
                "process": os.getpid(),
            }
        # No two signs are equal.
        sign = writer | {"nonce": secrets.token_hex(8)}
        self._put(SIGN, json.dumps(sign).encode())

    def _put(self, name: str, content: bytes) -> None:
        """Write a file, unless another process has written it. Raises OSError,
        ChangedError if one has."""
        place = storage.join(self._to, name)
        version = self._versions.get(name)
        self._versions[name] = object_storage.write_over(
            place, content, version, self._token
        )

    def _sign_on(self) -> None:
        while not self._withdrawn.wait(SIGN_S):
            try:
                self._give_sign()
            except ChangedError:
                return self._refuse()
            except OSError:  # the next one is given soon
                continue

    def _refuse(self) -> None:
        self.refused = UserError(
            f"another process took over {self._to}; what this one did is in {self._folder}"
        )

    def _upload_on(self) -> None:
        while not (self.refused or self._closed.wait(INTERVAL_S)):
            self._upload()

    def _upload(self) -> OSError | None:
        """Upload what is new. If that fails, return the error; announce it unless the
        last upload failed too."""
        try:
            if not self.refused:
                self._upload_new()
        except ChangedError:
            self._refuse()
        except OSError as error:
            if not self._failing:
                why = storage.reason(error)
                self._tell(
                    f"can't upload to {self._to} ({why}); rows are kept in {self._folder} until an upload works"
                )
            self._failing = True
            return error
        if self._failing and not self.refused:
            self._tell(f"uploads to {self._to} work again")
        self._failing = False
        return None

    def _tell(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads what is printed any more
            self._say(line)

    def _upload_new(self) -> None:
        files = dict(self.files)
        # The tables are final if `sweep.json` says that the sweep has ended.
        names = (JOURNAL, *FILES)
        if b'"ended": null' in files[META]:
            # Rows are of trials that it plans.
            names = (META, JOURNAL, *TABLES)
        for name in names:
            if name == JOURNAL:
                self._upload_journal()
            elif files.get(name) is not self._uploaded.get(name):
                self._put(name, files[name])
                self._uploaded[name] = files[name]

    def _upload_journal(self) -> None:
        journal = self._folder / JOURNAL
        while journal.stat().st_size > self._journal_bytes:
            number = self._journal_bytes // SEGMENT_BYTES
            with journal.open("rb") as file:
                file.seek(number * SEGMENT_BYTES)
                content = file.read(SEGMENT_BYTES)
            self._put(f"{SEGMENTS}/{number:06d}", content)
            self._journal_bytes = number * SEGMENT_BYTES + len(content)
