"""What a curve that is cut may be labelled: what it shows so far, or undecided, never
what later epochs will refute."""

import numpy as np
import pandas as pd
import pytest
from made_up_curves import FURTHER_CURVES, ISSUE_CURVES, cut
from real_curves import SWEEPS, data_of, labelled

from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.limits import VISIBLE
from validation.notebook import TABLES


def notebook_curves():
    for name, table in pd.read_csv(TABLES).groupby("section"):
        train = table["train_accuracy"].to_numpy()
        if np.isnan(train).all():
            train = None
        yield name, Curve(table["test_accuracy"].to_numpy(), len(table), train)


def real_curves():
    for name, (trials, epochs) in SWEEPS.items():
        curves = curves_of(trials, epochs, data_of(trials))
        for row, curve in zip(trials.itertuples(), curves, strict=True):
            yield f"{name} {row.learning_rate:g} {row.seed}", curve


def made_up_curves():
    for name, (curve, _) in (ISSUE_CURVES | FURTHER_CURVES).items():
        yield name, curve


EVERY_CURVE = {
    **dict(made_up_curves()),
    **dict(notebook_curves()),
    **dict(real_curves()),
}


def regime(curve):
    return curve_regime(curve, curve.data.target).regime


def came_later(curve, epochs, label, whole):
    """Whether what refutes the label of a cut is in the epochs after it."""
    if label == "converged" and whole in ("diverged", "oscillating"):
        fell = curve.falls[epochs - 1 :] > VISIBLE
        spiked = curve.spikes()[epochs:]
        return fell.any() or spiked.any()
    if label in ("converged", "slow") and whole == "overfit":
        before, after = np.split(curve.held_out, [epochs])
        return after.min() < before.max()
    return (label, whole) == ("oscillating", "converged")  # it was calm since


@pytest.mark.parametrize("name", EVERY_CURVE)
def test_a_cut_curve_has_its_label_or_none_but_for_what_came_later(name):
    curve = EVERY_CURVE[name]
    whole = regime(curve)
    for epochs in range(1, curve.epochs):
        label = curve_regime(cut(curve, epochs), curve.data.target)
        is_open = "undecided" in (label.regime, whole)
        if not is_open and label.regime != whole:
            assert came_later(curve, epochs, label.regime, whole), (epochs, label)


MOST_UNDECIDED = {
    "slow": 0.98,
    "diverged": 0.6,
    "oscillating": 0.36,
    "converged": 0.18,
    "overfit": 0.6,
}
"""The share of cuts, by the label of the whole curve. What is at chance may come back
for 1,000 steps."""


@pytest.mark.parametrize("label", MOST_UNDECIDED)
def test_a_cut_curve_is_not_undecided_more_often_than_it_was(label):
    labels = []
    for curve in EVERY_CURVE.values():
        if regime(curve) == label:
            lengths = range(1, curve.epochs)
            labels += [regime(cut(curve, epochs)) for epochs in lengths]
    assert labels.count("undecided") <= MOST_UNDECIDED[label] * len(labels)


SO_FAR = {
    ("slow", "converged"),
    ("oscillating", "converged"),
    ("overfit", "oscillating"),
}
"""Labels of a cut sweep and of the whole one: far behind its siblings, or wild, it came
there after all; or what memorising had cost came back."""


@pytest.mark.parametrize("name", SWEEPS)
def test_a_cut_sweep_has_the_labels_of_the_whole_one_or_none(name):
    trials, epochs = SWEEPS[name]
    whole = labelled(trials, epochs)["regime"]
    for last in range(1, epochs["epoch"].max()):
        first_epochs = epochs[epochs["epoch"] <= last]
        labels = labelled(trials, first_epochs)["regime"]
        changed = set()
        for label, later in zip(labels, whole, strict=True):
            if label != later and "undecided" not in (label, later):
                changed.add((label, later))
        assert changed <= SO_FAR, last
