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

PLACES = st.lists(st.floats(-50, 150), min_size=1, max_size=12).map(
    lambda places: np.sort(places)
)


@given(PLACES)
def test_places_are_apart_and_in_bounds_and_stay_there(wanted):
    found = spread(wanted, 8, 0, 100)
    assert (np.diff(found) >= 8 - 1e-9).all()
    assert found[0] >= -1e-9
    assert found[-1] <= 100 + 1e-9
    assert spread(found, 8, 0, 100) == pytest.approx(found, abs=1e-9)


def test_neighbours_move_apart_about_their_mean_and_at_the_edge_inwards():
    assert spread(np.array([50.0, 50, 90]), 8, 0, 100).tolist() == [46, 54, 90]
    assert spread(np.array([99.0, 100]), 8, 0, 100).tolist() == [92, 100]


def test_ticks_of_several_decades_are_about_as_far_apart_as_if_evenly_spread():
    """0.0002 and 0.0003 touched."""
    for decades in np.arange(0.3, 9, 0.1):
        found = np.log10(log_ticks(1e-5, 1e-5 * 10**decades, 14))
        assert len(found) >= 2
        assert np.diff(found).min() > 0.9 * decades / 14


def test_large_numbers_on_an_axis_are_short_and_accuracies_have_all_their_digits():
    assert max(map(len, ticks(Axis(0.1, 2e11), 15).values())) == 7
    assert "0.9999995" in ticks(Axis(4e-7, 1e-6, accuracy=True), 15).values()


def test_of_many_decades_powers_of_ten_have_numbers():
    axis = Figure().subplots()
    log_axis(axis, "x")
    for first, last, written in ((1e-5, 1e6, ""), (2e-5, 4e-5, "3e-05")):
        axis.set_xlim(first, last)
        minor = axis.xaxis.get_minor_formatter()
        minor.set_locs([3e-5])
        assert minor(3e-5) == written


def test_of_many_things_the_first_the_last_and_evenly_chosen_ones_are_shown():
    assert [evenly(list("abcdefgh"), most) for most in (8, 3)] == [
        list("abcdefgh"),
        list("aeh"),
    ]


SIZE = 7
"""The size of letters, in points."""


def placed(labels):
    """The texts that are written for labels, from the bottom to the top, and the lines
    to their points, on an axis of 7.2 by 3.6 inches."""
    axis = Figure(figsize=(7.2, 3.6), dpi=144).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(0, 1))
    place_labels(axis, labels, SIZE)
    return sorted(axis.texts, key=lambda text: text.get_position()[1]), axis.lines


LINE = 1.25 * SIZE / (3.6 * 72)
"""The height of a line, as a share of the axis."""


def test_a_label_is_away_from_its_point_and_has_a_leader_if_it_was_moved():
    texts, leaders = placed(
        [PlacedName(1, 0.5, f"curve {i}", "black") for i in range(3)]
    )
    places = np.array([text.get_position() for text in texts])
    assert places[:, 1] == pytest.approx([0.5 - LINE, 0.5, 0.5 + LINE])
    assert places[:, 0] == pytest.approx([1 + 10 * 2.2 * SIZE / (7.2 * 72)] * 3)
    assert [line.get_ydata()[0] for line in leaders] == pytest.approx([0.5, 0.5]), (
        "of the first and the last"
    )
    _, leaders = placed(
        [PlacedName(1, 0.5, "", "black"), PlacedName(1, 0.5 + 0.9 * LINE, "", "black")]
    )
    assert not leaders, "moved by less than half a line"


def test_of_too_many_labels_the_lowest_the_highest_and_some_between_are_written():
    texts, _ = placed([PlacedName(1, i / 100, str(i), "black") for i in range(101)])
    said = [int(text.get_text()) for text in texts]
    assert said == sorted(said)
    assert (said[0], said[-1], len(said)) == (0, 100, 29)
    assert all(3 <= after - before <= 4 for before, after in pairwise(said))


def test_only_labels_that_might_touch_are_moved():
    long, short, inside, beyond = (
        PlacedName(x, 0.5, text, "black")
        for x, text in ((0, "x" * 60), (0.1, "y"), (4, "inside"), (9, "beyond"))
    )
    heights = {
        text.get_text(): text.get_position()[1]
        for text in placed([beyond, inside, short, long])[0]
    }
    assert heights.pop("beyond") == pytest.approx(0.5)
    assert np.diff(sorted(heights.values())) == pytest.approx([LINE] * 2)


def test_each_label_is_beside_its_own_point():
    axis = Figure().subplots()
    axis.set(xlim=(0, 10), ylim=(0, 1))
    labels = [
        PlacedName(9 + 0.1 * i, y, f"curve {i}", "black")
        for i, y in enumerate((0.9, 0.1, 0.5, 0.3, 0.7))
    ]
    place_labels(axis, labels, SIZE)
    found = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert found == {one.text: pytest.approx(one.y) for one in labels}
