"""How far off predictors are, from measured edges to what is printed."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_tune.commands.predictors import by_network, by_predictor, factors, print_factors
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.training.range_suggestions import BLOW_UP, EDGE_OVER, RULES


def measured(title, predicted):
    table = pd.DataFrame({"learning_rate": [0.5, 1.0, 1.1, 1.4, 1.5, 3.0], "learned": [True] * 4 + [False] * 2})
    return MeasuredEdge(title, table.assign(calm=True, diverged=~table["learned"]), 1.0, 0.05, predicted)


def test_factors_are_predicted_over_measured(capsys):
    both = {"range test": [3.0, 2.0], "sharpness": [0.5, 0.25]}
    edges = [measured("mlp-16-tanh", {"range test": [6.0, 6.0]}), measured("mlp-8-tanh", both)]
    table = factors(edges)
    assert len(table) == 6
    assert table["seed"].tolist() == [0, 1] * 3
    seen = by_network(table)
    middle = edges[1].rate(0.5).median
    assert seen.loc["range test", "mlp-8-tanh"] == pytest.approx(math.sqrt(6) / middle)
    assert math.isnan(seen.loc["sharpness", "mlp-16-tanh"])
    summary = by_predictor(table)
    assert summary.index[0] == "range test"
    assert summary.loc["sharpness", "networks"] == 1
    assert summary.loc["sharpness", "off"] == pytest.approx(abs(math.log2(math.sqrt(0.125) / middle)))
    assert summary.loc["sharpness", "seeds"] == pytest.approx(1 / math.sqrt(2))
    print_factors(edges)
    assert "1 of 2" in capsys.readouterr().out


def test_a_predictor_that_is_too_high_here_and_too_low_there_is_off_by_as_much():
    rows = [("wild", "a", 8.0), ("wild", "b", 1 / 8), ("tame", "a", 2.0), ("tame", "b", 2.0)]
    table = pd.DataFrame([{"predictor": p, "network": n, "log2": np.log2(factor)} for p, n, factor in rows])
    assert by_predictor(table)["off"].to_dict() == {"tame": 1.0, "wild": 3.0}


def test_factors_are_medians_over_the_seeds_and_then_over_the_networks():
    each = {"z": [1.0, 2, 32], "a": [4.0, 4], "m": [2.0, 8]}
    table = pd.DataFrame(
        [{"predictor": "p", "network": n, "log2": np.log2(factor)} for n, factors in each.items() for factor in factors]
    )
    assert list(by_network(table).loc["p"].items()) == [("z", 2), ("a", 4), ("m", 4)], "in the order of the table"
    [found] = by_predictor(table).to_dict("records")
    spread = {"z": np.std([0, 1, 5], ddof=1), "a": 0.0, "m": 2**0.5}
    seeds = pytest.approx(np.median([*spread.values()]))
    assert found == {"networks": 3, "off": 2, "least": 2, "median": 4, "most": 4, "seeds": seeds}


def test_how_far_edges_are_is_what_the_record_says():
    *_, record = sorted((Path(__file__).parents[2] / "benchmarks" / "records").glob("*predictors*.csv"))
    found = by_predictor(pd.read_csv(record))
    for rule, said in EDGE_OVER.items():
        measured = 1 / found.loc[rule, ["most", "median", "least"]]
        assert list(said) == pytest.approx(list(measured), rel=0.06), rule
    assert EDGE_OVER.keys() == {BLOW_UP, *RULES}
