"""Made-up curves, and curves that somebody read, have the labels that a person gives
them, but for a few."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import FURTHER_CURVES, ISSUE_CURVES, MNIST_5K, curve, losses, rise

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.statistics import memorising

CHANCE_90 = DataFacts.of((9_000, 1_000), 2_000, 0.97)

FEW_STEPS = {"asked": 30, "batch_size": 512, "data": MNIST_5K}

FLAT = [0.610, 0.624, 0.622, 0.627, 0.636, 0.632, 0.635, 0.633, 0.636, 0.634]


def noisy_flat(epochs):
    """Level at 0.635 from the fifth epoch on, with the noise of 60,000 images."""
    rest = 0.635 + np.random.default_rng(0).normal(0, 0.002, max(epochs - len(FLAT), 0))
    return [*FLAT, *rest][:epochs]


REPORTED = {
    "the loss never came below the untrained one": (
        curve(
            [0.51, 0.77, 0.60, 0.72, 0.55, 0.70, 0.62, 0.74],
            diverged=[0] * 8,
            above_since=3,
            **losses(
                [27.0, 26, 28, 27, 29, 27, 28, 27],
                [300.0, 150, 140, 160, 150, 145, 150, 140],
                2.65,
            ),
        ),
        {"oscillating"},
    ),
    "Adam at rate 1": (
        curve(
            [0.48, 0.37, 0.42, 0.45, 0.51, 0.57, 0.63, 0.65],
            diverged=[0] * 8,
            data=DataFacts.of([200] * 5, 500, 0.95),
            **losses(
                [9.0, 8, 6, 5, 4.4, 3.8, 3.3, 3], [40.0, 20, 15, 12, 10, 9, 8, 7], 1.7
            ),
        ),
        {"oscillating"},
    ),
    "batch norm that lags": (
        curve(
            [0.27, 0.49, 0.73, 0.65, 0.64],
            **losses([1.38, 1.36, 1.3, 1.27, 1.26], [1.5] * 5, 1.39),
        ),
        {"undecided"},
    ),
    "rate 1e-5, four epochs": (
        curve(
            [0.1200, 0.1206, 0.1213, 0.1219],
            diverged=[0] * 4,
            **losses([2.3420, 2.3393, 2.3367, 2.3340], [2.5] * 4, 2.344),
        ),
        {"slow"},
    ),
    "a decline": (curve(np.linspace(0.90, 0.8775, 10)), {"underfit"}),
    "eight units, a third of the labels wrong": (
        curve(
            [
                0.572,
                0.578,
                0.581,
                0.583,
                0.584,
                0.586,
                0.587,
                0.588,
                0.588,
                0.589,
                0.589,
            ],
            label_noise=24_000,
        ),
        {"underfit"},
    ),
    "the held-out loss rises, the accuracy falls": (
        curve(
            [0.90, 0.95, 0.98, 0.99, 0.995, 1.0, 1.0, 1.0, 1.0, 1.0],
            data=replace(MNIST, test_images=500),
            held_out=[0.70, 0.74, 0.755, 0.75, 0.745, 0.735, 0.73, 0.725, 0.72, 0.715],
            held_out_loss=[0.9, 0.78, 0.73, 0.76, 0.80, 0.85, 0.89, 0.93, 0.96, 0.99],
        ),
        {"overfit"},
    ),
    "about a chance of 0.9": (
        curve([0.905, 0.912, 0.918, 0.9215, 0.916, 0.904], data=CHANCE_90),
        {"undecided"},
    ),
    "full batch, a catapult": (
        curve(
            [0.15, 0.12, 0.11, 0.13, 0.2, 0.3, 0.42, 0.5, 0.55],
            batch_size=60_000,
            diverged=[0] * 9,
            **losses([5.0, 12, 20, 15, 9, 6, 4, 3, 2.2], untrained=2.4),
        ),
        {"oscillating", "undecided"},
    ),
    "one accident in the last epoch": (
        curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 5, 0.94]),
        {"converged"},
    ),
    "the same accident an epoch earlier": (
        curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 4, 0.94, 0.995]),
        {"converged"},
    ),
    "an accident after a slip that nobody sees": (
        curve([0.95, 0.97, 0.98, 0.985, *[0.995] * 3, 0.9905, 0.995, 0.94]),
        {"converged"},
    ),
    "rate 30 on mnist-5k": (
        curve(
            [0.098, 0.11, 0.102, 0.11, 0.098],
            asked=10,
            diverged=[0] * 5,
            above_since=1,
            data=MNIST_5K,
            **losses([190.0, 180, 171, 162, 154], [400.0, 300, 280, 270, 260], 2.43),
        ),
        {"diverged", "undecided"},
    ),
    "a spike of 123, then the loss of a guess for five epochs of a few steps": (
        curve(
            [0.098, 0.1, 0.1015, 0.098, 0.098, 0.1],
            diverged=[0] * 6,
            **FEW_STEPS,
            **losses(
                [2.9, 2.3026, 2.3027, 2.3026, 2.3028, 2.3026],
                [123.0, 2.31, 2.31, 2.31, 2.31, 2.31],
                2.4,
            ),
        ),
        {"diverged"},
    ),
    "dead for 18 epochs of the 20 so far": (
        curve(
            [0.2, 0.12, *[0.1, 0.098, 0.1015] * 6],
            diverged=[0] * 20,
            **FEW_STEPS,
            **losses(
                [2.6, 2.5, *[2.3026, 2.3028, 2.3027] * 6],
                [30.0, 9.0, *[2.31] * 18],
                2.4,
            ),
        ),
        {"diverged"},
    ),
    "spikes in every epoch, and the accuracy of a constant": (
        curve(
            [0.12, *[0.1025] * 6],
            diverged=[0] * 7,
            **FEW_STEPS,
            **losses(
                [9.0, 5.1, 3.4, 6.2, 4.4, 2.9, 5.5], [40.0, 14, 12, 19, 15, 11, 17], 2.4
            ),
        ),
        {"diverged"},
    ),
    "a plateau at chance without a spike": (
        curve(
            [0.51, 0.505, 0.5, 0.51, 0.507, 0.51, 0.508],
            diverged=[0] * 7,
            **FEW_STEPS | {"data": DataFacts.of([2_000, 2_000], 1_000, 0.95)},
            **losses(
                [0.694, 0.6931, 0.6932, 0.693, 0.6931, 0.6931, 0.693], [0.71] * 7, 0.70
            ),
        ),
        {"undecided"},
    ),
    "30 epochs of guessing with losses of 1.9 to 3.4, on 1,000 images": (
        curve(
            [0.5, 0.52, 0.49, 0.539, 0.51, 0.48] * 5,
            diverged=[0] * 30,
            data=DataFacts.of([500, 500], 1_000, 0.95),
            **losses(
                [2.6, 1.9, 3.4, 2.2, 2.9, 3.1] * 5,
                [4.6, 3.9, 5.4, 4.2, 4.9, 5.1] * 5,
                0.69,
            ),
        ),
        {"diverged"},
    ),
    "four epochs in which a straight line is far from the target": (
        curve(
            [0.16, 0.172, 0.185, 0.2],
            diverged=[0] * 4,
            **losses([2.25, 2.22, 2.19, 2.16], [2.4] * 4, 2.34),
        ),
        {"slow"},
    ),
    "five calm epochs at a small rate": (
        curve(rise(0.63, 0.8588, 5) - [0, 0.002, 0, 0.001, 0]),
        {"slow", "undecided"},
    ),
}


CURVES = ISSUE_CURVES | FURTHER_CURVES | REPORTED
MISSES = {
    # 15 drops among the late 100 epochs are not more than a sixth
    "200 epochs, chaos in the last thirty",
    "wild, ending well",  # four calm epochs at the end
    "a hundred classes, at a small rate",  # a law of exponent 0.11 has levelled off
}


@pytest.mark.parametrize("name", CURVES)
def test_the_label_is_that_of_a_person(name):
    found, labels = CURVES[name]
    label = curve_regime(found, found.data.target)
    assert (label.regime in labels) == (name not in MISSES), label


@pytest.mark.parametrize("epochs", [10, 12, 15, 18, 20, 25, 30, 40])
def test_a_level_curve_is_underfit_whatever_was_asked_for(epochs):
    assert curve_regime(curve(noisy_flat(epochs))).regime == "underfit"


def test_a_held_out_loss_that_was_0_is_no_evidence_and_divides_nothing():
    """Its ratio to the last one has no meaning, and the accuracy fell by one image of
    10,000."""
    held_out = np.array([0.7, 0.8, 0.9, 0.9999, *[0.9998] * 6])
    loss = [0.6, 0.3, 0.1, 0.0, *[0.5] * 6]
    curve = Curve(
        held_out,
        10,
        train_accuracy=np.ones(10),
        held_out_loss=np.array(loss),
        train_loss=np.zeros(10),
    )
    assert memorising(replace(curve, held_out_loss=np.array(loss) + 1e-3))
    assert memorising(curve) is None


def test_dead_since_when_it_last_guessed():
    """Its loss has been no better than a guess's since the first step, but its accuracy
    left chance in epoch 2."""
    course = losses([0.7] * 6, [5.0] * 6, 0.69, diverged=[0] * 6, guessing_since=1)
    found = curve(
        [0.53, 0.602, *[0.53] * 4], data=DataFacts.of([531, 469], 500, 0.95), **course
    )
    label = curve_regime(found, 0.95)
    assert label.regime == "diverged"
    assert evidence(label) == "dead since epoch 3: accuracy 0.5300 is that of guessing"


def test_evidence_fits_in_sixty_characters():
    said = [
        evidence(curve_regime(found, found.data.target))
        for found, _ in REPORTED.values()
    ]
    assert max(said, key=len)[60:] == ""
