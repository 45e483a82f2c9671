"""Which learning rate a search for the edge should try next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_tune.regimes.edge_posterior import WIDTHS, EdgePosterior, learns, steep_part

CANDIDATES = 11
"""Learning rates that are compared, equally spaced in ln η over what the posterior
holds possible."""

WIDTH_WEIGHT = 0.05
"""What the variance of s counts, relative to that of the half. With more, trials are
further from the half, where they say more of s, and of the rates of 90 and 10%. But
there a curve that is not logistic differs more from one that is, and the half is
biased."""

FAR_BELOW = 10
"""One trial in so many is far below the edge, to see lapses, which would bias the
edge."""


def next_rate(
    posterior: EdgePosterior,
    number: int,
    pending: Sequence[float],
    cost: float,
    rng: Any,
) -> float:
    """Return the x = ln η that a search should try next, given how many trials it has
    proposed before, x of those that are pending, and the time that a trial which does
    not learn takes, relative to one that does.

    It is the candidate that most reduces the expected posterior variance for its
    expected time. To count the trials that are pending, their outcomes are imagined:
    one draw from the posterior stands for the truth, and all are drawn from that. So
    trials that are proposed together spread over what is still possible.
    """
    halves, weights = posterior.halves.astype(np.float32), posterior.halves_and_widths
    lapse, luck = posterior.lapse_and_luck
    mean, spread, width = _moments(halves, weights)
    below = mean - 2 * spread - 4 * width
    weights = _imagined(weights, halves, pending, lapse, luck, rng)
    if number % FAR_BELOW == FAR_BELOW - 1:
        return float(below)
    mean, spread, width = _moments(halves, weights)
    x = mean + (2 * spread + width) * np.linspace(-1, 1, CANDIDATES, dtype=np.float32)
    steep = steep_part(halves - x[:, None], lapse, luck)
    # from the means
    apart = np.broadcast_arrays(np.float32(1), (halves - mean)[:, None], WIDTHS - width)
    moments = np.stack(apart, 2) * weights[..., None]
    before = moments.sum((0, 1))
    # probability times moments, [x, 3]
    yes = luck * before + (1 - luck - lapse) * np.tensordot(steep, moments, 2)
    no = before - yes
    return float(
        x[((_explained(yes) + _explained(no)) / (yes[:, 0] + cost * no[:, 0])).argmax()]
    )


def _explained(moments: np.ndarray) -> Any:
    """Return probability times the squares of means, given probability times 1 and
    means, as differences from those of the posterior. Over both outcomes, this is by
    how much the expected variance is smaller than the posterior's."""
    share, half, width = np.moveaxis(moments, -1, 0)
    return (half**2 + WIDTH_WEIGHT * width**2) / np.maximum(share, 1e-9)


def _moments(halves: np.ndarray, weights: np.ndarray) -> tuple[Any, Any, Any]:
    """Return the mean and the standard deviation of the half, and the mean of s."""
    marginal = weights.sum(1)
    mean = marginal @ halves
    return mean, np.sqrt(marginal @ (halves - mean) ** 2), weights.sum(0) @ WIDTHS


def _imagined(
    weights: np.ndarray,
    halves: np.ndarray,
    pending: Sequence[float],
    lapse: Any,
    luck: Any,
    rng: Any,
) -> np.ndarray:
    """Return the weights after imagined outcomes of the pending trials, drawn from one
    draw of the posterior."""
    below = np.cumsum(weights)
    drawn = np.searchsorted(below, rng.random() * below[-1])
    at = np.unravel_index(min(drawn, below.size - 1), weights.shape)
    for chances in learns(
        halves - np.asarray(pending, np.float32)[:, None], lapse, luck
    ):
        weights = weights * (chances if rng.random() < chances[at] else 1 - chances)
        weights = weights / weights.sum()
    return weights
