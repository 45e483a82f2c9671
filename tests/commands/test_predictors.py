"""How far off predictors are, from measured edges to what is printed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kept_texts import assert_kept

from mnist_tune.commands.predictors import Predictors, by_predictor, factors, print_factors
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.training.range_suggestions import BLOW_UP, EDGE_OVER, RULES


def measured(title, learns, predicted):
    """An edge of six trials, of which so many learn."""
    table = pd.DataFrame({"learning_rate": [0.5, 1.0, 1.1, 1.4, 1.5, 3.0], "learned": np.arange(6) < learns})
    return MeasuredEdge(title, table.assign(calm=True, diverged=~table["learned"]), 1.0, 0.05, predicted)


def test_what_is_said_of_predictors(capsys):
    edges = [
        measured("mlp-16-tanh", 4, {"range test": [6.0, 6.0], "2/λ0": [0.5, 0.25, 0.3]}),
        measured("convnet", 3, {"range test": [3.0, 2.0, 8.0], "2/λ0": [1.0, 2.0, 4.0], "fastai slide": [1e-3]}),
        measured("mlp-8-tanh", 4, {"range test": [0.1, 0.2]}),
        measured("never learns", 0, {"range test": [1.0]}),
        measured("always learns", 6, {"range test": [1.0]}),
    ]
    table = factors(edges)
    print(f"columns: {', '.join(table)}\n\n{table.to_string(float_format='{:.3g}'.format)}\n")
    print_factors(edges)
    assert_kept("predictors", capsys.readouterr().out)


def test_a_seed_on_which_a_predictor_says_nothing_leaves_the_others_their_numbers():
    table = factors([measured("mlp-16-tanh", 4, {"range test": [None, 6.0, 5.0]})])
    assert table[["seed", "predicted"]].to_numpy().tolist() == [[1, 6.0], [2, 5.0]]


def test_what_is_trained():
    templates = Predictors().templates() + Predictors(architecture=("mlp-4-tanh", "mlp-5-tanh")).templates()
    said = [f"{one.architecture.rpartition('/')[2]} {one.optimizer} {one.momentum}" for one in templates]
    assert said == [
        "mlp-16-tanh sgd 0.0", "mlp-256-tanh sgd 0.0", "mlp-64-relu sgd 0.0", "mlp-64-relu-glorot sgd 0.0",
        "mlp-64-64-64-relu-glorot sgd 0.0", "mlp-256-256-gelu-glorot sgd 0.0", "convnet sgd 0.0",
        "mlp-64-relu-glorot sgd 0.9", "mlp-64-relu-glorot adam 0.0",
        "mlp-4-tanh sgd 0.0", "mlp-5-tanh sgd 0.0", "mlp-4-tanh sgd 0.9", "mlp-4-tanh adam 0.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": ("adam",)}, ["adam 0.0"]),
        ({"momentum": (0.9,)}, ["sgd 0.9"]),
        ({"momentum": (0.0, 0.9)}, ["sgd 0.0", "sgd 0.9", "adam 0.0"]),
        ({"optimizer": ("adam", "sgd")}, ["adam 0.0", "sgd 0.0", "sgd 0.9"]),
    ],
)
def test_momentum_and_adam_are_added_to_plain_sgd_only(options, said):
    templates = Predictors(architecture=("mlp-4-tanh",), **options).templates()
    assert [f"{one.optimizer} {one.momentum}" for one in templates] == said


def test_how_far_edges_are_is_what_the_record_says():
    *_, record = sorted((Path(__file__).parents[2] / "benchmarks" / "records").glob("*predictors*.csv"))
    found = by_predictor(pd.read_csv(record))
    for rule, said in EDGE_OVER.items():
        measured = 1 / found.loc[rule, ["most", "median", "least"]]
        assert list(said) == pytest.approx(list(measured), rel=0.06), rule
    assert EDGE_OVER.keys() == {BLOW_UP, *RULES}
