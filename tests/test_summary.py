"""Replicates' means and intervals, the printed report, the picture."""

import math
import statistics

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from scipy import stats

from mnist_tune import TrialConfig
from mnist_tune.figures import plot_regimes
from mnist_tune.regimes import COLOURS, REGIMES
from mnist_tune.report import INTERRUPTED, conclusions, print_report
from mnist_tune.summary import SUMMARISED, interval, summarise_replicates

EXACT = 1e-12
VALUES = [0.9792, 0.9755, 0.9854, 0.983, 0.9851]


def replicates(accuracies, losses=None, regimes=None, **config):
    """A row a seed, as in the trials table."""
    table = pd.DataFrame([TrialConfig(seed=i, **config).to_dict() for i in range(len(accuracies))])
    losses = losses or [1 - value for value in accuracies]
    scores = dict.fromkeys(("train_accuracy", "test_accuracy"), accuracies)
    scores |= dict.fromkeys(("train_loss", "test_loss"), losses)
    return table.assign(regime=regimes or ["converged"] * len(accuracies), **scores)


# --- replicates


def test_interval_of_known_numbers():
    # s = sqrt(2.5) = 1.5811, t(0.975, 4) = 2.7764451
    assert interval(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(1.9632432, abs=1e-7)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_interval_is_students(count, confidence):
    values = np.array(VALUES[:count])
    low, high = stats.t.interval(confidence, count - 1, values.mean(), stats.sem(values))
    assert interval(values, confidence) == pytest.approx((high - low) / 2, rel=EXACT)


@pytest.mark.parametrize("values", [[], [0.9]])
def test_no_interval_of_fewer_than_two(values):
    assert math.isnan(interval(np.array(values)))


def test_mean_spread_and_interval():
    (row,) = summarise_replicates(replicates(VALUES)).to_dict("records")
    for name in ("train_accuracy", "test_accuracy"):
        assert row[f"{name}_mean"] == pytest.approx(statistics.fmean(VALUES), rel=EXACT)
        assert row[f"{name}_std"] == pytest.approx(statistics.stdev(VALUES), rel=EXACT)
        expected = stats.t.ppf(0.975, 4) * statistics.stdev(VALUES) / math.sqrt(5)
        assert row[f"{name}_ci95"] == pytest.approx(expected, rel=EXACT)
    assert row["train_loss_mean"] == pytest.approx(1 - statistics.fmean(VALUES), rel=EXACT)
    assert (row["replicates"], row["regimes"]) == (5, "5 converged")


def test_one_replicate_has_a_mean_alone():
    (row,) = summarise_replicates(replicates([0.9])).to_dict("records")
    assert row["train_accuracy_mean"] == 0.9
    for name in SUMMARISED:
        assert math.isnan(row[f"{name}_std"])
        assert math.isnan(row[f"{name}_ci95"])


def test_diverged_replicates_count_among_regimes_but_not_in_means():
    accuracies, losses = [0.96, 0.1, 0.98, 0.1], [0.2, math.nan, 0.1, math.inf]
    trials = replicates(accuracies, losses, ["converged", "diverged", "converged", "diverged"])
    (row,) = summarise_replicates(trials).to_dict("records")
    assert (row["replicates"], row["regimes"]) == (4, "2 converged, 2 diverged")
    assert row["train_loss_mean"] == pytest.approx(0.15, rel=EXACT)
    assert row["train_loss_std"] == pytest.approx(statistics.stdev([0.1, 0.2]), rel=EXACT)
    assert row["train_loss_ci95"] == pytest.approx(stats.t.ppf(0.975, 1) * 0.05, rel=EXACT)
    assert row["train_accuracy_mean"] == pytest.approx(0.535, rel=EXACT)


def test_no_finite_loss_has_no_mean():
    (row,) = summarise_replicates(replicates([0.1, 0.1], [math.nan, math.inf], ["diverged"] * 2)).to_dict("records")
    assert all(math.isnan(row[f"train_loss_{part}"]) for part in ("mean", "std", "ci95"))


def test_a_row_a_configuration_in_order():
    trials = [replicates([0.9, 0.8], learning_rate=rate, momentum=m) for rate in (1.0, 0.1) for m in (0.9, 0.0)]
    summary = summarise_replicates(pd.concat(trials))
    found = summary[["momentum", "learning_rate", "replicates"]].to_numpy().tolist()
    assert found == [[0.0, 0.1, 2], [0.0, 1.0, 2], [0.9, 0.1, 2], [0.9, 1.0, 2]]


# --- the report and the picture


@pytest.fixture
def sweep(new_writer, epoch_row, tmp_path):
    """A finished sweep of four trials: converged, diverged to inf and NaN, without any epoch."""

    def finish(*ends):
        writer = new_writer(tmp_path / "sweep", count=4)
        for epoch in (1, 2, 3, 4):
            writer.epoch("00000", epoch_row(epoch, 0.1 / epoch, 0.97), False)
        for trial_id, loss in (("00001", math.inf), ("00002", math.nan)):
            writer.epoch(trial_id, epoch_row(1, loss, 0.1, finite=False, diverged=True, above_since=2), False)
        for trial_id, end in zip(("00000", "00001", "00002", "00003"), ends, strict=True):
            writer.end(trial_id, *end)
        return writer.finish(ended="now")

    return finish


DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def test_a_sweep_without_errors_returns_0(sweep, capsys):
    found = sweep(DONE, DIVERGED, DIVERGED, ("asha",))
    assert print_report(found) == 0
    said = capsys.readouterr().out
    assert "Regimes: 1 converged, 2 diverged, 1 undecided" in said
    assert "mlp-1024-128-tanh: best learning rate 0.1 (lowest training loss), largest that converged 0.1" in said
    assert f"Next: python analysis/summarize.py {found.path}" in said


@pytest.mark.parametrize("error", ["no space left", "[/tmp/x] is full", "expected shape [n, 28, 28]"])
def test_a_sweep_with_errors_returns_1_and_tells_them(sweep, capsys, error):
    assert print_report(sweep(DONE, DIVERGED, DIVERGED, ("error", error))) == 1
    said = capsys.readouterr().out
    assert f"trial 00003 (learning rate 0.4) failed: {error}" in said
    assert said.count(error) == 2


def test_an_interrupted_sweep_returns_130_and_tells_how_to_go_on(sweep, capsys):
    found = sweep(DONE, DIVERGED, CUT, ("time_budget",))
    assert print_report(found) == INTERRUPTED == 130
    expected = f"2 trials had not ended; go on with: python sweeps/lr_regimes.py --resume {found.path}"
    assert expected in capsys.readouterr().out


def test_conclusions_where_nothing_finished(new_writer, tmp_path):
    trials = new_writer(tmp_path / "sweep").finish(ended="now").trials
    assert conclusions(trials)[1] == "mlp-1024-128-tanh: no learning rate finished an epoch"


def check_picture(path, *regimes):
    """It shows the colours of these regimes and of no others; grey is in any text."""
    picture = matplotlib.image.imread(path)
    assert min(picture.shape[:2]) > 500
    for name in set(REGIMES) - {"undecided"}:
        shown = np.isclose(picture[..., :3], to_rgb(COLOURS[name]), atol=1e-3).all(axis=-1).any()
        assert shown == (name in regimes), name


def test_picture_of_losses_that_are_not_finite(sweep, tmp_path):
    before = pyplot.get_fignums()
    plot_regimes(sweep(DONE, DIVERGED, DIVERGED, CUT), tmp_path / "regimes.png")
    check_picture(tmp_path / "regimes.png", "converged", "diverged")
    assert pyplot.get_fignums() == before


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
