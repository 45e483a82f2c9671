"""The answer of a sweep: what to train with, how sure that is, and what to ask next.
Terminal, page and notebook take their sentences from here."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.continuation import python_call, resume_command
from mnist_tune.invocation import command, words
from mnist_tune.numbers import LEAST_DIGITS, counted, digits_showing, listed
from mnist_tune.own_code.registry import FROM_PYTHON, NAMED_AGAIN, named_again
from mnist_tune.regimes.contest import MOST_SETTINGS, TRIALS, Contest
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.decision import rounded, to_decide
from mnist_tune.regimes.families import families, held_out, named, varied
from mnist_tune.regimes.labels import ON_ITS_WAY
from mnist_tune.regimes.outcomes import (
    COMPETES,
    MISSING,
    ceiling_of,
    independent_answers_of,
    outcomes,
)
from mnist_tune.regimes.replicates import CONFIGURATION
from mnist_tune.reports.decided import (
    decided,
    failed,
    memorised,
    scores,
    trials_of_leader,
)
from mnist_tune.reports.findings import (
    SPLITS,
    Question,
    left_over,
    measured_edges,
    so_far,
)
from mnist_tune.reports.ranges import VERBS, advice, can_grow, spans, where_the_edge_is
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS, OPEN_REASONS, UNDECIDED_REASONS

Key = tuple[Any, ...]
"""Names a setting: its values of `CONFIGURATION`."""

MOST_NAMED = 6
"""The most settings that a sentence names."""

ROOM = 80
"""The most characters that their names may have; of more, only their number is said."""

WARNED = ("oscillating", "overfit")
"""Regimes of the best setting that its sentence names; `docs/choose.md` says what to
do."""


@dataclass(frozen=True, repr=False)
class Answer:
    """What a sweep says."""

    headline: str
    """The answer in one line, such as `Train with 0.7: held-out accuracy 0.9814 (best
    of 16); test accuracy 0.9803`."""
    lines: tuple[str, ...] = ()
    """How sure it is, and where each regime is found."""
    more: tuple[str, ...] = ()
    """Details: where each regime of several families is found, or more of each edge."""
    questions: tuple[Question, ...] = ()
    """At most three. What has not ended or has failed comes first."""
    setting: str = ""
    """What the headline calls the setting to train with."""
    best: Key | None = None
    """The setting to train with; None if there is none yet, or if the sweep measured
    something else."""
    rivals: tuple[Key, ...] = ()
    """The settings that are not told apart from the best."""
    jumping: tuple[Key, ...] = ()
    """The settings whose accuracy still jumps between epochs."""
    digits: int = LEAST_DIGITS
    """The significant digits of a loss with which those that are told apart from the
    best one differ from it."""

    def __repr__(self) -> str:
        return "\n".join(
            [
                self.headline,
                *self.lines,
                *(f"{one.text} {one.command}" for one in self.questions),
            ]
        )


def keys(rows: pd.DataFrame) -> list[Key]:
    """Return the key of each row's setting, from a table of trials or of `standing`."""
    known = rows[[name for name in CONFIGURATION if name in rows]].astype(object)
    return list(known.where(known.notna(), None).itertuples(index=False, name=None))


def answer(sweep: Tables, where: str = "") -> Answer:
    """Return the answer of a sweep.

    Args:
        sweep: finished or running.
        where: how its path is written in commands, by default in full.
    """
    where = where or str(sweep.path)
    found = _answer(sweep, where)
    waits = (
        sweep.meta["ended"] is None
        or sweep.trials["stop_reason"].isin((*LIVE_REASONS, *OPEN_REASONS)).any()
    )
    # what has not ended comes first, and may be the best
    more = () if waits else found.questions
    asked = dict.fromkeys((*left_over(sweep, where), *more))
    lines = filter(None, (so_far(sweep.trials), *found.lines))
    return replace(found, lines=tuple(lines), questions=tuple(asked)[:3])


def _answer(sweep: Tables, where: str) -> Answer:
    trials = sweep.trials
    if (contest := sweep.decision) is not None:
        return _decided(sweep, contest, where)
    if not (trials["epochs_run"] > 0).any():
        return Answer("No trial has finished an epoch")
    if sweep.edges():
        return _measured(sweep, where)
    best = sweep.best()
    if best.empty:
        regimes, ranges = tuple(_facts(sweep, best)), tuple(_ranges(sweep))
        return Answer(
            _why_none_is_best(sweep),
            regimes,
            ranges,
            tuple(_questions(sweep, where, best)),
        )
    names, key, facts = named(best, trials), keys(best), data_facts(sweep.meta)
    ranking, tasks = facts.ranking, trials["architecture"].nunique()
    split = held_out(trials)
    by_test = ", chosen on the test set" * (split == "test")
    if tasks > 1 and not facts.compares_tasks:
        each = best.drop_duplicates("architecture")
        scores_of = each["accuracy"].map(ranking.number)
        said = tuple(
            f"{names[k]}: {SPLITS[split]} loss {score}"
            for k, score in scores_of.items()
        )
        head = f"A best setting is known for {len(each)} of {tasks} tasks{by_test}"
        return Answer(
            head,
            said,
            (),
            tuple(_questions(sweep, where, best[:0])),
            rivals=tuple(keys(each)),
        )
    seeds, accuracy, first = int(best["seeds"].iloc[0]), best["accuracy"].iloc[0], 0
    tried = len({*keys(sweep.steady[outcomes(sweep.steady, facts) != MISSING])})
    how = (
        f"best of {tried}" + f", mean of {seeds} seeds" * (seeds > 1)
        if tried > 1
        else counted(seeds, "seed")
    )
    ranked = rounded(best["accuracy"])
    equal = int(
        ((ranked == ranked[0]) & (best["failures"] == best["failures"].iloc[0])).sum()
    )
    if tried > 1:
        how += by_test
    if equal > 1:
        how += (
            f"; {equal} tie" if ranking.is_loss else f"; least loss of {equal} that tie"
        )
    close = [k for k, near in enumerate(best["close"]) if near and k != first]
    digits = _digits_of(best)
    number = partial(ranking.number, digits=digits)
    if sweep.final and (contest := sweep.final.decision):
        first, accuracy = (
            int(contest.decision.leader),
            float(scores(sweep.final, contest, "validation").mean()),
        )
        how = f"of {tried}, the best {len(contest.settings)} compared on fresh seeds"
        close, is_open = (
            np.flatnonzero(contest.decision.rivals).tolist(),
            not contest.settled,
        )
        lines, wrong = (
            [*decided(sweep.final, contest)],
            warning(trials_of_leader(sweep.final, contest)),
        )
    else:
        is_open = trials["stop_reason"].isin((*LIVE_REASONS, *OPEN_REASONS)).any()
        how_failed = "failed" + " or stopped early" * _some_stopped(sweep.steady)
        learned = best["trial_id"].iloc[0] not in {*sweep.unlearned["trial_id"]}
        lines = ["; ".join(how_sure(best, names, number, how_failed, learned))]
        wrong = warning(trials[[one == key[0] for one in keys(trials)]])
        for k in best.index[~best["regime"].str.contains("|".join((*WARNED, "slow")))][
            : bool(wrong)
        ]:
            wrong += f"; the best that does not: {names[k]} with {number(best['accuracy'][k])}"
    scored = f"{SPLITS[split]} {ranking.word} {number(accuracy)}"
    scored += (
        memorised(best["train_accuracy"].iloc[first], accuracy) * ranking.is_accuracy
    )
    head = f"{names[first]}: {scored} ({how}{wrong})"
    # whose decision looks at the test set
    if not is_open and sweep.meta["name"] != "search":
        head += _tested(sweep, key[first], digits)
    return Answer(
        f"{'So far' if is_open else 'Train with'} {head}",
        (*lines, *_facts(sweep, best)),
        tuple(_ranges(sweep)),
        tuple(_questions(sweep, where, best, names)),
        names[first],
        key[first],
        tuple(key[k] for k in close),
        tuple(one for one, jumps in zip(key, best["jumps"], strict=True) if jumps > 0),
        digits,
    )


def _digits_of(best: pd.DataFrame) -> int:
    """Return `_digits` of settings as `Tables.best` returns them."""
    first = best["accuracy"].iloc[0]
    return _digits(first, first - best["accuracy"][~best["close"]])


def _digits(best: float, gaps: Any) -> int:
    """Return the significant digits of a loss with which others differ from the best
    one, given how far they do."""
    return max((digits_showing(float(gap), best) for gap in gaps), default=LEAST_DIGITS)


def _why_none_is_best(sweep: Tables) -> str:
    """Return why no setting competes to be the best."""
    changed = len(sweep.steady) < len(sweep.trials)
    completed = sweep.steady[sweep.steady["stop_reason"] == "completed"]
    if completed.empty:
        return "No setting has run all its epochs" + " unchanged" * changed
    if reason := _unranked(sweep):
        return reason
    which = "stayed unchanged and " * changed
    head = f"No setting that {which}ran all its epochs did better than guessing"
    return f"{head}; try another --optimizer, such as adam, or more --epochs"


def _unranked(sweep: Tables) -> str:
    """Return why settings can't be ranked, whatever they learned; empty if they can."""
    facts, split = data_facts(sweep.meta), held_out(sweep.trials)
    calm = sweep.steady[
        sweep.steady["stop_reason"].eq("completed")
        & sweep.steady["regime"].ne("diverged")
    ]
    if calm.empty:
        return ""
    if not np.isfinite(facts.ranking.scores(calm, split)).any():
        score = f"{SPLITS[split]} {facts.ranking.word}"
        return f"No setting can be ranked: {score} is not finite in any trial that ended without diverging"
    answers = independent_answers_of(calm, facts, split)
    if np.all(ceiling_of(facts.ranking, facts.chance, answers) >= 1):
        count, remedy = facts.test_images, "test on more, or give --holdout"
        if split == "validation":
            count, remedy = int(calm["holdout"].max()), "give a larger --holdout"
        examples = counted(count, f"{SPLITS[split]} example")
        return f"No setting can be ranked: by luck, guesses may all be right on {examples}; {remedy}"
    return ""


def _tested(sweep: Tables, best: Key, digits: int) -> str:
    """Return the test score of the best setting, if it was chosen on images that are
    held out; else an empty text."""
    ranking = data_facts(sweep.meta).ranking
    # own scores are known of the images held out alone
    if held_out(sweep.trials) == "test" or ranking.is_own:
        return ""
    rows = sweep.steady[[key == best for key in keys(sweep.steady)]]
    rows = rows[outcomes(rows, data_facts(sweep.meta)) == COMPETES]
    score = float(np.mean(ranking.scores(rows, "test")))
    return (
        ""
        if math.isnan(score)
        else f"; test {ranking.word} {ranking.number(score, digits)}"
    )


def _measured(sweep: Tables, where: str) -> Answer:
    """Return what was measured of one edge, or of several."""
    edges, found = sweep.edges(), measured_edges(sweep)
    known = [edge for edge in edges if edge.is_bracketed]
    is_open = any(not edge.is_precise for edge in known)
    asked = tuple(
        _more_trials("More trials make it more precise", sweep, where) * is_open
    )
    if len(edges) > 1:
        lines = tuple(f"{title}: {first}" for title, (first, *_) in found)
        others = tuple(
            f"{title}: {line}" for title, (_, *more) in found for line in more
        )
        return Answer(
            f"{len(known)} of {counted(len(edges), 'edge')} measured",
            lines,
            others,
            asked,
        )
    [(_, (text, *more))] = found
    text = text[0].upper() + text[1:]
    head = f"Half of the seeds learn up to {edges[0].rate(0.5)}"
    return Answer(head, (text, *more), (), asked) if known else Answer(text)


def warning(trials: pd.DataFrame) -> str:
    """Return what is wrong with a setting with these trials, if half of those that
    trained or more oscillate or overfit; else an empty text."""
    regimes = trials["regime"][trials["epochs_run"] > 0]
    for regime in WARNED:
        count, seeds = int((regimes == regime).sum()), len(regimes)
        if 0 < seeds <= 2 * count:
            return f", but it {VERBS[regime]}{f' with {count} of {seeds} seeds' * (count < seeds)}"
    return ""


def _better(best: pd.DataFrame) -> pd.Series:
    """Return whether each setting is better than the first one, though it failed with a
    seed more."""
    return (best["failures"] > best["failures"].iloc[0]) & (
        best["gap"] < -best["limit"]
    )


def how_sure(
    best: pd.DataFrame,
    names: Sequence[str],
    number: Callable[[float], str],
    how_failed: str = "failed",
    learned: bool = True,
) -> Iterator[str]:
    """Yield which settings are better but failed more, which can't be ranked among how
    many, how many failed, and at which of those that can't accuracy jumps. Where only
    the rate differs, the ranges of rates say that. Where nothing was `learned`, none is
    said to be told apart. Of one seed, also that its noise is not in this."""
    first, better, some = (
        best.iloc[0],
        _better(best),
        partial(_some, best, names, number),
    )
    if better.any():
        yield f"Better, but {how_failed} with a seed more: {some(better)}"
    close, open_ = (
        best["close"] & ~better,
        best.index.isin(to_decide(best).index) & ~better,
    )
    least, most = best["seeds"].min(), best["seeds"].max()
    leaves_some_out = False
    if (~better).sum() > 1 and (learned or close.sum() > 1):
        by = (
            "One seed"
            if most == 1
            else f"{most if least == most else f'{least} to {most}'} seeds"
        )
        if np.isinf(best["limit"]).all():
            yield f"{by} can't tell a gap from chance: its noise is not known"
        elif close.sum() < 2:
            others = int((~better).sum()) - 1
            yield f"{by} {_told_apart(others, int(open_.sum()) - 1)}"
            leaves_some_out = True
        else:
            leaves_some_out = not close.all()
            among = f" among the {len(best)} compared" if leaves_some_out else ""
            yield f"{by} can't rank {some(close)}{among}"
    if first["failures"]:
        yield failed(first["failures"], first["failures"] + first["seeds"], how_failed)
    if (more := close & (best["failures"] > first["failures"])).any():
        yield f"{some(more)} {how_failed} with one seed more"
    if varied(best) and (jumps := open_ & (best["jumps"] > 0)).any():
        yield f"accuracy jumps at {some(jumps)}"
    # which knows the noise of the images, not that of seeds
    if leaves_some_out and most == 1:
        yield "another seed may say otherwise"


def _told_apart(others: int, jumping: int) -> str:
    """Return that the best was told apart from so many others. Their number belongs to
    the claim: the more are compared, the larger a gap chance makes (`chance_gap`)."""
    text = (
        "told it apart from the other one"
        if others == 1
        else f"told it apart from all {others} others"
    )
    if jumping > 0:
        text += f" but {jumping} whose accuracy jumps"
    return text


def _some(
    best: pd.DataFrame,
    names: Sequence[str],
    number: Callable[[float], str],
    which: pd.Series,
) -> str:
    """Return the names of some settings, by their rates. If these are too long, return
    how many of the best they are, and the accuracy of the last of them, by which the
    table tells them."""
    said = [
        names[i] for i in best[which].sort_values("learning_rate", kind="stable").index
    ]
    text = listed(said)
    if len(said) <= MOST_NAMED and len(text) <= ROOM:
        return text
    last = int(which[which].index[-1])
    few = f"{len(said)} of " * (len(said) <= last)
    return f"{few}the best {last + 1} (the last has {number(best['accuracy'][last])})"


def _facts(sweep: Tables, best: pd.DataFrame) -> Iterator[str]:
    """Yield where the regimes of a family are found; of several families, the best
    setting of each."""
    found = list(families(sweep.steady))
    if len(found) == 1:
        yield " · ".join(spans(found[0][1]))
    elif len(best) and not sweep.meta.get("search"):
        first = best.drop_duplicates(varied(sweep.trials))
        number = partial(data_facts(sweep.meta).ranking.number, digits=_digits_of(best))
        tried = {
            one: family["learning_rate"]
            for _, family in found
            for one in family["trial_id"]
        }
        ends = map(_end, first["learning_rate"], first["trial_id"].map(tried.get))
        each = zip(named(first, sweep.trials), ends, first["accuracy"], strict=True)
        said = " · ".join(
            f"{one.replace(', learning rate ', ': ')}{end} ({number(score)})"
            for one, end, score in each
        )
        without = [
            title
            for title, family in found
            if family["trial_id"].isin(first["trial_id"]).sum() == 0
        ]
        short = len(without) <= MOST_NAMED and len("; ".join(without)) <= ROOM
        which = "; ".join(without) if short else counted(len(without), "setting")
        none = f" · failed, or not ended: {which}" * bool(without)
        if len(said) <= 6 * ROOM:
            yield f"Best rate of each: {said}{none}"


def _end(best: float, tried: pd.Series) -> str:
    """Return that the best rate is the largest or the smallest tried, if so: beyond it,
    others may be better."""
    least, most = tried.min(), tried.max()
    return (
        f", the {'largest' if best == most else 'smallest'}"
        if best in (least, most) and least < most
        else ""
    )


def _ranges(sweep: Tables) -> Iterator[str]:
    """Yield where each regime is found in each of several families; of a search these
    are too small."""
    found = [] if sweep.meta.get("search") else list(families(sweep.steady))
    for title, family in found if len(found) > 1 else ():
        yield f"{title}: {' · '.join(spans(family)) or 'no learning rate finished an epoch'}"


def _questions(
    sweep: Tables, where: str, best: pd.DataFrame, names: Sequence[str] = ()
) -> Iterator[Question]:
    """Yield what to ask next: which of the best it is, and what the range of the best
    one's family leaves open. While the best are slow, other rates are better than any
    of them."""
    rates, longer = [*_of_rates(sweep, where, best)], [*_longer(sweep, where, best)]
    # more epochs may change what is decided
    first, last = ([*rates, *longer], []) if longer else ([], rates)
    yield from first
    close = to_decide(best) if len(best) and not sweep.final else best[:0]
    if 1 < len(close) <= MOST_SETTINGS and not (
        rates and close["regime"].eq("slow").all()
    ):
        near = [
            names[i] for i in close.sort_values("learning_rate", kind="stable").index
        ]
        short = len(near) <= MOST_NAMED and len(", ".join(near)) <= ROOM
        jumping = int((~close["close"]).sum())
        asked = f"Which of these {len(near) - jumping}{f', or {jumping} more, by a jump' * bool(jumping)}?"
        asked = f"Is it {', '.join(near[:-1])} or {near[-1]}?" if short else asked
        flags, by_hand = named_again(sweep.meta, close)
        line = f"{command('decide')} --sweep {shlex.quote(where)}{flags}"
        more = {"trials": 4 * len(close)} if 2 * len(close) > TRIALS else {}
        line += "".join(f" {words(name, count)}" for name, count in more.items())
        if by_hand == FROM_PYTHON:
            line = f"decide({python_call('DecideOptions', sweep.meta, f'sweep={where!r}', **more)})"
        yield Question(asked + f" ({by_hand})" * (by_hand == NAMED_AGAIN), line)
    if sweep.final and (contest := sweep.final.decision) and not contest.settled:
        place = sweep.final.path
        written = os.path.join(where, place.name) if isinstance(place, Path) else place
        yield from _more_trials("More seeds may settle it", sweep.final, written)
    yield from last


def _longer(sweep: Tables, where: str, best: pd.DataFrame) -> Iterator[Question]:
    """Yield the command that trains a sweep for twice as many epochs if its best
    setting is slow or undecided or, without a best, if some still learn."""
    trials = sweep.trials
    rows = trials[
        trials["epochs_run"].ge(trials["epochs_asked"])
        & trials["schedule"].eq("constant")
    ]
    on_its_way = rows["regime_evidence"].fillna("").str.startswith(ON_ITS_WAY)
    is_best = rows["trial_id"].isin(best["trial_id"][:1])
    rows = rows[
        is_best & rows["regime"].isin(["slow", "undecided"])
        if len(best)
        else on_its_way
    ]
    if len(rows) and can_grow(sweep.meta):
        learns = bool((on_its_way[rows.index] | rows["regime"].eq("slow")).all())
        said = "The best still learns" if learns else "The best may not have settled"
        said = said if len(best) else "Some still learn"
        asked = f"{said}; train longer{', but for what was stopped early' * _some_stopped(trials)}"
        yield _resumed(asked, sweep, where, epochs=2 * int(rows["epochs_asked"].max()))


def _some_stopped(trials: pd.DataFrame) -> bool:
    """Return whether a scheduler or a rule stopped some of these trials early."""
    return (
        not trials["stop_reason"]
        .isin(("completed", "diverged", *UNDECIDED_REASONS))
        .all()
    )


def _of_rates(sweep: Tables, where: str, best: pd.DataFrame) -> Iterator[Question]:
    """Yield where the edge is and which rates to try next, in the best one's family or,
    without a best, in each."""
    found = [
        (title, family)
        for title, family in families(sweep.steady)
        if family["epochs_run"].any()
    ]
    of_best = [
        one for one in found if set(best["trial_id"][:1]) & {*one[1]["trial_id"]}
    ]
    first = (
        float(best["learning_rate"].iloc[0])
        if of_best and not _better(best).any()
        else math.nan
    )
    asked_of: dict[tuple[str, str], list[str]] = {}
    for title, family in of_best or found:
        for one in (
            where_the_edge_is(family, sweep.meta),
            advice(family, sweep.meta, where, first),
        ):
            asked_of.setdefault(one, []).append(title)
    for (text, line), titles in asked_of.items():
        which = f" ({', '.join(titles)})" * (len(titles) < len(of_best or found))
        yield from [
            Question(text[:1].upper() + text[1:-1] + which + text[-1:], line)
        ] * bool(line)


def _decided(sweep: Tables, contest: Contest, where: str) -> Answer:
    if not (said := [*decided(sweep, contest)]):
        return Answer(
            "No setting has been compared yet: no seed has ended for all of them"
        )
    if reason := _unranked(sweep):
        return Answer(reason)
    known, best, names = (
        keys(contest.table),
        int(contest.decision.leader),
        named(contest.table, contest.table),
    )
    rivals = tuple(known[k] for k in np.flatnonzero(contest.decision.rivals))
    head = f"{'Train with' if contest.settled else 'So far'} {said[0]}{warning(trials_of_leader(sweep, contest))}"
    asked = (
        []
        if contest.settled
        else _more_trials("More seeds may settle it", sweep, where)
    )
    worse = contest.decision.worse()[0][~contest.decision.rivals, 1]
    digits = _digits(float(scores(sweep, contest, "validation").mean()), worse)
    return Answer(
        head,
        tuple(said[1:]),
        (),
        tuple(asked),
        names[best],
        known[best],
        rivals,
        digits=digits,
    )


def _more_trials(text: str, sweep: Tables, where: str) -> list[Question]:
    """Return the question that doubles the trials of a decision or an edge that has
    spent them, and its command."""
    asked = sweep.meta["options"].get("trials")
    return [
        _resumed(
            text,
            sweep,
            where,
            trials=2 * max(len(sweep.trials), asked if type(asked) is int else 0),
        )
    ]


def _resumed(text: str, sweep: Tables, where: str, **given: Any) -> Question:
    """Return a question, and the command that resumes the sweep with what is
    `given`."""
    by_hand = f" ({NAMED_AGAIN})" * (named_again(sweep.meta)[1] == NAMED_AGAIN)
    return Question(f"{text}{by_hand}:", resume_command(sweep.meta, where, **given))
