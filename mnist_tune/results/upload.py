"""Upload a sweep's files to object storage while the sweep runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.invocation import command
from mnist_tune.results.folder import FILES, JOURNAL
from mnist_tune.results.sign_of_life import SignOfLife

INTERVAL_S = 2.0
"""Seconds between two uploads: rows arrive at most this late while the storage answers."""

PATIENCE_S = 60.0
"""Seconds for which the last upload of a sweep is retried."""

SEGMENT_BYTES = 2**18
"""Size of the journal's segments. The journal only grows, so all segments but the last are uploaded once."""


class Upload:
    """A thread that uploads a sweep's files whenever they change.

    Args:
        folder: the local folder in which the sweep is written.
        to: the URI to which it is uploaded.
        sign: the sign of life of its writer. Nothing is uploaded once another one is there.
        say: called with a line when uploads begin to fail, and when they work again.
        resume: whether the folder was made from what is there (`folder.fetch`), so that its journal begins with that.
    """

    def __init__(
        self, folder: Path, to: str, sign: SignOfLife, say: Callable[[str], None], resume: bool = False
    ) -> None:
        self._folder, self._to, self._sign, self._say = folder, to, sign, say
        self._seen: dict[str, tuple[int, int]] = {}
        self._failing = False
        self.refused: UserError | None = None
        """Why nothing is uploaded any more: another process writes the sweep."""
        self._journal_bytes = _uploaded_bytes(to) if resume else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Upload what is left and stop.

        Raises:
            UserError: the upload failed for `PATIENCE_S`, or another process writes the sweep. The files stay in the
                local folder.
        """
        self._ended.set()
        self._thread.join()
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

    def _run(self) -> None:
        while not (self.refused or self._ended.wait(INTERVAL_S)):
            self._upload()

    def _upload(self) -> OSError | None:
        """Upload what is new. If that fails, return the error; announce it unless the last upload failed too."""
        try:
            self._upload_new()
        except OSError as error:
            if not self._failing:
                why = storage.reason(error)
                self._tell(f"can't upload to {self._to} ({why}); rows are kept in {self._folder} until an upload works")
            self._failing = True
            return error
        if self._failing:
            self._tell(f"uploads to {self._to} work again")
        self._failing = False
        return None

    def _tell(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads what is printed any more
            self._say(line)

    def _upload_new(self) -> None:
        if self.refused:
            return
        grown = (self._folder / JOURNAL).stat().st_size > self._journal_bytes
        changed = self._changed()
        if not (grown or changed):
            return
        if not self._sign.is_there():
            self.refused = UserError(
                f"another process took over {self._to}, after this one gave no sign of life for a while; "
                f"what this one did is in {self._folder}"
            )
            return
        self._upload_journal()
        for name in filter(changed.__contains__, FILES):
            stamp, content = changed[name]
            storage.write(storage.join(self._to, name), content)
            self._seen[name] = stamp

    def _changed(self) -> dict[str, tuple[tuple[int, int], bytes]]:
        """Return what identifies the files that changed, and their contents. They are read in reverse order: if
        `sweep.json` says that the sweep has ended, the tables that are read after it are final."""
        found = {}
        for file in (self._folder / name for name in reversed(FILES)):
            if file.exists() and self._seen.get(file.name) != (stamp := (file.stat().st_mtime_ns, file.stat().st_ino)):
                found[file.name] = stamp, file.read_bytes()
        return found

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
