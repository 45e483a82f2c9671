"""The answer of a sweep, as data: what to train with, how sure that is, and what to do
next. `mnist_tune.reports` words it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import starmap

import numpy as np
import pandas as pd

from mnist_tune.answers.best import (
    BestSetting,
    Standing,
    Warned,
    best_setting,
    better,
    digits_for,
    digits_of,
    some_stopped,
    standing_of,
    warning,
)
from mnist_tune.answers.decision import Decided, decided, trials_of_leader
from mnist_tune.answers.fresh_seeds import seeds_to_train
from mnist_tune.answers.progress import Progress, progress
from mnist_tune.answers.rates import can_go_on, can_grow, edge_to_find, rates_to_try
from mnist_tune.answers.settings import keys
from mnist_tune.answers.spans import Spans, is_on_its_way, spans
from mnist_tune.answers.steps import NextStep, StepKind, Why
from mnist_tune.judged import Judged
from mnist_tune.numbers import LEAST_DIGITS
from mnist_tune.regimes.contest import MOST_SETTINGS, TRIALS, Contest
from mnist_tune.regimes.decision import to_decide
from mnist_tune.regimes.families import families, held_out, varied, whole_epochs
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.regimes.outcomes import (
    MISSING,
    ceiling_of,
    independent_answers_of,
    outcomes,
)
from mnist_tune.regimes.widths import Exponent, exponents
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.trial import COMPLETED_REASONS, retriable

MOST_STEPS = 3

Family = tuple[str, pd.DataFrame]
"""The title of a family, and its trials."""


class Finding(Enum):
    """How far an answer is."""

    NOTHING_TRAINED = "nothing_trained"
    NOTHING_COMPLETED = "nothing_completed"
    """No setting has run all its epochs."""
    NOT_FINITE = "not_finite"
    """What settings are ranked by is finite in no trial that did not diverge."""
    TOO_FEW_EXAMPLES = "too_few_examples"
    """By luck, guesses may all be right on the examples that are held out."""
    NO_BETTER_THAN_GUESSING = "no_better_than_guessing"
    NOTHING_COMPARED = "nothing_compared"
    """No seed has ended for all settings of a decision."""
    BEST_OF_EACH_TASK = "best_of_each_task"
    """The losses of several tasks don't compare."""
    SO_FAR = "so_far"
    """There is a best setting, but trials go on, or a decision has not settled."""
    FOUND = "found"


@dataclass(frozen=True, kw_only=True)
class BaseAnswer:
    """What the answers of all kinds of sweeps have."""

    finding: Finding
    progress: Progress
    next_steps: tuple[NextStep, ...] = ()
    """At most three. What has not ended or has failed comes first."""


@dataclass(frozen=True, kw_only=True)
class BestRate:
    """The best learning rate of a family."""

    rank: int
    """Its row in the answer's `settings`."""
    is_largest: bool
    """Whether no larger one was tried: beyond it, others may be better."""
    is_smallest: bool


@dataclass(frozen=True, kw_only=True)
class SweepAnswer(BaseAnswer):
    """What a sweep says."""

    settings: pd.DataFrame
    """Those that compete to be the best, as `Sweep.best` returns them. The others
    name them by their rows."""
    tried: int = 0
    """How many settings have ended."""
    split: str = "test"
    """Which images chose the best: `validation` or `test`."""
    best: BestSetting | None = None
    standing: Standing | None = None
    spans: tuple[Spans, ...] = ()
    """Where the regimes of each family are found."""
    best_rates: tuple[BestRate, ...] = ()
    """The best rate of each family, if there are several."""
    without_best: tuple[str, ...] = ()
    """The families that have none."""
    changed: bool = False
    """Whether a scheduler changed settings: these trials say nothing."""
    digits: int = LEAST_DIGITS
    """The significant digits with which losses are told apart."""


@dataclass(frozen=True, kw_only=True)
class SearchAnswer(SweepAnswer):
    """What a search says; with the decision that it ended with, this chose the best."""

    final: Decided | None = None
    compared: int = 0
    """How many settings that decision compared."""


@dataclass(frozen=True, kw_only=True)
class DecisionAnswer(BaseAnswer):
    """What a decision says."""

    settings: pd.DataFrame
    """Those that it compares, as rows of `trials`."""
    decided: Decided | None = None
    warned: Warned | None = None
    digits: int = LEAST_DIGITS


@dataclass(frozen=True, kw_only=True)
class EdgeAnswer(BaseAnswer):
    """What was measured of edges."""

    edges: tuple[MeasuredEdge, ...]
    laws: tuple[Exponent, ...]
    """How edges of several widths follow from these."""


AnyAnswer = SweepAnswer | SearchAnswer | DecisionAnswer | EdgeAnswer


def find_answer(sweep: Judged) -> AnyAnswer:
    """Return the answer of a sweep, finished or running."""
    answer = _answer(sweep)
    waits = sweep.record.ended is None or answer.progress.is_open
    # what has not ended comes first, and may be the best
    open_steps = () if waits else answer.next_steps
    steps = _without_repeats([*_left_over(sweep, answer.progress), *open_steps])
    return replace(answer, next_steps=tuple(steps[:MOST_STEPS]))


def _without_repeats(steps: Sequence[NextStep]) -> list[NextStep]:
    distinct: list[NextStep] = []
    for step in steps:
        if step not in distinct:
            distinct.append(step)
    return distinct


def _answer(sweep: Judged) -> AnyAnswer:
    contest = sweep.decision
    if contest is not None:
        return _of_decision(sweep, contest)
    if not (sweep.trials["epochs_run"] > 0).any():
        return _of_nothing(sweep)
    if sweep.edges():
        return _of_edges(sweep)
    return _of_sweep(sweep)


def _of_nothing(sweep: Judged) -> AnyAnswer:
    """Return the answer of a sweep of which no trial has finished an epoch."""
    finding = Finding.NOTHING_TRAINED
    now = progress(sweep.trials)
    settings = sweep.best()
    kind = sweep.record.kind
    if kind is SweepKind.EDGE:
        return EdgeAnswer(finding=finding, progress=now, edges=(), laws=())
    if kind is SweepKind.DECISION:
        return DecisionAnswer(finding=finding, progress=now, settings=settings)
    if kind is SweepKind.SEARCH:
        return SearchAnswer(finding=finding, progress=now, settings=settings)
    return SweepAnswer(finding=finding, progress=now, settings=settings)


def _left_over(sweep: Judged, now: Progress) -> Iterator[NextStep]:
    """Yield how to go on with what has not ended or has failed."""
    if now.unknown and isinstance(sweep.path, str):
        yield NextStep(StepKind.RESUME, Why.NO_SIGN_OF_LIFE)
    if now.live:
        return
    if now.open or sweep.record.ended is None:
        yield NextStep(StepKind.RESUME, Why.NOT_ENDED, trials=now.open)
    trials = sweep.trials
    error_kinds = trials["error_kind"][trials["stop_reason"] == "error"]
    failed = int(retriable(error_kinds))
    if failed:
        options = {"retry_errored": True}
        yield NextStep(StepKind.RETRY, Why.FAILED, options, trials=failed)


# --- a sweep, or a search


def _of_sweep(sweep: Judged) -> SweepAnswer:
    now = progress(sweep.trials)
    settings = sweep.best()
    finding = _finding(sweep, settings, now)
    ranked = settings
    if finding == Finding.BEST_OF_EACH_TASK:
        ranked = settings[:0]
    all_families = list(families(sweep.steady))
    is_search = sweep.record.proposes_trials
    kind = SearchAnswer if is_search else SweepAnswer
    answer = kind(
        finding=finding,
        progress=now,
        settings=settings,
        tried=_tried(sweep),
        split=held_out(sweep.trials),
        changed=len(sweep.steady) < len(sweep.trials),
        next_steps=tuple(_next_steps(sweep, ranked, all_families)),
    )
    # the families of a search are too small
    shows_each = len(all_families) == 1 or not is_search
    if shows_each:
        answer = replace(answer, spans=tuple(starmap(spans, all_families)))
    if ranked.empty:
        return answer
    first = settings["trial_id"].iloc[0]
    standing = standing_of(
        settings,
        counts_stopped=some_stopped(sweep.steady),
        learned=first not in {*sweep.unlearned["trial_id"]},
    )
    answer = replace(
        answer,
        best=best_setting(sweep, settings, now.is_open),
        standing=standing,
        digits=digits_of(settings),
    )
    if len(all_families) > 1 and shows_each:
        rates = tuple(_best_rates(sweep, settings, all_families))
        without = tuple(_without_best(settings, all_families))
        answer = replace(answer, best_rates=rates, without_best=without)
    if isinstance(answer, SearchAnswer) and sweep.final and sweep.final.decision:
        return _with_final(answer, sweep.final, sweep.final.decision)
    return answer


def _tried(sweep: Judged) -> int:
    ended = sweep.steady[outcomes(sweep.steady, sweep.record.data) != MISSING]
    return len({*keys(ended)})


def _finding(sweep: Judged, settings: pd.DataFrame, now: Progress) -> Finding:
    if settings.empty:
        return _why_none_is_best(sweep)
    tasks = sweep.trials["architecture"].nunique()
    if tasks > 1 and not sweep.record.data.compares_tasks:
        return Finding.BEST_OF_EACH_TASK
    return Finding.SO_FAR if now.is_open else Finding.FOUND


def _why_none_is_best(sweep: Judged) -> Finding:
    completed = sweep.steady["stop_reason"].isin(COMPLETED_REASONS)
    if not completed.any():
        return Finding.NOTHING_COMPLETED
    return _unranked(sweep) or Finding.NO_BETTER_THAN_GUESSING


def _unranked(sweep: Judged) -> Finding | None:
    """Return why settings can't be ranked, whatever they learned; None if they can."""
    facts, split = sweep.record.data, held_out(sweep.trials)
    completed = sweep.steady["stop_reason"].isin(COMPLETED_REASONS)
    calm = sweep.steady[completed & sweep.steady["regime"].ne("diverged")]
    if calm.empty:
        return None
    if not np.isfinite(facts.ranking.scores(calm, split)).any():
        return Finding.NOT_FINITE
    answers = independent_answers_of(calm, facts, split)
    if np.all(ceiling_of(facts.ranking, facts.chance, answers) >= 1):
        return Finding.TOO_FEW_EXAMPLES
    return None


def _best_rates(
    sweep: Judged, settings: pd.DataFrame, all_families: Sequence[Family]
) -> Iterator[BestRate]:
    """Yield the best rate of each of several families."""
    rates_of_trial = dict[str, pd.Series]()
    for _, family in all_families:
        rates_of_trial |= dict.fromkeys(family["trial_id"], family["learning_rate"])
    best_of_each = settings.drop_duplicates(varied(sweep.trials))
    for rank, row in best_of_each.iterrows():
        rates = rates_of_trial[row["trial_id"]]
        least, most = rates.min(), rates.max()
        differ = least < most
        is_largest = differ and row["learning_rate"] == most
        is_smallest = differ and row["learning_rate"] == least
        yield BestRate(
            rank=int(rank), is_largest=bool(is_largest), is_smallest=bool(is_smallest)
        )


def _without_best(
    settings: pd.DataFrame, all_families: Sequence[Family]
) -> Iterator[str]:
    """Yield the families none of whose settings competes."""
    best = set(settings["trial_id"])
    for title, family in all_families:
        if best.isdisjoint(family["trial_id"]):
            yield title


def _with_final(answer: SearchAnswer, final: Judged, contest: Contest) -> SearchAnswer:
    """Return the answer of a search with the decision that it ended with."""
    result = decided(final, contest)
    if result is None or answer.best is None:
        return answer
    row = answer.settings.iloc[result.leader]
    best = replace(
        answer.best,
        rank=result.leader,
        score=result.score,
        train_accuracy=float(row["train_accuracy"]),
        warned=warning(trials_of_leader(final, contest)),
        calmer=None,
    )
    finding = Finding.FOUND if result.settled else Finding.SO_FAR
    compared = len(contest.settings)
    return replace(answer, finding=finding, best=best, final=result, compared=compared)


# --- what to do next with it


def _next_steps(
    sweep: Judged, settings: pd.DataFrame, all_families: Sequence[Family]
) -> Iterator[NextStep]:
    """Yield what to ask next: which of the best it is, and what the range of the best
    one's family leaves open. While the best are slow, other rates are better than any
    of them."""
    rates = list(_of_rates(sweep, settings, all_families))
    longer = _longer(sweep, settings)
    # more epochs may change what is decided
    if longer is not None:
        yield from rates
        yield longer
    final = sweep.final
    if final is None:
        close = to_decide(settings)
        better_elsewhere = rates and close["regime"].eq("slow").all()
        if 1 < len(close) <= MOST_SETTINGS and not better_elsewhere:
            step = _to_decide(close)
            if sweep.record.options.get("has_seeds"):
                seeds = seeds_to_train(sweep, sweep.trials["seed"])
                step = replace(step, arguments=seeds)
            yield step
    elif final.decision and not final.decision.settled:
        yield replace(_more_trials(final, Why.NOT_SETTLED), of_final=True)
    if longer is None:
        yield from rates


def _to_decide(close: pd.DataFrame) -> NextStep:
    arguments = {}
    if 2 * len(close) > TRIALS:
        arguments["trials"] = 4 * len(close)
    by_rate = close.sort_values("learning_rate", kind="stable")
    settings = tuple(keys(by_rate))
    jumping = int((~close["close"]).sum())
    return NextStep(
        StepKind.DECIDE,
        Why.NOT_TOLD_APART,
        arguments,
        settings=settings,
        jumping=jumping,
    )


def _longer(sweep: Judged, settings: pd.DataFrame) -> NextStep | None:
    """Return the step that trains a sweep for twice as many epochs if its best setting
    is slow or undecided or, without a best, if some still learn."""
    if not can_grow(sweep.record):
        return None
    trials = sweep.trials
    has_ended = trials["epochs_run"].ge(trials["epochs_asked"])
    rows = trials[has_ended & can_go_on(trials, sweep.record)]
    learns = is_on_its_way(rows)
    if settings.empty:
        open_rows, why = rows[learns], Why.SOME_LEARN
    else:
        is_best = rows["trial_id"].eq(settings["trial_id"].iloc[0])
        is_slow = rows["regime"].eq("slow")
        is_open = is_best & (is_slow | rows["regime"].eq("undecided"))
        open_rows, why = rows[is_open], Why.BEST_NOT_SETTLED
        if (learns | is_slow)[is_open].all():
            why = Why.BEST_LEARNS
    if open_rows.empty:
        return None
    epochs = 2 * int(whole_epochs(open_rows).max())
    stopped = some_stopped(trials)
    return NextStep(StepKind.TRAIN_LONGER, why, {"epochs": epochs}, but_stopped=stopped)


def _of_rates(
    sweep: Judged, settings: pd.DataFrame, all_families: Sequence[Family]
) -> Iterator[NextStep]:
    """Yield where the edge is and which rates to try next, in the best one's family or,
    without a best, in each."""
    first = set(settings["trial_id"][:1])
    trained: list[Family] = []
    of_best: list[Family] = []
    for title, family in all_families:
        if family["epochs_run"].any():
            trained.append((title, family))
            if not first.isdisjoint(family["trial_id"]):
                of_best.append((title, family))
    best = float("nan")
    if of_best and not better(settings).any():
        best = float(settings["learning_rate"].iloc[0])
    steps: list[NextStep] = []
    titles: list[list[str]] = []
    for title, family in of_best or trained:
        edge = edge_to_find(family, sweep.record)
        rates = rates_to_try(family, sweep.record, best)
        for step in filter(None, (edge, rates)):
            if step not in steps:
                steps.append(step)
                titles.append([])
            titles[steps.index(step)].append(title)
    for step, of_step in zip(steps, titles, strict=True):
        is_of_all = len(of_step) == len(of_best or trained)
        if not is_of_all:
            step = replace(step, families=tuple(of_step))
        yield step


# --- a decision, or an edge


def _of_decision(sweep: Judged, contest: Contest) -> DecisionAnswer:
    now = progress(sweep.trials)
    answer = DecisionAnswer(
        finding=Finding.NOTHING_COMPARED, progress=now, settings=contest.table
    )
    steps = list[NextStep]()
    if not contest.settled:
        steps.append(_to_settle(sweep, contest))
    # here, seeds are trained until all settings have one
    if sweep.record.is_elsewhere:
        answer = replace(answer, next_steps=tuple(steps))
    result = decided(sweep, contest)
    if result is None:
        return answer
    reason = _unranked(sweep)
    if reason is not None:
        return replace(answer, finding=reason)
    finding = Finding.FOUND
    if not contest.settled:
        finding = Finding.SO_FAR
    by_how_much, *_ = contest.decision.worse()
    gaps = by_how_much[~contest.decision.rivals, 1]
    return replace(
        answer,
        finding=finding,
        decided=result,
        warned=warning(trials_of_leader(sweep, contest)),
        digits=digits_for(result.score, gaps),
        next_steps=tuple(steps),
    )


def _to_settle(sweep: Judged, contest: Contest) -> NextStep:
    """Return the step that trains what may still be the best with more seeds."""
    step = _more_trials(sweep, Why.NOT_SETTLED)
    if sweep.record.is_elsewhere:
        active = tuple(keys(contest.table[contest.decision.active]))
        runs = sweep.trials["seed"].value_counts()
        used = runs.index[runs >= len(active)]
        seeds = seeds_to_train(sweep, used)
        step = replace(step, kind=StepKind.DECIDE, settings=active, arguments=seeds)
    return step


def _of_edges(sweep: Judged) -> EdgeAnswer:
    edges = tuple(sweep.edges())
    bracketed = [edge for edge in edges if edge.is_bracketed]
    is_open = any(not edge.is_precise for edge in bracketed)
    steps = list[NextStep]()
    if is_open:
        steps.append(_more_trials(sweep, Why.NOT_PRECISE))
    halves = [(edge.title, edge.rate(0.5)) for edge in edges]
    is_found = bracketed and not is_open
    return EdgeAnswer(
        finding=Finding.FOUND if is_found else Finding.SO_FAR,
        progress=progress(sweep.trials),
        edges=edges,
        laws=tuple(exponents(halves)),
        next_steps=tuple(steps),
    )


def _more_trials(sweep: Judged, why: Why) -> NextStep:
    """Return the step that doubles the trials of a decision or an edge."""
    trials = 2 * max(len(sweep.trials), sweep.record.most_trials)
    return NextStep(StepKind.ADD_TRIALS, why, {"trials": trials})
