"""When does a calm curve reach its target? Its error falls as a power of the epochs, which is fitted and continued."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.regimes.tuned import DRIFT, TREND_EPOCHS

EIGHTY, NINETY = 1.2816, 1.6449
"""Standard errors on either side of an 80% and of a 90% interval."""


@dataclass(frozen=True)
class Forecast:
    """The epoch at which a curve reaches its target, from 1; infinite if it never does."""

    likely: float
    earliest: float
    """Beginning of the 80% interval."""
    latest: float
    """End of the 80% interval."""
    exponent: float = 0.0
    """a of the power law `error ~ epoch**-a` of the curve's last half."""
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

    def __str__(self) -> str:
        if self.is_past or self is NEVER:
            return f"in epoch {self.likely:.0f}" if self.is_past else "never"
        return f"about epoch {rounded(self.likely)} ({rounded(self.earliest)} to {rounded(self.latest)})"


NEVER = Forecast(math.inf, math.inf, math.inf)


def rounded(epoch: float) -> str:
    """Return an epoch in two digits."""
    return "any later" if math.isinf(epoch) else f"{float(f'{epoch:.2g}'):.0f}"


def forecast(curve: Curve, target: float) -> Forecast:
    """Return when a curve reached the target, or when it will: the first of the epochs since which it stayed there, or
    the power law of its last half, continued.

    The slope of `log(error)` over `log(epoch)` has the larger of two standard errors: that of the residuals, and that
    of the noise of the counts. The errors of wrong labels can't fall, while none are memorised.
    """
    stays = np.flatnonzero(curve.accuracy < target)
    if len(stays) < curve.epochs and curve.accuracy[-1] >= target:
        epoch = float(stays[-1] + 2 if len(stays) else 1)
        return Forecast(epoch, epoch, epoch)
    count = max(curve.epochs // 2 + 1, min(curve.epochs, TREND_EPOCHS + 1))
    error = curve.avoidable_error[-count:]
    if count < TREND_EPOCHS:
        return Forecast(math.inf, 1 + curve.epochs, math.inf)
    x = np.log(np.arange(curve.epochs - count + 1, curve.epochs + 1))
    x, y = x - x.mean(), np.log(error)
    slope = float(x @ y / (x @ x))
    residuals = y - y.mean() - slope * x
    noise = accuracy_noise(curve.accuracy[-count:], curve.images) / error
    variance = max(float(residuals @ residuals) / (count - 2), float(np.mean(noise**2)))
    exponent, spread = -slope, math.sqrt(variance / float(x @ x))
    fitted = float(np.exp(y.mean() + slope * x[-1]))
    goal = curve.avoidable_goal(target)
    if exponent <= 0:
        return Forecast(math.inf, math.inf, math.inf, exponent, spread)
    steps = math.log(max(fitted / goal, 1.0))  # in logarithms of the error
    logarithm = steps / exponent
    width = EIGHTY * math.hypot(logarithm * spread / exponent, math.sqrt(variance) / exponent, DRIFT * logarithm)
    ends = (curve.epochs * math.exp(min(logarithm + side * width, 50)) for side in (0, -1, 1))
    likely, earliest, latest = (max(end, curve.epochs + 1.0) for end in ends)
    return Forecast(likely, earliest, latest, exponent, spread)
