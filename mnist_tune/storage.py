"""Reading and writing files, in a local folder or at a URI that pyarrow knows: `s3://bucket/folder`, `gs://...`.

A `Place` is a `Path`, or a URI as a string. The query of a URI (`?endpoint_override=...`) is for its filesystem. Writes
are atomic: a file is there in full, or not at all. A folder may come from somebody else, so nothing is ever written
through a link.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import parse_qs, urlsplit, urlunsplit

from mnist_tune.errors import UserError

Place = Path | str
T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
OBJECT_STORES = ("s3", "gcs", "abfs")
"""Filesystems in which a file appears only once it is closed. In others we write to another name, then rename."""

PERMANENT = re.compile("ACCESS_DENIED|NO_SUCH_BUCKET|SIGNATURE|CREDENTIAL|ACCESS_KEY|EXPIRED|PERMISSION", re.IGNORECASE)
"""Errors that a retry does not fix."""

PATIENCE_S = 120.0
"""How long a training process retries object storage that does not answer, before its trial ends in an error."""

READS = 10
"""How often a file is read that is replaced while it is read."""

PART = ".part"
"""How the name of a file ends that is being written. A killed process leaves it behind."""

SECRETS = re.compile(r"key|secret|token|password|signature|credential", re.IGNORECASE)


def place(where: str | Path) -> Place:
    """Return the place that a user typed: a folder as a `Path`, or a URI.

    Raises:
        UserError: the scheme is unknown, the bucket is missing, or the URI holds keys. (URIs are written to files.)
    """
    scheme, separator, rest = str(where).partition("://")
    if not separator:
        return Path(where)
    if scheme == "file":
        return Path(urlsplit(str(where)).path)
    parts = urlsplit(str(where))
    shown = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
    if scheme not in SCHEMES:
        raise UserError(f"{shown}: results go to a folder or to one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if not parts.hostname:
        raise UserError(f"{where} names no bucket; write {scheme}://BUCKET/FOLDER")
    if parts.password or (parts.username and scheme == "s3") or any(map(SECRETS.search, parse_qs(parts.query))):
        raise UserError(
            f"{shown}: there are keys in this URI, which is written to files; set them in the environment of every "
            "node instead (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)"
        )
    return urlunsplit(parts._replace(path=parts.path.rstrip("/")))


def is_uri(where: Place) -> bool:
    """Return whether a place is a URI, such as in object storage, rather than a local path."""
    return isinstance(where, str) and "://" in where


def absolute(where: Place) -> Place:
    """Return a place that stays the same in another working folder."""
    return where.absolute() if isinstance(where, Path) else where


def join(where: Place, *names: str) -> Place:
    """Return the place of a file or folder below `where`."""
    if isinstance(where, Path):
        return where.joinpath(*names)
    parts = urlsplit(where)
    return urlunsplit(parts._replace(path="/".join((parts.path, *names))))


def read(where: Place, patience_s: float = 0) -> bytes | None:
    """Return the bytes of a file, or None if it does not exist.

    Args:
        where: the file.
        patience_s: how long to retry requests that fail, seconds.

    Raises:
        OSError: the file can't be read, or we can't find out whether it exists.
    """
    try:
        if isinstance(where, Path):
            with open_file(where) as file:
                return file.read()
        return _retried(lambda: _whole(where), patience_s)
    except FileNotFoundError:
        return None


def _whole(where: str) -> bytes:
    """Return the bytes of a file in object storage, none of which is missing.

    pyarrow asks for the size before it asks for that many bytes. Of a file that a longer one replaces in between, it
    returns the beginning.
    """
    for _ in range(READS):
        with open_file(where) as file:
            opened = _version(file)
            try:
                found: bytes | OSError = file.read()
            except OSError as error:  # also of a file that was removed meanwhile
                found = error
        with open_file(where) as file:
            if _version(file) != opened:
                continue
        if isinstance(found, OSError):
            raise found
        return found
    raise OSError(f"{where} was replaced {READS} times while it was read")


def _version(file: Any) -> tuple[int, Mapping[str, Any]]:
    """Return what changes when a file in object storage is replaced: its size, and its tag if the storage has one."""
    return file.size(), file.metadata()


def open_file(where: Place) -> IO[bytes]:
    """Open a file to read from; it can seek. Raises OSError, or FileNotFoundError if the file does not exist."""
    if isinstance(where, Path):
        return where.open("rb")
    filesystem, path = filesystem_of(where)
    file: IO[bytes] = filesystem.open_input_file(path)
    return file


def write(where: Place, content: bytes, patience_s: float = 0, sync: bool = False) -> None:
    """Replace a file atomically: if the process is killed, either the old file or the new one is there, complete.

    Args:
        where: the file.
        content: its new content.
        patience_s: as in `read`.
        sync: make a local file survive a power cut, too.

    Raises:
        OSError: the file can't be written, or its name is that of a link.
    """
    if not isinstance(where, Path):
        return _retried(lambda: _upload(where, content), patience_s)
    refuse_link(where)
    part = where.with_name(f".{where.name}.{secrets.token_hex(8)}{PART}")
    try:
        with open(part, "xb", opener=no_link) as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, where)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def open_to_append(where: Path) -> IO[str]:
    """Open a local file to append text to. Raises OSError, also if it is a link."""
    return open(where, "a", encoding="utf-8", opener=no_link)


def no_link(path: str, flags: int) -> int:
    """Open a file unless it is a link: the opener of `open` for every local file that is written.

    Raises:
        OSError: it is a link, or can't be opened.
    """
    refuse_link(Path(path))
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def refuse_link(path: Path) -> None:
    """Raise an OSError that says so if this is a link."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, and what we write must not land elsewhere; remove it", str(path))


def remove_parts(folder: Path) -> None:
    """Delete the unfinished files that killed processes left in a folder. Raises OSError."""
    for part in folder.glob(f".*.{'?' * 16}{PART}"):
        part.unlink(missing_ok=True)


def _upload(where: str, content: bytes) -> None:
    """Write a file in a thread, which no Ctrl-C interrupts: what was sent by then would become the file."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_send, where, content).result()


def _send(where: str, content: bytes) -> None:
    filesystem, path = filesystem_of(where)
    if filesystem.type_name in OBJECT_STORES:
        part = path
    else:
        part = f"{path}.part"
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with filesystem.open_output_stream(part) as file:
        file.write(content)
    if part != path:
        filesystem.move(part, path)


def remove(where: Place) -> None:
    """Delete a file, if it exists. Raises OSError."""
    if isinstance(where, Path):
        where.unlink(missing_ok=True)
        return
    filesystem, path = filesystem_of(where)
    with suppress(FileNotFoundError):
        filesystem.delete_file(path)


def remove_folder(where: Place) -> None:
    """Delete a folder and everything in it, if it exists. Raises OSError."""
    if isinstance(where, Path):
        shutil.rmtree(where, ignore_errors=True)
        return
    filesystem, path = filesystem_of(where)
    filesystem.delete_dir_contents(path, missing_dir_ok=True)


def names(where: Place) -> Sequence[str]:
    """Return the sorted names of the files in a folder, or none if it does not exist. Raises OSError."""
    return sorted(sizes(where))


def sizes(where: Place) -> dict[str, int]:
    """Return the sizes in bytes of the files in a folder by name; empty if it does not exist. Raises OSError."""
    if isinstance(where, Path):
        return {file.name: file.stat().st_size for file in where.iterdir() if file.is_file()} if where.exists() else {}
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = filesystem_of(where)
    found = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
    return {info.base_name: info.size for info in found if info.type == FileType.File}


def times(uri: str) -> dict[str, float]:
    """Return when the files in a folder of object storage were written, by name, by its own clock. Raises OSError."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = filesystem_of(uri)
    found = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
    return {info.base_name: info.mtime.timestamp() for info in found if info.type == FileType.File}


def reason(error: OSError) -> str:
    """Return an error of a filesystem in a few words; pyarrow writes a paragraph."""
    if error.strerror and error.errno:
        return error.strerror
    found = re.search(r"AWS Error (\w+) during (\w+) operation: ?([^;\n]*)", str(error))
    return " ".join(filter(None, found.groups())) if found else (str(error) or type(error).__name__).splitlines()[0]


def _retried(function: Callable[[], T], patience_s: float) -> T:
    if not patience_s:
        return function()
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential  # the import takes 30 ms

    temporary, stop, wait = retry_if_exception(_is_temporary), stop_after_delay(patience_s), wait_exponential(max=8)
    return Retrying(retry=temporary, stop=stop, wait=wait, reraise=True)(function)


def _is_temporary(error: BaseException) -> bool:
    """Return whether a retry may succeed. Errors of local files have an errno, those of object storage have none."""
    return isinstance(error, OSError) and not error.errno and not PERMANENT.search(str(error))


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem of a URI, and the path in it."""
    parts = urlsplit(uri)
    filesystem, root = _filesystem(urlunsplit(parts._replace(path="")))
    return filesystem, root.rstrip("/") + parts.path


@lru_cache
def _filesystem(uri: str) -> tuple[Any, str]:
    """Return the filesystem of a URI that has no path, and the bucket (or the like) that its paths begin with."""
    import pyarrow
    from pyarrow.fs import FileSystem

    try:
        filesystem, root = FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{uri}: {error}") from None
    return filesystem, root
