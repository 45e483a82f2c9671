"""Which learning rate a search for the edge should try next."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_tune.regimes.edge_posterior import WIDTHS, EdgePosterior, learns, steep_part

CANDIDATES = 11
"""Learning rates that are compared, equally spaced in ln η over what the posterior holds possible."""

WIDTH_WEIGHT = 0.05
"""What the variance of s counts, relative to that of the half. With more, trials are further from the half, where they
say more of s, and of the rates of 90 and 10%. But there a curve that is not logistic differs more from one that is, and
the half is biased."""

FAR_BELOW = 10
"""One trial in so many is far below the edge, to see lapses, which would bias the edge."""

FIRST = 16
"""Trials that a search may start before it knows any outcome."""


def most_pending(outcomes: Any) -> Any:
    """Return how many trials of a search may be pending, given how many outcomes it has, however many workers wait.

    Trials that are proposed with little known are far from the edge. With 64 pending from the start, a search of 100
    trials ends after half the time, but its interval is up to three times as wide.
    """
    return np.maximum(FIRST, outcomes)


def next_rates(
    posterior: EdgePosterior, rows: np.ndarray, numbers: np.ndarray, pending: np.ndarray, cost: Any, rng: Any
) -> np.ndarray:
    """Return for each of some searches the x = ln η that it should try next, [n].

    It is the candidate that most reduces the expected posterior variance for its expected time. To count the trials
    that are pending, their outcomes are imagined: one draw from the posterior stands for the truth, and all are drawn
    from that. So trials that are proposed together spread over what is still possible.

    Args:
        posterior: of all searches.
        rows: the searches, [n].
        numbers: how many trials each has proposed before, [n].
        pending: x of the trials of which no outcome is known, [n, most pending], NaN after the last one.
        cost: the time that a trial which does not learn takes, relative to one that does.
        rng: draws.
    """
    halves = posterior.halves(rows).astype(np.float32)
    lapse, luck = posterior.lapse_and_luck(rows)
    weights = posterior.halves_and_widths(rows)
    mean, spread, width = _moments(halves, weights)
    below = mean - 2 * spread - 4 * width
    weights = _imagined(weights, halves, pending, lapse, luck, rng)
    mean, spread, width = _moments(halves, weights)
    reach = 2 * spread + width
    x = mean[:, None] + reach[:, None] * np.linspace(-1, 1, CANDIDATES, dtype=np.float32)
    steep = steep_part(halves[:, None] - x[:, :, None], lapse[:, None, None, None], luck[:, None, None, None])
    score = _gain_per_time(weights, halves - mean[:, None], steep, lapse[:, None, None], luck[:, None, None], cost)
    best = x[np.arange(len(rows)), score.argmax(1)]
    return np.asarray(np.where(numbers % FAR_BELOW == FAR_BELOW - 1, below, best))


def _gain_per_time(weights: np.ndarray, halves: np.ndarray, steep: np.ndarray, lapse: Any, luck: Any, cost: Any) -> Any:
    """Return how much a trial at each candidate reduces the expected variance, per time, [n, candidates]."""
    n, _, widths = weights.shape
    half = np.repeat(halves, widths, 1)
    width = np.broadcast_to(WIDTHS, weights.shape).reshape(n, -1)
    moments = np.stack([np.ones_like(half), half, half**2, width, width**2], 2) * weights.reshape(n, -1, 1)
    before = moments.sum(1)[:, None]
    yes = luck * before + (1 - luck - lapse) * (steep.reshape(n, CANDIDATES, -1) @ moments)
    no = before - yes
    gain = _variance(before) - _variance(yes) - _variance(no)
    return gain / (yes[..., 0] + cost * no[..., 0])


def _variance(moments: np.ndarray) -> Any:
    """Return probability times variance, given probability times moments."""
    share, half, half_2, width, width_2 = np.moveaxis(moments, -1, 0)
    share = np.maximum(share, 1e-9)
    return half_2 - half**2 / share + WIDTH_WEIGHT * (width_2 - width**2 / share)


def _moments(halves: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of the half, and the mean of s."""
    marginal = weights @ np.ones(len(WIDTHS), np.float32)
    mean = (marginal * halves).sum(1)
    spread = np.sqrt((marginal * (halves - mean[:, None]) ** 2).sum(1))
    return mean, spread, weights.sum(1) @ WIDTHS


def _imagined(
    weights: np.ndarray, halves: np.ndarray, pending: np.ndarray, lapse: np.ndarray, luck: np.ndarray, rng: Any
) -> np.ndarray:
    """Return the weights after imagined outcomes of the pending trials, drawn from one draw of each posterior."""
    below = np.cumsum(weights.reshape(len(weights), -1), 1)
    drawn = (below < rng.random((len(below), 1)) * below[:, -1:]).sum(1)
    half, width = np.unravel_index(np.minimum(drawn, below.shape[1] - 1), weights.shape[1:])
    weights = weights.copy()
    for x in pending.T:
        has = np.flatnonzero(np.isfinite(x))
        if not len(has):
            break
        distance = halves[has] - x[has, None].astype(np.float32)
        chances = learns(distance, lapse[has, None, None], luck[has, None, None])
        learned = rng.random(len(has)) < chances[np.arange(len(has)), half[has], width[has]]
        weights[has] *= np.where(learned[:, None, None], chances, 1 - chances)
        weights[has] /= weights[has].sum((1, 2), keepdims=True)
    return weights
