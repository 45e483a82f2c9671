"""What follows from a sweep's table: its families of trials, and each one's edge, beyond which it does not converge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

FAMILY = """
    architecture optimizer batch_size momentum nesterov weight_decay clip_norm schedule warmup_steps loss label_noise
    holdout
""".split()
"""Trials that are equal in these differ in their learning rate and their seeds only."""


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the columns of `FAMILY` in which these trials differ."""
    return [name for name in FAMILY if name in trials and trials[name].nunique() > 1]


def families(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the trials of each family with its title, such as `mlp-16-tanh, batch size 64`, in order."""
    names = ["architecture", *(name for name in varied(trials) if name != "architecture")]
    for values, family in trials.groupby(names):
        said = [_said(name, value) for name, value in zip(names, values, strict=True)]
        yield ", ".join(filter(None, said)), family


def _said(name: str, value: Any) -> str:
    if name == "nesterov":
        return "nesterov" * bool(value)
    if name in ("architecture", "optimizer", "loss"):
        return str(value)
    return f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, '.4g')}"


class Edge(NamedTuple):
    """The learning rates up to which a family converges; None if there is no such learning rate."""

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
    """Return the edge of one family, given its trials."""
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
