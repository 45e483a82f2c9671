"""What follows from a sweep's table: in what its families differ, and the edge beyond which one does not converge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

FAMILY = """
    architecture optimizer batch_size drop_last momentum nesterov weight_decay clip_norm schedule warmup_steps loss
    label_noise holdout
""".split()
"""Trials that are equal in these differ in their learning rate and their seeds only."""


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the columns of `FAMILY` in which these trials differ."""
    return [name for name in FAMILY if name in trials and trials[name].nunique() > 1]


class Edge(NamedTuple):
    """The best learning rate of a family, and those up to which it converges; None if there is no such rate."""

    best: float | None
    """The learning rate with the best held-out accuracy (mean over replicates) among the trials that converged. If at
    some learning rates every replicate converged, only these count."""
    accuracy: float
    """That accuracy; NaN if nothing converged."""
    split: str
    """What it was measured on: validation, if images were held out, else test."""
    always: float | None
    """The largest learning rate at which every replicate converged."""
    sometimes: float | None
    """The largest learning rate at which any replicate converged."""


def beyond_the_edge(trials: pd.DataFrame, found: Edge) -> float | None:
    """Return the rate from which on no trial converged, though each was decided; None if there is no such rate.

    A trial that never began, failed at once or was cut too early says nothing.
    """
    if found.sometimes is None:
        return None
    decided = trials["regime"].ne("undecided").where(trials["epochs_run"] > 0)  # NaN where it never began
    by_rate = decided.groupby(trials["learning_rate"]).min().fillna(0).astype(bool).sort_index(ascending=False)
    beyond = by_rate.index[by_rate.cumprod().astype(bool)]
    return min((float(rate) for rate in beyond if rate > found.sometimes), default=None)


def edge(trials: pd.DataFrame) -> Edge:
    """Return the edge of one family, given its trials. Those that never finished an epoch don't count."""
    trials = trials[trials["epochs_run"] > 0]
    converged = trials["regime"].eq("converged").groupby(trials["learning_rate"])
    every, some = (each[each].index for each in (converged.all(), converged.any()))
    held_out = "validation_accuracy" in trials and trials["validation_accuracy"].notna().any()
    split = "validation" if held_out else "test"
    good = trials[trials["regime"].eq("converged") & trials["learning_rate"].isin(every if len(every) else some)]
    scores = good.groupby("learning_rate")[f"{split}_accuracy"].mean().dropna()
    best, score = (scores.idxmax(), scores.max()) if len(scores) else (None, np.nan)
    return Edge(best, score, split, max(every, default=None), max(some, default=None))
