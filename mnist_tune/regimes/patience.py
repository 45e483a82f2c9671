"""Whether a trial still gets better: how many reports ago its held-out score last rose
beyond noise."""

from __future__ import annotations

import math

import numpy as np

from mnist_tune.regimes.noise import SIGMAS, accuracy_noise
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.regimes.statistics import jitter


class Rises:
    """The rises of a trial's held-out score: a report is one if its score is above that
    of the last rise by more than noise. Small gains add up to a rise, but a report that
    was lucky is none, nor are those after it that are as good.

    The noise of an accuracy follows from its count of answers. That of other scores is
    how far those before went to and fro (`jitter`): all are measured on the same
    examples.
    """

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._scores: list[float] = []
        self._last = math.nan
        """The score of the last rise."""
        self.since = 0
        """The reports since then."""

    def add(self, score: float, answers: float) -> None:
        """Take up the score of a report, the higher the better, and on how many
        independent answers an accuracy was measured. NaN is no rise."""
        self.since += 1
        if math.isnan(self._last):
            is_rise = not math.isnan(score)
        else:
            is_rise = score - self._last > SIGMAS * self._noise(score, answers)
        if is_rise:
            self._last = score
            self.since = 0
        self._scores.append(score)

    def _noise(self, score: float, answers: float) -> float:
        """Return the standard error of the difference from the last rise."""
        if self._ranking.is_accuracy:
            errors = accuracy_noise([score, self._last], answers)
            return math.hypot(*errors)
        return math.sqrt(2) * jitter(np.array(self._scores))
