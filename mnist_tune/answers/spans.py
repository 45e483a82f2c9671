"""At which learning rates of a family each regime is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import whole_course
from mnist_tune.regimes.reasons import Reason
from mnist_tune.trial import LIVE_REASONS, OPEN_REASONS

ON_ITS_WAY = Reason.ON_ITS_WAY.value
"""Stands for a regime: a trial that still learns is undecided, but not open."""

ORDER = (
    "slow",
    "underfit",
    ON_ITS_WAY,
    "undecided",
    "converged",
    "overfit",
    "oscillating",
    "diverged",
)
"""Where two regimes are equally frequent at a rate, the later one counts."""


@dataclass(frozen=True)
class Cut:
    """Trials that were cut before they could be decided."""

    trials: int
    least_epochs: int
    most_epochs: int


@dataclass(frozen=True)
class Stretch:
    """Neighbouring learning rates that have one regime."""

    rates: tuple[float, ...]
    trials: int
    agreeing: int
    """Trials with the regime."""
    mixed: tuple[float, ...]
    """The rates at which not all trials have it."""
    cut: Cut | None = None


@dataclass(frozen=True)
class Span:
    """Where a regime is found."""

    regime: str
    runs: tuple[Stretch, ...]
    jumping: tuple[float, ...] = ()
    """The rates that converge though accuracy still falls late in a curve, beyond
    noise."""

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(rate for run in self.runs for rate in run.rates)


@dataclass(frozen=True)
class Spans:
    """Where the regimes of a family are found."""

    family: str
    tried: tuple[float, ...]
    """All learning rates, in order."""
    trained: tuple[float, ...]
    """Those that finished an epoch."""
    spans: tuple[Span, ...]


def is_on_its_way(trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial still learns, though it has not got there yet."""
    return trials["reason"].eq(Reason.ON_ITS_WAY)


def spans(title: str, family: pd.DataFrame) -> Spans:
    """Return at which learning rates of a family each regime is found.

    Each rate is in one span: that of the most frequent regime of its seeds or, of
    equally frequent ones, of the later one in `ORDER`.
    """
    tried = tuple(sorted(family["learning_rate"].unique().tolist()))
    trained = family[family["epochs_run"] > 0]
    if trained.empty:
        return Spans(title, tried, (), ())
    is_cut = _is_cut(trained)
    regimes = _regimes(trained, is_cut)
    counts = pd.crosstab(trained["learning_rate"], regimes)
    latest_first = [name for name in reversed(ORDER) if name in counts]
    most = counts[latest_first].idxmax(axis=1)
    places = []
    for regime in most.unique():
        runs = []
        for rates in _neighbours(most == regime):
            inside = trained[trained["learning_rate"].isin(rates)]
            runs.append(_run(regime, inside, regimes[inside.index], is_cut))
        places.append(Span(regime, tuple(runs), _jumping(trained, most, regime)))
    return Spans(title, tried, tuple(most.index.tolist()), tuple(places))


def _is_cut(trained: pd.DataFrame) -> pd.Series:
    """Return whether each trial ended before its last epoch."""
    is_live = trained["stop_reason"].isin(LIVE_REASONS)
    return trained["epochs_run"].lt(whole_course(trained)) & ~is_live


def _regimes(trained: pd.DataFrame, is_cut: pd.Series) -> pd.Series:
    """Return the regime of each trial, or that it is on its way."""
    goes_on = ~is_cut | trained["stop_reason"].isin(OPEN_REASONS)
    # no resume trains what was stopped early
    on_its_way = is_on_its_way(trained) & goes_on
    return trained["regime"].mask(on_its_way, ON_ITS_WAY)


def _neighbours(holds: pd.Series) -> Iterator[list[float]]:
    """Yield each run of neighbouring rates at which something holds."""
    # a run begins where a rate differs from the one before
    begins = holds.ne(holds.shift(fill_value=False)).cumsum()
    for _, run in holds[holds].groupby(begins[holds]):
        yield run.index.tolist()


def _run(
    regime: str, trials: pd.DataFrame, regimes: pd.Series, is_cut: pd.Series
) -> Stretch:
    agrees = regimes == regime
    all_agree = agrees.groupby(trials["learning_rate"]).all()
    rates = all_agree.index
    stretch = Stretch(
        rates=tuple(rates.tolist()),
        trials=len(trials),
        agreeing=int(agrees.sum()),
        mixed=tuple(rates[~all_agree].tolist()),
    )
    epochs = trials["epochs_run"][is_cut[trials.index] & agrees]
    if regime == "undecided" and len(epochs):
        cut = Cut(len(epochs), int(epochs.min()), int(epochs.max()))
        return replace(stretch, cut=cut)
    return stretch


def _jumping(trained: pd.DataFrame, most: pd.Series, regime: str) -> tuple[float, ...]:
    """Return the rates of a span that converge, at which accuracy jumps."""
    if regime != "converged" or "late_fall" not in trained:
        return ()
    falls = trained["learning_rate"][trained["late_fall"] > 0].unique()
    converge = most.index[most == regime]
    return tuple(converge[np.isin(converge, falls)].tolist())
