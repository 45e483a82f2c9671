"""Which setting is best: the confidence sequence, who is out when, and the list of one
sweep."""

import math
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from families import family
from hypothesis import given
from hypothesis import strategies as st
from text_tables import numbers

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
    above = 1 + t2 / (count - 1)
    below = 1 + t2 / (count**2 - 1)
    ratio = (above / below) ** (count / 2)
    return ratio / math.sqrt(count + 1)


def decided(values, most=inf, tolerance=0.0, **options):
    """The decision after these seeds, [seeds, K]."""
    decision = Decision(len(values[0]), tolerance, **options)
    decision.most = most
    for seed in values:
        decision.add(seed, decision.active)
    return decision


def active(values, **options):
    """Which settings are still trained after these seeds."""
    return decided(values, **options).active.tolist()


# --- the confidence sequence


@given(st.integers(2, 200), st.floats(1e-6, 1e3), st.floats(1e-4, 0.5))
def test_the_radius_is_where_the_process_reaches_its_limit(count, spread, risk):
    mean = float(radius(count, spread, risk))
    q = (math.sqrt(count + 1) / risk) ** (2 / count)
    most = count + 1
    if q >= most:
        assert math.isinf(mean)
    elif q < 0.999 * most:  # nearer, the quotient loses its digits
        limit = pytest.approx(1 / risk, rel=1e-6)
        assert process(count, mean, spread) == limit


@pytest.mark.parametrize("count", [3, 5])
def test_the_process_has_the_mean_1(count):
    values = np.random.default_rng(count).normal(size=(400_000, count))
    processes = process(count, values.mean(1), values.std(1, ddof=1))
    error = processes.std() / math.sqrt(len(processes))
    assert processes.mean() == pytest.approx(1, abs=5 * error)
    assert 5 * error < 0.05


def test_of_one_difference_or_none_nothing_is_known():
    assert np.isinf(radius([0, 1], [0.0, 0.0], 0.05)).all()


@pytest.mark.parametrize("settings", [2, 8])
def test_none_is_out_before_differences_can_tell(settings):
    noise = np.random.default_rng(0).normal(size=(4, settings), scale=1e-9)
    values = np.arange(settings) / settings + noise
    assert all(active(values[:-1]))
    losers = [False] * (settings - 1)
    assert active(values) == [*losers, True]


def test_equal_differences_do_not_pretend_that_nothing_varies():
    few = decided([[0.9, 0.8]] * 3)
    assert few.active.all()
    assert math.isinf(few.may_lose) or few.may_lose == 0
    worse, _ = few.worse()
    assert math.isinf(worse[1, 2])
    image = 1 / 1000
    many = decided([[0.9, 0.8999]] * 6, least=image)
    assert many.active.all()
    worse, _ = many.worse()
    low, mean, high = worse[1]
    half_width = pytest.approx(float(radius(6, image, 2 * RISK)))
    assert mean - low == half_width
    assert high - mean == half_width
    assert many.may_lose == pytest.approx(-low), (
        "what is said and what is drawn are one interval"
    )


RECORD_LOSSES = """
    3.27744 3.27717 3.27755 3.27663 3.27709 3.27587 3.27691 3.27863 3.27669 3.27678
"""


def test_a_public_record_comes_out_the_same():
    """Ten losses of modded-nanogpt's pull request 276, whose limit is 3.28. It gives
    their mean and a statistic."""
    margins = 3.28 - np.array(numbers(RECORD_LOSSES))
    margin = margins.mean()
    assert round(3.28 - margin, 5) == 3.27708
    assert round(margin * math.sqrt(10), 5) == 0.00925
    assert margin > radius(10, margins.std(ddof=1), RISK), (
        "it holds for who looks after each loss, too"
    )
    decision = decided(np.column_stack([margins, np.zeros(10)]))
    assert decision.active.tolist() == [True, False]
    assert decision.seeds.tolist() == [10, 5]
    worse, _ = decision.worse()
    low, mean, high = worse[1]
    first = margins[:5]
    half_width = float(radius(5, first.std(ddof=1), 2 * RISK))
    assert mean == pytest.approx(first.mean())
    assert high - mean == pytest.approx(half_width)
    assert low > 0


def test_the_share_of_seeds_that_fail_is_limited(stats):
    limits = most_failures([0, 0, 0], [18, 20, 29])
    assert limits == pytest.approx([0.153, 0.139, 0.098], abs=5e-4)
    of_two = float(most_failures(2, 20))
    assert stats.binom.cdf(2, 20, of_two) == pytest.approx(0.05)


# --- decisions


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 15), st.randoms())
def test_the_order_of_settings_and_a_common_shift_change_nothing(
    seed, settings, seeds, random
):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.9, 0.01, (seeds, settings))
    gap = rng.choice([0.0, 0.01])
    values -= gap * np.arange(settings)
    has_failed = rng.random(values.shape) < 0.05
    values[has_failed] = nan
    order = random.sample(range(settings), settings)
    decision = decided(values)
    shifted = values + rng.normal(size=(seeds, 1))
    reordered = decided(shifted[:, order])
    assert reordered.active.tolist() == decision.active[order].tolist()
    assert reordered.failures.tolist() == decision.failures[order].tolist()
    may_lose = pytest.approx(decision.may_lose, rel=1e-6, abs=1e-9)
    assert reordered.may_lose == may_lose


STATE = ("active", "rivals", "seeds", "failures", "leader", "may_lose", "over")


@given(st.integers(0, 2**32))
def test_searches_side_by_side_are_what_each_is_alone(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.9, 0.01, (12, 3, 4))
    values -= 0.02 * np.arange(4)
    has_failed = rng.random(values.shape) < 0.1
    values[has_failed] = nan
    together = Decision(4, 0.01, searches=(3,))
    for row in values:
        together.add(row, together.active)
    for i in range(3):
        alone = decided(values[:, i], tolerance=0.01)
        for name in STATE:
            state = getattr(together, name)[i]
            assert state.tolist() == getattr(alone, name).tolist()
        worse, _ = together.worse()
        worse_alone, _ = alone.worse()
        assert worse[i] == pytest.approx(worse_alone, rel=EXACT, nan_ok=True)


def test_who_can_be_no_better_than_the_tolerance_trains_no_more():
    rng = np.random.default_rng(1)
    values = rng.normal([0.9, 0.899, 0.8], 0.005, (40, 3))
    decision = decided(values, tolerance=0.001)
    assert decision.seeds[2] == 4
    assert decision.rivals.tolist() == [False, True, False]
    assert decision.seeds[1] > 10
    worse, both = decision.worse()
    assert both[2] == 4
    low, mean, high = worse[2]
    assert 0 < low < mean < high
    first = values[:12]
    few = decided(first, tolerance=0.01).seeds.sum()
    many = decided(first, tolerance=0.001).seeds.sum()
    assert few < many


def test_two_without_a_seed_in_common_have_no_difference():
    """Not one of 0, at which they would be drawn."""
    decision = Decision(2, 0.01)
    decision.add([0.9, nan])
    decision.add([nan, 0.8])
    assert np.isnan(decision.differences[[0, 1], [1, 0]]).all()
    worse, both = decision.worse()
    assert both[1] == 0
    _, mean, _ = worse[1]
    assert math.isnan(mean)


def test_where_no_noise_is_known_any_gap_may_be_chance():
    unknown = np.full(3, nan)
    one_seed = np.ones(3)
    of_one = chance_gap(unknown, nan, unknown, one_seed, 0, 3)
    assert of_one.tolist() == [inf] * 3
    three_seeds = np.full(3, 3.0)
    several = chance_gap(unknown, 1e-4, unknown, three_seeds, 6, 3)
    without_noise = chance_gap(unknown, 1e-4, np.zeros(3), three_seeds, 6, 3)
    assert (several == without_noise).all()
    assert np.isfinite(several).all()


def test_a_setting_that_fails_with_two_seeds_more_than_the_leader_is_set_aside():
    good = [0.9, 0.91]
    lost = [0.9, nan]
    assert all(active([good, lost, good]))
    twice = decided([good, lost, lost])
    assert twice.active.tolist() == [True, False]
    assert twice.failures.tolist() == [0, 2]
    assert twice.over
    assert twice.leader == 0, "though the other one is better where it does not fail"
    both_lost = [nan, nan]
    assert all(active([good, both_lost, both_lost])), "the leader failed as often"


def test_what_fails_with_every_seed_never_leads():
    decision = decided([[nan, 0.9]] * 2)
    assert int(decision.leader) == 1
    assert decision.active.tolist() == [False, True]
    nothing = decided([[nan, nan]] * 9, tolerance=0.1)
    assert math.isinf(nothing.may_lose)
    assert not nothing.over


def test_it_is_over_once_no_other_can_be_better_by_more_than_the_tolerance():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 0.05, (30, 1))
    own = rng.normal(0, 0.001, (30, 2))
    values = 0.9 + common + own  # equally good; much of their noise is common

    def is_over(seeds):
        return decided(values[:seeds], tolerance=0.002).over

    ended = next(filter(is_over, range(1, 31)))
    assert 5 <= ended < 20
    decision = decided(values[:ended], tolerance=0.002)
    assert decision.rivals.sum() == 1
    assert 0 < decision.may_lose < 0.002
    unpaired = 0.9 + rng.normal(0, 0.05, (30, 2))
    assert not decided(unpaired, tolerance=0.002).over, "it takes far longer"


def test_nobody_is_better_than_a_setting_without_mistakes_by_more_than_is_left():
    lucky = [0.8 if seed % 5 == 0 else 1.0 for seed in range(20)]
    values = [[1.0, accuracy] for accuracy in lucky]
    limits = {"tolerance": 0.002, "least": 0.001}
    shares = decided(values, 1.0, **limits)
    assert shares.over
    assert shares.may_lose < 0.001
    losses = decided(values, inf, **limits)
    assert not losses.over
    assert losses.may_lose >= 0.001


def test_who_lost_only_to_a_setting_that_is_set_aside_is_in_again():
    """0 is better than 1, and fails twice then. 2 is worse than 1, but varies so much
    that none can tell."""
    even, odd = [0.95, 0.9, 0.7], [0.951, 0.9, 0.94]
    values = [even, odd] * 4
    assert active(values) == [True, False, True]
    values += [[nan, 0.9, 0.7], [nan, 0.9, 0.94]]
    decision = decided(values)
    assert decision.active.tolist() == [False, True, True]
    assert decision.leader == 1
    seeds = decision.seeds[1]
    # a seed that was asked for while 1 was out
    decision.add([nan, nan, 0.7], [False, False, True])
    assert decision.seeds[1] == seeds
    assert decision.failures[1] == 0


def test_failures_are_compared_on_the_seeds_that_both_have():
    """1 was out after four seeds. 0 fails with two of the forty that follow, which says
    nothing of 1."""
    rng = np.random.default_rng(0)
    values = rng.normal([0.9, 0.8, 0.898], 0.003, (40, 3))
    values[20:22] = nan
    decision = decided(values)
    assert decision.failures.tolist() == [2, 0, 2]
    assert decision.leader == 0
    assert not decision.aside.any()


@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e9])
def test_the_leader_is_better_than_others_whatever_the_size_of_a_loss(scale):
    decision = Decision(4, tolerance=0.0)
    decision.losses = np.array([0.1, 0.3, 0.2, 0.4])
    worse = [2.1, 2.2, 2.3]
    # two of which the sums differ by rounding
    equal = [1 + 0.1, 1 + 0.2, 1 + 0.3]
    permuted = [1 + 0.3, 1 + 0.1, 1 + 0.2]
    wild = [1e12, 1e12, 1e12]
    for losses in np.column_stack([worse, equal, permuted, wild]):
        decision.add(-scale * losses)
    assert decision.leader == 2, "of the two that are equal, that with the least loss"


def test_who_was_set_aside_stays_so_when_the_leader_fails_later():
    decision = decided([[0.9, nan, 0.8], [0.9, nan, 0.99], [nan, 0.99, 0.8]])
    assert decision.active.tolist() == [True, False, True]
    assert decision.allowed.tolist() == [-1, 0, -1]


# --- one sweep


def below(values, noise, jumping=()):
    """How far each setting is below the best, and the most that is not told apart,
    given values of shape [K, seeds]."""
    values = np.array(values, float)
    setting, seed = (index.ravel() for index in np.indices(values.shape))
    noises = np.full(values.size, noise)
    jumps = np.isin(setting, jumping)
    all_lead = np.full(values.size, True)
    _, gap, limit = below_best(setting, seed, values.ravel(), noises, jumps, all_lead)
    return gap, limit


def test_with_one_seed_a_gap_is_held_against_the_error_of_both_accuracies(stats):
    gap, limit = below([[0.9], [0.91], [0.8]], 0.01)
    assert gap == pytest.approx([0.01, 0, 0.11])
    error_of_both = 0.01 * math.sqrt(2)
    most = stats.norm.ppf(1 - 0.05 / 2) * error_of_both
    assert limit == pytest.approx([most] * 3)


def test_with_several_seeds_it_is_held_against_what_seeds_do_to_all_settings(stats):
    """Few seeds of one setting may differ little by luck. What is common to all
    settings makes no noise."""
    own = np.random.default_rng(0).normal(0, 0.01, (4, 3))
    own[1] = own[0] - 0.001  # as it happens
    common = np.array([0, 0.3, 0.6])
    _, limit = below(own + common, 1e-9)
    about_setting = own - own.mean(1, keepdims=True)
    of_seeds = np.median(about_setting, 0)
    about_seed = own - of_seeds
    variances = about_seed.var(1, ddof=1)
    robust = np.median(variances) / (8 / 9) ** 3
    pooled = min(variances.mean(), robust) * 8 / 6
    best = own.mean(1).argmax()
    differences = own[best] - own
    variance_of_difference = differences.var(1, ddof=1)
    s2 = np.maximum(variance_of_difference, 2 * pooled)
    t = stats.t.ppf(1 - 0.05 / 3, 6)
    assert limit == pytest.approx(t * np.sqrt(s2 / 3))
    _, noisy_limit = below(own, 0.1)
    least = t * math.sqrt(0.02 / 3)
    assert noisy_limit == pytest.approx([least] * 4), "it is no less than the error"


@pytest.mark.parametrize("jumping", [(), (4,)])
def test_a_rate_near_its_edge_says_nothing_of_the_noise_of_the_others(jumping):
    """Whether its curves jump or not. So three seeds list no more than one: a gap of
    ten errors is told apart."""
    calm = np.random.default_rng(0).normal(0.9, 0.001, (4, 4))
    calm[3] -= 0.01
    wild = np.random.default_rng(1).normal(0.8, 0.1, (1, 4))
    values = np.concatenate([calm, wild])
    gap, limit = below(values, 1e-4, jumping)
    is_close = gap <= limit
    assert is_close[3:].tolist() == [False, True]
    assert limit[:4].max() < 0.005 < limit[4]


def test_seeds_that_no_two_settings_share_count_too(stats):
    setting = np.repeat([0, 1], 3)
    best, worse = [0.9, 0.91, 0.92], [0.8, 0.9, 0.85]
    values = np.array(best + worse)
    noises = np.full(6, 1e-3)
    jumps = np.full(6, False)
    all_lead = np.full(6, True)
    _, gap, limit = below_best(setting, np.arange(6), values, noises, jumps, all_lead)
    assert gap[1] == pytest.approx(0.06)
    variance = np.var(best, ddof=1) + np.var(worse, ddof=1)
    error = math.sqrt(variance / 3)
    t = stats.t.ppf(0.95, 4)
    assert limit[1] == pytest.approx(t * error)


SPREADS = st.floats(0, 1)
NOISES = st.floats(1e-6, 1)


@given(SPREADS, SPREADS, st.integers(2, 30), NOISES, st.integers(2, 100))
def test_more_noise_or_more_settings_tell_less_apart(
    spread, pooled, seeds, noise, settings
):
    def gap(spread=spread, pooled=pooled, noise=noise, settings=settings):
        return chance_gap(spread, pooled, noise, seeds, 10, settings)

    assert gap() > 0
    assert gap(spread=spread + 3) > gap()
    assert gap(pooled=pooled + 3) > gap()
    assert gap(noise=noise + 3) > gap()
    assert gap(settings=settings + 1) > gap()


@pytest.mark.parametrize("record", RECORDS, ids=lambda place: place.name)
def test_the_main_sweep_ties_what_is_calm_and_says_what_jumps(record):
    """Tables of two processors: rates from 1 on are worse, or jump."""
    sweep = load_sweep(record)
    best = sweep.best().set_index("learning_rate")
    close = best.index[best["close"]]
    assert sorted(close) == [0.2, 0.4, 0.7]
    jumping = best.index[best["jumps"] > 0]
    assert sorted(jumping) == [1.3, 1.6]
    contenders = {trial.learning_rate for trial in sweep.contenders()}
    assert contenders == {0.2, 0.4, 0.7}


def late_fall(*accuracies, images=10_000):
    """How far a curve on so many images falls late."""
    trials = pd.DataFrame({"trial_id": ["0"], "holdout": 0, "answers": 1.0})
    epochs = pd.DataFrame({"trial_id": "0", "test_accuracy": accuracies})
    epochs["validation_accuracy"] = nan
    return late_falls(trials, epochs, replace(MNIST, test_images=images))["0"]


def test_a_fall_is_a_jump_late_in_the_curve_and_beyond_noise():
    assert late_fall(0.8, 0.5, 0.9, 0.91, 0.92, 0.93) == 0, "it was early"
    late = (0.8, 0.9, 0.92, 0.93, 0.91, 0.93)
    assert late_fall(*late) == pytest.approx(0.02)
    assert late_fall(*late, images=500) == 0
    assert late_fall(0.9) == 0


def test_a_decision_takes_what_may_be_lower_only_since_it_jumped():
    settings = pd.DataFrame({"gap": [0, 0.01, 0.02, 0.02], "jumps": [0, 0, 0.02, 0]})
    settings["limit"] = 0.01
    assert to_decide(settings).index.tolist() == [0, 1, 2]


def test_a_setting_is_not_the_better_for_those_of_its_seeds_that_were_left():
    """A median rule stopped two of three."""
    good = [("converged", 0.9)] * 3
    better = [("converged", 0.99)] * 3
    trials = family({0.1: good, 0.2: better})
    trials["stop_reason"] = "completed"
    trials.loc[[3, 4], "stop_reason"] = "medianstopping"
    settings = standing(trials, MNIST)
    assert settings["learning_rate"].tolist() == [0.1]
    for reason in UNDECIDED_REASONS:  # which say nothing of it
        undecided = trials.replace({"stop_reason": {"medianstopping": reason}})
        settings = standing(undecided, MNIST)
        assert settings["learning_rate"].tolist() == [0.2, 0.1]
        assert settings["seeds"].tolist() == [1, 3]
        assert settings["failures"].tolist() == [0, 0]


def test_of_few_images_a_guesser_does_not_compete():
    """With two classes, 100 answers that do not depend on the images are right in up to
    65%."""
    few_images = chance_ceiling(0.5, 100)
    assert str(outcome("completed", 0.6, few_images)) == FAILED
    assert str(outcome("completed", 0.7, few_images)) == COMPETES
    many_images = chance_ceiling(0.5, 10_000)
    assert outcome("completed", 0.6, many_images) == COMPETES


def test_a_seed_at_chance_failed_and_one_that_fails_more_is_listed_but_not_named_the_best():
    good = [("converged", 0.9)] * 3
    failing = [("converged", 0.95), ("converged", 0.95), ("undecided", 0.1)]
    trials = family({0.1: good, 0.2: failing})
    settings = standing(trials, MNIST)
    assert settings["learning_rate"].tolist() == [0.1, 0.2]
    assert settings["seeds"].tolist() == [3, 2]
    assert settings["failures"].tolist() == [0, 1]
    assert settings["close"].tolist() == [1, 1]
    assert standing_of(settings).better == (1,)
