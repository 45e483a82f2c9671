"""The pictures of the docs, from stored curves."""

import matplotlib.image

from mnist_tune.regimes.labels import REGIMES
from pictures import examples, plot_seven


def test_each_regime_is_shown_by_a_curve_that_has_its_label(tmp_path, monkeypatch):
    found = examples()
    assert {regime: example.trial.regime for regime, example in found.items()} == {one: one for one in REGIMES}
    monkeypatch.setattr("pictures.examples", lambda: found)
    plot_seven(tmp_path / "seven.png")
    assert min(matplotlib.image.imread(tmp_path / "seven.png").shape[:2]) > 500
