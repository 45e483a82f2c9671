"""What the trials of a sweep say of each other, and where the rules of one curve
turn."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from curve_texts import read_curves
from made_up_curves import AT_CHANCE, FAST, curve, level, losses, rise, sweep
from text_tables import blocks, numbers, rows

from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.reasons import Reason

CLIMB = list(rise(0.58, 0.86, 10))
WAY = list(rise(0.80, 0.94, 10))
LATE = numbers("0.80 0.88 0.91 0.93 0.935 0.94 0.943 0.944 0.948 0.956")
COLLAPSE = level(0.97)[:5] + [0.1] * 5

COURSES = {
    "at chance": AT_CHANCE,
    "at chance for six": AT_CHANCE[:6],
    "fast": FAST,
    "four fast epochs": FAST[:4],
    "climbs": CLIMB,
    "on its way": WAY,
    "nearly there": list(rise(0.8, 0.951, 10)),
    "crawls": list(rise(0.2, 0.5, 10)),
    "cut": numbers("0.5 0.7 0.8 0.84 0.86"),
    "two epochs to 0.80": level(0.80)[:2],
    "five epochs to 0.90": level(0.90)[:5],
    "collapses": COLLAPSE,
}
"""Accuracies by the name that scenes call them by."""

GUESSING = losses([2.301] * 10)
LOST_LOSS = losses([500.0] * 3, untrained=2.4, diverged=[0, 1, 1])
NOT_FINITE = losses(numbers("2.3 nan*9"), untrained=2.4, diverged=numbers("0 1*9"))

MEASURED = {
    "guesses": GUESSING,
    "loss falls": losses(np.linspace(3.5, 2.6, 10), untrained=3.6),
    "loss 2.5": losses([2.5] * 6),
    "loss of a coin": losses([0.6931] * 10, untrained=0.6932),
    "loss 0.1347": losses([0.1347] * 10, untrained=0.7),
    "loss falls to 0.08": losses(np.geomspace(0.13, 0.08, 10), untrained=0.7),
    "lost": LOST_LOSS,
    "not finite": NOT_FINITE,
}
"""Further columns of a trial's epochs by the name that scenes call them by."""

RARE = DataFacts.of([9_700, 300], 2_000)

DATA_SETS = {
    "without a target": replace(MNIST, target=None),
    "a rare class": RARE,
    "a rare class, no guess": replace(RARE, guess_losses={}),
    "two classes": DataFacts.of([999] * 2, 99),
    "a hundred images": DataFacts.of([97, 3], 50),
    "mnist-5k": DATA["mnist-5k"],
}

# A title; a line for each trial: learning rate, label, accuracies, further columns;
# and `with`, a column of the trials or an option of `sweep`.
SCENES_TEXT = """
a faster one is better
    0.1    slow         level 0.80
    1.0    converged    level 0.97

another seed at the rate says nothing
    0.1    underfit     level 0.80
    0.1    converged    level 0.97
    with seed = [0, 1]

rates that are equal but for rounding are equal
    1.0    underfit     level 0.80
    0.1    converged    level 0.97
    with momentum = [0.0, 0.9]

rates of different batches are compared by image
    0.5    undecided    level 0.80
    1.0    converged    level 0.97
    with batch_size = [8, 128]

a slower one is better: what goes to and fro oscillates
    0.1    oscillating  0.5 0.6 0.65 0.641 0.70 0.74 0.731 0.76 0.759 0.80
    0.15   oscillating  0.5 0.6 0.588 0.65 0.7 0.72 0.708 0.76 0.77 0.80
    0.2    undecided    0.5 0.6 0.65 0.7 0.72 0.74 0.731 0.76 0.77 0.80
    0.5    undecided    level 0.80
    0.01   converged    level 0.96

of four epochs one fall is not often
    0.1    undecided    0.5 0.6 0.58 0.7
    0.01   undecided    0.8 0.85 0.88 0.9

better by what nobody sees
    0.1    underfit     level 0.80
    1.0    underfit     level 0.812

better by what is seen
    0.1    slow         level 0.80
    1.0    underfit     level 0.82

at the target less counts as better
    0.1    slow         level 0.94
    1.0    converged    level 0.952

what diverged is no measure
    0.1    underfit     level 0.80
    1.0    diverged     collapses

what memorised is no measure
    0.1    underfit     level 0.80
    1.0    overfit      level 0.97   test_accuracy 0.9 0.95 0.96 0.96 0.9*6

at chance: dead above the least rate that learned
    0.001  slow         at chance    guesses
    0.01   slow         at chance    guesses
    0.03   diverged     at chance    guesses
    1.0    diverged     at chance    guesses
    0.01   converged    fast
    0.1    converged    fast

at chance, not finite
    0.001  diverged     at chance    not finite
    0.05   diverged     at chance    not finite
    0.01   converged    fast

after one epoch
    0.1    slow         level 0.80
    0.4    converged    0.97

after two epochs
    0.1    converged    fast
    2.0    undecided    two epochs to 0.80
    with asked = 10

stopped as slow, then asked for more
    0.1    slow         0.3*5
    1.0    converged    fast
    with asked = 40
    with stop_reason = ["slow", "completed"]
    with data = "without a target"

of two classes, accuracy jumps where the loss stays
    0.1    underfit     0.66 0.5*9   loss of a coin
    with data = "two classes"

none learned
    0.001  underfit     at chance    guesses
    0.1    underfit     at chance    guesses

a loss that falls is not dead
    0.05   slow         at chance    loss falls
    0.01   converged    fast
    0.1    converged    fast

a few steps at chance are not the end
    0.1    undecided    at chance for six  loss 2.5
    0.01   converged    fast
    with asked = 60
    with batch_size = [60000, 60000]

many are
    0.1    diverged     at chance for six  loss 2.5
    0.01   converged    fast
    with asked = 60

where one class is frequent the loss decides
    0.03   undecided    0.97*10        loss falls to 0.08
    0.01   converged    0.97 0.985*9   loss falls to 0.08
    0.1    diverged     0.97*10        loss 0.1347
    with data = "a rare class"

so it does where the loss of a guess is not said
    0.03   undecided    0.97*10        loss falls to 0.08
    0.01   converged    0.97 0.985*9   loss falls to 0.08
    0.1    diverged     0.97*10        loss 0.1347
    with data = "a rare class, no guess"

cut, of 6
    0.1    slow         cut
    1.0    converged    level 0.97
    with asked = 6

cut, of 10
    0.1    undecided    cut
    1.0    converged    level 0.97
    with asked = 10

ahead after as many epochs
    1.0    undecided    0.6 0.8 0.8918
    0.3    undecided    0.86 0.8748 0.881
    0.1    slow         0.8 0.84 0.87

diverged below the least rate that learned, not at chance
    0.001  slow         0.3*3        lost
    0.01   converged    fast
    with asked = 10

cut, hardly slower
    0.1    undecided    cut
    1.0    undecided    0.51 0.71 0.81 0.85 0.87
    with asked = 6

cut, shaken
    0.1    undecided    0.3 0.42 0.49 0.44 0.57
    1.0    converged    level 0.97
    with asked = 10

cut after two
    0.1    undecided    0.3 0.42
    1.0    converged    level 0.97
    with asked = 10

cut, without a target
    0.1    slow         cut
    1.0    converged    level 0.97
    with asked = 6
    with data = "without a target"

three times the epochs
    0.1    slow         on its way
    0.2    undecided    nearly there
    1.0    converged    fast
    2.0    converged    level 0.96

not three times
    0.1    undecided    on its way
    1.0    undecided    nearly there

what is at the target is never slow
    0.1    undecided    0.90 0.91 0.92 0.93 0.94*3 0.948 0.947 0.95
    1.0    converged    0.99*10

after a schedule that ends at 0 more epochs tell nothing
    0.1    underfit     climbs
    with schedule = ["cosine"]

nor does the best
    0.1    slow         crawls
    1.0    converged    0.3 0.35 0.4 0.45 0.5 0.56 0.62 0.68 0.72 0.74
    with schedule = ["cosine", "cosine"]
    with data = "without a target"

the target is that of the best
    0.1    slow         level 0.90
    1.0    converged    level 0.93
    with data = "without a target"

the target is not that of one that memorised
    0.1    converged    level 0.90
    1.0    overfit      level 0.99   test_accuracy 0.9 0.95 0.96 0.96 0.93*6
    with data = "without a target"

the target is that on held-out images
    0.1    converged    level 0.90
    1.0    converged    level 0.99   test_accuracy level 0.85
    with data = "without a target"

the target is not that of one that runs
    0.1    converged    level 0.90
    1.0    converged    four fast epochs
    with asked = 10
    with data = "without a target"

the target before one has ended
    0.1    undecided    five epochs to 0.90
    1.0    converged    four fast epochs
    with asked = 10
    with data = "without a target"

none has learned
    0.1    underfit     0.2*5
    with data = "without a target"

the target of few images is below the best by its noise, at most by half of what it learned
    0.1    converged    0.97 0.98 0.99*3
    0.2    undecided    0.975*5
    with data = "a hundred images"

another data set
    0.1    converged    level 0.93
    with data = "mnist-5k"
"""


def accuracies(text):
    """Return the accuracies of a course, which a scene names or lists."""
    if text in COURSES:
        return COURSES[text]
    if text.startswith("level "):
        return level(float(text.removeprefix("level ")))
    return numbers(text)


def measured(text):
    """Return further columns of the epochs of a trial in a scene."""
    if text in MEASURED:
        return MEASURED[text]
    column, _, course = text.partition(" ")
    return {column: accuracies(course)}


def scene(lines):
    """Return the labels of a scene, and what `sweep` makes it of."""
    labels, trials, options = [], [], {}
    for line in lines:
        if line.startswith("with "):
            name, _, value = line.removeprefix("with ").partition(" = ")
            options[name] = json.loads(value)
            continue
        rate, label, course, *columns = re.split("  +", line)
        labels.append(label)
        trials.append((float(rate), accuracies(course), *map(measured, columns)))
    if "data" in options:
        options["data"] = DATA_SETS[options["data"]]
    return labels, trials, options


SCENES = {title: scene(lines) for title, lines in blocks(SCENES_TEXT)}


@pytest.mark.parametrize("title", SCENES)
def test_the_trials_of_a_sweep_have_these_labels(title):
    labels, trials, options = SCENES[title]
    judged = sweep(*trials, **options)
    assert judged["regime"].tolist() == labels
    assert not judged["regime_evidence"].str.contains(r"\b1 epochs").any()


OTHER_TASKS = """
    architecture  ["mlp-16-tanh", "mlp-32-tanh"]  underfit
    label_noise   [0, 100]                        underfit
    optimizer     ["sgd", "adam"]                 underfit
    schedule      ["constant", "warm-up"]         underfit
    loss          ["cross-entropy", "mse"]        underfit
    drop_last     [False, True]                   underfit
"""
OTHER_STEPS = """
    weight_decay  [0.0, 0.1]     slow
    momentum      [0.0, 0.9]     slow
    nesterov      [True, False]  slow
"""


@pytest.mark.parametrize(
    ("name", "values", "label"), rows(OTHER_TASKS) + rows(OTHER_STEPS)
)
def test_a_trial_of_another_task_says_nothing_and_one_of_another_step_does(
    name, values, label
):
    column = {name: values}
    judged = sweep((0.1, level(0.80)), (1.0, level(0.97)), **column)
    assert judged["regime"].tolist()[0] == label


def regime(accuracy, **values):
    """The label of a curve of training accuracies."""
    return curve_regime(curve(accuracy, **values)).regime


DIPS = """
    converged    5   (1,)              0.03   0.98
    oscillating  5   (1, 3)            0.03   0.98
    converged    13  (2, 9)            0.03   0.98  # too long ago to tell of the end
    oscillating  13  (8, 10)           0.03   0.98
    converged    37  (20, 28, 33)      0.03   0.98
    oscillating  37  (20, 25, 28, 33)  0.03   0.98
    # small, and always above the target
    converged    13  (2, 4, 6, 8)      0.007  0.98
    oscillating  13  (2, 4, 6, 8)      0.007  0.94
    underfit     13  (2, 4, 6)         0.007  0.94
    underfit     13  (2, 4, 6, 8)      0.004  0.94  # noise
    converged    7   (6,)              0.03   0.97  # one accident, in the last epoch
"""


@pytest.mark.parametrize(("label", "epochs", "dips", "depth", "top"), rows(DIPS))
def test_falls_are_oscillation_if_they_are_visible_often_and_late(
    label, epochs, dips, depth, top
):
    accuracy = np.full(epochs, top)
    accuracy[[*dips]] -= depth
    assert regime(accuracy) == label


STEADY = """
    undecided    [0.951]
    converged    [0.953]
    undecided    [0.951, 0.9505]
    converged    [0.949, 0.9501, 0.9505]
    undecided    [0.94, 0.945, 0.9501]
    oscillating  [0.96, 0.955, 0.949]
    converged    [0.97, 0.98, 0.96, 0.952, 0.951]
    converged    [0.94, 0.96, 0.949, 0.951, 0.952]
    undecided    [0.5, 0.9, 0.93, 0.938, 0.945, 0.95]
    undecided    [0.5, 0.9, 0.955, 0.94, 0.945, 0.944]
"""


@pytest.mark.parametrize(("label", "accuracy"), rows(STEADY))
def test_who_is_at_the_target_steadily_has_converged(label, accuracy):
    assert regime(accuracy, asked=9) == label


BACK_AT_CHANCE = """
    diverged   1   2
    diverged   2   3
    undecided  9   20
    diverged   10  20
"""


@pytest.mark.parametrize(("label", "epochs", "planned"), rows(BACK_AT_CHANCE))
def test_back_at_chance_for_a_thousand_windows_or_at_the_end_is_diverged(
    label, epochs, planned
):
    """A hundred windows an epoch."""
    data = DataFacts.of([1_280] * 10, 1_000, 0.95)
    accuracy = [0.5] + [0.1] * epochs
    assert regime(accuracy, asked=planned, data=data) == label


ABOVE_UNTRAINED = """
    diverged   inf  0.3  9
    diverged   nan  0.3  9
    diverged   2.6  0.1  3
    undecided  2.6  0.1  9  # it may come back
    undecided  2.6  0.3  3
"""


@pytest.mark.parametrize(
    ("label", "loss", "accuracy", "planned"), rows(ABOVE_UNTRAINED)
)
def test_a_loss_above_the_untrained_one_at_chance_is_diverged_at_the_end(
    label, loss, accuracy, planned
):
    course = losses([2.0, 2.0, loss], untrained=2.4, above_since=7)
    trial = curve([0.3, 0.4, accuracy], asked=planned, **course)
    if planned != 3:
        is_lost = not math.isfinite(loss)
        trial = replace(trial, diverged=np.array([0, 0, is_lost]))
    assert curve_regime(trial).regime == label


def test_a_loss_above_the_untrained_one_says_why_training_was_not_stopped():
    """Ten epochs of 40 steps are fewer than the 1,000 that the rule asks for."""
    few = replace(MNIST, train_images=5_120)
    course = losses([2.6] * 10, untrained=2.4, above_since=1, diverged=[0] * 10)
    trial = curve([0.1] * 10, data=few, **course)
    above = "training loss 2.6 (untrained 2.4), above it since step 1"
    reason = "not stopped, as that takes 1,000 steps"
    assert evidence(curve_regime(trial)) == f"{above}; {reason}"
    flags = np.array([0] * 9 + [1])
    stopped = replace(trial, diverged=flags)
    assert evidence(curve_regime(stopped)) == above
    long = replace(trial, data=MNIST)
    assert evidence(curve_regime(long)) == above


MEMORISED = """
held-out accuracy falls
    labels         overfit
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 1.0
    held_out       0.96 0.97 0.975 0.975 0.97 0.966 0.963 0.96

too few epochs to tell
    labels         converged
    accuracy       0.9 0.95 0.99
    held_out       0.9 0.91 0.88

training got worse, too
    labels         converged
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 0.95
    held_out       0.96 0.97 0.975 0.975 0.97 0.966 0.963 0.96

the training loss got worse, too
    labels         converged
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 1.0
    held_out       0.96 0.97 0.975 0.975 0.97 0.966 0.963 0.96
    train_loss     0.2 0.1 0.05 0.1 0.2 0.3 0.3 0.3

held-out accuracy hardly falls, and the loss rises
    labels         overfit
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 1.0
    held_out       0.96 0.97 0.975 0.975 0.9745 0.974 0.9735 0.973
    held_out_loss  0.2 0.1 0.08 0.09 0.11 0.14 0.17 0.2

held-out accuracy goes to and fro, and the loss rises
    labels         converged
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 1.0 1.0 1.0
    held_out       0.96 0.97 0.975 0.976 0.974 0.975 0.9735 0.975 0.9738 0.9745
    held_out_loss  0.2 0.1 0.08 0.09 0.11 0.14 0.17 0.2 0.21 0.22

the loss was higher, and is at its least now
    labels         undecided
    accuracy       0.11 0.10 0.10 0.32 0.67 0.67
    held_out       0.07 0.08 0.09 0.27 0.667 0.647
    held_out_loss  2.31 2.30 2.31 2.26 1.65 1.01

held-out accuracy hardly falls, and the loss falls
    labels         converged
    accuracy       0.96 0.97 0.98 0.985 0.99 0.995 0.999 1.0
    held_out       0.96 0.97 0.975 0.975 0.9745 0.974 0.9735 0.973
    held_out_loss  0.2 0.1 0.08 0.079 0.078 0.077 0.076 0.075

held-out accuracy stays at chance
    labels         overfit
    accuracy       0.3 0.6 0.9
    held_out       0.1 0.11 0.1

held-out accuracy stays at chance, little is memorised
    labels         slow
    accuracy       0.2 0.25 0.3
    held_out       0.1 0.11 0.1
"""
MEMORISED_CURVES = read_curves(MEMORISED)


@pytest.mark.parametrize("title", MEMORISED_CURVES)
def test_memorised_is_what_got_worse_held_out_alone(title):
    trial, labels = MEMORISED_CURVES[title]
    assert {curve_regime(trial).regime} == labels


ENDS = {
    "levels off": 0.84 - 0.16 * 0.45 ** np.arange(10),
    "levels off at half": 0.53 - 0.1 / np.arange(1, 11),
    "climbs": CLIMB,
    "on its way": WAY,
    "late": LATE,
    "lost": numbers("0.80 0.88 0.91 0.93 0.935 0.94 0.953 0.944 0.946 0.949"),
    "peak": numbers("0.88 0.89 0.90 0.898 0.895 0.893 0.891 0.889 0.887 0.886"),
    "late peak": numbers("0.85 0.86 0.87 0.88 0.89 0.895 0.899 0.90 0.894 0.888"),
}
# label, accuracies, epochs that were asked for, schedule, wrong labels
ENDINGS = """
    underfit   levels off          10  constant  0
    undecided  levels off          30  constant  0
    slow       climbs              10  constant  0
    undecided  climbs              30  constant  0
    undecided  on its way          10  constant  0
    underfit   climbs              10  linear    0
    undecided  climbs              30  cosine    0
    undecided  late                10  constant  0
    converged  late                10  cosine    0
    undecided  lost                10  constant  0
    underfit   lost                10  cosine    0
    underfit   levels off at half  10  constant  30_000
    underfit   peak                10  constant  0
    undecided  late peak           10  constant  0
"""


@pytest.mark.parametrize(
    ("label", "end", "planned", "schedule", "wrong_labels"), rows(ENDINGS)
)
def test_level_climbing_or_on_its_way(label, end, planned, schedule, wrong_labels):
    settings = {"schedule": schedule, "label_noise": wrong_labels}
    trial = curve(ENDS[end], asked=planned, **settings)
    judged = curve_regime(trial)
    assert judged.regime == label
    is_not_steady = judged.reason is Reason.NOT_STEADY
    is_late = end == "late" and schedule == "constant"
    assert is_not_steady == is_late, "after a schedule there is none"
