"""The next learning rate of a search for the edge."""

import numpy as np

from mnist_tune.edge.choice import FAR_BELOW, next_rate
from mnist_tune.regimes.edge_posterior import EdgePosterior


def next_x(posterior, pending=(), number=0, seed=0, cost=1 / 3):
    return next_rate(posterior, number, pending, cost, np.random.default_rng(seed))


def bracketed():
    posterior = EdgePosterior(0.0)
    for x, learned in [(-1.0, True), (-1.0, True), (1.0, False), (1.0, False)]:
        posterior.add(x, learned)
    return posterior


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
    proposed = [next_x(posterior, number=number, seed=number) for number in range(FAR_BELOW)]
    assert proposed[-1] < -0.4
    assert max(abs(x) for x in proposed[:-1]) < 0.4


def test_of_two_that_tell_as_much_the_sooner_one_is_tried():
    """What fails ends early, so cheap failures draw trials to the side of the larger rates."""
    assert next_x(bracketed(), cost=0.1) > next_x(bracketed(), cost=1.0)
