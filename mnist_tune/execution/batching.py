"""The decision when the next batch of a group of lanes runs."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.storage import Place

WAIT_SHARE = 0.5
"""How long a batch waits for lanes that have not asked yet, as a share of the seconds that the last batch took. With a
shorter wait, the lanes split into small batches. With a longer one, a slow client delays all others."""


@dataclass
class Turn:
    """The lanes of one group, and those among them that wait for their next epoch."""

    asking: dict[str, tuple[Place, Future[dict[str, Any]]]] = field(default_factory=dict)
    """The waiting lanes: where each one's state is saved, and the future of its row."""
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
