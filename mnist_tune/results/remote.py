"""A sweep in object storage: its one writer, who gives signs of life there and uploads the sweep's files.

Each file is written only if it still is what this writer last saw or wrote. A writer that takes the sweep over first
changes each file that its predecessor may write next. So of two writers one goes on, and one that slept ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_tune import object_storage, storage
from mnist_tune.errors import UserError
from mnist_tune.invocation import command
from mnist_tune.object_storage import ChangedError, Version
from mnist_tune.results.folder import FILES, JOURNAL, META, SEGMENT_BYTES, SEGMENTS, TABLES, VERSIONS, fetch_journal
from mnist_tune.results.signs import SIGN, Sign, last_sign

SIGN_S = 20.0
"""Seconds between two signs of life."""

RETRY_S = 2.0
"""Seconds until a sign is tried again that could not be given."""

INTERVAL_S = 2.0
"""Seconds between two uploads: rows arrive at most this late while the storage answers."""

PATIENCE_S = 60.0
"""Seconds for which the last upload of a sweep is retried."""


class Remote:
    """The place of a sweep in object storage, for its one writer.

    What is in `folder` is uploaded `to` a URI. Lines are said when uploads begin to fail, and when they work again.
    """

    def __init__(self, folder: Path, to: str, say: Callable[[str], None]) -> None:
        self._folder, self._to, self._say = folder, to, say
        self._versions: dict[str, Version] = {}
        self._tried: dict[str, set[bytes]] = defaultdict(set)
        self.files: dict[str, bytes] = {}
        """What the sweep's files hold, but for the journal, whose file is read. The writer says so in their order."""
        self._uploaded: dict[str, bytes] = {}
        self._journal_bytes = 0
        self._signed, self._failing = False, False
        self._closed, self._withdrawn = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.refused: UserError | None = None
        """Why nothing is uploaded any more: another process writes the sweep."""

    def begin(self) -> None:
        """Begin a new sweep with its `sweep.json`. Raises OSError, ChangedError if another process did."""
        left = last_sign(self._to)
        self.put_meta()
        self._take(left)
        storage.remove_folder(storage.join(self._to, SEGMENTS))  # left by a sweep whose sweep.json is gone
        object_storage.remove(*(storage.join(self._to, name) for name in TABLES))

    def claim(self, seen: Sign | None) -> None:
        """Become the writer of a sweep that was fetched, also if its former writer, who gave the sign that was `seen`,
        still writes: its next sign will fail. Raises OSError; ChangedError if another process has come first."""
        try:
            self._versions = json.loads((self._folder / VERSIONS).read_bytes())
        except FileNotFoundError:  # another process had this folder, and ended
            raise ChangedError(f"{self._to} was written since it was read") from None
        sign = last_sign(self._to)
        former = seen or sign
        while True:
            if sign.writer and sign.writer != former.writer:
                raise ChangedError(f"{self._to} was written since it was read")
            try:
                return self._take(sign)
            except ChangedError:
                before, sign = sign, last_sign(self._to)
                if sign == before:  # else the former writer has just given another sign, or ended
                    raise

    def take_over(self, begin: Callable[[], None]) -> None:
        """Change each file that the former writer can write or create next, after which it writes none. `begin` appends
        what is new to the local journal. Raises OSError, ChangedError if another process has come first.

        The former writer may upload rows until its journal is changed. So try again with these rows.
        """
        while True:
            segments = [name for name in self._versions if name.startswith(f"{SEGMENTS}/")]
            self._journal_bytes = max(len(segments) - 1, 0) * SEGMENT_BYTES
            begin()
            try:
                self._upload_journal()
                break
            except ChangedError:
                found = fetch_journal(self._to, self._folder, self._versions)
                if found.items() <= self._versions.items() or last_sign(self._to).version != self._versions[SIGN]:
                    raise
                self._versions |= found
        self._upload_new()

    def put_meta(self) -> None:
        """Write `sweep.json`. From here on, a former writer can't end the sweep. Raises OSError, ChangedError."""
        self._put(META, self.files[META])
        self._uploaded[META] = self.files[META]

    def start(self) -> None:
        """Go on giving signs and uploading, each in a thread: an upload may take longer than silence is allowed."""
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._sign_on, self._upload_on)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Upload what is left and stop. Raises `UserError` if the upload failed for `PATIENCE_S`, or another process
        writes the sweep. The files stay in the local folder."""
        self._closed.set()
        for thread in self._threads[1:]:
            thread.join()
        deadline = time.monotonic() + PATIENCE_S
        while (error := self._upload()) and time.monotonic() <= deadline:
            time.sleep(INTERVAL_S)
        if self.refused:
            raise self.refused
        if error:
            raise UserError(
                f"the end of the sweep could not be uploaded to {self._to} ({storage.reason(error)}); the whole sweep "
                f"is in {self._folder}: {command('summarize')} {self._folder}; "
                f"once the storage answers, --resume '{self._to}' on this machine uploads it"
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

    def _take(self, sign: Sign) -> None:
        if sign.version:
            self._versions[SIGN] = sign.version
        self._give_sign()
        self._signed = True

    def _give_sign(self, writer: dict[str, Any] | None = None) -> None:
        if writer is None:
            writer = {"host": platform.node(), "folder": str(self._folder), "process": os.getpid()}
        self._put(SIGN, json.dumps(writer | {"nonce": secrets.token_hex(8)}).encode())

    def _put(self, name: str, content: bytes) -> None:
        """Write a file, unless another process has written it.

        Where a request failed, its answer may have been lost. So look what is there: it may be what was sent, now or in
        an earlier try. (No other writer sends the same: files hold a writer's token or number, its rows or a nonce.)

        Raises OSError, ChangedError if another process has written it.
        """
        where, tried = storage.join(self._to, name), self._tried[name]
        tried.add(hashlib.sha256(content).digest())
        for _ in range(3):  # again where a former try of this writer was in the way
            over = self._versions.get(name)
            try:
                self._versions[name] = object_storage.write(where, content, over or "create")
                return tried.clear()
            except OSError as error:
                failed = error
            try:
                there, version = object_storage.read(where)
            except FileNotFoundError:
                if over or not isinstance(failed, ChangedError):
                    raise failed from None
                continue  # two requests of ours met, and neither was heard
            if hashlib.sha256(there).digest() not in tried:
                raise failed
            self._versions[name] = version
            if there == content:
                return tried.clear()
        raise failed

    def _sign_on(self) -> None:
        wait = SIGN_S
        while not self._withdrawn.wait(wait):
            try:
                self._give_sign()
                wait = SIGN_S
            except ChangedError:
                return self._refuse()
            except OSError:
                wait = RETRY_S

    def _refuse(self) -> None:
        self.refused = UserError(f"another process took over {self._to}; what this one did is in {self._folder}")

    def _upload_on(self) -> None:
        while not (self.refused or self._closed.wait(INTERVAL_S)):
            self._upload()

    def _upload(self) -> OSError | None:
        """Upload what is new. If that fails, return the error; announce it unless the last upload failed too."""
        try:
            if not self.refused:
                self._upload_new()
        except ChangedError:
            self._refuse()
        except OSError as error:
            if not self._failing:
                why = storage.reason(error)
                self._tell(f"can't upload to {self._to} ({why}); rows are kept in {self._folder} until an upload works")
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
        files = dict(self.files)  # so that the tables are final if `sweep.json` says that the sweep has ended
        self._upload_journal()
        for name in FILES:
            if files.get(name) is not self._uploaded.get(name):
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
