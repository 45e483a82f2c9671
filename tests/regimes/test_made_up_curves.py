"""The made-up curves have the labels that a person would give them."""

import pytest
from made_up_curves import FURTHER_CURVES, ISSUE_CURVES, assert_label

CURVES = ISSUE_CURVES | FURTHER_CURVES


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_labelled_as_a_person_would(name):
    found, labels = CURVES[name]
    assert_label(found, labels)
