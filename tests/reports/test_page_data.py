"""What figures and pages show: which trials, in which order, with which intervals."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_tune.regimes.replicates import clopper_pearson, counts
from mnist_tune.reports.page_data import (
    curve_rows,
    edge_band,
    evenly,
    finite,
    listed,
    mark,
    mean_curves,
    pooled_shares,
    predicted_by,
    range_of,
    replicated,
    shares,
    so_far,
    with_epochs,
    words,
)


def test_trials_are_counted_by_how_far_they_are_and_by_regime():
    reasons = ["completed", "error", "running", "running", "waiting"]
    regimes = ["slow", "undecided", "converged", "slow", "undecided"]
    trials = pd.DataFrame({"stop_reason": reasons, "regime": regimes, "epochs_run": [3, 0, 1, 2, 0]})
    assert so_far(trials) == "2 of 5 trials ended, 2 running, 1 waiting"
    assert so_far(trials[:2]) == ""
    assert list(counts(trials["regime"]).items()) == [("converged", 1), ("slow", 2), ("undecided", 2)]
    assert with_epochs(trials).index.tolist() == [0, 2, 3]


def test_of_many_things_the_first_or_evenly_chosen_ones_are_shown():
    assert [listed(list("abcd"), most) for most in (4, 3)] == ["a, b, c, d", "a, b, c and 1 more"]
    assert [evenly(list("abcdefgh"), most) for most in (8, 3)] == [list("abcdefgh"), list("aeh")]
    assert words("learning_rate") == "learning rate"


def test_ranges_hold_equally_many_different_rates():
    rates = pd.Series([3.0, 0.1, 0.1, 0.1, 0.2, 1.0, 2.0])
    assert range_of(rates, 2).tolist() == [2, 1, 1, 1, 1, 1, 2]
    assert range_of(rates, 9).tolist() == [5, 1, 1, 1, 2, 3, 4]


def test_marks_are_smaller_and_paler_with_more_trials():
    assert mark(0) == mark(1) == (46, 0.85)
    assert mark(400) == pytest.approx((22.5, 0.55))
    assert mark(10**6) == (5, 0.15)


def test_curves_have_no_points_where_their_axis_has_none(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    epochs = sweep.epochs.assign(value=[1.0, 0.0, -1.0, math.inf, math.nan, 2.0, 3.0, -math.inf])
    trials = sweep.trials.assign(batch_size=[32, 64])
    found = curve_rows(trials, epochs, "value")
    assert found["value"].tolist() == [1.0, 2.0, 3.0]
    assert found["epoch"].tolist() == [1, 2, 3]
    assert found["batch_size"].tolist() == [32, 64, 64]
    assert finite(epochs["value"]).dropna().tolist() == [1.0, 0.0, -1.0, 2.0, 3.0]


def test_shares_of_equal_rates_stand_beside_each_other(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=2, architectures=["mlp-4-tanh", "mlp-8-tanh"])
    alone = sweep.trials.tail(1).assign(learning_rate=5.0)
    found = shares(pd.concat([sweep.trials, alone], ignore_index=True)).sort_values("beside")
    apart = 1.05**0.5
    np.testing.assert_allclose(found["beside"], [0.1 / apart, 0.1 * apart, 1 / apart, apart])
    assert shares(alone).empty


def test_of_many_configurations_the_share_is_that_of_a_range_of_rates(made_up_sweep):
    rates = [0.01, 0.01, 0.04, 1.0, 2.0, 8.0]
    trials = made_up_sweep(rates).trials.assign(label=list("abcdef"), batch_size=[32, 64] * 3)
    trials["regime"] = ["converged", "slow", "converged", "diverged", "converged", "diverged"]
    found = pooled_shares(trials, ranges=2)
    assert found["converged"].tolist() == ["2 of 4", "1 of 2"]
    assert found[["converged_share", "architecture", "label"]].to_numpy().tolist() == [[0.5, "all", ""]] * 2
    np.testing.assert_allclose(found["learning_rate"], [(0.01 * 0.01 * 0.04) ** 0.25, 4.0])
    np.testing.assert_allclose(found["beside"], found["learning_rate"])
    np.testing.assert_allclose(found[["converged_low", "converged_high"]].T, clopper_pearson([2, 1], [4, 2]))


def test_of_many_mean_curves_some_are_drawn_in_the_order_of_their_rates(made_up_sweep):
    sweep = made_up_sweep([1, 0.01, 0.1, 0.5], seeds=2, architectures=["mlp-4-tanh", "mlp-8-tanh"])
    epochs = sweep.epochs.assign(value=1 - sweep.epochs["test_accuracy"])
    assert [curve.learning_rate for curve in mean_curves(sweep.trials, epochs, most=3)] == [0.01, 0.5, 1]
    assert len(mean_curves(sweep.trials, epochs)) == 8
    one = sweep.trials[sweep.trials["seed"] == 0].iloc[:1]
    assert replicated(pd.concat([sweep.trials[2:4], one]))["trial_id"].tolist() == ["00002", "00003"]


def test_a_mean_curve_is_that_of_the_finite_values_of_several_seeds(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=4)
    trials = sweep.trials.assign(regime=["slow", "converged", "converged", "undecided"])  # the last has no epoch
    rows = [("00000", 1, 0.1), ("00001", 1, 0.2), ("00002", 1, 0.6), ("00000", 2, 0.2), ("00001", 2, 0.4)]
    rows += [("00002", 2, math.inf), ("00000", 3, 0.1), ("00001", 3, math.nan), ("00000", 4, 0.1), ("other", 4, 0.3)]
    [curve] = mean_curves(trials, pd.DataFrame(rows, columns=["trial_id", "epoch", "value"]))
    assert (curve.learning_rate, curve.name, curve.trials) == (0.1, "converged", 4)
    assert curve.x.tolist() == [1, 2]
    np.testing.assert_allclose(curve.middle, [0.3, 0.3])
    np.testing.assert_allclose(curve.high - curve.middle, curve.middle - curve.low)
    assert (curve.low[1], curve.high[1]) == pytest.approx((0.2, 0.4)), "two values are a range"


def test_predictors_are_medians_over_seeds_the_largest_first(edge_sweep):
    [edge] = edge_sweep.edges()
    middle = edge.rate(0.5).median
    predicted = {"small": [0.1, 0.2, 0.9], "near": [middle / 19], "far above": [21 * middle], "large": [19 * middle]}
    found = replace(edge, predicted=predicted)
    assert list(predicted_by(found)) == ["far above", "large", "small", "near"]
    assert predicted_by(found)["small"] == 0.2
    assert edge_band(found)[0][[0, -1]] == pytest.approx((middle / 19 / 1.1, 19 * middle * 1.1))
