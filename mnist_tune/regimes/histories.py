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
        histories = cls()
        values = epochs.reindex(columns=COLUMNS).to_numpy(dtype=float, na_value=np.nan)
        rows_of_trials = epochs.groupby("trial_id", sort=False).indices
        for trial_id, at in rows_of_trials.items():
            if trial_id not in trials:
                continue
            rows = values[at]
            # what was trained again later does not count
            epoch = rows[:, 0]
            least_after = np.minimum.accumulate(epoch[::-1])[::-1]
            is_last = np.append(epoch[:-1] < least_after[1:], True)
            histories._rows[str(trial_id)] = array("d", rows[is_last].tobytes())
        return histories

    def add(
        self, trial_id: str, row: Mapping[str, Any], repeated: bool = False
    ) -> None:
        """Add an epoch's row; one that is `repeated` only if it is not known. A trial
        that trains an epoch again begins again there: later rows are forgotten."""
        epoch = row["epoch"]
        if repeated and epoch <= self.last_epoch(trial_id):
            return
        rows = self._rows.setdefault(trial_id, array("d"))
        while rows and rows[-len(COLUMNS)] >= epoch:
            del rows[-len(COLUMNS) :]
        for name in COLUMNS:
            value = row.get(name)
            rows.append(math.nan if value is None else value)

    def columns(self, trial_id: str) -> dict[str, np.ndarray]:
        """Return a trial's columns, as `Curve.of` takes them; they are empty if it has
        no row."""
        rows = self._rows.get(trial_id, ())
        values = np.array(rows).reshape(-1, len(COLUMNS))
        # copies, of which a curve keeps some
        columns = [np.array(column) for column in values.T]
        return dict(zip(COLUMNS, columns, strict=True))

    def last_epoch(self, trial_id: str) -> int:
        """Return the last epoch of a trial; 0 if it has none."""
        rows = self._rows.get(trial_id)
        if not rows:
            return 0
        return int(rows[-len(COLUMNS)])
