"""How far chance alone carries a mean loss or an accuracy: the noise levels that every threshold follows from."""

from __future__ import annotations

from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

SIGMAS = 3.0
"""Standard errors that a difference must exceed: by chance 1 in 740 does so."""

CURVE_RISK = 0.01
"""Chance that any of the differences of a curve exceeds its limit."""

RISK = 1e-3
"""Chance that a calm network crosses a limit on its loss."""

WINDOW_IMAGES = 128
"""Images over which step losses are averaged before a spike is judged. Over so many a calm network of mean loss 0.5
stays below ln 10 (`calm_limit`) even if it is six times too sure of itself; over one image it does not."""


def calm_limit(loss: Any, images: float, draws: float = 1, risk: float = RISK) -> Any:
    """The mean loss over `images` that a calm network of expected loss L exceeds in one of `draws` with probability
    `risk` at most: `(sqrt(L) + sqrt(ln(draws / risk) / images))**2`, nats.

    A network whose probabilities are right gives a true label a probability below q in at most q of the images a
    class, so that its loss has an exponential tail of rate 1. As compound Poisson sum of such losses the mean has
    the rate function `(sqrt(x) - sqrt(L))**2`; Cramer's bound gives the limit. Measured at batch size 128, 469
    steps: largest calm batch losses of 0.55 at L = 0.25 (limit 0.67) and 0.14 at L = 0.035 (limit 0.26).
    """
    return (np.sqrt(loss) + np.sqrt(np.log(draws / risk) / images)) ** 2


def calm_floor(loss: float, images: float, draws: float = 1) -> float:
    """The counterpart of `calm_limit` below the expected loss, 0 at least."""
    return float(max(np.sqrt(loss) - np.sqrt(np.log(draws / RISK) / images), 0.0) ** 2)


def accuracy_noise(accuracy: Any, images: float) -> Any:
    """Standard error of an accuracy over n images, `sqrt(p (1 - p) / n)`; never below that of one error."""
    p = np.asarray(accuracy)
    return np.sqrt(np.maximum(p * (1 - p), 1 / images) / images)


def difference_noise(first: Any, second: Any, images: float) -> Any:
    """Standard error of the difference of two accuracies, as if over different images: a bound for the same ones."""
    return np.hypot(accuracy_noise(first, images), accuracy_noise(second, images))


@cache
def sigmas(differences: int) -> float:
    """Standard errors that one of so many differences exceeds by chance in a hundredth of the curves; 3 at least."""
    return max(SIGMAS, NormalDist().inv_cdf(1 - CURVE_RISK / max(differences, 1)))


def window_images(batch_size: int) -> int:
    """Images a window: whole batches, of at least `WINDOW_IMAGES` images."""
    return batch_size * -(-WINDOW_IMAGES // batch_size)


def window_means(losses: np.ndarray, batch_size: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Step losses averaged over windows of `WINDOW_IMAGES` images or more.

    Args:
        losses: of an epoch's steps, [steps].
        batch_size: images a step; the last may have fewer, it is averaged with the window before.
        images: in the epoch.

    Returns:
        The means, and the index of the first step of each window.
    """
    sizes = np.full(len(losses), float(batch_size))
    sizes[-1] = images - batch_size * (len(losses) - 1)
    span = window_images(batch_size) // batch_size
    starts = np.arange(0, max(len(losses) - span * (images % (span * batch_size) > 0), 1), span)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(losses.astype(np.float64) * sizes, starts)
    return sums / np.add.reduceat(sizes, starts), starts
