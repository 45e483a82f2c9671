"""What a trial's line shows, and how names and numbers are written in it."""

import math

import numpy as np

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.reports.trial_table import DETAILS, FIELDS, PAGE, ROOM, TERMINAL, fields, heading, shortened

FOLDER = "/home/anna/projects/thesis/networks/"


def test_a_long_name_loses_its_folder_and_then_its_middle():
    short, factory = "mlp-1024-128-tanh", FOLDER + "residual.py:resnet"
    long = f"{factory}(width=64, depth=4, norm='layer')"
    assert shortened([short, factory, long]) == {
        short: short,
        factory: "residual.py:resnet",
        long: "residual.py:resnet(…th=4, norm='layer')",
    }
    assert len(shortened([long])[long]) <= ROOM


def test_names_that_would_be_the_same_stay_as_they_are():
    first, second = (f"{FOLDER}{one}/residual.py:resnet" for one in "ab")
    assert shortened([first, second]) == {first: first, second: second}
    middles = [f"net.py:resnet(width={width}, depth=4, norm='layer', x=1)" for width in (64, 65)]
    assert shortened(middles) == {name: name for name in middles}


def test_settings_are_written_as_they_were_asked_for():
    values = (16384, 30000, 0.99991, 1e-05, 0.1, "adam", 1.0)
    assert [exactly(value) for value in values] == ["16384", "30000", "0.99991", "1e-05", "0.1", "adam", "1"]


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert told_apart([0.1, 1.23456, 0.1]) == {0.1: "0.1", 1.23456: "1.235"}
    assert told_apart([1.0001, 1.0002]) == {1.0001: "1.0001", 1.0002: "1.0002"}
    assert told_apart([1.01, 1.02], 2) == {1.01: "1.01", 1.02: "1.02"}
    assert told_apart([0.1 + 0.2, 0.3]) == {0.1 + 0.2: "0.30000000000000004", 0.3: "0.3"}


def cells(trials, where):
    """What is shown there, by heading."""
    return {heading(one, trials): one.said(trials) for one in fields(trials, where)}


def test_a_line_shows_what_tells_trials_apart_and_what_they_did(made_up_sweep):
    trials = made_up_sweep([0.1, 0.123456, 3]).trials
    trials = trials.assign(
        batch_size=[32, 64, 64],
        error=["", "", "no memory"],
        reaches=[math.nan, math.inf, 3.2],
        reaches_from=[7.0, math.inf, 2.0],
    )
    assert cells(trials, TERMINAL) == {
        "batch size": ["32", "64", "64"],
        "rate": ["0.1", "0.1235", "3"],
        "regime": ["converged", "converged", "diverged"],
        "epochs": ["4/4", "4/4", "1/4"],
        "train acc": ["0.9653", "0.9743", "0.1000"],
        "test acc": ["0.9553", "0.9643", "0.0900"],
        "reaches 0.91": ["> 7", "never", "~3"],
        "stopped": ["completed", "completed", "diverged"],
        "evidence": [*trials["regime_evidence"][:2], "no memory"],
    }
    details = [one.name for one in fields(trials, DETAILS)]
    assert details[:3] == ["batch_size", "learning_rate", "data_seed"]
    assert not {"label", "seed", "validation_accuracy"} & set(details), "none has a label, and the seeds are the same"


def test_a_trial_that_was_at_its_target_and_is_below_it_again_is_said_to_have_left(made_up_sweep):
    trials = made_up_sweep([0.1, 0.2]).trials
    left = "left the target: accuracy 0.9600 in epoch 3, 0.9300 at the end"
    trials = trials.assign(reaches=14.0, regime_evidence=[left, "on its way: would reach 0.95 at epoch 14"])
    assert cells(trials, TERMINAL)["reaches 0.91"] == ["left", "> 12"]


def test_what_no_trial_has_is_not_shown(made_up_sweep):
    trials = made_up_sweep([0.1, 3]).trials
    known = [heading(one, trials) for one in fields(trials, PAGE)]
    scores, ends = ["train acc", "test acc"], ["stopped", "evidence", "trial"]
    assert known == ["rate", "regime", "epochs", *scores, "reaches 0.91", *ends]
    more = trials.assign(label=["", "mine"], seed=[0, 1], validation_accuracy=[math.nan, 0.9], target=[0.91, 0.92])
    known = [heading(one, more) for one in fields(more, PAGE)]
    assert known == ["label", "rate", "seed", "regime", "epochs", *scores, "held out", "reaches target", *ends]
    none = trials.assign(train_accuracy=math.nan, test_accuracy=math.nan, reaches=math.nan, regime_evidence="")
    assert [heading(one, none) for one in fields(none, PAGE)] == ["rate", "regime", "epochs", *ends]


def test_numbers_stay_numbers_where_they_are_sorted_and_downloaded(made_up_sweep):
    trials = made_up_sweep([0.123456, 3]).trials.assign(nesterov=[True, False])
    found = {one.name: one.values(trials) for one in fields(trials, DETAILS)}
    np.testing.assert_array_equal(found["learning_rate"], [0.123456, 3])
    np.testing.assert_array_equal(found["diverged_at_step"], [math.nan, 1.0])
    assert (found["nesterov"], found["trial"]) == (["True", "False"], ["00000", "00001"])


def test_what_the_details_call_a_field():
    called = {one.name: one.called for one in FIELDS}
    assert [called[name] for name in ("reaches", "stop_reason", "regime")] == [
        "reaches the target in epoch", "ended because", "regime"
    ]  # fmt: skip
