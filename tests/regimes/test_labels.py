"""From curves to regimes: measured curves, and what may never happen to any curve."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune import TrialConfig
from mnist_tune.regimes.curve import SETTINGS, Curve
from mnist_tune.regimes.data_facts import DATA, MNIST
from mnist_tune.regimes.divergence import has_diverged
from mnist_tune.regimes.evidence import TEXTS, evidence
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.labels import REGIMES, curve_regime, label_trials
from mnist_tune.regimes.reasons import Reason
from validation.label_cuts import complete


def curve_of(rows, epochs_asked, data=MNIST, **config):
    """The curve of a trial's rows of the epochs table."""
    columns = Histories.of(rows.assign(trial_id="a"), "a").columns("a")
    return Curve.of(columns, TrialConfig(epochs=epochs_asked, **config), data)


lost = partial(has_diverged, chance=MNIST.chance, images=MNIST.train_images)
"""Whether a trial on MNIST has diverged after an epoch."""


# --- measured curves, with step losses


@pytest.fixture(scope="module")
def measured():
    """Rows of the epochs table of ten-epoch trials, some cut after their first
    epoch."""
    table = pd.read_csv(
        Path(__file__).parent / "curves.csv", dtype={"above_since": "Int64"}
    )
    table["finite"] = np.isfinite(table["train_loss"])
    since = (
        table["above_since"].astype(object).where(table["above_since"].notna(), None)
    )
    rows = table.assign(above_since=since).to_dict("records")
    return table.assign(diverged=[lost(row) for row in rows])


def trial(measured, rate, seed=0, architecture="mlp-1024-128-tanh"):
    key = (
        (measured["architecture"] == architecture)
        & (measured["learning_rate"] == rate)
        & (measured["seed"] == seed)
    )
    assert key.any()
    return measured[key]


@pytest.mark.parametrize(
    ("rate", "seed", "regime", "begins"),
    [
        (0.001, 0, "slow", "accuracy 0.8603; would reach 0.95 later than epoch 2"),
        (0.003, 0, "slow", "accuracy 0.9074; would reach 0.95 later than epoch 1"),
        (0.01, 0, "undecided", "on its way: would reach 0.95 at epoch 14 (80%: 1"),
        (0.03, 0, "converged", "accuracy 0.9706 >= 0.95"),
        (0.1, 0, "converged", "accuracy 0.9930 >= 0.95"),
        (0.5, 0, "converged", "accuracy 1.0000 >= 0.95"),
        (0.7, 0, "converged", "accuracy 1.0000 >= 0.95"),
        (
            1.0,
            0,
            "converged",
            "accuracy 0.9792 >= 0.95, batch loss up to 61.3 in epoch 1",
        ),
        (
            1.0,
            1,
            "converged",
            "accuracy 0.9755 >= 0.95, batch loss up to 62.5 in epoch 1",
        ),
        (
            1.0,
            2,
            "converged",
            "accuracy 0.9854 >= 0.95, batch loss up to 37.9 in epoch 1",
        ),
        (
            1.0,
            3,
            "converged",
            "accuracy 0.9830 >= 0.95, batch loss up to 42.2 in epoch 1",
        ),
        (
            1.0,
            4,
            "converged",
            "accuracy 0.9851 >= 0.95, batch loss up to 45.4 in epoch 1",
        ),
        (1.3, 0, "converged", "accuracy 0.9643 >= 0.95, batch loss up to "),
        (
            1.3,
            2,
            "converged",
            "accuracy 0.9698 >= 0.95, batch loss up to 79 in epoch 1",
        ),
        (1.6, 0, "oscillating", "5 of 9 epochs unstable (batch loss up to 3.57)"),
        (1.6, 5, "oscillating", "8 of 9 epochs unstable (batch loss up to 12.1)"),
        (
            1.3,
            1,
            "diverged",
            "training loss 66.4 (untrained 2.63), above it since step 1",
        ),
        (
            1.6,
            1,
            "diverged",
            "training loss 104 (untrained 2.63), above it since step 1",
        ),
    ],
)
def test_measured_curves(measured, rate, seed, regime, begins):
    label = curve_regime(curve_of(trial(measured, rate, seed), 10))
    assert label.regime == regime
    assert evidence(label).startswith(begins)


def test_a_first_epoch_above_the_untrained_loss_may_recover(measured):
    first = trial(measured, 1.6, 3)
    assert (first["train_loss"] > first["untrained_loss"]).all()
    assert curve_regime(curve_of(first, 10)).regime == "undecided"


def test_a_network_too_small_underfits(measured):
    curve = curve_of(trial(measured, 0.1, architecture="mlp-4-tanh"), 10)
    label = curve_regime(curve)
    assert label.regime == "underfit"
    assert evidence(label) == "levelled off at accuracy 0.8402"


def test_labels_do_not_depend_on_the_order_of_rows(measured):
    rates = (0.001, 0.1, 1.0, 1.3, 1.6)
    ids = {rate: f"{i:05d}" for i, rate in enumerate(rates)}
    epochs = pd.concat(
        [trial(measured, rate).assign(trial_id=ids[rate]) for rate in rates]
    )
    trials = pd.DataFrame(
        {
            "trial_id": [*ids.values(), "none"],
            "epochs_asked": 10,
            "learning_rate": [*rates, 0.1],
        }
    )
    expected = [curve_regime(curve_of(trial(measured, rate), 10)) for rate in rates]
    for rows in (
        epochs,
        epochs.sort_values("epoch", kind="stable"),
        epochs.iloc[::-1].sort_values("epoch"),
    ):
        found = label_trials(complete(trials), rows, MNIST)
        assert found["curve_regime"].tolist()[:-1] == [
            label.regime for label in expected
        ]
        own = (found["regime"] == found["curve_regime"]).tolist()[:-1]
        assert sum(own) >= 4
        assert found.iloc[-1][["curve_regime", "regime_evidence"]].tolist() == [
            "undecided",
            "no epoch finished",
        ]


# --- curves that were cut, and odd ones


def calm(accuracies, asked=10, **values):
    accuracies = np.array(accuracies, float)
    return Curve(
        held_out=accuracies, epochs_asked=asked, train_score=accuracies, **values
    )


@pytest.mark.parametrize("accuracies", [[1.0, 0.9, 0.9, 0.9], [0.9, 0.9, 1.0, 0.9]])
@pytest.mark.parametrize("asked", [4, 6])
def test_an_accuracy_of_one_is_no_division_by_zero(accuracies, asked):
    assert curve_regime(calm(accuracies, asked)).regime in ("oscillating", "undecided")


def test_validation_is_held_out_before_test(epoch_row):
    held_out = (
        {"validation_accuracy": 0.5, "validation_loss": 0.7},
        {"validation_accuracy": 0.6},
    )
    curve = curve_of(
        pd.DataFrame(
            [epoch_row(epoch, **values) for epoch, values in enumerate(held_out, 1)]
        ),
        2,
    )
    assert curve.held_out.tolist() == [0.5, 0.6]
    np.testing.assert_equal(curve.held_out_loss.tolist(), [0.7, math.nan])
    curve = curve_of(pd.DataFrame([epoch_row(1, 0.3, 0.9)]), 2)
    assert (curve.held_out.tolist(), curve.held_out_loss.tolist()) == ([0.89], [0.31])


def test_a_trials_curve_has_its_settings_and_the_facts_of_its_data(epoch_row):
    config = {
        "batch_size": 32,
        "holdout": 100,
        "label_noise": 7,
        "loss": "mse",
        "schedule": "cosine",
    }
    rows = [
        epoch_row(1, guessing_since=3, above_since=2),
        epoch_row(2, guessing_since=5, above_since=None),
    ]
    curve, usual = (
        curve_of(pd.DataFrame(rows), 9, DATA["mnist-5k"], **config),
        vars(TrialConfig()),
    )
    assert {name: getattr(curve, name) for name in SETTINGS} == {
        name: (usual | config)[name] for name in SETTINGS
    }
    assert (curve.data, curve.epochs_asked) == (DATA["mnist-5k"], 9)
    assert (curve.guessing_since, curve.above_since, curve.untrained_loss) == (
        5,
        None,
        2.4,
    )


ACCURACIES = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.96, 1.0])
LOSSES = st.floats(0, 1e3) | st.sampled_from([math.nan, math.inf])
ROWS = st.fixed_dictionaries(
    {
        "train_loss": LOSSES,
        "step_loss_max": LOSSES,
        "train_accuracy": ACCURACIES,
        "test_accuracy": ACCURACIES,
    }
    | {"diverged": st.booleans(), "above_since": st.none() | st.integers(1, 100)}
)


@given(st.lists(ROWS, min_size=1, max_size=12), st.integers(0, 4), st.booleans())
def test_any_curve_has_one_regime_with_its_evidence(rows, more, train_known):
    epochs = pd.DataFrame(rows).assign(untrained_loss=2.3)
    epochs["above_since"] = epochs["above_since"].astype("Int64")
    label = curve_regime(
        curve_of(epochs if train_known else epochs.drop(columns="train_accuracy"), 12)
    )
    assert label.regime in REGIMES
    assert evidence(label).strip()
    label = curve_regime(calm(epochs["test_accuracy"], asked=len(rows) + more))
    assert label.regime in REGIMES
    assert evidence(label).strip()


def test_every_reason_has_a_text():
    assert {*TEXTS} == {*Reason}
