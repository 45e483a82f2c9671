"""Where a sweep is: a local folder, or one in object storage with a local folder in which it is written."""

from __future__ import annotations

import hashlib
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from mnist_tune import storage
from mnist_tune.cache import writable_cache_folder
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

JOURNAL = "journal.jsonl"
FILES = ("sweep.json", "trials.parquet", "epochs.parquet")


def exists(where: Place) -> bool:
    """Whether a sweep is there. Raises `UserError` where object storage does not tell."""
    if isinstance(where, Path):
        return (where / "sweep.json").exists()
    try:
        return storage.read(storage.join(where, "sweep.json")) is not None
    except OSError as error:
        raise UserError(f"can't read {where}: {storage.reason(error)}") from None


def fetched(where: Place) -> Path:
    """The folder in which a sweep goes on; one in object storage is brought there.

    Raises:
        UserError: there is no sweep, it can't be read, or another process writes it.
    """
    folder = working_folder(where)
    if isinstance(where, str):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, where):
            fetch(where, folder)
    return folder


def working_folder(where: Place) -> Path:
    """The local folder in which a sweep is written: itself, or for object storage one in the cache folder."""
    if isinstance(where, Path):
        return where
    name = re.sub(r"\W+", "-", where)[:60] + hashlib.sha256(where.encode()).hexdigest()[:12]
    return writable_cache_folder() / "sweeps" / name


def locked(folder: Path, where: Place) -> FileLock:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{where} is being written by a sweep that runs; wait for it, or end it first") from None
    return lock


def new_folder(parent: Path, name: str) -> Path:
    """A folder that nobody else has: `name` there, or `name-2` and so on where another process came first.

    Raises:
        UserError: `parent` can't be written.
    """
    for count in itertools.count(1):
        path = parent / (name if count == 1 else f"{name}-{count}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"can't write results to {path}: {error.strerror}; name another --output") from None
    raise AssertionError("unreachable")


def fetch(uri: str, folder: Path) -> None:
    """Brings a sweep's files from object storage into a local folder, whose own journal stays where it holds more.

    Raises:
        UserError: there is no sweep, or the storage can't be read.
    """
    try:
        with ThreadPoolExecutor(16) as threads:
            segments = [storage.join(uri, "journal", name) for name in storage.names(storage.join(uri, "journal"))]
            journal = b"".join(content or b"" for content in threads.map(storage.read, segments))
            found = dict(
                zip(FILES, threads.map(storage.read, [storage.join(uri, name) for name in FILES]), strict=True)
            )
    except OSError as error:
        raise UserError(f"can't read {uri}: {storage.reason(error)}") from None
    if found["sweep.json"] is None:
        raise UserError(f"no sweep in {uri} (no sweep.json there); name the folder of a sweep")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    if not (path.exists() and path.read_bytes().startswith(journal)):
        path.write_bytes(journal)
    for name, content in found.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            storage.write(folder / name, content)
