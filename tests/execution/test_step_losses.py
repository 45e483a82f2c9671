"""The step since which an epoch's losses are too high."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.execution.step_losses import left_for_good


def above_since_by_definition(above, first_step, since):
    """Return the first step from which on all are above, or the step of an earlier epoch."""
    starts = [i for i in range(len(above)) if all(above[i:])]
    if not starts:
        return None
    return since if starts[0] == 0 and since is not None else first_step + starts[0]


@given(
    st.lists(st.sampled_from([0.5, 2.0, 2.1, 9.0, math.inf, math.nan]), min_size=1, max_size=12),
    st.integers(1, 5000),
    st.none() | st.integers(1, 5000),
)
def test_left_for_good(losses, first_step, since):
    above = [not loss <= 2.0 for loss in losses]
    found = left_for_good(np.array(losses, np.float32), 2.0, first_step, since)
    assert found == above_since_by_definition(above, first_step, since)


@given(st.lists(st.sampled_from([0.5, 9.0]), min_size=6, max_size=6))
def test_left_for_good_does_not_depend_on_where_epochs_end(losses):
    losses = np.array(losses, np.float32)
    since = None
    for start in (0, 2, 4):
        since = left_for_good(losses[start : start + 2], 2.0, start + 1, since)
    assert since == left_for_good(losses, 2.0, 1, None)


@pytest.mark.parametrize(("losses", "expected"), [([9.0, 0.5, 9.0, 9.0], 109), ([9.0] * 4, 101), ([0.5] * 4, None)])
def test_windows_are_told_by_their_first_steps(losses, expected):
    assert left_for_good(np.array(losses), 2.0, 101, None, starts=np.array([0, 4, 8, 12])) == expected
