"""How the rules are scored on curves that a person labelled."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from validation.label_cuts import Projection, first_epoch, projections, read_set, score, stops


@pytest.fixture(scope="module")
def sweep():
    return next(one for one in read_set(5) if one.name == "patches sgd counts")


@pytest.mark.parametrize(
    ("regime", "evidence", "acceptable", "right"),
    [
        ("slow", "", math.nan, 1),
        ("undecided", "on its way: at epoch 30", math.nan, 0.5),
        ("undecided", "too few epochs", math.nan, 0),
        ("underfit", "", "slow/underfit", 1),
        ("undecided", "on its way: at epoch 30", "slow/underfit", 0.5),
        ("converged", "", "slow/underfit", 0),
    ],
)
def test_slow_and_on_its_way_are_half_right_of_each_other(regime, evidence, acceptable, right):
    trial = SimpleNamespace(regime=regime, regime_evidence=evidence, expected="slow", acceptable=acceptable)
    assert score(trial) == right


def test_a_target_is_reached_in_the_median_of_three_epochs_too():
    assert first_epoch(np.array([0.1, 0.9, 0.2, 0.3, 0.9, 0.8, 0.9, 0.9]), 0.85) == 5
    assert first_epoch(np.array([0.1, 0.2, 0.9]), 0.85) == math.inf


@pytest.mark.parametrize(
    ("said", "not_before", "holds"),
    [
        ({"reaches": 30, "reaches_from": 25, "reaches_to": 40}, 0, True),
        ({"reaches": 70, "reaches_from": 50, "reaches_to": 90}, 60, False),
        ({"reaches": math.inf, "reaches_from": 25, "reaches_to": math.inf}, 25, True),
        ({"reaches": math.inf, "reaches_from": math.nan, "reaches_to": math.nan}, math.inf, None),
        ({"reaches": math.nan, "reaches_from": math.nan, "reaches_to": math.nan}, 0, None),
        ({"reaches": 30, "reaches_from": 25, "reaches_to": 40, "regime_evidence": "not before epoch 24"}, 24, True),
    ],
)
def test_what_a_projection_says(said, not_before, holds):
    trial = SimpleNamespace(**{"regime_evidence": "", "epochs_asked": 20} | said)
    found = Projection.of(trial, epoch=30)
    assert found.not_before == not_before
    assert holds is None or found.holds == holds


def test_a_cut_sweep_is_seen_as_running_or_as_complete(sweep):
    running, complete = sweep.until(8, sweep.asked, "running"), sweep.until(8, 8, "completed")
    assert set(running.trials["stop_reason"]) == {"running"}
    assert set(complete.trials["stop_reason"]) == {"completed"}
    assert (running.asked, complete.asked, running.epochs["epoch"].max()) == (24, 8, 8)


def test_the_curves_that_got_there_after_the_cut_are_judged(sweep):
    found = [one.epoch for one in projections([sweep], complete=False)]
    assert any(epoch < math.inf for epoch in found)
    assert all(8 < epoch <= 24 or epoch == math.inf for epoch in found)


def test_runs_that_were_longer_than_asked_tell_what_came_later(sweep):
    running = list(projections([sweep], complete=False, longer=2))
    complete = list(projections([sweep], complete=True, longer=2))
    assert {one.asked for one in [*running, *complete]} == {12}
    assert any(12 < one.epoch <= 24 for one in running)
    assert all(one.epoch > 12 for one in complete)


def test_later_than_can_be_told_if_the_run_went_so_far():
    said = Projection(math.inf, math.nan, math.nan, not_before=20, trained=24)
    assert said.told
    assert not replace(said, trained=19).told
    assert replace(said, trained=19, epoch=18).told


def test_early_stopping_is_replayed(sweep):
    found = stops(sweep, largest_first=True)
    slowest = sweep.trials["trial_id"].iloc[0]
    reason, epoch = found[slowest]
    assert reason == "slow"
    assert 5 <= epoch < sweep.asked
