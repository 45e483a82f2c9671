"""The rules that finders use, on curves whose suggestion can be read off."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mnist_tune.training.range_suggestions import (
    FASTAI,
    LIGHTNING,
    OURS,
    RULES,
    Ramp,
    RangeCurve,
    slide,
    smoothed,
    suggestion,
    valley,
)

RATES = np.geomspace(1e-4, 10, 101)  # twenty points a decade


def curve(losses, ramp=FASTAI):
    return RangeCurve(ramp, np.asarray(losses, float))


def test_the_smoothed_loss_is_corrected_for_its_start():
    np.testing.assert_allclose(smoothed(np.full(9, 2.5), 0.98), 2.5)
    np.testing.assert_allclose(smoothed(np.array([1.0, 3.0]), 0.5), [1, (0.25 + 1.5) / 0.75])


@pytest.mark.parametrize(("ramp", "first", "last"), [(FASTAI, 1e-7, 10), (LIGHTNING, 1e-8, 1)])
def test_a_library_tries_a_hundred_rates_of_its_own(ramp, first, last):
    assert (ramp.rates[0], ramp.rates[-1] * ramp.rates[1] / ramp.rates[0]) == pytest.approx((first, last))
    assert len(ramp.rates) == 100


def test_rules_on_a_valley():
    """A loss that is flat to 1e-2, falls evenly per decade to 1 at a rate of 1, and rises steeply after that."""
    x = np.log10(RATES)
    losses = np.where(x < -2, 2.0 + 0.001 * (x + 4), np.where(x < 0, 2 - 0.5 * (x + 2), 1 + 5 * x**2))
    found = {name: rule(RATES, losses) for name, (_, rule, _) in RULES.items()}
    assert found["fastai minimum/10"] == pytest.approx(0.1)
    assert -2 <= math.log10(found["fastai steep"]) < 0
    assert -2 <= math.log10(found["Lightning before 2.5.3"]) < 0
    assert found["Lightning from 2.5.3"] == pytest.approx(0.01, rel=0.15)  # per η, the same fall is steepest at small η
    assert valley(RATES, losses) == pytest.approx(0.1, rel=0.15)  # the falling points are those of 1e-2 to 1
    assert 0.1 < slide(RATES, losses) < 1


def test_the_blow_up_is_where_the_smoothed_loss_is_four_times_its_least():
    ramp = Ramp(1e-3, 1.0, 300, 0.0)
    losses = np.where(np.arange(300) < 200, 0.5, 2.01)
    assert curve(losses, ramp).blow_up == pytest.approx(ramp.rates[200])
    assert curve(losses, ramp).blew_up
    losses[200:] = math.nan
    assert curve(losses, ramp).blow_up == pytest.approx(ramp.rates[200])
    calm = curve(np.linspace(2, 1, 300), ramp)
    assert calm.blow_up == ramp.rates[-1]
    assert not calm.blew_up


def test_the_loss_has_left_half_way_back_to_a_guess_s():
    """A dead network has a guess's loss, 2.3: less than four times the least. It counts once something was learned."""
    ramp = Ramp(1e-3, 1.0, 300, 0.0)
    losses = np.select([np.arange(300) < n for n in (100, 150, 200)], [2.3, 1.0, 1.6], 1.7)
    found = RangeCurve(ramp, losses, guess=2.3)
    assert found.blow_up == pytest.approx(ramp.rates[200])
    assert found.blew_up
    assert not curve(losses, ramp).blew_up, "the rules of libraries don't look at a guess"
    learned_little = RangeCurve(ramp, np.where(losses < 2, 2.08, 2.3), guess=2.3)
    assert not learned_little.blew_up
    low = np.select([np.arange(300) < n for n in (100, 150, 200)], [2.3, 0.3, 1.19], 1.21)
    assert RangeCurve(ramp, low, guess=2.3).blow_up == pytest.approx(ramp.rates[200]), "four times the least is less"


def test_a_ramp_begins_at_its_first_rate_and_would_end_at_its_last():
    assert Ramp(1.0, 16.0, 4, 0.0).rates == pytest.approx([1, 2, 4, 8])


def test_a_range_test_that_ended_early_blew_up():
    ramp = Ramp(1e-3, 1.0, 300, 0.0)
    for losses, blew_up in (([2.0] * 300, False), ([2.0] * 299, True), ([*[2.0] * 99, math.nan], True)):
        found = curve(losses, ramp)
        assert found.blow_up == found.rates[-1]
        assert found.blew_up is blew_up


def test_each_rule_looks_at_the_points_that_its_library_looks_at():
    """The first ten are low, the last five before the blow-up fall ever faster, and of those from 10 to 50 two each are
    equal."""
    i = np.arange(100)
    losses = np.select(
        [i < 10, i < 50, i < 70, i < 80, i < 85],
        [1.0, 2.3 - 0.01 * (i // 2), 2.1 - 0.03 * (i - 49) - 0.05 * (i > 60), 1.3, 1.3 - 0.02 * (i - 79) ** 2],
        20.0,
    )
    found = {}
    for name, (ramp, _, _) in RULES.items():
        tested = RangeCurve(replace(ramp, smoothing=0.0), losses)
        assert tested.blow_up == tested.rates[85]
        said = suggestion(name, tested) * (10 if name == "fastai minimum/10" else 1)
        found[name] = int(np.abs(np.log(tested.rates / said)).argmin())
    assert found == {
        "fastai valley": 58,
        "fastai slide": 54,
        "fastai minimum/10": 80,
        "fastai steep": 69,
        "Lightning before 2.5.3": 84,
        "Lightning from 2.5.3": 12,
    }


@pytest.mark.parametrize(("name", "points"), [("fastai minimum/10", 17), ("Lightning before 2.5.3", 13)])
def test_two_points_are_enough_for_a_suggestion(name, points):
    assert suggestion(name, curve(np.linspace(2, 1, points - 1))) is None
    assert suggestion(name, curve(np.linspace(2, 1, points))) is not None


@pytest.mark.parametrize("ramp", [OURS, FASTAI])
@pytest.mark.parametrize(
    "losses",
    [
        [2.3], [math.nan], [2.3, math.nan, math.nan], [2.3] * 100, [2.3, math.inf], [1e300] * 30 + [-1e300] * 30,
        [*np.linspace(2, 1, 50), math.inf, math.nan], list(np.linspace(2, 1, 12)), [0.0] * 40,
    ],
)  # fmt: skip
def test_no_suggestion_is_ever_nan(losses, ramp):
    found = curve(losses, ramp)
    for name in RULES:
        said = suggestion(name, found)
        assert said is None or (math.isfinite(said) and said > 0)
    assert math.isfinite(found.blow_up)
