"""The reports of runs, from the rows of a table: checked, in order, and numbered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.columns import COUNT, FROM_0, ID, LOSS, NUMBER, RATE, SEED, Kind, number
from mnist_tune.curves.names import PLACES, Columns
from mnist_tune.errors import UserError
from mnist_tune.numbers import exactly, listed

ACCURACY = number("a share from 0 to 1; divide percents by 100", 0, 1, nan=True)

NUMBERS: dict[str, Kind] = {
    "learning_rate": RATE,
    "epoch": FROM_0,
    "step": FROM_0,
    "seed": SEED,
    "test_accuracy": ACCURACY,
    "validation_accuracy": ACCURACY,
    "train_accuracy": ACCURACY,
    "test_loss": NUMBER,
    "validation_loss": NUMBER,
    "train_loss": NUMBER,
    "untrained_loss": LOSS,
    "train_loss_examples": COUNT,
    "epochs_asked": FROM_0,
    "batch_size": COUNT,
}
"""The columns of numbers, and which numbers each may hold."""

LOSSES = ("train_loss", "test_loss", "validation_loss")

OF_A_RUN = (
    "learning_rate",
    "seed",
    "batch_size",
    "schedule",
    "epochs_asked",
    "untrained_loss",
    "train_loss_examples",
)
"""What has one value in each run."""

FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


@dataclass(frozen=True)
class Run:
    """A run of somebody else's."""

    name: str
    values: Mapping[str, Any]
    """What is known of it, of `OF_A_RUN`; None for what is not."""
    settings: Mapping[str, str]
    reports: pd.DataFrame
    """Its rows, in order; `place` is the epoch or step of each."""
    stop_reason: str | None

    @property
    def last(self) -> float:
        return float(self.reports["place"].iloc[-1])

    @property
    def spacing(self) -> float:
        """How far its reports are apart."""
        places = self.reports["place"]
        if len(places) < 2:
            return max(self.last, 1.0)
        return float(places.diff().median())

    @property
    def is_lost(self) -> bool:
        """Whether its last report says that it diverged."""
        last = self.reports.iloc[-1]
        return last["diverged"] is True or any(map(math.isinf, last[list(LOSSES)]))


def numbered(
    table: pd.DataFrame, columns: Columns
) -> tuple[list[Run], tuple[str, ...]]:
    """Return the runs of a table, and the notes that its reader needs.

    Raises:
        UserError: a value is none that its column may hold, a run has two values of
            what has one, or two reports of a run have the same place.
    """
    if table.empty:
        raise UserError("the table has no rows; a row is a report of a run")
    rows = _rows(table, columns)
    settings = _settings(table, columns)
    by = ["run"] if "run" in columns.known else ["learning_rate", "seed", "batch_size"]
    keys = [rows[name].fillna("") for name in by]
    if "run" not in columns.known:
        keys += [settings[name].fillna("") for name in settings]
    groups = rows.groupby(keys, sort=False).indices.values()
    names = [str(rows["run"].iloc[at[0]]) for at in groups]
    if "run" not in columns.known:
        names = [f"{number:05d}" for number in range(len(groups))]
    own = _own_values(settings, list(groups), columns)
    runs = [
        _run(name, rows.iloc[at], settings.drop(columns=own).iloc[at], columns)
        for name, at in zip(names, groups, strict=True)
    ]
    return runs, (*_not_read(columns, own), *_places(runs, columns))


def _rows(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return the columns that are known by our names. Missing ones hold nothing."""
    names = [*NUMBERS, "run", "schedule", "stop_reason", "diverged"]
    values = dict[str, Any]()
    for name in names:
        theirs = columns.known.get(name)
        if theirs is None:
            kind = float if name in NUMBERS else object
            values[name] = pd.Series([None] * len(table), table.index, dtype=kind)
        elif name in NUMBERS:
            values[name] = _numbers(table[theirs], name, theirs)
        else:
            values[name] = _texts(table[theirs])
    rows = pd.DataFrame(values).reset_index(drop=True)
    rows["row"] = np.arange(1, len(rows) + 1)
    for name in ("run", "learning_rate"):
        if name in columns.known:
            _refuse_gaps(rows, name, columns)
    place = next(name for name in PLACES if name in columns.known)
    _refuse_gaps(rows, place, columns)
    rows["place"] = rows[place]
    rows["diverged"] = _flags(rows["diverged"], columns)
    return rows


def _texts(values: pd.Series) -> pd.Series:
    """Return values as texts; None for what is missing or empty."""
    texts = list[str | None]()
    for value in values.tolist():
        text = "" if pd.isna(value) else str(value).strip()
        texts.append(text or None)
    return pd.Series(texts, values.index, dtype=object)


def _numbers(values: pd.Series, name: str, theirs: str) -> pd.Series:
    """Return a column's values as numbers. A loss that was logged as `nan` is not
    finite; a missing one is not known."""
    texts = _texts(values)
    is_nan = texts.isin(["nan", "NaN", "NAN", "-nan"]).to_numpy()
    numbers = pd.to_numeric(texts.where(~is_nan, None), errors="coerce").astype(float)
    if name in LOSSES:
        numbers = numbers.mask(is_nan, math.inf)
    kind = NUMBERS[name]
    is_wrong = (numbers.isna() & texts.notna()).to_numpy() & ~is_nan
    is_wrong |= ((numbers < kind.low) | (numbers > kind.high)).to_numpy()
    if kind.type is int:
        is_wrong |= (numbers % 1 > 0).to_numpy()
    for row in np.flatnonzero(is_wrong)[:1]:
        wrong = f"{_named(name, theirs)} is {texts.iloc[row]!r} in row {row + 1}"
        raise UserError(f"{wrong}; it must be {kind.wanted}")
    return numbers


def _flags(values: pd.Series, columns: Columns) -> pd.Series:
    """Return flags as True, False or None."""
    flags = list[bool | None]()
    for row, text in enumerate(values.tolist(), start=1):
        if text is not None and text.lower() not in FLAGS:
            wrong = f"{columns.known['diverged']} is {text!r} in row {row}"
            raise UserError(f"{wrong}; it must be true or false")
        flags.append(None if text is None else FLAGS[text.lower()])
    return pd.Series(flags, values.index, dtype=object)


def _refuse_gaps(rows: pd.DataFrame, name: str, columns: Columns) -> None:
    for row in np.flatnonzero(rows[name].isna().to_numpy())[:1]:
        named = _named(name, columns.known[name])
        raise UserError(
            f"{named} is missing in row {row + 1}; fill it in, or drop the row"
        )


def _named(name: str, theirs: str) -> str:
    return name if name == theirs else f"{name} ({theirs!r})"


def _settings(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return the settings of each row as texts, without `.0` at the end of whole
    numbers."""
    settings = {
        name: _texts(table[theirs]) for name, theirs in columns.settings.items()
    }
    frame = pd.DataFrame(settings, index=table.index).reset_index(drop=True)
    return frame.map(lambda text: text.removesuffix(".0") if text else None)


def _own_values(
    settings: pd.DataFrame, groups: list[np.ndarray], columns: Columns
) -> list[str]:
    """Return the settings that nobody named and that have a value of their own in each
    run, such as the number of its process: they are none."""
    if len(groups) < 2:
        return []
    first = settings.iloc[[at[0] for at in groups]]
    own = []
    for name, theirs in columns.settings.items():
        if theirs not in columns.asked and first[name].nunique() == len(groups):
            own.append(name)
    return own


def _run(
    name: str, rows: pd.DataFrame, settings: pd.DataFrame, columns: Columns
) -> Run:
    values = {
        key: _one_value(rows, rows[key], _named(key, columns.known.get(key, key)), name)
        for key in OF_A_RUN
    }
    texts = {
        key: _one_value(rows, settings[key], key, name) for key in settings.columns
    }
    reports = rows.sort_values("place", kind="stable")
    twice = reports["place"].duplicated()
    if twice.any():
        place = reports["place"][twice].iloc[0]
        same = reports["row"][reports["place"] == place].astype(str).tolist()
        what = f"run {name!r} has two reports of {exactly(place)} (rows {listed(same)})"
        hint = "keep one, or tell runs apart by a column run, or seed"
        raise UserError(f"{what}; {hint}")
    reasons = rows["stop_reason"].dropna()
    reason = reasons.iloc[-1] if len(reasons) else None
    if reason is not None and not ID.holds(reason):
        wrong = f"stop_reason of run {name!r} is {reason!r}"
        raise UserError(f"{wrong}; it must be {ID.wanted}, such as completed")
    known = {key: value for key, value in texts.items() if value is not None}
    return Run(name, values, known, reports, reason)


def _one_value(rows: pd.DataFrame, values: pd.Series, named: str, run: str) -> Any:
    """Return the one value of a run; None if it has none."""
    distinct = values.dropna().drop_duplicates()
    if len(distinct) > 1:
        first, second = distinct.iloc[:2]
        at = rows["row"].loc[distinct.index[1]]
        what = f"run {run!r} has two values of {named}: {first} and {second} (row {at})"
        hint = "give the one that was asked for, or tell runs apart by a column run"
        raise UserError(f"{what}; {hint}")
    return distinct.iloc[0] if len(distinct) else None


def _not_read(columns: Columns, own: list[str]) -> Iterator[str]:
    if own:
        each = "have values of their own in each run, so they are no settings"
        yield f"{listed(own)} {each}; --settings makes them some"
    if columns.unread:
        yield f"columns that were not read: {listed(columns.unread)}"


def _places(runs: list[Run], columns: Columns) -> Iterator[str]:
    """Yield what the epochs of texts are, unless these are those of the table."""
    unit = next(name for name in PLACES if name in columns.known)
    first = {float(run.reports["place"].iloc[0]) for run in runs}
    gaps = {gap for run in runs for gap in run.reports["place"].diff().dropna()}
    if len(first) > 1 or len(gaps) > 1:
        where = f"reported_at of sweep.epochs has the {unit} of each"
        yield f"reports are spaced irregularly: an epoch here is a report, and {where}"
    elif unit == "step" or first != {1.0} or gaps - {1.0}:
        begin, gap = exactly(min(first)), exactly(max(gaps, default=1.0))
        yield f"an epoch here is a report: the first is {unit} {begin}, then every {gap}"
