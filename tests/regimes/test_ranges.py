"""The range of learning rates of each family, by hand, and what differs from a base in one thing only."""

import numpy as np
import pandas as pd
import pytest

from mnist_tune.regimes.ranges import along, ranges, with_sizes

REGIMES = {0.1: "slow slow", 0.2: "converged converged", 0.4: "converged converged", 0.8: "diverged converged"}


def made_up_trials(regimes, **config):
    rows = [
        {"learning_rate": rate, "seed": seed, "regime": regime, "validation_accuracy": 0.9 + rate / 10}
        for rate, of in regimes.items()
        for seed, regime in enumerate(of.split())
    ]
    base = {"architecture": "mlp-64-tanh", "batch_size": 128, "momentum": 0.0, "warmup_steps": 0}
    return pd.DataFrame(rows).assign(test_accuracy=0.5, epochs_run=5, **base | config)


def test_the_range_and_its_best():
    [found] = ranges([("title", made_up_trials(REGIMES | {1.6: "diverged diverged"}))]).to_dict("records")
    assert found["title"] == "title"
    assert [found[name] for name in ("lowest", "highest", "sometimes", "next", "best")] == [0.2, 0.4, 0.8, 1.6, 0.4]
    assert found["accuracy"] == pytest.approx(0.94)
    assert [found[name] for name in ("width", "depth", "batch_size")] == [64, 2, 128]


def test_the_range_begins_where_every_seed_converged():
    some = {0.05: "slow converged", **REGIMES}
    [found] = ranges([("", made_up_trials(some))]).to_dict("records")
    assert (found["lowest"], found["highest"]) == (0.2, 0.4)


def test_a_range_without_an_end_or_without_a_rate():
    open_, none = (
        ranges([("", made_up_trials(regimes))]).iloc[0]
        for regimes in (REGIMES, dict.fromkeys(REGIMES, "diverged slow"))
    )
    assert np.isnan(open_["next"])
    assert open_["sometimes"] == 0.8
    assert none[["lowest", "highest", "sometimes", "next", "best", "accuracy"]].isna().all()


def test_sizes_are_those_in_the_name():
    names = ["mlp-64-tanh", "mlp-300-100-relu-glorot", "mlp-relu", "convnet"]
    found = with_sizes(pd.DataFrame({"architecture": names}))
    np.testing.assert_array_equal(found["width"], [64, 300, np.nan, np.nan])
    np.testing.assert_array_equal(found["depth"], [2, 3, 1, np.nan])


def test_one_thing_varies_at_a_time():
    configs = [{}, {"momentum": 0.9}, {"momentum": 0.5}, {"batch_size": 32}, {"architecture": "mlp-32-tanh"}]
    found = ranges([(str(config), made_up_trials(REGIMES, **config)) for config in configs])
    base = {"width": 64, "depth": 2, "batch_size": 128, "momentum": 0.0, "warmup_steps": 0}
    assert along(found, "momentum", base)["momentum"].tolist() == [0, 0.5, 0.9]
    assert along(found, "width", base)["width"].tolist() == [32, 64]
    assert len(along(found, "warmup_steps", base)) == 1
