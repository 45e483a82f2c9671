"""The answer of a sweep in words: what to train with, how sure that is, and what to ask
next. Terminal, page and notebook take their sentences from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from mnist_tune.answers.answer import (
    AnyAnswer,
    DecisionAnswer,
    EdgeAnswer,
    Finding,
    SearchAnswer,
    SweepAnswer,
    find_answer,
)
from mnist_tune.answers.best import BestSetting, Standing, Warned
from mnist_tune.answers.settings import Key, keys
from mnist_tune.judged import Judged
from mnist_tune.numbers import LEAST_DIGITS, counted, listed
from mnist_tune.regimes.families import held_out, named
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.reports.decided import decided_in_words, failed, memorised
from mnist_tune.reports.findings import SPLITS, edges_in_words, so_far
from mnist_tune.reports.questions import ROOM, Question, is_short, questions
from mnist_tune.reports.ranges import VERBS, all_spans, spans_in_words
from mnist_tune.trial import COMPLETED_REASONS


@dataclass(frozen=True, repr=False)
class Answer:
    """What a sweep says."""

    headline: str
    """The answer in one line, such as `Train with 0.7: held-out accuracy 0.9814 (best
    of 16); test accuracy 0.9803`."""
    data: AnyAnswer
    """The same as data: no word has to be parsed."""
    lines: tuple[str, ...] = ()
    """How sure it is, and where each regime is found."""
    details: tuple[str, ...] = ()
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
        next_steps = map(str, self.questions)
        return "\n".join([self.headline, *self.lines, *next_steps])


def answer(sweep: Judged, where: str = "") -> Answer:
    """Return the answer of a sweep in words.

    Args:
        sweep: finished or running.
        where: how its path is written in commands, by default in full.
    """
    data = find_answer(sweep)
    next_steps = questions(data.next_steps, sweep, where or str(sweep.path))
    if data.finding == Finding.NOTHING_TRAINED:
        return _worded(data, "No trial has finished an epoch", (), (), next_steps)
    if isinstance(data, EdgeAnswer):
        headline, lines, details = _of_edges(data)
        return _worded(data, headline, lines, details, next_steps)
    if isinstance(data, DecisionAnswer):
        return _of_decision(data, sweep, next_steps)
    return _of_sweep(data, sweep, next_steps)


def _worded(
    data: AnyAnswer,
    headline: str,
    lines: Iterable[str],
    details: Iterable[str],
    next_steps: tuple[Question, ...],
) -> Answer:
    return Answer(headline, data, _lines(data, lines), tuple(details), next_steps)


def _lines(data: AnyAnswer, lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of an answer, after how far a running sweep is."""
    return tuple(line for line in (so_far(data.progress), *lines) if line)


# --- a sweep, or a search


@dataclass(frozen=True)
class Wording:
    """What the sentences of a sweep need beside its answer."""

    data: SweepAnswer
    sweep: Judged
    names: Sequence[str]
    """The names of `data.settings`."""
    ranking: Ranking

    @classmethod
    def of(cls, data: SweepAnswer, sweep: Judged) -> Wording:
        names = []
        if len(data.settings):
            names = named(data.settings, sweep.trials)
        return cls(data, sweep, names, sweep.record.data.ranking)

    def number(self, score: float) -> str:
        return self.ranking.number(score, digits=self.data.digits)

    def score(self, rank: int) -> float:
        return float(self.data.settings["accuracy"].iloc[rank])

    @property
    def names_of_best_rates(self) -> list[str]:
        """The names of the settings, with a colon before the rate."""
        return named(self.data.settings, self.sweep.trials, before_rate=": ")

    @property
    def scored(self) -> str:
        """What settings are compared by."""
        return f"{SPLITS[self.data.split]} {self.ranking.word}"


def _of_sweep(
    data: SweepAnswer, sweep: Judged, next_steps: tuple[Question, ...]
) -> Answer:
    wording = Wording.of(data, sweep)
    if data.finding == Finding.BEST_OF_EACH_TASK:
        return _of_tasks(wording, next_steps)
    if data.best is None or data.standing is None:
        headline = why_none_is_best(data, sweep)
        return _worded(data, headline, _spans(data), _families(data), next_steps)
    key, best = keys(data.settings), data.best.rank
    close: Sequence[int] = _close(data.settings)
    contest = None
    if sweep.final:
        contest = sweep.final.decision
    if isinstance(data, SearchAnswer) and data.final and contest is not None:
        close = data.final.rivals
        sure = list(decided_in_words(data.final, contest))
    else:
        sure = ["; ".join(how_sure(data.standing, wording))]
    lines = [how_often_it_stays(data), *sure, *_spans(data), *_best_rates(wording)]
    rivals = [key[rank] for rank in close if rank != best]
    jumps = data.settings["jumps"]
    jumping = [key[rank] for rank, count in enumerate(jumps) if count > 0]
    return Answer(
        headline=_headline(wording, data.best),
        data=data,
        lines=_lines(data, lines),
        details=tuple(_families(data)),
        questions=next_steps,
        setting=wording.names[best],
        best=key[best],
        rivals=tuple(rivals),
        jumping=tuple(jumping),
        digits=data.digits,
    )


STAYED = {0.75: 0.83, 0.5: 0.73}
"""In how many replayed sweeps the answer after this share of the epochs named the final
setting, or one that was not told apart from it: docs/speed.md, middle out, recorded
sweeps and those of others together."""


def how_often_it_stays(data: SweepAnswer) -> str:
    """Return how often an answer so far is the final one; empty if this one is, or if
    nobody knows."""
    if data.finding == Finding.SO_FAR and type(data) is SweepAnswer:
        for share, stayed in STAYED.items():
            if data.progress.trained >= share:
                return f"after {share:.0%} of the epochs, {stayed:.0%} of such answers were final or not told apart from the final one"
    return ""


def _close(settings: pd.DataFrame) -> list[int]:
    return [rank for rank, is_close in enumerate(settings["close"]) if is_close]


def _headline(wording: Wording, best: BestSetting) -> str:
    """Return what to train with, how good that is, and what it was chosen from."""
    data, ranking = wording.data, wording.ranking
    name = wording.names[best.rank]
    scored = f"{wording.scored} {wording.number(best.score)}"
    if ranking.is_accuracy:
        scored += memorised(best.train_accuracy, best.score)
    how = _how_chosen(wording, best)
    if best.warned is not None:
        how += warning(best.warned)
    if best.calmer is not None:
        score = wording.number(wording.score(best.calmer))
        how += f"; the best that does not: {wording.names[best.calmer]} with {score}"
    tested = ""
    if not math.isnan(best.test_score):
        number = wording.number(best.test_score)
        tested = f"; test {ranking.word} {number}"
    begin = "So far" if data.finding == Finding.SO_FAR else "Train with"
    return f"{begin} {name}: {scored} ({how}){tested}"


def _how_chosen(wording: Wording, best: BestSetting) -> str:
    """Return among how many settings the best was chosen, and by what."""
    data = wording.data
    if isinstance(data, SearchAnswer) and data.final:
        compared = f"the best {data.compared} compared on fresh seeds"
        return f"of {data.tried}, {compared}"
    if data.tried > 1:
        how = f"best of {data.tried}"
        if best.seeds > 1:
            how += f", mean of {best.seeds} seeds"
        how += _by_test(data)
    else:
        how = counted(best.seeds, "seed")
    if best.ties < 2:
        return how
    if wording.ranking.is_loss:
        return f"{how}; {best.ties} tie"
    return f"{how}; least loss of {best.ties} that tie"


def _by_test(data: SweepAnswer) -> str:
    if data.split == "test":
        return ", chosen on the test set"
    return ""


def warning(warned: Warned) -> str:
    """Return what is wrong with a setting."""
    text = f", but it {VERBS[warned.regime]}"
    if warned.with_it < warned.seeds:
        text += f" with {warned.with_it} of {warned.seeds} seeds"
    return text


def why_none_is_best(data: SweepAnswer | DecisionAnswer, sweep: Judged) -> str:
    """Return why no setting competes to be the best."""
    changed = isinstance(data, SweepAnswer) and data.changed
    if data.finding == Finding.NOTHING_COMPLETED:
        unchanged = " unchanged" if changed else ""
        return f"No setting has run all its epochs{unchanged}"
    facts = sweep.record.data
    split = held_out(sweep.trials)
    elsewhere = sweep.record.is_elsewhere
    if data.finding == Finding.NOT_FINITE:
        score = f"{SPLITS[split]} {facts.ranking.word}"
        where = "in any trial that ended without diverging"
        return f"No setting can be ranked: {score} is not finite {where}"
    if data.finding == Finding.TOO_FEW_EXAMPLES:
        count = facts.test_images
        remedy = "test on more, or give --holdout"
        if elsewhere:
            remedy = "test on more"
        elif split == "validation":
            trials = sweep.steady
            completed = trials[trials["stop_reason"].isin(COMPLETED_REASONS)]
            count = int(completed["holdout"].max())
            remedy = "give a larger --holdout"
        examples = counted(count, f"{SPLITS[split]} example")
        luck = f"by luck, guesses may all be right on {examples}"
        return f"No setting can be ranked: {luck}; {remedy}"
    what = "ran all its epochs"
    if changed:
        what = f"stayed unchanged and {what}"
    head = f"No setting that {what} did better than guessing"
    if elsewhere:
        return f"{head}; try another optimizer, such as Adam, or more epochs"
    return f"{head}; try another --optimizer, such as adam, or more --epochs"


def _of_tasks(wording: Wording, next_steps: tuple[Question, ...]) -> Answer:
    """Return the best setting of each task, where their losses don't compare."""
    data = wording.data
    best_of_each = data.settings.drop_duplicates("architecture")
    lines = []
    for rank, score in best_of_each["accuracy"].items():
        loss = wording.ranking.number(score)
        lines.append(f"{wording.names[rank]}: {SPLITS[data.split]} loss {loss}")
    tasks = wording.sweep.trials["architecture"].nunique()
    best = f"A best setting is known for {len(best_of_each)} of {tasks} tasks"
    return Answer(
        f"{best}{_by_test(data)}",
        data,
        _lines(data, lines),
        questions=next_steps,
        rivals=tuple(keys(best_of_each)),
    )


def how_sure(standing: Standing, wording: Wording) -> Iterator[str]:
    """Yield which settings are better but failed more, which can't be ranked among how
    many, how many failed, and at which of those that can't accuracy jumps. Of one seed,
    also that its noise is not in this."""
    some = partial(_some, wording)
    failing = "failed or stopped early" if standing.counts_stopped else "failed"
    if standing.better:
        yield f"Better, but {failing} with a seed more: {some(standing.better)}"
    if standing.compares:
        yield f"{_by_seeds(standing)} {_told_apart(standing, some)}"
    first = wording.data.settings.iloc[0]
    failures = first["failures"]
    if failures:
        yield failed(failures, failures + first["seeds"], failing)
    if standing.failed_more:
        yield f"{some(standing.failed_more)} {failing} with one seed more"
    if standing.jumping:
        yield f"accuracy jumps at {some(standing.jumping)}"
    # which knows the noise of the images, not that of seeds
    if standing.leaves_some_out and standing.most_seeds == 1:
        yield "another seed may say otherwise"


def _by_seeds(standing: Standing) -> str:
    if standing.most_seeds == 1:
        return "One seed"
    if standing.least_seeds == standing.most_seeds:
        return f"{standing.most_seeds} seeds"
    return f"{standing.least_seeds} to {standing.most_seeds} seeds"


def _told_apart(standing: Standing, some: Callable[[Sequence[int]], str]) -> str:
    """Return which settings can't be told apart from the best. The number of those that
    are belongs to the claim: the more are compared, the larger a gap chance makes
    (`chance_gap`)."""
    if not standing.noise_is_known:
        return "can't tell a gap from chance: its noise is not known"
    if not standing.tells_apart:
        text = f"can't rank {some(standing.close)}"
        if standing.leaves_some_out:
            text += f" among the {standing.compared} compared"
        return text
    if standing.rest == 1:
        text = "told it apart from the other one"
    else:
        text = f"told it apart from all {standing.rest} others"
    if standing.may_jump:
        text += f" but {len(standing.may_jump)} whose accuracy jumps"
    return text


def _some(wording: Wording, which: Sequence[int]) -> str:
    """Return the names of some settings, by their rates. If these are too long, return
    how many of the best they are, and the accuracy of the last of them, by which the
    table tells them."""
    rates = wording.data.settings["learning_rate"].iloc[list(which)]
    by_rate = rates.sort_values(kind="stable").index
    names = [wording.names[rank] for rank in by_rate]
    text = listed(names)
    if is_short(names, text):
        return text
    last = which[-1]
    best = f"the best {last + 1}"
    if len(names) <= last:
        best = f"{len(names)} of {best}"
    score = wording.number(wording.score(last))
    return f"{best} (the last has {score})"


def _spans(data: SweepAnswer) -> Iterator[str]:
    """Yield where the regimes are found, if there is one family."""
    if len(data.spans) == 1:
        yield " · ".join(spans_in_words(data.spans[0]))


def _families(data: SweepAnswer) -> Iterator[str]:
    """Yield where the regimes of several families are found."""
    if len(data.spans) > 1:
        yield from all_spans(data.spans)


def _best_rates(wording: Wording) -> Iterator[str]:
    """Yield the best rate of each of several families."""
    data = wording.data
    if not data.best_rates:
        return
    names = wording.names_of_best_rates
    texts = []
    for best in data.best_rates:
        name = names[best.rank]
        if best.is_largest:
            name += ", the largest"
        elif best.is_smallest:
            name += ", the smallest"
        score = wording.number(wording.score(best.rank))
        texts.append(f"{name} ({score})")
    text = " · ".join(texts)
    if len(text) > 6 * ROOM:
        return
    without = "; ".join(data.without_best)
    if not is_short(data.without_best, without):
        without = counted(len(data.without_best), "setting")
    if data.without_best:
        text += f" · failed, or not ended: {without}"
    yield f"Best rate of each: {text}"


# --- a decision, or an edge


def _of_decision(
    data: DecisionAnswer, sweep: Judged, next_steps: tuple[Question, ...]
) -> Answer:
    if data.finding == Finding.NOTHING_COMPARED:
        nothing = "No setting has been compared yet: no seed has ended for all of them"
        return _worded(data, nothing, (), (), next_steps)
    contest = sweep.decision
    if data.decided is None or contest is None:
        return _worded(data, why_none_is_best(data, sweep), (), (), next_steps)
    first, *lines = decided_in_words(data.decided, contest)
    begin = "Train with" if data.decided.settled else "So far"
    headline = f"{begin} {first}"
    if data.warned:
        headline += warning(data.warned)
    key = keys(data.settings)
    names = named(data.settings, data.settings)
    leader = data.decided.leader
    return Answer(
        headline,
        data,
        _lines(data, lines),
        questions=next_steps,
        setting=names[leader],
        best=key[leader],
        rivals=tuple(key[rival] for rival in data.decided.rivals),
        digits=data.digits,
    )


def _of_edges(data: EdgeAnswer) -> tuple[str, Sequence[str], Sequence[str]]:
    """Return what was measured of one edge, or of several."""
    measured = [edge for edge in data.edges if edge.is_bracketed]
    worded = edges_in_words(data)
    if len(data.edges) > 1:
        lines = [f"{title}: {first}" for title, (first, *_) in worded]
        details = [f"{title}: {line}" for title, (_, *rest) in worded for line in rest]
        headline = f"{len(measured)} of {counted(len(data.edges), 'edge')} measured"
        return headline, lines, details
    [(_, (text, *rest))] = worded
    text = text[0].upper() + text[1:]
    if not measured:
        return text, (), ()
    half = data.edges[0].rate(0.5)
    return f"Half of the seeds learn up to {half}", (text, *rest), ()
