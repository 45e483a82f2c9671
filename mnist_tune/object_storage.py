"""Files in object storage, by obstore. `storage` adds retries, and local files.

obstore's calls can't be interrupted, and its errors are not those of files. Both are
mended here, at one place.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from mnist_tune.errors import UserError, library

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

T = TypeVar("T")

Version = dict[str, str]
"""What identifies the content of a file: its tag, and its number if the storage has
one."""

QUERIES = {
    "s3": ("endpoint_override", "scheme", "region"),
    "gs": ("endpoint_override", "scheme"),
    "az": (),
}
"""What the query of a URI may say, by scheme. obstore itself would ignore what it does
not know, and address Amazon."""

SILENCE = "30s"
"""How long a request may wait for the storage to say something."""

AT_ONCE = 4
"""Parts of a large file that are sent at the same time. On a slow line, all have to be
there within `SILENCE`."""

METADATA = "169.254.169.254"
"""Where a machine in a cloud is told its keys."""


MOST_BYTES = 2**32
"""The largest file that is read, here or from object storage, but for kinds of files
that have a limit of their own."""


NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""How the storage's error begins where there is no bucket at all."""


class ChangedError(OSError):
    """A file is not what a conditional write expected: another process has written
    it."""


def read(
    where: str, most: int = MOST_BYTES, patience_s: float = 0
) -> tuple[bytes, Version]:
    """Return the bytes of a file, and what identifies them. What fails is tried again
    for `patience_s`. Raises FileNotFoundError, or OSError if the file can't be read or
    is larger than `most` bytes."""

    def get(store: ObjectStore, path: str) -> tuple[bytes, Version]:
        response = store.get(path)
        size = response.meta["size"]
        if size > most:
            raise OSError(f"{path} has {size} bytes; at most {most} are read")
        return bytes(response.bytes()), _version(response.meta)

    return _call(where, get, patience_s)


def write(where: str, content: bytes, patience_s: float = 0) -> None:
    """Write a file, whole or not at all. `patience_s` is as in `read`. Raises
    OSError."""

    def put(store: ObjectStore, path: str) -> None:
        store.put(path, content, max_concurrency=AT_ONCE)

    _call(where, put, patience_s)


def write_over(where: str, content: bytes, over: Version | None, owner: str) -> Version:
    """Write a file only if it is still this version or, without one, does not exist,
    and return what identifies it. Its `owner` is kept beside it: who never heard the
    answer to a write can see whether it was done.

    Raises OSError, and ChangedError if another one has written the file.
    """
    mode: Any = over or "create"
    attributes: Any = {"owner": owner}

    def put(store: ObjectStore, path: str) -> Any:
        return store.put(
            path, content, max_concurrency=AT_ONCE, mode=mode, attributes=attributes
        )

    for _ in range(3):
        try:
            return _version(_call(where, put))
        except ChangedError as error:
            changed = error
        try:
            last_owner, mode = owner_of(where)
        except FileNotFoundError:
            if over:
                raise changed from None
            continue  # two requests of ours met, and neither was heard
        if last_owner != owner:
            raise changed
    raise changed


def owner_of(where: str) -> tuple[str | None, Version]:
    """Return who wrote a file by `write_over`, and what identifies its content. Raises
    OSError."""
    response = _call(where, lambda store, path: store.get(path))
    return response.attributes.get("owner"), _version(response.meta)


def _version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name]}


def copy(where: str, to: str) -> None:
    """Copy a file within the storage, if it exists. Raises OSError."""
    with suppress(FileNotFoundError):
        _call(where, lambda store, path: store.copy(path, _path(to)))


def remove(*where: str) -> None:
    """Delete files of one bucket, if they exist. Raises OSError."""
    if not where:
        return
    paths = [_path(file) for file in where]
    with suppress(FileNotFoundError):
        _call(where[0], lambda store, _: store.delete(paths))


def files(where: str) -> dict[str, ObjectMeta]:
    """Return what is known of each file in a folder, by name; empty if it does not
    exist. Raises OSError."""
    listing = _call(where, lambda store, path: store.list_with_delimiter(path))
    folder = _path(where)
    objects = {}
    for file in listing["objects"]:
        if file["path"] != folder:
            _, _, name = file["path"].rpartition("/")
            objects[name] = file
    return objects


def below(where: str) -> list[str]:
    """Return the names of all files in a folder and in those below, relative to it.
    Raises OSError."""
    listing = _call(where, lambda store, path: store.list(path).collect())
    folder = _path(where)
    paths = [file["path"] for file in listing if file["path"] != folder]
    return [path.removeprefix(f"{folder}/") for path in paths]


def _call(
    where: str, function: Callable[[ObjectStore, str], T], patience_s: float = 0
) -> T:
    """Call a function with the store of a URI and the path in it. Raises OSError.
    Nothing interrupts it. So the main thread waits for another one, and Ctrl-C comes
    through once that has ended."""
    store = _store(_without_path(where), patience_s)
    call = partial(_as_of_files, partial(function, store, _path(where)))
    if threading.current_thread() is not threading.main_thread():
        return call()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def _without_path(uri: str) -> str:
    return urlunsplit(urlsplit(uri)._replace(path=""))


def _path(where: str) -> str:
    return urlsplit(where).path.strip("/")


def _as_of_files(function: Callable[[], T]) -> T:
    """Call a function of obstore. Its errors become errors of files, in a line: its own
    tell the server's whole answer. Raises OSError."""
    from obstore import exceptions

    try:
        return function()
    except (exceptions.BaseError, OSError) as error:
        line = _in_a_line(str(error))
        changed = (exceptions.AlreadyExistsError, exceptions.PreconditionError)
        refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        kind = OSError
        if isinstance(error, changed):
            kind = ChangedError
        elif isinstance(error, refused):
            kind = PermissionError
        elif isinstance(error, FileNotFoundError) and not line.startswith(NO_BUCKET):
            kind = FileNotFoundError
        raise kind(line) from None


def _in_a_line(text: str) -> str:
    """Return what matters in an error of obstore: the storage's code and words, or why
    there was no answer."""
    if METADATA in text:
        hint = "~/.aws is read if boto3 is installed"
        return f"no keys are in the environment, nor does this machine have any; {hint}"
    answer = re.search(r"<Code>([^<]*)</Code>\s*<Message>([^<\n]*)", text)
    if answer:
        return " ".join(answer.groups())
    line = text.splitlines()[0]
    status = re.search(r"(?:HTTP error: |status code: )([^\n<]*?):? *(?:\n|<|$)", text)
    if status:
        line = status[1]
    why = re.search(r'message: "([^"]*)"|(TimedOut)', text)
    if why:
        line += f" ({why[1] or why[2]})"
    return line


@lru_cache
def _store(uri: str, patience_s: float = 0) -> ObjectStore:
    """Return the store of a URI that has no path. It tries again what may pass, such as
    a server that does not answer: for `patience_s`, or twice. Raises `UserError` if its
    query says what we don't know, or the configuration of AWS can't be read."""
    library("obstore", "object storage")
    from obstore.store import AzureStore, GCSStore, S3Store

    parts = urlsplit(uri)
    bucket = parts.hostname or ""
    query = dict(parse_qsl(parts.query))
    _refuse_unknown(uri, query.keys(), QUERIES[parts.scheme])
    scheme = query.get("scheme", "https")
    host = query.get("endpoint_override")
    endpoint = None
    if host:
        endpoint = f"{scheme}://{host}"
    settings: dict[str, Any] = {
        "client_options": {
            "timeout": "1h",
            "read_timeout": SILENCE,
            "allow_http": scheme == "http",
        },
        "retry_config": {
            "max_retries": 1000 if patience_s else 2,
            "retry_timeout": timedelta(seconds=patience_s or 10),
            "backoff": {"max_backoff": timedelta(seconds=8)},
        },
    }
    if parts.scheme == "az":
        return AzureStore(bucket, **settings)
    config: Any = {}
    if parts.scheme == "gs":
        if endpoint:
            config["base_url"] = endpoint
        return GCSStore(bucket, config=config, **settings)
    region = query.get("region")
    if endpoint:
        config["endpoint"] = endpoint
    elif not region:
        region = _region(bucket)
    if region:
        config["region"] = region
    return S3Store(
        bucket, config=config, credential_provider=_keys_of_aws(), **settings
    )


def _refuse_unknown(
    uri: str, names: AbstractSet[str], of_scheme: Collection[str]
) -> None:
    unknown = ", ".join(names - set(of_scheme))
    if unknown:
        only = ", ".join(of_scheme) or "nothing"
        raise UserError(f"{uri}: {unknown} after the ? is not known, only {only} is")


def _region(bucket: str) -> str | None:
    """Return the region of one of Amazon's buckets, which obstore must be told."""
    if "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT" in os.environ:
        return None
    from pyarrow.fs import resolve_s3_region

    try:
        return str(resolve_s3_region(bucket))
    except OSError:  # the first request says what is wrong
        return None


def _keys_of_aws() -> Any:
    """Return a source of the keys in `~/.aws` and wherever else boto3 finds some, if it
    is installed. Without one, obstore takes keys from the environment, or those that a
    machine of Amazon's has."""
    if "AWS_ACCESS_KEY_ID" in os.environ or not find_spec("boto3"):
        return None
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError:  # boto3 finds none
        return None
    except BotoCoreError as error:
        raise UserError(f"can't read the configuration of AWS: {error}") from None


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem of a URI, and the path in it. Only for Tune, which
    knows no other: it saves its own files, such as the checkpoints of population based
    training."""
    from pyarrow.fs import AzureFileSystem, FileSystem

    if urlsplit(uri).scheme == "az":
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
        azure = AzureFileSystem(account, account_key=key)
        return azure, f"{urlsplit(uri).hostname}/{_path(uri)}"
    filesystem, root = FileSystem.from_uri(_without_path(uri))
    return filesystem, f"{root.rstrip('/')}/{_path(uri)}"


def remove_tunes(where: str) -> None:
    """Delete a folder of Tune's, if it exists. obstore can't name the empty files that
    pyarrow makes for folders. Raises OSError."""
    if below(where):
        filesystem, path = filesystem_of(where)
        filesystem.delete_dir_contents(path)
