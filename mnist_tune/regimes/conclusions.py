"""The edge of an architecture: the learning rate beyond which it does not converge."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Edge(NamedTuple):
    """The learning rates up to which an architecture converges; None if there is no such learning rate."""

    best: float | None
    """The learning rate with the lowest training loss (mean over replicates). If at some learning rates no replicate
    diverged, only these count."""
    always: float | None
    """The largest learning rate at which every replicate converged."""
    sometimes: float | None
    """The largest learning rate at which any replicate converged."""
    share: tuple[int, int]
    """How many trials converged at `sometimes`, and how many there are; (0, 0) if `sometimes` is None."""


def edge(trials: pd.DataFrame) -> Edge:
    """Return the edge of one architecture, given its trials."""
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
