"""A small part of the benchmark: whether simulated searches find the edge they were
given."""

import pytest

from validation.edge_coverage import EdgeCoverage, simulate


@pytest.mark.parametrize(
    ("truth", "workers"), [("logistic", 2), ("lapses of 5 to 10%", 16)]
)
def test_intervals_hold_the_true_edge(truth, workers):
    """If each of 24 intervals holds the edge with a chance of 95%, only one try in
    1,000 has 18 or fewer that do."""
    cell = simulate(truth, 0.05, workers, EdgeCoverage(searches=24, seed=1))
    assert cell.covers * 24 > 18.5
    assert abs(cell.bias) < 0.015
    assert cell.half_width < 0.07
    assert cell.trials <= 100
