"""At which learning rates each regime is said to be found."""

import numpy as np
from families import REPLICATES, family

from mnist_tune.reports.spans import spans


def test_each_regime_is_said_with_its_rates_and_seeds():
    assert spans(REPLICATES) == [
        "converges up to 1.3 (5 of 6 seeds)",
        "diverges from 1.3 (2 of 4 seeds)",
        "oscillates at 2 (1 of 2 seeds)",
    ]


def test_gaps_and_cut_trials_are_named():
    rows = {0.1: "slow", 0.2: "undecided", 0.4: "converged", 0.7: "oscillating", 1.0: "converged", 1.3: "undecided"}
    table = family({rate: [(regime, 0.9)] for rate, regime in rows.items()})
    table.loc[1, "reaches"] = 14.0
    table.loc[5, ["epochs_run", "reaches"]] = 5, np.inf  # it never gets there, so it is not on its way
    assert spans(table) == [
        "slow at 0.1",
        "on its way at 0.2",
        "converges at 0.4 and at 1",
        "oscillates at 0.7",
        "undecided at 1.3 (cut after 5 epochs)",
    ]


def test_of_cut_trials_the_one_that_ran_longest_is_named():
    table = family({0.1: [("undecided", 0.9), ("undecided", 0.9)], 0.2: [("undecided", 0.9)]})
    assert spans(table.assign(epochs_run=[5, 9, 7])) == ["undecided at all rates, 0.1 to 0.2 (cut after 9 epochs)"]


def test_many_runs_of_a_regime_are_one_range():
    regimes = ["converged", "oscillating"] * 6
    assert spans(family({rate: [(regimes[rate - 1], 0.9)] for rate in range(1, 13)})) == [
        "converges up to 11 (6 of 11 trials)",
        "oscillates from 2 (6 of 11 trials)",
    ]
