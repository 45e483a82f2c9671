"""Take a place in object storage for one writer, also if two machines try at the same moment.

A conditional write (`If-None-Match`) would do, but pyarrow has none. So the writers tell each other: each writes a
claim under a name of its own, then lists all claims. Object storage lists whatever was written before (S3, Google's and
Azure's do), so of two writers at least one sees the other. Whoever sees another's claim withdraws its own, and tries
again a little later.
"""

from __future__ import annotations

import platform
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from mnist_tune import storage
from mnist_tune.errors import UserError

PREFIX = "claim-"

TRIES = 5

PAUSE_S = 2.0
"""Seconds before the next try, on average."""

STALE_S = 60.0
"""Age of a claim whose writer was killed, by the storage's own clock. A claim is held for a second or two."""


@contextmanager
def claimed(to: str) -> Iterator[Callable[[], None]]:
    """Hold the only claim to a place. Within, find out whether it is free, and leave a sign that it is taken.

    It yields a function to be called right before that sign is left. It raises a `UserError` if finding out took so
    long that another machine took the claim for a dead writer's.

    Raises:
        UserError: another machine keeps claiming the place.
        OSError: the storage can't be read or written.
    """
    for _ in range(TRIES):
        name = f"{PREFIX}{secrets.token_hex(8)}"
        claim = storage.join(to, name)
        try:
            storage.write(claim, platform.node().encode())
            if _is_only(name, to):
                yield partial(_check, name, to)
                return
        finally:
            with suppress(OSError):  # then it is stale soon
                storage.remove(claim)
        time.sleep(random.uniform(0, 2 * PAUSE_S))
    raise UserError(f"another sweep is being started at {to} at this moment; try again, or name another --output")


def _check(name: str, to: str) -> None:
    if name not in storage.names(to):
        raise UserError(f"{to} answered too slowly to begin there: another process may have begun meanwhile; try again")


def _is_only(name: str, to: str) -> bool:
    """Return whether there is no claim but this one. Claims that killed writers left are removed."""
    written = {one: at for one, at in storage.times(to).items() if one.startswith(PREFIX)}
    stale = [one for one, at in written.items() if at < written[name] - STALE_S]
    for one in stale:
        storage.remove(storage.join(to, one))
    return len(written) - len(stale) == 1
