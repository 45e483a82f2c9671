"""How the rules are scored on curves that a person labelled."""

import math

import pytest

from validation.label_cuts import projections, read_set, stops


@pytest.fixture(scope="module")
def sweep():
    return next(one for one in read_set(5) if one.name == "patches sgd counts")


def test_the_curves_that_got_there_after_the_cut_are_judged(sweep):
    found = [one.epoch for one in projections([sweep], complete=False)]
    assert any(epoch < math.inf for epoch in found)
    assert all(8 < epoch <= 24 or epoch == math.inf for epoch in found)


def test_runs_that_were_longer_than_asked_tell_what_came_later(sweep):
    running = list(projections([sweep], complete=False, longer=2))
    complete = list(projections([sweep], complete=True, longer=2))
    assert {one.epochs_asked for one in [*running, *complete]} == {12}
    assert any(12 < one.epoch <= 24 for one in running)
    assert all(one.epoch > 12 for one in complete)


def test_early_stopping_is_replayed(sweep):
    found = stops(sweep, largest_first=True)
    slowest = sweep.trials["trial_id"].iloc[0]
    reason, epoch = found[slowest]
    assert reason == "slow"
    assert 5 <= epoch < sweep.asked
