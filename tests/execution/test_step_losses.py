"""The step since which an epoch's losses are too high."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.execution.step_losses import left_for_good, window_means


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


def test_images_that_were_left_out_are_in_no_window():
    """With batches of 50, a window is three steps; 8 steps leave 20 of 420 images."""
    losses = np.arange(8.0)
    left_out, whole = window_means(losses, 50, 420), window_means(losses, 50, 400)
    np.testing.assert_array_equal(left_out, whole)
    np.testing.assert_array_equal(whole, [[1.0, 5.0], [0, 3]])


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


@pytest.mark.parametrize(
    ("losses", "batch_size", "images", "means", "starts"),
    [
        ([1, 2, 3, 4], 64, 256, [1.5, 3.5], [0, 2]),
        ([1, 2, 3, 4], 64, 240, [(64 * 1 + 64 * 2 + 64 * 3 + 48 * 4) / 240], [0]),
        ([1, 2, 3, 4, 5], 64, 288, [1.5, (64 * 3 + 64 * 4 + 32 * 5) / 160], [0, 2]),
        ([1, 2, 3], 300, 700, [1, (300 * 2 + 100 * 3) / 400], [0, 1]),
        ([1, 2, 3], 300, 900, [1, 2, 3], [0, 1, 2]),
        ([7, 1], 64, 100, [(64 * 7 + 36 * 1) / 100], [0]),
        ([1, math.inf, 1, 1], 64, 256, [math.inf, 1], [0, 2]),
    ],
)
def test_a_window_has_128_images_or_more_and_every_image_counts_once(losses, batch_size, images, means, starts):
    found, first_steps = window_means(np.array(losses, np.float32), batch_size, images)
    np.testing.assert_allclose(found, means, rtol=1e-12)
    assert first_steps.tolist() == starts
