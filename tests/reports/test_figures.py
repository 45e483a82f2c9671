"""The figures, for any losses and any number of trials."""

import math
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
from many_trials import many_trials
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnist_tune import UserError
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.reports.curve_plots import draw_curves
from mnist_tune.reports.figures import plot_regimes, regimes_figure, save
from mnist_tune.reports.page_data import FEW, PageData
from mnist_tune.reports.styles import COLOURS

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def check_picture(path, *regimes):
    """Check that a picture has the colours of exactly these regimes. (Text is grey, too, like undecided.)"""
    picture = matplotlib.image.imread(path)
    assert min(picture.shape[:2]) > 500
    pixels = whole_number(picture[..., :3])
    for name in set(REGIMES) - {"undecided"}:
        assert (pixels == whole_number(to_rgb(COLOURS[name]))).any() == (name in regimes), name


def whole_number(colour):
    """Return 256² red + 256 green + blue."""
    return np.rint(255 * np.asarray(colour)).astype(int) @ [256**2, 256, 1]


def test_picture_of_losses_that_are_not_finite(sweep, tmp_path):
    plot_regimes(sweep(DONE, DIVERGED, DIVERGED, CUT), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "converged", "diverged")


def test_picture_where_no_loss_is_finite(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    row = epoch_row(1, math.nan, 0.1, finite=False, diverged=True) | {"test_loss": math.inf}
    writer.epoch("00000", row, False)
    plot_regimes(writer.finish(ended="now"), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "diverged")


def test_picture_of_many_trials(made_up_sweep, rates, tmp_path):
    sweep = made_up_sweep(rates(FEW + 1))
    plot_regimes(sweep, tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", *sweep.trials["regime"].unique())


@pytest.mark.parametrize(("count", "label"), [(16, ""), (FEW, "a name of some length")])
def test_labels_do_not_overlap(made_up_sweep, rates, count, label):
    figure = regimes_figure(made_up_sweep(rates(count), label=label))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axis.texts]  # without its leader
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(box.y0 >= axis.bbox.y0 and box.y1 <= axis.bbox.y1 for box in boxes)
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_picture_without_a_suffix_is_a_png(tmp_path):
    save(Figure(figsize=(1, 1)), tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "said"), [("nowhere/x.png", "No such file"), ("x.nonsense", "not supported")])
def test_a_picture_that_cannot_be_written(sweep, tmp_path, name, said):
    with pytest.raises(UserError, match=rf"can't write the picture {tmp_path / name}: .*{said}.*; name another file"):
        plot_regimes(sweep(CUT, CUT, CUT, CUT), tmp_path / name)


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_the_picture_and_the_page_draw_as_many_curves_one_by_one(count):
    sweep = many_trials(count, 3)
    axis = Figure().subplots()
    draw_curves(axis, sweep.trials, sweep.epochs, "test_accuracy")
    assert (
        axis.get_title().startswith("every trial") == (not axis.collections) == PageData([sweep]).few == (count <= FEW)
    )
