"""The next learning rate of a search for the edge."""

import numpy as np
import pytest

from mnist_tune.edge.choice import CANDIDATES, FAR_BELOW, WIDTH_WEIGHT, next_rate
from mnist_tune.regimes.edge_posterior import WIDTHS, EdgePosterior, learns


def next_x(posterior, pending=(), number=0, seed=0, cost=1 / 3):
    return next_rate(posterior, number, pending, cost, np.random.default_rng(seed))


def bracketed():
    posterior = EdgePosterior(0.0)
    for x, learned in [(-1.0, True), (-1.0, True), (1.0, False), (1.0, False)]:
        posterior.add(x, learned)
    return posterior


def variance(halves, weights):
    """Return the variance of the half, and that of s by its weight, over a grid of
    both."""
    half, s = np.broadcast_arrays(halves[:, None], WIDTHS)
    return sum(
        share
        * np.average((value - np.average(value, weights=weights)) ** 2, weights=weights)
        for value, share in ((half, 1.0), (s, WIDTH_WEIGHT))
    )


def test_the_candidate_that_most_reduces_the_expected_variance_for_its_time_is_tried():
    rng = np.random.default_rng(1)
    for _ in range(30):
        posterior, s, cost = (
            EdgePosterior(0.0),
            rng.uniform(0.02, 0.5),
            rng.uniform(0.2, 1),
        )
        for x in rng.normal(0, 0.7, rng.integers(3, 12)):
            posterior.add(x, bool(rng.random() < 1 / (1 + np.exp(x / s))))
        halves, weights = posterior.halves, posterior.halves_and_widths.astype(float)
        before = variance(halves, weights)
        mean = weights.sum(1) @ halves
        span = (
            2 * np.sqrt(weights.sum(1) @ (halves - mean) ** 2) + weights.sum(0) @ WIDTHS
        )
        gains = {}
        for x in np.linspace(mean - span, mean + span, CANDIDATES):
            chances = learns(halves - x, *posterior.lapse_and_luck).astype(float)
            yes = (weights * chances).sum()
            after = yes * variance(halves, weights * chances) + (1 - yes) * variance(
                halves, weights * (1 - chances)
            )
            gains[x] = (before - after) / (yes + cost * (1 - yes))
        assert next_x(posterior, cost=cost) == pytest.approx(
            max(gains, key=gains.get), abs=1e-4
        )


def test_a_search_begins_where_the_edge_is_expected():
    assert abs(next_x(EdgePosterior(2.0), cost=1.0) - 2.0) < 0.5


def test_a_bracket_is_halved():
    assert abs(next_x(bracketed(), cost=1.0)) < 0.35


def test_trials_proposed_together_spread_over_the_bracket():
    posterior, pending = bracketed(), []
    for number in range(7):
        pending.append(next_x(posterior, pending, number, seed=number))
    gaps = np.diff(np.sort(pending))
    assert min(pending) < -0.2
    assert max(pending) > 0.2
    assert gaps.max() < 1.0


def test_one_trial_in_ten_is_far_below_the_edge():
    posterior = EdgePosterior(0.0)
    rng = np.random.default_rng(0)
    for x in rng.normal(0, 0.2, 60):
        posterior.add(x, rng.random() < 1 / (1 + np.exp(x / 0.1)))
    proposed = [
        next_x(posterior, number=number, seed=number) for number in range(FAR_BELOW)
    ]
    assert proposed[-1] < -0.4
    assert max(abs(x) for x in proposed[:-1]) < 0.4


def test_of_two_that_tell_as_much_the_sooner_one_is_tried():
    """What fails ends early, so cheap failures draw trials to the side of the larger
    rates."""
    assert next_x(bracketed(), cost=0.1) > next_x(bracketed(), cost=1.0)
