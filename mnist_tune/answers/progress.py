"""How far a sweep is."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mnist_tune.trial import LIVE_REASONS, OPEN_REASONS


@dataclass(frozen=True)
class Progress:
    """How many trials of a sweep are in which state."""

    trials: int
    running: int
    waiting: int
    unknown: int
    """Those whose process gives no sign of life."""
    open: int
    """Those that were interrupted: a resume goes on with them."""
    trained: float
    """The share of the epochs that has been trained: of all, if no trial is stopped
    from now on."""

    @property
    def live(self) -> int:
        return self.running + self.waiting + self.unknown

    @property
    def is_open(self) -> bool:
        """Whether a trial may still change what is the best."""
        return self.live + self.open > 0


def progress(trials: pd.DataFrame) -> Progress:
    """Return how far a sweep with these trials is."""
    reasons = trials["stop_reason"]
    running, waiting, unknown = (int(reasons.eq(name).sum()) for name in LIVE_REASONS)
    is_open = int(reasons.isin(OPEN_REASONS).sum())
    unfinished = trials[reasons.isin([*LIVE_REASONS, *OPEN_REASONS])]
    left = (unfinished["epochs_asked"] - unfinished["epochs_run"]).clip(lower=0)
    run = float(trials["epochs_run"].sum())
    trained = run / max(run + float(left.sum()), 1.0)
    return Progress(len(trials), running, waiting, unknown, is_open, trained)
