"""The reports of runs, from the rows of a table: checked, in order, and numbered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from mnist_tune.curves.names import NAMES, PLACES, SETTING
from mnist_tune.errors import UserError
from mnist_tune.numbers import counted, exactly, listed

TEXTS = ("run", "schedule", "stop_reason")
LOSSES = ["train_loss", "test_loss", "validation_loss"]
SHARES = ["train_accuracy", "test_accuracy", "validation_accuracy"]
SCORES = [*SHARES, *LOSSES]
OF_REPORTS = [*SCORES, *PLACES, "place", "diverged", "stop_reason"]
"""What each report has. Of all else, a run has one value."""

MISSING = ("", "nan", "none", "null", "<na>")
FLAGS = {"True": "1", "true": "1", "False": "0", "false": "0"}


def numbered(
    table: pd.DataFrame, named: Mapping[str, str]
) -> tuple[pd.DataFrame, list[float]]:
    """Return the reports of all runs in order, by our names: `place` is the epoch or
    step of each, and `epoch` its number. The index is the number of the row. A gap
    repeats the score before it. A row without a score is no report, unless its run had
    none and diverged. Return the learning rates of runs without a report, too.

    Raises:
        UserError: a value is none that its column may hold, a run has two values of
            what has one, or two reports of a run have the same place.
    """
    rows = _by_our_names(table, named)
    _refuse_wrong(rows)
    if "run" not in rows:
        rows["run"] = _numbers_of_runs(rows)
    _refuse(rows["run"].isna(), "has no run; fill it in")
    _refuse_two_values(rows)
    rows = rows.sort_values(["run", "place"], kind="stable")
    twice = rows.duplicated(["run", "place"])
    _refuse(twice, "repeats a report; keep one, or name runs in a column run")
    columns = dict.fromkeys([*rows, *NAMES])
    rows = rows.reindex(columns=[*columns])
    rows = rows.astype(dict.fromkeys(TEXTS, object))
    is_gone = _has_lost_losses(rows)
    trained = LOSSES
    if rows["train_loss"].notna().any():
        trained = ["train_loss"]
    is_infinite = np.isinf(rows[trained]).any(axis=1)
    rows["diverged"] = rows["diverged"].mask(is_gone | is_infinite, 1.0)
    has_score = rows[SCORES].notna().any(axis=1)
    if not has_score.any():
        raise UserError("no row has a score; a row is a report of a run")
    has_scores = has_score.groupby(rows["run"]).transform("any")
    blew_up = rows["diverged"].eq(1).groupby(rows["run"]).transform("any")
    unscored = rows[~has_scores & ~blew_up].drop_duplicates("run")
    rows = rows[has_score | is_gone | (blew_up & ~has_scores)].copy()
    rows[SCORES] = rows.groupby("run")[SCORES].ffill()
    # NaN is a loss that is not finite
    losses = rows[LOSSES].mask(is_gone)
    rows[LOSSES] = losses.mask(np.isinf(losses))
    rows["epoch"] = rows.groupby("run").cumcount() + 1
    return rows, unscored["learning_rate"].tolist()


def _by_our_names(table: pd.DataFrame, named: Mapping[str, str]) -> pd.DataFrame:
    rows = table[[*named]].set_axis([*named.values()], axis=1)
    if rows.empty:
        raise UserError("the table has no rows; a row is a report of a run")
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    for theirs, ours in named.items():
        values = rows[ours].map(_text).astype(object)
        is_text = ours in TEXTS or ours.startswith(SETTING)
        if not is_text:
            values = _numbers(values, theirs)
        rows[ours] = values
    place = next(name for name in PLACES if name in rows)
    rows["place"] = rows[place]
    return rows


def _refuse_wrong(rows: pd.DataFrame) -> None:
    _refuse(~np.isfinite(rows["place"]), "has no epoch or step; fill it in")
    rates = rows["learning_rate"]
    _refuse(rates.isna(), "has no learning rate; fill it in")
    _refuse(rates <= 0, "has a learning rate that is not above 0; drop it, or mend it")
    shares = rows[rows.columns.intersection(SHARES)]
    is_outside = (shares > 1) | (shares < 0)
    what = "has an accuracy above 1 or below 0"
    _refuse(is_outside.any(axis=1), f"{what}; divide percents by 100")


def _numbers_of_runs(rows: pd.DataFrame) -> pd.Series:
    """Return a number for each run, where runs have no names: all that has one value in
    a run tells them apart."""
    names = rows.columns.difference(OF_REPORTS).tolist()
    numbers = rows.groupby(names, dropna=False, sort=False).ngroup()
    return numbers.map("{:05d}".format)


def _text(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # in pandas, a gap makes all whole numbers floats
    text = str(value).strip()
    if text.lower() in MISSING:
        return None
    return text


def _numbers(texts: pd.Series, theirs: str) -> pd.Series:
    texts = texts.replace(FLAGS)
    numbers = pd.to_numeric(texts, errors="coerce").astype(float)
    is_wrong = numbers.isna() & texts.notna()
    _refuse(is_wrong, f"has {theirs!r} that is no number; mend it, or leave it empty")
    return numbers


def _refuse(is_wrong: pd.Series, what: str) -> None:
    """Refuse a table, naming the first row of which something holds."""
    if is_wrong.any():
        raise UserError(f"row {is_wrong.idxmax()} {what}")


def _refuse_two_values(rows: pd.DataFrame) -> None:
    by_run = rows.groupby("run")
    for name in rows.columns.difference([*OF_REPORTS, "run"]):
        values = rows[name]
        first = by_run[name].transform("first")
        is_other = values.notna() & (values != first)
        hint = "give the one that was asked for, or name runs in a column run"
        _refuse(is_other, f"has another {name} than its run had before; {hint}")


def notes(rows: pd.DataFrame, unscored: Sequence[float]) -> Iterator[str]:
    """Yield what the epochs of texts are, unless these are those of the table, and
    which runs are left out."""
    if unscored:
        what = f"{counted(len(unscored), 'run')} without any score"
        rates = listed([exactly(rate) for rate in sorted(set(unscored))])
        yield f"left out: {what}, of rate {rates}; where one blew up, give it diverged"
    places = rows["place"]
    if places.ne(rows["epoch"]).any():
        first, last = exactly(places.min()), exactly(places.max())
        own = f"has its own epoch or step, {first} to {last}"
        yield f"an epoch here is a report; reported_at of sweep.epochs {own}"


def of_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run: what has one value, of how many reports it was to be
    (`epochs`), and why it ended (`reason`)."""
    by_run = rows.groupby("run", sort=False)
    runs = by_run.last()
    last, reports = runs["place"], runs["epoch"]
    missing = _missing(runs, by_run["place"].min())
    runs["epochs"] = (reports + missing).astype(int)
    reason = pd.Series("completed", last.index)
    is_short = missing > 0
    is_lost = rows["diverged"] == 1
    has_diverged = is_short & is_lost.groupby(rows["run"]).last()
    reason = reason.mask(is_short, "interrupted")
    reason = reason.mask(has_diverged, "diverged")
    runs["reason"] = runs["stop_reason"].fillna(reason)
    return runs


def _missing(runs: pd.DataFrame, first: pd.Series) -> pd.Series:
    """Return how many reports each run lacks of those that it was to have: as many as
    the longest run has, if nothing else is known."""
    last, requested = runs["place"], runs["epochs_asked"]
    # of epochs from 0 on, the last one of ten is 9
    requested = requested.mask(first == 0, requested - 1)
    is_whole = runs["stop_reason"] == "completed"
    longest = last.where(is_whole, last.max())
    ahead = requested.fillna(longest) - last
    gaps = runs["epoch"] - 1
    spacing = (last - first) / gaps
    # of one report alone, the beginning is the one before
    spacing = spacing.fillna(last.clip(lower=1))
    reports = np.ceil(ahead / spacing - 0.5)
    return reports.clip(lower=0)


def _has_lost_losses(rows: pd.DataFrame) -> pd.Series:
    """Return the reports from where a run, which had a loss in all reports before, has
    none any more: pandas writes NaN as nothing. One report that has an accuracy alone
    is left: it may be a last test."""
    run = rows["run"]
    number = rows.groupby("run").cumcount() + 1
    has_loss = rows[LOSSES].notna().any(axis=1)
    has_share = rows[SHARES].notna().any(axis=1)
    reports = number.groupby(run).transform("max")
    losses = has_loss.groupby(run).transform("sum")
    last_with_loss = number.where(has_loss).groupby(run).transform("max")
    is_behind = number > last_with_loss
    had_all_before = losses == last_with_loss
    is_test = has_share & (reports == last_with_loss + 1)
    return is_behind & had_all_before & ~is_test
