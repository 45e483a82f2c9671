"""What the trials of a sweep have in common."""

import math

import pandas as pd
import pytest

from mnist_tune.regimes.families import held_out


@pytest.mark.parametrize(
    ("validation", "test", "split"),
    [
        pytest.param([0.5, 0.7], [0.6, 0.8], "validation", id="both"),
        pytest.param([math.nan, math.nan], [0.6, 0.8], "test", id="none held out"),
        pytest.param([0.5, math.nan], [0.6, 0.8], "test", id="one held out"),
        pytest.param([0.5, math.nan], [0.6, math.nan], "validation", id="one diverged"),
        pytest.param([math.nan] * 2, [math.nan] * 2, "test", id="nothing measured"),
    ],
)
def test_trials_are_compared_on_a_split_that_each_was_measured_on(
    validation, test, split
):
    """One that blew up says nothing: of a task, its losses are no numbers."""
    trials = pd.DataFrame({"validation_loss": validation, "test_loss": test})
    assert held_out(trials) == split
    assert held_out(trials.iloc[:0]) == "test"
