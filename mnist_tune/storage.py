"""Reading and writing files, in a local folder or at a URI of object storage:
`s3://bucket/folder`, `gs://...`.

A `Place` is a `Path`, or a URI as a string. The query of a URI
(`?endpoint_override=...`) says how to reach it. Writes are atomic: a file is there in
full, or not at all. A folder may come from somebody else, so nothing is ever written
through a link.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import (
    SplitResult,
    parse_qsl,
    unquote,
    urlencode,
    urlsplit,
    urlunsplit,
)

from mnist_tune import object_storage
from mnist_tune.errors import UserError
from mnist_tune.object_storage import MOST_BYTES

Place = Path | str
P = TypeVar("P", Path, str, Place)

PATIENCE_S = 120.0
"""How long a training process retries object storage that does not answer, before its
trial ends in an error."""

SYNC_S = 1.0
"""Seconds between two syncs of what a sweep writes locally: a power cut costs the rows
of that time."""

PART = ".part"
"""How the name of a file ends that is being written. A killed process leaves it
behind."""

BEST = ".best"
"""How the name of a file ends that has the parameters of a trial's best epoch. It lies
beside the trial's state."""

SECRETS = re.compile(r"key|secret|token|password|signature|credential", re.IGNORECASE)


ENDPOINT = "endpoint_override"
"""Says in the query of a URI which server has the bucket."""


def place(where: str | Path) -> Place:
    """Return the place that a user typed: a folder as a `Path`, with its `~` expanded,
    or a URI. Raises `UserError` if its scheme is unknown, it names no bucket, or it
    holds keys: URIs are written to files."""
    scheme, separator, rest = str(where).partition("://")
    if not separator:
        return local(where)
    try:
        parts = urlsplit(str(where))
    except ValueError as error:  # "s3://[/x"
        what = f"{str(where)[:80]!r} is no URI ({error})"
        raise UserError(f"{what}; write {scheme}://BUCKET/FOLDER") from None
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return local(unquote(parts.path))
    address = rest.partition("?")[0]
    without_user = address.rpartition("@")[2]
    _refuse_uri(parts, f"{scheme}://{without_user}", scheme)
    query = dict(parse_qsl(parts.query))
    kind, separator, host = query.get(ENDPOINT, "").partition("://")
    if separator:  # as other tools write an endpoint
        query |= {ENDPOINT: host.rstrip("/"), "scheme": kind}
        parts = parts._replace(query=urlencode(query, safe=":"))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/")))


def _refuse_uri(parts: SplitResult, shown: str, scheme: str) -> None:
    """Refuse a URI whose scheme is unknown, that names no bucket, or that holds keys;
    the error has what may be shown of it."""
    if scheme not in object_storage.QUERIES:
        schemes = "://, ".join(object_storage.QUERIES)
        raise UserError(f"{shown}: results go to a folder or to one of {schemes}://")
    if not parts.hostname:
        raise UserError(f"{shown} names no bucket; write {scheme}://BUCKET/FOLDER")
    if parts.fragment:  # what follows a # would be left out
        raise UserError(f"{shown} has a #; write {scheme}://BUCKET/FOLDER")
    query = dict(parse_qsl(parts.query))
    has_user = parts.username or parts.password or "@" in query.get(ENDPOINT, "")
    if has_user or any(map(SECRETS.search, query)):
        raise UserError(
            f"{shown}: there are keys in this URI, which is written to files; set them in the environment of every "
            "node instead (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)"
        )


def local(text: str | Path) -> Path:
    """Return a path that a user typed, or that a folder records. A shell leaves the `~`
    of "--output=~/x" to us. Raises `UserError` if no file can have that name."""
    path = Path(os.path.expanduser(text))
    try:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
    except (OSError, ValueError) as error:
        # it is too long, or has characters that no name may have
        why = error.strerror if isinstance(error, OSError) else error
        what = f"there can be no file {str(path)[:80]!r} ({why})"
        raise UserError(f"{what}; name another one") from None
    return path


def absolute(where: Place) -> Place:
    """Return a place that stays the same in another working folder."""
    return where.absolute() if isinstance(where, Path) else where


def join(where: P, *names: str) -> P:
    """Return the place of a file or folder below `where`. Every name that is written to
    goes through here: some come from folders and buckets of others. Raises `UserError`
    if a name could lead out of `where`."""
    for part in "/".join(names).split("/"):
        if part in ("", ".", "..") or not re.fullmatch(r"[^\x00-\x1f\\]+", part):
            what = f"{part[:80]!r} is no name of a file below {where}"
            raise UserError(f"{what}; rename it")
    if isinstance(where, Path):
        return where.joinpath(*names)
    parts = urlsplit(where)
    path = "/".join((parts.path, *names))
    return urlunsplit(parts._replace(path=path))


def best_of(state: P) -> P:
    """Return where a trial's best parameters are, given where its state is."""
    start, _, query = str(state).rpartition(".npz")
    return type(state)(f"{start}{BEST}{query}")


def read(where: Place, patience_s: float = 0) -> bytes | None:
    """Return the bytes of a file, or None if it does not exist. `patience_s` is as in
    `open_file`. Raises OSError if it can't be read, or we can't find out whether it
    exists."""
    with suppress(FileNotFoundError), open_file(where, patience_s=patience_s) as file:
        return file.read()
    return None


def open_file(
    where: Place, most: int = MOST_BYTES, links: bool = False, patience_s: float = 0
) -> IO[bytes]:
    """Open a file to read from; it can seek. It may be anybody's: reading a pipe or a
    device may never end. Requests that fail are retried for `patience_s`. Raises
    FileNotFoundError, or OSError if it can't be read, is larger than `most` bytes, or
    is a pipe, a device or (without `links`) a link."""
    if not isinstance(where, Path):
        content, _ = object_storage.read(where, most, patience_s)
        return io.BytesIO(content)

    opener = no_wait if links else no_link
    file = open(where, "rb", opener=opener)  # noqa: SIM115 -- the caller closes it
    about = os.fstat(file.fileno())
    why = ""
    if not stat.S_ISREG(about.st_mode):
        why = "it is a pipe or a device"
    elif about.st_size > most:
        why = f"it has {about.st_size} bytes; at most {most} are read"
    if why:
        file.close()
        raise OSError(errno.EINVAL, why, str(where))
    return file


def write(
    where: Place, content: bytes, patience_s: float = 0, sync: bool = False
) -> None:
    """Replace a file atomically: if the process is killed, either the old file or the
    new one is there, complete. With `sync`, a local file has survived a power cut, too,
    once this returns. `patience_s` is as in `open_file`. Raises OSError, also if the
    file is a link."""
    if not isinstance(where, Path):
        object_storage.write(where, content, patience_s)
        return
    refuse_link(where)
    # root could replace /dev/null
    if where.exists() and not (where.is_file() or where.is_dir()):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(where))
    part = where.parent / f".{where.name}.{secrets.token_hex(8)}{PART}"
    try:
        with open(part, "xb", opener=no_link) as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, where)
        if sync:
            sync_folder(where.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk, if its file system can do that
    alone."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_to_append(where: Path) -> IO[str]:
    """Open a local file to append text to. Raises OSError, also if it is a link."""
    return open(where, "a", encoding="utf-8", opener=no_link)


def no_link(path: str, flags: int) -> int:
    """Open a file: the opener of `open` for local files that are not the user's own.
    Raises OSError, also if it is a link."""
    refuse_link(Path(path))
    return no_wait(path, flags | os.O_NOFOLLOW)


def no_wait(path: str, flags: int) -> int:
    """Open a file, which may be a pipe that never opens: the opener of `open`."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def refuse_link(path: Path) -> None:
    """Raise an OSError that says so if this is a link."""
    if path.is_symlink():
        why = "it is a link, and what we read or write must not be elsewhere"
        raise OSError(errno.ELOOP, f"{why}; remove it", str(path))


def remove_parts(folder: Path) -> None:
    """Delete the unfinished files that killed processes left in a folder. Raises
    OSError."""
    for part in folder.glob(f".*.{'?' * 16}{PART}"):
        part.unlink(missing_ok=True)


def remove(where: Place) -> None:
    """Delete a file, if it exists. Raises OSError."""
    if isinstance(where, Path):
        where.unlink(missing_ok=True)
    else:
        object_storage.remove(where)


def sizes(where: Place) -> dict[str, int]:
    """Return the size of each file in a folder by its name; none if it does not exist.
    Raises OSError."""
    if isinstance(where, Path):
        files = [file for file in where.glob("*") if file.is_file()]
        return {file.name: file.stat().st_size for file in files}
    objects = object_storage.files(where)
    return {name: file["size"] for name, file in objects.items()}


@contextmanager
def attempt(what: str, advice: str = "") -> Iterator[None]:
    """Raise a `UserError` in place of an OSError: what can't be done, why, and what to
    do."""
    try:
        yield
    except OSError as error:
        raise UserError(f"can't {what}: {reason(error)}{advice}") from None


def reason(error: OSError) -> str:
    """Return an error of a file in a few words."""
    if error.strerror and error.errno:
        return error.strerror
    text = str(error) or type(error).__name__
    return text.splitlines()[0]
