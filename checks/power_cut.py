"""What a power cut leaves of a sweep's folder: what was synced, and a random part of
what was not.

`record` notes every `fsync` of this process in a file: of a file its content, of a
folder its entries. That is all that a disk has to keep. `disk` makes the folder again
as it may be after a power cut at a moment. A process of Python's that finds this folder
first in its PYTHONPATH, and MNIST_TUNE_RECORD, records itself (`sitecustomize`).
"""

from __future__ import annotations

import os
import pickle
import random
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "MNIST_TUNE_RECORD"
"""The variable that names the folder of the records."""


@dataclass(frozen=True)
class Synced:
    """A file or folder that was synced: `what` is the content, or the entries."""

    at: float
    path: str
    key: tuple[int, int]
    what: Any


def record(folder: Path, root: Path | None = None) -> Callable[[int], None]:
    """Return an `os.fsync` that notes what it syncs below `root` in a file of this
    process in `folder`."""
    sync = os.fsync
    lock = threading.Lock()

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not is_near(path, root):
            sync(descriptor)
            return
        status = os.fstat(descriptor)
        what = content_of(path, status)
        sync(descriptor)
        synced = Synced(time.monotonic(), str(path), key_of(status), what)
        with lock, open(folder / str(os.getpid()), "ab") as file:
            pickle.dump(synced, file)

    return fsync


def content_of(path: Path, status: os.stat_result) -> Any:
    """Return a file's content, or a folder's entries."""
    if stat.S_ISREG(status.st_mode):
        return path.read_bytes()
    return entries(path)


def is_near(path: Path, root: Path | None) -> bool:
    """Return whether a path is below a folder, or above it."""
    return root is None or path.is_relative_to(root) or root.is_relative_to(path)


def key_of(there: os.stat_result) -> tuple[int, int]:
    """Return what a file that is written once keeps when it is renamed."""
    return there.st_ino, there.st_mtime_ns


def entries(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Return the files of a folder by name; None stands for a folder."""
    keys: dict[str, tuple[int, int] | None] = {}
    for entry in os.scandir(folder):
        try:
            if entry.is_dir():
                keys[entry.name] = None
            else:
                keys[entry.name] = key_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:  # renamed or removed meanwhile
            continue
    return keys


def recorded(folder: Path) -> list[Synced]:
    """Return what all processes synced, in order."""
    synced = []
    for file in folder.iterdir():
        with file.open("rb") as records:
            while True:
                try:
                    synced.append(pickle.load(records))
                except EOFError:  # also where a kill tore the last one
                    break
    return sorted(synced, key=lambda record: record.at)


def disk(
    synced: list[Synced], root: Path, at: float, chance: random.Random, to: Path
) -> None:
    """Make what a power cut at a moment may leave of the folder `root`, in the folder
    `to`, which must not exist.

    Each folder has the entries of its last `fsync`, or already those of the next one. A
    file has its last synced content. To that of an appended file, a part of what was
    appended next may be added, or zeros. A file that was never synced is empty. One
    that is synced before it is renamed keeps its old name until then.
    """
    listings: dict[str, list[Synced]] = {}
    contents: dict[Any, list[Synced]] = {}
    for record in synced:
        if isinstance(record.what, dict):
            listings.setdefault(record.path, []).append(record)
        else:
            contents.setdefault(record.key, []).append(record)
            contents.setdefault(record.path, []).append(record)

    def appended(path: Path) -> bytes:
        before, after = split(contents[str(path)], at)
        content = last_content(before)
        if not after or not after[0].what.startswith(content):
            return content
        tail: bytes = after[0].what[len(content) :]
        part = tail[: chance.randrange(len(tail) + 1)]
        return content + chance.choice([b"", part, bytes(len(tail))])

    def build(path: Path, to: Path) -> None:
        before, after = split(listings.get(str(path), []), at)
        now: dict[str, Any] = {}
        if before:
            now = before[-1].what
        listing = chance.choice([now, *(record.what for record in after[:1])])
        for name, key in listing.items():
            if key is None:
                (to / name).mkdir()
                build(path / name, to / name)
            elif str(path / name) in contents:
                (to / name).write_bytes(appended(path / name))
            else:
                earlier, later = split(contents.get(key, []), at)
                if later and not earlier:  # not renamed yet
                    if name not in now:
                        continue
                    earlier, later = split(contents.get(now.get(name), []), at)
                if earlier or not later:
                    (to / name).write_bytes(last_content(earlier))

    parents, _ = split(listings.get(str(root.parent), []), at)
    if parents and root.name in parents[-1].what:
        to.mkdir()
        build(root, to)


def split(synced: list[Synced], at: float) -> tuple[list[Synced], list[Synced]]:
    """Return what was synced until a moment, and what was later."""
    before = [record for record in synced if record.at <= at]
    after = [record for record in synced if record.at > at]
    return before, after


def last_content(synced: list[Synced]) -> bytes:
    """Return what a file held when it was synced last; nothing if it never was."""
    if not synced:
        return b""
    return bytes(synced[-1].what)
