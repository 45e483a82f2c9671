"""Curves of networks, data and optimisers that no rule was made on, labelled by a person before the rules were run.

`benchmarks/unseen_curves.py` trains them, and `docs/regimes.md` reports the first look. From set 6 on, the column
`acceptable` of an arguable curve has all labels that the person would accept; that of a clear curve is empty.
"""

from pathlib import Path

import pandas as pd

from mnist_tune.regimes.data_facts import DATA, DataFacts
from mnist_tune.regimes.labels import label_trials

HERE = Path(__file__).parent


def unseen_sweeps(number):
    """Yield, for each sweep of a set, its name, its trials with the `expected` label, their epochs and the data."""
    trials, epochs, labels = (
        pd.read_csv(HERE / f"unseen_{number}_{part}.csv", dtype={"trial_id": str})
        for part in ("trials", "epochs", "labels")
    )
    keys = [name for name in ("sweep", "learning_rate", "seed") if name in labels]
    trials = trials.merge(labels, on=keys, validate="one_to_one").assign(architecture="net")
    for name, part in trials.groupby("sweep", sort=False):
        yield name, part.reset_index(drop=True), epochs[epochs["sweep"] == name], data_of(part.iloc[0])


def data_of(trial):
    known = DATA.get(trial["dataset"])
    target = known.target if known else None if pd.isna(trial["target"]) else float(trial["target"])
    return DataFacts.of([int(count) for count in trial["label_counts"].split()], int(trial["test_images"]), target)


def labelled(trials, epochs, data):
    return label_trials(trials, epochs, data)
