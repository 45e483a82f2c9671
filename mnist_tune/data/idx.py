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

MAGIC = tuple(bytes((0, 0, 8, rank)) for rank in (1, 2, 3))
"""How a file of unsigned bytes begins: the last byte is the number of dimensions."""


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
    magic = content[:4]
    if magic not in MAGIC:
        numbers = "magic number 00000801, 00000802 or 00000803"
        raise _malformed(name, numbers, magic.hex() or "nothing")
    rank = magic[3]
    header = 4 + 4 * rank
    # Where a header is cut off, the length does not fit.
    shape = []
    for start in range(4, header, 4):
        dimension = content[start : start + 4]
        shape.append(int.from_bytes(dimension, "big"))
    length = header + math.prod(shape)
    if len(content) != length:
        dimensions = " x ".join(map(str, shape))
        promise = f"{length} bytes, as its header promises {dimensions}"
        raise _malformed(name, promise, f"{len(content)}")
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
        damage = f"a truncated or damaged one ({error})"
        raise _malformed(name, "a complete gzip stream", damage) from error


def _malformed(name: str, expected: str, actual: str) -> DataError:
    return DataError(
        f"{name}: expected {expected}, found {actual}; fetch the file again"
    )
