"""Recorded sweeps that are replayed with few trials at a time."""

import numpy as np
import pytest

from validation.answer_so_far import best_rate, comparisons, settings_after
from validation.label_cuts import SETS
from validation.replay import ORDERS, asha, in_order, ours, replay
from validation.stopping_orders import sweeps_of


@pytest.fixture(scope="module")
def sweep():
    sweeps = sweeps_of("5", SETS)
    return next(sweep for sweep in sweeps if sweep.name == "patches sgd counts")


def test_coarse_to_fine_halves_the_gaps_between_rates():
    logs = np.arange(7.0)
    places = ORDERS["coarse to fine"](logs)
    assert np.argsort(places).tolist() == [3, 1, 5, 0, 2, 4, 6]


def test_every_order_starts_each_trial_once(sweep):
    trials = sorted(sweep.trials["trial_id"])
    for order in ORDERS:
        assert sorted(in_order(sweep, order)) == trials


def test_two_trials_run_at_a_time(sweep):
    first, second, third, *_ = in_order(sweep, "largest first")
    result = replay(sweep, "largest first", lambda row: "", 2)
    assert len(result.rows) == len(sweep.epochs)
    trials = [row["trial_id"] for row in result.rows]
    assert trials[:4] == [first, second, first, second]
    ends = {trial_id: count for count, trial_id in result.ends}
    assert trials.index(third) >= min(ends[first], ends[second])


def test_slow_trials_are_stopped_in_every_order_and_by_asha(sweep):
    for order in ORDERS:
        stops = replay(sweep, order, ours(sweep), 4).stops
        assert {reason for reason, _ in stops.values()} <= {"slow", "dead"}
    stops = replay(sweep, "largest first", asha(sweep), 4).stops
    assert {reason for reason, _ in stops.values()} == {"asha"}


def test_the_last_answer_names_the_best_of_what_ran_to_its_end(sweep):
    result = replay(sweep, "largest first", lambda row: "", 2)
    settings = settings_after(sweep, result, len(result.rows))
    last = sweep.epochs.groupby("trial_id")["test_accuracy"].last()
    best = sweep.trials.set_index("trial_id")["learning_rate"][last.idxmax()]
    assert best_rate(settings) == best
    assert best_rate(settings_after(sweep, result, 3)) is None
    assert len(comparisons(sweep, "largest first", 2)) == 3
