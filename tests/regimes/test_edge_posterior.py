"""The posterior of the edge, against a dense one computed in the plainest way, and what
follows from it."""

import itertools

import numpy as np
import pytest

from mnist_tune.regimes.edge_posterior import (
    LAPSES,
    LEAST_OUTCOMES,
    LUCK,
    REACH,
    SETTLED,
    WIDTH_PRIOR,
    WIDTHS,
    EdgePosterior,
)


def posterior_of(outcomes, expected=0.0):
    posterior = EdgePosterior(expected)
    for x, learned in outcomes:
        posterior.add(x, learned)
    return posterior


def logistic(x):
    return 1 / (1 + np.exp(np.clip(x, -700, 700)))


def dense_quantiles(outcomes, shares, expected=0.0):
    """The same model in float64, on a grid of 4,001 halves, without any grid that
    moves."""
    half = np.linspace(-REACH, REACH, 4001)[:, None]
    s = WIDTHS[None].astype(float)
    distance = np.maximum(np.abs(half - expected) - np.log(8), 0)
    total = np.zeros(len(half))
    pairs = itertools.product(LAPSES.items(), LUCK.items())
    for (lapse, lapse_share), (luck, luck_share) in pairs:
        prior = lapse_share * luck_share * WIDTH_PRIOR
        weights = prior * np.exp(-distance)
        middle = half + s * np.log((0.5 - luck) / (0.5 - lapse))
        range_of_p = 1 - luck - lapse
        for x, learned in outcomes:
            z = (x - middle) / s
            p = luck + range_of_p * logistic(z)
            if not learned:
                p = 1 - p
            weights = weights * p
        total += weights.sum(1)
    below = np.cumsum(total) / total.sum()
    return np.interp(shares, below, half[:, 0] + REACH / 4000)


RNG = np.random.default_rng(3)


def learned_at(x):
    """Whether a trial learned, with an edge at 0.4."""
    share = 1 / (1 + np.exp((x - 0.4) / 0.1))
    return RNG.random() < share


MANY = [(x, learned_at(x)) for x in RNG.normal(0.4, 0.2, 60)]
OUTCOMES = {
    "prior": [],
    "one": [(0.0, True)],
    "bracket": [(0.0, True), (0.7, False), (0.3, False)],
    "with a lapse": [(-0.5, False), *MANY[:20]],
    "many": MANY,
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_it_is_the_posterior_of_the_model(name):
    outcomes = OUTCOMES[name]
    interval = posterior_of(outcomes).interval()
    dense = dense_quantiles(outcomes, [0.025, 0.5, 0.975])
    low, _, high = dense
    # with few outcomes the grid's points are up to 0.18 apart
    coarse = 0.01 if len(outcomes) > 10 else 0.025
    np.testing.assert_allclose(interval, dense, atol=coarse * (high - low))


def test_outcomes_add_up_in_any_order():
    forward = posterior_of(MANY).interval()
    backward = posterior_of(MANY[::-1]).interval()
    np.testing.assert_allclose(forward, backward, atol=5e-4)


def test_the_rates_of_90_and_10_percent_lie_on_both_sides_and_agree_with_the_band():
    posterior = posterior_of(MANY)
    _, ninety, _ = posterior.interval_of(0.9)
    _, half, _ = posterior.interval_of(0.5)
    _, ten, _ = posterior.interval_of(0.1)
    assert ninety < half < ten
    _, median, _ = posterior.interval()
    assert half == pytest.approx(median, abs=0.01)
    rates = np.array([ninety, half, ten])
    low, middle, high = posterior.band(rates)
    np.testing.assert_allclose(middle, [0.9, 0.5, 0.1], atol=0.03)
    assert (low < middle).all()
    assert (middle < high).all()


def test_intervals_hold_95_percent():
    posterior = posterior_of(MANY)
    halves = posterior.halves
    weights = posterior.halves_and_widths.sum(1)
    low, middle, high = posterior.interval()
    is_within = (low <= halves) & (halves <= high)
    assert weights[is_within].sum() == pytest.approx(0.95, abs=0.02)
    is_below = halves <= middle
    assert weights[is_below].sum() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(
        posterior.interval_of(0.5), [low, middle, high], atol=0.02
    )


def test_a_search_with_few_outcomes_never_ends():
    nearest_first = sorted(np.linspace(-0.2, 0.2, LEAST_OUTCOMES), key=abs)
    sharp = [(x, x < 0) for x in nearest_first]
    assert not posterior_of(sharp[:-1]).has_settled(0.05)
    assert posterior_of(sharp).has_settled(0.05)


def settled_after(narrow, count):
    """By the definition: there are enough outcomes, and the interval was narrow for the
    last of them."""
    first = int((1 - SETTLED) * count)
    return count >= LEAST_OUTCOMES and all(narrow[first:count])


@pytest.mark.parametrize("precision", [0.3, 0.35, 0.4])
def test_a_search_ends_once_its_interval_was_narrow_for_a_while(precision):
    """Checked against the definition after each outcome."""
    posterior = EdgePosterior(0.0)
    narrow = []
    settled = []
    for x, learned in MANY:
        posterior.add(x, learned)
        low, _, high = posterior.interval()
        narrow.append(high - low <= 2 * np.log1p(precision))
        settled.append(posterior.has_settled(precision))
        assert settled[-1] == settled_after(narrow, len(narrow))
    assert any(settled)
    assert settled.index(True) > narrow.index(True) + 5
