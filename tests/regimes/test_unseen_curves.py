"""Curves that no rule was made on have the labels that a person gave them, but for the
share that `docs/labels.md` reports."""

import numpy as np
import pytest

from validation.label_cuts import judged, read_set, score

RIGHT = {
    1: 0.9,
    2: 0.94,
    3: 0.96,
    4: 0.82,
    5: 0.93,
    6: 0.91,
    8: 0.9,
    9: 0.95,
    10: 0.92,
    11: 0.9,
}
"""The least share of right labels in each set, on its way and slow half right of each
other."""


@pytest.mark.parametrize("number", RIGHT)
def test_labels_are_those_of_a_person(number):
    scores = []
    misses = []
    for sweep in read_set(number):
        for row in judged(sweep):
            scores.append(score(row))
            if scores[-1] < 1:
                trial = f"{sweep.name} {row.learning_rate:g}"
                misses.append(f"{trial}: {row.expected}, {row.regime}")
    assert len(scores) >= 40
    assert np.mean(scores) >= RIGHT[number], "\n".join(misses)
