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


def replicates(accuracies, losses=None, regimes=None, **config):
    """A row a seed, as in the trials table."""
    table = pd.DataFrame(
        [
            TrialConfig(seed=i, **{"holdout": 0} | config).to_dict()
            for i in range(len(accuracies))
        ]
    )
    losses = losses or [1 - value for value in accuracies]
    scores = dict.fromkeys(
        ("train_accuracy", "validation_accuracy", "test_accuracy"), accuracies
    )
    scores |= dict.fromkeys(("train_loss", "test_loss"), losses)
    table = table.rename(columns={"epochs": "epochs_asked"})
    return table.assign(regime=regimes or ["converged"] * len(accuracies), **scores)


# --- replicates


@pytest.mark.parametrize("count", [3, 5])
def test_mean_spread_and_students_interval(count, stats):
    values = VALUES[:count]
    (row,) = summarise_replicates(replicates(values)).to_dict("records")
    for name in ("train_accuracy", "test_accuracy"):
        assert row[f"{name}_mean"] == pytest.approx(statistics.fmean(values), rel=EXACT)
        assert row[f"{name}_std"] == pytest.approx(statistics.stdev(values), rel=EXACT)
        low, high = stats.t.interval(
            0.95, count - 1, statistics.fmean(values), stats.sem(values)
        )
        assert row[f"{name}_ci95"] == pytest.approx((high - low) / 2, rel=EXACT)
    assert row["train_loss_mean"] == pytest.approx(
        1 - statistics.fmean(values), rel=EXACT
    )
    assert (row["replicates"], row["regimes"]) == (count, f"{count} converged")


def test_replicates_differ_by_their_seeds_alone():
    fields = {
        "epochs_asked" if name == "epochs" else name for name in TrialConfig().to_dict()
    }
    assert fields - set(CONFIGURATION) == {"seed", "data_seed", "stop_when_diverged"}


def test_two_values_have_no_interval_but_are_told():
    (row,) = summarise_replicates(replicates(VALUES[:2])).to_dict("records")
    assert (row["test_accuracy_min"], row["test_accuracy_max"]) == (0.9755, 0.9792)
    assert math.isnan(row["test_accuracy_ci95"])
    assert math.isnan(half_width(0.1, 1))


def test_a_grid_is_no_sample():
    """Means over learning rates have a range, but no interval, nor has the share of
    them that converged."""
    grid = pd.concat(
        [replicates(VALUES, learning_rate=rate) for rate in (0.1, 0.2)],
        ignore_index=True,
    )
    (row,) = summarise_replicates(grid, ["batch_size"]).to_dict("records")
    assert (row["replicates"], row["converged"], row["test_accuracy_max"]) == (
        10,
        "10 of 10",
        0.9854,
    )
    assert row["test_accuracy_mean"] == pytest.approx(
        statistics.fmean(VALUES), rel=EXACT
    )
    assert all(
        math.isnan(row[name])
        for name in ("test_accuracy_ci95", "converged_low", "converged_high")
    )
    of_seeds = summarise_replicates(grid, ["batch_size", "learning_rate"])
    assert of_seeds[["test_accuracy_ci95", "converged_low"]].notna().all(axis=None)


# --- how many converged


@pytest.mark.parametrize(
    ("successes", "count"), [(0, 5), (1, 5), (4, 5), (5, 5), (17, 40)]
)
def test_clopper_pearson_is_the_exact_interval(successes, count, stats):
    expected = stats.binomtest(successes, count).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, count) == pytest.approx(
        (expected.low, expected.high), rel=1e-9
    )
