"""A contest asks for the same trials whichever trial ends first, and again after a
resume."""

import itertools
import math
import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_data import recorded_data
from text_tables import rows

from mnist_tune.decisions.contest_searcher import ContestSearcher
from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.trial import MOST_TRIALS, TrialConfig

IMAGES = 500


def contest(count, at_a_time=2, trials=200, tolerance=None, confirm=False):
    rates = [0.1 * (1 + k) for k in range(count)]
    settings = [TrialConfig(learning_rate=rate, holdout=IMAGES) for rate in rates]
    return Contest(settings, MNIST, at_a_time, trials, tolerance, confirm)


def first_seed(search_seed):
    searcher = ContestSearcher(contest(2), search_seed, {})
    return searcher.suggest("it")["trial"]["seed"]


def test_another_seed_of_the_search_trains_other_seeds_of_the_settings():
    assert first_seed(0) != first_seed(1)
    assert first_seed(1) == first_seed(1)


def row(seed, setting, gap=0.01, failing=0.0, noise=0.004):
    """Return the last row of a trial: setting 0 is best, and each further one worse by
    the gap."""
    # what all settings with this seed share, and what this one has of its own
    common = np.random.default_rng([seed, 100]).normal(0, noise)
    own = np.random.default_rng([seed, setting]).normal(0, noise)
    if np.random.default_rng([seed, setting, 7]).random() < failing:
        return {"stop_reason": "diverged", "validation_accuracy": 0.1}
    accuracy = 0.93 - gap * setting + common + own / 2
    return {"stop_reason": "completed", "validation_accuracy": accuracy}


def train(asking, order=None, ended=row):
    """Tell a contest how its trials end, those that run in any order."""
    running = []
    started = 0
    while not asking.over:
        running += range(started, len(asking.asked))
        started = len(asking.asked)
        first = order.randrange(len(running)) if order else 0
        number = running.pop(first)
        asking.tell(number, ended(*asking.asked[number]))
    return asking


@given(
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(0, 2**20),
    st.booleans(),
    st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=30)
def test_what_is_asked_and_found_does_not_depend_on_which_trial_ends_first(
    count, at_a_time, seed, confirm, failing
):
    ended = partial(row, failing=failing)

    def new_contest():
        return contest(count, at_a_time, confirm=confirm)

    in_order = train(new_contest(), None, ended)
    shuffled = train(new_contest(), random.Random(seed), ended)
    assert shuffled.asked == in_order.asked
    seeds = in_order.decision.seeds
    np.testing.assert_array_equal(shuffled.decision.seeds, seeds)
    np.testing.assert_equal(shuffled.confirming, in_order.confirming)


@given(st.integers(10, 60), st.integers(1, 3))
@settings(max_examples=20)
def test_with_more_trials_it_asks_the_same_and_goes_on(trials, at_a_time):
    ended = partial(row, gap=0)
    few = train(contest(4, at_a_time, trials, 1e-5), None, ended)
    many = train(contest(4, at_a_time, 100, 1e-5), None, ended)
    assert len(few.asked) <= trials
    assert many.asked[: len(few.asked)] == few.asked
    assert not few.settled


def test_by_default_the_tolerance_counts_independent_answers():
    """An example with tokens is worth several."""

    def of_images(seed, setting):
        return row(seed, setting, gap=0.1)

    def of_tokens(seed, setting):
        return of_images(seed, setting) | {"answers": 13.0}

    images = train(contest(2), None, of_images).decision
    tokens = train(contest(2), None, of_tokens).decision
    assert images.tolerance == pytest.approx(math.sqrt(13) * tokens.tolerance)
    assert images.least == pytest.approx(13 * tokens.least)


def table_of(ended):
    """Return the table of the trials of a contest that has ended."""
    rows = []
    for number, (seed, setting) in enumerate(ended.asked):
        rows.append({"trial_id": f"{number:05d}", **row(seed, setting)})
    return pd.DataFrame(rows)


def with_stop_reason(table, changed, reason):
    return table.assign(stop_reason=table["stop_reason"].mask(changed, reason))


def test_a_table_that_has_not_ended_says_what_its_whole_seeds_say():
    whole = train(contest(3))
    table = table_of(whole)
    again = contest(3).replay(table)
    assert again.over
    assert again.settled
    assert whole.settled
    np.testing.assert_array_equal(again.decision.worse()[0], whole.decision.worse()[0])
    part = contest(3).replay(with_stop_reason(table, table.index == 5, "interrupted"))
    assert part.decision.seeds.tolist() == [1, 1, 1]


def random_trials(rng, share):
    """Return trials (order of the seed, setting) that end in an error."""
    trials = itertools.product(range(100), range(3))
    return {trial for trial in trials if rng.random() < share}


@given(st.integers(0, 2**20), st.integers(1, 3))
@settings(max_examples=20)
def test_trials_that_are_trained_again_after_an_error_change_nothing_that_is_asked(
    seed, at_a_time
):
    """Their seeds count in the end, so that the decision has as many as others do."""
    rng = np.random.default_rng(seed)
    broken = random_trials(rng, 0.1)

    def ended(seed, setting):
        return None if (seed, setting) in broken else row(seed, setting)

    first = train(contest(3, at_a_time, 40), ended=ended)
    table = table_of(first)
    is_broken = np.array([trial in broken for trial in first.asked])
    failed = with_stop_reason(table, is_broken, "error")
    again = contest(3, at_a_time, 40).replay(failed)
    assert again.asked == first.asked

    settings = [setting.to_dict() for setting in first.settings]
    errors = sorted(table["trial_id"][is_broken])
    options = {"contenders": settings, "at_a_time": at_a_time, "trials": 40}
    options |= {"tolerance": None, "retried": errors}
    meta = {"options": options, "dataset": recorded_data("mnist")}
    retried = Contest.of(meta).replay(table)
    assert retried.asked == first.asked
    running = with_stop_reason(table, is_broken, "running")
    meanwhile = Contest.of(meta).replay(running)
    assert meanwhile.decision.seeds.tolist() == again.decision.seeds.tolist()

    whole = {seed for seed, _ in first.asked}
    dropped = {seed for seed, _ in broken & set(first.asked)}
    assert retried.decision.seeds.max() == len(whole)
    assert again.decision.seeds.max() == len(whole - dropped)


def setting(**config):
    return TrialConfig(**config).to_dict()


RATES = [setting(learning_rate=rate, holdout=IMAGES) for rate in (0.1, 0.2)]
OTHER_HOLDOUT = [RATES[0], RATES[1] | {"holdout": 400}]
RECORDED = {
    "contenders": RATES,
    "at_a_time": 2,
    "trials": 40,
    "tolerance": None,
    "confirm": True,
}
FORGED = """
    at_a_time   41
    at_a_time   0
    at_a_time   "2"
    at_a_time   True
    trials      1
    trials      1.5
    tolerance   1.01
    tolerance   -0.01
    tolerance   nan
    tolerance   x
    contenders  []
    contenders  3
    contenders  [[], [], []]
    contenders  [{"learning_rate": -1}, {"learning_rate": -1}]
"""
FORGED_SETTINGS = [
    ("contenders", RATES[:1]),
    ("contenders", RATES * 101),
    ("contenders", OTHER_HOLDOUT),
    ("contenders", [setting()] * 2),  # none held out
    ("trials", MOST_TRIALS + 1),
]


@pytest.mark.parametrize(("option", "value"), rows(FORGED) + FORGED_SETTINGS)
def test_a_forged_decision_is_refused(option, value):
    """`sweep.json` may come from anybody."""
    recorded = {"options": RECORDED, "dataset": recorded_data("mnist")}
    assert len(Contest.of(recorded).settings) == 2
    recorded["options"] = RECORDED | {option: value}
    with pytest.raises(
        UserError, match="records a decision between settings that can't be one"
    ):
        Contest.of(recorded)


EQUAL_ACCURACY = {"stop_reason": "completed", "validation_accuracy": 1.0}


def equal_row(seed, setting):
    """All settings have the same accuracy; the second has the least loss."""
    loss = (0.3, 0.1, 0.2)[setting]
    return EQUAL_ACCURACY | {"validation_loss": loss}


def leader(ended, order=None):
    return train(contest(3), order, ended).decision.leader


def test_of_equal_settings_that_with_the_least_loss_leads():
    """As where six rates have the accuracy 1: the first, the slowest, was named."""
    assert leader(equal_row) == 1
    assert leader(equal_row, random.Random(3)) == 1


def test_a_setting_with_the_least_loss_that_is_less_accurate_does_not_lead():
    def ended(seed, setting):
        worse = {"validation_accuracy": 0.998} if setting == 1 else {}
        return equal_row(seed, setting) | worse

    assert leader(ended) == 2


def test_a_setting_with_the_least_loss_that_fails_does_not_lead():
    def ended(seed, setting):
        lost = {"stop_reason": "diverged"} if (seed, setting) == (0, 1) else {}
        return equal_row(seed, setting) | lost

    assert leader(ended) == 2


def test_of_equal_settings_whose_losses_are_not_known_the_first_leads():
    def ended(seed, setting):
        return equal_row(seed, setting) | {"validation_loss": None}

    assert leader(ended) == 0
