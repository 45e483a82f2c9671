"""Sharpness relative to the edge of stability, by hand."""

import numpy as np
import pandas as pd
import pytest

from mnist_tune.regimes.stability import relative_sharpness, summarise_stability

SGD = {"optimizer": "sgd", "schedule": "constant", "momentum": 0.0, "nesterov": False, "warmup_steps": 0}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [0.2, 0.2, 0.6]),  # λη/2
        ({"momentum": 0.9}, [0.2 / 1.9, 0.2 / 1.9, 0.6 / 1.9]),
        ({"momentum": 0.9, "nesterov": True}, [0.2 * 2.8 / 1.9, 0.2 * 2.8 / 1.9, 0.6 * 2.8 / 1.9]),
        ({"warmup_steps": 20}, [0, 0.1, 0.6]),
        ({"optimizer": "adam"}, []),
        ({"schedule": "cosine"}, []),
    ],
)
def test_the_edge_is_where_gradient_descent_becomes_unstable(config, expected):
    trials = pd.DataFrame([SGD | config | {"trial_id": "a", "learning_rate": 0.2}])
    measured = pd.DataFrame(
        {"trial_id": "a", "step": [0, 10, 40], "sharpness": [2.0, 2.0, 6.0], "batch_sharpness": [4.0, 4.0, 12.0]}
    )
    found = relative_sharpness(trials, measured)
    np.testing.assert_allclose(found["relative"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["batch_relative"], 2 * np.array(expected), rtol=1e-12)


def test_momentum_oscillates_beyond_the_edge_and_not_before_it():
    """On λx²/2, with the formulas that `relative_sharpness` names."""
    for nesterov in (False, True):
        for sharpness, grows in ((0.99, False), (1.01, True)):
            trials = pd.DataFrame(
                [SGD | {"trial_id": "a", "learning_rate": 0.1, "momentum": 0.8, "nesterov": nesterov}]
            )
            measured = pd.DataFrame({"trial_id": ["a"], "step": [0], "sharpness": [1.0], "batch_sharpness": [1.0]})
            curvature = sharpness / relative_sharpness(trials, measured)["relative"].item()
            x, v = 1.0, 0.0
            for _ in range(4000):
                v = 0.8 * v + curvature * x
                x -= 0.1 * (curvature * x + 0.8 * v if nesterov else v)
            assert (abs(x) > 1) is grows


def test_the_summary_begins_where_the_edge_is_reached():
    arrives = pd.DataFrame({"trial_id": "a", "step": range(6), "relative": [1.3, 0.5, 0.96, 0.9, 1.1, 1.0]})
    never = pd.DataFrame({"trial_id": "b", "step": range(9), "relative": [0.2, *[0.9] * 5, 0.5, 0.6, 0.8]})
    both = pd.concat([never, arrives]).assign(batch_relative=lambda table: 2 * table["relative"])
    found = summarise_stability(both).set_index("trial_id")
    assert found.index.tolist() == ["b", "a"]
    assert found.loc["a"].tolist() == [1.3, 2, 0.9, 0.98, 1.1, 1.96]
    np.testing.assert_allclose(found.loc["b"].tolist(), [0.2, np.nan, 0.5, 0.6, 0.8, 1.2])
