"""From curves to regimes: measured curves, and what may never happen to any curve."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_tables import rows

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
    file = Path(__file__).parent / "curves.csv"
    table = pd.read_csv(file, dtype={"above_since": "Int64"})
    table["finite"] = np.isfinite(table["train_loss"])
    since = table["above_since"].astype(object)
    since = since.where(since.notna(), None)
    rows = table.assign(above_since=since).to_dict("records")
    return table.assign(diverged=[*map(lost, rows)])


def trial(measured, rate, seed=0, architecture="mlp-1024-128-tanh"):
    is_network = measured["architecture"] == architecture
    is_rate = measured["learning_rate"] == rate
    is_seed = measured["seed"] == seed
    is_trial = is_network & is_rate & is_seed
    assert is_trial.any()
    return measured[is_trial]


# learning rate, seed, label, how the evidence begins
MEASURED = """
    0.001  0  slow         accuracy 0.8603; would reach 0.95 later than epoch 2
    0.003  0  slow         accuracy 0.9074; would reach 0.95 later than epoch 1
    0.01   0  undecided    on its way: would reach 0.95 at epoch 14 (80%: 1
    0.03   0  converged    accuracy 0.9706 >= 0.95
    0.1    0  converged    accuracy 0.9930 >= 0.95
    0.5    0  converged    accuracy 1.0000 >= 0.95
    0.7    0  converged    accuracy 1.0000 >= 0.95
    1.0    0  converged    accuracy 0.9792 >= 0.95, batch loss up to 61.3 in epoch 1
    1.0    1  converged    accuracy 0.9755 >= 0.95, batch loss up to 62.5 in epoch 1
    1.0    2  converged    accuracy 0.9854 >= 0.95, batch loss up to 37.9 in epoch 1
    1.0    3  converged    accuracy 0.9830 >= 0.95, batch loss up to 42.2 in epoch 1
    1.0    4  converged    accuracy 0.9851 >= 0.95, batch loss up to 45.4 in epoch 1
    1.3    0  converged    "accuracy 0.9643 >= 0.95, batch loss up to "
    1.3    2  converged    accuracy 0.9698 >= 0.95, batch loss up to 79 in epoch 1
    1.6    0  oscillating  5 of 9 epochs unstable (batch loss up to 3.57)
    1.6    5  oscillating  8 of 9 epochs unstable (batch loss up to 12.1)
    1.3    1  diverged     training loss 66.4 (untrained 2.63), above it since step 1
    1.6    1  diverged     training loss 104 (untrained 2.63), above it since step 1
"""


@pytest.mark.parametrize(("rate", "seed", "regime", "begins"), rows(MEASURED))
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


@pytest.fixture
def five_trials(measured):
    """A trials table, the last one of which has no epoch, the epochs table, and the
    labels of their curves."""
    rates = (0.001, 0.1, 1.0, 1.3, 1.6)
    epochs = []
    regimes = []
    for i, rate in enumerate(rates):
        curve = trial(measured, rate)
        epochs.append(curve.assign(trial_id=f"{i:05d}"))
        regimes.append(curve_regime(curve_of(curve, 10)).regime)
    ids = [f"{i:05d}" for i in range(len(rates))]
    trials = pd.DataFrame({"trial_id": [*ids, "none"], "learning_rate": [*rates, 0.1]})
    trials["epochs_asked"] = 10
    return complete(trials), pd.concat(epochs), regimes


def by_trial(epochs):
    return epochs


def by_epoch(epochs):
    return epochs.sort_values("epoch", kind="stable")


def last_trial_first(epochs):
    return epochs.iloc[::-1].sort_values("epoch")


@pytest.mark.parametrize("order", [by_trial, by_epoch, last_trial_first])
def test_labels_do_not_depend_on_the_order_of_rows(five_trials, order):
    trials, epochs, regimes = five_trials
    labels = label_trials(trials, order(epochs), MNIST)
    assert labels["curve_regime"].tolist() == [*regimes, "undecided"]
    is_own = labels["regime"] == labels["curve_regime"]
    assert sum(is_own[:-1]) >= 4
    assert labels["regime_evidence"].iloc[-1] == "no epoch finished"


# --- curves that were cut, and odd ones


def calm(accuracies, epochs=10):
    """A curve of a trial that was to train for so many epochs."""
    accuracies = np.array(accuracies, float)
    return Curve(held_out=accuracies, epochs_asked=epochs, train_score=accuracies)


@pytest.mark.parametrize("accuracies", [[1.0, 0.9, 0.9, 0.9], [0.9, 0.9, 1.0, 0.9]])
@pytest.mark.parametrize("epochs", [4, 6])
def test_an_accuracy_of_one_is_no_division_by_zero(accuracies, epochs):
    label = curve_regime(calm(accuracies, epochs))
    assert label.regime in ("oscillating", "undecided")


def test_validation_is_held_out_before_test(epoch_row):
    first = epoch_row(1, validation_accuracy=0.5, validation_loss=0.7)
    second = epoch_row(2, validation_accuracy=0.6)
    curve = curve_of(pd.DataFrame([first, second]), 2)
    assert curve.held_out.tolist() == [0.5, 0.6]
    np.testing.assert_equal(curve.held_out_loss.tolist(), [0.7, math.nan])
    without = epoch_row(1, 0.3, 0.9)
    curve = curve_of(pd.DataFrame([without]), 2)
    assert curve.held_out.tolist() == [0.89]
    assert curve.held_out_loss.tolist() == [0.31]


UNUSUAL = {
    "batch_size": 32,
    "holdout": 100,
    "label_noise": 7,
    "loss": "mse",
    "schedule": "cosine",
}


def test_a_trials_curve_has_its_settings_and_the_facts_of_its_data(epoch_row):
    first = epoch_row(1, guessing_since=3, above_since=2)
    second = epoch_row(2, guessing_since=5, above_since=None)
    epochs = pd.DataFrame([first, second])
    curve = curve_of(epochs, 9, DATA["mnist-5k"], **UNUSUAL)
    config = vars(TrialConfig()) | UNUSUAL
    for name in SETTINGS:
        assert getattr(curve, name) == config[name]
    assert curve.data == DATA["mnist-5k"]
    assert curve.epochs_asked == 9
    assert curve.guessing_since == 5
    assert curve.above_since is None
    assert curve.untrained_loss == 2.4


ACCURACIES = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.96, 1.0])
LOSSES = st.floats(0, 1e3) | st.sampled_from([math.nan, math.inf])
ROWS = st.fixed_dictionaries(
    {
        "train_loss": LOSSES,
        "step_loss_max": LOSSES,
        "train_accuracy": ACCURACIES,
        "test_accuracy": ACCURACIES,
        "diverged": st.booleans(),
        "above_since": st.none() | st.integers(1, 100),
    }
)


@given(st.lists(ROWS, min_size=1, max_size=12), st.integers(0, 4), st.booleans())
def test_any_curve_has_one_regime_with_its_evidence(epochs, missing, train_known):
    planned = len(epochs) + missing
    epochs = pd.DataFrame(epochs).assign(untrained_loss=2.3)
    epochs["above_since"] = epochs["above_since"].astype("Int64")
    accuracies = calm(epochs["test_accuracy"], planned)
    if not train_known:
        epochs = epochs.drop(columns="train_accuracy")
    for curve in (curve_of(epochs, 12), accuracies):
        label = curve_regime(curve)
        assert label.regime in REGIMES
        assert evidence(label).strip()


def test_every_reason_has_a_text():
    assert {*TEXTS} == {*Reason}
