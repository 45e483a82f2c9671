"""Ticks, and positions of labels: apart, in order, in bounds, and as close as possible
to the wanted ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mnist_tune.reports.axes import (
    PlacedName,
    evenly,
    log_axis,
    log_ticks,
    place_labels,
    spread,
)
from mnist_tune.reports.charts import ticks
from mnist_tune.reports.measures import Axis

HEIGHTS = st.lists(st.floats(-50, 150), min_size=1, max_size=12)
PLACES = HEIGHTS.map(lambda heights: np.sort(heights))


@given(PLACES)
def test_places_are_apart_and_in_bounds_and_stay_there(places):
    apart = spread(places, 8, 0, 100)
    assert (np.diff(apart) >= 8 - 1e-9).all()
    assert apart[0] >= -1e-9
    assert apart[-1] <= 100 + 1e-9
    assert spread(apart, 8, 0, 100) == pytest.approx(apart, abs=1e-9)


def test_neighbours_move_apart_about_their_mean_and_at_the_edge_inwards():
    apart = spread(np.array([50.0, 50, 90]), 8, 0, 100)
    assert apart.tolist() == [46, 54, 90]
    apart = spread(np.array([99.0, 100]), 8, 0, 100)
    assert apart.tolist() == [92, 100]


def test_ticks_of_several_decades_are_about_as_far_apart_as_if_evenly_spread():
    """0.0002 and 0.0003 touched."""
    for decades in np.arange(0.3, 9, 0.1):
        last = 1e-5 * 10**decades
        places = np.log10(log_ticks(1e-5, last, 14))
        assert len(places) >= 2
        assert np.diff(places).min() > 0.9 * decades / 14


def test_large_numbers_on_an_axis_are_short_and_accuracies_have_all_their_digits():
    numbers = ticks(Axis(0.1, 2e11), 15).values()
    assert max(map(len, numbers)) == 7
    accuracies = ticks(Axis(4e-7, 1e-6, accuracy=True), 15).values()
    assert "0.9999995" in accuracies


@pytest.mark.parametrize(
    ("first", "last", "written"), [(1e-5, 1e6, ""), (2e-5, 4e-5, "3e-05")]
)
def test_of_many_decades_powers_of_ten_have_numbers(first, last, written):
    axis = Figure().subplots()
    log_axis(axis, "x")
    axis.set_xlim(first, last)
    minor = axis.xaxis.get_minor_formatter()
    minor.set_locs([3e-5])
    assert minor(3e-5) == written


def test_of_many_things_the_first_the_last_and_evenly_chosen_ones_are_shown():
    letters = list("abcdefgh")
    assert evenly(letters, 8) == letters
    assert evenly(letters, 3) == list("aeh")


SIZE = 7
"""The size of letters, in points."""


def height(text):
    return text.get_position()[1]


def placed(labels):
    """The texts that are written for labels, from the bottom to the top, and the lines
    to their points, on an axis of 7.2 by 3.6 inches."""
    axis = Figure(figsize=(7.2, 3.6), dpi=144).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(0, 1))
    place_labels(axis, labels, SIZE)
    return sorted(axis.texts, key=height), axis.lines


LINE = 1.25 * SIZE / (3.6 * 72)
"""The height of a line, as a share of the axis."""

GAP = 10 * 2.2 * SIZE / (7.2 * 72)
"""The gap between a point and its label, in units of the axis."""


def black(x, y, text):
    return PlacedName(x, y, text, "black")


def test_a_label_is_away_from_its_point_and_has_a_leader_if_it_was_moved():
    labels = [black(1, 0.5, f"curve {number}") for number in range(3)]
    texts, leaders = placed(labels)
    places = np.array([text.get_position() for text in texts])
    assert places[:, 1] == pytest.approx([0.5 - LINE, 0.5, 0.5 + LINE])
    assert places[:, 0] == pytest.approx([1 + GAP] * 3)
    points = [line.get_ydata()[0] for line in leaders]
    assert points == pytest.approx([0.5, 0.5]), "of the first and the last"
    near = 0.5 + 0.9 * LINE
    _, leaders = placed([black(1, 0.5, ""), black(1, near, "")])
    assert not leaders, "moved by less than half a line"


def test_of_too_many_labels_the_lowest_the_highest_and_some_between_are_written():
    labels = [black(1, number / 100, str(number)) for number in range(101)]
    texts, _ = placed(labels)
    numbers = [int(text.get_text()) for text in texts]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] == 100
    assert len(numbers) == 29
    assert all(3 <= after - before <= 4 for before, after in pairwise(numbers))


def test_only_labels_that_might_touch_are_moved():
    long = black(0, 0.5, "x" * 60)
    short = black(0.1, 0.5, "y")
    inside = black(4, 0.5, "inside")
    beyond = black(9, 0.5, "beyond")
    texts, _ = placed([beyond, inside, short, long])
    heights = {text.get_text(): height(text) for text in texts}
    assert heights.pop("beyond") == pytest.approx(0.5)
    gaps = np.diff(sorted(heights.values()))
    assert gaps == pytest.approx([LINE] * 2)


def test_each_label_is_beside_its_own_point():
    axis = Figure().subplots()
    axis.set(xlim=(0, 10), ylim=(0, 1))
    labels = []
    for number, y in enumerate((0.9, 0.1, 0.5, 0.3, 0.7)):
        labels.append(black(9 + 0.1 * number, y, f"curve {number}"))
    place_labels(axis, labels, SIZE)
    heights = {text.get_text(): height(text) for text in axis.texts}
    points = {label.text: pytest.approx(label.y) for label in labels}
    assert heights == points
