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
from mnist_tune.results.arguments import argument_columns
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

SHARPNESS = (
    "sharpness",
    "residual",
    "batch_sharpness",
    "preconditioned",
    "preconditioned_residual",
)
"""What is measured of the sharpness at a step; the last two for Adam alone."""

LAST_SCORES = (
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "untrained_loss",
    "answers",
    "loss_error",
)
"""Columns of which `trials` has those of a trial's last epoch."""

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
        if isinstance(self.path, Path) and not self.record.is_elsewhere:
            return storage.join(self.path, name)
        return Path(name)

    def state(self, trial_id: str) -> Place:
        """Return the file of a trial's saved state, where it was kept."""
        folder = storage.join(self.path, "states")
        # as `SweepWriter` does; it may be a copy
        if "writer" in self.meta:
            folder = storage.join(folder, str(self.meta["writer"]))
        return storage.join(folder, f"{trial_id}.npz")

    def curves(self, column: str, *names: str) -> pd.DataFrame:
        """Return a column of `epochs` as a table of shape [epochs, trials], whose
        columns are the ids of trials or, for the legend of a plot, these columns of
        `trials`: `sweep.curves("test_accuracy", "width", "learning_rate").plot()`.

        Raises:
            UserError: `epochs` or `trials` has no such column.
        """
        self._refuse_unknown("epochs", column)
        self._refuse_unknown("trials", *names)
        curves = self.epochs.pivot(index="epoch", columns="trial_id", values=column)
        if names:
            settings = self.trials.set_index("trial_id").loc[curves.columns, [*names]]
            curves.columns = pd.MultiIndex.from_frame(settings)
        return curves

    def with_settings(self, *names: str) -> pd.DataFrame:
        """Return `epochs` with these columns of `trials` joined, by default the
        settings in which trials differ, arguments, and the seed.

        Raises:
            UserError: `trials` has no such column.
        """
        self._refuse_unknown("trials", *names)
        if not names:
            arguments = argument_columns(self.trials)
            names = (*varied(self.trials), *arguments, "seed")
        missing = [name for name in names if name not in self.epochs]
        settings = self.trials.set_index("trial_id")[missing]
        return self.epochs.join(settings, on="trial_id")

    def _refuse_unknown(self, table: str, *names: str) -> None:
        columns = getattr(self, table).columns
        for name in names:
            if name not in columns:
                raise UserError(
                    f"{table} has no column {name!r}; it has {', '.join(columns)}"
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
        kinds = {"step": int} | dict.fromkeys(SHARPNESS, float)
        steps = self.epochs[["trial_id", "sharpness_steps"]].dropna()
        rows = []
        for trial_id, texts in steps.itertuples(index=False):
            for measurement in json.loads(texts):
                row = [trial_id, *measurement]
                if len(measurement) == 4:  # those of other optimisers than Adam
                    row += [np.nan, np.nan]
                rows.append(row)
        return pd.DataFrame(rows, columns=["trial_id", *kinds]).astype(kinds)


def distinct(sweeps: Sequence[Tables]) -> list[Tables]:
    """Return these sweeps with ids of trials that differ: those of several begin with
    the number of their sweep."""
    numbered = []
    for i, sweep in enumerate(sweeps):
        prefix = ""
        if len(sweeps) > 1:
            prefix = f"{i}:"
        trials = sweep.trials.assign(trial_id=prefix + sweep.trials["trial_id"])
        epochs = sweep.epochs.assign(trial_id=prefix + sweep.epochs["trial_id"])
        numbered.append(replace(sweep, trials=trials, epochs=epochs))
    return numbered


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, in which an apostrophe precedes what a spreadsheet would
    take for formulas."""
    harmless = table.copy()
    for name, kind in table.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind):
            harmless[name] = [_without_formula(value) for value in table[name]]
    text: str = harmless.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text


def _without_formula(value: Any) -> Any:
    if isinstance(value, str):
        return FORMULA.sub(r"\1'", value)
    return value


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
        files = [file for file in where.glob("**/sweep.json") if file.exists()]
        folders = {file.parent for file in files}
        # a decision lies in its search's
        files = [file for file in files if folders.isdisjoint(file.parent.parents)]
        if not files:
            raise UserError(
                f"no sweep in {where} (no sweep.json there or below); name the folder of a sweep"
            )
        newest = max(files, key=lambda file: file.stat().st_mtime)
        where = newest.parent
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
        scores = own_scores(meta)
        of_trials, of_epochs = TABLES
        trials = read_table(folder / of_trials, (*TRIALS, *scores))
        epochs = read_table(folder / of_epochs, (*EPOCHS, *scores))
        labels = {*trials["regime"], *trials["curve_regime"]}
        reasons = set(trials["reason"].dropna())
        are_ours = labels <= set(REGIMES) and reasons <= set(Reason)
        if not are_ours:
            raise UserError(f"the tables in {folder} were not written by a sweep")
        if not reasons:
            trials["error_kind"] = trials["error"].map(older_kind)
        # those of older versions had one an epoch
        trials["reports"] = trials["reports"].fillna(1).astype(int)
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
    epochs = epochs.sort_values(["trial_id", "epoch"], ignore_index=True)
    epochs = with_nullable_counts(epochs, EPOCHS)
    rows = []
    for trial_id, config in journal.known_trials(meta).items():
        row: dict[str, Any] = dict.fromkeys(_OF_AN_END, "")
        # A trial without an end is interrupted, until it is known whether it runs.
        row["stop_reason"] = "interrupted"
        row |= journal.ends.get(trial_id, {})
        row |= config.to_dict()
        row["trial_id"] = trial_id
        row["epochs_asked"] = config.epochs_asked
        row["changed"] = trial_id in journal.changed
        rows.append(row)
    columns = [*FIELDS, "trial_id", "epochs_asked", "changed", *_OF_AN_END]
    trials = pd.DataFrame(rows, columns=columns)
    trials = trials.join(_summary(epochs), on="trial_id")
    without_epochs = {"epochs_run": 0, "best_epoch": 0} | dict.fromkeys(TIMES, 0.0)
    trials = trials.fillna(without_epochs)
    trials = trials.astype({"epochs_run": int, "best_epoch": int})
    # A completed trial that ended before the epochs asked for: a resume asked for more.
    # (In population based training, a trial that copies another one leaves out epochs.)
    last_epochs = epochs.groupby("trial_id")["epoch"].max()
    is_short = trials["trial_id"].map(last_epochs) < trials["epochs_asked"]
    is_completed = trials["stop_reason"].eq("completed")
    is_open = trials["stop_reason"].eq("interrupted") | (is_completed & is_short)
    live: Any = "interrupted"
    if running is None:
        live = "unknown"
    elif running:
        live = np.where(trials["epochs_run"] > 0, "running", "waiting")
    trials["stop_reason"] = trials["stop_reason"].mask(is_open, live)
    return Tables(path, trials, epochs, meta)


_OF_AN_END = ("stop_reason", "error", "error_kind")
"""The columns of `trials` that the journal has of a trial's end."""


def own_scores(meta: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns of both tables with what a task's `score` returns beside loss
    and accuracy, held out."""
    scores = meta["dataset"].get("scores", ())
    return tuple(Column(OWN_SCORE + name, NUMBER) for name in scores)


def _summary(epochs: pd.DataFrame) -> pd.DataFrame:
    """Summarise each trial's epochs: its total times, last scores, best epoch and the
    step at which it diverged.

    All trials at once: pandas takes as long to sum ten rows as ten thousand.
    """
    own = [name for name in epochs if name.startswith(OWN_SCORE)]
    curves = epochs.groupby("trial_id")
    last = epochs.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    best_accuracy = curves["test_accuracy"].transform("max")
    best = epochs[epochs["test_accuracy"] == best_accuracy]
    best = best.drop_duplicates("trial_id").set_index("trial_id")
    # A trial diverged with a loss above the untrained network's, or NaN; or its network
    # is dead and guesses.
    is_lost = ~(last["train_loss"] <= last["untrained_loss"])
    diverged_at = last["above_since"].where(is_lost)
    for steps in (last["guessing_since"], last["above_since"]):
        diverged_at = diverged_at.fillna(steps)
    diverged_at = diverged_at.fillna(last["step"].astype("Int64"))
    return last[[*LAST_SCORES, *own, "node", "device"]].assign(
        **{name: curves[name].sum() for name in TIMES},
        epochs_run=curves.size(),
        best_test_accuracy=curves["test_accuracy"].max(),
        best_epoch=best["epoch"],
        diverged_at_step=diverged_at,
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
    kinds = {
        column.name: "Int64"
        for column in columns
        if column.kind.type is int and column.gaps and column.name in table
    }
    return table.astype(kinds)
