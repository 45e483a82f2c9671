"""What tables, pictures and pages show: which trials, in which order."""

import pandas as pd

from mnist_tune.regimes.replicates import counts
from mnist_tune.reports.page_data import evenly, listed, range_of, so_far, words


def test_trials_are_counted_by_how_far_they_are_and_by_regime():
    reasons = ["completed", "error", "running", "running", "waiting"]
    regimes = ["slow", "undecided", "converged", "slow", "undecided"]
    trials = pd.DataFrame({"stop_reason": reasons, "regime": regimes, "epochs_run": [3, 0, 1, 2, 0]})
    assert so_far(trials) == "2 of 5 trials ended, 2 running, 1 waiting"
    assert so_far(trials[:2]) == ""
    assert list(counts(trials["regime"]).items()) == [("converged", 1), ("slow", 2), ("undecided", 2)]


def test_of_many_things_the_first_or_evenly_chosen_ones_are_shown():
    assert [listed(list("abcd"), most) for most in (4, 3)] == ["a, b, c, d", "a, b, c and 1 more"]
    assert [evenly(list("abcdefgh"), most) for most in (8, 3)] == [list("abcdefgh"), list("aeh")]
    assert words("learning_rate") == "learning rate"


def test_ranges_hold_equally_many_different_rates():
    rates = pd.Series([3.0, 0.1, 0.1, 0.1, 0.2, 1.0, 2.0])
    assert range_of(rates, 2).tolist() == [2, 1, 1, 1, 1, 1, 2]
    assert range_of(rates, 9).tolist() == [5, 1, 1, 1, 2, 3, 4]
