"""What pictures show, to the letter: `drawn` describes a figure without drawing it."""

from drawn import described
from kept_texts import assert_kept
from matplotlib.figure import Figure

from mnist_tune.reports.axes import Label, log_axis, place_labels


def test_of_many_decades_powers_of_ten_have_numbers():
    axis = Figure().subplots()
    log_axis(axis, "x")
    for first, last, written in ((1e-5, 1e6, ""), (2e-5, 4e-5, "3e-05")):
        axis.set_xlim(first, last)
        minor = axis.xaxis.get_minor_formatter()
        minor.set_locs([3e-5])
        assert minor(3e-5) == written


def test_labels_beside_their_points():
    figure = Figure(figsize=(7.2, 1.8), dpi=144)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 10), ylim=(0, 1))
    groups = [(9, 0.5, "beyond"), (4, 0.5, "inside"), (0.1, 0.5, "short"), (0, 0.5, "x" * 60), (7, 1.0, "$\\frac")]
    groups += [(8, y, f"{y}") for y in (0.2, 0.225, 0.19, 0.01)]
    place_labels(axis, [Label(x, y, text, "C1") for x, y, text in groups])
    place_labels(axis, [Label(9.5, y / 20, f"{y}", "black") for y in range(21)])
    assert_kept("picture of labels", described(figure))
