"""The edge that a sweep's tables say was measured, from outcomes to what is printed."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from mnist_tune import TrialConfig, UserError, load_sweep
from mnist_tune.regimes.data_facts import DATA
from mnist_tune.regimes.edge_outcomes import has_learned, outcomes
from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.predictor_factors import by_network, by_predictor, factors
from mnist_tune.reports.edges import plot_edges
from mnist_tune.reports.predictors import print_factors
from mnist_tune.reports.text import print_report

EDGE = {"mlp-8-tanh": 1.5, "mlp-16-tanh": 3.0}
PREDICTED = {"range test": [3.0, 2.0], "sharpness": [0.5, 0.25]}


@pytest.fixture
def folder(new_writer, epoch_row, tmp_path):
    """A search for two edges of width 0.03, with 60 trials each; those that fail diverge."""
    writer = new_writer(tmp_path, count=0)
    templates = [TrialConfig(architecture=name, epochs=3) for name in EDGE]
    predicted = [PREDICTED, {"range test": [6.0, 6.0]}]
    searches = [
        one.to_dict() | {"expected": 1.0, "predicted": said} for one, said in zip(templates, predicted, strict=True)
    ]
    writer.meta |= {"name": "edge", "search": True}
    writer.meta["options"] = {"searches": searches, "precision": 0.05, "learned": None, "workers": 3}
    rng = np.random.default_rng(0)
    for number in range(120):
        template = templates[number % 2]
        rate = EDGE[template.architecture] * math.exp(rng.normal(0, 0.08))
        learned = rng.random() < 1 / (1 + (rate / EDGE[template.architecture]) ** (1 / 0.03))
        trial_id = f"{number:05d}"
        writer.trial(trial_id, dataclasses.replace(template, learning_rate=rate, seed=number))
        for epoch in range(1, 4 if learned else 2):
            row = epoch_row(epoch, learning_rate=rate) if learned else lost(epoch_row, rate)
            writer.epoch(trial_id, row, repeated=False)
        writer.end(trial_id, "completed" if learned else "diverged")
    writer.finish(ended="now")
    return tmp_path


def lost(epoch_row, rate):
    return epoch_row(1, math.nan, 0.1, learning_rate=rate, finite=False, diverged=True, above_since=3)


def test_an_edge_of_which_no_trial_has_ended_yet_is_not_measured(folder):
    running = load_sweep(folder)
    open_ones = running.trials["architecture"] == "mlp-16-tanh"
    trials = running.trials.assign(stop_reason=running.trials["stop_reason"].mask(open_ones, "running"))
    [edge] = dataclasses.replace(running, trials=trials).edges()
    assert edge.title == "mlp-8-tanh"
    assert edge.outcomes.dtypes.map(str).to_dict() == {
        "learned": "bool", "calm": "bool", "diverged": "bool", "learning_rate": "float64",
    }  # fmt: skip


def test_both_edges_are_found_reported_and_drawn(folder, capsys, tmp_path):
    sweep = load_sweep(folder)
    edges = sweep.edges()
    assert [edge.title for edge in edges] == sorted(EDGE)
    for edge in edges:
        found = edge.rate(0.5)
        assert found.low < EDGE[edge.title] < found.high
        assert found.median == pytest.approx(EDGE[edge.title], rel=0.03)
        assert edge.rate(0.9).median < found.median < edge.rate(0.1).median
        assert edge.calm.median == pytest.approx(found.median, rel=0.02)  # here, all that is not calm diverged
        assert edge.diverges.median == pytest.approx(found.median, rel=0.02)
        assert edge.is_precise
        assert edge.grid_trials > 2 * len(edge.outcomes)
    assert print_report(sweep) == 0
    said = capsys.readouterr().out
    assert f"50% at {edges[0].rate(0.5)}" in said
    assert "60 trials, half-width" in said
    assert "precise to 5%" in said
    assert "try rates between:" not in said
    plot_edges(edges, tmp_path / "edge.png")
    assert (tmp_path / "edge.png").stat().st_size > 20_000


def test_factors_are_predicted_over_measured(folder, capsys):
    edges = load_sweep(folder).edges()
    table = factors(edges)
    assert len(table) == 6
    seen = by_network(table)
    of_8 = edges[1] if edges[1].title == "mlp-8-tanh" else edges[0]
    measured = of_8.rate(0.5).median
    assert seen.loc["range test", "mlp-8-tanh"] == pytest.approx(math.sqrt(6) / measured)
    assert math.isnan(seen.loc["sharpness", "mlp-16-tanh"])
    summary = by_predictor(table)
    assert summary.index[0] == "range test"
    assert summary.loc["sharpness", "networks"] == 1
    assert summary.loc["sharpness", "off"] == pytest.approx(abs(math.log2(math.sqrt(0.125) / measured)))
    assert summary.loc["sharpness", "seeds"] == pytest.approx(1 / math.sqrt(2))
    print_factors(edges)
    assert "1 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "accuracy", "learned"),
    [
        ({"train_loss": 1.1}, None, True),
        ({"train_loss": 1.3}, None, False),
        ({"train_loss": 1.1, "diverged": True}, None, False),
        ({"train_loss": math.nan}, None, False),
        ({"train_loss": 1.3}, 0.5, True),
        ({"train_loss": 1.1}, 0.7, False),
    ],
)
def test_what_counts_as_learned(row, accuracy, learned):
    known = {"untrained_loss": 2.4, "train_accuracy": 0.6, "diverged": False}
    assert has_learned(known | row, accuracy) is learned


def test_the_last_epoch_counts_also_if_its_loss_is_nan():
    trials = pd.DataFrame(
        {"trial_id": ["a"], "stop_reason": "completed", "curve_regime": "diverged", "regime": "diverged",
         "epochs_asked": 2}
    )  # fmt: skip
    rows = [{"trial_id": "a", "epoch": i, "train_loss": loss, "untrained_loss": 2.4, "train_accuracy": 0.9,
             "test_accuracy": 0.9, "diverged": False} for i, loss in ((1, 0.1), (2, math.nan))]  # fmt: skip
    found = outcomes(trials, pd.DataFrame(rows), DATA["mnist"], None)
    assert found.iloc[0].tolist() == [False, False, True]


def test_a_rate_that_does_not_exist_says_so():
    assert str(Interval(0.0, 0.0, 1.0)) == "does not exist"
    assert str(Interval(1.0, 2.0, math.inf)) == "2 [1, inf]"
    assert math.isinf(Interval(0.0, 1.0, 2.0).half_width)


@pytest.mark.parametrize(
    "searches",
    ["text", [3], [{"expected": 1.0}], [{"expected": -1.0, "predicted": {}}], [{"expected": 1.0, "predicted": [1]}],
     [{"expected": 1.0, "predicted": {}, "learning_rat": 0.1}]],
)  # fmt: skip
def test_a_forged_list_of_searches_is_refused(folder, searches):
    file = folder / "sweep.json"
    meta = json.loads(file.read_text())
    meta["options"]["searches"] = searches
    file.write_text(json.dumps(meta))
    with pytest.raises(UserError, match="was not written by a sweep"):
        load_sweep(folder)
