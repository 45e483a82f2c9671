"""IDX, the file format of MNIST: a big-endian header, then the elements in row-major
order."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnist_tune import storage
from mnist_tune.errors import UserError


class DataError(UserError):
    """A data set can't be found or read. The message names the file or the source, and
    says what to do."""


def read_idx(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes with 1 to 3 dimensions, which
    is read-only. Raises DataError if it is no such file, or is shorter or longer than
    its header says; `name` is its name there.

    The header is `0, 0, 0x08, rank` in bytes, then each dimension as a big-endian
    uint32. Format: "THE IDX FILE FORMAT" in LeCun, Cortes and Burges,
    http://yann.lecun.com/exdb/mnist/.
    """
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if not 1 <= rank <= 3:
        raise _malformed(
            name,
            "magic number 00000801, 00000802 or 00000803",
            content[:4].hex() or "nothing",
        )
    header = 4 + 4 * rank
    shape = [
        int.from_bytes(content[start : start + 4], "big")
        for start in range(4, header, 4)
    ]
    length, dimensions = header + math.prod(shape), " x ".join(map(str, shape))
    if len(content) != length:
        raise _malformed(
            name,
            f"{length} bytes, as its header promises {dimensions}",
            f"{len(content)}",
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_raw(path: Path) -> bytes:
    """Return the content of a file, unzipped if it is gzipped. Raises DataError if it
    can't be read, or its gzip stream is damaged."""
    try:
        with storage.open_file(path, links=True) as file:
            return gunzip(file.read(), str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def gunzip(content: bytes, name: str) -> bytes:
    """Return `content`, unzipped if it begins like a gzip stream. Raise a `DataError`,
    with its name, if the stream is truncated or damaged."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _malformed(
            name, "a complete gzip stream", f"a truncated or damaged one ({error})"
        ) from error


def _malformed(name: str, expected: str, found: str) -> DataError:
    return DataError(
        f"{name}: expected {expected}, found {found}; fetch the file again"
    )
