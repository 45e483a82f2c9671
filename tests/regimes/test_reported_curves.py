"""Made-up curves, and curves that somebody read, have the labels that a person gives
them, but for a few."""

from dataclasses import replace

import numpy as np
import pytest
from curve_texts import read_curves
from made_up_curves import FURTHER_CURVES, ISSUE_CURVES, MNIST_5K, curve, losses, rise
from text_tables import numbers

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.statistics import memorising

DATA_SETS = {
    "mnist-5k": MNIST_5K,
    "500 test images": replace(MNIST, test_images=500),
    "a chance of 0.9": DataFacts.of((9_000, 1_000), 2_000, 0.97),
    "five classes": DataFacts.of([200] * 5, 500, 0.95),
    "two classes": DataFacts.of([2_000, 2_000], 1_000, 0.95),
    "1,000 images": DataFacts.of([500, 500], 1_000, 0.95),
}

REPORTED_TEXT = """
the loss never came below the untrained one
    labels          oscillating
    accuracy        0.51 0.77 0.60 0.72 0.55 0.70 0.62 0.74
    train_loss      27 26 28 27 29 27 28 27
    step_loss_max   300 150 140 160 150 145 150 140
    untrained_loss  2.65
    diverged        0*8
    above_since     3

Adam at rate 1
    labels          oscillating
    accuracy        0.48 0.37 0.42 0.45 0.51 0.57 0.63 0.65
    train_loss      9 8 6 5 4.4 3.8 3.3 3
    step_loss_max   40 20 15 12 10 9 8 7
    untrained_loss  1.7
    diverged        0*8
    data            five classes

batch norm that lags
    labels          undecided
    accuracy        0.27 0.49 0.73 0.65 0.64
    train_loss      1.38 1.36 1.3 1.27 1.26
    step_loss_max   1.5*5
    untrained_loss  1.39

batch norm that lags, so that an evaluated loss rises
    labels          undecided or converged
    accuracy        0.756 0.653 0.860 0.849 0.808 0.932 0.988 0.985 0.974 0.980 0.867 0.997
    train_loss      1.021 2.652 0.832 0.748 0.943 0.291 0.031 0.033 0.092 0.060 0.454 0.009
    step_loss_max   2.019 0.218 0.178 0.147 0.094 0.070 0.052 0.029 0.021 0.076 0.090 0.059
    untrained_loss  2.38

rate 1e-5, four epochs
    labels          slow
    accuracy        0.1200 0.1206 0.1213 0.1219
    train_loss      2.3420 2.3393 2.3367 2.3340
    step_loss_max   2.5*4
    untrained_loss  2.344
    diverged        0*4

eight units, a third of the labels wrong
    labels          underfit
    accuracy        0.572 0.578 0.581 0.583 0.584 0.586 0.587 0.588 0.588 0.589 0.589
    label_noise     24_000

the held-out loss rises, the accuracy falls
    labels          overfit
    accuracy        0.90 0.95 0.98 0.99 0.995 1.0*5
    held_out        0.70 0.74 0.755 0.75 0.745 0.735 0.73 0.725 0.72 0.715
    held_out_loss   0.9 0.78 0.73 0.76 0.80 0.85 0.89 0.93 0.96 0.99
    data            500 test images

about a chance of 0.9
    labels          undecided
    accuracy        0.905 0.912 0.918 0.9215 0.916 0.904
    data            a chance of 0.9

full batch, a catapult
    labels          oscillating or undecided
    accuracy        0.15 0.12 0.11 0.13 0.2 0.3 0.42 0.5 0.55
    train_loss      5 12 20 15 9 6 4 3 2.2
    untrained_loss  2.4
    diverged        0*9
    batch_size      60_000

one accident in the last epoch
    labels          converged
    accuracy        0.95 0.97 0.98 0.985 0.995*5 0.94

the same accident an epoch earlier
    labels          converged
    accuracy        0.95 0.97 0.98 0.985 0.995*4 0.94 0.995

an accident after a slip that nobody sees
    labels          converged
    accuracy        0.95 0.97 0.98 0.985 0.995*3 0.9905 0.995 0.94

rate 30 on mnist-5k
    labels          diverged or undecided
    accuracy        0.098 0.11 0.102 0.11 0.098
    train_loss      190 180 171 162 154
    step_loss_max   400 300 280 270 260
    untrained_loss  2.43
    diverged        0*5
    above_since     1
    asked           10
    data            mnist-5k

a spike of 123, then the loss of a guess for five epochs of a few steps
    labels          diverged
    accuracy        0.098 0.1 0.1015 0.098 0.098 0.1
    train_loss      2.9 2.3026 2.3027 2.3026 2.3028 2.3026
    step_loss_max   123 2.31*5
    untrained_loss  2.4
    diverged        0*6
    asked           30
    batch_size      512
    data            mnist-5k

dead for 18 epochs of the 20 so far
    labels          diverged
    accuracy        0.2 0.12; 6 times 0.1 0.098 0.1015
    train_loss      2.6 2.5; 6 times 2.3026 2.3028 2.3027
    step_loss_max   30 9 2.31*18
    untrained_loss  2.4
    diverged        0*20
    asked           30
    batch_size      512
    data            mnist-5k

spikes in every epoch, and the accuracy of a constant
    labels          diverged
    accuracy        0.12 0.1025*6
    train_loss      9 5.1 3.4 6.2 4.4 2.9 5.5
    step_loss_max   40 14 12 19 15 11 17
    untrained_loss  2.4
    diverged        0*7
    asked           30
    batch_size      512
    data            mnist-5k

a plateau at chance without a spike
    labels          undecided
    accuracy        0.51 0.505 0.5 0.51 0.507 0.51 0.508
    train_loss      0.694 0.6931 0.6932 0.693 0.6931 0.6931 0.693
    step_loss_max   0.71*7
    untrained_loss  0.70
    diverged        0*7
    asked           30
    batch_size      512
    data            two classes

30 epochs of guessing with losses of 1.9 to 3.4, on 1,000 images
    labels          diverged
    accuracy        5 times 0.5 0.52 0.49 0.539 0.51 0.48
    train_loss      5 times 2.6 1.9 3.4 2.2 2.9 3.1
    step_loss_max   5 times 4.6 3.9 5.4 4.2 4.9 5.1
    untrained_loss  0.69
    diverged        0*30
    data            1,000 images

four epochs in which a straight line is far from the target
    labels          slow
    accuracy        0.16 0.172 0.185 0.2
    train_loss      2.25 2.22 2.19 2.16
    step_loss_max   2.4*4
    untrained_loss  2.34
    diverged        0*4
"""

REPORTED = read_curves(REPORTED_TEXT, DATA_SETS)
DECLINE = np.linspace(0.90, 0.8775, 10)
REPORTED["a decline"] = (curve(DECLINE), {"underfit"})
FIVE_CALM = rise(0.63, 0.8588, 5) - [0, 0.002, 0, 0.001, 0]
REPORTED["five calm epochs at a small rate"] = (curve(FIVE_CALM), {"slow", "undecided"})

CURVES = ISSUE_CURVES | FURTHER_CURVES | REPORTED
MISSES = {
    # 15 drops among the late 100 epochs are not more than a sixth
    "200 epochs, chaos in the last thirty",
    "wild, ending well",  # four calm epochs at the end
    "a hundred classes, at a small rate",  # a law of exponent 0.11 has levelled off
}


@pytest.mark.parametrize("name", CURVES)
def test_the_label_is_that_of_a_person(name):
    trial, labels = CURVES[name]
    label = curve_regime(trial, trial.data.target)
    is_right = label.regime in labels
    assert is_right == (name not in MISSES), label


def test_falls_oscillate_where_the_next_steps_begin_at_the_evaluated_loss():
    lagging, _ = REPORTED["batch norm that lags, so that an evaluated loss rises"]
    evaluated = lagging.train_loss
    largest = np.concatenate([[2.4], evaluated[:-1]])
    confirmed = replace(lagging, step_loss_max=largest)
    assert curve_regime(confirmed).regime == "oscillating"
    own_steps = replace(lagging.data, own_steps=True)
    assert curve_regime(replace(lagging, data=own_steps)).regime == "oscillating"
    unknown = replace(lagging, step_loss_max=None)
    assert curve_regime(unknown).regime == "oscillating"


FLAT = numbers("0.610 0.624 0.622 0.627 0.636 0.632 0.635 0.633 0.636 0.634")


def noisy_flat(epochs):
    """Level at 0.635 from the fifth epoch on, with the noise of 60,000 images."""
    rng = np.random.default_rng(0)
    missing = max(epochs - len(FLAT), 0)
    rest = 0.635 + rng.normal(0, 0.002, missing)
    return [*FLAT, *rest][:epochs]


@pytest.mark.parametrize("epochs", [10, 12, 15, 18, 20, 25, 30, 40])
def test_a_level_curve_is_underfit_whatever_was_asked_for(epochs):
    trial = curve(noisy_flat(epochs))
    assert curve_regime(trial).regime == "underfit"


def test_a_held_out_loss_that_was_0_is_no_evidence_and_divides_nothing():
    """Its ratio to the last one has no meaning, and the accuracy fell by one image of
    10,000."""
    held_out = np.array(numbers("0.7 0.8 0.9 0.9999 0.9998*6"))
    loss = np.array(numbers("0.6 0.3 0.1 0.0 0.5*6"))
    train = {"train_score": np.ones(10), "train_loss": np.zeros(10)}
    trial = Curve(held_out, 10, held_out_loss=loss, **train)
    assert memorising(replace(trial, held_out_loss=loss + 1e-3))
    assert memorising(trial) is None


def test_dead_since_when_it_last_guessed():
    """Its loss has been no better than a guess's since the first step, but its accuracy
    left chance in epoch 2."""
    measured = losses([0.7] * 6, [5.0] * 6, 0.69, diverged=[0] * 6, guessing_since=1)
    data = DataFacts.of([531, 469], 500, 0.95)
    trial = curve(numbers("0.53 0.602 0.53*4"), data=data, **measured)
    label = curve_regime(trial, 0.95)
    assert label.regime == "diverged"
    assert evidence(label) == "dead since epoch 3: accuracy 0.5300 is that of guessing"


def test_evidence_fits_in_sixty_characters():
    labels = [curve_regime(trial, trial.data.target) for trial, _ in REPORTED.values()]
    longest = max(map(evidence, labels), key=len)
    assert longest[60:] == ""
