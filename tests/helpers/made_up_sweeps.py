"""Made-up sweeps: a small one with chosen stop reasons, and large ones."""

import json
import math
from dataclasses import replace
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
        for trial_id, loss in (("00001", math.inf), ("00002", math.nan)):
            writer.epoch(
                trial_id,
                epoch_row(1, loss, 0.1, finite=False, diverged=True, above_since=2),
                False,
            )
        for trial_id, end in zip(
            ("00000", "00001", "00002", "00003"), ends, strict=True
        ):
            writer.end(trial_id, *end)
        return Sweep.of(writer.finish(ended="now"))

    return finish


@pytest.fixture
def made_up_sweep(new_writer, epoch_row, tmp_path):
    """A function that makes a finished sweep: slow at small learning rates, converged,
    then diverged, some to NaN."""

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
            for name in architectures
            for rate in rates
            for seed in range(seeds)
        ]
        writer.meta["trials"] = {
            f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)
        }
        for i, trial in enumerate(trials):
            for epoch in range(1, epochs + 1):
                diverged = trial.learning_rate > 2
                accuracy = (
                    0.1
                    if diverged
                    else 0.98 - 0.8 * math.exp(-10 * epoch * trial.learning_rate)
                )
                loss = (
                    (math.nan, math.inf, 50.0)[i % 3] if diverged else 1.02 - accuracy
                )
                values = {
                    "diverged": diverged,
                    "finite": math.isfinite(loss),
                    "above_since": 1 if diverged else None,
                }
                writer.epoch(
                    f"{i:05d}", epoch_row(epoch, loss, accuracy, **values), False
                )
                if diverged:
                    break
            writer.end(f"{i:05d}", "diverged" if diverged else "completed")
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
    search = trials[0].to_dict() | {"expected": 1.6}
    writer.meta |= {
        "kind": "edge",
        "options": {"searches": [search], "precision": 0.05, "learned": None},
    }
    writer.meta["trials"] = {
        f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)
    }
    for i, trial in enumerate(trials):
        learns = trial.learning_rate < 1.4 - 0.02 * (-1) ** i
        for epoch in (1, 2):
            writer.epoch(
                f"{i:05d}",
                epoch_row(epoch, *((0.2, 0.95) if learns else (2.3, 0.1))),
                False,
            )
        writer.end(f"{i:05d}", "completed")
    return Sweep.of(writer.finish(ended="now"))


KINDS = ("regimes", "edge", "search", "crossed", "own network")
RATES = (0.01, 0.1, 1.0, 1.4, 4.0)


def of_kind(kind, where, new_writer, epoch_row):
    """Make a finished sweep of a kind in a folder: slow, converged, diverged at 4; two
    seeds; one trial failed."""
    configs: list[dict[str, Any]] = {
        "regimes": [{}],
        "edge": [{"epochs": 3}],
        "search": [
            {"architecture": f"mlp-{n}-tanh", "batch_size": 2**n, "momentum": n / 9}
            for n in (3, 4, 5)
        ],
        "crossed": [
            {"architecture": name, "batch_size": n}
            for name in ("mlp-4-tanh", "mlp-8-relu")
            for n in (32, 64)
        ],
        "own network": [
            {"architecture": "net.py:mlp(width=3)", "optimizer": "net.py:opt"}
        ],
    }[kind]
    trials = [
        TrialConfig(
            **one
            | {"learning_rate": rate, "seed": seed, "epochs": one.get("epochs", 4)}
        )
        for one in configs
        for rate in RATES
        for seed in (0, 1)
    ]
    writer = new_writer(where)
    writer.meta["trials"] = {
        f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)
    }
    writer.meta |= {
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["sweeps/lr_regimes.py", "--seeds", "0", "1"],
    }
    if kind == "edge":
        search = trials[0].to_dict() | {"expected": 1.6}
        writer.meta["kind"] = "edge"
        writer.meta["options"] = {
            "searches": [search],
            "precision": 0.05,
            "learned": None,
        }
    if kind == "search":
        writer.meta |= {
            "name": "search",
            "kind": "search",
            "options": {"by": "tpe", "samples": 3},
        }
    if kind == "own network":
        files = {"net.py": {"sha256": "0", "lines": ["import jax"]}}
        writer.meta["code"] = [
            {"flag": flag, "name": f"net.py:{name}", "files": files, "folder": "/tmp"}
            for flag, name in (("architecture", "mlp"), ("optimizer", "opt"))
        ]
    for i, trial in enumerate(trials):
        lost = trial.learning_rate > 2
        for epoch in range(1, 2 if lost else trial.epochs + 1):
            said = {"diverged": True, "finite": False, "above_since": 1} if lost else {}
            accuracy = (
                0.1
                if lost
                else 0.98
                - 0.8 * math.exp(-10 * epoch * trial.learning_rate)
                - 0.001 * trial.seed
            )
            row = epoch_row(
                epoch, math.nan if lost else 1.02 - accuracy, accuracy, **said
            )
            measured = json.dumps([[10 * epoch, 5.0, 0.01, 4.0]])
            writer.epoch(
                f"{i:05d}", row | {"sharpness": 5.0, "sharpness_steps": measured}, False
            )
        writer.end(
            f"{i:05d}",
            "diverged" if lost else "error" if i == 1 else "completed",
            "its worker died" * (i == 1),
        )
    writer.finish(ended="2026-01-02T04:04:05+00:00")


def decision(base, settings, accuracy, **options):
    """Return a decision between settings, with the columns of a sweep: `accuracy` is
    asked for the held-out one of a seed (0, 1, ...) and a setting; NaN stands for a
    trial that diverged, None for one that failed."""
    contenders = [{"holdout": 100, "epochs": 1} | one for one in settings]
    asked = {
        "contenders": contenders,
        "at_a_time": 1,
        "trials": 40,
        "tolerance": None,
    } | options
    contest = Contest.of(base.meta | {"options": asked})
    rows = []
    while len(rows) < len(contest.asked):
        number = len(rows)
        order, one = contest.asked[number]
        found, config = accuracy(order, one), contest.trial(number, 0)
        ends = (
            "error"
            if found is None
            else "diverged"
            if math.isnan(found)
            else "completed"
        )
        row = config.to_dict() | {
            "trial_id": f"{number:05d}",
            "stop_reason": ends,
            "validation_accuracy": found,
        }
        rows.append(
            row | {"test_accuracy": found and found - 0.01, "regime": "converged"}
        )
        contest.tell(number, None if found is None else row)
    trials = pd.concat([base.trials[:1]] * len(rows), ignore_index=True).assign(
        epochs_run=1, epochs_asked=1, error=""
    )
    trials = trials.assign(
        **pd.DataFrame(rows)[[name for name in rows[0] if name in trials]]
    )
    epochs = pd.concat([base.epochs[:1]] * len(rows), ignore_index=True).assign(
        trial_id=trials["trial_id"]
    )
    epochs = epochs.assign(
        validation_accuracy=trials["validation_accuracy"], validation_loss=0.3
    )
    return replace(
        base, trials=trials, epochs=epochs, meta=base.meta | {"options": asked}
    )
