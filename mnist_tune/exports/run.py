"""A trial as experiment trackers see it: an id that never changes, parameters, labels,
and a row for each epoch."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, OWN_SCORE
from mnist_tune.errors import UserError
from mnist_tune.regimes.families import whole_epochs
from mnist_tune.results.arguments import given_arguments
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place
from mnist_tune.trial import FIELDS

METRICS = tuple(
    column.name
    for column in EPOCHS
    if column.kind.type is float and column.name != "ended_at"
)
"""The columns of `epochs` that become curves."""

LABELS = (
    "regime",
    "regime_evidence",
    "stop_reason",
    "node",
    "device",
    "dataset",
    "error",
)
"""The columns of `trials` that become tags."""

EXPORT = "this export"
"""What needs an optional library."""

TOOLS = ("sqlalchemy", "optuna", "mlflow")
"""The packages whose errors say that nothing can be written."""


class Row(NamedTuple):
    """An epoch of a trial."""

    epoch: int
    time: float
    """When it ended, in seconds; 0 in journals of older versions, which did not say."""
    metrics: Mapping[str, float]
    """Without what is not finite: infinite values stretch a tool's axes until nothing
    else can be seen."""


@dataclass(frozen=True)
class ExportedRun:
    """A trial as experiment trackers see it."""

    id: str
    """The same in every export of the sweep, also after a resume or a move of its
    folder."""
    trial_id: str
    params: Mapping[str, Any]
    """Every field of the trial's configuration, and the arguments of what it names."""
    labels: Mapping[str, str]
    rows: tuple[Row, ...]

    @property
    def began(self) -> float | None:
        """When its first epoch began, in seconds; None before that has ended."""
        if not self.rows:
            return None
        ended, metrics = self.rows[0].time, self.rows[0].metrics
        parts = ("compile_s", "train_s", "eval_s")
        duration = sum(metrics.get(name, 0.0) for name in parts)
        return max(0.0, ended - duration)


def sweep_id(sweep: Tables) -> str:
    """Return an id of the sweep that depends neither on where its folder is nor on what
    a resume adds."""
    identity = json.dumps([sweep.record.name, sweep.record.started])
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def title(sweep: Tables) -> str:
    """Return what a sweep is called in trackers, some of which make a folder of it: its
    name, when it began and, since several may begin at once, its id."""
    name = sweep.record.name[:100]
    began = str(sweep.record.started or "")[:19]
    parts = filter(None, [name, began, sweep_id(sweep)])
    return re.sub(r"[^\w. -]", "-", " ".join(parts), flags=re.ASCII)


def runs(sweep: Tables) -> list[ExportedRun]:
    """Return the trials of a sweep, in the order of the table."""
    prefix = sweep_id(sweep)
    settings = [name for name in FIELDS if name in sweep.trials]
    arguments = given_arguments(sweep.trials)
    rows = _rows(sweep.epochs)
    exported = []
    trials = sweep.trials.to_dict("records")
    for trial, own in zip(trials, arguments, strict=True):
        trial_id = trial["trial_id"]
        params = {name: trial[name] for name in settings}
        params["epochs"] = int(whole_epochs(trial))
        params |= own
        labels = {}
        for name in LABELS:
            label = trial.get(name)
            if label and isinstance(label, str):
                labels[name] = label
        run_id = f"{prefix}-{trial_id}"
        own_rows = tuple(rows.get(trial_id, ()))
        exported.append(ExportedRun(run_id, trial_id, params, labels, own_rows))
    return exported


def _rows(epochs: pd.DataFrame) -> dict[str, list[Row]]:
    """Return the rows of each trial, in order, by its id."""
    own_scores = [name for name in epochs if name.startswith(OWN_SCORE)]
    rows = dict[str, list[Row]]()
    ordered = epochs.sort_values("epoch", kind="stable")
    for values in ordered.to_dict("records"):
        time = values.get("ended_at", 0.0)
        if not math.isfinite(time):
            time = 0.0
        metrics = {}
        for name in (*METRICS, *own_scores):
            value = values.get(name, math.nan)
            if math.isfinite(value):
                metrics[name] = value
        row = Row(int(values["epoch"]), time, metrics)
        rows.setdefault(values["trial_id"], []).append(row)
    return rows


def local_folder(output: str) -> Path:
    """Return the folder that a tool is to write. Raises `UserError` if it is a URI,
    which the tool can't."""
    folder = storage.place(output)
    if not isinstance(folder, Path):
        what = "this export writes files that are appended to"
        raise UserError(f"{what}, so --output can't be {output}; name a folder")
    return folder


@contextmanager
def writing(output: Place) -> Iterator[None]:
    """Raise a `UserError` in place of an OSError, or an error of a database, with where
    nothing can be written."""
    try:
        yield
    except Exception as error:
        is_of_tool = type(error).__module__.startswith(TOOLS)
        if not is_of_tool and not isinstance(error, OSError):
            raise
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"can't write {output}: {why}; name another --output") from None


def write(file: Place, content: bytes) -> None:
    """Write a file of an export, in a folder that may be new. Raises `UserError` if it
    can't be written."""
    with writing(file):
        if isinstance(file, Path):
            file.parent.mkdir(parents=True, exist_ok=True)
        storage.write(file, content)
