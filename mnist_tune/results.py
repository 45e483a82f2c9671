"""A sweep's results: what is written while it runs, and the tables read from it.

A folder holds `sweep.json` (what was asked, where and with which versions), `journal.jsonl` (an append-only
line per event, the truth at any moment), `states/` (the trials' saved states) and, once the sweep has ended,
`trials.parquet` and `epochs.parquet`. A kill at any moment leaves a folder that `load_sweep` reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_tune.config import TrialConfig
from mnist_tune.errors import UserError
from mnist_tune.regimes import label_curves, label_siblings

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


class SweepWriter:
    """Writes a sweep's folder while it runs.

    Raises:
        UserError: the folder can't be written, or (without `resume`) holds a sweep already.
    """

    def __init__(self, path: Path, meta: dict[str, Any], resume: bool = False) -> None:
        self.path, self.meta = path, meta
        if not resume and (path / "sweep.json").exists():
            raise UserError(f"{path} holds a sweep already; name another --output or go on with --resume {path}")
        try:
            (path / "states").mkdir(parents=True, exist_ok=True)
            _mend_last_line(path / "journal.jsonl")
            self._journal = (path / "journal.jsonl").open("a", encoding="utf-8")
            write_atomically(path / "sweep.json", json.dumps(meta, indent=1).encode())
        except OSError as error:
            raise UserError(f"can't write results to {path}: {error.strerror}; name another --output") from None
        self._rows = {(event["trial_id"], event["epoch"]) for event in read_journal(path) if event["kind"] == "epoch"}

    @property
    def states(self) -> Path:
        return self.path / "states"

    def trial(self, trial_id: str, config: TrialConfig) -> None:
        """Records a trial that the plan in `sweep.json` does not hold, such as one that a searcher proposed."""
        self._append({"kind": "trial", "trial_id": trial_id, "config": config.to_dict()})

    def epoch(self, trial_id: str, row: Mapping[str, Any], repeated: bool) -> None:
        """Records an epoch's row; one that a continued trial repeats is kept only if it had been lost."""
        if repeated and (trial_id, row["epoch"]) in self._rows:
            return
        self._rows.add((trial_id, row["epoch"]))
        self._append({"kind": "epoch", "trial_id": trial_id, **row})

    def end(self, trial_id: str, stop_reason: str, error: str = "") -> None:
        self._append({"kind": "end", "trial_id": trial_id, "stop_reason": stop_reason, "error": error})

    def finish(self, **meta: Any) -> Sweep:
        """Writes the tables and returns them."""
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._journal.close()
        self.meta |= meta
        sweep = tables(self.path, self.meta)
        write_atomically(self.path / "trials.parquet", sweep.trials.to_parquet(index=False))
        write_atomically(self.path / "epochs.parquet", sweep.epochs.to_parquet(index=False))
        write_atomically(self.path / "sweep.json", json.dumps(self.meta, indent=1).encode())
        self._tidy(sweep.trials)
        return sweep

    def _tidy(self, trials: pd.DataFrame) -> None:
        """Removes what only a resumed sweep needs: states of trials that ended, Tune's own files."""
        for trial_id in trials["trial_id"][trials["stop_reason"].isin(FINAL_REASONS)]:
            (self.states / f"{trial_id}.npz").unlink(missing_ok=True)
        shutil.rmtree(self.path / ".ray", ignore_errors=True)

    def _append(self, event: dict[str, Any]) -> None:
        try:
            self._journal.write(json.dumps(event) + "\n")
            self._journal.flush()
        except OSError as error:
            raise UserError(
                f"can't write to {self._journal.name}: {error.strerror}; then --resume {self.path}"
            ) from None


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


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of a sweep in order; a last line torn by a kill is left out."""
    events, file = [], path / "journal.jsonl"
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def trial_configs(path: Path, meta: Mapping[str, Any]) -> dict[str, TrialConfig]:
    """Every trial of a sweep, planned or proposed while it ran, by its id."""
    configs = dict(meta["trials"])
    configs |= {event["trial_id"]: event["config"] for event in read_journal(path) if event["kind"] == "trial"}
    return {trial_id: TrialConfig.from_dict(config) for trial_id, config in configs.items()}


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


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file so that a kill leaves the former one or the new one, whole."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _mend_last_line(journal: Path) -> None:
    """Ends a line torn by a kill, so that the next event starts a line of its own."""
    if journal.exists() and not journal.read_bytes().endswith(b"\n"):
        with journal.open("ab") as file:
            file.write(b"\n")
