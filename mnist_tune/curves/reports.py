"""The reports of runs, from the rows of a table: checked, in order, and numbered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from mnist_tune.curves.names import NAMES, PLACES, SETTING
from mnist_tune.errors import UserError
from mnist_tune.numbers import exactly

TEXTS = ("run", "schedule", "stop_reason")
LOSSES = ["train_loss", "test_loss", "validation_loss"]
SHARES = ["train_accuracy", "test_accuracy", "validation_accuracy"]
OF_REPORTS = (*SHARES, *LOSSES, *PLACES, "diverged", "stop_reason")
"""What each report has. Of all else, a run has one value."""

MISSING = ("", "nan", "none", "null", "<na>")
FLAGS = {"True": "1", "true": "1", "False": "0", "false": "0"}


def numbered(table: pd.DataFrame, named: Mapping[str, str]) -> pd.DataFrame:
    """Return the reports of all runs in order, by our names: `place` is the epoch or
    step of each, and `epoch` its number. The index is the number of the row. A row
    without a score is no report. A gap repeats the score before it.

    Raises:
        UserError: a value is none that its column may hold, a run has two values of
            what has one, or two reports of a run have the same place.
    """
    rows = table[[*named]].set_axis([*named.values()], axis=1)
    if rows.empty:
        raise UserError("the table has no rows; a row is a report of a run")
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    for theirs, ours in named.items():
        is_text = ours in TEXTS or ours.startswith(SETTING)
        texts = rows[ours].map(_text).astype(object)
        rows[ours] = texts if is_text else _numbers(texts, theirs)
    rows["place"] = rows[next(name for name in PLACES if name in named.values())]
    _refuse(rows["place"].isna(), "has no epoch or step; fill it in")
    rates = rows["learning_rate"]
    _refuse(rates.isna(), "has no learning rate; fill it in")
    _refuse(rates <= 0, "has a learning rate that is not above 0; drop it, or mend it")
    shares = rows[rows.columns.intersection(SHARES)]
    percent = "has an accuracy above 1 or below 0; divide percents by 100"
    _refuse(((shares > 1) | (shares < 0)).any(axis=1), percent)
    if "run" in rows:
        _refuse(rows["run"].isna(), "has no run; fill it in")
    else:
        of_a_run = rows[[name for name in rows if name not in (*OF_REPORTS, "place")]]
        numbers = of_a_run.groupby([*of_a_run], dropna=False, sort=False).ngroup()
        rows["run"] = numbers.map("{:05d}".format)
    _refuse_two_values(rows)
    rows = rows.sort_values(["run", "place"], kind="stable")
    twice = rows.duplicated(["run", "place"])
    _refuse(twice, "repeats a report; keep one, or name runs in a column run")
    rows = rows.reindex(columns=[*dict.fromkeys([*rows, *NAMES])])
    rows = _with_lost_losses(rows.astype(dict.fromkeys(TEXTS, object)))
    measured = [*SHARES, *LOSSES]
    rows = rows.dropna(subset=measured, how="all")
    rows[measured] = rows.groupby("run")[measured].ffill()
    return rows.assign(epoch=rows.groupby("run").cumcount() + 1)


def _text(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # in pandas, a gap makes all whole numbers floats
    text = str(value).strip()
    return None if text.lower() in MISSING else text


def _numbers(texts: pd.Series, theirs: str) -> pd.Series:
    numbers = pd.to_numeric(texts.replace(FLAGS), errors="coerce").astype(float)
    is_wrong = numbers.isna() & texts.notna()
    _refuse(is_wrong, f"has {theirs!r} that is no number; mend it, or leave it empty")
    return numbers


def _refuse(is_wrong: pd.Series, what: str) -> None:
    """Refuse a table, naming the first row of which something holds."""
    if is_wrong.any():
        raise UserError(f"row {is_wrong.idxmax()} {what}")


def _refuse_two_values(rows: pd.DataFrame) -> None:
    by_run = rows.groupby("run")
    for name in rows.columns.difference([*OF_REPORTS, "place", "run"]):
        first = by_run[name].transform("first")
        is_other = rows[name].notna() & (rows[name] != first)
        hint = "give the one that was asked for, or name runs in a column run"
        _refuse(is_other, f"has another {name} than its run had before; {hint}")


def notes(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what the epochs of texts are, unless these are those of the table."""
    places = rows["place"]
    if places.eq(rows["epoch"]).all():
        return
    gaps = places.groupby(rows["run"]).diff().dropna()
    first = places[rows["epoch"] == 1]
    if first.nunique() > 1 or gaps.nunique() > 1:
        where = "reported_at of sweep.epochs says where each was"
        yield f"an epoch here is a report, at irregular distances; {where}"
    else:
        last = exactly(places.max())
        yield f"an epoch here is a report: the first was at {exactly(first.iloc[0])}, the last at {last}"


def of_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run: what has one value, of how many reports it was to be
    (`epochs`), and why it ended (`reason`)."""
    by_run = rows.groupby("run", sort=False)
    runs = by_run.last()
    first, reports = by_run["place"].min(), by_run["place"].size()
    length, begins_at_0 = runs["epochs_asked"], first.eq(0)
    # of epochs from 0 on, the last one of ten is 9
    length = length.mask(begins_at_0, length - 1)
    longest = runs["place"].mask(
        runs["stop_reason"] != "completed", runs["place"].max()
    )
    ahead = length.fillna(longest) - runs["place"]
    spacing = (runs["place"] - first) / (reports - 1)
    spacing = spacing.fillna(runs["place"].clip(lower=1))
    missing = np.ceil(ahead / spacing - 0.5).clip(lower=0)
    runs["epochs"] = (reports + missing).astype(int)
    reason = pd.Series("completed", runs.index).mask(missing > 0, "interrupted")
    is_infinite = np.isinf(rows[LOSSES].astype(float)).any(axis=1)
    is_lost = is_infinite | rows["diverged"].eq(1)
    reason = reason.mask(is_lost.groupby(rows["run"]).last(), "diverged")
    runs["reason"] = runs["stop_reason"].fillna(reason)
    return runs


def _with_lost_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return reports with infinite losses from where a run, which had them in all
    reports before, has none any more: pandas writes NaN as nothing. One report that has
    an accuracy alone is left: it may be a last test."""
    run = rows["run"]
    number = rows.groupby("run").cumcount() + 1
    has_loss = rows[LOSSES].notna()
    is_known = has_loss.any(axis=1)
    last = number.where(is_known).groupby(run).transform("max")
    count = is_known.groupby(run).transform("sum")
    is_lost = (number > last) & (count == last)
    is_test = rows[SHARES].notna().any(axis=1) & (
        run.map(run.value_counts()) == last + 1
    )
    for name in LOSSES:
        had = has_loss[name].groupby(run).transform("any")
        rows[name] = rows[name].mask(is_lost & had & ~is_test, math.inf)
    return rows
