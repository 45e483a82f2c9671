"""Curves that somebody read, and that the rules once labelled in another way: what a person says of them."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import MNIST_5K, curve, rise

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.statistics import memorising

CHANCE_90 = DataFacts.of((9_000, 1_000), 2_000, 0.97)

FLAT = [0.610, 0.624, 0.622, 0.627, 0.636, 0.632, 0.635, 0.633, 0.636, 0.634]


def noisy_flat(epochs):
    """Level at 0.635 from the fifth epoch on, with the noise of 60,000 images."""
    rest = 0.635 + np.random.default_rng(0).normal(0, 0.002, max(epochs - len(FLAT), 0))
    return [*FLAT, *rest][:epochs]


REPORTED = {
    "the loss never came below the untrained one": (
        curve(
            [0.51, 0.77, 0.60, 0.72, 0.55, 0.70, 0.62, 0.74],
            train_loss=[27.0, 26, 28, 27, 29, 27, 28, 27],
            step_loss_max=[300.0, 150, 140, 160, 150, 145, 150, 140],
            untrained_loss=2.65,
            diverged=[0] * 8,
            above_since=3,
        ),
        {"oscillating"},
    ),
    "Adam at rate 1": (
        curve(
            [0.48, 0.37, 0.42, 0.45, 0.51, 0.57, 0.63, 0.65],
            train_loss=[9.0, 8, 6, 5, 4.4, 3.8, 3.3, 3],
            untrained_loss=1.7,
            step_loss_max=[40.0, 20, 15, 12, 10, 9, 8, 7],
            diverged=[0] * 8,
            data=DataFacts.of([200] * 5, 500, 0.95),
        ),
        {"oscillating"},
    ),
    "rate 1e-5, four epochs": (
        curve(
            [0.1200, 0.1206, 0.1213, 0.1219],
            train_loss=[2.3420, 2.3393, 2.3367, 2.3340],
            untrained_loss=2.344,
            step_loss_max=[2.5] * 4,
            diverged=[0] * 4,
        ),
        {"slow"},
    ),
    "a decline": (curve(np.linspace(0.90, 0.8775, 10)), {"underfit"}),
    "eight units, a third of the labels wrong": (
        curve([0.572, 0.578, 0.581, 0.583, 0.584, 0.586, 0.587, 0.588, 0.588, 0.589, 0.589], label_noise=24_000),
        {"underfit"},
    ),
    "the held-out loss rises, the accuracy falls": (
        curve(
            [0.90, 0.95, 0.98, 0.99, 0.995, 1.0, 1.0, 1.0, 1.0, 1.0],
            held_out=[0.70, 0.74, 0.755, 0.75, 0.745, 0.735, 0.73, 0.725, 0.72, 0.715],
            held_out_loss=[0.9, 0.78, 0.73, 0.76, 0.80, 0.85, 0.89, 0.93, 0.96, 0.99],
            data=replace(MNIST, test_images=500),
        ),
        {"overfit"},
    ),
    "about a chance of 0.9": (curve([0.905, 0.912, 0.918, 0.9215, 0.916, 0.904], data=CHANCE_90), {"undecided"}),
    "full batch, a catapult": (
        curve(
            [0.15, 0.12, 0.11, 0.13, 0.2, 0.3, 0.42, 0.5, 0.55],
            train_loss=[5.0, 12, 20, 15, 9, 6, 4, 3, 2.2],
            untrained_loss=2.4,
            batch_size=60_000,
            diverged=[0] * 9,
        ),
        {"oscillating", "undecided"},
    ),
    "one accident in the last epoch": (curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 5, 0.94]), {"converged"}),
    "the same accident an epoch earlier": (curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 4, 0.94, 0.995]), {"converged"}),
    "an accident after a slip that nobody sees": (
        curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 3, 0.9905, 0.995, 0.94]),
        {"converged"},
    ),
    "rate 30 on mnist-5k": (
        curve(
            [0.098, 0.11, 0.102, 0.11, 0.098],
            asked=10,
            train_loss=[190.0, 180, 171, 162, 154],
            untrained_loss=2.43,
            step_loss_max=[400.0, 300, 280, 270, 260],
            diverged=[0] * 5,
            above_since=1,
            data=MNIST_5K,
        ),
        {"diverged", "undecided"},
    ),
    "five calm epochs at a small rate": (curve(rise(0.63, 0.8588, 5) - [0, 0.002, 0, 0.001, 0]), {"slow", "undecided"}),
}


@pytest.mark.parametrize("name", REPORTED)
def test_the_label_is_that_of_a_person(name):
    found, labels = REPORTED[name]
    label, evidence = curve_regime(found, found.data.target)
    assert label in labels, evidence


@pytest.mark.parametrize("epochs", [10, 12, 15, 18, 20, 25, 30, 40])
def test_a_level_curve_is_underfit_whatever_was_asked_for(epochs):
    assert curve_regime(curve(noisy_flat(epochs)))[0] == "underfit"


def test_a_held_out_loss_that_was_0_is_no_evidence_and_divides_nothing():
    """Its ratio to the last one has no meaning, and the accuracy fell by one image of 10,000."""
    held_out = np.array([0.7, 0.8, 0.9, 0.9999, *[0.9998] * 6])
    loss = [0.6, 0.3, 0.1, 0.0, *[0.5] * 6]
    curve = Curve(held_out, 10, train_accuracy=np.ones(10), held_out_loss=np.array(loss), train_loss=np.zeros(10))
    assert memorising(replace(curve, held_out_loss=np.array(loss) + 1e-3))
    assert memorising(curve) == ""


def test_evidence_fits_in_sixty_characters():
    said = [curve_regime(found, found.data.target)[1] for found, _ in REPORTED.values()]
    assert max(said, key=len)[60:] == ""
