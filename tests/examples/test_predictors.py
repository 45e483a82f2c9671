"""The predictors among the examples: rules of libraries on a curve whose suggestion can
be read off, and all of them on a network."""

import math
import sys
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from examples import predictors
from examples.predictors import RULES, Setting, main, slide, summary, valley


def test_rules_on_a_valley():
    """A loss that is flat to 1e-2, falls evenly per decade to 1 at a rate of 1, and
    rises steeply after that."""
    rates = np.geomspace(1e-4, 10, 101)  # twenty points a decade
    decade = np.log10(rates)
    flat = 2.0 + 0.001 * (decade + 4)
    falling = 2 - 0.5 * (decade + 2)
    rising = 1 + 5 * decade**2
    losses = np.select([decade < -2, decade < 0], [flat, falling], rising)
    suggested = {name: rule(rates, losses) for name, (_, rule, _) in RULES.items()}
    assert suggested["fastai minimum/10"] == pytest.approx(0.1)
    assert -2 <= math.log10(suggested["fastai steep"]) < 0
    assert -2 <= math.log10(suggested["Lightning before 2.5.3"]) < 0
    # per η, the same fall is steepest at small η
    assert suggested["Lightning from 2.5.3"] == pytest.approx(0.01, rel=0.15)
    # the falling points are those of 1e-2 to 1
    assert valley(rates, losses) == pytest.approx(0.1, rel=0.15)
    assert 0.1 < slide(rates, losses) < 1


PREDICTIONS = """
network predictor predicted measured
a       twice     2         1
b       twice     4         2
a       right     1         1
a       right     1         1
a       right     9         1
"""


def test_a_summary_has_the_best_predictor_first():
    table = pd.read_csv(StringIO(PREDICTIONS), sep=r"\s+")
    best_first = summary(table.astype({"predicted": float, "measured": float}))
    assert best_first.index.tolist() == ["right", "twice"]
    assert best_first["off"].tolist() == [0, 1]
    assert best_first["size"].tolist() == [1, 2]


OTHERS = {"range test", "2/λ0", "critical sharpness", "forward-only bracket"}
"""The predictors that are no rules on a curve."""


@pytest.mark.ray
def test_predictors_agree_about_a_network(tmp_path, monkeypatch, capsys):
    settings = [Setting("mlp-16-tanh")]
    monkeypatch.setattr(predictors.Predictors, "settings", lambda self: settings)
    rates = [2.0**power for power in range(-6, 9, 2)]
    monkeypatch.setattr(predictors, "STEP_RATES", rates)
    flags = "--dataset mnist-5k --train-images 2000 --architecture mlp-16-tanh --seeds 0 --trials 8"
    words = ["predictors.py", *flags.split(), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    main()
    text = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "predictors.csv")
    assert set(table["predictor"]) == set(RULES) | OTHERS
    predicted = table.set_index("predictor")["predicted"]
    relative = predicted / predicted["range test"]
    assert 1 / 20 < relative["forward-only bracket"] < 20
    assert 1 / 20 < relative["critical sharpness"] < 20
    assert 1 / 40 < relative["2/λ0"] < 4
    assert "half of the seeds of mlp-16-tanh sgd 0 learn up to" in text
