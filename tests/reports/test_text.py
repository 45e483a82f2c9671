"""What a sweep prints, and its picture."""

import math

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from mnist_tune.reports.figures import plot_regimes
from mnist_tune.reports.text import INTERRUPTED, conclusions, print_report
from mnist_tune.results.regimes import COLOURS, REGIMES

EXACT = 1e-12
VALUES = [0.9792, 0.9755, 0.9854, 0.983, 0.9851]


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
