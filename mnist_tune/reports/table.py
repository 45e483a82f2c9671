"""The table of sweeps, as data: the terminal prints it, the page renders it. It has a
row for each setting, for each range of learning rates of an edge and of a large sweep,
or for each trial (`View.rows`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.numbers import counted, exactly, told_apart
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.evidence import beside_accuracy
from mnist_tune.regimes.families import has
from mnist_tune.regimes.limits import FAR
from mnist_tune.regimes.reasons import Reason
from mnist_tune.reports.measures import Measure
from mnist_tune.reports.names import shortened
from mnist_tune.reports.view import View, spaced

MANY = 60
"""Judged and lists with more lines than this are condensed."""

ROOM = 40
"""The most characters of a network's name in a table."""

SAID_BY_REGIME = {"completed", "diverged", "slow", "dead"}
"""Stop reasons that follow from the other columns."""


class ShownColumn(NamedTuple):
    """A column of the table, with a cell for each row of `View.settings`."""

    title: str
    cells: list[str]
    keys: Sequence[Any] = ()
    """What it is sorted by, if not by its cells."""
    look: str = "number"
    """A class of the style sheet."""
    must: bool = True
    """Whether it is shown also where all its cells are the same."""


def columns(view: View) -> list[ShownColumn]:
    """Return the columns of the table: what tells rows apart, then what they did."""
    if len(view.settings) == 1:
        return list(_columns(view))
    shown = []
    for column in _columns(view):
        has_differences = len({*column.cells}) > 1
        if column.must or has_differences:
            shown.append(column)
    return shown


def _columns(view: View) -> Iterator[ShownColumn]:
    trials, settings = view.trials, view.settings
    rows = settings["trials"].tolist()
    if len(view.sweeps) > 1:
        yield ShownColumn("sweep", [view.titles[i] for i in settings["sweep"]], look="")
    if trials["label"].fillna("").ne("").any():
        yield _of_setting(view, trials["label"])
    for name in view.shown:
        yield _of_setting(view, view.shown[name])
    rates = settings["learning_rate"].tolist()
    yield ShownColumn("rate", settings["rate"].tolist(), rates)
    if view.rows == "trials":
        seeds = trials["seed"].tolist()
        yield ShownColumn("seed", [*map(str, seeds)], seeds, must=False)
    yield from _of_decisions(view)
    yield ShownColumn("regime", settings["regimes"].tolist(), look="word")
    yield _epochs(view)
    if "learned" in trials and trials["learned"].any():
        yield _learned(view)
    for measure in _measures(view):
        yield _of_measure(view, measure)
    yield ShownColumn("curve", [""] * len(rows), look="curve")
    if any(sweep.decision is not None for sweep in view.sweeps):
        return  # what is compared there are settings, not their regimes
    reached = trials[["reaches", "reaches_from"]].notna().any(axis=None)
    if reached and trials["target"].notna().any():
        yield _target(view)
    reasons = trials["stop_reason"].tolist()
    if not SAID_BY_REGIME.issuperset(reasons):
        cells = [_counted([reasons[i] for i in row]) for row in rows]
        yield ShownColumn("stopped", cells, look="")
    yield _why(view)


def _of_setting(view: View, column: pd.Series) -> ShownColumn:
    """Return the column of a setting in which trials differ."""
    name = str(column.name)
    first = [row[0] for row in view.settings["trials"]]
    values = column.iloc[first].tolist()
    optimizers = view.trials["optimizer"].iloc[first]
    texts = _texts(column)
    cells = []
    for value, optimizer in zip(values, optimizers, strict=True):
        is_set = has({"optimizer": optimizer}, name)
        cells.append(texts.get(value, "–") if is_set else "–")
    if pd.api.types.is_numeric_dtype(column):
        return ShownColumn(spaced(name), cells, values, must=False)
    return ShownColumn(spaced(name), cells, look="", must=False)


def _epochs(view: View) -> ShownColumn:
    """Return how many epochs ran of those that were asked for."""
    ran = view.trials["epochs_run"].to_numpy()
    asked_for = view.trials["epochs_asked"].to_numpy()
    rows = view.settings["trials"].tolist()
    cells = [f"{_span(ran[row])}/{_span(asked_for[row])}" for row in rows]
    longest = [int(ran[row].max()) for row in rows]
    return ShownColumn("epochs", cells, longest, must=bool((ran < asked_for).any()))


def _learned(view: View) -> ShownColumn:
    """Return how many trials of each row learned."""
    learned = view.trials["learned"].to_numpy()
    cells, shares = [], []
    for row in view.settings["trials"]:
        count = int(np.nansum(learned[row]))
        cells.append(f"{count} of {len(row)}")
        shares.append(count / len(row))
    return ShownColumn("learned", cells, shares)


def _measures(view: View) -> list[Measure]:
    """Return the measures that have a column, first those that labels follow."""
    measures = view.losses
    if view.accuracies:
        measures = list(view.accuracies)
        if view.of_tokens or view.by_loss:
            measures += view.losses[:1]
    ranked = [measure for measure in view.known if measure.column in view.ranked]
    return [*measures, *ranked]


def _of_measure(view: View, measure: Measure) -> ShownColumn:
    means = view.means[measure.column]
    values = view.values(measure)
    counts, least, most = values.count(), values.min(), values.max()
    # the trials of a range differ in more than their seeds
    seeds = view.settings["trials"].map(len).mask(view.settings["is_range"], 0)
    rows = zip(counts, least, most, means.tolist(), seeds, strict=True)
    cells = [_mean(measure, *row) for row in rows]
    title = measure.title.replace("training", "train").replace("accuracy", "acc")
    if measure.column.startswith("train_"):
        title += _of_images(view)
    return ShownColumn(title, cells, means[:, 1].tolist())


def _of_images(view: View) -> str:
    """Return of how many training images scores are, if not of all of them."""
    counts = set()
    for sweep in view.sweeps:
        data = sweep.record.data
        if data.evaluated is None or data.evaluated >= data.train_images:
            return ""
        counts.add(data.evaluated)
    if len(counts) > 1:
        return ""
    return f" of {counts.pop()}"


def _target(view: View) -> ShownColumn:
    """Return when the trials of each row reach their target."""
    trials, rows = view.trials, view.settings["trials"].tolist()
    texts = _reaches(trials)
    epochs = trials["reaches"].astype(float).fillna(math.inf).tolist()
    cells = []
    for row in rows:
        different = list(dict.fromkeys(texts[i] for i in row))
        cells.append(", ".join(different[:3]))
    earliest = [min(epochs[i] for i in row) for row in rows]
    return ShownColumn(_target_title(view), cells, earliest, "number hide", False)


def _target_title(view: View) -> str:
    # a network without a target counts, too: the title stands above its row
    targets = view.trials["target"].unique()
    if len(targets) > 1:
        return "reaches target"
    if view.sweeps[0].record.data.by_accuracy:
        return f"reaches {targets[0]:.4g}"
    return f"reaches share {targets[0]:.4g}"


def _why(view: View) -> ShownColumn:
    """Return the evidence of a trial that has the regime of its row."""
    texts = evidence(view.trials)
    regimes = view.trials["regime"].tolist()
    settings = view.settings
    cells = []
    for row, regime in zip(settings["trials"], settings["regime"], strict=True):
        typical = [i for i in row if regimes[i] == regime]
        first = typical[0] if typical else row[0]
        cells.append(texts[first])
    return ShownColumn("why", cells, look="why")


def _texts(values: pd.Series) -> dict[Any, str]:
    different = values.dropna().unique().tolist()
    if pd.api.types.is_float_dtype(values):
        return dict(told_apart(different))
    if all(isinstance(value, str) for value in different):
        return shortened(different, ROOM)
    return {value: exactly(value) for value in different}


def _span(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    if low == high:
        return f"{low}"
    return f"{low}–{high}"


def _counted(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    counts = Counter(texts).most_common()
    return ", ".join(f"{count} {text}" for text, count in counts)


def _mean(
    measure: Measure,
    count: int,
    least: float,
    most: float,
    mean: Sequence[float],
    seeds: int,
) -> str:
    """Return the accuracy or loss of a row: that of one seed, both of two, or the mean
    with its interval, if known."""
    if count == 2 <= seeds:
        return f"{measure.said(least)}, {measure.said(most)}"
    _, middle, high = mean
    if seeds < 2 or math.isnan(high):
        return measure.said(middle)
    half = high - middle
    return f"{measure.said(middle, half)} ± {measure.error(half)}"


class Standing(NamedTuple):
    """Where a setting stands in a decision."""

    below: str
    """How far it is below the best."""
    worse: float
    """The same as a number, to sort by."""
    seeds: int
    failures: int
    state: str


def _of_decisions(view: View) -> Iterator[ShownColumn]:
    """Yield how far each setting of a decision is below the best, its seeds, how many
    of them failed, and whether it may be as good."""
    standings = dict[int, Standing]()
    side = "below"
    for i, sweep in enumerate(view.sweeps):
        contest = sweep.decision
        if contest is not None and contest.decision.seeds.any():
            settings = view.of_contest(i, contest)
            standings |= dict(zip(settings, _standings(contest), strict=True))
            side = contest.ranking.worse
    if not standings:
        return
    outside = Standing("–", math.inf, 0, 0, "–")
    rows = [standings.get(setting, outside) for setting in view.settings.index]
    below, worse, seeds, failures, states = map(list, zip(*rows, strict=True))
    yield ShownColumn(f"{side} the best", below, worse)
    yield ShownColumn("seeds", [*map(str, seeds)], seeds, must=False)
    yield ShownColumn("failed", [*map(str, failures)], failures, must=False)
    yield ShownColumn("state", states, look="text", must=False)


def _standings(contest: Contest) -> Iterator[Standing]:
    """Yield the standing of each setting of a contest."""
    decision, text = contest.decision, contest.ranking.difference
    differences, have_seeds_in_common = decision.worse()
    for k, (low, mean, high) in enumerate(differences):
        below, worse = "no seed in common", float(mean)
        if have_seeds_in_common[k]:
            below = text(mean)
            if math.isfinite(low):  # of few seeds there is no interval
                below += f" [{text(low)}, {text(high)}]"
        state = "worse"
        if decision.rivals[k]:
            state = "may be as good"
        if k == decision.leader:
            below, worse, state = "–", -1.0, "best"
        if decision.aside[k]:
            allowed = counted(int(decision.allowed[k]), "seed")
            state = f"set aside, as another had failed with {allowed}"
        seeds, failures = int(decision.seeds[k]), int(decision.failures[k])
        yield Standing(below, worse, seeds, failures, state)


def _reaches(trials: pd.DataFrame) -> list[str]:
    """Return when each trial reaches its target: `epoch 4` has been, `~14` and `> 22`
    are projections. A trial that was there and is below it again has `left`."""
    names = ["reaches", "reaches_from", "epochs_run", "epochs_asked", "reason"]
    columns = [trials[name] for name in names]
    return [_when(*row) for row in zip(*columns, strict=True)]


def _when(epoch: float, first: float, run: int, whole: int, reason: str) -> str:
    limit = FAR * whole
    if reason == Reason.LEFT_TARGET:
        return "left"
    if math.isnan(epoch) and pd.isna(first):
        return "–"
    if math.isnan(epoch):  # what is known is that it is later than `first`
        return f"> {min(first, limit):.0f}"
    if math.isinf(epoch):
        return "never"
    if epoch <= run:
        return f"epoch {epoch:.0f}"
    if epoch > limit:
        return f"> {limit}"
    return f"~{epoch:.0f}"


def evidence(trials: pd.DataFrame) -> list[str]:
    """Return why each trial has its regime, without the accuracy beside it; of one that
    failed, its error."""
    errors = trials["error"].fillna("")
    texts = trials["regime_evidence"].fillna("")
    shown = map(beside_accuracy, texts, trials["train_accuracy"])
    return list(errors.where(errors != "", list(shown)))
