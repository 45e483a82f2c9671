"""The folder of a sweep. A sweep in object storage is written in a local working folder
and uploaded from there."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import Any

from filelock import FileLock, Timeout

from mnist_tune import object_storage, storage
from mnist_tune.cache import writable_cache_folder
from mnist_tune.errors import UserError
from mnist_tune.object_storage import Version
from mnist_tune.storage import Place

JOURNAL = "journal.jsonl"
META = "sweep.json"
TABLES = ("trials.parquet", "epochs.parquet")
FILES = (*TABLES, META)
"""The files that a sweep is read from, in the order in which they are written: once
`sweep.json` says that a sweep has ended, its tables are there."""

SEGMENTS = "journal"
"""The folder of the journal in object storage, where nothing can be appended to a
file."""

SEGMENT_BYTES = 2**18
"""Size of its segments. The journal only grows, so all segments but the last are
uploaded once."""

MOST_JOURNAL_BYTES = 2**34
"""The largest journal that is read: 10 million epochs take about 7 GB."""

FETCHED = ".journal.jsonl.fetched"
"""A journal that is being downloaded."""

LOOK_S = 0.1
"""Seconds for which a folder's lock is waited for: whoever looks whether a folder is
being written holds it briefly."""


def exists(where: Place) -> bool:
    """Return whether this place holds a sweep. Raises `UserError` if it can't be
    read."""
    with storage.attempt(f"read {where}"):
        if isinstance(where, Path):
            return (where / META).exists()
        return storage.read(storage.join(where, META)) is not None


def fetched(where: Place) -> Path:
    """Return the working folder of an existing sweep; download the sweep first if it is
    in object storage. Raises `UserError` if there is none, it can't be read, or another
    process is writing it."""
    folder = working_folder(where)
    if isinstance(where, str):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, where):
            fetch(where, folder)
            fetch_journal(where, folder)
    return folder


def working_folder(where: Place) -> Path:
    """Return the local folder in which a sweep is written: `where`, or for a URI a
    folder in the cache folder."""
    if isinstance(where, Path):
        return where
    readable = re.sub(r"\W+", "-", where)[:60]
    digest = hashlib.sha256(where.encode()).hexdigest()[:12]
    return writable_cache_folder() / "sweeps" / (readable + digest)


def locked(folder: Path, where: Place) -> AbstractContextManager[Any]:
    """Lock a working folder until the context ends. Raises `UserError` if another
    process holds the lock."""
    try:
        return FileLock(folder / ".lock", timeout=LOOK_S).acquire(
            poll_interval=LOOK_S / 10
        )
    except Timeout:
        raise UserError(
            f"another sweep is writing to {where}; wait for it, or stop it first"
        ) from None
    except FileNotFoundError:
        # At its end, a sweep in object storage removes its working folder.
        raise UserError(
            f"another process has just written to {where}; try again"
        ) from None


def refuse_links(*folders: Path) -> None:
    """Raise a `UserError` if there is a link or a hard link in one of these folders of
    a sweep. Some may be missing."""
    for folder in folders:
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            status = file.lstat()
            is_hard_link = S_ISREG(status.st_mode) and status.st_nlink > 1
            if S_ISLNK(status.st_mode) or is_hard_link:
                raise UserError(
                    f"{file} is a link, so a sweep would write outside its folder; remove it"
                )


def new_folder(parent: Path, name: str) -> Path:
    """Create `name` in `parent` and return it; if it exists, `name-2`, `name-3` and so
    on. Raises `UserError` if `parent` can't be written."""
    path = parent / name
    number = 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = parent / f"{name}-{number}"
        except OSError as error:
            raise UserError(
                f"can't write results to {path}: {error.strerror}; name another --output"
            ) from None


def fetch(uri: str, folder: Path) -> None:
    """Download a sweep from object storage into a local folder, but for its journal.
    Raises `UserError` if there is no sweep, or the storage can't be read."""
    # `sweep.json` first: it may say that the others are final
    for name in reversed(FILES):
        (folder / name).unlink(missing_ok=True)
        with storage.attempt(f"read {uri}"), suppress(FileNotFoundError):
            content, _ = object_storage.read(storage.join(uri, name))
            storage.write(folder / name, content)
    if not (folder / META).exists():
        raise UserError(
            f"no sweep in {uri} (no sweep.json there); name the folder of a sweep"
        )


def fetch_journal(uri: str, folder: Path) -> dict[str, Version]:
    """Download a journal, and return the versions of its segments. A local journal is
    kept if it begins so and holds more events. Raises `UserError` if the storage can't
    be read."""
    with storage.attempt(f"read {uri}"):
        listed = object_storage.files(storage.join(uri, SEGMENTS))
    names = sorted(listed)
    sizes = [listed[name]["size"] for name in names]
    starts = accumulate(sizes, initial=0)
    path = folder / JOURNAL
    new = folder / FETCHED
    path.touch()
    versions = dict[str, Version]()
    with (
        storage.attempt(f"read {uri}"),
        path.open("rb") as here,
        open(new, "w+b", opener=storage.no_link) as file,
    ):

        def get(name: str, start: int) -> None:
            segment = f"{SEGMENTS}/{name}"
            place = storage.join(uri, segment)
            content, versions[segment] = object_storage.read(place)
            os.pwrite(file.fileno(), content, start)

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(get, names, starts))
        blocks = iter(partial(file.read, SEGMENT_BYTES), b"")
        begins_so = all(block == here.read(len(block)) for block in blocks)
    if versions and begins_so:
        new.unlink()
    else:
        os.replace(new, path)
    return versions
