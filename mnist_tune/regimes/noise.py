"""The noise of a mean loss and of an accuracy, which every threshold follows from."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

SIGMAS = 3.0
"""Standard errors that a difference must exceed; by chance, 1 in 740 does."""

CURVE_RISK = 0.01
"""False-positive rate of a whole curve: the chance that any of its differences exceeds
the limit."""

RISK = 1e-3
"""Chance that a calm network crosses a limit on its loss."""

WINDOW_IMAGES = 128
"""Images over which step losses are averaged to look for spikes. With this many, a calm
network of mean loss 0.5 stays below ln 10 (`calm_limit`) even if it is six times too
confident; with one image it does not."""


def calm_limit(loss: Any, images: float, draws: float = 1, risk: float = RISK) -> Any:
    """Return a limit on the mean loss of a calm network, `(sqrt(L) + sqrt(ln(draws /
    risk) / images))**2`, nats.

    L is its expected loss. The chance that any of `draws` means over `images` exceeds
    the limit is at most `risk`.

    If a network's probabilities are right, its loss on an image has an exponential tail
    of rate 1. As a compound Poisson sum of such losses, the mean has the rate function
    `(sqrt(x) - sqrt(L))**2`. Cramer's bound gives the limit. Measured at batch size
    128, 469 steps: largest calm losses of 0.55 at L = 0.25 (limit 0.67) and 0.14 at L =
    0.035 (limit 0.26).
    """
    luck = np.sqrt(np.log(draws / risk) / images)
    return (np.sqrt(loss) + luck) ** 2


def calm_floor(loss: Any, images: Any, draws: float = 1) -> Any:
    """Return the counterpart of `calm_limit` below the expected loss, at least 0."""
    luck = np.sqrt(np.log(draws / RISK) / images)
    return np.maximum(np.sqrt(loss) - luck, 0.0) ** 2


def accuracy_noise(accuracy: Any, images: float) -> Any:
    """Return the standard error of an accuracy p over n images, `sqrt(p (1 - p) / n)`,
    but at least `1 / n`."""
    p = np.asarray(accuracy)
    variance = np.maximum(p * (1 - p), 1 / images)
    return np.sqrt(variance / images)


def independent_answers(accuracy: float, square: float, positions: int) -> float:
    """Return how many independent answers an example with so many tokens is worth: p (1
    - p) over the variance of the examples' shares of right answers, at least 1 and at
      most one for each token.

    Tokens of one example depend on each other, so there are fewer than tokens.
    `accuracy` is the mean p of the shares, `square` that of their squares.
    """
    of_answer = accuracy * (1 - accuracy)
    if not of_answer > 0:
        return 1.0
    of_example = max(square - accuracy**2, of_answer / positions)
    return max(of_answer / of_example, 1.0)


@cache
def sigmas(differences: int) -> float:
    """Return how many standard errors a difference must exceed for a curve's
    false-positive rate of 1%; at least 3."""
    risk = CURVE_RISK / max(differences, 1)
    return max(SIGMAS, NormalDist().inv_cdf(1 - risk))


def window_images(batch_size: int) -> int:
    """Return the number of images in a window: as many whole batches as hold at least
    `WINDOW_IMAGES` images."""
    return batch_size * -(-WINDOW_IMAGES // batch_size)


def standard_error(parts: Any, variance: float) -> float:
    """Return the standard error of a mean loss, given the losses of equal parts of the
    examples or, of one part, the variance of the mean that follows from its
    examples."""
    count = len(parts)
    with np.errstate(invalid="ignore", over="ignore"):
        if count > 1:
            return float(np.std(parts, ddof=1) / math.sqrt(count))
        return float(math.sqrt(variance))
