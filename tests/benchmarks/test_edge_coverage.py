"""A small part of the benchmark: whether simulated searches find the edge they were given."""

import numpy as np
import pytest

from edge_coverage import EdgeCoverage, simulate


@pytest.mark.parametrize(("truth", "workers"), [("logistic", 2), ("lapses of 5 to 10%", 16)])
def test_intervals_hold_the_true_edge(truth, workers):
    """Of 100 intervals, 95% of which hold it, 85 or fewer would in 1 of 5,000 tries."""
    cell = simulate(truth, 0.05, workers, EdgeCoverage(searches=100, trials=40))
    assert cell.covers * 100 > 85.5
    assert abs(cell.median.mean()) < 0.015
    assert np.mean((cell.high - cell.low) / 2) < 0.25
    assert cell.trials.max() <= 40
