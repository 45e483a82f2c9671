"""The posterior of the edge, against a dense one computed in the plainest way, and what
follows from it."""

import numpy as np
import pytest

from mnist_tune.regimes import edge_posterior
from mnist_tune.regimes.edge_posterior import (
    LAPSES,
    LUCK,
    REACH,
    WIDTH_PRIOR,
    WIDTHS,
    EdgePosterior,
)


def posterior_of(outcomes, expected=0.0):
    found = EdgePosterior(expected)
    for x, learned in outcomes:
        found.add(x, learned)
    return found


def dense_quantiles(outcomes, shares, expected=0.0):
    """The same model in float64, on a grid of 4,001 halves, without any grid that
    moves."""
    half = np.linspace(-REACH, REACH, 4001)[:, None]
    s = WIDTHS[None].astype(float)
    total = np.zeros(len(half))
    for lapse, lapse_share in LAPSES.items():
        for luck, luck_share in LUCK.items():
            weights = (
                lapse_share
                * luck_share
                * WIDTH_PRIOR
                * np.exp(-np.maximum(np.abs(half - expected) - np.log(8), 0))
            )
            middle = half + s * np.log((0.5 - luck) / (0.5 - lapse))
            for x, learned in outcomes:
                p = luck + (1 - luck - lapse) / (
                    1 + np.exp(np.clip((x - middle) / s, -700, 700))
                )
                weights = weights * (p if learned else 1 - p)
            total += weights.sum(1)
    below = np.cumsum(total) / total.sum()
    return np.interp(shares, below, half[:, 0] + REACH / 4000)


RNG = np.random.default_rng(3)
MANY = [
    (x, RNG.random() < 1 / (1 + np.exp((x - 0.4) / 0.1)))
    for x in RNG.normal(0.4, 0.2, 60)
]


@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        [(0.0, True)],
        [(0.0, True), (0.7, False), (0.3, False)],
        [(-0.5, False), *MANY[:20]],
        MANY,
    ],
    ids=["prior", "one", "bracket", "with a lapse", "many"],
)
def test_it_is_the_posterior_of_the_model(outcomes):
    found = posterior_of(outcomes).interval()
    wanted = dense_quantiles(outcomes, [0.025, 0.5, 0.975])
    # with few outcomes the grid's points are up to 0.18 apart
    coarse = 0.01 if len(outcomes) > 10 else 0.025
    np.testing.assert_allclose(found, wanted, atol=coarse * (wanted[2] - wanted[0]))


def test_outcomes_add_up_in_any_order():
    forward, backward = posterior_of(MANY), posterior_of(MANY[::-1])
    np.testing.assert_allclose(forward.interval(), backward.interval(), atol=5e-4)


def test_the_rates_of_90_and_10_percent_lie_on_both_sides_and_agree_with_the_band():
    found = posterior_of(MANY)
    ninety, half, ten = (found.interval_of(share)[1] for share in (0.9, 0.5, 0.1))
    assert ninety < half < ten
    assert half == pytest.approx(found.interval()[1], abs=0.01)
    low, middle, high = found.band(np.array([ninety, half, ten]))
    np.testing.assert_allclose(middle, [0.9, 0.5, 0.1], atol=0.03)
    assert (low < middle).all()
    assert (middle < high).all()


def test_intervals_hold_95_percent():
    found = posterior_of(MANY)
    halves, weights = found.halves, found.halves_and_widths.sum(1)
    low, middle, high = found.interval()
    assert weights[(low <= halves) & (halves <= high)].sum() == pytest.approx(
        0.95, abs=0.02
    )
    assert weights[halves <= middle].sum() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(found.interval_of(0.5), [low, middle, high], atol=0.02)


def test_a_search_with_few_outcomes_never_ends():
    sharp = [
        (x, x < 0)
        for x in sorted(np.linspace(-0.2, 0.2, edge_posterior.LEAST_OUTCOMES), key=abs)
    ]
    assert not posterior_of(sharp[:-1]).has_settled(0.05)
    assert posterior_of(sharp).has_settled(0.05)


@pytest.mark.parametrize("precision", [0.3, 0.35, 0.4])
def test_a_search_ends_once_its_interval_was_narrow_for_a_while(precision):
    """Checked against the definition after each outcome."""
    posterior, narrow, settled = EdgePosterior(0.0), [], []
    for x, learned in MANY:
        posterior.add(x, learned)
        low, _, high = posterior.interval()
        narrow.append(high - low <= 2 * np.log1p(precision))
        settled.append(posterior.has_settled(precision))
    assert settled == [
        n >= edge_posterior.LEAST_OUTCOMES
        and all(narrow[int((1 - edge_posterior.SETTLED) * n) : n])
        for n in range(1, len(narrow) + 1)
    ]
    assert any(settled)
    assert settled.index(True) > narrow.index(True) + 5
