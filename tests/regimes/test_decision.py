"""Which setting is best: the confidence sequence, who is out when, and the list of one sweep."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnist_tune.regimes.decision import CONFIRMED, RISK, Decision, chance_gap, most_failures, radius

EXACT = 1e-9


def process(count, mean, spread):
    """G_n of Wang and Ramdas, for a true difference of 0."""
    t2 = count * (mean / spread) ** 2
    return (count + 1) ** -0.5 * ((1 + t2 / (count - 1)) / (1 + t2 / ((count - 1) * (count + 1)))) ** (count / 2)


def decided(values, **options):
    """The decision after these seeds, [seeds, K]."""
    decision = Decision(len(values[0]), **{"tolerance": 0.0} | options)
    for seed in values:
        decision.add(seed)
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


@pytest.mark.parametrize(("settings", "first"), [(2, 5), (4, 6), (8, 7), (12, 7)])
def test_none_is_out_before_differences_can_tell(settings, first):
    values = np.tile(np.arange(settings) / settings, (first, 1)) + np.random.default_rng(0).normal(
        size=(first, settings), scale=1e-9
    )
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
    assert (mean - low, high - mean) == pytest.approx((float(radius(6, image, RISK)),) * 2)


def test_a_public_record_comes_out_the_same():
    """Ten losses of modded-nanogpt's pull request 276, whose limit is 3.28. It gives their mean and a statistic."""
    losses = np.array([3.27744, 3.27717, 3.27755, 3.27663, 3.27709, 3.27587, 3.27691, 3.27863, 3.27669, 3.27678])
    margins = 3.28 - losses
    assert round(3.28 - margins.mean(), 5) == 3.27708
    assert round(margins.mean() * math.sqrt(10), 5) == 0.00925
    assert margins.mean() > radius(10, margins.std(ddof=1), RISK), "it holds for who looks after each loss, too"
    decision = decided([(margin, 0.0) for margin in margins])
    (low, mean, high), than = decision.worse()[0][1], decision.worse()[1][1]
    assert (decision.active.tolist(), decision.seeds.tolist(), than) == ([True, False], [10, 5], 0)
    wide = float(radius(5, margins[:5].std(ddof=1), RISK))
    assert (mean, high - mean) == pytest.approx((margins[:5].mean(), wide))
    assert low > 0


def test_noethers_29_seeds():
    z = NormalDist().inv_cdf(0.95)
    assert math.ceil((2 * z) ** 2 / (6 * (0.75 - 0.5) ** 2)) == CONFIRMED


def test_the_share_of_seeds_that_fail_is_limited():
    assert most_failures([0, 0, 0], [18, 20, 29]) == pytest.approx([0.153, 0.139, 0.098], abs=5e-4)
    assert stats.binom.cdf(2, 20, float(most_failures(2, 20))) == pytest.approx(0.05)


# --- decisions


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 15), st.randoms())
def test_the_order_of_settings_and_a_common_shift_change_nothing(seed, settings, seeds, random):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.9, 0.01, (seeds, settings)) - np.arange(settings) * rng.choice([0.0, 0.01])
    values[rng.random(values.shape) < 0.05] = np.nan
    order = random.sample(range(settings), settings)
    one, other = decided(values), decided((values + rng.normal(size=(seeds, 1)))[:, order])
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
        together.add(one)
    for i in range(3):
        alone = decided(values[:, i], tolerance=0.01)
        for name in ("active", "seeds", "failures", "leader", "may_lose", "over"):
            assert getattr(together, name)[i].tolist() == getattr(alone, name).tolist()
        assert together.worse()[0][i] == pytest.approx(alone.worse()[0], rel=EXACT, nan_ok=True)


def test_who_is_out_counts_no_more_and_knows_by_whom():
    rng = np.random.default_rng(1)
    values = rng.normal([0.9, 0.89, 0.8], 0.005, (40, 3))
    decision = decided(values[:8])
    assert decision.active.tolist() == [True, True, False]
    before = decision.worse()[0][2]
    for seed in values[8:]:
        decision.add([*seed[:2], np.nan])  # nobody trains it any longer
    assert decision.seeds.tolist()[2] <= 8
    assert decision.failures.tolist() == [0, 0, 0]
    (low, mean, high), than = decision.worse()[0][2], decision.worse()[1][2]
    assert (low, mean, high) == tuple(before)
    assert than in (0, 1)
    assert 0 < low < mean < high


def test_two_without_a_seed_in_common_have_no_difference():
    """Not one of 0, at which they would be drawn."""
    found = Decision(2, 0.01)
    for values in ([0.9, math.nan], [math.nan, 0.8]):
        found.add(values)
    assert np.isnan(found.differences[0][[0, 1], [1, 0]]).all()
    (_, mean, _), other, both = (one[1] for one in found.worse())
    assert (other, both) == (0, 0)
    assert math.isnan(mean)


def test_a_setting_that_fails_with_two_seeds_more_than_the_leader_is_set_aside():
    good, lost = [0.9, 0.91], [0.9, np.nan]
    assert decided([good, lost, good]).active.all()
    twice = decided([good, lost, lost])
    assert (twice.active.tolist(), twice.failures.tolist()) == ([True, False], [0, 2])
    assert twice.over
    assert twice.leader == 0, "though the other one is better where it does not fail"
    assert decided([[0.9, 0.91], [np.nan, np.nan], [np.nan, np.nan]]).active.all(), "the leader failed as often"


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
    assert decision.active.all()
    assert 0 < decision.may_lose < 0.002
    assert not decided(0.9 + rng.normal(0, 0.05, (30, 2)), tolerance=0.002).over, "unpaired, it takes far longer"


# --- one sweep


def test_with_one_seed_a_gap_is_held_against_the_noise_of_both():
    v = 0.01**2 + 0.02**2
    expected = stats.norm.ppf(1 - 0.05 / 7) * math.sqrt(v)
    assert float(chance_gap(0.0, 1, v, 8)) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_with_several_seeds_the_noise_counts_for_four_differences(seeds):
    scatter, v = 0.003, 0.01**2 + 0.02**2
    spread = math.sqrt((scatter + 4 * v) / (seeds + 3))
    expected = stats.t.ppf(1 - 0.05 / 3, seeds + 3) * spread / math.sqrt(seeds)
    assert float(chance_gap(scatter, seeds, v, 4)) == pytest.approx(expected)


@given(st.integers(1, 30), st.floats(0, 1), st.floats(1e-6, 1), st.integers(2, 100))
def test_more_noise_or_more_settings_tell_less_apart(seeds, scatter, noise, settings):
    gap = chance_gap(scatter, seeds, noise, settings)
    assert gap > 0
    assert chance_gap(scatter, seeds, 2 * noise, settings) > gap
    assert chance_gap(scatter, seeds, noise, settings + 1) > gap
