"""What is comparable with what."""

import math

import pandas as pd

from mnist_tune.regimes.families import families, held_out, varied


def test_trials_are_compared_on_the_images_held_out_if_each_that_trained_has_some():
    trials = pd.DataFrame({"epochs_run": [3, 3, 0], "validation_accuracy": [0.9, 0.8, math.nan]})
    assert held_out(trials) == "validation"
    assert held_out(trials.assign(epochs_run=3)) == "test", "one held none out, and would be last however good it is"
    assert held_out(trials.assign(epochs_run=0)) == "test"
    assert held_out(trials[["epochs_run"]]) == "test"


def test_families_are_named_by_what_they_differ_in():
    trials = pd.DataFrame(
        {"architecture": ["b", "a", "a"], "batch_size": [64, 64, 32], "nesterov": [True, False, True]}
    )
    assert varied(trials) == ["architecture", "batch_size", "nesterov"]
    assert [title for title, _ in families(trials)] == [
        "a, batch size 32, nesterov", "a, batch size 64", "b, batch size 64, nesterov"
    ]  # fmt: skip
