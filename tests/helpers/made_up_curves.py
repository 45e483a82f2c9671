"""Curves that were labelled wrong once, or come from other data sets, batch sizes,
lengths and frameworks.

Each has the labels that a person would give it.
"""

import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.labels import label_trials
from validation.label_cuts import complete

MNIST_5K = DATA["mnist-5k"]


def curve(accuracy, held_out=None, asked=None, **values):
    """A curve of which the training accuracy is known; lists become arrays."""
    arrays = {
        name: np.array(value, float) if isinstance(value, list) else value
        for name, value in values.items()
    }
    accuracy = np.array(accuracy, float)
    held_out = accuracy - 0.005 if held_out is None else np.array(held_out, float)
    return Curve(held_out, asked or len(accuracy), train_score=accuracy, **arrays)


def cut(curve, epochs):
    """Return a curve of the first epochs only, as if the trial had been stopped
    then."""
    arrays = {
        field.name: getattr(curve, field.name)[:epochs]
        for field in fields(curve)
        if isinstance(getattr(curve, field.name), np.ndarray)
    }
    return replace(curve, **arrays)


def rise(first, last, epochs):
    """Accuracies whose errors fall as a power of the epochs."""
    power = np.log((1 - first) / (1 - last)) / np.log(epochs)
    return 1 - (1 - first) * np.arange(1, epochs + 1) ** -power


def alternating(low, high, last, epochs):
    values = np.where(np.arange(epochs) % 2, high, low)
    values[-1] = last
    return values


def spiked(epochs, at, peak, calm=0.4):
    peaks = np.full(epochs, calm)
    peaks[0], peaks[at] = 2.4, peak
    return peaks


LONG = rise(0.94, 0.995, 50)
ISSUE_CURVES = {
    "a small rate on mnist-5k": (
        curve(
            [0.1555, 0.1595, 0.1633],
            data=MNIST_5K,
            untrained_loss=2.344,
            train_loss=[2.334, 2.325, 2.315],
            step_loss_max=[2.39, 2.385, 2.38],
            diverged=[0, 0, 0],
        ),
        {"slow"},
    ),
    "dead": (
        curve(
            [0.1124] * 10,
            untrained_loss=8.0,
            train_loss=[2.301] * 10,
            step_loss_max=[400.0] + [2.4] * 9,
            diverged=[0] * 10,
            guessing_since=7,
        ),
        {"diverged"},
    ),
    "dead, of which little is known": (
        curve([0.1124] * 10, untrained_loss=8.0, train_loss=[2.301] * 10),
        {"diverged", "underfit"},
    ),
    "late collapse": (curve([0.97, 0.98, 0.985, 0.11, 0.10, 0.11]), {"diverged"}),
    "late collapse of ten": (
        curve([0.97, 0.98, 0.985, *[0.11, 0.10, 0.11] * 2, 0.1], asked=10),
        {"diverged"},
    ),
    "collapse in the last epoch": (curve([*rise(0.97, 0.997, 9), 0.10]), {"diverged"}),
    "drop in the last epoch": (curve([*rise(0.97, 0.997, 9), 0.70]), {"oscillating"}),
    "batch size 1": (
        curve(
            rise(0.97, 0.992, 10),
            batch_size=1,
            untrained_loss=2.4,
            train_loss=4 * (1 - rise(0.97, 0.992, 10)),
            step_loss_max=[9.0, 8.5, 8, 7.4, 8, 9, 7, 7.5, 8, 7],
        ),
        {"converged"},
    ),
    "two spikes in fifty epochs": (
        curve(
            LONG,
            untrained_loss=2.4,
            train_loss=4 * (1 - LONG),
            step_loss_max=spiked(50, [17, 33], 3.5),
        ),
        {"converged"},
    ),
    "to and fro about the target": (
        curve(alternating(0.945, 0.959, 0.951, 10)),
        {"oscillating", "undecided"},
    ),
    "to and fro about the target, high": (
        curve(alternating(0.945, 0.959, 0.959, 10)),
        {"oscillating", "undecided"},
    ),
    "to and fro about the target, short": (
        curve(alternating(0.945, 0.959, 0.951, 6)),
        {"oscillating", "undecided"},
    ),
    "to and fro below it": (
        curve(alternating(0.90, 0.912, 0.912, 10)),
        {"oscillating", "underfit"},
    ),
    "to and fro below it, falling": (
        curve(alternating(0.90, 0.912, 0.90, 10)),
        {"oscillating", "underfit"},
    ),
    "random labels": (
        curve(
            [0.11] * 10,
            untrained_loss=2.305,
            train_loss=[2.309] * 10,
            step_loss_max=[2.45] * 10,
            diverged=[1] * 10,
        ),
        {"underfit", "undecided"},
    ),
    "random labels, falling a little": (
        curve(
            [0.112, 0.113, 0.111, 0.114, 0.115],
            untrained_loss=2.32,
            step_loss_max=[2.45] * 5,
            diverged=[0] * 5,
            train_loss=[2.309, 2.306, 2.305, 2.303, 2.302],
        ),
        {"underfit", "undecided", "slow"},
    ),
    "within the noise of 1,000 images": (
        curve(
            [0.97, 0.985, 0.995, 0.999, 1.0, 1.0, 1.0, 1.0],
            data=MNIST_5K,
            held_out=[0.91, 0.92, 0.931, 0.93, 0.926, 0.924, 0.922, 0.921],
        ),
        {"converged"},
    ),
    "overfit": (
        curve(
            [0.96, 0.99, 0.993, 0.996, 0.999, 1.0, 1.0, 1.0],
            held_out=[0.96, 0.978, 0.975, 0.972, 0.968, 0.964, 0.96, 0.958],
        ),
        {"overfit"},
    ),
    "Fashion-MNIST": (
        curve(rise(0.82, 0.905, 10), data=DATA["fashion-mnist"]),
        {"converged"},
    ),
}


FAST, AT_CHANCE = list(rise(0.95, 0.99, 10)), [0.1124] * 10


def level(end):
    """Ten epochs that level off."""
    return list(end - 0.3 * 0.4 ** np.arange(10))


def sweep(*trials, data=MNIST, asked=None, **columns):
    """Labels of a sweep of (learning rate, accuracies, further columns of its
    epochs)."""
    rows, epochs = [], []
    for i, (rate, accuracy, *measured) in enumerate(trials):
        row = {
            "trial_id": f"{i:05d}",
            "learning_rate": rate,
            "epochs_asked": asked or len(accuracy),
        }
        rows.append(row | {name: values[i] for name, values in columns.items()})
        table = pd.DataFrame(
            {"train_accuracy": accuracy, "test_accuracy": accuracy} | dict(*measured)
        )
        epochs.append(table.assign(trial_id=f"{i:05d}", epoch=range(1, len(table) + 1)))
    table, epochs = pd.DataFrame(rows), pd.concat(epochs, ignore_index=True)
    table["train_accuracy"] = [accuracy[-1] for _, accuracy, *_ in trials]
    return label_trials(complete(table), epochs, data)


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
    return Curve(np.array(accuracy, float), asked or len(accuracy), data=data, **values)


def losses(train, peaks=None, untrained=2.35, **values):
    steps = {} if peaks is None else {"step_loss_max": list(peaks)}
    return {"train_loss": list(train), "untrained_loss": untrained, **steps, **values}


def with_dips(accuracy, at, depth):
    accuracy = np.array(accuracy, float)
    accuracy[at] -= depth
    return accuracy


FLAT = np.full(200, 0.90)
LARGE_BATCH = rise(0.30, 0.88, 30)
SMALL_RATE = 1 - 0.88 * np.arange(1, 201) ** -0.4

FURTHER_CURVES = {
    # other batch sizes
    "batches of 4,096, 15 steps an epoch": (
        curve(
            LARGE_BATCH,
            batch_size=4096,
            **losses(3 * (1 - LARGE_BATCH), [2.37, *3.1 * (1 - LARGE_BATCH[:-1])]),
        ),
        {"slow"},
    ),
    "batches of 4,096, a catapult of three epochs, then calm": (
        curve(
            [0.10, 0.12, 0.15, 0.45, 0.71, 0.80, 0.84, 0.86, 0.875, 0.885],
            batch_size=4096,
            diverged=[0] * 10,
            **losses(
                [6.0, 3.1, 2.34, 1.6, 1.0, 0.7, 0.55, 0.48, 0.43, 0.4],
                [9, 7, 3.2, 2.3, 1.7, 1.1, 0.8, 0.6, 0.5, 0.45],
            ),
        ),
        {"undecided", "slow"},
    ),
    "batches of 4,096, a catapult, cut": (
        curve(
            [0.10, 0.12],
            asked=10,
            batch_size=4096,
            diverged=[0, 0],
            **losses([6.0, 3.1], [9, 7]),
        ),
        {"undecided"},
    ),
    "single images at a large rate": (
        curve(
            [0.90, 0.91, 0.875, 0.92, 0.88, 0.915, 0.89, 0.925, 0.895, 0.91],
            batch_size=1,
        ),
        {"oscillating"},
    ),
    "single images, calm, maxima of 12": (
        curve(
            rise(0.93, 0.975, 6),
            batch_size=1,
            **losses(4 * (1 - rise(0.93, 0.975, 6)), [12.0] * 6),
        ),
        {"converged"},
    ),
    "batches of 16, calm, maxima below 2": (
        curve(
            rise(0.92, 0.985, 10),
            batch_size=16,
            **losses(4 * (1 - rise(0.92, 0.985, 10)), [1.9] * 10),
        ),
        {"converged"},
    ),
    # few epochs, and many
    "one epoch of one": (curve([0.93]), {"undecided"}),
    "one epoch about the target": (curve([0.9505]), {"undecided"}),
    "two epochs about the target": (curve([0.951, 0.9505]), {"undecided"}),
    "one epoch beyond the target": (curve([0.98]), {"converged"}),
    "two epochs that are not finite": (
        curve(
            [0.5, 0.0987], **losses([1.5, math.nan], [3.0, math.inf], diverged=[0, 1])
        ),
        {"diverged"},
    ),
    "three epochs beyond the target": (curve([0.962, 0.975, 0.981]), {"converged"}),
    "three epochs on their way": (curve([0.60, 0.72, 0.80]), {"undecided"}),
    "three epochs that hardly move": (curve([0.20, 0.21, 0.22]), {"slow", "undecided"}),
    "five epochs just below, falling by a tenth": (
        curve([0.85, 0.89, 0.91, 0.922, 0.93]),
        {"slow", "undecided"},
    ),
    "200 epochs, level since the fiftieth": (
        curve(
            measured(
                np.minimum(FLAT, rise(0.6, 0.9, 50)[np.minimum(np.arange(200), 49)])
            )
        ),
        {"underfit"},
    ),
    "200 epochs at a small rate": (curve(measured(SMALL_RATE)), {"slow"}),
    "200 epochs, one dip in the middle": (
        curve(with_dips(measured(rise(0.94, 0.998, 200)), [100], 0.06)),
        {"converged"},
    ),
    "200 epochs, ten dips": (
        curve(with_dips(measured(rise(0.94, 0.998, 200)), np.arange(5, 200, 20), 0.04)),
        {"converged"},
    ),
    "200 epochs, chaos in the last thirty": (
        curve(
            with_dips(measured(rise(0.94, 0.998, 200)), np.arange(171, 200, 2), 0.06)
        ),
        {"oscillating"},
    ),
    "100 epochs, chaos in the first forty, then calm": (
        curve(with_dips(measured(rise(0.90, 0.995, 100)), np.arange(1, 40, 2), 0.1)),
        {"converged"},
    ),
    "one fall to chance in the middle, mended": (
        curve([0.95, 0.97, 0.98, 0.10, 0.95, 0.97, 0.98, 0.985, 0.988, 0.99]),
        {"converged"},
    ),
    "early falls, then calm": (
        curve([0.90, 0.80, 0.93, 0.85, 0.95, 0.962, 0.97, 0.976, 0.98, 0.984]),
        {"converged"},
    ),
    # steps and restarts of the learning rate
    "a step of the learning rate": (
        curve([0.86, 0.89, 0.90, 0.903, 0.905, 0.905, 0.906, 0.965, 0.97, 0.972]),
        {"converged"},
    ),
    "warm restarts every twelve epochs": (
        curve(with_dips(rise(0.93, 0.995, 40), [12, 24, 36], 0.025)),
        {"converged"},
    ),
    "slow, then fast": (
        curve([0.11, 0.113, 0.12, 0.2, 0.55, 0.9, 0.95, 0.968, 0.975, 0.98]),
        {"converged"},
    ),
    "slow, then fast, cut": (
        curve([0.1124, 0.1124, 0.113], asked=10, **losses([2.302, 2.301, 2.299])),
        {"undecided"},
    ),
    # late collapse
    "late collapse with losses": (
        curve(
            [0.95, 0.97, 0.98, 0.985, 0.11, 0.1124],
            **losses(
                [0.17, 0.1, 0.07, 0.05, 8.0, 2.31],
                [2.4, 1, 0.8, 0.7, 90, 3],
                diverged=[0, 0, 0, 0, 1, 0],
            ),
        ),
        {"diverged"},
    ),
    "collapse to half, for good": (
        curve([0.95, 0.97, 0.98, 0.985, 0.60, 0.55, 0.50]),
        {"oscillating", "diverged"},
    ),
    "a long decline": (
        curve([0.95, 0.952, 0.948, 0.935, 0.92, 0.90, 0.875, 0.85, 0.83, 0.80]),
        {"oscillating", "diverged"},
    ),
    # not finite, constant, dead
    "not finite after three good epochs": (
        curve(
            [0.97, 0.98, 0.985, 0.0987],
            **losses([0.1, 0.07, 0.05, math.nan], diverged=[0, 0, 0, 1]),
        ),
        {"diverged"},
    ),
    "infinite in the first epoch": (
        curve([0.0987], asked=10, **losses([math.inf], [math.inf], diverged=[1])),
        {"diverged"},
    ),
    "constant at a half": (curve([0.5] * 10, **losses([1.4] * 10)), {"underfit"}),
    "constant and perfect": (curve([1.0] * 10, **losses([0.0] * 10)), {"converged"}),
    "dead ReLU from the start, exploded": (
        curve(
            [0.0987] * 8,
            **losses(
                [2.3026] * 8, [3000.0] + [2.4] * 7, untrained=2.9, guessing_since=3
            ),
        ),
        {"diverged"},
    ),
    "dead ReLU from the start, cut": (
        curve(
            [0.1124] * 4,
            asked=10,
            **losses([2.3015] * 4, [40.0, 2.4, 2.4, 2.4], guessing_since=9),
        ),
        {"diverged"},
    ),
    "a constant loss above the untrained": (
        curve(
            [0.1022] * 10,
            **losses([14.5] * 10, [60.0] * 10, diverged=[1] * 10, above_since=3),
        ),
        {"diverged"},
    ),
    "noise about chance, accuracies alone": (
        curve([0.098, 0.103, 0.0975, 0.1124, 0.099, 0.1, 0.102, 0.098]),
        {"diverged"},
    ),
    "noise about chance, losses of a guess": (
        curve(
            [0.098, 0.103, 0.0975, 0.1124, 0.099, 0.1, 0.102, 0.098],
            **losses(
                [2.303, 2.305, 2.302, 2.304, 2.303, 2.306, 2.303, 2.304],
                [2.4] * 8,
                untrained=2.31,
            ),
        ),
        {"underfit", "undecided"},
    ),
    # overfitting
    "the held-out loss rises, its accuracy does not fall": (
        curve(
            [0.97, 0.99, 0.996, 0.999, 1.0, 1.0, 1.0, 1.0],
            held_out=[0.965, 0.975, 0.978, 0.979] + [0.9785] * 4,
        ),
        {"converged"},
    ),
    "noisy labels, a large network": (
        curve(
            [0.48, 0.52, 0.54, 0.56, 0.59, 0.63, 0.68, 0.73, 0.79, 0.84],
            held_out=[0.84, 0.87, 0.86, 0.84, 0.81, 0.77, 0.72, 0.67, 0.61, 0.57],
        ),
        {"overfit"},
    ),
    "noisy labels, a small network": (
        curve(
            [0.49, 0.503, 0.507, 0.509, 0.510, 0.5107, 0.511, 0.5112, 0.5113, 0.5114],
            held_out=[
                0.85,
                0.875,
                0.88,
                0.882,
                0.883,
                0.884,
                0.884,
                0.8845,
                0.885,
                0.8848,
            ],
            label_noise=30_000,
        ),
        {"underfit"},
    ),
    "overfit on a hundred held-out images": (
        curve(
            [0.7, 0.85, 0.93, 0.97, 0.99, 1.0, 1.0, 1.0],
            held_out=[0.71, 0.80, 0.84, 0.80, 0.81, 0.78, 0.79, 0.80],
            data=replace(MNIST, test_images=100),
        ),
        {"converged"},
    ),
    "memorised at the cost of a fifth": (
        curve(
            rise(0.6, 0.97, 12),
            held_out=[
                0.8,
                0.85,
                0.86,
                0.84,
                0.82,
                0.79,
                0.76,
                0.74,
                0.72,
                0.70,
                0.69,
                0.68,
            ],
        ),
        {"overfit"},
    ),
    # other data sets
    "a hundred classes, learned": (
        curve(rise(0.05, 0.86, 30), data=HUNDRED_CLASSES),
        {"converged"},
    ),
    "a hundred classes, at a small rate": (
        curve(rise(0.02, 0.30, 20), data=HUNDRED_CLASSES),
        {"slow"},
    ),
    "a hundred classes, collapsed": (
        curve([0.3, 0.5, 0.6, 0.65, 0.012, 0.01, 0.01], data=HUNDRED_CLASSES),
        {"diverged"},
    ),
    "a hundred classes, level at 0.6": (
        curve(measured(0.6 - 0.5 * 0.5 ** np.arange(15)), data=HUNDRED_CLASSES),
        {"underfit"},
    ),
    "nine in ten of one class, only those": (
        curve([0.9] * 10, data=MOSTLY_ONE_CLASS, **losses([0.325] * 10, untrained=0.7)),
        {"underfit", "undecided"},
    ),
    "nine in ten of one class, learned": (
        curve(rise(0.91, 0.98, 10), data=MOSTLY_ONE_CLASS),
        {"converged"},
    ),
    "nine in ten of one class, fallen back": (
        curve([0.92, 0.95, 0.97, 0.975, 0.9, 0.9, 0.9], data=MOSTLY_ONE_CLASS),
        {"diverged"},
    ),
    "a hundred training images": (
        curve(
            [0.88, 0.95, 0.94, 0.97, 0.96, 0.99, 1.0, 1.0],
            held_out=[0.7, 0.8, 0.7, 0.75, 0.65, 0.7, 0.7, 0.65],
            data=TINY,
        ),
        {"converged"},
    ),
    "mnist-5k, level within its noise": (
        curve(measured(np.full(12, 0.86), 4_000), data=MNIST_5K),
        {"underfit"},
    ),
    # other frameworks: held-out accuracies alone, running means, no windows
    "held out alone, learned": (
        held_out_only(measured(rise(0.95, 0.98, 10), 10_000)),
        {"converged"},
    ),
    "held out alone, 500 images": (
        held_out_only(measured(rise(0.94, 0.985, 12), 500, seed=1), images=500),
        {"converged"},
    ),
    "held out alone, slow": (
        held_out_only(measured(rise(0.4, 0.8, 10), 10_000)),
        {"slow"},
    ),
    "held out alone, wild": (
        held_out_only([0.93, 0.95, 0.90, 0.955, 0.88, 0.95, 0.91, 0.96, 0.93, 0.94]),
        {"oscillating"},
    ),
    "running means of the training accuracy": (
        curve(
            [0.83, 0.94, 0.958, 0.966, 0.972],
            held_out=[0.938, 0.955, 0.964, 0.969, 0.972],
            batch_size=64,
            **losses([0.6, 0.2, 0.14, 0.11, 0.09], [2.9, 1.0, 0.9, 0.8, 0.9]),
        ),
        {"converged"},
    ),
    "the first epoch's mean loss is above the untrained": (
        curve(
            [0.55, 0.90, 0.94, 0.955, 0.962, 0.968],
            batch_size=64,
            **losses(
                [4.1, 0.4, 0.22, 0.16, 0.13, 0.11], [85.0, 1.6, 1.1, 1.0, 0.9, 0.9]
            ),
        ),
        {"converged"},
    ),
    # at the target, and about it
    "small to and fro far beyond the target": (
        curve([0.95, 0.97, 0.981, 0.986, 0.980, 0.986, 0.980, 0.987, 0.981, 0.986]),
        {"converged"},
    ),
    "large to and fro beyond the target": (
        curve(alternating(0.96, 0.99, 0.99, 12)),
        {"oscillating"},
    ),
    "creeping up to just below": (
        curve(measured(1 - 0.05 - 0.05 * 0.6 ** np.arange(15))),
        {"undecided", "underfit"},
    ),
    "wild, ending well": (
        curve([0.91, 0.94, 0.88, 0.95, 0.90, 0.955, 0.87, 0.95, 0.96, 0.965]),
        {"oscillating"},
    ),
}
