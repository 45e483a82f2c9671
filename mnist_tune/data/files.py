"""The four files of MNIST: their checksums, and the folder that keeps them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mnist_tune import storage
from mnist_tune.cache import cache_folder, writable_cache_folder
from mnist_tune.data.idx import DataError, read_raw

# SHA-256 of the unzipped files.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DATA_VARIABLE = "MNIST_TUNE_DATA"
LOCK_TIMEOUT_S = 600.0

_log = logging.getLogger(__name__)


class UnavailableError(DataError):
    """No source delivered MNIST. The message lists each source with its reason."""


def data_folder(to_write: bool = False) -> Path:
    """Return `$MNIST_TUNE_DATA`, or the cache folder if that is unset or empty: to
    read, a read-only one will do."""
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if to_write:
        return writable_cache_folder()
    return cache_folder()


def checksum(raw: bytes) -> str:
    """Return the SHA-256 of unzipped bytes, in hex."""
    return hashlib.sha256(raw).hexdigest()


OWN_FILE = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?",
    re.IGNORECASE,
)
"""How MNIST, Fashion-MNIST, KMNIST and EMNIST name their files."""

PARTS = [(part, what) for part in ("train", "test") for what in ("images", "labels")]
"""What each file holds, in the order of `CHECKSUMS`."""


def idx_files(folder: Path) -> dict[str, dict[tuple[str, str], Path]]:
    """Return the IDX files in a folder by how their names begin, and by what they hold.
    Of several spellings of a name, the plain one counts."""
    by_prefix: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(folder.glob("*"), reverse=True):
        match = OWN_FILE.fullmatch(path.name)
        if match is None:
            continue
        part = "test"
        if match["part"].lower() == "train":
            part = "train"
        files = by_prefix.setdefault(match["prefix"], {})
        files[part, match["what"].lower()] = path
    return by_prefix


def read_own_folder(folder: Path) -> dict[str, bytes]:
    """Return the raw bytes of four IDX files by path: training images and labels, then
    those of the test part. `folder` may be followed by how the names of its files
    begin: `emnist/emnist-balanced`. Raises DataError if there are not four such files,
    or one can't be read."""
    begin = ""
    if not folder.is_dir():
        folder, begin = folder.parent, folder.name
    by_prefix = idx_files(folder)
    prefixes = [prefix for prefix in by_prefix if prefix.startswith(begin)]
    if begin and not prefixes:
        names = ", ".join(CHECKSUMS)
        raise DataError(
            f"there is no folder {folder / begin}, nor IDX files whose names begin so, such as {names}"
        )
    whole = [prefix for prefix in prefixes if len(by_prefix[prefix]) == 4]
    if "" in whole and not begin:
        whole = [""]
    if len(whole) != 1:
        hint = f"such as {', '.join(CHECKSUMS)}"
        if whole:
            names = ", ".join(sorted(prefix.rstrip("-") for prefix in whole))
            hint = f"it has several, choose one: {folder}/NAME, of {names}"
        raise DataError(f"{folder} must hold four IDX files of one data set; {hint}")
    files = by_prefix[whole[0]]
    return {str(files[key]): read_raw(files[key]) for key in PARTS}


def not_of_mnist(files: Mapping[str, bytes]) -> list[str]:
    """Return the names of those of four files that are not MNIST's."""
    pairs = zip(files.items(), CHECKSUMS.values(), strict=True)
    return [name for (name, raw), expected in pairs if checksum(raw) != expected]


def read_mnist(folder: Path) -> dict[str, bytes]:
    """Return the raw bytes of MNIST's four files in a folder. Raises DataError if they
    are not there, or not right."""
    files = read_own_folder(folder)
    for path in not_of_mnist(files):
        raise DataError(
            f"checksum of {path} is not that of MNIST's; name other data with --dataset FOLDER, or use "
            "--dataset fashion-mnist"
        )
    return files


def mnist_files(chosen: Path | None = None) -> dict[str, bytes]:
    """Return the raw bytes of MNIST's four files, from a folder or, without one, from
    the data folder. If one is missing or wrong there, they are fetched into it. Raises
    UnavailableError if no source delivers them, `UserError` if the folder is not
    writable; DataError if they are not in the chosen one, or not right."""
    if chosen is not None:
        return read_mnist(chosen)
    with suppress(DataError):
        return read_mnist(data_folder())
    folder = data_folder(to_write=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S):
            try:
                # another process may have fetched them while this one waited
                return read_mnist(folder)
            except DataError as error:
                return _fetched(folder, str(error))
    except Timeout:
        raise DataError(
            f"another process has been fetching MNIST into {folder} for {LOCK_TIMEOUT_S:g} s; "
            f"end it, or set ${DATA_VARIABLE} to another folder"
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot write to the data folder {folder}: {storage.reason(error)}; "
            f"set ${DATA_VARIABLE} to a writable folder with room for 55 MB"
        ) from error


def _fetched(folder: Path, why: str) -> dict[str, bytes]:
    """Return the four files, which are fetched into the folder. The caller holds its
    lock."""
    # imported late: a sweep starts faster without HTTP
    from mnist_tune.data.download import SourceError, sources

    if idx_files(folder):
        _log.warning("%s; fetching MNIST again", why)
    storage.remove_parts(folder)
    tried = [f"data folder {folder} ({why})"]
    for source, fetch in sources():
        try:
            files = dict(zip(CHECKSUMS, fetch([*CHECKSUMS]), strict=True))
            for name in not_of_mnist(files):
                raise SourceError(f"checksum of its {name} is not that of MNIST's")
        except SourceError as error:
            tried.append(f"{source} ({error})")
            continue
        for name, raw in files.items():
            target = folder / name
            # perhaps somebody's only copy of Fashion-MNIST
            if target.exists() and target.read_bytes() != raw:
                os.replace(target, folder / f"{name}.rejected")
            storage.write(target, raw, sync=True)
        return files
    raise UnavailableError(
        f"MNIST is not available; tried: {'; '.join(tried)}. Set ${DATA_VARIABLE} or --data-dir to a folder "
        "with its four files, or install npm, or use --dataset mnist-5k, a subset of 5,000 images"
    )
