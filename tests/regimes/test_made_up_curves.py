"""The made-up curves have the labels that a person would give them, but for a few."""

import pytest
from made_up_curves import FURTHER_CURVES, ISSUE_CURVES

from mnist_tune.regimes.labels import curve_regime

CURVES = ISSUE_CURVES | FURTHER_CURVES

MISSES = {
    "200 epochs, chaos in the last thirty",  # 15 drops among the late 100 epochs are not more than a sixth
    "wild, ending well",  # four calm epochs at the end
    "a hundred classes, at a small rate",  # a law of exponent 0.11 has levelled off
}


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_labelled_as_a_person_would(name):
    found, labels = CURVES[name]
    label, evidence = curve_regime(found, found.data.target)
    assert (label in labels) == (name not in MISSES), evidence
