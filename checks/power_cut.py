"""What a power cut leaves of a sweep's folder: what was synced, and a random part of
what was not.

`record` notes every `fsync` of this process in a file: of a file its content, of a
folder its entries. That is all that a disk has to keep. `disk` makes the folder again
as it may be after a power cut at a moment. A process of Python's that finds this folder
first in its PYTHONPATH, and MNIST_TUNE_RECORD, records itself (`sitecustomize`).
"""

from __future__ import annotations

import os
import pickle
import random
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "MNIST_TUNE_RECORD"
"""The variable that names the folder of the records."""


@dataclass(frozen=True)
class Synced:
    """A file or folder that was synced: `what` is the content, or the entries."""

    at: float
    path: str
    key: tuple[int, int]
    what: Any


def record(folder: Path, root: Path | None = None) -> Callable[[int], None]:
    """Return an `os.fsync` that notes what it syncs below `root` in a file of this
    process in `folder`."""
    sync, lock = os.fsync, threading.Lock()

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if root is None or Path(path).is_relative_to(root) or root.is_relative_to(path):
            there = os.fstat(descriptor)
            what: Any = (
                Path(path).read_bytes()
                if stat.S_ISREG(there.st_mode)
                else entries(Path(path))
            )
            sync(descriptor)
            with lock, open(folder / str(os.getpid()), "ab") as file:
                pickle.dump(Synced(time.monotonic(), path, key_of(there), what), file)
        else:
            sync(descriptor)

    return fsync


def key_of(there: os.stat_result) -> tuple[int, int]:
    """Return what a file that is written once keeps when it is renamed."""
    return there.st_ino, there.st_mtime_ns


def entries(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Return the files of a folder by name; None stands for a folder."""
    found = {}
    for entry in os.scandir(folder):
        try:
            found[entry.name] = (
                None if entry.is_dir() else key_of(entry.stat(follow_symlinks=False))
            )
        except FileNotFoundError:  # renamed or removed meanwhile
            continue
    return found


def recorded(folder: Path) -> list[Synced]:
    """Return what all processes synced, in order."""
    found = []
    for file in folder.iterdir():
        with file.open("rb") as opened:
            while True:
                try:
                    found.append(pickle.load(opened))
                except EOFError:  # also where a kill tore the last one
                    break
    return sorted(found, key=lambda one: one.at)


def disk(
    synced: list[Synced], root: Path, at: float, chance: random.Random, to: Path
) -> None:
    """Make what a power cut at a moment may leave of the folder `root`, in the folder
    `to`, which must not exist.

    Each folder has the entries of its last `fsync`, or already those of the next one. A
    file has its last synced content. To that of an appended file, a part of what was
    appended next may be added, or zeros. A file that was never synced is empty. One
    that is synced before it is renamed keeps its old name until then.
    """
    listings: dict[str, list[Synced]] = {}
    contents: dict[Any, list[Synced]] = {}
    for one in synced:
        if isinstance(one.what, dict):
            listings.setdefault(one.path, []).append(one)
        else:
            contents.setdefault(one.key, []).append(one)
            contents.setdefault(one.path, []).append(one)

    def appended(path: Path) -> bytes:
        before, after = split(contents[str(path)], at)
        kept: bytes = before[-1].what if before else b""
        if after and after[0].what.startswith(kept):
            more = after[0].what[len(kept) :]
            kept += chance.choice(
                [b"", more[: chance.randrange(len(more) + 1)], bytes(len(more))]
            )
        return kept

    def build(path: Path, there: Path) -> None:
        before, after = split(listings.get(str(path), []), at)
        now: dict[str, Any] = before[-1].what if before else {}
        for name, key in chance.choice([now, *(one.what for one in after[:1])]).items():
            if key is None:
                (there / name).mkdir()
                build(path / name, there / name)
            elif str(path / name) in contents:
                (there / name).write_bytes(appended(path / name))
            else:
                known, later = split(contents.get(key, []), at)
                if later and not known:  # not renamed yet
                    if name not in now:
                        continue
                    known, later = split(contents.get(now.get(name), []), at)
                if known or not later:
                    (there / name).write_bytes(known[-1].what if known else b"")

    parents, _ = split(listings.get(str(root.parent), []), at)
    if parents and root.name in parents[-1].what:
        to.mkdir()
        build(root, to)


def split(synced: list[Synced], at: float) -> tuple[list[Synced], list[Synced]]:
    """Return what was synced until a moment, and what was later."""
    return [one for one in synced if one.at <= at], [
        one for one in synced if one.at > at
    ]
