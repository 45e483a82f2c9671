"""How the rules are scored on curves that a person labelled."""

import math

import pytest

from validation.label_cuts import projections, read_set, stops


@pytest.fixture(scope="module")
def sweep():
    return next(sweep for sweep in read_set(5) if sweep.name == "patches sgd counts")


def test_the_curves_that_got_there_after_the_cut_are_judged(sweep):
    trials = projections([sweep], complete=False)
    epochs = [trial.epoch for trial in trials]
    assert any(epoch < math.inf for epoch in epochs)
    assert all(8 < epoch <= 24 or epoch == math.inf for epoch in epochs)


def test_runs_that_were_longer_than_asked_tell_what_came_later(sweep):
    running = list(projections([sweep], complete=False, longer=2))
    complete = list(projections([sweep], complete=True, longer=2))
    for trial in running + complete:
        assert trial.epochs_asked == 12
    assert any(12 < trial.epoch <= 24 for trial in running)
    assert all(trial.epoch > 12 for trial in complete)


def test_early_stopping_is_replayed(sweep):
    stopped = stops(sweep, largest_first=True)
    slowest = sweep.trials["trial_id"].iloc[0]
    reason, epoch = stopped[slowest]
    assert reason == "slow"
    assert 5 <= epoch < sweep.asked
