"""A trial as experiment trackers see it: an id that never changes, parameters, labels,
and a row for each epoch."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, OWN_SCORE
from mnist_tune.errors import UserError
from mnist_tune.results.tables import Tables
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

METRICS = tuple(
    one.name for one in EPOCHS if one.kind.type is float and one.name != "ended_at"
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
    """Every field of the trial's configuration."""
    labels: Mapping[str, str]
    rows: tuple[Row, ...]

    @property
    def began(self) -> float | None:
        """When its first epoch began, in seconds; None before that has ended."""
        first = self.rows[0] if self.rows else None
        took = ("compile_s", "train_s", "eval_s")
        return first and max(
            0.0, first.time - sum(first.metrics.get(name, 0.0) for name in took)
        )


def sweep_id(sweep: Tables) -> str:
    """Return an id of the sweep that depends neither on where its folder is nor on what
    a resume adds."""
    asked = [sweep.record.name, sweep.record.started]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def title(sweep: Tables) -> str:
    """Return what a sweep is called in trackers, some of which make a folder of it: its
    name, when it began and, since several may begin at once, its id."""
    said = (
        sweep.record.name[:100],
        str(sweep.record.started or "")[:19],
        sweep_id(sweep),
    )
    return re.sub(r"[^\w. -]", "-", " ".join(filter(None, said)), flags=re.ASCII)


def runs(sweep: Tables) -> list[ExportedRun]:
    """Return the trials of a sweep, in the order of the table."""
    known = [one.name for one in fields(TrialConfig) if one.name in sweep.trials]
    epochs, prefix = sweep.epochs.sort_values("epoch", kind="stable"), sweep_id(sweep)
    curves, found = dict[str, list[Row]](), []
    names = (*METRICS, *(name for name in epochs if name.startswith(OWN_SCORE)))
    for row in epochs.to_dict("records"):
        time = row.get("ended_at", 0.0)
        metrics = {
            name: row[name] for name in names if math.isfinite(row.get(name, math.nan))
        }
        one = Row(int(row["epoch"]), time if math.isfinite(time) else 0.0, metrics)
        curves.setdefault(row["trial_id"], []).append(one)
    for trial in sweep.trials.to_dict("records"):
        key = trial["trial_id"]
        params = {name: trial[name] for name in known} | {
            "epochs": int(trial["epochs_asked"])
        }
        labels = {
            name: trial[name]
            for name in LABELS
            if isinstance(trial.get(name), str) and trial[name]
        }
        found.append(
            ExportedRun(
                f"{prefix}-{key}", key, params, labels, tuple(curves.get(key, ()))
            )
        )
    return found


def local_folder(output: str) -> Path:
    """Return the folder that a tool is to write. Raises `UserError` if it is a URI,
    which the tool can't."""
    if not isinstance(where := storage.place(output), Path):
        raise UserError(
            f"this export writes files that are appended to, so --output can't be {output}; name a folder"
        )
    return where


@contextmanager
def writing(output: Place) -> Iterator[None]:
    """Raise a `UserError` in place of an OSError, or an error of a database, with where
    nothing can be written."""
    try:
        yield
    except Exception as error:
        if not (
            isinstance(error, OSError)
            or type(error).__module__.startswith(("sqlalchemy", "optuna", "mlflow"))
        ):
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


def library(name: str) -> Any:
    """Return an optional library. Raises `UserError` if it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UserError(
            f"this export needs {package}; to install it: python -m pip install {package}"
        ) from None
