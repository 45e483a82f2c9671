"""The figures, for any losses and any number of trials."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from many_trials import many_trials
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnist_tune import UserError
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.replicates import clopper_pearson
from mnist_tune.reports.curve_plots import draw_curves
from mnist_tune.reports.figures import plot_regimes, regimes_figure, save
from mnist_tune.reports.page_data import FEW, PageData
from mnist_tune.reports.styles import COLOURS, MARKERS

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


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_picture_where_no_loss_is_finite(new_writer, epoch_row, tmp_path, loss):
    writer = new_writer(tmp_path / "sweep")
    row = epoch_row(1, loss, 0.1, finite=False, diverged=True) | {"test_loss": loss}
    writer.epoch("00000", row, False)
    plot_regimes(writer.finish(ended="now"), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "diverged")


def test_picture_of_a_sweep_without_any_epoch(new_writer, tmp_path):
    plot_regimes(new_writer(tmp_path / "sweep").finish(ended="now"), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png")


def artists(figure):
    """Return everything drawn into the panels: lines, points, bands and texts."""
    return [a for axis in figure.axes for a in (*axis.lines, *axis.collections, *axis.texts)]


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 200])
def test_picture_of_any_number_of_trials(made_up_sweep, rates, tmp_path, count):
    sweep = made_up_sweep(rates(count))
    plot_regimes(sweep, tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", *sweep.trials["regime"].unique())


def test_the_number_of_artists_does_not_grow_with_the_trials(made_up_sweep, rates, tmp_path):
    few = artists(regimes_figure(made_up_sweep(rates(FEW + 1))))
    (tmp_path / "sweep").rename(tmp_path / "few")
    many = artists(regimes_figure(made_up_sweep(rates(600), epochs=2)))
    assert len(many) <= len(few) + 10
    assert len(many) < 60


def test_each_regime_has_its_own_marker(sweep):
    assert len(set(MARKERS.values())) == len(REGIMES)
    figure = regimes_figure(sweep(DONE, DIVERGED, DIVERGED, CUT))
    (legend,) = figure.legends
    shown = {text.get_text(): line.get_marker() for text, line in zip(legend.texts, legend.legend_handles, strict=True)}
    assert shown["converged (1)"] == MARKERS["converged"]
    assert shown["diverged (2)"] == MARKERS["diverged"]
    assert {"test", "train"} < set(shown)


@pytest.mark.parametrize("count", [2, 16, FEW])
@pytest.mark.parametrize("label", ["", "a name of some length"])
def test_labels_do_not_overlap(made_up_sweep, rates, count, label):
    figure = regimes_figure(made_up_sweep(rates(count), label=label))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axis.texts]  # without its leader
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(box.y0 >= axis.bbox.y0 and box.y1 <= axis.bbox.y1 for box in boxes)
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_every_curve_is_labelled_with_its_learning_rate(made_up_sweep):
    figure = regimes_figure(made_up_sweep([0.01, 0.1, 1], seeds=3))
    assert sorted(text.get_text() for text in figure.axes[1].texts) == ["0.01 ×3", "0.1 ×3", "1 ×3"]
    assert figure.axes[1].get_title() == "every trial; labels: learning rate, × seeds"


def test_every_trial_is_a_full_point_of_its_test_and_a_hollow_one_of_its_training_figures(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    panels = regimes_figure(sweep).axes
    for axis, what in ((panels[0], "error"), (panels[2], "loss")):
        for split, filled in (("test", True), ("train", False)):
            drawn = [part for part in axis.collections if bool(len(part.get_facecolor())) == filled]
            found = sorted(tuple(point) for part in drawn for point in part.get_offsets())
            measured = sweep.trials[f"{split}_loss"] if what == "loss" else 1 - sweep.trials[f"{split}_accuracy"]
            expected = zip(sweep.trials["learning_rate"], measured, strict=True)
            np.testing.assert_allclose(found, sorted(expected), rtol=1e-12)


def test_curves_are_those_of_the_test_error_and_the_training_loss(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 1])
    panels = regimes_figure(sweep).axes
    for axis, column in ((panels[1], "test_accuracy"), (panels[3], "train_loss")):
        curves = sweep.curves(column) if column == "train_loss" else 1 - sweep.curves(column)
        drawn = sorted(line.get_ydata().tolist() for line in axis.lines)
        assert drawn == sorted(curves[trial_id].tolist() for trial_id in curves)
        labels: Any = axis.texts
        assert sorted(text.xy for text in labels) == sorted((4, value) for value in curves.loc[4])


def test_epochs_are_whole_numbers_on_their_axis(made_up_sweep):
    panels = regimes_figure(made_up_sweep([0.01, 0.1, 1])).axes
    for axis in (panels[1], panels[3]):
        assert axis.get_xticks().tolist() == [1, 2, 3, 4]


def test_of_many_curves_the_median_and_the_band_are_drawn(made_up_sweep):
    sweep = made_up_sweep(np.linspace(0.2, 2, FEW + 1))
    axis = regimes_figure(sweep).axes[1]
    curves = 1 - sweep.curves("test_accuracy")
    (median,), (band,) = axis.lines, axis.collections
    np.testing.assert_allclose(median.get_ydata(), curves.median(axis=1), rtol=1e-12)
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(curves.quantile(0.1, axis=1).min(), rel=1e-12)
    assert heights.max() == pytest.approx(curves.quantile(0.9, axis=1).max(), rel=1e-12)


def test_panels_say_what_they_show_of_many_trials(made_up_sweep):
    sweep = made_up_sweep(np.linspace(2.1, 4, FEW + 1))
    figure = regimes_figure(replace(sweep, trials=sweep.trials.assign(architecture="one")))
    assert figure.get_suptitle() == "one on mnist-5k: regimes by learning rate"
    errors, losses = figure.axes[1], figure.axes[3]
    assert errors.get_title() == "median and 10–90% band of each regime's trials"
    assert losses.get_title() == "median and 10–90% band of each regime's trials, finite values"
    assert [text.get_text() for text in errors.texts] == [f"n = {FEW + 1}"]
    bars = [part for part in errors.collections if isinstance(part, LineCollection)]
    low, high = (1 - sweep.curves("test_accuracy").loc[1]).quantile([0.1, 0.9])
    assert [one.tolist() for bar in bars for one in bar.get_segments()] == [[[1, low], [1, high]]], "the only epoch"


def test_a_training_loss_that_is_not_finite_is_above_all_others(sweep):
    found = sweep(DONE, DIVERGED, DIVERGED, CUT)
    panel = regimes_figure(replace(found, trials=found.trials.assign(test_loss=1.0))).axes[2]
    assert "not finite" in [text.get_text() for text in panel.texts]
    (lost,) = [part for part in panel.collections if (part.get_offsets()[:, 1] == 0.95).any()]
    assert lost.get_offset_transform() == panel.get_xaxis_transform()
    assert lost.get_offsets().tolist() == [[0.2, 0.95], [pytest.approx(0.3), 0.95]]


def test_a_picture_without_a_suffix_is_a_png(tmp_path):
    save(Figure(figsize=(1, 1)), tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


def test_the_label_of_replicates_is_at_the_median_of_their_ends(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=3)
    sweep.epochs.loc[sweep.epochs["epoch"] == 4, "test_accuracy"] = [0.9, 0.91, 0.95]
    labels: Any = regimes_figure(sweep).axes[1].texts
    [label] = labels
    assert label.xy == (4, pytest.approx(0.09))


def test_a_curves_label_begins_with_its_trials_label(made_up_sweep):
    axis = regimes_figure(made_up_sweep([0.1], label="a name of some length")).axes[1]
    assert [text.get_text() for text in axis.texts] == ["a name of some l 0.1"]


def test_seeds_are_counted_where_the_counts_differ(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.1, 3], seeds=5)
    fewer = replace(sweep, trials=sweep.trials.iloc[1:])
    assert sorted(text.get_text() for text in regimes_figure(fewer).axes[4].texts) == ["0 of 4", "0 of 5", "5 of 5"]


def test_curves_are_named_by_what_varies(made_up_sweep):
    sweep = made_up_sweep([0.1, 1.0])
    trials = sweep.trials.assign(batch_size=[32, 64])
    axis = regimes_figure(replace(sweep, trials=trials)).axes[1]
    assert axis.get_title() == "every trial; labels: learning rate, batch size"
    assert sorted(text.get_text() for text in axis.texts) == ["0.1, 32", "1, 64"]


def test_replicates_show_the_share_that_converged_with_its_interval(made_up_sweep):
    share = regimes_figure(made_up_sweep([0.01, 0.1, 3], seeds=5)).axes[4]
    assert share.get_title() == "share of the 5 seeds that converged, with its 95% interval"
    assert not share.texts
    bars: Any = share.containers[0]
    low, high = clopper_pearson([0, 5, 0], 5)
    ends = [[point[1] for point in segment] for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, np.transpose([low, high]), atol=1e-9)
    np.testing.assert_allclose(bars.lines[0].get_xdata(orig=False), [0.01, 0.1, 3])


def test_without_replicates_there_is_no_panel_of_shares(made_up_sweep):
    assert len(regimes_figure(made_up_sweep([0.01, 0.1, 3])).axes) == 4


def test_a_band_ends_with_most_of_its_trials(made_up_sweep):
    sweep = made_up_sweep(np.geomspace(2.1, 4, 30))
    longer = sweep.epochs.iloc[[0]].assign(epoch=2)
    figure = regimes_figure(type(sweep)(sweep.path, sweep.trials, pd.concat([sweep.epochs, longer]), sweep.meta))
    (median,) = figure.axes[1].lines
    assert median.get_xdata().tolist() == [1]


@pytest.mark.parametrize(("name", "said"), [("nowhere/x.png", "No such file"), ("x.nonsense", "not supported")])
def test_a_picture_that_cannot_be_written(sweep, tmp_path, name, said):
    with pytest.raises(UserError, match=rf"can't write the picture {tmp_path / name}: .*{said}.*; name another file"):
        plot_regimes(sweep(CUT, CUT, CUT, CUT), tmp_path / name)


def test_an_accuracy_of_1_has_an_error_of_half_an_image(made_up_sweep):
    sweep = made_up_sweep([0.1])
    figure = regimes_figure(replace(sweep, epochs=sweep.epochs.assign(test_accuracy=1.0)))
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0.5 / 1000] * 4


def test_rates_errors_and_losses_have_logarithmic_axes(made_up_sweep):
    panels = regimes_figure(made_up_sweep([0.01, 0.1, 1])).axes
    assert [axis.get_xscale() for axis in panels] == ["log", "linear", "log", "linear"]
    assert [axis.get_yscale() for axis in panels] == ["log"] * 4
    said = [axis.get_ylabel() for axis in panels]
    assert said == ["final error", "test error", "final loss (nats)", "training loss (nats)"]


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_the_picture_and_the_page_draw_as_many_curves_one_by_one(count):
    sweep = many_trials(count, 3)
    axis = Figure().subplots()
    draw_curves(axis, sweep.trials, sweep.epochs, "test_accuracy")
    assert (
        axis.get_title().startswith("every trial") == (not axis.collections) == PageData([sweep]).few == (count <= FEW)
    )
