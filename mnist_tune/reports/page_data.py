"""Everything that the page shows of one or several sweeps, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import exactly
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import FAMILY, held_out
from mnist_tune.reports.metrics import Axis, Metric, matrix, metrics
from mnist_tune.reports.prepared import (
    FEW,
    MeanCurve,
    bands,
    curve_rows,
    mean_curves,
    pooled_shares,
    replicated,
    shares,
    with_epochs,
)
from mnist_tune.reports.trial_table import MANY
from mnist_tune.results.journal import LIVE_REASONS
from mnist_tune.results.tables import Tables

MOST_CELLS = 2**18
"""The most epochs of trials whose curves the page holds in full. With more, it holds fewer metrics, then fewer epochs:
5,000 trials of 50 epochs are 250,000."""

FULL_CELLS = MOST_CELLS // 2
"""With more than this, only the curves of `MAIN` are held."""

MAIN = ("test_error", "test_accuracy", "train_loss")

MOST_GROUPS = 12
"""The most different numbers that a slice shows as groups; with more, it has an axis of numbers."""


class RateMark(NamedTuple):
    """Learning rates that the map marks: a measured edge with its interval, or a prediction such as 2/λ0."""

    title: str
    low: float
    high: float
    """The same as `low` for a single rate."""
    sweep: int = 0
    """Which of the page's sweeps it belongs to."""


class Setting(NamedTuple):
    """A field in which trials differ, and where each trial is on its axis."""

    name: str
    places: np.ndarray
    groups: list[str]
    """The names of the places 0, 1, 2, ...; empty if the axis is one of numbers."""
    log: bool


@dataclass(frozen=True)
class PageData:
    """One or several sweeps, in one table of trials.

    Args:
        sweeps: the sweeps, side by side.
        marks: learning rates to mark in the maps.
    """

    sweeps: Sequence[Tables]
    marks: Sequence[RateMark] = field(default=())

    @cached_property
    def titles(self) -> list[str]:
        """The name of each sweep: the last folders of its path in which the sweeps differ."""
        parts = [[part for part in str(sweep.path).split("?")[0].split("/") if part] or ["."] for sweep in self.sweeps]
        for count in range(1, max(map(len, parts)) + 1):
            titles = ["/".join(part[-count:]) for part in parts]
            if len(set(titles)) == len(titles):
                return titles
        return [f"{title} ({i})" for i, title in enumerate(titles, start=1)]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of all sweeps. The first are the most accurate on held-out images, or on the test set if some held
        none out, the last those without epochs. `sweep` is the number of a trial's sweep; a `trial_id` is unique."""
        tables = [
            sweep.trials.assign(
                sweep=i, own_id=sweep.trials["trial_id"], trial_id=_ids(i, sweep.trials, self.several)
            ).reset_index(drop=True)
            for i, sweep in enumerate(self.sweeps)
        ]
        trials = pd.concat(tables, ignore_index=True) if self.several else tables[0]
        accuracy = trials[f"{held_out(trials)}_accuracy"].astype(float)
        return trials.iloc[np.argsort(-accuracy.to_numpy(), kind="stable")].reset_index(drop=True)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs of all sweeps, with the ids of `trials`."""
        if not self.several:
            return self.sweeps[0].epochs
        tables = [
            sweep.epochs.assign(trial_id=_ids(i, sweep.epochs, self.several)) for i, sweep in enumerate(self.sweeps)
        ]
        return pd.concat(tables, ignore_index=True)

    @property
    def several(self) -> bool:
        return len(self.sweeps) > 1

    @property
    def running(self) -> bool:
        """Whether a sweep is still running, so that the page will change."""
        return bool(self.trials["stop_reason"].isin(LIVE_REASONS).any())

    @property
    def few(self) -> bool:
        """Whether the curves are drawn one by one, as in the picture."""
        return max(len(with_epochs(sweep.trials)) for sweep in self.sweeps) <= FEW

    @cached_property
    def least(self) -> float:
        """The error that stands for none: half an image of the largest test set."""
        return float(0.5 / max(data_facts(sweep.meta).test_images for sweep in self.sweeps))

    @cached_property
    def metrics(self) -> list[Metric]:
        found = metrics(self.trials)
        cells = len(self.trials) * int(self.trials["epochs_run"].max() or 1)
        return found if cells <= FULL_CELLS else [metric for metric in found if metric.key in MAIN]

    @cached_property
    def kept_epochs(self) -> np.ndarray:
        """The epochs of which the page holds the curves: all, or every second, third, ... and the last one."""
        last = max(int(self.epochs["epoch"].max()) if len(self.epochs) else 0, 1)
        every = -(-len(self.trials) * last // MOST_CELLS)
        return np.arange(last, 0, -every)[::-1]

    @cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """The curves of each metric, in places on its axis, of shape [trials, kept epochs]; NaN where there is none."""
        return {
            metric.key: metric.places(
                matrix(self.trials, self.epochs, metric.values(self.epochs, self.least), self.kept_epochs)
            )
            for metric in self.metrics
        }

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Where the trials are on each metric's axis."""
        return {
            metric.key: Axis.of(metric, self.trials, self.curves[metric.key], self.least) for metric in self.metrics
        }

    @cached_property
    def bands(self) -> list[dict[str, Any]]:
        """For each sweep and metric the bands of its regimes, in places; none if the curves are drawn one by one."""
        if self.few:
            return [{} for _ in self.sweeps]
        return [self._bands_of(sweep) for sweep in self.sweeps]

    def _bands_of(self, sweep: Tables) -> dict[str, Any]:
        trials, found = with_epochs(sweep.trials), {}
        for metric in self.metrics:
            epochs = sweep.epochs[["trial_id", "epoch"]].assign(value=metric.values(sweep.epochs, self.least))
            rows = curve_rows(trials, epochs, "value", metric.log)
            found[metric.key] = [
                band._replace(
                    low=metric.places(band.low), middle=metric.places(band.middle), high=metric.places(band.high)
                )
                for band in bands(rows, trials)
            ]
        return found

    @cached_property
    def shares(self) -> pd.DataFrame:
        """The configurations with several seeds, with the share that converged and its interval."""
        return shares(with_epochs(self.trials).assign(label=self._labels))

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The same over ranges of learning rates; empty if there are few configurations."""
        several = replicated(with_epochs(self.trials))
        return pooled_shares(several) if len(self.shares) > MANY else pd.DataFrame()

    @cached_property
    def mean_curves(self) -> list[MeanCurve]:
        """The mean of the logarithm of the test error for each of these configurations, or for a choice of them."""
        trials = replicated(with_epochs(self.trials).assign(label=self._labels))
        metric = self.metrics[0]
        values = metric.places(metric.values(self.epochs, self.least))
        return mean_curves(trials, self.epochs[["trial_id", "epoch"]].assign(value=values))

    @property
    def _labels(self) -> pd.Series:
        """The trials' labels; replicates of different sweeps are kept apart."""
        names = self.trials["sweep"].map(dict(enumerate(self.titles)))
        return names + " " + self.trials["label"] if self.several else self.trials["label"]

    @cached_property
    def varied(self) -> list[str]:
        """The settings in which the trials differ, other than the learning rate and the seed."""
        names = ["sweep", *FAMILY, "epochs_asked"]
        return [name for name in names if self.trials[name].nunique() > 1]

    @cached_property
    def settings(self) -> list[Setting]:
        return [self._setting(name) for name in self.varied]

    def _setting(self, name: str) -> Setting:
        values = self.trials[name]
        if name == "sweep":
            return Setting(name, values.to_numpy(float), self.titles, False)
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if not numeric or values.nunique() <= MOST_GROUPS:
            codes, groups = pd.factorize(values, sort=True)
            said = [exactly(group) if numeric else str(group) for group in groups]
            return Setting(name, codes.astype(float), said, False)
        numbers = values.to_numpy(float)
        log = bool(numbers.min() > 0 and numbers.max() / numbers.min() >= 10)
        return Setting(name, np.log10(numbers) if log else numbers, [], log)


def _ids(sweep: int, table: pd.DataFrame, several: bool) -> pd.Series:
    ids: pd.Series = f"{sweep}:" + table["trial_id"] if several else table["trial_id"]
    return ids
