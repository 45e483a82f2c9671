"""Measured curves, labelled by a person: sweeps on MNIST. `docs/labels.md` shows some
of them.

Each sweep is `python sweeps/lr_regimes.py --scheduler fifo` with these flags, on full
MNIST with seed 0 and ten epochs unless they say otherwise:

- tiny: --architecture mlp-16-tanh --learning-rates 1e-5 1e-4 1e-3 0.01 0.1 1 3 10
- batch_8: --architecture mlp-64-tanh --epochs 8 --batch-size 8 --learning-rates 0.003
  0.01 0.03 0.1 0.3 1 3
- batch_128: --architecture mlp-64-tanh --epochs 8 --learning-rates 0.03 0.1 0.3 1 3 10
  30
- batch_2048: --architecture mlp-64-tanh --batch-size 2048 --learning-rates 0.1 0.3 1 3
  10 30
- relu: --architecture mlp-64-relu-glorot --epochs 8 --learning-rates 0.01 0.03 0.1 0.3
  1 3 10 30
- edge: --learning-rates 1 1.3 1.6 --seeds 0 1 2 3 4
- edge_5k: --no-stop-when-diverged --epochs 40 --dataset mnist-5k, learning rate (seed)
  1.3 (1, 6), 1.6 (4), 2 (0)
- noise_small: --architecture mlp-16-tanh --label-noise 30000 --learning-rates 0.01 0.1
  0.3 1 3
- noise_large: --architecture mlp-512-tanh --label-noise 30000 --learning-rates 0.01
  0.03 0.1 0.3 1
- few_images: --architecture mlp-64-tanh --dataset mnist-5k --epochs 20 --learning-rates
  0.01 0.03 0.1 0.3 1 3 10
- blurred: --architecture mlp-64-tanh --dataset fashion-mnist --data-dir BLURRED
  --epochs 8 --learning-rates 0.01 0.03 0.1 0.3 1 3 10

BLURRED is MNIST in four IDX files, blurred (Gaussian, 2.5 pixels) and with noise of 25
grey values. That makes it as hard as Fashion-MNIST.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from mnist_tune.regimes.data_facts import DATA
from mnist_tune.regimes.labels import label_trials
from validation.label_cuts import complete

HERE = Path(__file__).parents[1] / "regimes"


def real_sweeps():
    """Yield the trials of each sweep, with the `expected` label, and their epochs."""
    trials = read_table("real_trials.csv")
    epochs = read_table("real_epochs.csv")
    for name, part in trials.groupby("sweep", sort=False):
        trials_of_sweep = complete(part).reset_index(drop=True)
        yield name, trials_of_sweep, epochs[epochs["sweep"] == name]


def read_table(name):
    table = pd.read_csv(HERE / name, dtype={"trial": str})
    return table.rename(columns={"trial": "trial_id"})


def data_of(trials):
    """The person who labelled the blurred images had 0.87 for a target."""
    facts = DATA[trials["dataset"].iloc[0]]
    if trials["sweep"].iloc[0] == "blurred":
        return replace(facts, target=0.87)
    return facts


def labelled(trials, epochs):
    return label_trials(trials, epochs, data_of(trials))


SWEEPS = {name: (trials, epochs) for name, trials, epochs in real_sweeps()}
