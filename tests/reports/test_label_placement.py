"""Positions of labels: apart, in order, in bounds, and as close as possible to the wanted ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.reports.label_placement import spread

PLACES = st.lists(st.floats(-50, 150), min_size=1, max_size=12).map(lambda places: np.sort(places))


@given(PLACES)
def test_places_are_apart_and_in_bounds(wanted):
    found = spread(wanted, 8, 0, 100)
    assert (np.diff(found) >= 8 - 1e-9).all()
    assert found[0] >= -1e-9
    assert found[-1] <= 100 + 1e-9


@given(PLACES)
def test_spreading_twice_changes_nothing(wanted):
    once = spread(wanted, 8, 0, 100)
    assert spread(once, 8, 0, 100) == pytest.approx(once, abs=1e-9)


def test_neighbours_move_apart_about_their_mean():
    assert spread(np.array([50.0, 50, 90]), 8, 0, 100).tolist() == [46, 54, 90]


def test_labels_at_the_edge_move_inwards():
    assert spread(np.array([99.0, 100]), 8, 0, 100).tolist() == [92, 100]
