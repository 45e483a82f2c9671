"""What a sweep's figures and its page show: which trials and values, in which order, with which bands, what is clipped.

Drawing is done elsewhere: by `figures` and `curve_plots` with matplotlib, by `page_figures` with Bokeh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.regimes.conclusions import varied
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.replicates import CONFIGURATION, summarise_replicates

FEW = 24
"""Up to this many curves are drawn one by one."""

BAND = (0.1, 0.5, 0.9)
"""Quantiles over the trials of a regime: the lower edge, the median and the upper edge of its band."""


def with_epochs(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have something to draw: those that finished an epoch."""
    return trials[trials["epochs_run"] > 0]


def counts(trials: pd.DataFrame) -> dict[str, int]:
    """Return how many trials each regime has, in the order of `REGIMES`, without those that have none."""
    found = trials["regime"].value_counts()
    return {name: int(found[name]) for name in REGIMES if name in found}


def mark(trials: int) -> tuple[float, float]:
    """Return the area of a mark, in square points, and its opacity: with more trials, smaller and paler."""
    root = np.sqrt(max(trials, 1))
    return float(np.clip(450 / root, 5, 46)), float(np.clip(11 / root, 0.15, 0.85))


def finite(values: pd.Series) -> pd.Series:
    """Return values with NaN in place of infinities. What is not finite is drawn above all others instead."""
    numbers = values.astype(float)
    return numbers.where(np.isfinite(numbers))


def curve_rows(trials: pd.DataFrame, epochs: pd.DataFrame, column: str, log: bool = False) -> pd.DataFrame:
    """Return the points of the curves: an epoch's `value` with its trial's regime and what its trial is named by.

    Values that are not finite have no place on the axis, and on a logarithmic one neither have those below or at 0.
    """
    known = list(dict.fromkeys(["trial_id", "label", *varied(trials), "learning_rate", "regime"]))
    rows = epochs[["trial_id", "epoch"]].assign(value=epochs[column].astype(float))
    rows = rows[np.isfinite(rows["value"]) & ((rows["value"] > 0) | (not log))]
    return rows.merge(trials[known], on="trial_id")


class Band(NamedTuple):
    """The median curve of a regime's trials, and the band that holds the middle 80% of them."""

    regime: str
    epochs: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    trials: int


def bands(rows: pd.DataFrame, trials: pd.DataFrame) -> Iterator[Band]:
    """Yield a band per regime, up to the last epoch that half of its trials reached: beyond, the median would be that
    of the survivors.

    Args:
        rows: the points of `curve_rows`.
        trials: the trials; a regime's share is counted among all of them.
    """
    of = counts(trials)
    for regime, part in rows.groupby("regime"):
        reached = part["epoch"].value_counts()
        part = part[part["epoch"].isin(reached.index[reached >= 0.5 * of[regime]])]
        if part.empty:
            continue
        quantiles = part.groupby("epoch")["value"].quantile(BAND).unstack()
        low, middle, high = (quantiles[share].to_numpy() for share in BAND)
        yield Band(regime, quantiles.index.to_numpy(), low, middle, high, part["trial_id"].nunique())


def replicated(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials whose configuration was trained with several seeds."""
    return trials[trials.duplicated(CONFIGURATION, keep=False)]


def shares(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the configurations with several seeds (`summarise_replicates`). Equal rates get places beside each other
    (`beside`), so that their intervals can be told apart."""
    several = replicated(trials)
    if several.empty:
        return pd.DataFrame()
    summary = summarise_replicates(several)
    rates = summary["learning_rate"]
    places = rates.groupby(rates)
    return summary.assign(beside=rates * 1.05 ** (places.cumcount() - (places.transform("size") - 1) / 2))


def named(names: Sequence[str]) -> str:
    """Return the columns that curves are named by, in words."""
    return ", ".join(name.replace("_", " ") for name in names)
