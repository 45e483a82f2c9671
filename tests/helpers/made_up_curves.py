"""Curves that were labelled wrong once, or come from other data sets, batch sizes,
lengths and frameworks.

Each has the labels that a person would give it.
"""

from dataclasses import fields, replace

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.labels import label_trials
from validation.label_cuts import complete

MNIST_5K = DATA["mnist-5k"]


class LabelledCurves(dict):
    """Curves by their names, each with the labels that it may have."""

    def add(self, name, labels, curve):
        """Add a curve; labels are separated by blanks."""
        self[name] = curve, set(labels.split())


def listed(numbers):
    """Return numbers as a list. A text separates them by blanks, and "0.5*3" stands for
    three times 0.5."""
    if not isinstance(numbers, str):
        return list(numbers)
    values = []
    for word in numbers.split():
        number, _, times = word.partition("*")
        values += [float(number)] * int(times or 1)
    return values


def array(numbers):
    return np.array(listed(numbers), float)


def curve(accuracy, held_out=None, asked=None, **values):
    """A curve of which the training accuracy is known. Lists of numbers become arrays,
    and so do texts of numbers."""
    for name, value in values.items():
        is_text_of_numbers = isinstance(value, str) and name != "schedule"
        if isinstance(value, list) or is_text_of_numbers:
            values[name] = array(value)
    accuracy = array(accuracy)
    held_out = accuracy - 0.005 if held_out is None else array(held_out)
    return Curve(held_out, asked or len(accuracy), train_score=accuracy, **values)


def cut(curve, epochs):
    """Return a curve of the first epochs only, as if the trial had been stopped
    then."""
    arrays = {}
    for field in fields(curve):
        values = getattr(curve, field.name)
        if isinstance(values, np.ndarray):
            arrays[field.name] = values[:epochs]
    return replace(curve, **arrays)


def rise(first, last, epochs):
    """Accuracies whose errors fall as a power of the epochs."""
    ratio = (1 - first) / (1 - last)
    power = np.log(ratio) / np.log(epochs)
    return 1 - (1 - first) * np.arange(1, epochs + 1) ** -power


def alternating(low, high, last, epochs):
    values = np.where(np.arange(epochs) % 2, high, low)
    values[-1] = last
    return values


def spiked(epochs, at, peak, calm=0.4):
    peaks = np.full(epochs, calm)
    peaks[0] = 2.4
    peaks[at] = peak
    return peaks


LONG = rise(0.94, 0.995, 50)
ISSUE_CURVES = LabelledCurves()
ISSUE_CURVES.add(
    "a small rate on mnist-5k",
    "slow",
    curve(
        "0.1555 0.1595 0.1633",
        data=MNIST_5K,
        untrained_loss=2.344,
        train_loss="2.334 2.325 2.315",
        step_loss_max="2.39 2.385 2.38",
        diverged="0 0 0",
    ),
)
ISSUE_CURVES.add(
    "dead",
    "diverged",
    curve(
        "0.1124*10",
        untrained_loss=8.0,
        train_loss="2.301*10",
        step_loss_max="400.0 2.4*9",
        diverged="0*10",
        guessing_since=7,
    ),
)
ISSUE_CURVES.add(
    "dead, of which little is known",
    "diverged underfit",
    curve("0.1124*10", untrained_loss=8.0, train_loss="2.301*10"),
)
ISSUE_CURVES.add("late collapse", "diverged", curve("0.97 0.98 0.985 0.11 0.10 0.11"))
ISSUE_CURVES.add(
    "late collapse of ten",
    "diverged",
    curve("0.97 0.98 0.985 0.11 0.10 0.11 0.11 0.10 0.11 0.1", asked=10),
)
ISSUE_CURVES.add(
    "collapse in the last epoch", "diverged", curve([*rise(0.97, 0.997, 9), 0.1])
)
ISSUE_CURVES.add(
    "drop in the last epoch", "oscillating", curve([*rise(0.97, 0.997, 9), 0.7])
)
ISSUE_CURVES.add(
    "batch size 1",
    "converged",
    curve(
        rise(0.97, 0.992, 10),
        batch_size=1,
        untrained_loss=2.4,
        train_loss=4 * (1 - rise(0.97, 0.992, 10)),
        step_loss_max="9.0 8.5 8 7.4 8 9 7 7.5 8 7",
    ),
)
ISSUE_CURVES.add(
    "two spikes in fifty epochs",
    "converged",
    curve(
        LONG,
        untrained_loss=2.4,
        train_loss=4 * (1 - LONG),
        step_loss_max=spiked(50, [17, 33], 3.5),
    ),
)
ISSUE_CURVES.add(
    "to and fro about the target",
    "oscillating undecided",
    curve(alternating(0.945, 0.959, 0.951, 10)),
)
ISSUE_CURVES.add(
    "to and fro about the target, high",
    "oscillating undecided",
    curve(alternating(0.945, 0.959, 0.959, 10)),
)
ISSUE_CURVES.add(
    "to and fro about the target, short",
    "oscillating undecided",
    curve(alternating(0.945, 0.959, 0.951, 6)),
)
ISSUE_CURVES.add(
    "to and fro below it",
    "oscillating underfit",
    curve(alternating(0.9, 0.912, 0.912, 10)),
)
ISSUE_CURVES.add(
    "to and fro below it, falling",
    "oscillating underfit",
    curve(alternating(0.9, 0.912, 0.9, 10)),
)
ISSUE_CURVES.add(
    "random labels",
    "underfit undecided",
    curve(
        "0.11*10",
        untrained_loss=2.305,
        train_loss="2.309*10",
        step_loss_max="2.45*10",
        diverged="1*10",
    ),
)
ISSUE_CURVES.add(
    "random labels, falling a little",
    "underfit undecided slow",
    curve(
        "0.112 0.113 0.111 0.114 0.115",
        untrained_loss=2.32,
        step_loss_max="2.45*5",
        diverged="0*5",
        train_loss="2.309 2.306 2.305 2.303 2.302",
    ),
)
ISSUE_CURVES.add(
    "within the noise of 1,000 images",
    "converged",
    curve(
        "0.97 0.985 0.995 0.999 1.0 1.0 1.0 1.0",
        data=MNIST_5K,
        held_out="0.91 0.92 0.931 0.93 0.926 0.924 0.922 0.921",
    ),
)
ISSUE_CURVES.add(
    "overfit",
    "overfit",
    curve(
        "0.96 0.99 0.993 0.996 0.999 1.0 1.0 1.0",
        held_out="0.96 0.978 0.975 0.972 0.968 0.964 0.96 0.958",
    ),
)
ISSUE_CURVES.add(
    "Fashion-MNIST",
    "converged",
    curve(rise(0.82, 0.905, 10), data=DATA["fashion-mnist"]),
)


FAST = list(rise(0.95, 0.99, 10))
AT_CHANCE = [0.1124] * 10


def level(end):
    """Ten epochs that level off."""
    return list(end - 0.3 * 0.4 ** np.arange(10))


def sweep(*trials, data=MNIST, asked=None, **columns):
    """Labels of a sweep of (learning rate, accuracies, further columns of its
    epochs)."""
    rows = []
    curves = []
    for i, (rate, accuracy, *measured) in enumerate(trials):
        trial_id = f"{i:05d}"
        row = {"trial_id": trial_id, "learning_rate": rate}
        row["epochs_asked"] = asked or len(accuracy)
        for name, values in columns.items():
            row[name] = values[i]
        rows.append(row | {"train_accuracy": accuracy[-1]})
        epochs = {"train_accuracy": accuracy, "test_accuracy": accuracy}
        table = pd.DataFrame(epochs | dict(*measured))
        curves.append(table.assign(trial_id=trial_id, epoch=table.index + 1))
    trials = complete(pd.DataFrame(rows))
    return label_trials(trials, pd.concat(curves, ignore_index=True), data)


HUNDRED_CLASSES = DataFacts.of([500] * 100, 10_000, 0.8)
MOSTLY_ONE_CLASS = DataFacts.of([54_000, 6_000], 10_000, 0.95)
TINY = DataFacts.of([12] * 4 + [9] * 4 + [8] * 2, 20, 0.95)


def measured(accuracy, images=60_000, seed=0):
    """As so many images show it: a binomial count of each accuracy."""
    return np.random.default_rng(seed).binomial(images, accuracy) / images


def held_out_only(accuracy, asked=None, images=10_000, **values):
    """Return a curve as from another framework, which says nothing about the training
    set."""
    data = replace(values.pop("data", MNIST), test_images=images)
    accuracy = array(accuracy)
    return Curve(accuracy, asked or len(accuracy), data=data, **values)


def losses(train, peaks=None, untrained=2.35, **values):
    columns = {"train_loss": listed(train), "untrained_loss": untrained}
    if peaks is not None:
        columns["step_loss_max"] = listed(peaks)
    return columns | values


def with_dips(accuracy, at, depth):
    accuracy = array(accuracy)
    accuracy[at] -= depth
    return accuracy


FLAT = np.full(200, 0.90)
LARGE_BATCH = rise(0.30, 0.88, 30)
SMALL_RATE = 1 - 0.88 * np.arange(1, 201) ** -0.4

FURTHER_CURVES = LabelledCurves()

# other batch sizes
FURTHER_CURVES.add(
    "batches of 4,096, 15 steps an epoch",
    "slow",
    curve(
        LARGE_BATCH,
        batch_size=4096,
        **losses(3 * (1 - LARGE_BATCH), [2.37, *3.1 * (1 - LARGE_BATCH[:-1])]),
    ),
)
FURTHER_CURVES.add(
    "batches of 4,096, a catapult of three epochs, then calm",
    "undecided slow",
    curve(
        "0.10 0.12 0.15 0.45 0.71 0.80 0.84 0.86 0.875 0.885",
        batch_size=4096,
        diverged="0*10",
        **losses(
            "6.0 3.1 2.34 1.6 1.0 0.7 0.55 0.48 0.43 0.4",
            "9 7 3.2 2.3 1.7 1.1 0.8 0.6 0.5 0.45",
        ),
    ),
)
FURTHER_CURVES.add(
    "batches of 4,096, a catapult, cut",
    "undecided",
    curve(
        "0.10 0.12",
        asked=10,
        batch_size=4096,
        diverged="0 0",
        **losses("6.0 3.1", "9 7"),
    ),
)
FURTHER_CURVES.add(
    "single images at a large rate",
    "oscillating",
    curve("0.90 0.91 0.875 0.92 0.88 0.915 0.89 0.925 0.895 0.91", batch_size=1),
)
FURTHER_CURVES.add(
    "single images, calm, maxima of 12",
    "converged",
    curve(
        rise(0.93, 0.975, 6),
        batch_size=1,
        **losses(4 * (1 - rise(0.93, 0.975, 6)), "12.0*6"),
    ),
)
FURTHER_CURVES.add(
    "batches of 16, calm, maxima below 2",
    "converged",
    curve(
        rise(0.92, 0.985, 10),
        batch_size=16,
        **losses(4 * (1 - rise(0.92, 0.985, 10)), "1.9*10"),
    ),
)

# few epochs, and many
FURTHER_CURVES.add("one epoch of one", "undecided", curve("0.93"))
FURTHER_CURVES.add("one epoch about the target", "undecided", curve("0.9505"))
FURTHER_CURVES.add("two epochs about the target", "undecided", curve("0.951 0.9505"))
FURTHER_CURVES.add("one epoch beyond the target", "converged", curve("0.98"))
FURTHER_CURVES.add(
    "two epochs that are not finite",
    "diverged",
    curve("0.5 0.0987", **losses("1.5 nan", "3.0 inf", diverged="0 1")),
)
FURTHER_CURVES.add(
    "three epochs beyond the target", "converged", curve("0.962 0.975 0.981")
)
FURTHER_CURVES.add("three epochs on their way", "undecided", curve("0.60 0.72 0.80"))
FURTHER_CURVES.add(
    "three epochs that hardly move", "slow undecided", curve("0.20 0.21 0.22")
)
FURTHER_CURVES.add(
    "five epochs just below, falling by a tenth",
    "slow undecided",
    curve("0.85 0.89 0.91 0.922 0.93"),
)
FURTHER_CURVES.add(
    "200 epochs, level since the fiftieth",
    "underfit",
    curve(
        measured(np.minimum(FLAT, rise(0.6, 0.9, 50)[np.minimum(np.arange(200), 49)]))
    ),
)
FURTHER_CURVES.add("200 epochs at a small rate", "slow", curve(measured(SMALL_RATE)))
FURTHER_CURVES.add(
    "200 epochs, one dip in the middle",
    "converged",
    curve(with_dips(measured(rise(0.94, 0.998, 200)), [100], 0.06)),
)
FURTHER_CURVES.add(
    "200 epochs, ten dips",
    "converged",
    curve(with_dips(measured(rise(0.94, 0.998, 200)), np.arange(5, 200, 20), 0.04)),
)
FURTHER_CURVES.add(
    "200 epochs, chaos in the last thirty",
    "oscillating",
    curve(with_dips(measured(rise(0.94, 0.998, 200)), np.arange(171, 200, 2), 0.06)),
)
FURTHER_CURVES.add(
    "100 epochs, chaos in the first forty, then calm",
    "converged",
    curve(with_dips(measured(rise(0.9, 0.995, 100)), np.arange(1, 40, 2), 0.1)),
)
FURTHER_CURVES.add(
    "one fall to chance in the middle, mended",
    "converged",
    curve("0.95 0.97 0.98 0.10 0.95 0.97 0.98 0.985 0.988 0.99"),
)
FURTHER_CURVES.add(
    "early falls, then calm",
    "converged",
    curve("0.90 0.80 0.93 0.85 0.95 0.962 0.97 0.976 0.98 0.984"),
)

# steps and restarts of the learning rate
FURTHER_CURVES.add(
    "a step of the learning rate",
    "converged",
    curve("0.86 0.89 0.90 0.903 0.905 0.905 0.906 0.965 0.97 0.972"),
)
FURTHER_CURVES.add(
    "warm restarts every twelve epochs",
    "converged",
    curve(with_dips(rise(0.93, 0.995, 40), [12, 24, 36], 0.025)),
)
FURTHER_CURVES.add(
    "slow, then fast",
    "converged",
    curve("0.11 0.113 0.12 0.2 0.55 0.9 0.95 0.968 0.975 0.98"),
)
FURTHER_CURVES.add(
    "slow, then fast, cut",
    "undecided",
    curve("0.1124 0.1124 0.113", asked=10, **losses("2.302 2.301 2.299")),
)

# late collapse
FURTHER_CURVES.add(
    "late collapse with losses",
    "diverged",
    curve(
        "0.95 0.97 0.98 0.985 0.11 0.1124",
        **losses(
            "0.17 0.1 0.07 0.05 8.0 2.31", "2.4 1 0.8 0.7 90 3", diverged="0 0 0 0 1 0"
        ),
    ),
)
FURTHER_CURVES.add(
    "collapse to half, for good",
    "oscillating diverged",
    curve("0.95 0.97 0.98 0.985 0.60 0.55 0.50"),
)
FURTHER_CURVES.add(
    "a long decline",
    "oscillating diverged",
    curve("0.95 0.952 0.948 0.935 0.92 0.90 0.875 0.85 0.83 0.80"),
)

# not finite, constant, dead
FURTHER_CURVES.add(
    "not finite after three good epochs",
    "diverged",
    curve("0.97 0.98 0.985 0.0987", **losses("0.1 0.07 0.05 nan", diverged="0 0 0 1")),
)
FURTHER_CURVES.add(
    "infinite in the first epoch",
    "diverged",
    curve("0.0987", asked=10, **losses("inf", "inf", diverged="1")),
)
FURTHER_CURVES.add(
    "constant at a half", "underfit", curve("0.5*10", **losses("1.4*10"))
)
FURTHER_CURVES.add(
    "constant and perfect", "converged", curve("1.0*10", **losses("0.0*10"))
)
FURTHER_CURVES.add(
    "dead ReLU from the start, exploded",
    "diverged",
    curve(
        "0.0987*8",
        **losses("2.3026*8", "3000.0 2.4*7", untrained=2.9, guessing_since=3),
    ),
)
FURTHER_CURVES.add(
    "dead ReLU from the start, cut",
    "diverged",
    curve(
        "0.1124*4", asked=10, **losses("2.3015*4", "40.0 2.4 2.4 2.4", guessing_since=9)
    ),
)
FURTHER_CURVES.add(
    "a constant loss above the untrained",
    "diverged",
    curve("0.1022*10", **losses("14.5*10", "60.0*10", diverged="1*10", above_since=3)),
)
FURTHER_CURVES.add(
    "noise about chance, accuracies alone",
    "diverged",
    curve("0.098 0.103 0.0975 0.1124 0.099 0.1 0.102 0.098"),
)
FURTHER_CURVES.add(
    "noise about chance, losses of a guess",
    "underfit undecided",
    curve(
        "0.098 0.103 0.0975 0.1124 0.099 0.1 0.102 0.098",
        **losses(
            "2.303 2.305 2.302 2.304 2.303 2.306 2.303 2.304", "2.4*8", untrained=2.31
        ),
    ),
)

# overfitting
FURTHER_CURVES.add(
    "the held-out loss rises, its accuracy does not fall",
    "converged",
    curve(
        "0.97 0.99 0.996 0.999 1.0 1.0 1.0 1.0",
        held_out="0.965 0.975 0.978 0.979 0.9785*4",
    ),
)
FURTHER_CURVES.add(
    "noisy labels, a large network",
    "overfit",
    curve(
        "0.48 0.52 0.54 0.56 0.59 0.63 0.68 0.73 0.79 0.84",
        held_out="0.84 0.87 0.86 0.84 0.81 0.77 0.72 0.67 0.61 0.57",
    ),
)
FURTHER_CURVES.add(
    "noisy labels, a small network",
    "underfit",
    curve(
        "0.49 0.503 0.507 0.509 0.510 0.5107 0.511 0.5112 0.5113 0.5114",
        held_out="0.85 0.875 0.88 0.882 0.883 0.884 0.884 0.8845 0.885 0.8848",
        label_noise=30000,
    ),
)
FURTHER_CURVES.add(
    "overfit on a hundred held-out images",
    "converged",
    curve(
        "0.7 0.85 0.93 0.97 0.99 1.0 1.0 1.0",
        held_out="0.71 0.80 0.84 0.80 0.81 0.78 0.79 0.80",
        data=replace(MNIST, test_images=100),
    ),
)
FURTHER_CURVES.add(
    "memorised at the cost of a fifth",
    "overfit",
    curve(
        rise(0.6, 0.97, 12),
        held_out="0.8 0.85 0.86 0.84 0.82 0.79 0.76 0.74 0.72 0.70 0.69 0.68",
    ),
)

# other data sets
FURTHER_CURVES.add(
    "a hundred classes, learned",
    "converged",
    curve(rise(0.05, 0.86, 30), data=HUNDRED_CLASSES),
)
FURTHER_CURVES.add(
    "a hundred classes, at a small rate",
    "slow",
    curve(rise(0.02, 0.3, 20), data=HUNDRED_CLASSES),
)
FURTHER_CURVES.add(
    "a hundred classes, collapsed",
    "diverged",
    curve("0.3 0.5 0.6 0.65 0.012 0.01 0.01", data=HUNDRED_CLASSES),
)
FURTHER_CURVES.add(
    "a hundred classes, level at 0.6",
    "underfit",
    curve(measured(0.6 - 0.5 * 0.5 ** np.arange(15)), data=HUNDRED_CLASSES),
)
FURTHER_CURVES.add(
    "nine in ten of one class, only those",
    "underfit undecided",
    curve("0.9*10", data=MOSTLY_ONE_CLASS, **losses("0.325*10", untrained=0.7)),
)
FURTHER_CURVES.add(
    "nine in ten of one class, learned",
    "converged",
    curve(rise(0.91, 0.98, 10), data=MOSTLY_ONE_CLASS),
)
FURTHER_CURVES.add(
    "nine in ten of one class, fallen back",
    "diverged",
    curve("0.92 0.95 0.97 0.975 0.9 0.9 0.9", data=MOSTLY_ONE_CLASS),
)
FURTHER_CURVES.add(
    "a hundred training images",
    "converged",
    curve(
        "0.88 0.95 0.94 0.97 0.96 0.99 1.0 1.0",
        held_out="0.7 0.8 0.7 0.75 0.65 0.7 0.7 0.65",
        data=TINY,
    ),
)
FURTHER_CURVES.add(
    "mnist-5k, level within its noise",
    "underfit",
    curve(measured(np.full(12, 0.86), 4000), data=MNIST_5K),
)

# other frameworks: held-out accuracies alone, running means, no windows
FURTHER_CURVES.add(
    "held out alone, learned",
    "converged",
    held_out_only(measured(rise(0.95, 0.98, 10), 10000)),
)
FURTHER_CURVES.add(
    "held out alone, 500 images",
    "converged",
    held_out_only(measured(rise(0.94, 0.985, 12), 500, seed=1), images=500),
)
FURTHER_CURVES.add(
    "held out alone, slow", "slow", held_out_only(measured(rise(0.4, 0.8, 10), 10000))
)
FURTHER_CURVES.add(
    "held out alone, wild",
    "oscillating",
    held_out_only("0.93 0.95 0.90 0.955 0.88 0.95 0.91 0.96 0.93 0.94"),
)
FURTHER_CURVES.add(
    "running means of the training accuracy",
    "converged",
    curve(
        "0.83 0.94 0.958 0.966 0.972",
        held_out="0.938 0.955 0.964 0.969 0.972",
        batch_size=64,
        **losses("0.6 0.2 0.14 0.11 0.09", "2.9 1.0 0.9 0.8 0.9"),
    ),
)
FURTHER_CURVES.add(
    "the first epoch's mean loss is above the untrained",
    "converged",
    curve(
        "0.55 0.90 0.94 0.955 0.962 0.968",
        batch_size=64,
        **losses("4.1 0.4 0.22 0.16 0.13 0.11", "85.0 1.6 1.1 1.0 0.9 0.9"),
    ),
)

# at the target, and about it
FURTHER_CURVES.add(
    "small to and fro far beyond the target",
    "converged",
    curve("0.95 0.97 0.981 0.986 0.980 0.986 0.980 0.987 0.981 0.986"),
)
FURTHER_CURVES.add(
    "large to and fro beyond the target",
    "oscillating",
    curve(alternating(0.96, 0.99, 0.99, 12)),
)
FURTHER_CURVES.add(
    "creeping up to just below",
    "undecided underfit",
    curve(measured(1 - 0.05 - 0.05 * 0.6 ** np.arange(15))),
)
FURTHER_CURVES.add(
    "wild, ending well",
    "oscillating",
    curve("0.91 0.94 0.88 0.95 0.90 0.955 0.87 0.95 0.96 0.965"),
)
