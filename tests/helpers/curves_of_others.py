"""Tables as other tools write them."""

import math
from itertools import product

import numpy as np
import pandas as pd

ACCURACY = {"chance": 0.1, "test_examples": 10_000}
RATES = (0.001, 0.01, 0.1, 1.0)


def expected_accuracy(rate, epoch):
    if rate == 0.001:
        return 0.1 + 0.02 * epoch
    if rate == 0.01:
        return 0.9 - 0.5 * math.exp(-epoch / 3)
    if rate == 0.1:
        return 0.97 - 0.6 * math.exp(-epoch / 1.5)
    return 0.1


def table(seeds=(0, 1), epochs=15, rates=RATES, **columns):
    """Return runs that are slow at small rates, converge at 0.1 and are at chance at
    1."""
    rows = []
    for rate, seed in product(rates, seeds):
        noise = np.random.default_rng(seed).normal(0, 0.002, epochs)
        for epoch in range(1, epochs + 1):
            accuracy = expected_accuracy(rate, epoch) + noise[epoch - 1]
            loss = 2.35 if rate == 1.0 else 2.3 * (1 - accuracy)
            row = {"learning_rate": rate, "seed": seed, "epoch": epoch}
            row |= {"test_accuracy": accuracy, "train_loss": loss}
            rows.append(row)
    return pd.DataFrame(rows).assign(**columns)


def losses(**columns):
    """Return the same runs with losses alone."""
    rows = table(**columns)
    return rows.assign(test_loss=rows["train_loss"]).drop(columns="test_accuracy")


def close(seeds, rates=(0.1, 0.2), apart=0.002, spread=0.0002, **columns):
    """Return runs at rates each of which is a little worse than the one before: by
    `apart`, with a noise of its own for each seed."""
    tables = []
    for place, rate in enumerate(rates):
        rows = table(seeds, rates=[0.1]).assign(learning_rate=rate)
        noise = rows["seed"].map(
            lambda seed, place=place: np.random.default_rng([seed, place]).normal()
        )
        rows["test_accuracy"] -= place * apart + spread * noise
        tables.append(rows)
    return pd.concat(tables, ignore_index=True).assign(**columns)
