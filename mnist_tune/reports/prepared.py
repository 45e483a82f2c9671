"""What a sweep's figures and its page show: which trials and values, in which order, with which bands, what is clipped.

Drawing is done elsewhere: by `figures` and `curve_plots` with matplotlib, by `page_figures` with Bokeh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import varied
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.replicates import CONFIGURATION, clopper_pearson, half_width, summarise_replicates
from mnist_tune.results.journal import LIVE_REASONS

FEW = 24
"""Up to this many curves are drawn one by one."""

BAND = (0.1, 0.5, 0.9)
"""Quantiles over the trials of a regime: the lower edge, the median and the upper edge of its band."""


def with_epochs(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have something to draw: those that finished an epoch."""
    return trials[trials["epochs_run"] > 0]


def so_far(trials: pd.DataFrame) -> str:
    """Return how far a running sweep is, as `12 of 16 trials ended, 2 running, 2 waiting`; empty if it has ended."""
    running, waiting = (int((trials["stop_reason"] == reason).sum()) for reason in LIVE_REASONS)
    live = running + waiting
    return f"{len(trials) - live} of {len(trials)} trials ended, {running} running, {waiting} waiting" if live else ""


def listed(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def range_of(rates: pd.Series, count: int) -> np.ndarray:
    """Return for each learning rate the number of its range, of at most so many. All ranges hold equally many different
    rates, since a searcher's rates are unevenly spread."""
    different = np.unique(rates)
    starts = [part[0] for part in np.array_split(different, min(count, len(different)))]
    return np.asarray(np.searchsorted(starts, rates, side="right"))


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


def pooled_shares(trials: pd.DataFrame, ranges: int = FEW) -> pd.DataFrame:
    """Return the share of trials that converged in each of so many ranges of learning rates, with its 95% interval:
    what is shown instead of `shares` if there are too many configurations."""
    groups = trials.groupby(range_of(trials["learning_rate"], ranges))
    count, converged = groups.size(), (trials["regime"] == "converged").groupby(groups.ngroup()).sum().to_numpy()
    low, high = clopper_pearson(converged, count)
    middle = np.exp(np.log(trials["learning_rate"]).groupby(groups.ngroup()).mean().to_numpy())
    table = pd.DataFrame({"beside": middle, "converged_share": converged / count.to_numpy()})
    table = table.assign(converged_low=low, converged_high=high, first=groups["learning_rate"].min().to_numpy())
    table["last"] = groups["learning_rate"].max().to_numpy()
    return table.assign(converged=[f"{k} of {n}" for k, n in zip(converged, count, strict=True)])


def named(names: Sequence[str]) -> str:
    """Return the columns that curves are named by, in words."""
    return ", ".join(name.replace("_", " ") for name in names)


class MeanCurve(NamedTuple):
    """The mean curve of a configuration over its seeds, with its 95% interval at each epoch."""

    learning_rate: float
    regime: str
    """The most frequent regime of its trials."""
    trials: int
    epochs: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray


def mean_curves(trials: pd.DataFrame, epochs: pd.DataFrame, most: int = FEW) -> list[MeanCurve]:
    """Return the mean curves of configurations with several seeds, in the order of their learning rates; of more than
    `most`, that many, evenly chosen.

    The interval is Student's, `mean ± t s / sqrt(n)`, of the n seeds that trained an epoch; an epoch that only one of
    them trained is left out.

    Args:
        trials: the trials, as from `replicated`.
        epochs: `trial_id`, `epoch` and a `value`. Values that are not finite are left out.
        most: the most curves.
    """
    number = trials.groupby(CONFIGURATION).ngroup()
    firsts = trials["learning_rate"].groupby(number).first().sort_values(kind="stable").index
    found = []
    for chosen in evenly(firsts, most):
        part = trials[number == chosen]
        rows = epochs[epochs["trial_id"].isin(part["trial_id"])]
        table = finite(rows["value"]).groupby(rows["epoch"]).agg(["mean", "std", "count"])
        table = table[table["count"] > 1]
        if len(table):
            half = half_width(table["std"].to_numpy(), table["count"].to_numpy())
            middle, rate = table["mean"].to_numpy(), float(part["learning_rate"].iloc[0])
            regime, ends = str(part["regime"].mode()[0]), (middle - half, middle, middle + half)
            found.append(MeanCurve(rate, regime, len(part), table.index.to_numpy(), *ends))
    return found


def evenly(items: Any, most: int) -> list[Any]:
    """Return at most `most` of these, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]
