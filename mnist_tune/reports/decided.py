"""Which setting a decision found best, and how sure that is, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mnist_tune.answers.decision import Calmer, Decided, Sureness
from mnist_tune.numbers import counted, digits_showing, listed
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.decision import most_failures
from mnist_tune.regimes.families import named
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.regimes.replicates import half_width

OF_ALL = "95% of all decisions are right, unsettled ones included"
"""What the 95% of a decision that has settled are of: where few settle, fewer of these
are right."""

GAP = 0.1
"""A training accuracy that is so much above the one on other images is said."""


def decided_in_words(decided: Decided, contest: Contest) -> Iterator[str]:
    """Yield what a decision found so far, a line each: the best setting, the others,
    failures, the test set."""
    ranking = contest.ranking
    names = named(contest.table, contest.table)
    leader = names[decided.leader]
    if decided.sureness == Sureness.UNASKED:
        why = "seeds or early stops of runs are not those that were asked for"
        yield f"{leader}: best of these, but nobody knows how surely: {why}"
        return
    yield f"{leader}: {_sureness(decided, ranking)}"
    yield _others(decided, names)
    if decided.calmer is not None:
        yield _calmer(decided.calmer, names, leader)
    if decided.further_seeds:
        further = counted(len(decided.confirming), "further seed")
        mean = _mean(decided.confirming, ranking)
        yield f"held-out {ranking.word} of {leader}, with {further}: {mean}"
    elif decided.waits_to_confirm:
        yield (
            "--confirm trains the best once that is settled, so it has not begun; "
            "give more --trials"
        )
    # own scores are those of the images held out, and curves of others may have none
    is_untested = bool(np.isnan(decided.test_scores).any())
    if not (is_untested or ranking.is_own):
        yield _tested(decided, leader, ranking)


def _sureness(decided: Decided, ranking: Ranking) -> str:
    if decided.sureness == Sureness.OTHERS_FAIL:
        return "all others fail more often"
    if decided.sureness == Sureness.TOO_FEW_SEEDS:
        return "too few seeds to tell"
    if decided.sureness == Sureness.MAY_BE_BETTER:
        return f"another may be better by up to {ranking.difference(decided.by)} (95%)"
    rest = "none of the others is"
    if decided.some_aside:
        rest = "none as reliable is"
    if decided.by:
        return f"{rest} better by more than {ranking.difference(decided.by)}"
    return f"{rest} better"


def _others(decided: Decided, names: Sequence[str]) -> str:
    """Return how the leader stands to the others, and how often it failed."""
    parts = []
    if not decided.settled:
        parts.append(f"not settled after {counted(decided.trials)}")
    parts.append(failed(decided.failures, decided.seeds))
    if decided.ties:
        tied = listed([names[rival] for rival in decided.ties])
        least = f"{names[decided.leader]} has the least held-out loss"
        parts.append(f"a tie with {tied}: {least}")
    if decided.rivals and decided.by:
        rivals = listed([names[rival] for rival in decided.rivals])
        parts.append(f"may be as good: {rivals}")
    if decided.sureness == Sureness.NONE_BETTER:
        parts.append(OF_ALL)
    return "; ".join(parts)


def _calmer(calmer: Calmer, names: Sequence[str], leader: str) -> str:
    calm = f"{calmer.calm} neither failed nor oscillated"
    counts = f"of {counted(calmer.seeds, 'seed')}, {calm}, and {calmer.leader_calm}"
    setting = names[calmer.setting]
    return f"calmer, and may be as good: {setting} ({counts} with {leader})"


def _tested(decided: Decided, leader: str, ranking: Ranking) -> str:
    seeds = counted(len(decided.test_scores), "seed")
    mean = _mean(decided.test_scores, ranking)
    text = f"test {ranking.word} of {leader}, {seeds}: {mean}"
    if ranking.is_accuracy and decided.test_scores:
        trained = float(np.mean(decided.train_scores))
        text += memorised(trained, float(np.mean(decided.test_scores)))
    if decided.chosen_by_test:
        chosen = f"the settings were chosen by test {ranking.word}"
        text += f"; {chosen}, so it is not an unbiased estimate"
    return f"{text}; {counted(decided.trials)} in all"


def on_other_images(swept: int | None, images: int) -> str:
    """Return that a decision trains on so many images, if the sweep whose settings it
    compares trained on another number of them (`swept`; None if there is no sweep)."""
    if swept is None or swept == images:
        return ""
    both = f"{images:,} examples and the sweep trained on {swept:,}"
    return f"this trains on {both}, so their scores do not compare"


def memorised(trained: float, held_out: float) -> str:
    """Return the training accuracy, to follow the other one, where it is clearly above
    that."""
    if trained - held_out > GAP:
        return f", training accuracy {trained:.4f}"
    return ""


def failed(failures: int, seeds: int, how: str = "failed") -> str:
    """Return how many seeds of a setting failed, and what share of them may."""
    most = float(most_failures(failures, seeds))
    count = f"{failures} of its {counted(seeds, 'seed')}"
    return f"{count} {how} (up to {most:.0%} of all may)"


def _mean(scores: Sequence[float], ranking: Ranking) -> str:
    if len(scores) < 3:
        return " and ".join(map(ranking.number, scores)) or "–"
    mean = float(np.mean(scores))
    wide = half_width(float(np.std(scores, ddof=1)), len(scores))
    around = f"{wide:.4f}" if ranking.is_accuracy else f"{wide:.2g}"
    number = ranking.number(mean, digits_showing(wide, mean))
    return f"{number} ± {around} (95% interval of the mean)"
