"""At which learning rates each regime is said to be found."""

import numpy as np
from families import REPLICATES, family

from mnist_tune.reports.spans import spans


def test_each_regime_is_said_with_its_rates_and_seeds():
    assert spans(REPLICATES) == [
        "converges up to 1.3 (5 of 6 trials)",
        "diverges from 1.3 (2 of 4 trials)",
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


def test_only_a_regime_of_undecided_trials_is_said_to_be_cut():
    table = family({0.1: [("converged", 0.9)], 0.2: [("converged", 0.9), ("undecided", 0.9)]})
    assert spans(table.assign(epochs_run=[10, 10, 2])) == [
        "converges at all rates, 0.1 to 0.2 (2 of 3 trials)",
        "undecided at 0.2 (1 of 2 seeds) (cut after 2 epochs)",
    ]


def test_rates_that_look_alike_are_told_apart_and_those_that_never_trained_are_not_claimed():
    table = family({1.0001: [("converged", 0.9)], 1.0002: [("diverged", 0.1)]})
    assert spans(table) == ["converges at 1.0001", "diverges at 1.0002"]
    table = family({0.1: [("converged", 0.9)], 0.2: [("converged", 0.9)], 0.8: [("undecided", 0.1)]})
    assert spans(table.assign(epochs_run=[10, 10, 0])) == ["converges at all rates that trained, 0.1 to 0.2"]


def test_a_trial_without_epochs_is_not_counted():
    table = family({0.1: [("converged", 0.9), ("undecided", 0.9)], 0.2: [("undecided", 0.9)], 0.4: [("slow", 0.9)]})
    assert spans(table.assign(epochs_run=[10, 0, 0, 10])) == ["converges at 0.1", "slow at 0.4"]
    assert spans(table.assign(epochs_run=0)) == []


def test_regimes_are_said_in_the_order_of_their_rates_and_of_how_well_they_learn():
    regimes = ["diverged", "overfit", "converged", "undecided", "underfit", "slow"]
    found = spans(family({0.1: [(name, 0.9) for name in regimes], 0.2: [("oscillating", 0.9), ("converged", 0.9)]}))
    share = "at 0.1 (1 of 6 seeds)"
    assert found == [
        f"slow {share}",
        f"underfits {share}",
        f"undecided {share}",
        "converges at all rates, 0.1 to 0.2 (2 of 8 trials)",
        f"overfits {share}",
        f"diverges {share}",
        "oscillates at 0.2 (1 of 2 seeds)",
    ]


def test_only_undecided_trials_are_said_to_be_cut_or_on_their_way():
    rows = {0.1: ["slow"], 0.2: ["undecided"], 0.4: ["undecided"] * 2}
    table = family({rate: [(name, 0.9) for name in names] for rate, names in rows.items()})
    table = table.assign(epochs_run=[3, 10, 4, 10], reaches=[np.nan, 5.0, np.nan, np.nan])  # 0.2 has been there
    assert spans(table) == ["slow at 0.1", "undecided from 0.2 (cut after 4 epochs)"]


def test_up_to_three_runs_of_a_regime_are_named_each_with_its_own_share():
    regimes = ["converged", "slow", "converged", "slow", "converged"]
    rows = {rate: [(regime, 0.9)] for rate, regime in enumerate(regimes, start=1)}
    rows[5] = [("converged", 0.9), ("diverged", 0.1)]
    assert spans(family(rows))[:2] == [
        "converges at 1 and at 3 and at 5 (1 of 2 seeds)",
        "slow at 2 and at 4",
    ]
    more = {rate: [("slow" if rate % 2 else "converged", 0.9)] for rate in range(1, 8)}
    assert spans(family(more).assign(seed=range(7))) == [
        "slow at all rates, 1 to 7 (4 of 7 trials)",
        "converges at 2 and at 4 and at 6",
    ]
