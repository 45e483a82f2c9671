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
        return cls(
            data.guess(template), accuracy, best=0.0 if data.by_accuracy else None
        )

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return whether a trial whose last epoch has this row learned."""
        if row["diverged"] or not math.isfinite(row["train_loss"]):
            return False
        if self.accuracy is not None:
            return bool(row["train_accuracy"] >= self.accuracy)
        return self._left(row) < self.share

    def gain(self, row: Mapping[str, Any]) -> float:
        """Return by what a pilot that goes on ranks trials: their accuracy, or their
        loss with the other sign."""
        return float(
            row["train_accuracy"]
            if self.best is not None
            else -finite_loss(row["train_loss"])
        )

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
            least = min(
                (
                    row["train_loss"]
                    for _, row in pilot
                    if math.isfinite(row["train_loss"])
                ),
                default=math.inf,
            )
            asked = replace(self, best=least) if self.best is None else self
            best = min(
                (
                    asked._left(row)
                    for _, row in pilot
                    if math.isfinite(row["train_loss"])
                ),
                default=1.0,
            )
            relative = self.accuracy is None and IN_REACH < best < NOTHING
            found = replace(asked, share=(1 + best) / 2) if relative else asked
            learned = {tried: row for tried, row in pilot if found.holds(row)}
            if learned:
                # What has only just learned at a small rate was slow, and with another
                # seed it would be too slow.
                most = max(row["train_accuracy"] for row in learned.values())
                accuracy = self.accuracy and (self.accuracy + most) / 2
                well = replace(found, accuracy=accuracy, share=(found.share + best) / 2)
                return replace(
                    found,
                    least=min(
                        tried for tried, row in learned.items() if well.holds(row)
                    ),
                )
        return None

    def _left(self, row: Mapping[str, Any]) -> float:
        """Return the share of the loss that is left: 1 if nothing was learned beyond
        noise, 0 if all."""
        assert self.best is not None
        loss, first = (
            max(row["train_loss"], self.best),
            min(self.guess, row["untrained_loss"]),
        )
        fall, error = (
            math.nan if row.get(name) is None else row[name]
            for name in ("loss_noise", "loss_error")
        )
        noise = noise_of_gain(
            fall, error, from_guess=self.guess < row["untrained_loss"]
        )
        if first - self.best <= SIGMAS * (noise if math.isfinite(noise) else 0):
            return 1.0
        if 0 < self.best < first / FAR_LESS:
            return math.log(loss / self.best) / math.log(first / self.best)
        return float((loss - self.best) / (first - self.best))


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
    # A trial whose lines in the journal are damaged has no epoch.
    ended = trials[
        trials["stop_reason"].isin(("completed", DIVERGED))
        & trials["trial_id"].isin(last)
    ]
    holds = [
        learned is not None and learned.holds(last[trial_id])
        for trial_id in ended["trial_id"]
    ]
    restless = ended["curve_regime"].isin(("diverged", "oscillating")).to_numpy()
    spikes = np.array(
        [*map(shaken, as_shares([*curves_of(ended, epochs, data)]))], bool
    )
    diverged = ended["regime"].eq("diverged").to_numpy()
    return pd.DataFrame(
        {LEARNED: holds, CALM: ~(restless | spikes), DIVERGED: diverged},
        index=ended.index,
        dtype=bool,
    )


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
        return "{} [{}, {}]".format(
            *(rate(one, 3) for one in (self.median, self.low, self.high))
        )

    @property
    def is_known(self) -> bool:
        """Whether both ends are learning rates."""
        return 0 < self.low <= self.high < math.inf

    @property
    def half_width(self) -> float:
        """Half of the interval's length in ln η; 0.05 is 5%."""
        return math.log(self.high / self.low) / 2 if self.is_known else math.inf


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
        both = self.outcomes[LEARNED].nunique() == 2
        return bool(
            both
            and self.posterior.interval()[1]
            >= math.log(self.outcomes["learning_rate"].min())
        )

    def rate(self, share: float) -> Interval:
        """Return the rate at which this share of seeds learn; NaN if there is no
        interval."""
        if not self.is_bracketed:
            return NONE
        return self._as_rates(
            self.posterior.interval()
            if share == 0.5
            else self.posterior.interval_of(share)
        )

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
        enough = len(self.outcomes) >= LEAST_OUTCOMES
        return enough and self.rate(0.5).half_width <= math.log1p(1.02 * self.precision)

    def _half_of(self, holds: pd.Series) -> Interval:
        """Return the rate at which half of the trials do it; none if all do, or none
        does."""
        return (
            NONE
            if holds.nunique() < 2
            else self._as_rates(self._posterior(holds).interval())
        )

    def _posterior(self, holds: pd.Series) -> EdgePosterior:
        posterior = EdgePosterior(math.log(self.expected))
        for tried, one in zip(self.outcomes["learning_rate"], holds, strict=True):
            posterior.add(math.log(tried), bool(one))
        return posterior

    @staticmethod
    def _as_rates(ends: np.ndarray) -> Interval:
        with np.errstate(over="ignore"):
            return Interval(*map(float, np.exp(ends)))


def measured_edges(
    families: Iterable[tuple[str, pd.DataFrame]],
    epochs: pd.DataFrame,
    meta: Mapping[str, Any],
) -> Iterator[MeasuredEdge]:
    """Yield what each search of a sweep measured so far, given the trials of each
    family and its title; nothing if the sweep was none."""
    options, data = meta.get("options", {}), data_facts(meta)
    searches = {
        _family(vars(template_of(one))): one
        for one in options.get(SEARCHES, ())
        if one[EXPECTED]
    }
    last = last_rows(epochs) if searches else {}
    for title, family in families if searches else ():
        search = searches.get(_family(family.iloc[0]))
        if search is None:
            continue
        family = family.sort_values("trial_id")
        asked = Learned.before_pilot(data, template_of(search), options.get("learned"))
        failed = family["stop_reason"].eq("error") | family["trial_id"].isin(
            retried(options)
        )
        ended = family[
            (failed | family["stop_reason"].isin(("completed", DIVERGED))).cummin()
        ]
        rows = [
            None if failed[i] else last.get(trial_id)
            for i, trial_id in ended["trial_id"].items()
        ]
        # by its first trials
        learned = asked.fixed_by([*zip(ended["learning_rate"], rows, strict=True)])
        # what a later trial did is not known before
        said = family if learned else ended
        found = edge_outcomes(said, epochs, last, data, learned).join(
            said[["learning_rate", "train_accuracy"]]
        )
        fast = found[found["learning_rate"] >= (learned or asked).least]
        yield MeasuredEdge(
            title,
            fast,
            search[EXPECTED],
            options["precision"],
            learned,
            len(found) - len(fast),
        )


def template_of(search: Mapping[str, Any]) -> TrialConfig:
    """Return a trial of a recorded search; its learning rate and seeds mean nothing."""
    others = EXPECTED, "predicted"  # which older searches have
    return TrialConfig(
        **{name: value for name, value in search.items() if name not in others}
    ).holding_out(0)


def _family(values: Any) -> tuple[Any, ...]:
    return tuple(values[name] for name in FAMILY)
