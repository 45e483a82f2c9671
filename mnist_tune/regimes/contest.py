"""Settings that are compared on fresh seeds, one seed after the other, until it is
settled which is best.

Seed m goes to the settings that are left after seed m - L, so L seeds are trained at a
time. What is asked follows from the outcomes alone, whichever trial ends first: a
resume, and a report on the tables, ask the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.columns import LARGEST
from mnist_tune.errors import UserError
from mnist_tune.regimes.data_facts import DataFacts, data_facts
from mnist_tune.regimes.decision import CONFIRMED, Decision
from mnist_tune.regimes.divergence import CHANCE_MARGIN, finite_loss
from mnist_tune.regimes.outcomes import COMPETES, MISSING, ceiling_of, is_above, outcome
from mnist_tune.trial import (
    COMPLETED_REASONS,
    FIELDS,
    MOST_TRIALS,
    TrialConfig,
    retried,
)

CONTENDERS = "contenders"
"""The option in `sweep.json` that lists the settings: the fields of a trial of each,
without its seeds."""

RUNS = "runs"
"""The option of a contest that is trained elsewhere: the ids of trials, by the number
of their seed and that of their setting. Beside it, `split` says where scores are
measured, and `unasked` whether seeds or stops are not those that were asked for."""

MOST_SETTINGS = 200
"""The most settings of a contest: differences of all settings to all others are kept
after every seed."""

TRIALS = 200
"""The most trials of a contest, unless others are asked for."""

TOLERANCE = 1 / 2
"""By default settings count as equal if they differ by this share of the standard error
of one trial's accuracy on the images held out."""


class Outcome(NamedTuple):
    """What the end of a trial says."""

    score: float
    """NaN if it failed."""
    worth: float
    """How many answers an image is worth or, of a loss, its standard error."""
    loss: float
    """The held-out loss."""


PENDING = Outcome(-1.0, -1.0, -1.0)
"""That of a trial that has not ended."""


class Contest:
    """Takes up the outcomes of trials, and asks for the next ones.

    Args:
        settings: what is compared; a trial of each, without its seeds.
        data: the facts about the data, which say what is compared, and what guessing
            reaches.
        at_a_time: L, how many seeds are trained at a time.
        trials: the most trials, without those that confirm.
        tolerance: how much worse than the best the leader may be. By default it follows
            from the first seed's best accuracy p on h held-out images: `TOLERANCE √(p
            (1 - p) / h)`, at least an image, 1/h. Of tokens, h counts independent
            answers. Of a loss, its standard error takes the place of the root.
        confirm: train the leader alone, until it has `CONFIRMED` seeds.

    Attributes:
        confirm: whether the leader is trained alone in the end.
        split: where scores are measured.
        is_doubted: whether nothing is claimed of the scores: somebody may have chosen
            them, so how far others would vary is not known.
        asked: of each trial by number, which seed (0, 1, ...) it has, and which
            setting.
        decision: what follows from the seeds so far.
        confirming: accuracies of the leader with the seeds that confirm; NaN where it
            failed.
    """

    def __init__(
        self,
        settings: Sequence[TrialConfig],
        data: DataFacts,
        at_a_time: int,
        trials: int,
        tolerance: float | None = None,
        confirm: bool = False,
    ) -> None:
        count = len(settings)
        self.settings = list(settings)
        self.ranking = data.ranking
        self.confirm = confirm
        self.split = "validation"
        self.is_doubted = False
        self.decision = Decision(count, tolerance or 0.0)
        self.asked: list[tuple[int, int]] = []
        self.confirming: list[float] = []
        self._by_accuracy = data.by_accuracy
        self._chance = data.chance
        self._images = settings[0].held_out
        self._trials = trials
        self._ceilings = np.full(count, -math.inf)
        """The score of a guess; later that up to which a setting guesses."""
        if self.ranking.is_loss:
            guesses = [data.guess(setting) for setting in settings]
            self._ceilings = -np.array(guesses)
        self.decision.most = math.inf
        if self.ranking.is_accuracy:
            self.decision.most = 1.0
        self._seeds: list[dict[int, Outcome | None]] = []
        """For each seed, the outcome of each setting; None of a trial that says
        nothing."""
        self._losses = np.zeros(count)
        self._loss_counts = np.zeros(count)
        """The sum of each setting's held-out losses, and how many there are."""
        self._counted = 0
        """How many seeds have been taken up."""
        self._is_spent = False
        """Whether all trials have been asked for."""
        self._has_begun = False
        """Whether a seed has said what the tolerance is."""
        self._retried: frozenset[str] = frozenset()
        self._runs: Mapping[tuple[int, int], str] | None = None
        self._confirmed_from = math.inf
        for _ in range(at_a_time):
            self._ask(self._active)

    def __repr__(self) -> str:
        best = self.settings[int(self.decision.leader)]
        differing = []
        for name in FIELDS:
            values = {getattr(setting, name) for setting in self.settings}
            if len(values) > 1:
                differing.append(f"{name}={getattr(best, name)}")
        verdict = "leads"
        if self.settled:
            verdict = "is best"
        contest = f"contest of {len(self.settings)} settings"
        return f"<{contest}: {', '.join(differing)} {verdict}, {self._counted} seeds>"

    @property
    def table(self) -> pd.DataFrame:
        """The settings as rows of `trials`."""
        rows = [setting.to_dict() for setting in self.settings]
        return pd.DataFrame(rows).rename(columns={"epochs": "epochs_asked"})

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Contest:
        """Return the contest that a sweep's `sweep.json` records, before its first
        trial. Raises `UserError` if it can't be one; the folder may come from
        anybody."""
        options = meta["options"]
        try:
            fields = options[CONTENDERS][: MOST_SETTINGS + 1]
            settings = [TrialConfig(**setting) for setting in fields]
            data = data_facts(meta)
            is_valid = _can_compare(settings, options, data)
        except (KeyError, TypeError, AttributeError, UserError):
            is_valid = False
        if not is_valid:
            raise UserError(
                "sweep.json records a decision between settings that can't be one"
            )
        contest = cls(
            settings,
            data,
            options["at_a_time"],
            options["trials"],
            options["tolerance"],
            options.get("confirm") is True,
        )
        contest._retried = retried(options)
        if RUNS in options:
            contest._runs = options[RUNS]
            contest.split = options["split"]
            contest.is_doubted = options["unasked"]
        return contest

    def replay(self, trials: pd.DataFrame) -> Contest:
        """Take up the `trials` table of the contest, as far as trials have ended. The
        seed of a trial that ended in an error is dropped when it is asked what is next.
        If the trial was trained again, its seed counts in the end."""
        ends = (*COMPLETED_REASONS, "diverged", "error")
        ended = trials[trials["stop_reason"].isin(ends)]
        rows: dict[str, Mapping[str, Any] | None] = {}
        for row in ended.to_dict("records"):
            has_failed = row["stop_reason"] == "error"
            rows[row["trial_id"]] = None if has_failed else row
        for number, _ in enumerate(self.asked):  # which grows meanwhile
            trial_id = self._id_of(number)
            if trial_id in self._retried:
                self.tell(number, None)
            elif trial_id in rows:
                self.tell(number, rows[trial_id])
        self._count_retried(rows)
        return self

    def _count_retried(self, rows: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Count the seeds that were dropped, and whose trials have been trained again,
        given the last row of each trial."""
        orders = set[int]()
        for number, (order, setting) in enumerate(self.asked):
            trial_id = self._id_of(number)
            row = rows.get(trial_id)
            if trial_id in self._retried and row is not None:
                self._seeds[order][setting] = self._outcome(row)
                orders.add(order)
        for order in sorted(orders):
            if order < self._counted and None not in self._seeds[order].values():
                self._count(order)

    def is_of(self, setting: int, trials: pd.DataFrame) -> list[bool]:
        """Return for each row of the `trials` table whether it is of this setting."""
        own = set[str]()
        for number, (_, its_setting) in enumerate(self.asked):
            if its_setting == setting:
                own.add(self._id_of(number))
        return [trial_id in own for trial_id in trials["trial_id"]]

    @property
    def over(self) -> bool:
        """Whether all trials that were asked have been told."""
        return self._counted == len(self._seeds)

    @property
    def settled(self) -> bool:
        """Whether it is known which setting is best, up to the tolerance."""
        return bool(self.decision.over) and not self.is_doubted

    def trial(self, number: int, seed: int) -> TrialConfig:
        """Return a trial by its number. All settings have the same seed in turn, which
        follows from `seed`."""
        order, setting = self.asked[number]
        generator = np.random.default_rng([seed, order])
        drawn = int(generator.integers(2**32))
        return replace(self.settings[setting], seed=drawn, data_seed=drawn)

    def _id_of(self, number: int) -> str:
        """Return the id of a trial, given its number; empty if nobody trained it."""
        if self._runs is None:
            return f"{number:05d}"
        return self._runs.get(self.asked[number], "")

    def tell(self, number: int, row: Mapping[str, Any] | None) -> None:
        """Tell how a trial ended: its last row, None if in an error, which drops its
        seed for all settings."""
        order, setting = self.asked[number]
        ending = None
        if row is not None:
            ending = self._outcome(row)
        self._seeds[order][setting] = ending
        while not self.over and PENDING not in self._seeds[self._counted].values():
            self._take_up()

    def _outcome(self, row: Mapping[str, Any]) -> Outcome | None:
        """Return the outcome of a trial, given its last row; None if it says nothing."""
        score = self.ranking.score_of(row, self.split)
        if self.ranking.is_accuracy:
            worth, recorded = 1.0, row.get("answers")
        else:
            worth, recorded = 0.0, row.get("loss_error")
        if recorded is not None and math.isfinite(recorded):
            worth = float(recorded)
        ceiling = ceiling_of(self.ranking, self._chance, self._images * worth)
        diverged = not self._by_accuracy and is_above(row)
        ended = outcome(row["stop_reason"], score, ceiling, diverged)
        if ended == MISSING:
            return None
        if ended != COMPETES:
            score = math.nan
        loss = row.get(f"{self.split}_loss")
        if loss is None:
            loss = math.nan
        return Outcome(score, worth, finite_loss(loss))

    def _take_up(self) -> None:
        """Take up the next seed, and ask for another one if it is not settled yet."""
        order = self._counted
        self._counted += 1
        if None not in self._seeds[order].values():
            self._count(order)
        is_confirming = self._confirmed_from < math.inf
        if order < self._confirmed_from and not self.settled:
            self._ask(self._active)
        if self.over and self.settled and self.confirm and not is_confirming:
            self._confirmed_from = len(self._seeds)
            leader = int(self.decision.leader)
            for _ in range(CONFIRMED - int(self.decision.seeds[leader])):
                self._ask([leader], within=False)

    def _count(self, order: int) -> None:
        """Count the scores with a seed."""
        endings = {}
        for setting, ending in self._seeds[order].items():
            if ending is not None:
                endings[setting] = ending
        if order >= self._confirmed_from:
            self.confirming += [ending.score for ending in endings.values()]
            return
        scores = np.full(len(self.settings), np.nan)
        worth = np.full(len(self.settings), np.nan)
        for setting, ending in endings.items():
            scores[setting] = ending.score
            worth[setting] = ending.worth
            self._losses[setting] += ending.loss
            self._loss_counts[setting] += 1
        self.decision.losses = self._losses / np.maximum(self._loss_counts, 1)
        if not self._has_begun and np.isfinite(scores).any():
            self._begin(scores, worth)
        scores = np.where(scores > self._ceilings, scores, np.nan)
        self.decision.add(scores, ~np.isnan(worth))

    def _begin(self, scores: np.ndarray, worth: np.ndarray) -> None:
        """Fix what follows from the first seed."""
        self._has_begun = True
        first = np.nanargmax(scores)
        best = scores[first]
        least, error = self._errors(best, worth[first])
        self.decision.least = least
        if self.is_doubted:
            self.decision.least = math.inf
        if not self.decision.tolerance:
            self.decision.tolerance = max(TOLERANCE * error, least)
        # what can be learned lies between a guess and the best
        is_known = np.isfinite(self._ceilings)
        self._ceilings[is_known] += CHANCE_MARGIN * (best - self._ceilings[is_known])

    def _errors(self, best: float, worth: float) -> tuple[float, float]:
        """Return what one held-out example changes, and the standard error of the best
        score of the first seed."""
        if not self.ranking.is_accuracy:
            return worth / math.sqrt(self._images), worth
        answers = self._images * worth
        return 1 / answers, math.sqrt(best * (1 - best) / answers)

    @property
    def _active(self) -> list[int]:
        """The settings that train the next seed."""
        active: list[int] = np.flatnonzero(self.decision.active).tolist()
        return active

    def _ask(self, settings: Sequence[int], within: bool = True) -> None:
        """Ask for one more seed of these settings, `within` the most trials."""
        if within and len(self.asked) + len(settings) > self._trials:
            # for good: with more trials, a resume asks the same until here
            self._is_spent = True
        if within and self._is_spent:
            return
        order = len(self._seeds)
        self.asked += [(order, setting) for setting in settings]
        self._seeds.append(dict.fromkeys(settings, PENDING))


def _can_compare(
    settings: Sequence[TrialConfig], options: Mapping[str, Any], data: DataFacts
) -> bool:
    """Return whether recorded settings and options can be those of a contest."""
    at_a_time = options["at_a_time"]
    trials = options["trials"]
    tolerance = options["tolerance"] or 0
    if not type(at_a_time) is type(trials) is int:
        return False
    if not 0 < at_a_time <= trials <= MOST_TRIALS:
        return False
    if not 1 < len(settings) <= MOST_SETTINGS:
        return False
    held_out = {setting.held_out for setting in settings}
    if len(held_out) > 1 or min(held_out) <= 0:
        return False
    most = 1 if data.ranking.is_accuracy else LARGEST
    return bool(0 <= tolerance <= most)
