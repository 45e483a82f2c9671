"""The figures, for any losses and any number of trials."""

import math
from itertools import combinations

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from changed_sweeps import with_trials
from made_up_decisions import mlp_settings
from made_up_sweeps import decision
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from mnist_tune import UserError
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.reports.charts import HEIGHT, LOW, NARROW, WIDTHS, charts
from mnist_tune.reports.figures import picture, save
from mnist_tune.reports.page import page
from mnist_tune.reports.styles import COLOURS, LOOKS
from mnist_tune.reports.view import FEW, View

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def check_picture(path, *regimes):
    """Check that a picture has the colours of exactly these regimes. (Text is grey,
    too, like undecided.)"""
    picture = matplotlib.image.imread(path)
    assert min(picture.shape[:2]) > 500
    pixels = whole_number(picture[..., :3])
    for name in set(REGIMES) - {"undecided"}:
        colour = whole_number(to_rgb(COLOURS[name]))
        is_there = (pixels == colour).any()
        assert is_there == (name in regimes), name


def whole_number(colour):
    """Return 256² red + 256 green + blue."""
    return np.rint(255 * np.asarray(colour)).astype(int) @ [256**2, 256, 1]


def test_picture_of_losses_that_are_not_finite(sweep, tmp_path):
    path = tmp_path / "regimes.png"
    save(picture(sweep(DONE, DIVERGED, DIVERGED, CUT)), path)
    check_picture(path, "converged", "diverged")


def test_picture_where_no_loss_is_finite(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    row = epoch_row(1, math.nan, 0.1, finite=False, diverged=True)
    row |= {"test_loss": math.inf}
    writer.epoch("00000", row, False)
    path = tmp_path / "regimes.png"
    save(picture(writer.finish(ended="now")), path)
    check_picture(path, "diverged")


def test_picture_of_many_trials(made_up_sweep, rates, tmp_path):
    sweep = made_up_sweep(rates(FEW + 1))
    path = tmp_path / "regimes.png"
    save(picture(sweep), path)
    check_picture(path, *sweep.trials["regime"].unique())


def drawn(figure):
    """Return a figure's canvas once it was drawn: only then have texts a place."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def boxes_of(texts, canvas):
    renderer = canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


def names_in(axes):
    """The texts of a panel that name curves."""
    return [text for text in axes.texts if (text.get_gid() or "").startswith("name")]


def check_apart(boxes):
    for box, other in combinations(boxes, 2):
        assert not box.overlaps(other)


def in_pixels(sides):
    """Return a figure that has these sides, in pixels."""
    width, height = sides
    return Figure(figsize=(width / 72, height / 72), dpi=72)


SCREEN = (WIDTHS[1], HEIGHT)
PHONE = (NARROW, LOW)


@pytest.mark.parametrize(("count", "label"), [(16, ""), (FEW, "a name of some length")])
def test_names_of_curves_do_not_overlap_and_are_not_cut(
    made_up_sweep, rates, count, label
):
    figure = picture(made_up_sweep(rates(count), label=label))
    canvas = drawn(figure)
    (axes,) = (panel for panel in figure.axes if panel.get_gid() == "curves")
    names = names_in(axes)
    assert len(names) == min(count, 19), "as many as there is room for"
    check_apart(boxes_of(names, canvas))
    texts = [text for panel in figure.axes for text in panel.texts]
    for box in boxes_of(texts, canvas):
        assert box.x0 >= 0, "nothing is cut"
        assert box.x1 <= figure.bbox.x1, "nothing is cut"


# the longest of three settings: 46 letters
@pytest.mark.parametrize("name", ["mlp-{}-tanh", "{} of files.py:net"])
def test_on_a_phone_no_words_are_written_over_others(made_up_sweep, name):
    architectures = [name.format(2**power) for power in range(6)]
    sweep = made_up_sweep([0.01, 0.1, 0.5, 1, 4], architectures=architectures)
    regimes = ("slow", "underfit", "converged", "oscillating", "diverged")
    sweep = with_trials(sweep, regime=regimes * 6)
    if "of" in name:
        names = sweep.trials["architecture"]
        decays = names.str.len() * 1.234e-6
        sweep = with_trials(sweep, optimizer=names, weight_decay=decays)
    view = View([sweep])
    figure = in_pixels(PHONE)
    [chart], _ = charts(view, 0)
    chart.draw(figure, view.measures[0])
    canvas = drawn(figure)
    [axes, *_] = figure.axes

    texts = axes.texts
    best_texts = [text for text in texts if text.get_text().startswith("best: ")]
    [best] = boxes_of(best_texts, canvas)
    names = [text for text in texts if text.get_gid() == "name"]
    assert len(names) == 6
    assert not any(best.overlaps(box) for box in boxes_of(names, canvas))

    # rates and, in two lines, regimes
    below = [box for box in boxes_of(texts, canvas) if box.y1 < axes.bbox.y0]
    heights = {round(box.y0) for box in below}
    assert len(heights) == 3
    check_apart(below)
    ends = axes.transData.transform([(0.01, 1), (4, 1)])[:, 0]
    assert np.diff(ends) > NARROW / 4, "the names leave room for what they name"


@pytest.mark.promise("Drawing a picture changes nothing in a notebook's own plots")
def test_a_notebooks_own_style_changes_no_picture_and_none_changes_it(
    made_up_sweep, rates
):
    sweep = made_up_sweep(rates(5))
    plain = sweep.plot()._repr_png_()
    style = {"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "black"}
    with matplotlib.rc_context(style):
        before = dict(matplotlib.rcParams)
        figure = sweep.plot()
        page([sweep])
        assert dict(matplotlib.rcParams) == before
    assert figure._repr_png_() == plain


def test_a_picture_without_a_suffix_is_a_png(tmp_path):
    save(Figure(figsize=(1, 1)), tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere/x.png", "No such file"), ("x.nonsense", "not supported")],
)
def test_a_picture_that_cannot_be_written(sweep, tmp_path, name, reason):
    path = tmp_path / name
    figure = picture(sweep(CUT, CUT, CUT, CUT))
    message = f"can't write the picture {path}: .*{reason}.*; name another file"
    with pytest.raises(UserError, match=message):
        save(figure, path)


def names_of_curves(view, sides):
    """The names at the ends of the curves, in a chart with these sides."""
    figure = in_pixels(sides)
    every_chart = [chart for side in charts(view, 0) for chart in side]
    [chart] = [chart for chart in every_chart if chart.choice == "epoch"]
    chart.draw(figure, view.measures[0])
    return [text.get_text() for text in names_in(figure.axes[0])]


WIDTHS_OF_CNNS = [f"net.py:cnn(width={width})" for width in (1, 16, 160)]
NORMS_IN_TWO_FOLDERS = [
    "a/net.py:residual_network(norm='batch')",
    "a/net.py:residual_network(norm='layer')",
    "b/net.py:residual_network(norm='batch')",
    "b/net.py:residual_network(norm='layer')",
]
LONG_CALLS = [f"net.py:cnn(width={width}, depth=3, norm='layer')" for width in (16, 17)]


@pytest.mark.parametrize(
    "architectures", [WIDTHS_OF_CNNS, NORMS_IN_TWO_FOLDERS, LONG_CALLS]
)
def test_two_curves_never_have_one_name_also_on_a_phone(made_up_sweep, architectures):
    sweep = made_up_sweep(
        [0.1, 0.2], architectures=architectures, momentum=0.9, batch_size=32
    )
    sizes = sweep.trials["learning_rate"].map({0.1: 32, 0.2: 64})
    for shown_sweep in (sweep, with_trials(sweep, batch_size=sizes)):
        view = View([shown_sweep])
        assert view.settings["name"].is_unique
        for sides in (SCREEN, PHONE):
            names = names_of_curves(view, sides)
            assert len(names) == len(sweep.trials)
            assert len(set(names)) == len(names)
            assert max(map(len, names)) <= 24


def test_where_rates_are_enough_a_phone_has_these_alone(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    sweep = with_trials(sweep, warmup_steps=[100_000, 200_000, 300_000])
    names = names_of_curves(View([sweep]), PHONE)
    assert sorted(names) == ["0.1", "0.2", "0.4"]


def test_curves_of_a_decision_have_the_colours_of_their_settings(made_up_sweep):
    """With several seeds a setting, and one regime, they would all have one colour."""
    accuracies = [0.9500, 0.9501, 0.9502]

    def accuracy(seed, setting):
        return accuracies[setting] + 0.01 * (seed * (setting + 2) % 3)

    settings = mlp_settings(0.1, 0.2, 0.4)
    view = View([decision(made_up_sweep([0.1]), settings, accuracy)])
    assert (view.settings["role"] != "").all()
    [[gaps], [curves]] = charts(view, 0)

    figure = in_pixels(SCREEN)
    curves.draw(figure, view.measures[0])
    names = [text for text in figure.axes[0].texts if text.get_gid()]
    ends = {text.get_text(): to_hex(text.get_color()) for text in names}
    colours = set(ends.values())
    assert len(ends) == 3
    assert len(colours) == 3

    looks = view.points.groupby("setting")["look"].unique()
    assert all(len(look) == 1 for look in looks)
    assert {LOOKS[look[0]] for look in looks} == colours

    figure = in_pixels((WIDTHS[0], HEIGHT))
    gaps.draw(figure, view.measures[0])
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    colours_of_dots = {to_hex(line.get_color()) for line in dots}
    assert colours_of_dots == colours, "the dots beside them say which colour is whose"
