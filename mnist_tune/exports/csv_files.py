"""A sweep as two CSV files, with every column of its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.tables import Tables

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a text that begins so for a formula, and would run it."""


class Mirror:
    """The files `trials.csv` and `epochs.csv`, by default in the sweep's folder."""

    def __init__(self, output: str | None) -> None:
        self._output = output

    def update(self, sweep: Tables) -> str:
        names = []
        for name, table in (("trials.csv", sweep.trials), ("epochs.csv", sweep.epochs)):
            file = Path(self._output) / name if self._output else sweep.picture(name)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                storage.write(file, quoted(table).to_csv(index=False).encode())
            except OSError as error:
                raise UserError(f"can't write {file}: {error.strerror or error}; name another --output") from None
            names.append(str(file))
        return "Files: " + ", ".join(names)


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which an apostrophe precedes texts that a spreadsheet would take for formulas."""
    found = table.copy()
    for name in found.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in found.dtypes]]:
        found[name] = [f"'{one}" if isinstance(one, str) and one.startswith(FORMULAS) else one for one in found[name]]
    return found
