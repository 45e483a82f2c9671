"""What a trial's next epoch needs to know of those before it, beside its arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mnist_tune.epoch_row import EpochRow

IN_NO_ROW = (
    "least_loss",
    "untrained_deviation",
    "untrained_parts",
    "begun_window",
    "best_score",
    "best_step",
)
"""What is saved of it beside the row, from which the rest follows."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a trial remembers after an epoch, or before the first one."""

    untrained_loss: float
    least_loss: float
    """The least loss on the training set so far, also before training."""
    untrained_deviation: float = 0.0
    """Without an accuracy, the standard deviation of the untrained loss over parts of
    the training set."""
    untrained_parts: Sequence[float] = ()
    """Without an accuracy, the untrained losses of parts of the held-out examples."""
    begun_window: Sequence[float] = field(default_factory=list)
    """The losses of the last steps, if a report has cut a window of these."""
    epoch: int = 0
    step: int = 0
    above_since: int | None = None
    guessing_since: int | None = None
    untrained_sharpness: float | None = None
    best_score: float = -math.inf
    """The best held-out score so far, if the best epoch is kept."""
    best_step: int = 0
    """The last step of that epoch."""

    @classmethod
    def after(cls, row: EpochRow, stored: Mapping[str, Any]) -> Memory:
        """Return what a trial remembers after the epoch of a row. Some of these
        `stored` values are `IN_NO_ROW`."""
        assert row.untrained_loss is not None
        values: dict[str, Any] = {"least_loss": row.untrained_loss}
        for name in IN_NO_ROW:
            if stored.get(name) is not None:
                values[name] = stored[name]
        return cls(
            untrained_loss=row.untrained_loss,
            epoch=row.epoch,
            step=row.step,
            above_since=row.above_since,
            guessing_since=row.guessing_since,
            untrained_sharpness=row.untrained_sharpness,
            **values,
        )

    def with_score(self, score: float) -> Memory:
        """Return the memory with the held-out score of its last epoch."""
        if score > self.best_score:
            return replace(self, best_score=score, best_step=self.step)
        return self

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far."""
        return 0 < self.best_step == self.step

    def stored(self) -> dict[str, Any]:
        """Return what no row has, for JSON."""
        return {name: getattr(self, name) for name in IN_NO_ROW}
