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


TIMES = {"train_s": 0.5, "eval_s": 0.2, "compile_s": 0.0, "wait_s": 0.05}
PLACE = {"node": "here", "device": "cpu"}
EVIDENCE = "would reach 0.95 at epoch 37 (80%: 13 to 110); rate 0.2 did in epoch 1"
META = {
    "name": "lr_regimes",
    "dataset": recorded_data("mnist"),
    "ended": "now",
    "options": {},
}


def many_trials(count, epochs):
    """A sweep of `count` trials: three networks, two batch sizes, ten seeds a rate;
    slow, converged and diverged."""
    random = np.random.default_rng(0)
    number = np.arange(count)
    ids = np.array([f"{i:05d}" for i in number])
    rates = np.geomspace(1e-3, 8, -(-count // 10))[number // 10]
    diverged = rates * random.uniform(0.7, 1.4, count) > 2
    epochs_run = np.where(diverged, 2, epochs)
    noise = random.normal(0, 0.003, (count, epochs))
    rows = epochs_of(ids, rates, diverged, epochs_run, noise)
    trials = settings_of(ids, rates, epochs).assign(epochs_run=epochs_run)
    last = rows.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    scores = last.drop(columns=["epoch", "lanes", "fill", "ended_at"])
    trials = labelled(trials.join(scores, on="trial_id"), diverged)
    return Sweep(
        Path("many"),
        trials.reindex(columns=[column.name for column in TRIALS]),
        rows.reindex(columns=[column.name for column in EPOCHS]),
        META,
    )


def epochs_of(ids, rates, diverged, epochs_run, noise):
    """Return the rows of all epochs, a trial after the other."""
    count, epochs = noise.shape
    epoch = np.arange(1, epochs + 1)
    accuracy = 0.98 - 0.8 * np.exp(-2 * rates[:, None] * epoch) + noise
    accuracy[diverged] = 0.1
    loss = 1.02 - accuracy
    losses_at_the_end = np.resize([np.nan, np.inf, 50], count)
    loss[diverged] = losses_at_the_end[diverged, None]
    was_run = epoch <= epochs_run[:, None]
    trial, index = np.nonzero(was_run)
    rows = pd.DataFrame({"trial_id": ids[trial], "epoch": epoch[index]})
    for split, gap in (("train", 0.0), ("test", 0.01)):
        rows[f"{split}_accuracy"] = (accuracy - gap)[was_run]
        rows[f"{split}_loss"] = (loss + gap)[was_run]
    rows = rows.assign(**TIMES, **PLACE, lanes=1.0, fill=np.nan)
    return rows.assign(ended_at=1e9 + rows["epoch"])


def settings_of(ids, rates, epochs):
    """Return the settings of each trial."""
    number = np.arange(len(ids))
    config = TrialConfig(learning_rate=0.1, epochs=epochs, holdout=0).to_dict()
    del config["epochs"]
    trials = pd.DataFrame(config, index=number).assign(trial_id=ids, seed=number % 10)
    trials["learning_rate"] = rates
    trials["architecture"] = np.array(NETWORKS)[number // 2 % 3]
    trials["batch_size"] = np.array([32, 128])[number % 2]
    return trials.assign(epochs_asked=epochs, error="")


def labelled(trials, diverged):
    """Return trials with their labels, and what follows from these."""
    has_converged = trials["train_accuracy"] > 0.95
    regime = np.where(has_converged, "converged", "slow")
    regime[diverged] = "diverged"
    return trials.assign(
        regime=regime,
        curve_regime=regime,
        reason="late_beside_faster",
        regime_evidence=EVIDENCE,
        stop_reason=np.where(diverged, "diverged", "completed"),
        reaches=np.where(regime == "converged", 3.0, np.nan),
    )
