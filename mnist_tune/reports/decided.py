"""Which setting a decision found best, and how sure that is, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_tune.numbers import counted, digits_showing, listed
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.decision import most_failures
from mnist_tune.regimes.families import named
from mnist_tune.regimes.outcomes import COMPETES, MISSING, outcomes
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.regimes.replicates import half_width
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS

OF_ALL = "95% of all decisions are right, unsettled ones included"
"""What the 95% of a decision that has settled are of: where few settle, fewer of these
are right."""

SWEPT_IMAGES = "swept_images"
"""The option in `sweep.json` that says on how many images the sweep trained whose
settings a decision compares."""

GAP = 0.1
"""A training accuracy that is so much above the one on other images is said."""


def decided(sweep: Tables, contest: Contest) -> Iterator[str]:
    """Yield what a decision found so far, a line each: the best setting, the others,
    failures, the test set."""
    found, names = contest.decision, named(contest.table, contest.table)
    if not found.seeds.any():
        return
    best = int(found.leader)
    left = np.flatnonzero(found.rivals).tolist()
    at_most, by = float(found.may_lose), contest.ranking.difference
    if contest.ranking.is_accuracy and math.isfinite(at_most):
        at_most = min(at_most, 1 - scores(sweep, contest, "validation").mean())
    if contest.settled and found.aside.sum() == len(names) - 1:
        sure, of = "all others fail more often", ""
    elif contest.settled:
        others = "none as reliable is" if found.aside.any() else "none of the others is"
        sure, of = (
            f"{others} better{f' by more than {by(at_most)}' * bool(at_most)}",
            OF_ALL,
        )
    elif math.isfinite(at_most):
        sure, of = f"another may be better by up to {by(at_most)} (95%)", ""
    else:
        sure, of = "too few seeds to tell", ""
    failures = int(found.failures[best]) + sum(map(math.isnan, contest.confirming))
    seeds = int(found.seeds[best]) + len(contest.confirming)
    yield f"{names[best]}: {sure}"
    trials = counted(int((~sweep.trials["stop_reason"].isin(LIVE_REASONS)).sum()))
    rest = f"not settled after {trials}" * (not contest.settled)
    apart = f"may be as good: {listed([names[k] for k in left])}" * bool(
        left and at_most
    )
    equal = [
        names[k]
        for k in left
        if found.differences[k, best] == 0 and found.failures[k] == found.failures[best]
    ]
    tie = (
        f"a tie with {listed(equal)}: {names[best]} has the least held-out loss"
        * bool(equal)
    )
    yield "; ".join(filter(None, [rest, failed(failures, seeds), tie, apart, of]))
    yield from _calmer(sweep, contest, names, left if at_most else [])
    if contest.confirming:
        fresh = pd.Series(contest.confirming).dropna()
        further = counted(len(fresh), "further seed")
        said = _mean(fresh, contest.ranking)
        yield f"held-out {contest.ranking.word} of {names[best]}, with {further}: {said}"
    elif contest.confirm and contest.over and not contest.settled:
        yield "--confirm trains the best once that is settled, so it has not begun; give more --trials"
    tested, word = scores(sweep, contest, "test"), contest.ranking.word
    if contest.ranking.is_own:  # which are those of the images held out
        return
    chosen, in_all = (
        sweep.meta["options"].get("chosen_by") == "test",
        f"; {trials} in all",
    )
    biased = (
        f"; the settings were chosen by test {word}, so it is not an unbiased estimate"
    )
    trained = (
        memorised(scores(sweep, contest, "train").mean(), tested.mean())
        * contest.ranking.is_accuracy
    )
    said = f"test {word} of {names[best]}, {counted(len(tested), 'seed')}: {_mean(tested, contest.ranking)}{trained}"
    yield said + biased * chosen + in_all


def on_other_images(swept: int | None, images: int) -> str:
    """Return that a decision trains on so many images, if the sweep whose settings it
    compares trained on another number of them (`swept`; None if there is no sweep)."""
    if swept is None or swept == images:
        return ""
    return f"this trains on {images:,} examples and the sweep trained on {swept:,}, so their scores do not compare"


def memorised(trained: float, held_out: float) -> str:
    """Return the training accuracy, to follow the other one, where it is clearly above
    that."""
    return f", training accuracy {trained:.4f}" if trained - held_out > GAP else ""


def trials_of_leader(sweep: Tables, contest: Contest) -> pd.DataFrame:
    """Return the trials of the setting that a decision found best."""
    return sweep.trials[contest.is_of(int(contest.decision.leader), sweep.trials)]


def scores(sweep: Tables, contest: Contest, split: str) -> pd.Series:
    """Return the scores of those trials of the best setting that compete."""
    rows = trials_of_leader(sweep, contest)
    return pd.Series(
        contest.ranking.scores(
            rows[outcomes(rows, data_facts(sweep.meta)) == COMPETES], split
        )
    )


def failed(failures: int, seeds: int, how: str = "failed") -> str:
    """Return how many seeds of a setting failed, and what share of them may."""
    most = float(most_failures(failures, seeds))
    return f"{failures} of its {counted(seeds, 'seed')} {how} (up to {most:.0%} of all may)"


def _calmer(
    sweep: Tables, contest: Contest, names: Sequence[str], left: Sequence[int]
) -> Iterator[str]:
    """Yield which of the settings that are not told apart from the best is the calmest,
    if it failed or oscillated with fewer seeds, of those that both have."""
    best, ended, found = (
        int(contest.decision.leader),
        outcomes(sweep.trials, data_facts(sweep.meta)),
        {},
    )
    calm = pd.Series(
        (ended == COMPETES) & (sweep.trials["regime"] != "oscillating").to_numpy(),
        sweep.trials["seed"],
    )
    for k in (best, *left):
        found[k] = calm[
            (ended != MISSING) & np.array(contest.is_of(k, sweep.trials))
        ].astype(float)
    seeds = pd.DataFrame(found)
    gains = seeds.sub(seeds[best], axis=0).sum()  # over the seeds that both have
    if gains.max() > 0:
        shared = seeds[[int(gains.idxmax()), best]].dropna()  # of equal ones the first
        (calmest, few), (_, less) = shared.sum().astype(int).items()
        said = f"of {counted(len(shared), 'seed')}, {few} neither failed nor oscillated, and {less} with {names[best]}"
        yield f"calmer, and may be as good: {names[calmest]} ({said})"


def _mean(scores: pd.Series, ranking: Ranking) -> str:
    if len(scores) < 3:
        return " and ".join(map(ranking.number, scores)) or "–"
    wide = half_width(scores.std(), len(scores))
    said = f"{wide:.4f}" if ranking.is_accuracy else f"{wide:.2g}"
    mean = float(scores.mean())
    return f"{ranking.number(mean, digits_showing(wide, mean))} ± {said} (95% interval of the mean)"
