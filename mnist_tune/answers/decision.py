"""What a decision found: which setting is best, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd

from mnist_tune.judged import Judged
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.outcomes import COMPETES, MISSING, competing, outcomes
from mnist_tune.trial import LIVE_REASONS


class Sureness(Enum):
    """How sure a decision is of its leader."""

    OTHERS_FAIL = "others_fail"
    """All others fail more often."""
    NONE_BETTER = "none_better"
    """None of the others is better, by more than `by`."""
    MAY_BE_BETTER = "may_be_better"
    """Another one may be better, by up to `by`."""
    TOO_FEW_SEEDS = "too_few_seeds"
    UNASKED = "unasked"
    """Seeds or stops are not those that were asked for, so that nothing is claimed."""


@dataclass(frozen=True)
class Calmer:
    """A setting that may be as good as the leader, and is calmer."""

    setting: int
    seeds: int
    """The seeds that both have."""
    calm: int
    """With how many of them it neither failed nor oscillated."""
    leader_calm: int


@dataclass(frozen=True)
class Decided:
    """What a decision found so far. Settings are named by their rows in
    `Contest.table`."""

    leader: int
    settled: bool
    sureness: Sureness
    by: float
    """By how much another one may be better, at most, with 95% confidence."""
    some_aside: bool
    """Whether some settings were left out since they fail more often."""
    failures: int
    """With how many of its `seeds` the leader failed."""
    seeds: int
    trials: int
    """Those that have ended."""
    rivals: tuple[int, ...]
    """Those that may be as good."""
    ties: tuple[int, ...]
    """Those of the rivals whose scores are the same; the leader has the least loss."""
    calmer: Calmer | None
    scores: tuple[float, ...]
    """The leader's scores on the images held out, one a seed."""
    test_scores: tuple[float, ...]
    train_scores: tuple[float, ...]
    confirming: tuple[float, ...]
    """The leader's scores with further seeds, which did not choose it."""
    further_seeds: int
    """How many of these there are, with those that failed."""
    waits_to_confirm: bool
    """Whether further seeds were asked for, but the trials were spent before."""
    chosen_by_test: bool
    """Whether the settings were chosen by the test set."""

    @property
    def score(self) -> float:
        """The leader's mean; NaN if none of its trials competes."""
        return float(np.mean(self.scores)) if self.scores else math.nan


def decided(sweep: Judged, contest: Contest) -> Decided | None:
    """Return what a decision found so far; None before a seed has ended for all of its
    settings."""
    decision = contest.decision
    if not decision.seeds.any():
        return None
    leader = int(decision.leader)
    rivals = np.flatnonzero(decision.rivals).tolist()
    scores = scores_of_leader(sweep, contest, contest.split)
    by = float(decision.may_lose)
    if contest.ranking.is_accuracy and math.isfinite(by):
        by = min(by, 1 - scores.mean())
    further = pd.Series(contest.confirming, dtype=float)
    failed_further = int(further.isna().sum())
    ended = ~sweep.trials["stop_reason"].isin(LIVE_REASONS)
    asks_to_confirm = bool(contest.confirm and not contest.confirming)
    close_rivals = rivals if by else []
    return Decided(
        leader=leader,
        settled=contest.settled,
        sureness=_sureness(contest, by),
        by=by,
        some_aside=bool(decision.aside.any()),
        failures=int(decision.failures[leader]) + failed_further,
        seeds=int(decision.seeds[leader]) + len(further),
        trials=int(ended.sum()),
        rivals=tuple(rivals),
        ties=_ties(contest, leader, rivals),
        calmer=_calmer(sweep, contest, close_rivals),
        scores=tuple(scores),
        test_scores=tuple(scores_of_leader(sweep, contest, "test")),
        train_scores=tuple(scores_of_leader(sweep, contest, "train")),
        confirming=tuple(further.dropna()),
        further_seeds=len(further),
        waits_to_confirm=asks_to_confirm and contest.over and not contest.settled,
        chosen_by_test="test" in (sweep.record.chosen_by, contest.split),
    )


def _sureness(contest: Contest, by: float) -> Sureness:
    if contest.is_doubted:
        return Sureness.UNASKED
    if contest.settled:
        aside = contest.decision.aside.sum()
        if aside == len(contest.settings) - 1:
            return Sureness.OTHERS_FAIL
        return Sureness.NONE_BETTER
    if math.isfinite(by):
        return Sureness.MAY_BE_BETTER
    return Sureness.TOO_FEW_SEEDS


def _ties(contest: Contest, leader: int, rivals: Sequence[int]) -> tuple[int, ...]:
    decision = contest.decision
    has_same_score = decision.differences[:, leader] == 0
    fails_as_often = decision.failures == decision.failures[leader]
    is_tie = has_same_score & fails_as_often
    return tuple(rival for rival in rivals if is_tie[rival])


def trials_of_leader(sweep: Judged, contest: Contest) -> pd.DataFrame:
    """Return the trials of the setting that a decision found best."""
    return sweep.trials[contest.is_of(int(contest.decision.leader), sweep.trials)]


def scores_of_leader(sweep: Judged, contest: Contest, split: str) -> pd.Series:
    """Return the scores of those trials of the best setting that compete."""
    rows = competing(trials_of_leader(sweep, contest), sweep.record.data)
    return pd.Series(contest.ranking.scores(rows, split))


def _calmer(sweep: Judged, contest: Contest, rivals: Sequence[int]) -> Calmer | None:
    """Return the calmest of the settings that are not told apart from the leader, if it
    failed or oscillated with fewer of the seeds that both have."""
    leader = int(contest.decision.leader)
    ended = outcomes(sweep.trials, sweep.record.data)
    is_calm = (ended == COMPETES) & sweep.trials["regime"].ne("oscillating").to_numpy()
    calm = pd.Series(is_calm, sweep.trials["seed"])
    columns = {}
    for setting in (leader, *rivals):
        own = (ended != MISSING) & np.array(contest.is_of(setting, sweep.trials))
        columns[setting] = calm[own].astype(float)
    seeds = pd.DataFrame(columns)
    gains = seeds.sub(seeds[leader], axis=0).sum()  # over the seeds that both have
    if not gains.max() > 0:
        return None
    calmest = int(gains.idxmax())  # of equal ones the first
    shared = seeds[[calmest, leader]].dropna()
    counts = shared.sum().astype(int)
    return Calmer(calmest, len(shared), int(counts[calmest]), int(counts[leader]))
