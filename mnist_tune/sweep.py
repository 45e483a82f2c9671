"""What people hold: the tables of a sweep, which can also be printed and drawn."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.judged import Judged, read_judged
from mnist_tune.numbers import counted
from mnist_tune.regimes.replicates import regime_counts
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place

if TYPE_CHECKING:
    from mnist_tune.reports.answer import Answer
    from mnist_tune.reports.figures import Picture
    from mnist_tune.trained import Trained


class Sweep(Judged):
    """The tables `trials` and `epochs` of a sweep, its folder or URI as `path`, the
    content of its `sweep.json` as `meta`, and what shows them."""

    @classmethod
    def of(cls, tables: Tables) -> Sweep:
        return cls(tables.path, tables.trials, tables.epochs, tables.meta)

    def __repr__(self) -> str:
        trained = self.trials["epochs_run"] > 0
        counts = []
        regimes = regime_counts(self.trials["regime"][trained])
        if regimes:
            counts.append(regimes)
        if not trained.all():
            counts.append(f"{(~trained).sum()} without an epoch")
        lines = [
            f"Sweep {self.record.name} on {self.record.dataset['name']}: {self.path}",
            self.answer().headline,
            f"{counted(len(self.trials), 'trial')}: {', '.join(counts)}",
            ".trials .epochs .best() .answer() .table() .plot() .load()",
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the answer, and the table."""
        from mnist_tune.reports.table import MANY, columns
        from mnist_tune.reports.view import View

        cells = {}
        for column in columns(View([self], str(self.path), "settings")):
            if column.look != "curve":
                cells[column.title] = column.cells
        table: str = pd.DataFrame(cells).head(MANY).to_html(index=False)
        return f"<pre>{escape(str(self))}</pre>{table}"

    def load(
        self,
        trial: str | None = None,
        code: Any = None,
        *,
        epoch: str = "last",
        trust_code: bool = False,
        changed_code: bool = False,
    ) -> Trained:
        """Return what a trial trained: `net`, `params`, `state`, `data`, and
        `predict(x)` for new examples.

        Args:
            trial: its id, as in `trials`; by default one of the best setting.
            code: your own network or task, as it is now: its function, or
                `FILE.py:FUNCTION`. By default, what the sweep has recorded.
            epoch: "last" or, of a sweep with `keep_best`, "best": that with the best
                held-out score (`rank_by`).
            trust_code: run what somebody else's sweep has recorded.
            changed_code: take `code` although it has changed since.

        Raises:
            UserError: there is no such trial, the state of this epoch was not kept, or
                its code was recorded by somebody else or has changed.
        """
        from mnist_tune.trained import load

        if self.record.is_elsewhere:
            what = "these runs were trained elsewhere, so no state of theirs is here"
            raise UserError(f"{what}; load it with what trained them")
        return load(self, trial, code, epoch, trust_code, changed_code)

    def answer(self) -> Answer:
        """Return what the sweep says, as the terminal and the page do: `headline`, such
        as `Train with 0.7: held-out accuracy 0.9814 (best of 16); test accuracy
        0.9803`; `lines`, how sure that is; `questions`, each with its command; and the
        settings `best`, `rivals`, which are not told apart from it, and `jumping`."""
        from mnist_tune.reports.answer import answer

        return answer(self)

    def to_json(self) -> str:
        """Return what the sweep says as one object of JSON, as `mnist-tune show --json`
        prints it: the answer as data, trials with their labels, and questions with
        their commands."""
        from mnist_tune.reports.json_object import as_json

        return as_json(self)

    def table(self) -> None:
        """Print the table of the trials, or of the settings, and the answer."""
        from mnist_tune.reports.terminal import print_report

        print_report(self)

    def plot(self, path: str | Path | None = None) -> Picture:
        """Draw the answer: error by learning rate beside error by epoch, or what a
        search, a decision or an edge found.

        Returns:
            a `Figure` of matplotlib, which a notebook shows.

        Args:
            path: a file to write it to, such as `regimes.png`.
        """
        from mnist_tune.reports.figures import picture, save

        figure = picture(self)
        if path is not None:
            save(figure, Path(path))
        return figure

    def report(self, path: str | Path | None = None) -> Place:
        """Write the page of the sweep; return where it is, by default `report.html` in
        the folder."""
        from mnist_tune.reports.page import write_page

        page: Place = self.picture("report.html")
        if path is not None:
            page = storage.place(path)
        write_page([self], page)
        return page


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep, finished or not.

    Args:
        path: the sweep's folder, or a folder above it: then the sweep there that was
            started, resumed or ended last is read, but none within another one, such as
            the decision of a search. Or the URI of the sweep in object storage, such as
            `s3://bucket/sweep`.

    Raises:
        UserError: there is no sweep, or it can't be read.
    """
    return Sweep.of(read_judged(path))
