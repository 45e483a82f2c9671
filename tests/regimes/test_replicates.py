"""Replicates' means and intervals, the printed report, the picture."""

import math
import statistics

import pandas as pd
import pytest

from mnist_tune import TrialConfig
from mnist_tune.regimes.replicates import (
    CONFIGURATION,
    clopper_pearson,
    half_width,
    summarise_replicates,
)

EXACT = 1e-12
VALUES = [0.9792, 0.9755, 0.9854, 0.983, 0.9851]


SCORES = ("train_accuracy", "validation_accuracy", "test_accuracy")


def exactly(value):
    return pytest.approx(value, rel=EXACT)


def replicates(accuracies, **config):
    """A row a seed, as in the trials table, of trials that converged."""
    config = {"holdout": 0} | config
    seeds = range(len(accuracies))
    rows = [TrialConfig(seed=seed, **config).to_dict() for seed in seeds]
    table = pd.DataFrame(rows).rename(columns={"epochs": "epochs_asked"})
    for name in SCORES:
        table[name] = accuracies
    losses = [1 - value for value in accuracies]
    return table.assign(regime="converged", train_loss=losses, test_loss=losses)


# --- replicates


@pytest.mark.parametrize("count", [3, 5])
def test_mean_spread_and_students_interval(count, stats):
    values = VALUES[:count]
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, count - 1, mean, error)
    (row,) = summarise_replicates(replicates(values)).to_dict("records")
    for name in ("train_accuracy", "test_accuracy"):
        assert row[f"{name}_mean"] == exactly(mean)
        assert row[f"{name}_std"] == exactly(deviation)
        assert row[f"{name}_ci95"] == exactly((high - low) / 2)
    assert row["train_loss_mean"] == exactly(1 - mean)
    assert row["replicates"] == count
    assert row["regimes"] == f"{count} converged"


def test_replicates_differ_by_their_seeds_alone():
    fields = set(TrialConfig().to_dict())
    columns = fields - {"epochs"} | {"epochs_asked"}
    seeds = columns - set(CONFIGURATION)
    assert seeds == {"seed", "data_seed", "stop_when_diverged", "reports"}


def test_two_values_have_no_interval_but_are_told():
    (row,) = summarise_replicates(replicates(VALUES[:2])).to_dict("records")
    assert row["test_accuracy_min"] == 0.9755
    assert row["test_accuracy_max"] == 0.9792
    assert math.isnan(row["test_accuracy_ci95"])
    assert math.isnan(half_width(0.1, 1))


def test_a_grid_is_no_sample():
    """Means over learning rates have a range, but no interval, nor has the share of
    them that converged."""
    rates = [replicates(VALUES, learning_rate=rate) for rate in (0.1, 0.2)]
    grid = pd.concat(rates, ignore_index=True)
    (row,) = summarise_replicates(grid, ["batch_size"]).to_dict("records")
    assert row["replicates"] == 10
    assert row["converged"] == "10 of 10"
    assert row["test_accuracy_max"] == 0.9854
    assert row["test_accuracy_mean"] == exactly(statistics.fmean(VALUES))
    for name in ("test_accuracy_ci95", "converged_low", "converged_high"):
        assert math.isnan(row[name])
    of_seeds = summarise_replicates(grid, ["batch_size", "learning_rate"])
    assert of_seeds[["test_accuracy_ci95", "converged_low"]].notna().all(axis=None)


# --- how many converged


@pytest.mark.parametrize(
    ("successes", "count"), [(0, 5), (1, 5), (4, 5), (5, 5), (17, 40)]
)
def test_clopper_pearson_is_the_exact_interval(successes, count, stats):
    test = stats.binomtest(successes, count)
    exact = test.proportion_ci(0.95, method="exact")
    interval = clopper_pearson(successes, count)
    assert interval == pytest.approx((exact.low, exact.high), rel=1e-9)
