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

    At each point of the posterior, a trial learns with the probability
    luck + (1 - luck - lapse) * steep. Over all points, the candidate has the largest

        gain / duration = (explained(learned) + explained(failed))
                          / (P(learned) + cost * P(failed)).
    """
    halves = posterior.halves.astype(np.float32)
    weights = posterior.halves_and_widths
    lapse, luck = posterior.lapse_and_luck
    mean, spread, width = _moments(halves, weights)
    below = mean - 2 * spread - 4 * width
    weights = _imagined(weights, halves, pending, lapse, luck, rng)
    if number % FAR_BELOW == FAR_BELOW - 1:
        return float(below)
    # candidates, over what the posterior holds possible
    mean, spread, width = _moments(halves, weights)
    steps = np.linspace(-1, 1, CANDIDATES, dtype=np.float32)
    x = mean + (2 * spread + width) * steps
    steep = steep_part(halves - x[:, None], lapse, luck)
    # 1, half and width of each point of the posterior, as differences from the means
    from_half = (halves - mean)[:, None]
    from_width = WIDTHS - width
    points = np.broadcast_arrays(np.float32(1), from_half, from_width)
    moments = np.stack(points, 2) * weights[..., None]
    before = moments.sum((0, 1))
    # probability of each outcome times moments, [x, 3]
    learned = luck * before + (1 - luck - lapse) * np.tensordot(steep, moments, 2)
    failed = before - learned
    gain = _explained(learned) + _explained(failed)
    duration = learned[:, 0] + cost * failed[:, 0]
    best = (gain / duration).argmax()
    return float(x[best])


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
    variance = marginal @ (halves - mean) ** 2
    return mean, np.sqrt(variance), weights.sum(0) @ WIDTHS


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
    cumulated = np.cumsum(weights)
    drawn = np.searchsorted(cumulated, rng.random() * cumulated[-1])
    truth = np.unravel_index(min(drawn, cumulated.size - 1), weights.shape)
    distances = halves - np.asarray(pending, np.float32)[:, None]
    for likelihood in learns(distances, lapse, luck):
        if rng.random() >= likelihood[truth]:
            likelihood = 1 - likelihood
        weights = weights * likelihood
        weights = weights / weights.sum()
    return weights
