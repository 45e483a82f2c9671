"""The pictures of the docs, from stored curves."""

import matplotlib.image
import pytest

from docs import pictures
from docs.pictures import DRAWN, Pictures, examples, keep, plot_seven, stability_curves
from mnist_tune.regimes.labels import REGIMES


def smaller_side(picture):
    """The height or the width of a picture, in pixels."""
    return min(matplotlib.image.imread(picture).shape[:2])


def test_each_regime_is_shown_by_a_curve_that_has_its_label(tmp_path, monkeypatch):
    shown = examples()
    assert set(shown) == set(REGIMES)
    for regime, example in shown.items():
        assert example.trial.regime == regime
    monkeypatch.setattr("docs.pictures.examples", lambda: shown)
    file = tmp_path / "seven.png"
    plot_seven(file)
    assert smaller_side(file) > 500


@pytest.mark.parametrize("name", ["edge", "stability", "phases"])
def test_a_picture_is_drawn_from_its_record(name, tmp_path):
    file, draw = DRAWN[name]
    draw(tmp_path / file)
    assert smaller_side(tmp_path / file) > 400


def test_curves_of_new_sweeps_replace_the_record_of_sharpness(
    new_writer, epoch_row, tmp_path, monkeypatch
):
    monkeypatch.setattr(pictures, "STABILITY", tmp_path / "record.csv")
    writer = new_writer(tmp_path / "sweep", count=1)
    measured = "[[0, 20, 0, 10], [10, 30, 0, 20]]"
    writer.epoch("00000", epoch_row(1, step=5, sharpness_steps=measured), False)
    writer.finish(ended="now")
    keep(Pictures(stability=(tmp_path / "sweep",)))
    [(name, sharpness, losses)] = stability_curves()
    assert name == "mlp-1024-128-tanh, rate 0.1"
    assert sharpness["step"].tolist() == [0, 10]
    assert sharpness["sharpness"].tolist() == [20, 30]
    assert sharpness["relative"].tolist() == [1, 1.5]
    assert losses["step"].tolist() == [5]
