"""A contest asks for the same trials whichever trial ends first, and again after a
resume."""

import math
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_data import recorded_data

from mnist_tune.decisions.contest_searcher import ContestSearcher
from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.trial import MOST_TRIALS, TrialConfig

IMAGES = 500


def contest(count, at_a_time=2, trials=200, tolerance=None, confirm=False):
    made = [
        TrialConfig(learning_rate=0.1 * (1 + k), holdout=IMAGES) for k in range(count)
    ]
    return Contest(made, MNIST, at_a_time, trials, tolerance, confirm)


def test_another_seed_of_the_search_trains_other_seeds_of_the_settings():
    first = [
        ContestSearcher(contest(2), seed, {}).suggest("it")["trial"]["seed"]
        for seed in (0, 1, 1)
    ]
    assert first[0] != first[1] == first[2]


def row(seed, setting, gap=0.01, failing=0.0, noise=0.004):
    """Return the last row of a trial: setting 0 is best, and each further one worse by
    the gap."""
    common, own = (
        np.random.default_rng([seed, of]).normal(0, noise) for of in (100, setting)
    )
    failed = np.random.default_rng([seed, setting, 7]).random() < failing
    return {
        "stop_reason": "diverged" if failed else "completed",
        "validation_accuracy": 0.1
        if failed
        else 0.93 - gap * setting + common + own / 2,
    }


def train(one, order=None, said=row):
    """Tell a contest how its trials end, those that run in any order."""
    open_, number = [], 0
    while not one.over:
        open_ += range(number, len(one.asked))
        number = len(one.asked)
        which = open_.pop(order.randrange(len(open_)) if order else 0)
        one.tell(which, said(*one.asked[which]))
    return one


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
    def said(*of):
        return row(*of, failing=failing)

    calm = train(contest(count, at_a_time, confirm=confirm), None, said)
    other = train(contest(count, at_a_time, confirm=confirm), random.Random(seed), said)
    assert other.asked == calm.asked
    np.testing.assert_array_equal(other.decision.seeds, calm.decision.seeds)
    np.testing.assert_equal(other.confirming, calm.confirming)


@given(st.integers(10, 60), st.integers(1, 3))
@settings(max_examples=20)
def test_with_more_trials_it_asks_the_same_and_goes_on(trials, at_a_time):
    def said(*of):
        return row(*of, gap=0)

    few, many = (
        train(contest(4, at_a_time, most, 1e-5), None, said) for most in (trials, 100)
    )
    assert len(few.asked) <= trials
    assert many.asked[: len(few.asked)] == few.asked
    assert not few.settled


def test_by_default_the_tolerance_counts_independent_answers():
    """An example with tokens is worth several."""
    images, tokens = (
        train(contest(2), None, lambda *of, more=more: row(*of, gap=0.1) | more)
        for more in ({}, {"answers": 13.0})
    )
    assert images.decision.tolerance == pytest.approx(
        math.sqrt(13) * tokens.decision.tolerance
    )
    assert images.decision.least == pytest.approx(13 * tokens.decision.least)


def test_a_table_that_has_not_ended_says_what_its_whole_seeds_say():
    whole = train(contest(3))
    ended = [{"trial_id": f"{i:05d}", **row(*of)} for i, of in enumerate(whole.asked)]
    again = contest(3).replay(pd.DataFrame(ended))
    assert again.over
    assert again.settled
    assert whole.settled
    np.testing.assert_array_equal(again.decision.worse()[0], whole.decision.worse()[0])
    part = contest(3).replay(
        pd.DataFrame(
            [
                {**one, "stop_reason": "interrupted"} if i == 5 else one
                for i, one in enumerate(ended)
            ]
        )
    )
    assert part.decision.seeds.tolist() == [1, 1, 1]


@given(st.integers(0, 2**20), st.integers(1, 3))
@settings(max_examples=20)
def test_trials_that_are_trained_again_after_an_error_change_nothing_that_is_asked(
    seed, at_a_time
):
    """Their seeds count in the end, so that the decision has as many as others do."""
    rng = np.random.default_rng(seed)
    broken = {
        (order, setting)
        for order in range(100)
        for setting in range(3)
        if rng.random() < 0.1
    }
    first = train(
        contest(3, at_a_time, 40), said=lambda *of: None if of in broken else row(*of)
    )
    errors = {f"{i:05d}" for i, of in enumerate(first.asked) if of in broken}
    table = pd.DataFrame(
        [{"trial_id": f"{i:05d}", **row(*of)} for i, of in enumerate(first.asked)]
    )
    before = contest(3, at_a_time, 40)
    again = before.replay(
        table.assign(
            stop_reason=table["stop_reason"].mask(
                table["trial_id"].isin(errors), "error"
            )
        )
    )
    assert again.asked == first.asked
    recorded = {
        "contenders": [one.to_dict() for one in first.settings],
        "at_a_time": at_a_time,
        "trials": 40,
    }
    options = recorded | {"tolerance": None, "retried": sorted(errors)}
    retried = Contest.of(
        {"options": options, "dataset": recorded_data("mnist")}
    ).replay(table)
    assert retried.asked == first.asked
    running = table.assign(
        stop_reason=table["stop_reason"].mask(table["trial_id"].isin(errors), "running")
    )
    meanwhile = Contest.of(
        {"options": options, "dataset": recorded_data("mnist")}
    ).replay(running)
    assert meanwhile.decision.seeds.tolist() == again.decision.seeds.tolist()
    whole = {order for order, _ in first.asked}
    dropped = {order for order, setting in broken & set(first.asked)}
    assert (retried.decision.seeds.max(), again.decision.seeds.max()) == (
        len(whole),
        len(whole - dropped),
    )


RATES = [
    TrialConfig(learning_rate=rate, holdout=IMAGES).to_dict() for rate in (0.1, 0.2)
]
RECORDED = {
    "contenders": RATES,
    "at_a_time": 2,
    "trials": 40,
    "tolerance": None,
    "confirm": True,
}


@pytest.mark.parametrize(
    "forged",
    [
        *({"at_a_time": value} for value in (41, 0, "2", True)),
        *({"trials": value} for value in (1, 1.5, MOST_TRIALS + 1)),
        *({"tolerance": value} for value in (1.01, -0.01, math.nan, "x")),
        *(
            {"contenders": value}
            for value in (
                RATES[:1],
                [],
                3,
                [[]] * 3,
                [{"learning_rate": -1}] * 2,
                RATES * 101,
            )
        ),
        {"contenders": [TrialConfig().to_dict()] * 2},  # none held out
        {"contenders": [RATES[0], RATES[1] | {"holdout": 400}]},
    ],
)
def test_a_forged_decision_is_refused(forged):
    """`sweep.json` may come from anybody."""
    recorded = {"options": RECORDED, "dataset": recorded_data("mnist")}
    assert len(Contest.of(recorded).settings) == 2
    with pytest.raises(
        UserError, match="records a decision between settings that can't be one"
    ):
        Contest.of(recorded | {"options": RECORDED | forged})


def test_of_equal_settings_that_with_the_least_loss_leads():
    """As where six rates have the accuracy 1: the first, the slowest, was named."""

    def said(seed, setting, losses=(0.3, 0.1, 0.2)):
        return {
            "stop_reason": "completed",
            "validation_accuracy": 1.0,
            "validation_loss": losses[setting],
        }

    assert train(contest(3), None, said).decision.leader == 1
    assert train(contest(3), random.Random(3), said).decision.leader == 1
    worse = train(
        contest(3),
        None,
        lambda *of: said(*of) | {"validation_accuracy": 1 - 0.002 * (of[1] == 1)},
    )
    assert worse.decision.leader == 2
    lost = {"stop_reason": "diverged"}
    failed = train(
        contest(3), None, lambda *of: said(*of) | (lost if of == (0, 1) else {})
    )
    assert failed.decision.leader == 2
    unknown = train(contest(3), None, lambda *of: said(*of) | {"validation_loss": None})
    assert unknown.decision.leader == 0
