"""Whether a trial still gets better: how many reports ago its held-out score last rose
beyond noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mnist_tune.regimes.noise import SIGMAS, accuracy_noise
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
    before: Sequence[Report], step: int, score: float, answers: float | None
) -> Report:
    """Return a report that follows on others, the first of which is `Report()`. It is a
    rise if its score is above that of the last rise by more than noise. So small gains
    add up to a rise, but what is as good as a lucky report is none.

    Args:
        score: NaN is no rise.
        answers: on how many independent answers an accuracy was measured. None of other
            scores: their noise is how far those before went to and fro (`jitter`),
            since all are measured on the same examples.
    """
    last = before[-1]
    if answers is None:
        scores = [earlier.score for earlier in before]
        noise = math.sqrt(2) * jitter(np.array(scores))
    else:
        noise = math.hypot(*accuracy_noise([score, last.risen], answers))
    if score - last.risen > SIGMAS * noise:
        return Report(step, score, score)
    return Report(step, score, last.risen, last.since + 1)
