"""What the trials of a sweep say of each other, and where the rules of one curve
turn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import AT_CHANCE, FAST, curve, level, losses, rise, sweep

from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.reasons import Reason

CLIMB = list(rise(0.58, 0.86, 10))
WAY = list(rise(0.80, 0.94, 10))
LATE = [0.80, 0.88, 0.91, 0.93, 0.935, 0.94, 0.943, 0.944, 0.948, 0.956]
LOST = [0.80, 0.88, 0.91, 0.93, 0.935, 0.94, 0.953, 0.944, 0.946, 0.949]
GUESSING = losses([2.301] * 10)
SLOWER = list(rise(0.50, 0.80, 10))
NO_TARGET = replace(MNIST, target=None)
RARE = DataFacts.of([9_700, 300], 2_000)
NO_GUESS = replace(RARE, guess_losses={})


TO_AND_FRO = [0.5, 0.6, 0.65, 0.641, 0.70, 0.74, 0.731, 0.76, 0.759, 0.80]
TWO_FALLS = [0.5, 0.6, 0.588, 0.65, 0.7, 0.72, 0.708, 0.76, 0.77, 0.80]
ONE_FALL = [0.5, 0.6, 0.65, 0.7, 0.72, 0.74, 0.731, 0.76, 0.77, 0.80]
CUT = [0.5, 0.7, 0.8, 0.84, 0.86]
FALLING = losses(np.linspace(3.5, 2.6, 10), untrained=3.6)
STILL = losses([0.1347] * 10, untrained=0.7)
LEARNED_RARE = [0.97, *[0.985] * 9]
FALLING_RARE = losses(np.geomspace(0.13, 0.08, 10), untrained=0.7)
NOT_FINITE = losses([2.3, *[math.nan] * 9], untrained=2.4, diverged=[0, *[1] * 9])


def scene(labels, *trials, **values):
    return labels.split(), trials, values


SCENES = {
    "a faster one is better": scene(
        "slow converged", (0.1, level(0.80)), (1.0, level(0.97))
    ),
    "another seed at the rate says nothing": scene(
        "underfit converged", (0.1, level(0.80)), (0.1, level(0.97)), seed=[0, 1]
    ),
    "rates that are equal but for rounding are equal": scene(
        "underfit converged",
        (1.0, level(0.80)),
        (0.1, level(0.97)),
        momentum=[0.0, 0.9],
    ),
    "rates of different batches are compared by image": scene(
        "undecided converged",
        (0.5, level(0.80)),
        (1.0, level(0.97)),
        batch_size=[8, 128],
    ),
    "a slower one is better: what goes to and fro oscillates": scene(
        "oscillating oscillating undecided undecided converged",
        (0.1, TO_AND_FRO),
        (0.15, TWO_FALLS),
        (0.2, ONE_FALL),
        (0.5, level(0.80)),
        (0.01, level(0.96)),
    ),
    "of four epochs one fall is not often": scene(
        "undecided undecided",
        (0.1, [0.5, 0.6, 0.58, 0.7]),
        (0.01, [0.8, 0.85, 0.88, 0.9]),
    ),
    "better by what nobody sees": scene(
        "underfit underfit", (0.1, level(0.80)), (1.0, level(0.812))
    ),
    "better by what is seen": scene(
        "slow underfit", (0.1, level(0.80)), (1.0, level(0.82))
    ),
    "at the target less counts as better": scene(
        "slow converged", (0.1, level(0.94)), (1.0, level(0.952))
    ),
    "what diverged is no measure": scene(
        "underfit diverged", (0.1, level(0.80)), (1.0, level(0.97)[:5] + [0.1] * 5)
    ),
    "what memorised is no measure": scene(
        "underfit overfit",
        (0.1, level(0.80)),
        (1.0, level(0.97), {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.9] * 6]}),
    ),
    "at chance: dead above the least rate that learned": scene(
        "slow slow diverged diverged converged converged",
        *((rate, AT_CHANCE, GUESSING) for rate in (0.001, 0.01, 0.03, 1.0)),
        (0.01, FAST),
        (0.1, FAST),
    ),
    "at chance, not finite": scene(
        "diverged diverged converged",
        (0.001, AT_CHANCE, NOT_FINITE),
        (0.05, AT_CHANCE, NOT_FINITE),
        (0.01, FAST),
    ),
    "after one epoch": scene("slow converged", (0.1, level(0.80)), (0.4, [0.97])),
    "after two epochs": scene(
        "converged undecided", (0.1, FAST), (2.0, level(0.80)[:2]), asked=10
    ),
    "stopped as slow, then asked for more": scene(
        "slow converged",
        (0.1, [0.3] * 5),
        (1.0, FAST),
        asked=40,
        stop_reason=["slow", "completed"],
        data=NO_TARGET,
    ),
    "of two classes, accuracy jumps where the loss stays": scene(
        "underfit",
        (0.1, [0.66, *[0.5] * 9], losses([0.6931] * 10, untrained=0.6932)),
        data=DataFacts.of([999] * 2, 99),
    ),
    "none learned": scene(
        "underfit underfit", (0.001, AT_CHANCE, GUESSING), (0.1, AT_CHANCE, GUESSING)
    ),
    "a loss that falls is not dead": scene(
        "slow converged converged",
        (0.05, AT_CHANCE, FALLING),
        (0.01, FAST),
        (0.1, FAST),
    ),
    "a few steps at chance are not the end": scene(
        "undecided converged",
        (0.1, AT_CHANCE[:6], losses([2.5] * 6)),
        (0.01, FAST),
        asked=60,
        batch_size=[60_000] * 2,
    ),
    "many are": scene(
        "diverged converged",
        (0.1, AT_CHANCE[:6], losses([2.5] * 6)),
        (0.01, FAST),
        asked=60,
    ),
    "where one class is frequent the loss decides": scene(
        "undecided converged diverged",
        (0.03, [0.97] * 10, FALLING_RARE),
        (0.01, LEARNED_RARE, FALLING_RARE),
        (0.1, [0.97] * 10, STILL),
        data=RARE,
    ),
    "so it does where the loss of a guess is not said": scene(
        "undecided converged diverged",
        (0.03, [0.97] * 10, FALLING_RARE),
        (0.01, LEARNED_RARE, FALLING_RARE),
        (0.1, [0.97] * 10, STILL),
        data=NO_GUESS,
    ),
    "cut, of 6": scene("slow converged", (0.1, CUT), (1.0, level(0.97)), asked=6),
    "cut, of 10": scene(
        "undecided converged", (0.1, CUT), (1.0, level(0.97)), asked=10
    ),
    "ahead after as many epochs": scene(
        "undecided undecided slow",
        (1.0, [0.6, 0.8, 0.8918]),
        (0.3, [0.86, 0.8748, 0.881]),
        (0.1, [0.8, 0.84, 0.87]),
    ),
    "diverged below the least rate that learned, not at chance": scene(
        "slow converged",
        (0.001, [0.3] * 3, losses([500.0] * 3, untrained=2.4, diverged=[0, 1, 1])),
        (0.01, FAST),
        asked=10,
    ),
    "cut, hardly slower": scene(
        "undecided undecided",
        (0.1, CUT),
        (1.0, [0.51, 0.71, 0.81, 0.85, 0.87]),
        asked=6,
    ),
    "cut, shaken": scene(
        "undecided converged",
        (0.1, [0.3, 0.42, 0.49, 0.44, 0.57]),
        (1.0, level(0.97)),
        asked=10,
    ),
    "cut after two": scene(
        "undecided converged", (0.1, [0.3, 0.42]), (1.0, level(0.97)), asked=10
    ),
    "cut, without a target": scene(
        "slow converged", (0.1, CUT), (1.0, level(0.97)), asked=6, data=NO_TARGET
    ),
    "three times the epochs": scene(
        "slow undecided converged converged",
        (0.1, WAY),
        (0.2, list(rise(0.8, 0.951, 10))),
        (1.0, FAST),
        (2.0, level(0.96)),
    ),
    "not three times": scene(
        "undecided undecided", (0.1, WAY), (1.0, list(rise(0.8, 0.951, 10)))
    ),
    "what is at the target is never slow": scene(
        "undecided converged",
        (0.1, [0.90, 0.91, 0.92, 0.93, *[0.94] * 3, 0.948, 0.947, 0.95]),
        (1.0, [0.99] * 10),
    ),
    "after a schedule that ends at 0 more epochs tell nothing": scene(
        "underfit", (0.1, CLIMB), schedule=["cosine"]
    ),
    "nor does the best": scene(
        "slow converged",
        (0.1, list(rise(0.2, 0.5, 10))),
        (1.0, [0.3, 0.35, 0.4, 0.45, 0.5, 0.56, 0.62, 0.68, 0.72, 0.74]),
        schedule=["cosine"] * 2,
        data=NO_TARGET,
    ),
    "the target is that of the best": scene(
        "slow converged", (0.1, level(0.90)), (1.0, level(0.93)), data=NO_TARGET
    ),
    "the target is not that of one that memorised": scene(
        "converged overfit",
        (0.1, level(0.90)),
        (1.0, level(0.99), {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.93] * 6]}),
        data=NO_TARGET,
    ),
    "the target is that on held-out images": scene(
        "converged converged",
        (0.1, level(0.90)),
        (1.0, level(0.99), {"test_accuracy": level(0.85)}),
        data=NO_TARGET,
    ),
    "the target is not that of one that runs": scene(
        "converged converged",
        (0.1, level(0.90)),
        (1.0, FAST[:4]),
        asked=10,
        data=NO_TARGET,
    ),
    "the target before one has ended": scene(
        "undecided converged",
        (0.1, level(0.90)[:5]),
        (1.0, FAST[:4]),
        asked=10,
        data=NO_TARGET,
    ),
    "none has learned": scene("underfit", (0.1, [0.2] * 5), data=NO_TARGET),
    "the target of few images is below the best by its noise, at most by half of what it learned": scene(
        "converged undecided",
        (0.1, [0.97, 0.98, *[0.99] * 3]),
        (0.2, [0.975] * 5),
        data=DataFacts.of([97, 3], 50),
    ),
    "another data set": scene("converged", (0.1, level(0.93)), data=DATA["mnist-5k"]),
}


@pytest.mark.parametrize("title", SCENES)
def test_the_trials_of_a_sweep_have_these_labels(title):
    labels, trials, values = SCENES[title]
    found = sweep(*trials, **values)
    assert found["regime"].tolist() == labels
    assert not found["regime_evidence"].str.contains(r"\b1 epochs").any()


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [
        ("architecture", ["mlp-16-tanh", "mlp-32-tanh"], "underfit"),
        ("label_noise", [0, 100], "underfit"),
        ("optimizer", ["sgd", "adam"], "underfit"),
        ("schedule", ["constant", "warm-up"], "underfit"),
        ("loss", ["cross-entropy", "mse"], "underfit"),
        ("drop_last", [False, True], "underfit"),
        ("weight_decay", [0.0, 0.1], "slow"),
        ("momentum", [0.0, 0.9], "slow"),
        ("nesterov", [True, False], "slow"),
    ],
)
def test_a_trial_of_another_task_says_nothing_and_one_of_another_step_does(
    name, values, label
):
    found = sweep((0.1, level(0.80)), (1.0, level(0.97)), **{name: values})
    assert found["regime"].tolist()[0] == label


def dipped(epochs, at, depth, top):
    accuracy = np.full(epochs, top)
    accuracy[[*at]] -= depth
    return accuracy


@pytest.mark.parametrize(
    ("label", "epochs", "dips", "depth", "top"),
    [
        ("converged", 5, (1,), 0.03, 0.98),
        ("oscillating", 5, (1, 3), 0.03, 0.98),
        ("converged", 13, (2, 9), 0.03, 0.98),  # too long ago to tell of the end
        ("oscillating", 13, (8, 10), 0.03, 0.98),
        ("converged", 37, (20, 28, 33), 0.03, 0.98),
        ("oscillating", 37, (20, 25, 28, 33), 0.03, 0.98),
        # small, and always above the target
        ("converged", 13, (2, 4, 6, 8), 0.007, 0.98),
        ("oscillating", 13, (2, 4, 6, 8), 0.007, 0.94),
        ("underfit", 13, (2, 4, 6), 0.007, 0.94),
        ("underfit", 13, (2, 4, 6, 8), 0.004, 0.94),  # noise
        ("converged", 7, (6,), 0.03, 0.97),  # one accident, in the last epoch
    ],
)
def test_falls_are_oscillation_if_they_are_visible_often_and_late(
    label, epochs, dips, depth, top
):
    assert curve_regime(curve(dipped(epochs, dips, depth, top))).regime == label


@pytest.mark.parametrize(
    ("label", "accuracy"),
    [
        ("undecided", [0.951]),
        ("converged", [0.953]),
        ("undecided", [0.951, 0.9505]),
        ("converged", [0.949, 0.9501, 0.9505]),
        ("undecided", [0.94, 0.945, 0.9501]),
        ("oscillating", [0.96, 0.955, 0.949]),
        ("converged", [0.97, 0.98, 0.96, 0.952, 0.951]),
        ("converged", [0.94, 0.96, 0.949, 0.951, 0.952]),
        ("undecided", [0.5, 0.9, 0.93, 0.938, 0.945, 0.95]),
        ("undecided", [0.5, 0.9, 0.955, 0.94, 0.945, 0.944]),
    ],
)
def test_who_is_at_the_target_steadily_has_converged(label, accuracy):
    assert curve_regime(curve(accuracy, asked=9)).regime == label


@pytest.mark.parametrize(
    ("label", "epochs", "asked"),
    [
        ("diverged", 1, 2),
        ("diverged", 2, 3),
        ("undecided", 9, 20),
        ("diverged", 10, 20),
    ],
)
def test_back_at_chance_for_a_thousand_windows_or_at_the_end_is_diverged(
    label, epochs, asked
):
    """A hundred windows an epoch."""
    found = curve(
        [0.5, *[0.1] * epochs],
        asked=asked,
        data=DataFacts.of([1_280] * 10, 1_000, 0.95),
    )
    assert curve_regime(found).regime == label


@pytest.mark.parametrize(
    ("label", "loss", "accuracy", "asked"),
    [
        ("diverged", math.inf, 0.3, 9),
        ("diverged", math.nan, 0.3, 9),
        ("diverged", 2.6, 0.1, 3),
        ("undecided", 2.6, 0.1, 9),  # it may come back
        ("undecided", 2.6, 0.3, 3),
    ],
)
def test_a_loss_above_the_untrained_one_at_chance_is_diverged_at_the_end(
    label, loss, accuracy, asked
):
    found = curve(
        [0.3, 0.4, accuracy],
        asked=asked,
        train_loss=[2.0, 2.0, loss],
        untrained_loss=2.4,
        above_since=7,
    )
    flags = None if asked == 3 else np.array([0, 0, not math.isfinite(loss)])
    assert curve_regime(replace(found, diverged=flags)).regime == label


def test_a_loss_above_the_untrained_one_says_why_training_was_not_stopped():
    """Ten epochs of 40 steps are fewer than the 1,000 that the rule asks for."""
    few = replace(MNIST, train_images=5_120)
    found = curve(
        [0.1] * 10,
        train_loss=[2.6] * 10,
        untrained_loss=2.4,
        above_since=1,
        diverged=[0] * 10,
        data=few,
    )
    said = "training loss 2.6 (untrained 2.4), above it since step 1"
    assert (
        evidence(curve_regime(found))
        == f"{said}; not stopped, as that takes 1,000 steps"
    )
    assert (
        evidence(curve_regime(replace(found, diverged=np.array([0] * 9 + [1])))) == said
    )
    assert evidence(curve_regime(replace(found, data=MNIST))) == said


HELD_OUT = [0.96, 0.97, 0.975, 0.975, 0.97, 0.966, 0.963, 0.96]
HARDLY = [0.96, 0.97, 0.975, 0.975, 0.9745, 0.974, 0.9735, 0.973]
TRAINED = [0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999, 1.0]


@pytest.mark.parametrize(
    ("label", "trained", "held_out", "values"),
    [
        ("overfit", TRAINED, HELD_OUT, {}),
        ("converged", [0.9, 0.95, 0.99], [0.9, 0.91, 0.88], {}),  # too few to tell
        ("converged", [*TRAINED[:7], 0.95], HELD_OUT, {}),  # training got worse, too
        (
            "converged",
            TRAINED,
            HELD_OUT,
            {"train_loss": [0.2, 0.1, 0.05, 0.1, 0.2, 0.3, 0.3, 0.3]},
        ),
        (
            "overfit",
            TRAINED,
            HARDLY,
            {"held_out_loss": [0.2, 0.1, 0.08, 0.09, 0.11, 0.14, 0.17, 0.2]},
        ),
        (
            "converged",
            TRAINED,
            HARDLY,
            {"held_out_loss": [0.2, 0.1, 0.08, 0.079, 0.078, 0.077, 0.076, 0.075]},
        ),
        ("overfit", [0.3, 0.6, 0.9], [0.1, 0.11, 0.1], {}),
        ("slow", [0.2, 0.25, 0.3], [0.1, 0.11, 0.1], {}),
    ],
)
def test_memorised_is_what_got_worse_held_out_alone(label, trained, held_out, values):
    assert curve_regime(curve(trained, held_out=held_out, **values)).regime == label


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("underfit", curve(0.84 - 0.16 * 0.45 ** np.arange(10))),
        ("undecided", curve(0.84 - 0.16 * 0.45 ** np.arange(10), asked=30)),
        ("slow", curve(CLIMB)),
        ("undecided", curve(CLIMB, asked=30)),
        ("undecided", curve(WAY)),
        ("underfit", curve(CLIMB, schedule="linear")),
        ("undecided", curve(CLIMB, asked=30, schedule="cosine")),
        ("undecided", curve(LATE)),
        ("converged", curve(LATE, schedule="cosine")),
        ("undecided", curve(LOST)),
        ("underfit", curve(LOST, schedule="cosine")),
        ("underfit", curve(list(0.53 - 0.1 / np.arange(1, 11)), label_noise=30_000)),
        (
            "underfit",
            curve([0.88, 0.89, 0.90, 0.898, 0.895, 0.893, 0.891, 0.889, 0.887, 0.886]),
        ),
        (
            "undecided",
            curve([0.85, 0.86, 0.87, 0.88, 0.89, 0.895, 0.899, 0.90, 0.894, 0.888]),
        ),
    ],
)
def test_level_climbing_or_on_its_way(label, found):
    shown = curve_regime(found)
    assert shown.regime == label
    assert (shown.reason is Reason.NOT_STEADY) == (
        found.schedule == "constant" and list(found.score) == LATE
    ), "after a schedule there is none"
