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

    def spread(values):
        mean = np.average(values, weights=weights)
        return np.average((values - mean) ** 2, weights=weights)

    return spread(half) + WIDTH_WEIGHT * spread(s)


def drawn_posterior(rng):
    """Return the posterior of some outcomes about an edge of a width that is drawn."""
    posterior = EdgePosterior(0.0)
    s = rng.uniform(0.02, 0.5)
    cost = rng.uniform(0.2, 1)
    for x in rng.normal(0, 0.7, rng.integers(3, 12)):
        share = 1 / (1 + np.exp(x / s))
        posterior.add(x, bool(rng.random() < share))
    return posterior, cost


def gain_for_its_time(posterior, x, cost):
    """How much the expected variance falls by a trial at x, for the time it takes."""
    halves = posterior.halves
    weights = posterior.halves_and_widths.astype(float)
    chances = learns(halves - x, *posterior.lapse_and_luck).astype(float)
    learned = weights * chances
    failed = weights * (1 - chances)
    yes = learned.sum()
    after = yes * variance(halves, learned) + (1 - yes) * variance(halves, failed)
    time = yes + cost * (1 - yes)
    return (variance(halves, weights) - after) / time


def candidates(posterior):
    halves = posterior.halves
    weights = posterior.halves_and_widths.astype(float)
    of_halves = weights.sum(1)
    mean = of_halves @ halves
    deviation = np.sqrt(of_halves @ (halves - mean) ** 2)
    span = 2 * deviation + weights.sum(0) @ WIDTHS
    return np.linspace(mean - span, mean + span, CANDIDATES)


def test_the_candidate_that_most_reduces_the_expected_variance_for_its_time_is_tried():
    rng = np.random.default_rng(1)
    for _ in range(30):
        posterior, cost = drawn_posterior(rng)
        xs = candidates(posterior)
        gains = [gain_for_its_time(posterior, x, cost) for x in xs]
        best = xs[np.argmax(gains)]
        assert next_x(posterior, cost=cost) == pytest.approx(best, abs=1e-4)


def test_a_search_begins_where_the_edge_is_expected():
    first = next_x(EdgePosterior(2.0), cost=1.0)
    assert abs(first - 2.0) < 0.5


def test_a_bracket_is_halved():
    assert abs(next_x(bracketed(), cost=1.0)) < 0.35


def test_trials_proposed_together_spread_over_the_bracket():
    posterior = bracketed()
    pending = []
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
        share = 1 / (1 + np.exp(x / 0.1))
        posterior.add(x, rng.random() < share)
    *near, far = [next_x(posterior, number=n, seed=n) for n in range(FAR_BELOW)]
    assert far < -0.4
    assert max(map(abs, near)) < 0.4


def test_of_two_that_tell_as_much_the_sooner_one_is_tried():
    """What fails ends early, so cheap failures draw trials to the side of the larger
    rates."""
    assert next_x(bracketed(), cost=0.1) > next_x(bracketed(), cost=1.0)
