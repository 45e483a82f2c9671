"""Which setting is best: the confidence sequence, who is out when, and the list of one
sweep."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from families import family
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune import load_sweep
from mnist_tune.answers.best import standing_of
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.decision import (
    RISK,
    Decision,
    below_best,
    chance_gap,
    late_falls,
    most_failures,
    radius,
    standing,
    to_decide,
)
from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.outcomes import COMPETES, FAILED, outcome
from mnist_tune.trial import UNDECIDED_REASONS

RECORDS = sorted(
    (Path(__file__).parents[2] / "benchmarks/records").glob("*-main-sweep-*")
)

EXACT = 1e-9


def process(count, mean, spread):
    """G_n of Wang and Ramdas, for a true difference of 0."""
    t2 = count * (mean / spread) ** 2
    return (count + 1) ** -0.5 * (
        (1 + t2 / (count - 1)) / (1 + t2 / ((count - 1) * (count + 1)))
    ) ** (count / 2)


def decided(values, most=np.inf, **options):
    """The decision after these seeds, [seeds, K]."""
    decision = Decision(len(values[0]), **{"tolerance": 0.0} | options)
    decision.most = most
    for seed in values:
        decision.add(seed, decision.active)
    return decision


# --- the confidence sequence


@given(st.integers(2, 200), st.floats(1e-6, 1e3), st.floats(1e-4, 0.5))
def test_the_radius_is_where_the_process_reaches_its_limit(count, spread, risk):
    found = float(radius(count, spread, risk))
    q = (math.sqrt(count + 1) / risk) ** (2 / count)
    if q >= count + 1:
        assert math.isinf(found)
    elif q < 0.999 * (count + 1):  # nearer, the quotient loses its digits
        assert process(count, found, spread) == pytest.approx(1 / risk, rel=1e-6)


@pytest.mark.parametrize("count", [3, 5])
def test_the_process_has_the_mean_1(count):
    values = np.random.default_rng(count).normal(size=(400_000, count))
    found = process(count, values.mean(1), values.std(1, ddof=1))
    assert found.mean() == pytest.approx(1, abs=5 * found.std() / math.sqrt(len(found)))
    assert 5 * found.std() / math.sqrt(len(found)) < 0.05


def test_of_one_difference_or_none_nothing_is_known():
    assert np.isinf(radius([0, 1], [0.0, 0.0], 0.05)).all()


@pytest.mark.parametrize("settings", [2, 8])
def test_none_is_out_before_differences_can_tell(settings):
    noise = np.random.default_rng(0).normal(size=(4, settings), scale=1e-9)
    values = np.arange(settings) / settings + noise
    assert decided(values[:-1]).active.all()
    assert decided(values).active.tolist() == [False] * (settings - 1) + [True]


def test_equal_differences_do_not_pretend_that_nothing_varies():
    few = decided([[0.9, 0.8]] * 3)
    assert few.active.all()
    assert math.isinf(few.may_lose) or few.may_lose == 0
    assert math.isinf(few.worse()[0][1, 2])
    image = 1 / 1000
    many = decided([[0.9, 0.8999]] * 6, least=image)
    assert many.active.all()
    low, mean, high = many.worse()[0][1]
    assert (mean - low, high - mean) == pytest.approx(
        (float(radius(6, image, 2 * RISK)),) * 2
    )
    assert many.may_lose == pytest.approx(-low), (
        "what is said and what is drawn are one interval"
    )


def test_a_public_record_comes_out_the_same():
    """Ten losses of modded-nanogpt's pull request 276, whose limit is 3.28. It gives
    their mean and a statistic."""
    losses = np.array(
        [
            3.27744,
            3.27717,
            3.27755,
            3.27663,
            3.27709,
            3.27587,
            3.27691,
            3.27863,
            3.27669,
            3.27678,
        ]
    )
    margins = 3.28 - losses
    assert round(3.28 - margins.mean(), 5) == 3.27708
    assert round(margins.mean() * math.sqrt(10), 5) == 0.00925
    assert margins.mean() > radius(10, margins.std(ddof=1), RISK), (
        "it holds for who looks after each loss, too"
    )
    decision = decided([(margin, 0.0) for margin in margins])
    low, mean, high = decision.worse()[0][1]
    assert (decision.active.tolist(), decision.seeds.tolist()) == (
        [True, False],
        [10, 5],
    )
    wide = float(radius(5, margins[:5].std(ddof=1), 2 * RISK))
    assert (mean, high - mean) == pytest.approx((margins[:5].mean(), wide))
    assert low > 0


def test_the_share_of_seeds_that_fail_is_limited(stats):
    assert most_failures([0, 0, 0], [18, 20, 29]) == pytest.approx(
        [0.153, 0.139, 0.098], abs=5e-4
    )
    assert stats.binom.cdf(2, 20, float(most_failures(2, 20))) == pytest.approx(0.05)


# --- decisions


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 15), st.randoms())
def test_the_order_of_settings_and_a_common_shift_change_nothing(
    seed, settings, seeds, random
):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.9, 0.01, (seeds, settings)) - np.arange(
        settings
    ) * rng.choice([0.0, 0.01])
    values[rng.random(values.shape) < 0.05] = np.nan
    order = random.sample(range(settings), settings)
    one, other = (
        decided(values),
        decided((values + rng.normal(size=(seeds, 1)))[:, order]),
    )
    assert other.active.tolist() == one.active[order].tolist()
    assert other.failures.tolist() == one.failures[order].tolist()
    assert other.may_lose == pytest.approx(one.may_lose, rel=1e-6, abs=1e-9)


@given(st.integers(0, 2**32))
def test_searches_side_by_side_are_what_each_is_alone(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.9, 0.01, (12, 3, 4)) - 0.02 * np.arange(4)
    values[rng.random(values.shape) < 0.1] = np.nan
    together = Decision(4, 0.01, searches=(3,))
    for one in values:
        together.add(one, together.active)
    for i in range(3):
        alone = decided(values[:, i], tolerance=0.01)
        for name in (
            "active",
            "rivals",
            "seeds",
            "failures",
            "leader",
            "may_lose",
            "over",
        ):
            assert getattr(together, name)[i].tolist() == getattr(alone, name).tolist()
        assert together.worse()[0][i] == pytest.approx(
            alone.worse()[0], rel=EXACT, nan_ok=True
        )


def test_who_can_be_no_better_than_the_tolerance_trains_no_more():
    rng = np.random.default_rng(1)
    values = rng.normal([0.9, 0.899, 0.8], 0.005, (40, 3))
    decision = decided(values, tolerance=0.001)
    assert (decision.seeds[2], decision.rivals.tolist()) == (4, [False, True, False])
    assert decision.seeds[1] > 10
    (low, mean, high), both = (one[2] for one in decision.worse())
    assert both == 4
    assert 0 < low < mean < high
    few, many = (decided(values[:12], tolerance=of).seeds.sum() for of in (0.01, 0.001))
    assert few < many


def test_two_without_a_seed_in_common_have_no_difference():
    """Not one of 0, at which they would be drawn."""
    found = Decision(2, 0.01)
    for values in ([0.9, math.nan], [math.nan, 0.8]):
        found.add(values)
    assert np.isnan(found.differences[[0, 1], [1, 0]]).all()
    (_, mean, _), both = (one[1] for one in found.worse())
    assert both == 0
    assert math.isnan(mean)


def test_where_no_noise_is_known_any_gap_may_be_chance():
    nan = np.array([np.nan] * 3)
    assert chance_gap(nan, np.nan, nan, np.ones(3), 0, 3).tolist() == [np.inf] * 3
    several = chance_gap(nan, 1e-4, nan, np.full(3, 3.0), 6, 3)
    assert (several == chance_gap(nan, 1e-4, np.zeros(3), np.full(3, 3.0), 6, 3)).all()
    assert np.isfinite(several).all()


def test_a_setting_that_fails_with_two_seeds_more_than_the_leader_is_set_aside():
    good, lost = [0.9, 0.91], [0.9, np.nan]
    assert decided([good, lost, good]).active.all()
    twice = decided([good, lost, lost])
    assert (twice.active.tolist(), twice.failures.tolist()) == ([True, False], [0, 2])
    assert twice.over
    assert twice.leader == 0, "though the other one is better where it does not fail"
    assert decided([[0.9, 0.91], [np.nan, np.nan], [np.nan, np.nan]]).active.all(), (
        "the leader failed as often"
    )


def test_what_fails_with_every_seed_never_leads():
    decision = decided([[np.nan, 0.9]] * 2)
    assert (int(decision.leader), decision.active.tolist()) == (1, [False, True])
    nothing = decided([[np.nan, np.nan]] * 9, tolerance=0.1)
    assert math.isinf(nothing.may_lose)
    assert not nothing.over


def test_it_is_over_once_no_other_can_be_better_by_more_than_the_tolerance():
    rng = np.random.default_rng(2)
    common, own = rng.normal(0, 0.05, (30, 1)), rng.normal(0, 0.001, (30, 2))
    values = 0.9 + common + own  # equally good; much of their noise is common
    ended = next(n for n in range(1, 31) if decided(values[:n], tolerance=0.002).over)
    assert 5 <= ended < 20
    decision = decided(values[:ended], tolerance=0.002)
    assert decision.rivals.sum() == 1
    assert 0 < decision.may_lose < 0.002
    assert not decided(0.9 + rng.normal(0, 0.05, (30, 2)), tolerance=0.002).over, (
        "unpaired, it takes far longer"
    )


def test_nobody_is_better_than_a_setting_without_mistakes_by_more_than_is_left():
    values = [[1.0, 0.8 + 0.2 * (seed % 5 > 0)] for seed in range(20)]
    found = [
        decided(values, most, tolerance=0.002, least=0.001) for most in (1.0, np.inf)
    ]
    assert [(bool(one.over), bool(one.may_lose < 0.001)) for one in found] == [
        (True, True),
        (False, False),
    ]


def test_who_lost_only_to_a_setting_that_is_set_aside_is_in_again():
    """0 is better than 1, and fails twice then. 2 is worse than 1, but varies so much
    that none can tell."""
    values = [[0.95 + 0.001 * (n % 2), 0.9, 0.7 + 0.24 * (n % 2)] for n in range(8)]
    assert decided(values).active.tolist() == [True, False, True]
    values += [[np.nan, 0.9, 0.7 + 0.24 * (n % 2)] for n in range(2)]
    decision = decided(values)
    assert (decision.active.tolist(), decision.leader) == ([False, True, True], 1)
    seeds = decision.seeds[1]
    # a seed that was asked for while 1 was out
    decision.add([np.nan, np.nan, 0.7], [False, False, True])
    assert (decision.seeds[1], decision.failures[1]) == (seeds, 0)


def test_failures_are_compared_on_the_seeds_that_both_have():
    """1 was out after four seeds. 0 fails with two of the forty that follow, which says
    nothing of 1."""
    rng = np.random.default_rng(0)
    values = rng.normal([0.9, 0.8, 0.898], 0.003, (40, 3))
    values[20:22] = np.nan
    decision = decided(values)
    assert (decision.failures.tolist(), decision.leader, decision.aside.any()) == (
        [2, 0, 2],
        0,
        False,
    )


@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e9])
def test_the_leader_is_better_than_others_whatever_the_size_of_a_loss(scale):
    decision = Decision(4, tolerance=0.0)
    decision.losses = np.array([0.1, 0.3, 0.2, 0.4])
    # of which the sums differ by rounding
    for seed, permuted in ((0.1, 0.3), (0.2, 0.1), (0.3, 0.2)):
        decision.add(-scale * np.array([2 + seed, 1 + seed, 1 + permuted, 1e12]))
    assert decision.leader == 2, "of the two that are equal, that with the least loss"


def test_who_was_set_aside_stays_so_when_the_leader_fails_later():
    decision = decided([[0.9, np.nan, 0.8], [0.9, np.nan, 0.99], [np.nan, 0.99, 0.8]])
    assert (decision.active.tolist(), decision.allowed.tolist()) == (
        [True, False, True],
        [-1, 0, -1],
    )


# --- one sweep


def below(values, noise, jumping=()):
    """How far each setting is below the best, and the most that is not told apart,
    given values of shape [K, seeds]."""
    values = np.array(values, float)
    setting, seed = (index.ravel() for index in np.indices(values.shape))
    noises, all_lead = np.full(values.size, noise), np.full(values.size, True)
    _, gap, limit = below_best(
        setting, seed, values.ravel(), noises, np.isin(setting, jumping), all_lead
    )
    return gap, limit


def test_with_one_seed_a_gap_is_held_against_the_error_of_both_accuracies(stats):
    gap, limit = below([[0.9], [0.91], [0.8]], 0.01)
    assert gap == pytest.approx([0.01, 0, 0.11])
    assert limit == pytest.approx(
        [stats.norm.ppf(1 - 0.05 / 2) * 0.01 * math.sqrt(2)] * 3
    )


def test_with_several_seeds_it_is_held_against_what_seeds_do_to_all_settings(stats):
    """Few seeds of one setting may differ little by luck. What is common to all
    settings makes no noise."""
    own = np.random.default_rng(0).normal(0, 0.01, (4, 3))
    own[1] = own[0] - 0.001  # as it happens
    _, limit = below(own + np.array([0, 0.3, 0.6]), 1e-9)
    about_setting = own - own.mean(1, keepdims=True)
    variances = (own - np.median(about_setting, 0)).var(1, ddof=1)
    pooled, best = (
        min(variances.mean(), np.median(variances) / (8 / 9) ** 3) * 8 / 6,
        own.mean(1).argmax(),
    )
    s2 = np.maximum((own[best] - own).var(1, ddof=1), 2 * pooled)
    t = stats.t.ppf(1 - 0.05 / 3, 6)
    assert limit == pytest.approx(t * np.sqrt(s2 / 3))
    assert below(own, 0.1)[1] == pytest.approx([t * math.sqrt(0.02 / 3)] * 4), (
        "it is no less than the error"
    )


def test_a_rate_near_its_edge_says_nothing_of_the_noise_of_the_others():
    """Whether its curves jump or not. So three seeds list no more than one: a gap of
    ten errors is told apart."""
    calm = np.random.default_rng(0).normal(0.9, 0.001, (4, 4)) - np.array(
        [[0], [0], [0], [0.01]]
    )
    wild = np.random.default_rng(1).normal(0.8, 0.1, (1, 4))
    for jumping in ((), (4,)):
        gap, limit = below([*calm, *wild], 1e-4, jumping)
        assert (gap <= limit)[3:].tolist() == [False, True]
        assert limit[:4].max() < 0.005 < limit[4]


def test_seeds_that_no_two_settings_share_count_too(stats):
    setting, seed = np.repeat([0, 1], 3), np.arange(6)
    values = np.array([0.9, 0.91, 0.92, 0.8, 0.9, 0.85])
    _, gap, limit = below_best(
        setting, seed, values, np.full(6, 1e-3), np.full(6, False), np.full(6, True)
    )
    both = values[:3].var(ddof=1) + values[3:].var(ddof=1)
    assert (gap[1], limit[1]) == pytest.approx(
        (0.06, stats.t.ppf(0.95, 4) * math.sqrt(both / 3))
    )


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(2, 30),
    st.floats(1e-6, 1),
    st.integers(2, 100),
)
def test_more_noise_or_more_settings_tell_less_apart(
    spread, pooled, seeds, noise, settings
):
    gap = chance_gap(spread, pooled, noise, seeds, 10, settings)
    assert gap > 0
    for more in (
        (spread + 3, pooled, noise),
        (spread, pooled + 3, noise),
        (spread, pooled, noise + 3),
    ):
        assert chance_gap(*more, seeds, 10, settings) > gap
    assert chance_gap(spread, pooled, noise, seeds, 10, settings + 1) > gap


@pytest.mark.parametrize("record", RECORDS, ids=lambda place: place.name)
def test_the_main_sweep_ties_what_is_calm_and_says_what_jumps(record):
    """Tables of two processors: rates from 1 on are worse, or jump."""
    sweep = load_sweep(record)
    found = sweep.best().set_index("learning_rate")
    assert sorted(found.index[found["close"]]) == [0.2, 0.4, 0.7]
    assert sorted(found.index[found["jumps"] > 0]) == [1.3, 1.6]
    assert {one.learning_rate for one in sweep.contenders()} == {0.2, 0.4, 0.7}


def test_a_fall_is_a_jump_late_in_the_curve_and_beyond_noise():
    def jump(*accuracies, images=10_000):
        epochs = pd.DataFrame(
            {
                "trial_id": "0",
                "validation_accuracy": np.nan,
                "test_accuracy": accuracies,
            }
        )
        trials = pd.DataFrame({"trial_id": ["0"], "holdout": 0, "answers": 1.0})
        return late_falls(trials, epochs, replace(MNIST, test_images=images))["0"]

    assert jump(0.8, 0.5, 0.9, 0.91, 0.92, 0.93) == 0, "it was early"
    assert jump(0.8, 0.9, 0.92, 0.93, 0.91, 0.93) == pytest.approx(0.02)
    assert jump(0.8, 0.9, 0.92, 0.93, 0.91, 0.93, images=500) == 0
    assert jump(0.9) == 0


def test_a_decision_takes_what_may_be_lower_only_since_it_jumped():
    found = pd.DataFrame(
        {"gap": [0, 0.01, 0.02, 0.02], "limit": 0.01, "jumps": [0, 0, 0.02, 0]}
    )
    assert to_decide(found).index.tolist() == [0, 1, 2]


def test_a_setting_is_not_the_better_for_those_of_its_seeds_that_were_left():
    """A median rule stopped two of three."""
    trials = family({0.1: [("converged", 0.9)] * 3, 0.2: [("converged", 0.99)] * 3})
    trials["stop_reason"] = ["completed"] * 3 + ["medianstopping"] * 2 + ["completed"]
    assert standing(trials, MNIST)["learning_rate"].tolist() == [0.1]
    for reason in UNDECIDED_REASONS:  # which say nothing of it
        found = standing(
            trials.replace({"stop_reason": {"medianstopping": reason}}), MNIST
        )
        assert found[["learning_rate", "seeds", "failures"]].to_numpy().tolist() == [
            [0.2, 1, 0],
            [0.1, 3, 0],
        ]


def test_of_few_images_a_guesser_does_not_compete():
    """With two classes, 100 answers that do not depend on the images are right in up to
    65%."""
    assert [
        str(outcome("completed", of, chance_ceiling(0.5, 100))) for of in (0.6, 0.7)
    ] == [FAILED, COMPETES]
    assert outcome("completed", 0.6, chance_ceiling(0.5, 10_000)) == COMPETES


def test_a_seed_at_chance_failed_and_one_that_fails_more_is_listed_but_not_named_the_best():
    trials = family(
        {
            0.1: [("converged", 0.9)] * 3,
            0.2: [("converged", 0.95)] * 2 + [("undecided", 0.1)],
        }
    )
    found = standing(trials, MNIST)
    assert found[
        ["learning_rate", "seeds", "failures", "close"]
    ].to_numpy().tolist() == [[0.1, 3, 0, 1], [0.2, 2, 1, 1]]
    assert standing_of(found).better == (1,)
