"""Where an architecture stops to converge."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Edge(NamedTuple):
    """Where an architecture stops to converge. None, or no trials, where there is no such learning rate."""

    best: float | None
    """Learning rate of the lowest training loss, the mean over replicates: of those where none diverged, if there are
    any."""
    always: float | None
    """The largest learning rate at which every replicate converged."""
    sometimes: float | None
    """The largest at which any converged."""
    share: tuple[int, int]
    """How many of how many trials converged at `sometimes`."""


def edge(trials: pd.DataFrame) -> Edge:
    """The edge of the trials of one architecture."""
    converged = trials["regime"].eq("converged").groupby(trials["learning_rate"])
    count, every = converged.sum(), converged.all()
    diverged = trials["regime"] == "diverged"
    finished = trials[trials["train_loss"].astype(float).notna() & ~diverged]
    safe = finished[~finished["learning_rate"].isin(trials["learning_rate"][diverged])]
    finished = safe if len(safe) else finished
    best = finished.groupby("learning_rate")["train_loss"].mean().idxmin() if len(finished) else None
    always, sometimes = (max(rates, default=None) for rates in (every[every].index, count[count > 0].index))
    share = (0, 0) if sometimes is None else (int(count[sometimes]), int(converged.size()[sometimes]))
    return Edge(best, always, sometimes, share)
