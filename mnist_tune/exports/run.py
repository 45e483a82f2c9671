"""A trial as experiment trackers see it: an id that never changes, parameters, labels, and a row for each epoch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import pandas as pd

from mnist_tune.columns import EPOCHS, NUMBER
from mnist_tune.errors import UserError
from mnist_tune.results.journal import LIVE_REASONS, UNFINISHED_REASONS
from mnist_tune.results.tables import Tables
from mnist_tune.trial import TrialConfig

METRICS = tuple(one.name for one in EPOCHS if one.kind is NUMBER and one.name != "ended_at")
"""The columns of `epochs` that become curves."""

LABELS = ("regime", "regime_evidence", "stop_reason", "node", "device", "dataset", "error")
"""The columns of `trials` that become tags."""

NOT_ENDED = (*UNFINISHED_REASONS, *LIVE_REASONS)


@dataclass(frozen=True)
class Run:
    """A trial as experiment trackers see it."""

    id: str
    """The same in every export of the sweep, also after a resume or a move of its folder."""
    trial_id: str
    params: Mapping[str, Any]
    """Every field of the trial's configuration."""
    labels: Mapping[str, str]
    rows: tuple[Mapping[str, float], ...]
    """For each epoch its number, the time at which it ended (in seconds) and its metrics. What is not finite is NaN:
    infinite values stretch a tool's axes until nothing else can be seen."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, unless the trial is asked for more epochs."""
        return self.labels["stop_reason"] not in NOT_ENDED

    @property
    def failed(self) -> bool:
        return self.labels["stop_reason"] == "error" or self.labels["regime"] == "diverged"


def sweep_id(sweep: Tables) -> str:
    """Return an id of the sweep that does not depend on where its folder is."""
    asked = [sweep.meta.get(name) for name in ("name", "started", "trials")]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def title(sweep: Tables) -> str:
    """Return what a sweep is called in trackers: its name and when it began."""
    return " ".join([sweep.meta["name"], str(sweep.meta.get("started") or sweep_id(sweep))[:19]]).replace(":", "-")


def runs(sweep: Tables) -> list[Run]:
    """Return the trials of a sweep, in the order of the table."""
    known = [one.name for one in fields(TrialConfig) if one.name in sweep.trials]
    metrics = [name for name in METRICS if name in sweep.epochs and not sweep.epochs[name].isna().all()]
    times = sweep.epochs.get("ended_at", pd.Series(0.0, sweep.epochs.index)).fillna(0.0)  # older versions kept none
    kept = sweep.epochs[["trial_id", "epoch"]].assign(time=times, **{name: sweep.epochs[name] for name in metrics})
    kept = kept.sort_values(["trial_id", "epoch"], kind="stable")
    curves = {str(key): group.drop(columns="trial_id").to_dict("records") for key, group in kept.groupby("trial_id")}
    found, prefix = [], sweep_id(sweep)
    for trial in sweep.trials.to_dict("records"):
        key = str(trial["trial_id"])
        params = {name: plain(trial[name]) for name in known} | {"epochs": int(trial["epochs_asked"])}
        labels = {name: str(trial[name]) for name in LABELS if trial.get(name) not in (None, "") and _is(trial[name])}
        rows = tuple({name: _finite(value) for name, value in row.items()} for row in curves.get(key, []))
        found.append(Run(f"{prefix}-{key}", key, params, labels, rows))
    return found


def plain(value: Any) -> Any:
    """Return a value of a table as Python's own type."""
    return value.item() if hasattr(value, "item") else value


def library(name: str, package: str = "") -> Any:
    """Return an optional library.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        package = package or name.partition(".")[0]
        raise UserError(f"this export needs {package}; to install it: python -m pip install {package}") from None


def _is(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))


def _finite(value: Any) -> float:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan
