"""Which trials, epochs and settings the tables, the pictures and the page show, and how they are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import held_out
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS


def without_test(sweep: Tables) -> Tables:
    """Return the sweep without the test set's scores, if a search compares its trials on images held out."""
    if not sweep.meta.get("search") or held_out(sweep.trials) == "test":
        return sweep
    tables = sweep.trials, sweep.epochs
    trials, epochs = (one[[name for name in one if not name.startswith(("test_", "best_"))]] for one in tables)
    return replace(sweep, trials=trials, epochs=epochs)


def so_far(trials: pd.DataFrame) -> str:
    """Return how far a running sweep is, as `12 of 16 trials ended, 2 running, 2 waiting`; empty if it has ended."""
    running, waiting, unknown = (int((trials["stop_reason"] == reason).sum()) for reason in LIVE_REASONS)
    live = running + waiting + unknown
    said = f"{unknown} unknown" if unknown else f"{running} running, {waiting} waiting"
    return f"{len(trials) - live} of {len(trials)} trials ended, {said}" if live else ""


def listed(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def range_of(rates: pd.Series, count: int) -> np.ndarray:
    """Return for each learning rate the number of its range, of at most so many. All ranges hold equally many different
    rates, since a searcher's rates are unevenly spread."""
    different = np.unique(rates)
    starts = [part[0] for part in np.array_split(different, min(count, len(different)))]
    return np.asarray(np.searchsorted(starts, rates, side="right"))


def words(name: str) -> str:
    """Return the name of a column as people say it."""
    return name.replace("_", " ")


def evenly(items: Any, most: int) -> list[Any]:
    """Return at most `most` of these, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


POINTS = 200
"""Points of a curve."""


def edge_band(edge: MeasuredEdge) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the learning rates of an axis that holds an edge, its trials and where it was expected; and the share of
    seeds that learn there: its 95% interval's lower end, median and upper end."""
    middle = edge.rate(0.5).median
    seen = [*edge.outcomes["learning_rate"], edge.expected] + [middle / 3, middle * 3] * (0 < middle < np.inf)
    rates = np.geomspace(min(seen) / 1.1, max(seen) * 1.1, POINTS)
    low, center, high = edge.posterior.band(np.log(rates)) if edge.is_bracketed else np.full((3, POINTS), np.nan)
    return rates, low, center, high
