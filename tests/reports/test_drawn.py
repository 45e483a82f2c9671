"""What pictures show, to the letter: `drawn` describes a figure without drawing it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import described
from kept_texts import assert_kept
from matplotlib.figure import Figure

from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.reports import styles
from mnist_tune.reports.curve_plots import Label, log_axis, place_labels
from mnist_tune.reports.figures import plot_edges, plot_regimes
from mnist_tune.reports.page_data import FEW

pytestmark = pytest.mark.usefixtures("as_text")


def fewer_seeds_at_one_rate(make):
    """Their medians are not their means."""
    sweep = make([0.01, 0.1, 3], seeds=3)
    sweep.epochs.loc[sweep.epochs["trial_id"] == "00003", "test_accuracy"] -= 0.2
    return without_one(sweep)


def without_one(sweep):
    return replace(sweep, trials=sweep.trials.iloc[1:])


def longer(sweep):
    """One trial goes on after most have ended."""
    return replace(sweep, epochs=pd.concat([sweep.epochs, sweep.epochs.iloc[[0]].assign(epoch=2)]))


def perfect(make):
    """Without any error, at one rate, with a long name."""
    sweep = make([0.1], seeds=2, label="a name of some length")
    tables = (table.assign(test_accuracy=1.0, train_loss=0.0) for table in (sweep.trials, sweep.epochs))
    return replace(sweep, **dict(zip(("trials", "epochs"), tables, strict=True)))


def crossed(make):
    """Two things vary; names have more than three networks."""
    sweep = make(
        [0.1, 1.0], architectures=("mlp-4-tanh", "mlp-8-tanh", "a_network_of_one's_own", "$\\frac"), label="of a label"
    )
    trials = sweep.trials.assign(batch_size=[32, 64] * 4, epochs_run=12).iloc[[0, 3, 4, 7]]
    return replace(sweep, trials=trials, epochs=sweep.epochs.assign(epoch=3 * sweep.epochs["epoch"]))


SWEEPS = {
    "fewer seeds at one rate": fewer_seeds_at_one_rate,
    "perfect": perfect,
    "crossed": crossed,
    "many": lambda make: without_one(make(np.geomspace(1e-3, 4, FEW + 1), seeds=2)),
    "one epoch": lambda make: longer(make(np.linspace(2.1, 4, FEW + 1))),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_the_regimes_of_a_sweep(name, made_up_sweep, tmp_path):
    plot_regimes(SWEEPS[name](made_up_sweep), tmp_path / "regimes.pdf")
    assert_kept(f"picture {name}", (tmp_path / "regimes.pdf").read_text())


def test_the_regimes_where_no_loss_is_finite(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=3)
    writer.epoch("00000", epoch_row(1, math.nan, 0.1), False)
    writer.epoch("00001", epoch_row(1, math.nan, 0.1, finite=False, diverged=True) | {"test_loss": math.inf}, False)
    plot_regimes(writer.finish(ended="now"), tmp_path / "regimes")
    assert_kept("picture without finite losses", (tmp_path / "regimes").read_text())


def test_a_sweep_without_any_epoch(new_writer, tmp_path):
    plot_regimes(new_writer(tmp_path / "sweep").finish(ended="now"), tmp_path / "regimes.png")
    assert_kept("picture without any epoch", (tmp_path / "regimes.png").read_text())


def edge(title, learns, predicted):
    """An edge of six trials at rates from 1 on, of which so many learn."""
    table = pd.DataFrame({"learning_rate": np.geomspace(1, 3, 6), "learned": np.arange(6) < learns})
    return MeasuredEdge(title, table.assign(calm=True, diverged=~table["learned"]), 1.0, 0.05, predicted)


def test_edges_with_predictors_of_which_some_are_outside(tmp_path):
    said = {
        "far below": [1e-4],
        "at 1.2": [1.1, 1.2, 4.0],
        "far above": [300.0, 400.0],
        "near its end": [4.1],
        "at its end": [4.3],
    }
    plot_edges([edge("$\\frac", 4, said), edge("none learns", 0, {})], tmp_path / "edge.svg")
    assert_kept("picture of edges", (tmp_path / "edge.svg").read_text())


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


def test_colours_and_marks():
    names = ("COLOURS", "MARKERS", "PAGE_MARKERS", "OUTLINES", "MEANINGS", "GROUNDS")
    rows = [f"{name} {key}: {value}" for name in names for key, value in vars(styles)[name].items()]
    assert_kept("styles", "\n".join(rows) + "\n")
