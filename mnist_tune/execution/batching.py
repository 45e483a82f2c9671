"""The decision when the next batch of a group of lanes runs, and of which size it is."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

WAIT_SHARE = 0.5
"""How long a batch waits for lanes that have not asked yet, as a share of the seconds that the last batch took. With a
shorter wait, the lanes split into small batches. With a longer one, a slow client delays all others."""


@dataclass
class Turn:
    """The lanes of one group, and those among them that wait for their next epoch."""

    asking: dict[str, Future[dict[str, Any]]] = field(default_factory=dict)
    """The waiting lanes, and the futures of their rows."""
    attached: set[str] = field(default_factory=set)
    """All lanes of the group."""
    since: float = 0.0
    """When the first waiting lane asked."""
    last_s: float = 0.0
    """Seconds that the last batch took."""

    def ready(self, now: float) -> bool:
        """Return whether the batch should run: all lanes wait, or some have waited long enough."""
        return bool(self.asking) and now >= self.wakes

    @property
    def wakes(self) -> float:
        """When the batch runs if no other lane asks."""
        return self.since if self.attached <= self.asking.keys() else self.since + WAIT_SHARE * self.last_s


@dataclass
class BatchSizes:
    """The sizes of a group's batches: powers of two, and the largest one.

    A batch is padded to its size. Each size must be compiled, which takes long, so a size that is compiled already is
    used until its padding has cost as much time as a compilation.
    """

    largest: int
    """Lanes in the largest batch; it is halved when the device runs out of memory."""
    padding_s: float = 0.0
    """Seconds spent on padding since the last compilation."""
    compile_s: float = 0.0
    """Seconds of the longest compilation."""

    def choose(self, lanes: int, compiled: Iterable[int]) -> int:
        """Return the size of a batch of so many lanes, at most `largest`."""
        wanted = self._wanted(lanes)
        larger = [size for size in compiled if wanted <= size <= self.largest]
        return wanted if self.padding_s > self.compile_s else min(larger, default=wanted)

    def ran(self, lanes: int, size: int, compile_s: float, run_s: float) -> None:
        """Take note of a batch of so many lanes, and of its seconds."""
        if compile_s:
            self.padding_s, self.compile_s = 0.0, max(self.compile_s, compile_s)
        self.padding_s += run_s * max(size - self._wanted(lanes), 0) / size

    def _wanted(self, lanes: int) -> int:
        return min(1 << (lanes - 1).bit_length(), self.largest)
