"""The tables of a sweep, read from its folder: one row per trial, and one row per epoch of a trial.

A sweep that is running, or was killed at any moment, can be read too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import COUNT, EPOCHS, LABELLED, TRIALS
from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import CONTENDERS, Contest
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.decision import standing
from mnist_tune.regimes.families import families, varied
from mnist_tune.regimes.labels import REGIMES, label_trials
from mnist_tune.regimes.measured_edge import MeasuredEdge, measured_edges
from mnist_tune.regimes.replicates import CONFIGURATION, summarise_replicates
from mnist_tune.results.folder import JOURNAL, exists, fetch, is_being_written
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

TIMES = ("compile_s", "train_s", "eval_s", "wait_s")
"""Columns that `trials` sums over a trial's epochs."""

GAPS = {one.name: "Int64" for one in EPOCHS if one.kind is COUNT and one.gaps}
"""Counts with gaps are nullable integers; pandas would make them floats."""


@dataclass(frozen=True, repr=False)
class Tables:
    """The tables `trials` and `epochs` of a sweep, and the content of its `sweep.json` as `meta`."""

    path: Place
    trials: pd.DataFrame
    epochs: pd.DataFrame
    meta: dict[str, Any]

    def edges(self) -> list[MeasuredEdge]:
        """Return the edges that the sweep measured (`mnist_tune.find_edge`); none if it looked for none."""
        return self._edges

    @cached_property
    def _edges(self) -> list[MeasuredEdge]:
        return list(measured_edges(families(self.trials), self.epochs, self.meta))

    @cached_property
    def decision(self) -> Contest | None:
        """What `sweeps/decide.py` found so far; None for other sweeps, and for one that has not begun to train."""
        asked = self.meta.get("options", {})
        begun = CONTENDERS in asked and asked.get("at_a_time") is not None
        return Contest.of(self.meta).replay(self.trials) if begun else None

    def best(self) -> pd.DataFrame:
        """Return the settings that compete to be the best, the best first: `accuracy` is their mean on held-out images
        over `seeds`, `gap` how far below the best, `close` that they are not told apart from it (`standing`)."""
        return standing(self.trials, data_facts(self.meta).test_images)

    def contenders(self) -> list[TrialConfig]:
        """Return the best setting and those that are not told apart from it, the best first, each with the seed 0."""
        found = self.best()
        rows = found[found["close"]][CONFIGURATION].rename(columns={"epochs_asked": "epochs"})
        return [TrialConfig.from_dict(row) for row in rows.to_dict("records")]

    def by(self, *names: str) -> pd.DataFrame:
        """Return mean, standard deviation and 95% interval of each score, a row for each value of these columns, such
        as `sweep.by("batch_size")`; by default for each configuration. What else differs is averaged over.

        Raises:
            UserError: `trials` has no such column.
        """
        self._refuse_unknown(names)
        trained = self.trials[self.trials["epochs_run"] > 0]
        return summarise_replicates(trained, [*names] or CONFIGURATION)

    def picture(self, name: str) -> Path:
        """Return the path for a picture: in the sweep's folder, or the current folder if that is in object storage."""
        return storage.join(self.path, name) if isinstance(self.path, Path) else Path(name)

    def curves(self, column: str) -> pd.DataFrame:
        """Return a column of `epochs` as a table of shape [epochs, trials].

        Raises:
            UserError: `epochs` has no such column.
        """
        if column not in self.epochs:
            raise UserError(f"epochs has no column {column!r}; it has {', '.join(self.epochs.columns)}")
        return self.epochs.pivot(index="epoch", columns="trial_id", values=column)

    def with_settings(self, *names: str) -> pd.DataFrame:
        """Return `epochs` with these columns of `trials` joined, by default the settings in which trials differ, and
        the seed.

        Raises:
            UserError: `trials` has no such column.
        """
        self._refuse_unknown(names)
        wanted = [name for name in names or (*varied(self.trials), "seed") if name not in self.epochs]
        return self.epochs.join(self.trials.set_index("trial_id")[wanted], on="trial_id")

    def _refuse_unknown(self, names: Sequence[str]) -> None:
        if unknown := [name for name in names if name not in self.trials]:
            raise UserError(f"trials has no column {unknown[0]!r}; it has {', '.join(self.trials.columns)}")

    def sharpness(self) -> pd.DataFrame:
        """Return every measurement of sharpness: `trial_id`, `step`, `sharpness`, `residual`, `batch_sharpness`, and
        for Adam `preconditioned` and `preconditioned_residual`, else NaN. Step 0 is before training.

        Raises:
            UserError: none was measured.
        """
        if "sharpness_steps" not in self.epochs:
            raise UserError(f"no sharpness was measured in {self.path}; --sharpness does")
        names = ("sharpness", "residual", "batch_sharpness", "preconditioned", "preconditioned_residual")
        kinds = {"step": int} | dict.fromkeys(names, float)
        try:
            rows = [
                (trial_id, *measured, *[np.nan] * (2 if len(measured) == 4 else 0))
                for trial_id, steps in self.epochs[["trial_id", "sharpness_steps"]].dropna().itertuples(index=False)
                for measured in json.loads(steps)
            ]
            return pd.DataFrame(rows, columns=["trial_id", *kinds]).astype(kinds)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise UserError(f"sharpness_steps of epochs in {self.path} holds no measurements; it is damaged") from None


def together(sweeps: Sequence[Tables]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the trials, the epochs and the measurements of sharpness of several sweeps, with ids that differ. Raises
    `UserError` if no sharpness was measured in any."""
    if not any("sharpness_steps" in sweep.epochs for sweep in sweeps):
        sweeps[0].sharpness()  # raises
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for i, sweep in enumerate(sweeps):
        tables = [sweep.trials, sweep.epochs, *([sweep.sharpness()] if "sharpness_steps" in sweep.epochs else [])]
        for found, table in zip(parts, tables, strict=False):
            found.append(table.assign(trial_id=f"{i}-" + table["trial_id"]))
    trials, epochs, measured = (pd.concat(found, ignore_index=True) for found in parts)
    return trials, epochs, measured


def read_sweep(path: str | Path) -> Tables:
    """Read the tables of a sweep, finished or not, as `mnist_tune.load_sweep` does. Raises `UserError`."""
    where = storage.place(path)
    if isinstance(where, str):
        with TemporaryDirectory() as folder:
            fetch(where, Path(folder))
            return replace(_read(Path(folder)), path=where)
    if not exists(where):
        found = [file for file in where.glob("**/sweep.json") if file.exists()]  # a link may lead nowhere
        folders = {file.parent for file in found}
        whole = [file for file in found if folders.isdisjoint(file.parent.parents)]  # a decision lies in its search's
        if not whole:
            raise UserError(f"no sweep in {where} (no sweep.json there or below); name the folder of a sweep")
        where = max(whole, key=lambda file: file.stat().st_mtime).parent
    return _read(where)


def _read(folder: Path) -> Tables:
    """Return the tables of a sweep, whose labels are known if it has ended."""
    meta = read_meta(folder)
    if meta.get("ended") is None:
        return tables(folder, meta, running=is_being_written(folder))
    if not (folder / JOURNAL).exists():
        raise UserError(f"{folder} has no {JOURNAL}, which holds what a sweep did; name the folder of a sweep")
    return tables(folder, meta, ended=True)


def tables(path: Path, meta: dict[str, Any], running: bool | None = False, ended: bool = False) -> Tables:
    """Make the tables from the journal. If an epoch was recorded twice, the last row counts. If the sweep has `ended`,
    its labels are in the journal, too; else they are made here.

    While a process is `running` the sweep, trials that have not ended are running or waiting; unknown if that is None.
    """
    journal = read_journal(path)
    epochs = journal.epochs.drop_duplicates(["trial_id", "epoch"], keep="last")
    epochs = epochs.sort_values(["trial_id", "epoch"], ignore_index=True).astype(GAPS)
    rows = [
        {"stop_reason": "interrupted", "error": ""}
        | journal.ends.get(trial_id, {})
        | config.to_dict()
        | {"trial_id": trial_id, "epochs_asked": config.epochs}
        for trial_id, config in journal.known_trials(meta).items()
    ]
    known = [field.name for field in fields(TrialConfig)]
    trials = pd.DataFrame(rows, columns=[*known, "trial_id", "epochs_asked", "stop_reason", "error"])
    trials = trials.join(_summary(epochs), on="trial_id")
    without_epochs = dict.fromkeys(("epochs_run", "best_epoch"), 0) | dict.fromkeys(TIMES, 0.0)
    trials = trials.fillna(without_epochs).astype({"epochs_run": int, "best_epoch": int})
    data = data_facts(meta)
    # A completed trial that ended before the epochs asked for: a resume asked for more. (In population based training,
    # a trial that copies another one leaves out epochs.)
    short = trials["trial_id"].map(epochs.groupby("trial_id")["epoch"].max()) < trials["epochs_asked"]
    open_ = trials["stop_reason"].eq("interrupted") | (trials["stop_reason"].eq("completed") & short)
    begun = np.where(trials["epochs_run"] > 0, "running", "waiting")
    live = "unknown" if running is None else begun if running else "interrupted"
    trials["stop_reason"] = trials["stop_reason"].mask(open_, live)
    kept = [journal.labels.get(trial_id) for trial_id in trials["trial_id"]] if ended else [None]
    if None in kept or not {one[name] for one in kept for name in ("regime", "curve_regime")} <= set(REGIMES):
        trials = label_trials(trials, epochs, data)
    else:
        labels = pd.DataFrame(kept, columns=[*LABELLED])
        trials = trials.join(labels.astype(dict.fromkeys(LABELLED[3:], float)))
    trials["dataset"] = meta["dataset"]["name"]
    trials["diverged_at_step"] = trials["diverged_at_step"].where(trials["regime"] == "diverged")
    return Tables(path, trials[[column.name for column in TRIALS]], _as_asked(epochs), meta)


def _as_asked(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return epochs without the columns of what only some sweeps measure, if this one did not."""
    asked = [name for name in epochs if name.startswith("validation") or "sharpness" in name or name == "answers"]
    return epochs.drop(columns=[name for name in asked if epochs[name].isna().all()])


def _summary(epochs: pd.DataFrame) -> pd.DataFrame:
    """Summarise each trial's epochs: its total times, last scores, best epoch and the step at which it diverged.

    All trials at once: pandas takes as long to sum ten rows as ten thousand.
    """
    scores = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    curves = epochs.groupby("trial_id")
    last = epochs.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    # A trial diverged with a loss above the untrained network's, or NaN; or its network is dead and guesses.
    lost = ~(last["train_loss"] <= last["untrained_loss"])
    above, guesses = last["above_since"], last["guessing_since"]
    held_out = epochs["validation_accuracy"].astype(float).fillna(epochs["test_accuracy"].astype(float))
    best = epochs[epochs["test_accuracy"] == curves["test_accuracy"].transform("max")].drop_duplicates("trial_id")
    return last[[*scores, "validation_loss", "validation_accuracy", "answers", "node", "device"]].assign(
        **{name: curves[name].sum() for name in TIMES},
        epochs_run=curves.size(),
        best_test_accuracy=curves["test_accuracy"].max(),
        largest_fall=held_out.groupby(epochs["trial_id"]).diff(-1).groupby(epochs["trial_id"]).max().clip(0),
        best_epoch=best.set_index("trial_id")["epoch"],
        diverged_at_step=above.where(lost).fillna(guesses).fillna(above).fillna(last["step"].astype("Int64")),
    )
