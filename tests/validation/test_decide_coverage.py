"""A small part of the benchmark: whether simulated decisions are right as often as they
say."""

import pytest
from text_tables import rows

from validation.decide_coverage import DecideCoverage, simulate

CELLS = """
    ladder 0.6    Gaussian  4
    one best 0.6  unequal   2
    ties          rounded   4
"""


@pytest.mark.parametrize(("truth", "noise", "settings"), rows(CELLS))
def test_decisions_are_right(truth, noise, settings):
    """If each of 200 decisions is right with a chance of 95%, one try in 1,000 has 179
    or fewer that are."""
    cell = simulate(truth, noise, settings, 0.5, DecideCoverage(searches=200))
    assert cell.settled > 0.8
    for share in (cell.within, cell.right, cell.kept):
        assert share * 200 > 179
    assert cell.trials <= 200
