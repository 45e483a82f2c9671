"""When does a calm curve reach its target? Its error falls as a power of the epochs,
which is fitted and continued.

How far that can be trusted was measured: complete curves were cut, and the epoch that
the power law gave was compared with the one at which they got there (`docs/labels.md`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mnist_tune.regimes.curve import Curve, median
from mnist_tune.regimes.limits import FAR, HALF, LEARNED, NEAR_BEST, PLATEAU, TREND
from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.regimes.statistics import higher, late_pace, line_through, memorising

NINETY = 1.6449
"""Standard errors on either side of a 90% interval."""

KNOWN = 1.5
"""The power law says ln(t/n) = x, after n epochs, of the epoch t. If x is above this,
too few of the curves that were cut got there to say how late: only the beginning of the
interval is known."""


def interval(x: float) -> tuple[float, float]:
    """Return the 80% interval of ln(t/n). It begins early, since young curves
    accelerate, and no later for what seems never to get there. Fitted (Kaplan and Meier
    1958) to 3,642 cuts of the curves of 69 sweeps; 389 of them got there.
    """
    start = min(0.5 * x, 0.5 + 0.1 * x, math.log(SOONEST))
    if x > KNOWN:
        return start, math.inf
    return start, 1.1 * x + 0.2


SOONEST = math.e
"""No `interval` begins later than after this many times the epochs so far."""


@dataclass(frozen=True)
class Forecast:
    """The epoch at which a curve reaches its target, from 1; infinite if it never
    does."""

    likely: float
    earliest: float
    """Beginning of the 80% interval."""
    latest: float
    """End of the 80% interval; infinite if it is not known."""
    exponent: float = 0.0
    """a of the power law `error ~ epoch**-a` of the curve's late half."""
    spread: float = 0.0
    """The standard error of a."""

    @property
    def slowest(self) -> float:
        """The least exponent of its 90% interval."""
        return self.exponent - NINETY * self.spread

    @property
    def fastest(self) -> float:
        """The largest exponent of its 90% interval."""
        return self.exponent + NINETY * self.spread

    @property
    def is_past(self) -> bool:
        """Whether it was reached, and when is known."""
        return self.spread == 0 and self.latest < math.inf


def arrived(curve: Curve, target: float) -> int | None:
    """Return the epoch since which a curve has been at the target, but for single
    epochs; None if it is not there."""
    score = curve.score
    padded = np.concatenate([[-np.inf, np.inf], score])
    first, second, third = padded[:-2], padded[1:-1], padded[2:]
    # the median of three
    lower = np.minimum(first, second)
    upper = np.maximum(first, second)
    settled = np.maximum(lower, np.minimum(upper, third))
    below = np.flatnonzero(settled < target)
    since = 0
    if len(below):
        since = int(below[-1])
    there = np.flatnonzero(score[since:] >= target)
    if not len(there):
        return None
    return since + int(there[0]) + 1


def forecast(curve: Curve, target: float) -> Forecast:
    """Return when a curve reached the target, or when it will: the power law of its
    late half, continued."""
    epoch = arrived(curve, target)
    if epoch is not None:
        return Forecast(epoch, epoch, epoch)
    n = curve.epochs
    if n < TREND:
        return Forecast(math.inf, n + 1, math.inf)
    error, exponent, spread = law(curve)
    # from here on in logarithms, of the error and of the epochs
    missing = math.log(max(error / error_of(target), 1.0))
    ahead = 99.0
    if exponent > 0:
        ahead = min(missing / exponent, 99.0)
    start, end = interval(ahead)
    likely, earliest, latest = (
        max(n * math.exp(x), n + 1.0) for x in (ahead, start, end)
    )
    return Forecast(likely, earliest, latest, exponent, spread)


def error_of(score: Any) -> Any:
    """Return the error at a score, but at least 1e-9: it is compared on a
    logarithmic scale."""
    return np.maximum(1 - score, 1e-9)


def law(curve: Curve) -> tuple[float, float, float]:
    """Fit `error ~ epoch**-a` to the late half of a curve of at least `TREND` epochs.
    Return the fitted error of the last epoch, a, and its standard error: the larger of
    those of the residuals and of the noise of the counts."""
    n = curve.epochs
    count = max(n // 2 + 1, min(n, 4))
    score = curve.score[-count:]
    error = error_of(score)
    noise = curve.noise(score) / error
    x = np.log(np.arange(n - count + 1, n + 1))
    x = x - x.mean()
    y = np.log(error)
    slope, residuals = line_through(x, y)
    fitted = y.mean() + slope * x[-1]
    of_residuals = float(residuals @ residuals) / (count - 2)
    of_counts = float(np.mean(noise**2))
    variance = max(of_residuals, of_counts) / float(x @ x)
    return float(np.exp(fitted)), -slope, math.sqrt(variance)


def reached(curve: Curve, target: float | None, label: str) -> Forecast | None:
    """Return when a curve reaches the target; None if it is not calm, or there are too
    few epochs to tell."""
    if target is None or not curve.epochs:
        return None
    if label in ("oscillating", "diverged", "overfit"):
        return None
    ahead = forecast(curve, target)
    if ahead.is_past:
        return ahead
    if label == "underfit" or curve.ended or curve.epochs < TREND:
        return None
    return ahead


def epochs_to(ahead: Forecast | None, label: str) -> tuple[float, float, float]:
    """Return the epoch at which a trial is at the target, and the ends of its 80%
    interval."""
    if ahead is not None:
        likely = math.nan
        if ahead.latest < math.inf:
            likely = ahead.likely
        return likely, ahead.earliest, ahead.latest
    if label == "underfit":
        return math.inf, math.inf, math.inf
    return math.nan, math.nan, math.nan


def target_of(
    curves: Sequence[Curve], running: bool = True
) -> tuple[float | None, list[Curve]]:
    """Return the target of siblings, and the curves that it follows from: with these
    alone it would be the same. It is that of their data set or, if it has none, what
    follows from those that ran all their epochs; before there are any, from those that
    are `running`, or it is None.

    It is the score of the one that did best on held-out images, less `NEAR_BEST` of
    what can be learned, or its noise if that is more, but at most half of what it
    learned. What memorised is no measure, and what still rises is none: the target is
    None if such a curve ended higher than all that have levelled off, or if none has
    learned.
    """
    data = curves[0].data.with_wrong_labels(curves[0].label_noise)
    if data.target is not None:
        return data.target, []
    measures: Sequence[Curve] = [curve for curve in curves if curve.complete]
    if not measures and running:
        measures = curves
    trained = [curve for curve in measures if curve.epochs]
    ranked = sorted(trained, key=lambda curve: -curve.held_out_settled)
    # one after the other, since both questions take time
    generalising = (curve for curve in ranked if not memorising(curve))
    highest = next(generalising, None)
    if highest is None:
        return None, []
    level = (curve for curve in chain([highest], generalising) if not rises(curve))
    best = next(level, None)
    if best is None:
        return None, [highest]
    has_learned = best.data.learned(best.settled) >= LEARNED
    if not has_learned or higher(highest, best, None):
        return None, [highest, best]
    return target_from(best), [highest, best]


def target_from(best: Curve) -> float:
    """Return the target that follows from the best of siblings."""
    half = HALF * (best.settled - best.data.chance)
    return best.settled - min(margin(best), half)


def margin(curve: Curve) -> float:
    """Return by how much a target is below the score of the curve that it follows
    from."""
    noise = SIGMAS * float(curve.noise(curve.settled))
    at_first = max(curve.data.chance, curve.begun)
    return max(NEAR_BEST * (1 - at_first), noise)


def rises(curve: Curve) -> bool:
    """Return whether a curve has not levelled off: its late pace is not below `HALF` of
    its mean pace, and by its law it would pass a target that follows from it by twice
    the margin, within `FAR` times its epochs. Fewer epochs than `PLATEAU` show no pace,
    so there the law decides alone, also where a schedule ended. Of a share that was
    learned, nobody knows the most, so there is no law: what its held-out share gained
    in the last quarter says how much it would gain (`late_gain`)."""
    gain = margin(curve)
    is_short = curve.epochs < PLATEAU
    if curve.ended and not is_short:
        return False
    if not curve.data.by_accuracy:
        return not curve.ended and _gains_late(curve, gain)
    if has_stopped(curve, gain):
        return False
    error = float(error_of(curve.settled))
    if error <= gain:
        return False
    if curve.epochs < TREND:
        return True
    _, exponent, _ = law(curve)
    will_gain = error * (1 - FAR**-exponent)
    if not will_gain > 2 * gain:
        return False
    pace, _ = late_pace(curve)
    return is_short or bool(pace >= 1 / FAR)


def _gains_late(curve: Curve, gain: float) -> bool:
    """Return whether a held-out share that goes on would gain over twice this until
    `FAR` times its epochs. Two epochs show no end of it."""
    if curve.epochs < TREND:
        return True
    return FAR * late_gain(curve.held_out) > 2 * gain


def has_stopped(curve: Curve, gain: float) -> bool:
    """Return whether a curve gained less than a third of this in its last quarter, as
    after the last step of a schedule that falls in steps."""
    quarter = curve.epochs // 4
    if quarter < TREND:
        return False
    return late_gain(curve.score) < gain / FAR


def late_gain(scores: np.ndarray) -> float:
    """Return how much scores gained in their last quarter, one epoch at least. While
    they follow a power law, they gain about three times as much until `FAR` times their
    epochs."""
    quarter = max(len(scores) // 4, 1)
    before = median(scores[-quarter - TREND : -quarter])
    return median(scores[-TREND:]) - before
