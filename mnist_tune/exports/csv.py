"""A sweep as two CSV files, with every column of its tables."""

from __future__ import annotations

from mnist_tune import storage
from mnist_tune.exports.run import write
from mnist_tune.results.tables import Tables, as_csv
from mnist_tune.storage import Place


class Mirror:
    """The files `trials.csv` and `epochs.csv`, by default in the sweep's folder."""

    def __init__(self, output: str | None) -> None:
        self._output = storage.place(output) if output else None

    def update(self, sweep: Tables) -> str:
        tables = {"trials.csv": sweep.trials, "epochs.csv": sweep.epochs}
        files = []
        for name, table in tables.items():
            file: Place = sweep.picture(name)
            if self._output:
                file = storage.join(self._output, name)
            write(file, as_csv(table).encode())
            files.append(str(file))
        return "Files: " + ", ".join(files)
