"""The table of the page: a row for each setting, or for each range of rates of an edge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune.numbers import counted, exactly, told_apart
from mnist_tune.regimes.families import varied
from mnist_tune.regimes.measured_edge import LEARNED
from mnist_tune.reports.charts import numbers
from mnist_tune.reports.trial_table import PAGE, evidence, fields, heading, shortened
from mnist_tune.reports.view import View


class Column(NamedTuple):
    """A column of the table, with a cell for each row of `View.settings`."""

    title: str
    cells: Sequence[str]
    keys: Sequence[Any] = ()
    """What it is sorted by, if not by its cells."""
    look: str = "number"
    """A class of the style sheet."""


def columns(view: View) -> Iterator[Column]:
    """Yield the columns of the table."""
    trials, settings = view.trials, view.settings
    each, first = settings["trials"].tolist(), [rows[0] for rows in settings["trials"]]
    if view.several:
        yield Column("sweep", [view.titles[i] for i in settings["sweep"]], look="")
    for name in [*["label"] * bool(trials["label"].fillna("").ne("").any()), *varied(trials)]:
        values = trials[name].iloc[first].tolist()
        said, numeric = _texts(trials[name]), pd.api.types.is_numeric_dtype(trials[name])
        yield Column(
            name.replace("_", " "), [said[one] for one in values], values if numeric else (), "number" * numeric
        )
    yield Column("rate", settings["rate"].tolist(), settings["learning_rate"].tolist())
    yield from _of_decisions(view)
    yield Column("regime", settings["said"].tolist(), look="word")
    if learned := _learned(view):
        counts = [len(learned.intersection(rows)) for rows in each]
        cells = [f"{count} of {len(rows)}" for count, rows in zip(counts, each, strict=True)]
        yield Column("learned", cells, [count / len(rows) for count, rows in zip(counts, each, strict=True)])
    means = [(one, view.means(one)[:, 1].tolist()) for one in view.measures if one.error]
    for one, values in means:
        yield Column(one.title, [one.said(value) for value in values], values)
    yield Column("curve", [""] * len(each), means[0][1] if means else (), "curve")
    for reach in (field for field in fields(trials, PAGE) if field.name == "reaches"):
        texts, epochs = reach.said(trials), trials["reaches"].astype(float).fillna(math.inf).tolist()
        cells = [", ".join([*dict.fromkeys(texts[i] for i in rows)][:3]) for rows in each]
        yield Column(heading(reach, trials), cells, [min(epochs[i] for i in rows) for rows in each], "number hide")
    why, regimes = evidence(trials), trials["regime"].tolist()
    typical = [
        next((i for i in rows if regimes[i] == regime), rows[0])
        for rows, regime in zip(each, settings["regime"], strict=True)
    ]
    yield Column("why", [why[i] for i in typical], look="why")


def _texts(values: pd.Series) -> dict[Any, str]:
    known = values.unique().tolist()
    if pd.api.types.is_float_dtype(values):
        return dict(told_apart(known))
    return shortened(known) if all(isinstance(one, str) for one in known) else {one: exactly(one) for one in known}


def _of_decisions(view: View) -> Iterator[Column]:
    """Yield how far each setting of a decision is below the best, its seeds, and whether it is still in."""
    gaps, seeds, states = ({}, {}, {})  # type: tuple[dict[int, Any], dict[int, Any], dict[int, Any]]
    for i, sweep in enumerate(view.sweeps):
        if (contest := sweep.decision) is None:
            continue
        found, best = contest.decision, int(contest.decision.leader)
        for k, (number, (low, mean, high)) in enumerate(zip(numbers(view, i, contest), found.worse()[0], strict=True)):
            seeds[number], failed = int(found.seeds[k]), int(found.failures[k])
            interval = f" [{low:.4f}, {high:.4f}]" * math.isfinite(low)  # of few seeds there is none
            gaps[number] = ("the best", -1.0) if k == best else (f"{mean:.4f}{interval}", float(mean))
            out = "" if found.active[k] else f", left after {counted(seeds[number], 'seed')}"
            states[number] = (f"failed {failed} times" * (failed > 0) + out).removeprefix(", ") or "in"
    if gaps:
        rows = range(len(view.settings))
        said = [gaps.get(i, ("–", math.inf)) for i in rows]
        yield Column("below the best", [text for text, _ in said], [key for _, key in said])
        yield Column("seeds", [str(seeds.get(i, 0)) for i in rows], [seeds.get(i, 0) for i in rows])
        yield Column("state", [states.get(i, "–") for i in rows], look="")


def _learned(view: View) -> set[int]:
    """Return the rows of the trials that learned, where an edge was measured."""
    found = set()
    for i, sweep in enumerate(view.sweeps):
        row_of = view.row_of(i) if sweep.edges() else {}
        found |= {row_of[index] for edge in sweep.edges() for index in edge.outcomes.index[edge.outcomes[LEARNED]]}
    return found
