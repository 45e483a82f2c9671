"""Positions of labels: apart, in order, in bounds, and as close as possible to the wanted ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mnist_tune.reports.curve_plots import Label, place_labels, spread

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


def placed(labels):
    """The notes that are written for labels, from the bottom to the top, on an axis of 7.2 by 3.6 inches."""
    axis = Figure(figsize=(7.2, 3.6), dpi=144).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(0, 1))
    place_labels(axis, labels)
    return sorted(axis.findobj(Annotation), key=lambda note: note.xyann[1])


def test_a_label_is_away_from_its_point_and_has_a_leader_if_it_was_moved():
    notes = placed([Label(1, 0.5, f"curve {i}", "black") for i in range(3)])
    line = 1.25 * 7 / (3.6 * 72)  # of the axis
    assert [note.xyann[1] for note in notes] == pytest.approx([0.5 - line, 0.5, 0.5 + line])
    assert [note.xyann[0] for note in notes] == pytest.approx([1 + 10 * 2.2 * 7 / (7.2 * 72)] * 3)
    assert [note.arrow_patch is not None for note in notes] == [True, False, True]
    assert {note.xy for note in notes} == {(1, 0.5)}
    apart = placed([Label(1, 0.5, "", "black"), Label(1, 0.5 + 0.9 * line, "", "black")])
    assert all(note.arrow_patch is None for note in apart), "moved by less than half a line"


def test_of_too_many_labels_the_lowest_the_highest_and_some_between_are_written():
    notes = placed([Label(1, i / 100, str(i), "black") for i in range(101)])
    said = [int(note.get_text()) for note in notes]
    assert said == sorted(said)
    assert (said[0], said[-1], len(said)) == (0, 100, 29)
    assert all(3 <= after - before <= 4 for before, after in pairwise(said))


def test_only_labels_that_might_touch_are_moved():
    long, short, inside, beyond = (
        Label(x, 0.5, text, "black") for x, text in ((0, "x" * 60), (0.1, "x"), (4, "x"), (9, "x"))
    )
    notes = {note.xy[0]: note.xyann[1] for note in placed([beyond, inside, short, long])}
    assert notes[9] == pytest.approx(0.5)
    heights = sorted(notes[x] for x in (0, 0.1, 4))
    assert np.diff(heights) == pytest.approx([1.25 * 7 / (3.6 * 72)] * 2)


def test_each_label_is_beside_its_own_point():
    axis = Figure().subplots()
    axis.set(xlim=(0, 10), ylim=(0, 1))
    labels = [Label(9 + 0.1 * i, y, f"curve {i}", "black") for i, y in enumerate((0.9, 0.1, 0.5, 0.3, 0.7))]
    place_labels(axis, labels)
    placed = {text.get_text(): text.xyann[1] for text in axis.findobj(Annotation)}
    assert placed == {label.text: pytest.approx(label.y) for label in labels}
