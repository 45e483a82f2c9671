"""The epochs so far of all trials: what their labels, and early stopping, are decided
by."""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.columns import EPOCHS

COLUMNS = ["epoch", *(column.name for column in EPOCHS if column.curve)]
"""The columns of the `epochs` table that curves are made of, after the epoch."""


class Histories:
    """The columns that the curves of many trials are made of, in 8 bytes a value."""

    def __init__(self) -> None:
        self._rows: dict[str, array[float]] = {}
        """For each trial the values of its rows, one row after the other."""

    @classmethod
    def of(cls, epochs: pd.DataFrame, trials: Container[str]) -> Histories:
        """Return the histories of these trials, given rows in the order in which they
        were recorded. A column that is missing becomes NaN."""
        found = cls()
        values = epochs.reindex(columns=COLUMNS).to_numpy(dtype=float, na_value=np.nan)
        for trial_id, at in epochs.groupby("trial_id", sort=False).indices.items():
            if trial_id in trials:
                rows = values[at]
                least_after = np.minimum.accumulate(rows[::-1, 0])[::-1]
                kept = np.append(rows[:-1, 0] < least_after[1:], True)
                found._rows[str(trial_id)] = array("d", rows[kept].tobytes())
        return found

    def add(
        self, trial_id: str, row: Mapping[str, Any], repeated: bool = False
    ) -> None:
        """Add an epoch's row; one that is `repeated` only if it is not known. A trial
        that trains an epoch again begins again there: later rows are forgotten."""
        if repeated and row["epoch"] <= self.last_epoch(trial_id):
            return
        rows = self._rows.setdefault(trial_id, array("d"))
        while rows and rows[-len(COLUMNS)] >= row["epoch"]:
            del rows[-len(COLUMNS) :]
        rows.extend(
            math.nan if row.get(name) is None else row[name] for name in COLUMNS
        )

    def columns(self, trial_id: str) -> dict[str, np.ndarray]:
        """Return a trial's columns, as `Curve.of` takes them; they are empty if it has
        no row."""
        values = np.array(self._rows.get(trial_id, ())).reshape(-1, len(COLUMNS))
        # copies, of which a curve keeps some
        return dict(zip(COLUMNS, map(np.array, values.T), strict=True))

    def last_epoch(self, trial_id: str) -> int:
        """Return the last epoch of a trial; 0 if it has none."""
        rows = self._rows.get(trial_id)
        return int(rows[-len(COLUMNS)]) if rows else 0
