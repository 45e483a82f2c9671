"""What people hold: the tables of a sweep, which can also be printed and drawn."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint, parameters
from mnist_tune.numbers import counted
from mnist_tune.regimes.replicates import regime_counts
from mnist_tune.results.tables import Tables, read_sweep
from mnist_tune.storage import Place
from mnist_tune.trial import closest

if TYPE_CHECKING:
    from mnist_tune.reports.answer import Answer
    from mnist_tune.reports.figures import Picture


class Sweep(Tables):
    """The tables `trials` and `epochs` of a sweep, the content of its `sweep.json` as `meta`, and what shows them."""

    @classmethod
    def of(cls, tables: Tables) -> Sweep:
        return cls(tables.path, tables.trials, tables.epochs, tables.meta)

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"Sweep {self.meta['name']} on {self.meta['dataset']['name']}: {self.path}",
                self.answer().headline,
                f"{counted(len(self.trials), 'trial')}: {regime_counts(self.trials['regime'])}",
                ".trials .epochs .best() .answer() .table() .plot() .report()",
            ]
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the answer, and the table."""
        from mnist_tune.reports.table import MANY, columns
        from mnist_tune.reports.view import View

        found = columns(View([self], str(self.path), "settings"))
        shown = {one.title: one.cells for one in found if one.look != "curve"}
        table: str = pd.DataFrame(shown).head(MANY).to_html(index=False)
        return f"<pre>{escape(str(self))}</pre>{table}"

    def params(self, trial_id: str, leaves: bool = False) -> Any:
        """Return a trial's trained parameters: NumPy arrays, in dictionaries and lists as in its network's own tree.

        They are those after the last epoch that was saved. No code of the network runs.

        Args:
            trial_id: the trial, as in `trials`.
            leaves: return the arrays in a list, in the order of `jax.tree.leaves`. A tree with other containers follows
                from it: `jax.tree.unflatten(jax.tree.structure(network.init(key)), leaves)`.

        Raises:
            UserError: there is no such trial, its state was not kept, or it can't be read.
        """
        if trial_id not in set(self.trials["trial_id"]):
            raise UserError(f"{self.path} has no trial {trial_id!r}{closest(trial_id, self.trials['trial_id'][:10])}")
        own = [str(self.meta["writer"])] if isinstance(self.path, str) else []  # as `SweepWriter` does
        state = Checkpoint.load(storage.join(self.path, "states", *own, f"{trial_id}.npz"))
        if state is None:
            raise UserError(f"the state of trial {trial_id} was not kept in {self.path}; see docs/commands.md")
        if leaves:
            return [array for name, array in state.arrays.items() if name.startswith(".params")]
        return parameters(state.arrays)

    def answer(self) -> Answer:
        """Return what the sweep says, as the terminal and the page do: `headline`, such as `Train with 0.7: test
        accuracy 0.9814 (best of 16)`; `lines`, how sure that is; `questions`, each with its command; and the settings
        `best`, `rivals`, which are not told apart from it, and `jumping`."""
        from mnist_tune.reports.answer import answer

        return answer(self)

    def table(self) -> None:
        """Print the table of the trials, or of the settings, and the answer."""
        from mnist_tune.reports.terminal import print_report

        print_report(self)

    def plot(self, path: str | Path | None = None) -> Picture:
        """Draw the answer: error by learning rate beside error by epoch, or what a search, a decision or an edge found.

        Returns:
            a `Figure` of matplotlib, which a notebook shows.

        Args:
            path: a file to write it to, such as `regimes.png`.
        """
        from mnist_tune.reports.figures import picture, save

        found = picture(self)
        if path is not None:
            save(found, Path(path))
        return found

    def report(self, path: str | Path | None = None) -> Place:
        """Write the page of the sweep; return where it is, by default `report.html` in the folder."""
        from mnist_tune.reports.page import write_page

        found = self.picture("report.html") if path is None else storage.place(path)
        write_page([self], found)
        return found


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep, finished or not.

    Args:
        path: the sweep's folder, or a folder above it: then its newest sweep is read, but no sweep within another one,
            such as the decision of a search. Or the URI of the sweep in object storage, such as `s3://bucket/sweep`.

    Raises:
        UserError: there is no sweep, or it can't be read.
    """
    return Sweep.of(read_sweep(path))
