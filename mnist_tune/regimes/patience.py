"""Whether a trial still gets better: how many reports ago its held-out score last rose
beyond noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.regimes.statistics import jitter


class Report(NamedTuple):
    """A report of a trial, after its last step so far."""

    step: int = 0
    score: float = -math.inf
    """The higher the better."""
    risen: float = -math.inf
    """The score of the last rise so far."""
    since: int = 0
    """How many reports ago that was."""


def report(
    before: Sequence[Report], step: int, score: float, answers: float = math.inf
) -> Report:
    """Return a report that follows on others, the first of which is `Report()`. It is a
    rise if its score is above that of the last rise by more than three standard errors.
    So small gains add up to a rise, but what is as good as a lucky report is none.

    All are measured on the same examples. So the noise of a score is how far those
    before went to and fro (`jitter`), and a gain d in accuracy has at least the
    standard error `sqrt(d / answers)`: that of as many answers which became right,
    while none became wrong.

    Args:
        score: NaN is no rise.
        answers: on how many independent answers an accuracy was measured.
    """
    last = before[-1]
    scores = np.array([earlier.score for earlier in before])
    noise = SIGMAS * math.sqrt(2) * jitter(scores)
    fewest = SIGMAS**2 / answers
    if score - last.risen > max(noise, fewest):
        return Report(step, score, score)
    return Report(step, score, last.risen, last.since + 1)
