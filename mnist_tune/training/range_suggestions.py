"""The learning rates that a range test suggests, by the rules that are in use today."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOW_UP = "range test"
"""The name of our own range test among the predictors."""

EDGE_OVER = {
    BLOW_UP: (0.56, 0.7, 1.2),
    "fastai steep": (1.4, 2.7, 17),
    "Lightning before 2.5.3": (1.7, 4.4, 19),
    "fastai minimum/10": (4.5, 15, 19),
    "fastai slide": (0.95, 20, 720),
    "fastai valley": (18, 78, 210),
    "Lightning from 2.5.3": (1.7e6, 1.2e7, 5.8e7),
}
"""The measured edge over what a range test suggests: the least, the median and the most of ten networks, as
`sweeps/predictors.py` found them (benchmarks/records/2026-11-27-predictors-amd-epyc-family-26.csv), when our own range
test ended at `BLOWN_UP` times the least loss only."""

BLOWN_UP = 4.0
"""A range test ends where its smoothed loss exceeds so many times its least: the factor of fastai and Lightning."""

BEGUN = 0.9
"""Our range test has learned something once its smoothed loss is below this share of a guess's. From then on it also
ends half-way from the least loss back to a guess's, as a dead network may stay there."""


@dataclass(frozen=True)
class Ramp:
    """The learning rates of a range test, in equal steps of ln η, and the smoothing of its losses."""

    first: float
    last: float
    steps: int
    smoothing: float
    """What the mean keeps of itself in a step. It lags by 1 / (1 - smoothing) steps."""

    @property
    def rates(self) -> np.ndarray:
        """The learning rate of each step, [steps]."""
        found: np.ndarray = self.first * (self.last / self.first) ** (np.arange(self.steps) / self.steps)
        return found


OURS = Ramp(1e-5, 100.0, 700, 0.9)
"""A hundred steps a decade, so that the mean lags by a factor of 1.26. It covers the edges of SGD and of Adam."""
FASTAI = Ramp(1e-7, 10.0, 100, 0.98)
"""The defaults of fastai's `lr_find`."""
LIGHTNING = Ramp(1e-8, 1.0, 100, 0.98)
"""The defaults of Lightning's `lr_find`, which never tries a rate above 1."""


def smoothed(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """Return the exponential moving mean of losses, corrected for its start: `m_t / (1 - smoothing^t)`."""
    mean, found = 0.0, np.empty(len(losses))
    for t, loss in enumerate(losses, start=1):
        mean = smoothing * mean + (1 - smoothing) * float(loss)
        found[t - 1] = mean / (1 - smoothing**t)
    return found


def limit(least: np.ndarray, guess: float) -> np.ndarray:
    """Return the loss at which a range test ends, given the least so far."""
    back = np.where(least < BEGUN * guess, (least + guess) / 2, np.inf)
    return np.minimum(BLOWN_UP * least, back)


@dataclass(frozen=True)
class RangeCurve:
    """The losses of a range test, up to where it ended."""

    ramp: Ramp
    losses: np.ndarray
    """The loss of each step before its update; they may end in infinity or NaN."""
    guess: float = math.inf
    """The loss of a constant guess; infinity where the rule does not ask for it, as those of libraries."""

    @property
    def rates(self) -> np.ndarray:
        return self.ramp.rates[: len(self.losses)]

    @property
    def smooth(self) -> np.ndarray:
        return smoothed(self.losses, self.ramp.smoothing)

    @property
    def blow_up(self) -> float:
        """The first rate at which the smoothed loss is above its `limit`, or not finite; the last rate if there is
        none."""
        smooth = self.smooth
        least = np.minimum.accumulate(np.where(np.isfinite(smooth), smooth, np.inf))
        gone = np.flatnonzero(~(smooth <= limit(least, self.guess)))
        return float(self.rates[gone[0]] if len(gone) else self.rates[-1])

    @property
    def blew_up(self) -> bool:
        """Whether the loss left before the ramp's end."""
        return self.blow_up < self.rates[-1] or len(self.losses) < self.ramp.steps

    def seen(self, skip_first: int, skip_last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates and the smoothed losses that a finder looks at: finite, up to the blow-up."""
        stop = int(np.searchsorted(self.rates, self.blow_up)) + 1
        rates, smooth = self.rates[:stop], self.smooth[:stop]
        rates, smooth = rates[skip_first : stop - skip_last], smooth[skip_first : stop - skip_last]
        fine = np.isfinite(smooth)
        return rates[fine], smooth[fine]


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate in the middle of the longest valley: half of n after b - n, where the longest subsequence of
    falling losses has n points and ends at point b (fastai's default)."""
    longest = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        longest[i] = 1 + max(longest[:i][losses[:i] > losses[i]], default=0)
    end = int(longest.argmax())
    third = longest[end] / 3
    return float(rates[max(end - int(longest[end]) + int(third) + int(third / 2), 0)])


def slide(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at the left end of an interval of 15 points that slides down from the right, as long as the
    slopes at its ends differ by more than 0.005 (fastai)."""
    slopes, width, limit = np.gradient(losses), 15, 0.005
    right = len(losses) - 1
    found = rates[max(right - width, 0)]
    while right - width >= 0 and abs(slopes[right] - slopes[right - width]) > limit:
        found = rates[right - width]
        right -= 1
    return float(found)


Rule = Callable[[np.ndarray, np.ndarray], float]
RULES: dict[str, tuple[Ramp, Rule, tuple[int, int]]] = {
    "fastai valley": (FASTAI, valley, (10, 5)),
    "fastai slide": (FASTAI, slide, (10, 5)),
    # A tenth of the rate with the least loss.
    "fastai minimum/10": (FASTAI, lambda rates, losses: rates[losses.argmin()] / 10, (10, 5)),
    # Where the loss falls most: per ln η, per step, and per η. On a ramp in ln η, the noise at the smallest rates is
    # steepest per η.
    "fastai steep": (FASTAI, lambda rates, losses: rates[(np.diff(losses) / np.diff(np.log(rates))).argmin()], (10, 5)),
    "Lightning before 2.5.3": (LIGHTNING, lambda rates, losses: rates[np.gradient(losses).argmin()], (10, 1)),
    "Lightning from 2.5.3": (LIGHTNING, lambda rates, losses: rates[np.gradient(losses, rates).argmin()], (10, 1)),
}
"""The rules: the ramp that their library uses, the rule, and the points that it leaves out at both ends."""


def suggestion(name: str, curve: RangeCurve) -> float | None:
    """Return the rate that a rule suggests, never NaN; None if the curve has too few points for it."""
    _, rule, skipped = RULES[name]
    rates, losses = curve.seen(*skipped)
    found = float(rule(rates, losses)) if len(rates) > 1 else math.nan
    return found if math.isfinite(found) else None
