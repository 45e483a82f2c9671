"""The predictors among the examples: rules of libraries on a curve whose suggestion can
be read off, and all of them on a network."""

import math
import sys

import numpy as np
import pandas as pd
import pytest

from examples import predictors
from examples.predictors import RULES, Setting, main, slide, summary, valley


def test_rules_on_a_valley():
    """A loss that is flat to 1e-2, falls evenly per decade to 1 at a rate of 1, and
    rises steeply after that."""
    rates = np.geomspace(1e-4, 10, 101)  # twenty points a decade
    x = np.log10(rates)
    losses = np.where(
        x < -2, 2.0 + 0.001 * (x + 4), np.where(x < 0, 2 - 0.5 * (x + 2), 1 + 5 * x**2)
    )
    found = {name: rule(rates, losses) for name, (_, rule, _) in RULES.items()}
    assert found["fastai minimum/10"] == pytest.approx(0.1)
    assert -2 <= math.log10(found["fastai steep"]) < 0
    assert -2 <= math.log10(found["Lightning before 2.5.3"]) < 0
    # per η, the same fall is steepest at small η
    assert found["Lightning from 2.5.3"] == pytest.approx(0.01, rel=0.15)
    # the falling points are those of 1e-2 to 1
    assert valley(rates, losses) == pytest.approx(0.1, rel=0.15)
    assert 0.1 < slide(rates, losses) < 1


def test_a_summary_has_the_best_predictor_first():
    rows = [
        ("a", "twice", 2.0),
        ("b", "twice", 4.0),
        ("a", "right", 1.0),
        ("a", "right", 1.0),
        ("a", "right", 9.0),
    ]
    table = pd.DataFrame(rows, columns=["network", "predictor", "predicted"]).assign(
        measured=1.0
    )
    table.loc[1, "measured"] = 2.0
    found = summary(table)
    assert found.index.tolist() == ["right", "twice"]
    assert found["off"].tolist() == [0, 1]
    assert found["size"].tolist() == [1, 2]


@pytest.mark.ray
def test_predictors_agree_about_a_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        predictors.Predictors, "settings", lambda self: [Setting("mlp-16-tanh")]
    )
    monkeypatch.setattr(
        predictors, "STEP_RATES", [2.0**power for power in range(-6, 9, 2)]
    )
    asked = "--dataset mnist-5k --train-images 2000 --architecture mlp-16-tanh --seeds 0 --trials 8"
    monkeypatch.setattr(
        sys, "argv", ["predictors.py", *asked.split(), "--output", str(tmp_path)]
    )
    main()
    said = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "predictors.csv")
    assert set(RULES) | {
        "range test",
        "2/λ0",
        "critical sharpness",
        "forward-only bracket",
    } == set(table["predictor"])
    found = table.set_index("predictor")["predicted"]
    for name in ("forward-only bracket", "critical sharpness"):
        assert 1 / 20 < found[name] / found["range test"] < 20
    assert 1 / 40 < found["2/λ0"] / found["range test"] < 4
    assert "half of the seeds of mlp-16-tanh sgd 0 learn up to" in said
