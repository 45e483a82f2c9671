"""A sweep as two CSV files, with every column of its tables."""

from __future__ import annotations

import csv
import re

import pandas as pd

from mnist_tune import storage
from mnist_tune.exports.run import write
from mnist_tune.results.tables import Tables

FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+@-])|^(?=[\t\r])")
"""Where a spreadsheet would find a formula and run it: where a text begins, and after what separates cells in some
country, whose spreadsheet heeds no quotes around several of its cells."""


class Mirror:
    """The files `trials.csv` and `epochs.csv`, by default in the sweep's folder."""

    def __init__(self, output: str | None) -> None:
        self._output = storage.place(output) if output else None

    def update(self, sweep: Tables) -> str:
        names = []
        for name, table in (("trials.csv", sweep.trials), ("epochs.csv", sweep.epochs)):
            file = storage.join(self._output, name) if self._output else sweep.picture(name)
            write(file, quoted(table).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode())
            names.append(str(file))
        return "Files: " + ", ".join(names)


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which an apostrophe precedes what a spreadsheet would take for formulas."""
    found = table.copy()
    for name in found.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in found.dtypes]]:
        found[name] = [FORMULA.sub(r"\1'", one) if isinstance(one, str) else one for one in found[name]]
    return found
