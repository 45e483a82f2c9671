"""The edge that a search measured: rates at which shares of the seeds learn, stay calm
or diverge, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import rate
from mnist_tune.regimes.curve import curves_of
from mnist_tune.regimes.data_facts import DataFacts, data_facts
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.edge_posterior import LEAST_OUTCOMES, EdgePosterior
from mnist_tune.regimes.families import FAMILY
from mnist_tune.regimes.learned_share import FAR_LESS, as_shares, noise_of_gain
from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.regimes.statistics import shaken
from mnist_tune.trial import TrialConfig, retried

SEARCHES = "searches"
"""The option in `sweep.json` that lists the edges which are looked for: for each, the
fields of its trials, and `EXPECTED`."""

EXPECTED = "expected"
"""The learning rate at which an edge is expected."""

LEARNED_SHARE = 0.5
"""A trial has learned if its final training loss is below this share of the untrained
loss, or of a guess's if that is less. Measured on five networks, the edge of learning
so defined is sharp; that of staying finite, or above chance, is not: ReLU networks die
at the loss of a guess, and tanh networks get lost at finite losses."""

IN_REACH, NOTHING = 0.4, 0.9
"""Shares of that loss. If the best trial of a pilot ends above the first,
`LEARNED_SHARE` is out of reach. If it ends above the second, no trial has learned
anything."""

PILOT = (1, 1 / 4, 1 / 16, 1 / 64)
"""The learning rates of a search's first trials, as multiples of the rate at which it
expects the edge."""

LEARNED, CALM, DIVERGED = "learned", "calm", "diverged"
OUTCOMES = (LEARNED, CALM, DIVERGED)


@dataclass(frozen=True)
class Learned:
    """What counts as learned in a search. Its pilot fixes that before the search
    itself, so that no outcome turns."""

    guess: float
    """The loss of the best constant guess."""
    accuracy: float | None = None
    """The training accuracy of a trial that learned; None if its loss decides."""
    share: float = LEARNED_SHARE
    """The final training loss of a trial that learned is below this share of the
    untrained loss, or of a guess's."""
    best: float | None = 0.0
    """The loss of one that has learned all, above which that share is. That of a task
    is the pilot's least; None before that is known."""
    least: float = 0.0
    """Smaller learning rates are too slow to learn, so trials there say nothing of the
    edge."""

    @classmethod
    def before_pilot(
        cls, data: DataFacts, template: TrialConfig, accuracy: float | None
    ) -> Learned:
        """Return what is known before a search's pilot."""
        best = None
        if data.by_accuracy:
            best = 0.0
        return cls(data.guess(template), accuracy, best=best)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return whether a trial whose last epoch has this row learned."""
        if row["diverged"] or not math.isfinite(row["train_loss"]):
            return False
        if self.accuracy is not None:
            return bool(row["train_accuracy"] >= self.accuracy)
        return self._remaining(row) < self.share

    def gain(self, row: Mapping[str, Any]) -> float:
        """Return by what a pilot that goes on ranks trials: their accuracy, or their
        loss with the other sign."""
        if self.best is None:
            return -finite_loss(row["train_loss"])
        return float(row["train_accuracy"])

    def fixed_by(
        self, trials: Sequence[tuple[float, Mapping[str, Any] | None]]
    ) -> Learned | None:
        """Return what a search's pilot has fixed, given the learning rates and the last
        rows of the first trials that have ended (None for one without a row). It is
        None while no trial of the pilot has learned: then it goes on.

        Where a loss of `LEARNED_SHARE` is out of reach, a trial has learned if it
        gained half of what the best trial of the pilot did.
        """
        for end in range(len(PILOT), len(trials) + 1, len(PILOT)):
            pilot = [(tried, row) for tried, row in trials[:end] if row is not None]
            learned = self._fixed_by_pilot(pilot)
            if learned is not None:
                return learned
        return None

    def _fixed_by_pilot(
        self, trials: Sequence[tuple[float, Mapping[str, Any]]]
    ) -> Learned | None:
        """Return what these trials of a pilot fix; None if none of them has learned."""
        finite = [row for _, row in trials if math.isfinite(row["train_loss"])]
        fixed = self
        if self.best is None:
            least = min((row["train_loss"] for row in finite), default=math.inf)
            fixed = replace(self, best=least)
        best = min((fixed._remaining(row) for row in finite), default=1.0)
        if self.accuracy is None and IN_REACH < best < NOTHING:
            fixed = replace(fixed, share=(1 + best) / 2)
        learned = {tried: row for tried, row in trials if fixed.holds(row)}
        if not learned:
            return None
        # What has only just learned at a small rate was slow, and with another seed it
        # would be too slow.
        accuracy = self.accuracy
        if accuracy:
            highest = max(row["train_accuracy"] for row in learned.values())
            accuracy = (accuracy + highest) / 2
        share = (fixed.share + best) / 2
        well = replace(fixed, accuracy=accuracy, share=share)
        rates = [tried for tried, row in learned.items() if well.holds(row)]
        return replace(fixed, least=min(rates))

    def _remaining(self, row: Mapping[str, Any]) -> float:
        """Return the share of the loss that is left: 1 if nothing was learned beyond
        noise, 0 if all."""
        assert self.best is not None
        loss = max(row["train_loss"], self.best)
        untrained = row["untrained_loss"]
        first = min(self.guess, untrained)
        fall = _number(row, "loss_noise")
        error = _number(row, "loss_error")
        noise = noise_of_gain(fall, error, from_guess=self.guess < untrained)
        if not math.isfinite(noise):
            noise = 0
        if first - self.best <= SIGMAS * noise:
            return 1.0
        if 0 < self.best < first / FAR_LESS:
            return math.log(loss / self.best) / math.log(first / self.best)
        return float((loss - self.best) / (first - self.best))


def _number(row: Mapping[str, Any], name: str) -> float:
    """Return a number of a row; NaN if there is none."""
    number = row.get(name)
    if number is None:
        return math.nan
    return float(number)


def edge_outcomes(
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    last: Mapping[str, Any],
    data: DataFacts,
    learned: Learned | None,
) -> pd.DataFrame:
    """Return the columns `OUTCOMES` for the trials that have ended with an epoch, with
    the index of `trials`. `last` has the `last_rows` of `epochs`.

    No trial has learned as long as it is not fixed what counts as that. A trial is calm
    if its label is neither diverged nor oscillating and its curve shows no spikes or
    falls.
    """
    has_ended = trials["stop_reason"].isin(("completed", DIVERGED))
    # A trial whose lines in the journal are damaged has no epoch.
    ended = trials[has_ended & trials["trial_id"].isin(last)]
    holds = np.zeros(len(ended), bool)
    if learned is not None:
        rows = [last[trial_id] for trial_id in ended["trial_id"]]
        holds = np.array([learned.holds(row) for row in rows], bool)
    outcomes = pd.DataFrame(index=ended.index)
    outcomes[LEARNED] = holds
    outcomes[CALM] = _are_calm(ended, epochs, data)
    outcomes[DIVERGED] = ended["regime"].eq("diverged").to_numpy()
    return outcomes.astype(bool)


def _are_calm(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> np.ndarray:
    """Return whether each trial is calm, by its label and by its curve."""
    restless = trials["curve_regime"].isin(("diverged", "oscillating")).to_numpy()
    curves = as_shares([*curves_of(trials, epochs, data)])
    spikes = np.array([shaken(curve) for curve in curves], bool)
    return np.asarray(~(restless | spikes))


def last_rows(epochs: pd.DataFrame) -> dict[str, Any]:
    """Return the row of each trial's last epoch, by its id."""
    last = epochs.sort_values("epoch").drop_duplicates("trial_id", keep="last")
    return dict(last.set_index("trial_id").to_dict("index"))


class Interval(NamedTuple):
    """A learning rate with its 95% interval. An end of 0 or infinity says that there
    may be no such rate."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.median):
            return "not found"
        if math.isinf(self.median):
            return "any rate"
        if not self.median > 0:
            return "no rate"
        return f"{rate(self.median, 3)} [{rate(self.low, 3)}, {rate(self.high, 3)}]"

    @property
    def is_known(self) -> bool:
        """Whether both ends are learning rates."""
        return 0 < self.low <= self.high < math.inf

    @property
    def half_width(self) -> float:
        """Half of the interval's length in ln η; 0.05 is 5%."""
        if not self.is_known:
            return math.inf
        return math.log(self.high / self.low) / 2


NONE = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, repr=False)
class MeasuredEdge:
    """What the trials of one search say.

    Args:
        title: the family of trials.
        outcomes: a row a trial that has ended: learning_rate, train_accuracy and the
            columns `OUTCOMES`.
        expected: the rate at which the search expected the edge.
        precision: the half-width that was asked for.
        learned: what counts as learned; None while the search's pilot has not fixed it.
        too_slow: how many more trials have ended, at rates so small that they say
            nothing of the edge.
    """

    title: str
    outcomes: pd.DataFrame
    expected: float
    precision: float
    learned: Learned | None = None
    too_slow: int = 0

    def __repr__(self) -> str:
        return f"<edge of {self.title}: half of the seeds learn up to {self.rate(0.5)}, {self.trials} trials>"

    @property
    def trials(self) -> int:
        """The number of trials that have ended."""
        return len(self.outcomes) + self.too_slow

    @cached_property
    def posterior(self) -> EdgePosterior:
        """The posterior of the edge of learning."""
        return self._posterior(self.outcomes[LEARNED])

    @cached_property
    def is_bracketed(self) -> bool:
        """Whether some trials learned and others did not, and the edge is not below all
        of them, where rates may be too slow: else there is no interval."""
        if self.outcomes[LEARNED].nunique() != 2:
            return False
        _, median, _ = self.posterior.interval()
        least = self.outcomes["learning_rate"].min()
        return bool(median >= math.log(least))

    def rate(self, share: float) -> Interval:
        """Return the rate at which this share of seeds learn; NaN if there is no
        interval."""
        if not self.is_bracketed:
            return NONE
        if share == 0.5:
            return self._as_rates(self.posterior.interval())
        return self._as_rates(self.posterior.interval_of(share))

    @cached_property
    def calm(self) -> Interval:
        """The rate up to which half of the seeds stay calm."""
        return self._half_of(self.outcomes[CALM])

    @cached_property
    def diverges(self) -> Interval:
        """The rate from which on half of the seeds diverge."""
        return self._half_of(~self.outcomes[DIVERGED])

    @property
    def is_precise(self) -> bool:
        """Whether the interval of the 50% rate is as narrow as asked for. The search
        ended by a posterior whose grid had moved in another order, which changes a
        half-width by up to 2%."""
        if len(self.outcomes) < LEAST_OUTCOMES:
            return False
        return self.rate(0.5).half_width <= math.log1p(1.02 * self.precision)

    def _half_of(self, holds: pd.Series) -> Interval:
        """Return the rate at which half of the trials do it; none if all do, or none
        does."""
        if holds.nunique() < 2:
            return NONE
        return self._as_rates(self._posterior(holds).interval())

    def _posterior(self, outcomes: pd.Series) -> EdgePosterior:
        posterior = EdgePosterior(math.log(self.expected))
        rates = self.outcomes["learning_rate"]
        for tried, holds in zip(rates, outcomes, strict=True):
            posterior.add(math.log(tried), bool(holds))
        return posterior

    @staticmethod
    def _as_rates(ends: np.ndarray) -> Interval:
        with np.errstate(over="ignore"):
            low, median, high = np.exp(ends)
        return Interval(float(low), float(median), float(high))


def measured_edges(
    families: Iterable[tuple[str, pd.DataFrame]],
    epochs: pd.DataFrame,
    meta: Mapping[str, Any],
) -> Iterator[MeasuredEdge]:
    """Yield what each search of a sweep measured so far, given the trials of each
    family and its title; nothing if the sweep was none."""
    searches = {}
    for search in meta.get("options", {}).get(SEARCHES, ()):
        if search[EXPECTED]:
            searches[_family(vars(template_of(search)))] = search
    if not searches:
        return
    last = last_rows(epochs)
    for title, family in families:
        search = searches.get(_family(family.iloc[0]))
        if search is not None:
            family = family.sort_values("trial_id")
            yield _measured_edge(title, family, epochs, last, search, meta)


def _measured_edge(
    title: str,
    family: pd.DataFrame,
    epochs: pd.DataFrame,
    last: Mapping[str, Any],
    search: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> MeasuredEdge:
    """Return what a search measured, given its trials in order."""
    options = meta["options"]
    data = data_facts(meta)
    before = Learned.before_pilot(data, template_of(search), options.get("learned"))
    has_ended = family["stop_reason"].isin(("completed", DIVERGED))
    is_retried = family["trial_id"].isin(retried(options))
    has_failed = family["stop_reason"].eq("error") | is_retried
    # what a later trial did is not known before
    ended = family[(has_failed | has_ended).cummin()]
    rows = [last.get(trial_id) for trial_id in ended["trial_id"]]
    for i, failed in enumerate(has_failed[ended.index]):
        if failed:
            rows[i] = None
    pilot = [*zip(ended["learning_rate"], rows, strict=True)]
    # by its first trials
    learned = before.fixed_by(pilot)
    if learned is not None:
        ended = family
    outcomes = edge_outcomes(ended, epochs, last, data, learned)
    outcomes = outcomes.join(ended[["learning_rate", "train_accuracy"]])
    least = before.least
    if learned is not None:
        least = learned.least
    fast = outcomes[outcomes["learning_rate"] >= least]
    return MeasuredEdge(
        title,
        fast,
        search[EXPECTED],
        options["precision"],
        learned,
        too_slow=len(outcomes) - len(fast),
    )


def template_of(search: Mapping[str, Any]) -> TrialConfig:
    """Return a trial of a recorded search; its learning rate and seeds mean nothing."""
    no_fields = EXPECTED, "predicted"  # which older searches have
    fields = {name: value for name, value in search.items() if name not in no_fields}
    return TrialConfig(**fields).holding_out(0)


def _family(values: Any) -> tuple[Any, ...]:
    return tuple(values[name] for name in FAMILY)
