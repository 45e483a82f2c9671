"""The tables of a sweep: a row a trial, a row an epoch of a trial, read from its folder.

A sweep that is running, or was killed at any moment, is readable all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.errors import UserError
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.labels import REGIMES, label_curves, label_siblings
from mnist_tune.results.folder import fetch
from mnist_tune.results.journal import known_trials, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.parquet import read_table, with_kinds
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

TIMES = ("compile_s", "train_s", "eval_s", "wait_s")
"""Summed over a trial's epochs."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """The tables of a sweep: a row a trial, a row an epoch of a trial, and what `sweep.json` says."""

    path: Place
    trials: pd.DataFrame
    epochs: pd.DataFrame
    meta: dict[str, Any]

    def picture(self, name: str) -> Path:
        """Where a picture of this sweep goes: into its folder; of one in object storage, into the current folder."""
        return self.path / name if isinstance(self.path, Path) else Path(name)

    def curves(self, column: str) -> pd.DataFrame:
        """A column of `epochs` as a table of epoch × trial.

        Raises:
            UserError: `epochs` has no such column.
        """
        if column not in self.epochs:
            raise UserError(f"epochs has no column {column!r}; it has {', '.join(self.epochs.columns)}")
        return self.epochs.pivot(index="epoch", columns="trial_id", values=column)


def load_sweep(path: str | Path) -> Sweep:
    """Reads a sweep, finished or not.

    Args:
        path: its folder, or one above it that holds a single kind of sweep, of which the newest is taken; or the URI
            of its folder in object storage, such as `s3://bucket/sweep`.

    Raises:
        UserError: there is no sweep at (or, of a local folder, below) `path`, or it can't be read.
    """
    where = storage.place(path)
    if isinstance(where, str):
        with TemporaryDirectory() as folder:
            fetch(where, Path(folder))
            return replace(_read(Path(folder)), path=where)
    if not (where / "sweep.json").exists():
        inside = sorted(where.glob("**/sweep.json"), key=lambda file: file.stat().st_mtime)
        if not inside:
            raise UserError(f"no sweep in {where} (no sweep.json there or below); name the folder of a sweep")
        where = inside[-1].parent
    return _read(where)


def _read(folder: Path) -> Sweep:
    meta = read_meta(folder)
    return tables(folder, meta) if meta.get("ended") is None else _stored(folder, meta)


def _stored(folder: Path, meta: dict[str, Any]) -> Sweep:
    """The tables of an ended sweep; from its journal, where their files are damaged."""
    try:
        trials = read_table(folder / "trials.parquet", str(folder / "trials.parquet"), TRIALS)
        epochs = read_table(folder / "epochs.parquet", str(folder / "epochs.parquet"), EPOCHS)
        if not set(trials["regime"]) <= set(REGIMES) or epochs.duplicated(["trial_id", "epoch"]).any():
            raise UserError(f"the tables in {folder} are not what a sweep stores")
    except UserError as error:
        if not (folder / "journal.jsonl").exists():
            raise
        _log.warning("%s; its tables are made from its journal", error)
        return tables(folder, meta)
    return Sweep(folder, trials, epochs, meta)


def tables(path: Path, meta: dict[str, Any]) -> Sweep:
    """The tables from the journal, with regimes; each (trial, epoch) once, the last recorded."""
    events = read_journal(path)
    rows = {(event["trial_id"], event["epoch"]): event for event in events if event["kind"] == "epoch"}
    epochs = pd.DataFrame(list(rows.values()), columns=[column.name for column in EPOCHS])
    epochs = with_kinds(epochs.sort_values(["trial_id", "epoch"], ignore_index=True), EPOCHS)
    ends = {event["trial_id"]: event for event in events if event["kind"] == "end"}
    trials = _asked(known_trials(meta, events), ends).join(_reached(epochs), on="trial_id")
    none = dict.fromkeys(("epochs_run", "best_epoch"), 0) | dict.fromkeys(TIMES, 0.0)
    trials = trials.fillna(none).astype({"epochs_run": int, "best_epoch": int})
    data = data_facts(meta)
    trials = label_siblings(label_curves(trials, epochs, data), epochs, data).assign(dataset=meta["dataset"]["name"])
    trials["diverged_at_step"] = trials["diverged_at_step"].where(trials["regime"] == "diverged")
    return Sweep(path, trials[[column.name for column in TRIALS]], _without_unmeasured(epochs), meta)


def _without_unmeasured(epochs: pd.DataFrame) -> pd.DataFrame:
    """Without the validation columns where no split is held out."""
    return epochs.drop(columns=[c for c in epochs if c.startswith("validation") and epochs[c].isna().all()])


def _asked(configs: Mapping[str, TrialConfig], ends: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What is known of trials without their epochs: a row each."""
    rows = []
    for trial_id, config in configs.items():
        end = ends.get(trial_id, {})
        row = config.to_dict() | {"trial_id": trial_id, "epochs_asked": config.epochs}
        rows.append(row | {"stop_reason": end.get("stop_reason", "interrupted"), "error": end.get("error", "")})
    known = [field.name for field in fields(TrialConfig)]
    return pd.DataFrame(rows, columns=[*known, "trial_id", "epochs_asked", "stop_reason", "error"])


def _reached(epochs: pd.DataFrame) -> pd.DataFrame:
    """What the epochs say of their trials, by trial: sums of times, the last epoch's scores, the best epoch.

    Of all trials at once: pandas takes as long for a sum of ten rows as for one of ten thousand.
    """
    scores = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    epochs = epochs.astype(dict.fromkeys((*scores, *TIMES), float))  # without any row they are of no kind
    curves = epochs.groupby("trial_id")
    last = epochs.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    lost = ~(last["train_loss"] <= last["untrained_loss"])  # NaN, too; else the network is dead, and guesses
    above, guesses = last["above_since"], last["guessing_since"]
    best = epochs[epochs["test_accuracy"] == curves["test_accuracy"].transform("max")].drop_duplicates("trial_id")
    return last[[*scores, "node", "device"]].assign(
        **{name: curves[name].sum() for name in TIMES},
        epochs_run=curves.size(),
        best_test_accuracy=curves["test_accuracy"].max(),
        best_epoch=best.set_index("trial_id")["epoch"],
        diverged_at_step=above.where(lost).fillna(guesses).fillna(above).fillna(last["step"].astype("Int64")),
    )
