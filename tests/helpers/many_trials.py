"""A made-up sweep of thousands of trials, as tables: writing that many rows to a
journal would take a minute."""

from pathlib import Path

import numpy as np
import pandas as pd
from recorded_data import recorded_data

from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig

NETWORKS = ("mlp-16-tanh", "mlp-64-tanh", "mlp-256-tanh")


def many_trials(count, epochs):
    """A sweep of `count` trials: three networks, two batch sizes, ten seeds a rate;
    slow, converged and diverged."""
    random = np.random.default_rng(0)
    number = np.arange(count)
    ids = [f"{i:05d}" for i in number]
    rates = np.geomspace(1e-3, 8, -(-count // 10))[number // 10]
    diverged = rates * random.uniform(0.7, 1.4, count) > 2
    run = np.where(diverged, 2, epochs)
    epoch = np.arange(1, epochs + 1)
    accuracy = (
        0.98
        - 0.8 * np.exp(-2 * rates[:, None] * epoch)
        + random.normal(0, 0.003, (count, epochs))
    )
    accuracy[diverged] = 0.1
    loss = np.where(
        diverged[:, None],
        np.array([np.nan, np.inf, 50])[number % 3][:, None],
        1.02 - accuracy,
    )
    kept = epoch <= run[:, None]
    row, column = np.nonzero(kept)
    table = pd.DataFrame({"trial_id": np.array(ids)[row], "epoch": epoch[column]})
    for split, gap in (("train", 0.0), ("test", 0.01)):
        table[f"{split}_accuracy"] = (accuracy - gap)[kept]
        table[f"{split}_loss"] = (loss + gap)[kept]
    times = {
        "train_s": 0.5,
        "eval_s": 0.2,
        "compile_s": 0.0,
        "wait_s": 0.05,
        "node": "here",
        "device": "cpu",
    }
    table = table.assign(**times, lanes=1.0, fill=np.nan, ended_at=1e9 + table["epoch"])
    config = TrialConfig(learning_rate=0.1, epochs=epochs, holdout=0).to_dict()
    trials = pd.DataFrame(
        {
            "trial_id": ids,
            "learning_rate": rates,
            "seed": number % 10,
            "epochs_run": run,
        }
    )
    trials = trials.assign(
        **{
            name: value
            for name, value in config.items()
            if name not in trials and name != "epochs"
        }
    )
    trials["architecture"], trials["batch_size"] = (
        np.array(NETWORKS)[number // 2 % 3],
        np.array([32, 128])[number % 2],
    )
    last = table.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    trials = trials.join(
        last[
            [
                name
                for name in last
                if name not in ("epoch", "lanes", "fill", "ended_at")
            ]
        ],
        on="trial_id",
    )
    regime = np.where(
        diverged,
        "diverged",
        np.where(trials["train_accuracy"] > 0.95, "converged", "slow"),
    )
    said = "would reach 0.95 at epoch 37 (80%: 13 to 110); rate 0.2 did in epoch 1"
    trials = trials.assign(
        epochs_asked=epochs,
        regime=regime,
        curve_regime=regime,
        reason="late_beside_faster",
        regime_evidence=said,
        error="",
    )
    trials["stop_reason"] = np.where(diverged, "diverged", "completed")
    trials["reaches"] = np.where(regime == "converged", 3.0, np.nan)
    shape = [one.name for one in EPOCHS], [one.name for one in TRIALS]
    meta = {
        "name": "lr_regimes",
        "dataset": recorded_data("mnist"),
        "ended": "now",
        "options": {},
    }
    return Sweep(
        Path("many"),
        trials.reindex(columns=shape[1]),
        table.reindex(columns=shape[0]),
        meta,
    )
