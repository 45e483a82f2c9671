"""What the page's axes show: each metric's values in the units of its axis, with what is not finite at its top.

A logarithmic axis shows powers of ten: a value `v` is at `log10(v)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

MARGIN = 0.05
"""Room at either end of an axis, as a share of its length."""


@dataclass(frozen=True)
class Metric:
    """A measure of trials and epochs."""

    key: str
    title: str
    column: str
    """The column of `trials` and `epochs` that it comes from."""
    error: bool = False
    """Whether it is the error, `1 - accuracy`."""
    log: bool = True

    def values(self, rows: pd.DataFrame, least: float) -> np.ndarray:
        """Return a column of `trials` or `epochs`; errors of 0 become `least`, half an image, to have a place."""
        values: np.ndarray = rows[self.column].to_numpy(dtype=float)
        return np.maximum(1 - values, least) if self.error else values

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return where values are on the axis: `log10` of them on a logarithmic one, where 0 has no place."""
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(np.where(values > 0, values, np.nan))

    @property
    def curve(self) -> str:
        """The key of the metric whose curves are stored: accuracy is one minus the error."""
        return self.key.replace("accuracy", "error")


def _of_split(split: str, title: str) -> tuple[Metric, Metric, Metric]:
    accuracy = f"{split}_accuracy"
    return (
        Metric(f"{split}_error", f"{title} error", accuracy, error=True),
        Metric(accuracy, f"{title} accuracy", accuracy, log=False),
        Metric(f"{split}_loss", f"{title} loss", f"{split}_loss"),
    )


def metrics(trials: pd.DataFrame) -> list[Metric]:
    """Return the metrics of these trials, the one that the page shows first at the beginning."""
    found = [*_of_split("test", "test"), *_of_split("train", "training")]
    if "validation_accuracy" in trials and trials["validation_accuracy"].notna().any():
        found += _of_split("validation", "held-out")
    return found


@dataclass(frozen=True)
class Axis:
    """Where each trial is on a metric's axis."""

    places: np.ndarray
    """One place per trial: NaN for a trial that finished no epoch, `top` for a value that is not finite."""
    start: float
    end: float
    top: float | None
    """The line of what is not finite, above all others; None if everything is finite."""

    @classmethod
    def of(cls, metric: Metric, trials: pd.DataFrame, curves: np.ndarray, least: float) -> Axis:
        """Return the axis that holds the trials' last values, and their curves."""
        places = metric.places(metric.values(trials, least))
        some = trials["epochs_run"].to_numpy() > 0
        lost = some & ~np.isfinite(places)
        low, high = _span(np.concatenate([places[np.isfinite(places)], curves[np.isfinite(curves)]]))
        margin = MARGIN * (high - low)
        top = high + 2 * margin if lost.any() else None
        places = np.where(lost, top if top is not None else np.nan, np.where(some, places, np.nan))
        return cls(places, low - margin, (high if top is None else top) + margin, top)


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest value, at least a twentieth apart."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    middle, half = (low + high) / 2, max(high - low, 0.05) / 2
    return middle - half, middle + half


MISSING = 2**16 - 1
"""Stands for an epoch that has no finite value in a table of `quantised` values."""


def quantised(places: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return places as whole numbers below `MISSING`, and what turns them back: `place = low + step * number`.

    Two bytes instead of eight; the error is at most a hundred-thousandth of the axis, less than a pixel.
    """
    known = np.isfinite(places)
    low, high = (float(places[known].min()), float(places[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / (MISSING - 1) or 1.0
    numbers = np.full(places.shape, MISSING, dtype="<u2")
    numbers[known] = np.round((places[known] - low) / step).astype("<u2")
    return numbers, low, step


def matrix(trials: pd.DataFrame, epochs: pd.DataFrame, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the values of the rows of `epochs` as a table of shape [trials, kept epochs], NaN where there is none."""
    table = np.full((len(trials), len(kept)), np.nan)
    row = pd.Index(trials["trial_id"]).get_indexer(epochs["trial_id"])
    column = pd.Index(kept).get_indexer(epochs["epoch"])
    known: Any = (row >= 0) & (column >= 0)
    table[row[known], column[known]] = values[known]
    return table
