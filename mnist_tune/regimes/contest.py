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
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.columns import LARGEST
from mnist_tune.errors import UserError
from mnist_tune.regimes.data_facts import DataFacts, data_facts
from mnist_tune.regimes.decision import CONFIRMED, Decision
from mnist_tune.regimes.divergence import CHANCE_MARGIN, finite_loss
from mnist_tune.regimes.outcomes import COMPETES, MISSING, ceiling_of, is_above, outcome
from mnist_tune.trial import FIELDS, MOST_TRIALS, TrialConfig, retried

CONTENDERS = "contenders"
"""The option in `sweep.json` that lists the settings: the fields of a trial of each,
without its seeds."""

MOST_SETTINGS = 200
"""The most settings of a contest: differences of all settings to all others are kept
after every seed."""

TRIALS = 200
"""The most trials of a contest, unless others are asked for."""

TOLERANCE = 1 / 2
"""By default settings count as equal if they differ by this share of the standard error
of one trial's accuracy on the images held out."""

Told = tuple[float, float, float]
"""The score of a trial; how many answers an image is worth or, of a loss, its standard
error; and the held-out loss."""

PENDING: Told = (-1.0, -1.0, -1.0)
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
        self.settings, self._chance, self._trials = list(settings), data.chance, trials
        self.ranking, self._by_accuracy = data.ranking, data.by_accuracy
        self._ceilings = -np.array(
            [data.guess(one) if self.ranking.is_loss else math.inf for one in settings]
        )
        self._images, self.confirm = settings[0].held_out, confirm
        self.decision = Decision(len(settings), tolerance or 0.0)
        self.decision.most = 1.0 if self.ranking.is_accuracy else math.inf
        self.asked: list[tuple[int, int]] = []
        self.confirming: list[float] = []
        self._seeds: list[dict[int, Told | None]] = []
        """For each seed, what was told of each setting; None of a trial that says
        nothing."""
        self._losses = np.zeros((2, len(settings)))
        """The sum of each setting's held-out losses, and how many there are."""
        self._taken, self._spent, self._begun = 0, False, False
        self._retried: frozenset[str] = frozenset()
        self._confirmed_from = math.inf
        for _ in range(at_a_time):
            self._ask(np.flatnonzero(self.decision.active).tolist())

    def __repr__(self) -> str:
        best, count = self.settings[int(self.decision.leader)], len(self.settings)
        differ = [
            name
            for name in FIELDS
            if len({getattr(one, name) for one in self.settings}) > 1
        ]
        said = ", ".join(f"{name}={getattr(best, name)}" for name in differ)
        return f"<contest of {count} settings: {said} {'is best' if self.settled else 'leads'}, {self._taken} seeds>"

    @property
    def table(self) -> pd.DataFrame:
        """The settings as rows of `trials`."""
        return pd.DataFrame([one.to_dict() for one in self.settings]).rename(
            columns={"epochs": "epochs_asked"}
        )

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Contest:
        """Return the contest that a sweep's `sweep.json` records, before its first
        trial. Raises `UserError` if it can't be one; the folder may come from
        anybody."""
        asked = meta["options"]
        try:
            settings = [
                TrialConfig(**one) for one in asked[CONTENDERS][: MOST_SETTINGS + 1]
            ]
            data = data_facts(meta)
            most = 1 if data.ranking.is_accuracy else LARGEST
            at_a_time, trials, tolerance = (
                asked[name] for name in ("at_a_time", "trials", "tolerance")
            )
            counts = (
                type(at_a_time) is type(trials) is int
                and 0 < at_a_time <= trials <= MOST_TRIALS
            )
            held_out = all(0 < one.held_out == settings[0].held_out for one in settings)
            if not (
                1 < len(settings) <= MOST_SETTINGS
                and counts
                and held_out
                and 0 <= (tolerance or 0) <= most
            ):
                raise TypeError("counts")
        except (KeyError, TypeError, AttributeError, UserError):
            raise UserError(
                "sweep.json records a decision between settings that can't be one"
            ) from None
        found = cls(
            settings, data, at_a_time, trials, tolerance, asked.get("confirm") is True
        )
        found._retried = retried(asked)
        return found

    def replay(self, trials: pd.DataFrame) -> Contest:
        """Take up the `trials` table of the contest, as far as trials have ended. The
        seed of a trial that ended in an error is dropped when it is asked what is next.
        If the trial was trained again, its seed counts in the end."""
        ended = trials[trials["stop_reason"].isin(("completed", "diverged", "error"))]
        rows = {
            row["trial_id"]: row if row["stop_reason"] != "error" else None
            for row in ended.to_dict("records")
        }
        for number, _ in enumerate(self.asked):  # which grows meanwhile
            if (trial_id := f"{number:05d}") in rows or trial_id in self._retried:
                self.tell(number, None if trial_id in self._retried else rows[trial_id])
        late = set[int]()
        for number, (order, setting) in enumerate(self.asked):
            if (trial_id := f"{number:05d}") in self._retried and (
                row := rows.get(trial_id)
            ):
                self._seeds[order][setting] = self._told(row)
                late.add(order)
        for order in sorted(late):
            if order < self._taken and None not in self._seeds[order].values():
                self._count(order)
        return self

    def is_of(self, setting: int, trials: pd.DataFrame) -> list[bool]:
        """Return for each row of the `trials` table whether it is of this setting."""
        own = {
            f"{number:05d}"
            for number, (_, one) in enumerate(self.asked)
            if one == setting
        }
        return [trial_id in own for trial_id in trials["trial_id"]]

    @property
    def over(self) -> bool:
        """Whether all trials that were asked have been told."""
        return self._taken == len(self._seeds)

    @property
    def settled(self) -> bool:
        """Whether it is known which setting is best, up to the tolerance."""
        return bool(self.decision.over)

    def trial(self, number: int, seed: int) -> TrialConfig:
        """Return a trial by its number. All settings have the same seed in turn, which
        follows from `seed`."""
        order, setting = self.asked[number]
        drawn = int(np.random.default_rng([seed, order]).integers(2**32))
        return replace(self.settings[setting], seed=drawn, data_seed=drawn)

    def tell(self, number: int, row: Mapping[str, Any] | None) -> None:
        """Tell how a trial ended: its last row, None if in an error, which drops its
        seed for all settings."""
        order, setting = self.asked[number]
        self._seeds[order][setting] = None if row is None else self._told(row)
        while not self.over and PENDING not in self._seeds[self._taken].values():
            self._take_up()

    def _told(self, row: Mapping[str, Any]) -> Told | None:
        score, worth = (
            self.ranking.score_of(row, "validation"),
            float(self.ranking.is_accuracy),
        )
        known, loss = (
            row.get(name)
            for name in ("answers" if worth else "loss_error", "validation_loss")
        )
        if known is not None and math.isfinite(known):
            worth = float(known)
        ceiling = ceiling_of(self.ranking, self._chance, self._images * worth)
        ended = outcome(
            row["stop_reason"],
            score,
            ceiling,
            diverged=not self._by_accuracy and is_above(row),
        )
        told = (
            score if ended == COMPETES else np.nan,
            worth,
            finite_loss(math.nan if loss is None else loss),
        )
        return None if ended == MISSING else told

    def _take_up(self) -> None:
        """Take up the next seed, and ask for another one if it is not settled yet."""
        order = self._taken
        self._taken += 1
        if None not in self._seeds[order].values():
            self._count(order)
        if order < self._confirmed_from and not self.settled:
            self._ask(np.flatnonzero(self.decision.active).tolist())
        if (
            self.over
            and self.settled
            and self.confirm
            and self._confirmed_from == math.inf
        ):
            self._confirmed_from = len(self._seeds)
            leader = int(self.decision.leader)
            for _ in range(CONFIRMED - int(self.decision.seeds[leader])):
                self._ask([leader], within=False)

    def _count(self, order: int) -> None:
        """Count the scores with a seed."""
        seed = {
            setting: told
            for setting, told in self._seeds[order].items()
            if told is not None
        }
        if order >= self._confirmed_from:
            self.confirming += [accuracy for accuracy, *_ in seed.values()]
            return
        values, worth = (np.full(len(self.settings), np.nan) for _ in range(2))
        values[list(seed)], worth[list(seed)], losses = np.transpose(
            list(seed.values())
        )
        self._losses[:, list(seed)] += losses, np.ones(len(seed))
        self.decision.losses = self._losses[0] / np.maximum(self._losses[1], 1)
        if not self._begun and np.isfinite(values).any():
            self._begun, first = True, np.nanargmax(values)
            self.decision.least, error = self._errors(values[first], worth[first])
            self.decision.tolerance = self.decision.tolerance or max(
                TOLERANCE * error, self.decision.least
            )
            # what can be learned lies between a guess and the best
            known = np.isfinite(self._ceilings)
            self._ceilings[known] += CHANCE_MARGIN * (
                values[first] - self._ceilings[known]
            )
        self.decision.add(
            np.where(values > self._ceilings, values, np.nan), ~np.isnan(worth)
        )

    def _errors(self, best: float, worth: float) -> tuple[float, float]:
        """Return what one held-out example changes, and the standard error of the best
        score of the first seed."""
        if not self.ranking.is_accuracy:
            return worth / math.sqrt(self._images), worth
        images = self._images * worth
        return 1 / images, math.sqrt(best * (1 - best) / images)

    def _ask(self, settings: Sequence[int], within: bool = True) -> None:
        self._spent |= within and len(self.asked) + len(settings) > self._trials
        # for good: with more trials, a resume asks the same until here
        if within and self._spent:
            return
        self.asked += [(len(self._seeds), setting) for setting in settings]
        self._seeds.append(dict.fromkeys(settings, PENDING))
