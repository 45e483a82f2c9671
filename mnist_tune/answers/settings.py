"""The settings of a sweep, as its answer refers to them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mnist_tune.regimes.replicates import CONFIGURATION

Key = tuple[Any, ...]
"""Names a setting: its values of `CONFIGURATION`."""


def keys(rows: pd.DataFrame) -> list[Key]:
    """Return the key of each row's setting, from a table of trials or of `standing`."""
    values = rows[[name for name in CONFIGURATION if name in rows]].astype(object)
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def of_setting(trials: pd.DataFrame, setting: Key) -> pd.DataFrame:
    """Return the trials of a setting."""
    return trials[[key == setting for key in keys(trials)]]
