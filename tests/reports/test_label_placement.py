"""Positions of labels: apart, in order, in bounds, and as close as possible to the wanted ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mnist_tune.reports.label_placement import Label, place_labels, spread

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


def test_each_label_is_beside_its_own_point():
    axis = Figure().subplots()
    axis.set(xlim=(0, 10), ylim=(0, 1))
    labels = [Label(9 + 0.1 * i, y, f"curve {i}", "black") for i, y in enumerate((0.9, 0.1, 0.5, 0.3, 0.7))]
    place_labels(axis, labels)
    placed = {text.get_text(): text.xyann[1] for text in axis.findobj(Annotation)}
    assert placed == {label.text: pytest.approx(label.y) for label in labels}
