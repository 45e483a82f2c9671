"""The tables of a sweep: a row a trial, a row an epoch of a trial, read from its folder.

A sweep that is running, or was killed at any moment, is readable all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_tune.errors import UserError
from mnist_tune.results.journal import read_journal, trial_configs
from mnist_tune.results.regimes import label_curves, label_siblings
from mnist_tune.trial import TrialConfig

EPOCH_COLUMNS = """
    trial_id epoch step learning_rate train_loss train_accuracy test_loss test_accuracy validation_loss
    validation_accuracy step_loss_first step_loss_max step_loss_last finite diverged above_since untrained_loss
    compile_s train_s eval_s wait_s lanes fill node device ended_at
""".split()
"""Of `epochs`: losses are mean cross-entropy in nats, accuracies fractions, times seconds, counts 1-based.
`above_since` is the step at which the loss rose above `untrained_loss` and stayed there."""

TRIAL_COLUMNS = """
    trial_id label architecture learning_rate momentum nesterov batch_size label_noise holdout seed data_seed
    epochs_run epochs_asked regime regime_evidence curve_regime stop_reason diverged_at_step
    train_loss train_accuracy test_loss test_accuracy best_test_accuracy best_epoch
    compile_s train_s eval_s wait_s node device dataset error
""".split()
"""Of `trials`: `regime` is the sweep's label, `curve_regime` what the trial's own curve tells."""


FINAL_REASONS = ("completed", "diverged", "asha")
"""Reasons for which a trial does not go on when its sweep is resumed."""


@dataclass(frozen=True)
class Sweep:
    """The tables of a sweep: a row a trial, a row an epoch of a trial, and what `sweep.json` says."""

    path: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    meta: dict[str, Any]

    def curves(self, column: str) -> pd.DataFrame:
        """A column of `epochs` as a table of epoch × trial.

        Raises:
            UserError: `epochs` has no such column.
        """
        if column not in self.epochs:
            raise UserError(f"epochs has no column {column!r}; it has {', '.join(self.epochs.columns)}")
        return self.epochs.pivot(index="epoch", columns="trial_id", values=column)


def load_sweep(path: str | Path) -> Sweep:
    """Reads a sweep's folder, finished or not.

    Args:
        path: the folder, or one above it that holds a single kind of sweep, of which the newest is taken.

    Raises:
        UserError: there is no sweep at or below `path`.
    """
    folder = Path(path)
    if not (folder / "sweep.json").exists():
        inside = sorted(folder.glob("**/sweep.json"), key=lambda file: file.stat().st_mtime)
        if not inside:
            raise UserError(f"no sweep in {folder} (no sweep.json there or below); name the folder of a sweep")
        folder = inside[-1].parent
    meta = json.loads((folder / "sweep.json").read_text())
    if meta.get("ended") is None:
        return tables(folder, meta)
    trials, epochs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("trials", "epochs"))
    return Sweep(folder, trials, epochs, meta)


def tables(path: Path, meta: dict[str, Any]) -> Sweep:
    """The tables from the journal, with regimes; each (trial, epoch) once, the last recorded."""
    events = read_journal(path)
    rows = {(event["trial_id"], event["epoch"]): event for event in events if event["kind"] == "epoch"}
    epochs = pd.DataFrame(list(rows.values()), columns=EPOCH_COLUMNS)
    epochs = epochs.sort_values(["trial_id", "epoch"], ignore_index=True)
    epochs["above_since"] = epochs["above_since"].astype("Int64")
    ends = {event["trial_id"]: event for event in events if event["kind"] == "end"}
    curves = dict(list(epochs.groupby("trial_id")))
    trials = pd.DataFrame(
        [
            trial_row(trial_id, config, curves.get(trial_id, epochs.iloc[:0]), ends.get(trial_id, {}))
            for trial_id, config in trial_configs(path, meta).items()
        ]
    )
    trials = label_siblings(label_curves(trials, epochs), epochs).assign(dataset=meta["dataset"]["name"])
    trials["diverged_at_step"] = trials["diverged_at_step"].astype("Int64")
    return Sweep(path, trials[TRIAL_COLUMNS], _without_unmeasured(epochs), meta)


def _without_unmeasured(epochs: pd.DataFrame) -> pd.DataFrame:
    """Without the validation columns where no split is held out."""
    return epochs.drop(columns=[c for c in epochs if c.startswith("validation") and epochs[c].isna().all()])


def trial_row(trial_id: str, config: TrialConfig, curve: pd.DataFrame, end: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `trials` but for its regime."""
    row = config.to_dict() | {"trial_id": trial_id, "epochs_asked": config.epochs, "epochs_run": len(curve)}
    row |= {"stop_reason": end.get("stop_reason", "interrupted"), "error": end.get("error", "")}
    row |= {f"{name}_s": curve[f"{name}_s"].sum() for name in ("compile", "train", "eval", "wait")}
    last = curve.iloc[-1] if len(curve) else pd.Series(dtype=object)
    copied = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "node", "device")
    row |= {name: last.get(name) for name in copied}
    best = curve["test_accuracy"].idxmax() if len(curve) else None
    row["best_test_accuracy"] = curve["test_accuracy"].max()
    row["best_epoch"] = 0 if best is None else int(curve["epoch"][best])
    row["diverged_at_step"] = None
    if len(curve) and last["diverged"]:
        row["diverged_at_step"] = last["step"] if pd.isna(last["above_since"]) else last["above_since"]
    return row
