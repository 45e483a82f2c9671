"""When a trial is seen to rise no more."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_curves import level, sweep

from mnist_tune.regimes.outcomes import COMPETES, FAILED, outcome
from mnist_tune.regimes.patience import Report, report


def since_rises(scores, answers=math.inf):
    """Return how many reports ago the last rise was, after each of these scores."""
    reports = [Report()]
    for step, score in enumerate(scores, start=1):
        reports.append(report(reports, step, score, answers))
    return [made.since for made in reports[1:]]


CREEPING = [0.900, 0.904, 0.907, 0.908]


def test_a_rise_within_the_noise_of_an_accuracy_is_none():
    assert since_rises(CREEPING, answers=1_000) == [0, 1, 2, 3]
    assert since_rises(CREEPING, answers=1_000_000) == [0, 0, 0, 0]


def test_small_gains_add_up_to_a_rise():
    accuracies = [0.900, 0.904, 0.908, 0.912, 0.914]
    assert since_rises(accuracies, answers=1_000) == [0, 1, 2, 0, 1]


def test_what_is_as_good_as_a_lucky_report_is_no_rise():
    accuracies = [0.80, 0.90, 0.85, 0.86, 0.87, 0.905]
    assert since_rises(accuracies, answers=1_000) == [0, 0, 1, 2, 3, 4]


def test_an_accuracy_that_goes_to_and_fro_rises_no_more_on_however_many_examples():
    rng = np.random.default_rng(0)
    accuracies = 0.9 + 0.01 * rng.standard_normal(30)
    assert since_rises(accuracies, answers=1_000_000)[-1] >= 20


def test_what_rises_steadily_on_few_examples_is_not_ended():
    accuracies = [0.50, 0.62, 0.70, 0.745, 0.775, 0.80, 0.82, 0.835, 0.85]
    assert max(since_rises(accuracies, answers=400)) <= 2


def test_the_noise_of_other_scores_is_how_far_they_went_to_and_fro():
    rng = np.random.default_rng(0)
    falling_loss = -1 / np.arange(1, 31)
    level_loss = np.full(30, -0.5)
    noise = 0.01 * rng.standard_normal(30)
    # its bend looks a little like noise
    assert max(since_rises(falling_loss)) <= 2
    assert since_rises(level_loss) == list(range(30))
    # as soon as the noise is known
    assert since_rises(level_loss + noise)[-1] >= 20
    assert since_rises([*(level_loss + noise), -0.4])[-1] == 0


def test_a_score_that_is_no_number_is_no_rise():
    nan = math.nan
    assert since_rises([nan, 0.9, nan, nan, 0.95], answers=10_000) == [1, 0, 1, 2, 0]
    assert since_rises([nan, -0.9, nan, -0.5]) == [1, 0, 1, 0]


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    answers=st.integers(1, 10**6),
)
def test_more_examples_never_hide_a_rise_and_none_is_ever_below_the_last_one(
    scores, answers
):
    reports = [Report()]
    for step, score in enumerate(scores, start=1):
        before = reports[-1]
        reports.append(report(reports, step, score, answers))
        now = reports[-1]
        assert now.risen >= before.risen
        assert now.since in (0, before.since + 1)
        assert (now.since == 0) == (now.risen > before.risen)
        same = reports[:-1]
        surer = report(same, step, score, 4 * answers)
        assert surer.since <= now.since


def test_a_trial_that_ran_out_of_patience_has_run_its_course():
    assert outcome("patience", 0.9, 0.2) == COMPETES
    assert outcome("asha", 0.9, 0.2) == FAILED


@pytest.mark.parametrize(
    ("reason", "asked", "regime"),
    [
        ("patience", 40, "underfit"),
        ("completed", 10, "underfit"),
        ("interrupted", 40, "undecided"),
    ],
)
def test_its_label_is_that_of_one_that_was_to_be_so_long(reason, asked, regime):
    end = {"stop_reason": [reason], "epochs_run": [10]}
    labels = sweep((0.1, level(0.9)), asked=asked, **end)
    assert labels["regime"].tolist() == [regime]
