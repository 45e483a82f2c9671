"""Files in a local folder, or in a filesystem that pyarrow knows by a URI: `s3://bucket/folder`, `gs://...`.

A place is a `Path`, or a URI as a string, whose query (`?endpoint_override=...`) belongs to the filesystem. What is
written is whole or not there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit, urlunsplit

from mnist_tune.errors import UserError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Place = Path | str
T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
OBJECT_STORES = ("s3", "gcs", "abfs")
"""Filesystems in which a file is there once it is closed, and not before; elsewhere it is renamed when it is whole."""

PERMANENT = re.compile("ACCESS_DENIED|NO_SUCH_BUCKET|SIGNATURE|CREDENTIAL|ACCESS_KEY|EXPIRED|PERMISSION", re.IGNORECASE)
"""Errors that waiting does not mend."""

PATIENCE_S = 120.0
"""How long processes that train wait for object storage that does not answer, before their trial ends in an error."""

SECRETS = re.compile(r"key|secret|token|password|signature|credential", re.IGNORECASE)


def place(where: str | Path) -> Place:
    """What a user typed: a folder as a `Path`, or a URI.

    Raises:
        UserError: the scheme is unknown, no bucket is named, or there are keys in the URI: it is written to files.
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
            f"{shown}: there are keys in this URI, which is written to files; name them in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS) of every node instead"
        )
    return urlunsplit(parts._replace(path=parts.path.rstrip("/")))


def is_uri(where: Place) -> bool:
    """Whether this is in object storage or the like, and not a local path."""
    return isinstance(where, str) and "://" in where


def join(where: Place, *names: str) -> Place:
    """A file or folder below `where`."""
    if isinstance(where, Path):
        return where.joinpath(*names)
    parts = urlsplit(where)
    return urlunsplit(parts._replace(path="/".join((parts.path, *names))))


def read(where: Place, patience_s: float = 0) -> bytes | None:
    """A file's bytes; None where there is none.

    Args:
        where: the file.
        patience_s: seconds in which a request that failed is made again.

    Raises:
        OSError: whether there is one can't be told.
    """

    def once() -> bytes:
        with open_file(where) as file:
            return file.read()

    try:
        return _retried(once, 0 if isinstance(where, Path) else patience_s)
    except FileNotFoundError:
        return None


def open_file(where: Place) -> IO[bytes]:
    """A file to read from, which can be sought in. Raises OSError, FileNotFoundError where there is none."""
    if isinstance(where, Path):
        return where.open("rb")
    filesystem, path = _resolve(where)
    file: IO[bytes] = filesystem.open_input_file(path)
    return file


def write(where: Place, content: bytes, patience_s: float = 0, sync: bool = False) -> None:
    """Replaces a file so that a kill leaves the former one or the new one, whole.

    Args:
        where: the file.
        content: of it.
        patience_s: as in `read`.
        sync: of a local file, so that a power cut does so, too.

    Raises:
        OSError: it can't be written.
    """
    if not isinstance(where, Path):
        return _retried(lambda: _upload(where, content), patience_s)
    part = where.with_name(f".{where.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, where)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _upload(where: str, content: bytes) -> None:
    filesystem, path = _resolve(where)
    whole = filesystem.type_name in OBJECT_STORES
    if not whole:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    to = path if whole else f"{path}.part"
    with filesystem.open_output_stream(to) as file:
        file.write(content)
    if not whole:
        filesystem.move(to, path)


def remove(where: Place) -> None:
    """Deletes a file; nothing happens where there is none. Raises OSError."""
    if isinstance(where, Path):
        where.unlink(missing_ok=True)
        return
    filesystem, path = _resolve(where)
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        return


def remove_folder(where: Place) -> None:
    """Deletes a folder and all in it; nothing happens where there is none. Raises OSError."""
    if isinstance(where, Path):
        shutil.rmtree(where, ignore_errors=True)
        return
    filesystem, path = _resolve(where)
    filesystem.delete_dir_contents(path, missing_dir_ok=True)


def names(where: Place) -> Sequence[str]:
    """The files of a folder, sorted; none where there is no folder. Raises OSError."""
    if isinstance(where, Path):
        return sorted(file.name for file in where.iterdir() if file.is_file()) if where.exists() else []
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = _resolve(where)
    found = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == FileType.File)


def reason(error: OSError) -> str:
    """An error of a filesystem in a few words: pyarrow tells a paragraph."""
    if error.strerror and error.errno:
        return error.strerror
    told = re.search(r"AWS Error (\w+) during (\w+) operation: ?([^;\n]*)", str(error))
    return " ".join(filter(None, told.groups())) if told else str(error).splitlines()[0]


def _retried(function: Callable[[], T], patience_s: float) -> T:
    if not patience_s:
        return function()
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential  # here: 30 ms

    for attempt in Retrying(
        retry=retry_if_exception(_passes),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(max=8),
        reraise=True,
    ):
        with attempt:
            return function()
    raise AssertionError("unreachable")


def _passes(error: BaseException) -> bool:
    """Whether the request may do better later. Errors of local files have a number, those of object storage none."""
    return isinstance(error, OSError) and not error.errno and not PERMANENT.search(str(error))


def filesystem_of(where: str) -> tuple[Any, str]:
    """pyarrow's filesystem of a URI, and the path in it."""
    return _resolve(where)


def _resolve(uri: str) -> tuple[FileSystem, str]:
    parts = urlsplit(uri)
    filesystem, root = _filesystem(urlunsplit(parts._replace(path="")))
    return filesystem, root.rstrip("/") + parts.path


@lru_cache
def _filesystem(uri: str) -> tuple[FileSystem, str]:
    """The filesystem of a URI without a path, and its bucket or the like, with which paths in it start."""
    import pyarrow
    from pyarrow.fs import FileSystem

    try:
        found: tuple[FileSystem, str] = FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{uri}: {error}") from None
    return found
