"""Made-up sweeps: a small one with chosen stop reasons, and large ones."""

import json
import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mnist_tune import Sweep, TrialConfig
from mnist_tune.regimes.contest import Contest


@pytest.fixture
def sweep(new_writer, epoch_row, tmp_path):
    """A function that makes a finished sweep of four trials: converged, diverged to
    inf, to NaN, and without epochs."""

    def finish(*ends):
        writer = new_writer(tmp_path / "sweep", count=4)
        for epoch in (1, 2, 3, 4):
            writer.epoch("00000", epoch_row(epoch, 0.1 / epoch, 0.97), False)
        diverged = {"finite": False, "diverged": True, "above_since": 2}
        for trial_id, loss in (("00001", math.inf), ("00002", math.nan)):
            writer.epoch(trial_id, epoch_row(1, loss, 0.1, **diverged), False)
        ids = ("00000", "00001", "00002", "00003")
        for trial_id, end in zip(ids, ends, strict=True):
            writer.end(trial_id, *end)
        return Sweep.of(writer.finish(ended="now"))

    return finish


def recorded(trials):
    """Return trials by their ids, as `sweep.json` records them."""
    return {f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)}


def learned(epoch, learning_rate):
    """Return the accuracy after an epoch: the larger the rate, the sooner it is
    high."""
    return 0.98 - 0.8 * math.exp(-10 * epoch * learning_rate)


@pytest.fixture
def made_up_sweep(new_writer, epoch_row, tmp_path):
    """A function that makes a finished sweep: slow at small learning rates, converged,
    then diverged, some to NaN."""

    def rows_of(i, trial):
        """Yield the rows of a trial; it ends once it has diverged."""
        if trial.learning_rate > 2:
            loss = (math.nan, math.inf, 50.0)[i % 3]
            finite = math.isfinite(loss)
            yield epoch_row(1, loss, 0.1, diverged=True, finite=finite, above_since=1)
            return
        for epoch in range(1, trial.epochs + 1):
            accuracy = learned(epoch, trial.learning_rate)
            fields = {"diverged": False, "finite": True, "above_since": None}
            yield epoch_row(epoch, 1.02 - accuracy, accuracy, **fields)

    def finish(rates, seeds=1, architectures=("mlp-4-tanh",), epochs=4, **config):
        writer = new_writer(tmp_path / "sweep")
        trials = [
            TrialConfig(
                architecture=name,
                learning_rate=float(rate),
                seed=seed,
                epochs=epochs,
                **config,
            )
            for name, rate, seed in product(architectures, rates, range(seeds))
        ]
        writer.meta["trials"] = recorded(trials)
        for i, trial in enumerate(trials):
            trial_id = f"{i:05d}"
            for row in rows_of(i, trial):
                writer.epoch(trial_id, row, False)
            reason = "diverged" if trial.learning_rate > 2 else "completed"
            writer.end(trial_id, reason)
        return Sweep.of(writer.finish(ended="now"))

    return finish


@pytest.fixture
def rates():
    """A function that returns `count` learning rates from 0.001 to 4."""
    return lambda count: np.geomspace(1e-3, 4, count)


@pytest.fixture
def edge_sweep(new_writer, epoch_row, tmp_path):
    """A finished search for an edge: seeds learn up to a learning rate of 1.4, but for
    a few about there."""
    writer = new_writer(tmp_path / "edge")
    rates = [0.2, 0.6, 1.0, *np.geomspace(1.2, 1.6, 24), 2.0]
    trials = [
        TrialConfig(learning_rate=float(rate), seed=i, epochs=2)
        for i, rate in enumerate(rates)
    ]
    writer.meta["kind"] = "edge"
    writer.meta["options"] = edge_options(trials[0])
    writer.meta["trials"] = recorded(trials)
    for i, trial in enumerate(trials):
        edge = 1.38 if i % 2 == 0 else 1.42
        loss, accuracy = (0.2, 0.95) if trial.learning_rate < edge else (2.3, 0.1)
        for epoch in (1, 2):
            writer.epoch(f"{i:05d}", epoch_row(epoch, loss, accuracy), False)
        writer.end(f"{i:05d}", "completed")
    return Sweep.of(writer.finish(ended="now"))


def edge_options(trial):
    """Return the options of a search for the edge of a trial's setting."""
    search = trial.to_dict() | {"expected": 1.6}
    return {"searches": [search], "precision": 0.05, "learned": None}


KINDS = ("regimes", "edge", "search", "crossed", "own network")
RATES = (0.01, 0.1, 1.0, 1.4, 4.0)

OWN_NETWORK = {"architecture": "net.py:mlp(width=3)", "optimizer": "net.py:opt"}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "regimes": [{}],
    "edge": [{"epochs": 3}],
    "search": [
        {"architecture": f"mlp-{n}-tanh", "batch_size": 2**n, "momentum": n / 9}
        for n in (3, 4, 5)
    ],
    "crossed": [
        {"architecture": name, "batch_size": n}
        for name, n in product(("mlp-4-tanh", "mlp-8-relu"), (32, 64))
    ],
    "own network": [OWN_NETWORK],
}
"""The settings of a sweep of a kind."""


def of_kind(kind, where, new_writer, epoch_row):
    """Make a finished sweep of a kind in a folder: slow, converged, diverged at 4; two
    seeds; one trial failed."""
    trials = [
        TrialConfig(**{"epochs": 4} | setting, learning_rate=rate, seed=seed)
        for setting, rate, seed in product(SETTINGS[kind], RATES, (0, 1))
    ]
    writer = new_writer(where)
    writer.meta |= meta_of_kind(kind, trials)
    for i, trial in enumerate(trials):
        trial_id = f"{i:05d}"
        for row in rows_of_kind(trial, epoch_row):
            writer.epoch(trial_id, row, False)
        if trial.learning_rate > 2:
            writer.end(trial_id, "diverged", "")
        elif i == 1:
            writer.end(trial_id, "error", "its worker died")
        else:
            writer.end(trial_id, "completed", "")
    writer.finish(ended="2026-01-02T04:04:05+00:00")


def meta_of_kind(kind, trials):
    """Return what `sweep.json` records of a sweep of a kind."""
    meta: dict[str, Any] = {
        "trials": recorded(trials),
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["sweeps/lr_regimes.py", "--seeds", "0", "1"],
    }
    if kind == "edge":
        meta["kind"] = "edge"
        meta["options"] = edge_options(trials[0])
    if kind == "search":
        meta["name"] = "search"
        meta["kind"] = "search"
        meta["options"] = {"by": "tpe", "samples": 3}
    if kind == "own network":
        files = {"net.py": {"sha256": "0", "lines": ["import jax"]}}
        code = {"files": files, "folder": "/tmp"}
        meta["code"] = [
            {"flag": "architecture", "name": "net.py:mlp"} | code,
            {"flag": "optimizer", "name": "net.py:opt"} | code,
        ]
    return meta


def rows_of_kind(trial, epoch_row):
    """Yield the rows of a trial of a sweep of a kind."""
    if trial.learning_rate > 2:
        diverged = {"diverged": True, "finite": False, "above_since": 1}
        rows = [epoch_row(1, math.nan, 0.1, **diverged)]
    else:
        rows = []
        for epoch in range(1, trial.epochs + 1):
            accuracy = learned(epoch, trial.learning_rate) - 0.001 * trial.seed
            rows.append(epoch_row(epoch, 1.02 - accuracy, accuracy))
    for epoch, row in enumerate(rows, start=1):
        steps = json.dumps([[10 * epoch, 5.0, 0.01, 4.0]])
        yield row | {"sharpness": 5.0, "sharpness_steps": steps}


def decision(base, settings, accuracy, **options):
    """Return a decision between settings, with the columns of a sweep: `accuracy` is
    asked for the held-out one of a seed (0, 1, ...) and a setting; NaN stands for a
    trial that diverged, None for one that failed."""
    contenders = [{"holdout": 100, "epochs": 1} | setting for setting in settings]
    defaults = {"at_a_time": 1, "trials": 40, "tolerance": None}
    meta = base.meta | {"options": {"contenders": contenders} | defaults | options}
    contest = Contest.of(meta)
    rows = []
    while len(rows) < len(contest.asked):
        number = len(rows)
        score = accuracy(*contest.asked[number])
        row = contest.trial(number, 0).to_dict() | {
            "trial_id": f"{number:05d}",
            "stop_reason": end_of(score),
            "validation_accuracy": score,
        }
        contest.tell(number, None if score is None else row)
        test_accuracy = score and score - 0.01
        rows.append(row | {"test_accuracy": test_accuracy, "regime": "converged"})
    trials = repeated(base.trials, len(rows), epochs_run=1, epochs_asked=1, error="")
    columns = pd.DataFrame(rows)
    for name in columns:
        if name in trials:
            trials[name] = columns[name]
    epochs = repeated(
        base.epochs,
        len(rows),
        trial_id=trials["trial_id"],
        validation_accuracy=trials["validation_accuracy"],
        validation_loss=0.3,
    )
    return replace(base, trials=trials, epochs=epochs, meta=meta)


def end_of(score):
    """Return why a trial with this score ended."""
    if score is None:
        return "error"
    return "diverged" if math.isnan(score) else "completed"


def repeated(table, count, **columns):
    """Return a table with its first row so many times, and with further columns."""
    rows = pd.concat([table[:1]] * count, ignore_index=True)
    return rows.assign(**columns)
