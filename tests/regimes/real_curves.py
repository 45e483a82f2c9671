"""Measured curves, labelled by a person: sweeps on MNIST whose commands and picture are in `docs/labels.md`."""

from pathlib import Path

import pandas as pd

from mnist_tune.regimes.data_facts import DATA
from mnist_tune.regimes.labels import label_trials

HERE = Path(__file__).parent


def real_sweeps():
    """Yield the trials of each sweep, with the `expected` label, and their epochs."""
    trials, epochs = (
        pd.read_csv(HERE / f"real_{name}.csv", dtype={"trial": str}).rename(columns={"trial": "trial_id"})
        for name in ("trials", "epochs")
    )
    for name, part in trials.groupby("sweep", sort=False):
        yield name, part.reset_index(drop=True), epochs[epochs["sweep"] == name]


def data_of(trials):
    return DATA[trials["dataset"].iloc[0]]


def labelled(trials, epochs):
    data = data_of(trials)
    return label_trials(trials, epochs, data)


SWEEPS = {name: (trials, epochs) for name, trials, epochs in real_sweeps()}
