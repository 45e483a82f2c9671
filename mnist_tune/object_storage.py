"""Files at a URI that pyarrow knows, such as in object storage. `storage` adds retries, and local files."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from mnist_tune.errors import UserError

OBJECT_STORES = ("s3", "gcs", "abfs")
"""Filesystems in which a file appears only once it is closed. In others we write to another name, then rename."""

READS = 10
"""How often a file is read that is replaced while it is read."""


def read(where: str) -> bytes:
    """Return the bytes of a file, none of which is missing. Raises OSError, FileNotFoundError if it does not exist.

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


def open_file(where: str) -> IO[bytes]:
    """Open a file to read from; it can seek. Raises OSError, or FileNotFoundError if the file does not exist."""
    filesystem, path = filesystem_of(where)
    file: IO[bytes] = filesystem.open_input_file(path)
    return file


def write(where: str, content: bytes) -> None:
    """Replace a file in a thread, which no Ctrl-C interrupts: what was sent by then would become the file."""
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


def remove(where: str) -> None:
    """Delete a file, if it exists. Raises OSError."""
    filesystem, path = filesystem_of(where)
    with suppress(FileNotFoundError):
        filesystem.delete_file(path)


def remove_folder(where: str) -> None:
    """Delete a folder and everything in it, if it exists. Raises OSError."""
    filesystem, path = filesystem_of(where)
    filesystem.delete_dir_contents(path, missing_dir_ok=True)


def files(where: str) -> dict[str, Any]:
    """Return pyarrow's description of each file in a folder, by name; empty if it does not exist. Raises OSError."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = filesystem_of(where)
    found = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
    return {info.base_name: info for info in found if info.type == FileType.File}


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
