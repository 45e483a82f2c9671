"""The tables of a sweep, read from its folder: one row per trial, and one row per epoch
of a trial. What they mean is not known here (`mnist_tune.judged`).

A sweep that is running, or was killed at any moment, can be read too.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, NUMBER, OWN_SCORE, TRIALS, Column
from mnist_tune.errors import UserError
from mnist_tune.regimes.families import varied
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.reasons import Reason
from mnist_tune.results.folder import JOURNAL, TABLES, exists, fetch, fetch_journal
from mnist_tune.results.journal import Journal, older_kind, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.rows import without_effects
from mnist_tune.results.signs import is_being_written
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.storage import Place
from mnist_tune.trial import FIELDS

TIMES = ("compile_s", "train_s", "eval_s", "wait_s")
"""Columns that `trials` sums over a trial's epochs."""

FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+@-])|^(?=[\t\r])")
"""Where a spreadsheet would find a formula and run it: where a text begins, and after
what separates cells in some country, whose spreadsheet heeds no quotes around several
of its cells."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Tables:
    """The tables `trials` and `epochs` of a sweep, and the content of its `sweep.json`
    as `meta`."""

    path: Place
    trials: pd.DataFrame
    epochs: pd.DataFrame
    meta: dict[str, Any]

    @cached_property
    def record(self) -> SweepMeta:
        """What `sweep.json` records, with types."""
        return SweepMeta.of(self.meta)

    def picture(self, name: str) -> Path:
        """Return the path for a picture: in the sweep's folder, or the current folder
        if that is in object storage, or if it has none."""
        return (
            storage.join(self.path, name)
            if isinstance(self.path, Path) and not self.record.is_elsewhere
            else Path(name)
        )

    def state(self, trial_id: str) -> Place:
        """Return the file of a trial's saved state, where it was kept."""
        # as `SweepWriter` does; it may be a copy
        own = [str(self.meta["writer"])] if "writer" in self.meta else []
        return storage.join(self.path, "states", *own, f"{trial_id}.npz")

    def curves(self, column: str) -> pd.DataFrame:
        """Return a column of `epochs` as a table of shape [epochs, trials].

        Raises:
            UserError: `epochs` has no such column.
        """
        self._refuse_unknown("epochs", column)
        return self.epochs.pivot(index="epoch", columns="trial_id", values=column)

    def with_settings(self, *names: str) -> pd.DataFrame:
        """Return `epochs` with these columns of `trials` joined, by default the
        settings in which trials differ, and the seed.

        Raises:
            UserError: `trials` has no such column.
        """
        self._refuse_unknown("trials", *names)
        wanted = [
            name
            for name in names or (*varied(self.trials), "seed")
            if name not in self.epochs
        ]
        return self.epochs.join(
            self.trials.set_index("trial_id")[wanted], on="trial_id"
        )

    def _refuse_unknown(self, table: str, *names: str) -> None:
        known = getattr(self, table).columns
        if unknown := [name for name in names if name not in known]:
            raise UserError(
                f"{table} has no column {unknown[0]!r}; it has {', '.join(known)}"
            )

    def sharpness(self) -> pd.DataFrame:
        """Return every measurement of sharpness: `trial_id`, `step`, `sharpness`,
        `residual`, `batch_sharpness`, and for Adam `preconditioned` and
        `preconditioned_residual`, else NaN. Step 0 is before training.

        Raises:
            UserError: none was measured.
        """
        if "sharpness_steps" not in self.epochs:
            raise UserError(
                f"no sharpness was measured in {self.path}; --sharpness does"
            )
        names = (
            "sharpness",
            "residual",
            "batch_sharpness",
            "preconditioned",
            "preconditioned_residual",
        )
        kinds = {"step": int} | dict.fromkeys(names, float)
        steps = self.epochs[["trial_id", "sharpness_steps"]].dropna()
        rows = []
        for trial_id, texts in steps.itertuples(index=False):
            for measured in json.loads(texts):
                without_adam = [np.nan] * (2 if len(measured) == 4 else 0)
                rows.append((trial_id, *measured, *without_adam))
        return pd.DataFrame(rows, columns=["trial_id", *kinds]).astype(kinds)


def distinct(sweeps: Sequence[Tables]) -> list[Tables]:
    """Return these sweeps with ids of trials that differ: those of several begin with
    the number of their sweep."""

    def numbered(table: pd.DataFrame, number: int) -> pd.DataFrame:
        return table.assign(
            trial_id=f"{number}:" * (len(sweeps) > 1) + table["trial_id"]
        )

    return [
        replace(one, trials=numbered(one.trials, i), epochs=numbered(one.epochs, i))
        for i, one in enumerate(sweeps)
    ]


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, in which an apostrophe precedes what a spreadsheet would
    take for formulas."""
    found = table.copy()
    for name in found.columns[
        [not pd.api.types.is_numeric_dtype(kind) for kind in found.dtypes]
    ]:
        found[name] = [
            FORMULA.sub(r"\1'", one) if isinstance(one, str) else one
            for one in found[name]
        ]
    text: str = found.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text


def read_tables(path: str | Path) -> Tables:
    """Read the tables of a sweep, finished or not, from where `mnist_tune.load_sweep`
    does. Raises `UserError`."""
    where = storage.place(path)
    if isinstance(where, str):
        with TemporaryDirectory() as folder:
            fetch(where, Path(folder))
            return replace(_read(Path(folder), where), path=where)
    if not exists(where):
        # a link may lead nowhere
        found = [file for file in where.glob("**/sweep.json") if file.exists()]
        folders = {file.parent for file in found}
        # a decision lies in its search's
        whole = [file for file in found if folders.isdisjoint(file.parent.parents)]
        if not whole:
            raise UserError(
                f"no sweep in {where} (no sweep.json there or below); name the folder of a sweep"
            )
        where = max(whole, key=lambda file: file.stat().st_mtime).parent
    return _read(where, where)


def _read(folder: Path, where: Place) -> Tables:
    """Return the stored tables of the sweep at `where`, whose files but for its journal
    are in `folder`. Make them from the journal if the sweep has not ended or their
    files are damaged."""
    meta = read_meta(folder)
    if meta["ended"] is None:
        running = is_being_written(where)
        if isinstance(where, str):
            fetch_journal(where, folder)
        return journal_tables(folder, meta, running)
    try:
        more = own_scores(meta)
        known = zip(TABLES, (TRIALS, EPOCHS), strict=True)
        trials, epochs = (
            read_table(folder / name, (*columns, *more)) for name, columns in known
        )
        labels = {*trials["regime"], *trials["curve_regime"]}
        reasons = {*trials["reason"].dropna()}
        if not (labels <= set(REGIMES) and reasons <= set(Reason)):
            raise UserError(f"the tables in {folder} were not written by a sweep")
        if not reasons:
            trials["error_kind"] = trials["error"].map(older_kind)
        return Tables(folder, trials, epochs, meta)
    except UserError as error:
        if isinstance(where, str):
            fetch_journal(where, folder)
        if not (folder / JOURNAL).exists():
            raise
        _log.warning("%s; the tables are made again from the journal", error)
        return journal_tables(folder, meta)


def journal_tables(
    path: Path, meta: dict[str, Any], running: bool | None = False
) -> Tables:
    """Make the tables from the journal. They have no labels yet. If an epoch was
    recorded twice, the last row counts.

    While a process is `running` the sweep, trials that have not ended are running or
    waiting; unknown if that is None.
    """
    journal = read_journal(path, meta["dataset"].get("scores", ()))
    return tables_of(path, meta, journal, running)


def tables_of(
    path: Place, meta: dict[str, Any], journal: Journal, running: bool | None = False
) -> Tables:
    """Make the tables from what a journal says, as `journal_tables`."""
    epochs = journal.epochs.drop_duplicates(["trial_id", "epoch"], keep="last")
    epochs = with_nullable_counts(
        epochs.sort_values(["trial_id", "epoch"], ignore_index=True), EPOCHS
    )
    rows = [
        {"stop_reason": "interrupted", "error": "", "error_kind": ""}
        | journal.ends.get(trial_id, {})
        | config.to_dict()
        | {
            "trial_id": trial_id,
            "epochs_asked": config.epochs,
            "changed": trial_id in journal.changed,
        }
        for trial_id, config in journal.known_trials(meta).items()
    ]
    trials = pd.DataFrame(
        rows,
        columns=[
            *FIELDS,
            "trial_id",
            "epochs_asked",
            "changed",
            "stop_reason",
            "error",
            "error_kind",
        ],
    )
    trials = trials.join(_summary(epochs), on="trial_id")
    without_epochs = dict.fromkeys(("epochs_run", "best_epoch"), 0) | dict.fromkeys(
        TIMES, 0.0
    )
    trials = trials.fillna(without_epochs).astype(
        {"epochs_run": int, "best_epoch": int}
    )
    # A completed trial that ended before the epochs asked for: a resume asked for more.
    # (In population based training, a trial that copies another one leaves out epochs.)
    short = (
        trials["trial_id"].map(epochs.groupby("trial_id")["epoch"].max())
        < trials["epochs_asked"]
    )
    open_ = trials["stop_reason"].eq("interrupted") | (
        trials["stop_reason"].eq("completed") & short
    )
    begun = np.where(trials["epochs_run"] > 0, "running", "waiting")
    live = "unknown" if running is None else begun if running else "interrupted"
    trials["stop_reason"] = trials["stop_reason"].mask(open_, live)
    return Tables(path, trials, epochs, meta)


def own_scores(meta: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns of both tables with what a task's `score` returns beside loss
    and accuracy, held out."""
    return tuple(
        Column(OWN_SCORE + name, NUMBER) for name in meta["dataset"].get("scores", ())
    )


def _summary(epochs: pd.DataFrame) -> pd.DataFrame:
    """Summarise each trial's epochs: its total times, last scores, best epoch and the
    step at which it diverged.

    All trials at once: pandas takes as long to sum ten rows as ten thousand.
    """
    scores = [
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    scores += [
        "untrained_loss",
        "answers",
        "loss_error",
        *(name for name in epochs if name.startswith(OWN_SCORE)),
    ]
    curves = epochs.groupby("trial_id")
    last = epochs.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    # A trial diverged with a loss above the untrained network's, or NaN; or its network
    # is dead and guesses.
    lost = ~(last["train_loss"] <= last["untrained_loss"])
    above, guesses = last["above_since"], last["guessing_since"]
    best = epochs[
        epochs["test_accuracy"] == curves["test_accuracy"].transform("max")
    ].drop_duplicates("trial_id")
    return last[[*scores, "node", "device"]].assign(
        **{name: curves[name].sum() for name in TIMES},
        epochs_run=curves.size(),
        best_test_accuracy=curves["test_accuracy"].max(),
        best_epoch=best.set_index("trial_id")["epoch"],
        diverged_at_step=above.where(lost)
        .fillna(guesses)
        .fillna(above)
        .fillna(last["step"].astype("Int64")),
    )


def read_table(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Return these columns of a table that a sweep stored. Those with `gaps` may be
    missing, as in older versions, and are NaN then. Raises `UserError` if the file is
    damaged, or a sweep did not write it."""
    try:
        with storage.open_file(path) as opened:
            stored = pd.read_parquet(opened)
        return _typed(stored, columns)
    except Exception as error:  # pandas and Arrow raise many kinds of errors
        raise UserError(f"{path} is not a table of a sweep ({error})") from None


def _typed(stored: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return these columns of a table, each of its type, and texts without effects.
    Raises an error if that can't be done."""
    names = [column.name for column in columns]
    # made anew: a file also names its index and its columns
    stored_columns = {name: stored.get(name, np.nan) for name in names}
    table = pd.DataFrame(stored_columns, index=range(len(stored)))
    for column in columns:
        kind = column.kind
        values = table[column.name]
        if not column.gaps and values.isna().any():
            raise ValueError(f"{column.name} lacks values")
        if kind.type in (str, bool):
            if not all(map(kind.holds, values.dropna().unique().tolist())):
                raise ValueError(f"{column.name} is not always {kind.wanted}")
        elif kind.type is float or not column.gaps:
            table[column.name] = values.astype(kind.type)
    return with_nullable_counts(without_effects(table, columns), columns)


def with_nullable_counts(
    table: pd.DataFrame, columns: Iterable[Column]
) -> pd.DataFrame:
    """Return the table with counts that have gaps as nullable integers; pandas would
    make them floats."""
    counts = [one.name for one in columns if one.kind.type is int and one.gaps]
    return table.astype({name: "Int64" for name in counts if name in table})
