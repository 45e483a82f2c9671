"""When a batch of lanes runs, and which lanes of those that ask it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAIT_SHARE = 0.5
"""How long a batch waits for lanes that were in the last one, or for trials in place of those that ended, as a share
of the last one's seconds. Shorter and the lanes fall apart into small batches; what a CPU idles meanwhile, the
clients use."""

CATCH_UP = 3
"""Most epochs that a lane may be ahead of another and wait for it: lanes that started together get into step, while
what comes in place of a stopped one does not keep the others waiting with their device half filled."""

MOST_BATCHES = 20
"""Batches in a row that a lane waits so at most; those that start trials one after another need some."""

START_PAUSE_S = 4.0
"""How long the first batch waits for one more lane, where lanes gain by sharing images: the clients are starting, on
the same cores, and each size of a batch has to be compiled."""


@dataclass
class Turn:
    """The lanes of one program that ask for an epoch."""

    asking: dict[str, tuple[Path, Future[dict[str, Any]]]] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    """Lanes worth waiting for: attached since the last batch, or in it."""
    waited: dict[str, int] = field(default_factory=dict)
    """Batches in a row that lanes were left out of, to be caught up with."""
    since: float = 0.0
    """When the first of them asked, or the last batch ended."""
    last_s: float = 0.0
    """Seconds of the last batch."""
    begins: float = 0.0
    """When the first batch may run."""
    vacant: int = 0
    """Lanes freed since the last batch, and not taken again."""

    def attach(self, lane_id: str, pause: float) -> None:
        """Expects a lane. Before the first batch, others are waited for as long as this."""
        self.expected.add(lane_id)
        self.vacant = max(self.vacant - 1, 0)
        if not self.last_s:
            self.begins = time.monotonic() + pause

    def detach(self, lane_id: str) -> None:
        """Expects it no more, but another trial in its place."""
        self.expected.discard(lane_id)
        self.vacant += 1

    def end_batch(self, lanes: set[str], seconds: float) -> None:
        """Expects the lanes of the batch again, and those that asked and were held."""
        self.since, self.last_s, self.vacant = time.monotonic(), seconds, 0
        self.expected = lanes | set(self.asking)

    def ready(self, now: float) -> bool:
        return now >= self.wakes

    @property
    def wakes(self) -> float:
        """When the batch runs, if nobody calls meanwhile."""
        complete = not self.vacant and self.expected <= set(self.asking)
        return self.begins if complete else max(self.since + WAIT_SHARE * self.last_s, self.begins)


def lanes_to_hold(streams: Mapping[str, tuple[int, int] | None], waited: Mapping[str, int]) -> dict[str, int]:
    """The lanes that wait while others run. Where lanes gain by sharing images, those a little behind in their batch
    order run first, until they have caught up and all go on together; the device is busy either way.

    Args:
        streams: the batch order and epoch of each lane that asks; None where sharing gains nothing.
        waited: batches in a row that lanes have waited; after `MOST_BATCHES` one runs, come what may.

    Returns:
        `waited` with the coming batch.
    """
    present = set(filter(None, streams.values()))
    held = {}
    for lane, stream in streams.items():
        ahead = stream and any((stream[0], stream[1] - gap) in present for gap in range(1, CATCH_UP + 1))
        if ahead and waited.get(lane, 0) < MOST_BATCHES:
            held[lane] = waited.get(lane, 0) + 1
    return held
