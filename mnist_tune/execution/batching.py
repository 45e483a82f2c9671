"""When a batch runs."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.storage import Place

WAIT_SHARE = 0.5
"""How long a batch waits for lanes that have not asked, as a share of the last one's seconds. Shorter and the lanes
fall apart into small batches; longer and one slow client holds up all others."""


@dataclass
class Turn:
    """The lanes of one group that wait for their next epoch."""

    asking: dict[str, tuple[Place, Future[dict[str, Any]]]] = field(default_factory=dict)
    attached: set[str] = field(default_factory=set)
    since: float = 0.0
    """When the first of them asked."""
    last_s: float = 0.0
    """Seconds of the last batch."""

    def ready(self, now: float) -> bool:
        """Whether the batch runs: all lanes ask, or some have waited long enough."""
        return bool(self.asking) and now >= self.wakes

    @property
    def wakes(self) -> float:
        """When the batch runs, if nobody calls meanwhile."""
        return self.since if self.attached <= self.asking.keys() else self.since + WAIT_SHARE * self.last_s
