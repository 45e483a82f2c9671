"""The figures, for any losses and any number of trials."""

import math
from dataclasses import replace
from itertools import combinations

import matplotlib
import matplotlib.image
import numpy as np
import pytest
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
        assert (pixels == whole_number(to_rgb(COLOURS[name]))).any() == (
            name in regimes
        ), name


def whole_number(colour):
    """Return 256² red + 256 green + blue."""
    return np.rint(255 * np.asarray(colour)).astype(int) @ [256**2, 256, 1]


def test_picture_of_losses_that_are_not_finite(sweep, tmp_path):
    save(picture(sweep(DONE, DIVERGED, DIVERGED, CUT)), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "converged", "diverged")


def test_picture_where_no_loss_is_finite(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    row = epoch_row(1, math.nan, 0.1, finite=False, diverged=True) | {
        "test_loss": math.inf
    }
    writer.epoch("00000", row, False)
    save(picture(writer.finish(ended="now")), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "diverged")


def test_picture_of_many_trials(made_up_sweep, rates, tmp_path):
    sweep = made_up_sweep(rates(FEW + 1))
    save(picture(sweep), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", *sweep.trials["regime"].unique())


@pytest.mark.parametrize(("count", "label"), [(16, ""), (FEW, "a name of some length")])
def test_names_of_curves_do_not_overlap_and_are_not_cut(
    made_up_sweep, rates, count, label
):
    figure = picture(made_up_sweep(rates(count), label=label))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = (one for one in figure.axes if one.get_gid() == "curves")
    names = [text for text in axes.texts if (text.get_gid() or "").startswith("name")]
    assert len(names) == min(count, 19), "as many as there is room for"
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    every = [
        text.get_window_extent(canvas.get_renderer())
        for one in figure.axes
        for text in one.texts
    ]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in every), (
        "nothing is cut"
    )


# the longest of three settings: 46 letters
@pytest.mark.parametrize("name", ["mlp-{}-tanh", "{} of files.py:net"])
def test_on_a_phone_no_words_are_written_over_others(made_up_sweep, name):
    sweep = made_up_sweep(
        [0.01, 0.1, 0.5, 1, 4], architectures=[name.format(2**i) for i in range(6)]
    )
    regimes, each = (
        ("slow", "underfit", "converged", "oscillating", "diverged"),
        sweep.trials["architecture"],
    )
    more = (
        {"optimizer": each, "weight_decay": each.str.len() * 1.234e-6}
        if "of" in name
        else {}
    )
    view = View(
        [replace(sweep, trials=sweep.trials.assign(regime=regimes * 6, **more))]
    )
    figure = Figure(figsize=(NARROW / 72, LOW / 72), dpi=72)
    canvas = FigureCanvasAgg(figure)
    [chart], _ = charts(view, 0)
    chart.draw(figure, view.measures[0])
    canvas.draw()
    texts = {
        text: text.get_window_extent(canvas.get_renderer())
        for text in figure.axes[0].texts
    }
    [best] = [
        box for text, box in texts.items() if text.get_text().startswith("best: ")
    ]
    names = [box for text, box in texts.items() if text.get_gid() == "name"]
    assert len(names) == 6
    assert not any(best.overlaps(box) for box in names)
    # rates and, in two lines, regimes
    below = [box for box in texts.values() if box.y1 < figure.axes[0].bbox.y0]
    assert len({round(box.y0) for box in below}) == 3
    assert not any(one.overlaps(other) for one, other in combinations(below, 2))
    ends = figure.axes[0].transData.transform([(0.01, 1), (4, 1)])[:, 0]
    assert np.diff(ends) > NARROW / 4, "the names leave room for what they name"


@pytest.mark.promise("Drawing a picture changes nothing in a notebook's own plots")
def test_a_notebooks_own_style_changes_no_picture_and_none_changes_it(
    made_up_sweep, rates
):
    sweep = made_up_sweep(rates(5))
    plain = sweep.plot()._repr_png_()
    with matplotlib.rc_context(
        {"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "black"}
    ):
        before = dict(matplotlib.rcParams)
        figure = sweep.plot()
        page([sweep])
        assert dict(matplotlib.rcParams) == before
    assert figure._repr_png_() == plain


def test_a_picture_without_a_suffix_is_a_png(tmp_path):
    save(Figure(figsize=(1, 1)), tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere/x.png", "No such file"), ("x.nonsense", "not supported")],
)
def test_a_picture_that_cannot_be_written(sweep, tmp_path, name, said):
    with pytest.raises(
        UserError,
        match=rf"can't write the picture {tmp_path / name}: .*{said}.*; name another file",
    ):
        save(picture(sweep(CUT, CUT, CUT, CUT)), tmp_path / name)


def names_of_curves(view, sides):
    """The names at the ends of the curves, in a chart as wide as on a screen, and on a
    phone."""
    for width, height in sides:
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        [chart] = (
            one for side in charts(view, 0) for one in side if one.choice == "epoch"
        )
        chart.draw(figure, view.measures[0])
        yield [
            text.get_text()
            for text in figure.axes[0].texts
            if (text.get_gid() or "").startswith("name")
        ]


@pytest.mark.parametrize(
    "architectures",
    [
        [f"net.py:cnn(width={width})" for width in (1, 16, 160)],
        [
            f"{folder}/net.py:residual_network(norm='{norm}')"
            for folder in "ab"
            for norm in ("batch", "layer")
        ],
        [f"net.py:cnn(width={width}, depth=3, norm='layer')" for width in (16, 17)],
    ],
)
def test_two_curves_never_have_one_name_also_on_a_phone(made_up_sweep, architectures):
    sweep = made_up_sweep(
        [0.1, 0.2], architectures=architectures, momentum=0.9, batch_size=32
    )
    sizes = sweep.trials["learning_rate"].map({0.1: 32, 0.2: 64})
    for trials in (sweep.trials, sweep.trials.assign(batch_size=sizes)):
        view = View([replace(sweep, trials=trials)])
        assert view.settings["name"].is_unique
        for names in names_of_curves(view, [(WIDTHS[1], HEIGHT), (NARROW, LOW)]):
            assert len(set(names)) == len(names) == len(trials)
            assert max(map(len, names)) <= 24


def test_where_rates_are_enough_a_phone_has_these_alone(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    warmed_up = sweep.trials.assign(warmup_steps=[100_000, 200_000, 300_000])
    [names] = names_of_curves(View([replace(sweep, trials=warmed_up)]), [(NARROW, LOW)])
    assert sorted(names) == ["0.1", "0.2", "0.4"]


def test_curves_of_a_decision_have_the_colours_of_their_settings(made_up_sweep):
    """With several seeds a setting, and one regime, they would all have one colour."""
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": rate}
        for rate in (0.1, 0.2, 0.4)
    ]
    accuracies = [0.9500, 0.9501, 0.9502]
    decided = decision(
        made_up_sweep([0.1]),
        settings,
        lambda seed, k: accuracies[k] + 0.01 * (seed * (k + 2) % 3),
    )
    view = View([decided])
    assert (view.settings["role"] != "").all()
    figure = Figure(figsize=(WIDTHS[1] / 72, HEIGHT / 72), dpi=72)
    [[gaps], [curves]] = charts(view, 0)
    curves.draw(figure, view.measures[0])
    ends = {
        text.get_text(): to_hex(text.get_color())
        for text in figure.axes[0].texts
        if text.get_gid()
    }
    assert len(ends) == len({*ends.values()}) == 3
    looks = view.points.groupby("setting")["look"].unique()
    assert all(len(look) == 1 for look in looks)
    assert {LOOKS[look[0]] for look in looks} == {*ends.values()}
    figure = Figure(figsize=(WIDTHS[0] / 72, HEIGHT / 72), dpi=72)
    gaps.draw(figure, view.measures[0])
    dots = {
        to_hex(line.get_color())
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    }
    assert dots == {*ends.values()}, "the dots beside them say which colour is whose"
