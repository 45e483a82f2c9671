"""What curves are labelled, with the evidence and the projections, to the letter (`kept_texts`)."""

import math
from dataclasses import replace
from itertools import groupby

import numpy as np
from kept_texts import assert_kept
from made_up_curves import AT_CHANCE, FAST, curve, cut, level, losses, rise, sweep
from real_curves import SWEEPS, data_of
from test_cut_curves import notebook_curves
from test_reported_curves import REPORTED

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.forecast import epochs_to, forecast, reached
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.statistics import (
    at_chance,
    drop,
    falling,
    flat,
    hardly_begun,
    late_pace,
    shaken,
    stuck,
)
from validation.label_cuts import Sweep, read_set

REAL = ("tiny", "noise_small", "noise_large", "few_images", "edge_5k")
CHOSEN = """
fashion 20000 sgd, text madgrad, votes plateau, mse momentum wine, linear schedule twenty, full batch fourier digits,
alarms, highway wrong labels
"""
"""Sweeps of the unseen sets: together they have nearly each sentence of the evidence."""


def epochs(*ends):
    return ", ".join(f"{end:.4g}" for end in ends)


def of_sweep(title, found):
    """Return the lines of a labelled sweep."""
    lines = [f"{title}: target {found['target'].iloc[0]:.4g}"]
    for row in found.itertuples():
        seed = getattr(row, "seed", 0)
        name = f"{row.learning_rate:g}" + f" seed {seed}" * (seed > 0)
        own = f" (alone {row.curve_regime})" * (row.curve_regime != row.regime)
        when = epochs(row.reaches, row.reaches_from, row.reaches_to).replace("nan, nan, nan", "-")
        lines.append(f"  {name:<7} {row.regime}{own}: {row.regime_evidence} | {when}")
    return lines


def test_recorded_sweeps_and_their_first_epochs_are_labelled_as_they_were():
    names, lines = " ".join(CHOSEN.split()).split(", "), []
    unseen = [one for number in (1, 2, 3, 4, 5, 6, 8) for one in read_set(number) if one.name in names]
    real = [Sweep(name, *SWEEPS[name], data_of(SWEEPS[name][0])) for name in REAL]
    for one in [*real, *unseen]:
        lines += of_sweep(one.name, one.labelled())
        if one in unseen:
            lines += of_sweep(f"{one.name}, cut", one.until(round(one.asked / 2.5), one.asked, "").labelled())
    assert_kept("labels of recorded sweeps", "\n".join([*lines, ""]))


# --- curves one at a time


FEW = DataFacts.of([1_280] * 10, 1_000, 0.95)
"""A hundred windows an epoch: a network that has been at chance for ten epochs has been there for long enough."""
LEVEL = list(0.84 - 0.16 * 0.45 ** np.arange(10))
CLIMB = list(rise(0.58, 0.86, 10))
WAY = list(rise(0.80, 0.94, 10))
DIPS = {"visible": 0.03, "small": 0.007, "noise": 0.004}
MEMORISED = {"held_out": [0.96, 0.97, 0.975, 0.975, 0.97, 0.966, 0.963, 0.96]}
TRAINED = [0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999, 1.0]


def dipped(n, at, depth, top=0.98):
    accuracy = np.full(n, top)
    accuracy[[*at]] -= depth
    return accuracy


def with_loss(accuracy, last, **values):
    return curve(accuracy, train_loss=[2.0] * (len(accuracy) - 1) + [last], untrained_loss=2.4, **values)


BOUNDS = {
    "no epoch": curve([]),
    "one epoch": curve([0.6], asked=3),
    "two epochs": curve([0.6, 0.7]),
    "two epochs at the target": curve([0.99, 0.98]),
    "four epochs": curve([0.8, 0.85, 0.89, 0.92]),
    "five epochs": curve([0.8, 0.85, 0.89, 0.92, 0.93]),
    **{
        f"{n} epochs at chance{end}": curve([0.5, *[0.1] * n], asked=asked, data=FEW)
        for n, asked, end in ((1, 2, ""), (2, 3, ""), (9, 20, " of 20"), (10, 20, " of 20"), (11, 20, " of 20"))
    },
    **{f"{n} epochs always at chance": curve([0.1] * n) for n in (2, 3)},
    **{
        f"always at chance, loss {loss}, peak {peak}": curve(
            [0.1124] * 4, **losses([loss] * 4, [peak] * 4, untrained=2.35, guessing_since=9)
        )
        for loss, peak in ((2.301, 2.5), (2.301, 5.0), (2.2, 5.0))
    },
    **{
        f"loss {loss}, accuracy {last}, flagged {flag}, above since {since}, of {asked}": with_loss(
            [0.3, 0.4, last], loss, asked=asked, diverged=None if flag is None else [0, 0, flag], above_since=since
        )
        for loss, last, flag, since, asked in (
            (2.6, 0.1, 1, 7, 9), (2.6, 0.1, 1, None, 9), (2.6, 0.1, 0, 7, 9), (2.6, 0.1, 0, 7, 3),
            (2.6, 0.1, 0, None, 3), (2.6, 0.1, None, None, 3), (2.6, 0.3, None, None, 3),
            (2.6, 0.3, 1, None, 3), (2.4, 0.1, 1, 7, 3),
            (math.inf, 0.3, 0, None, 9), (math.nan, 0.3, None, None, 9),
        )
    },
    **{
        f"{n} epochs of {asked}, {said} dips after {at}, from {top}": curve(dipped(n, at, DIPS[said], top), asked=asked)
        for n, asked, said, at, top in (
            (5, 5, "visible", (1,), 0.98), (5, 5, "visible", (1, 3), 0.98), (4, 4, "visible", (1, 3), 0.98),
            (13, 13, "visible", (8,), 0.98), (13, 13, "visible", (2, 9), 0.98), (13, 13, "visible", (8, 10), 0.98),
            (37, 37, "visible", (20, 28, 33), 0.98), (37, 37, "visible", (20, 25, 28, 33), 0.98),
            (13, 13, "small", (2, 4, 6, 8), 0.98), (13, 13, "small", (2, 4, 6, 8), 0.94),
            (13, 13, "small", (2, 4, 6), 0.94), (7, 7, "small", (2, 4), 0.94), (7, 7, "small", (3,), 0.94),
            (13, 13, "small", (2, 4, 6, 10), 0.953), (13, 13, "noise", (2, 4, 6, 8), 0.94),
            (4, 4, "small", (2,), 0.94), (7, 7, "visible", (6,), 0.98), (7, 7, "visible", (6,), 0.97),
            (7, 9, "visible", (6,), 0.97), (4, 4, "visible", (3,), 0.97),
        )
    },
    **{
        f"a peak after {at}": curve(
            [0.9, 0.93, 0.94, 0.96, 0.97], step_loss_max=np.where(np.isin(range(5), at), 2.5, 1.0), untrained_loss=2.4
        )
        for at in ((0, 4), (1, 4), (3,), (3, 4))
    },
    "a first peak": curve([0.96, 0.97, 0.98], step_loss_max=[40.0, 1, 1], untrained_loss=2.4),
    "a first peak, slow": curve([0.5, 0.58, 0.63, 0.66, 0.69], step_loss_max=[40.0, 1, 1, 1, 1], untrained_loss=2.4),
    **{f"{values} at the target": curve(values, asked=9) for values in (
        [0.951], [0.953], [0.951, 0.9505], [0.949, 0.9501, 0.9505], [0.94, 0.945, 0.9501], [0.96, 0.955, 0.949],
        [0.97, 0.96, 0.934], [0.97, 0.98, 0.96, 0.952, 0.951], [0.94, 0.96, 0.949, 0.951, 0.952],
        [0.94, 0.945, 0.949, 0.951, 0.943, 0.951, 0.952], [0.5, 0.9, 0.93, 0.938, 0.945, 0.95],
        [0.5, 0.9, 0.955, 0.94, 0.945, 0.944],
    )},
    **{f"{said} of {asked}": curve(values, asked=asked) for said, values in (
        ("level", LEVEL), ("climbing", CLIMB), ("on its way", WAY),
    ) for asked in (10, 30)},
    "level, cosine": curve(LEVEL, schedule="cosine"),
    "climbing, linear": curve(CLIMB, schedule="linear"),
    "climbing, cosine, cut": curve(CLIMB, asked=30, schedule="cosine"),
    "climbing, with losses": curve(CLIMB, **losses(4 * (1 - np.array(CLIMB)), [0.4] * 10)),
    "climbing, the loss hardly": curve(CLIMB, **losses(np.linspace(2.34, 2.3, 10), [2.4] * 10)),
    "half of the labels wrong": curve(list(0.53 - 0.1 / np.arange(1, 11)), label_noise=30_000),
    "half of the labels wrong, memorised": curve(list(rise(0.4, 0.7, 10)), label_noise=30_000),
    "a decline since the third": curve([0.88, 0.89, 0.90, 0.898, 0.895, 0.893, 0.891, 0.889, 0.887, 0.886]),
    "a decline since the eighth": curve([0.85, 0.86, 0.87, 0.88, 0.89, 0.895, 0.899, 0.90, 0.894, 0.888]),
    "memorised": curve(TRAINED, **MEMORISED),
    "memorised by three epochs": curve([0.9, 0.95, 0.99], held_out=[0.9, 0.91, 0.88]),
    "memorised by two epochs": curve([0.9, 0.99], held_out=[0.9, 0.88]),
    "memorised, training got worse": curve([*TRAINED[:7], 0.95], **MEMORISED),
    "memorised, its loss got worse": curve(TRAINED, **MEMORISED, train_loss=[0.2, 0.1, 0.05, 0.1, 0.2, 0.3, 0.3, 0.3]),
    "memorised, the loss says so": curve(
        TRAINED, held_out=[0.96, 0.97, 0.975, 0.975, 0.9745, 0.974, 0.9735, 0.973],
        held_out_loss=[0.2, 0.1, 0.08, 0.09, 0.11, 0.14, 0.17, 0.2],
    ),
    "memorised, the loss falls": curve(
        TRAINED, held_out=[0.96, 0.97, 0.975, 0.975, 0.9745, 0.974, 0.9735, 0.973],
        held_out_loss=[0.2, 0.1, 0.08, 0.079, 0.078, 0.077, 0.076, 0.075],
    ),
    "held out at chance": curve([0.3, 0.6, 0.9], held_out=[0.1, 0.11, 0.1]),
    "held out at chance, hardly trained": curve([0.2, 0.25, 0.3], held_out=[0.1, 0.11, 0.1]),
    "held out alone": Curve(np.array(CLIMB), 10),
}  # fmt: skip


def course(found, goal):
    """Return the labels of a curve that was cut after each epoch: of each its letters, and after how many epochs."""
    labels = [curve_regime(cut(found, n), goal)[0] for n in range(1, found.epochs + 1)]
    return " ".join(f"{name[:2]}{len([*same])}" for name, same in groupby(labels))


ASKED = (drop, falling, flat, hardly_begun, shaken, stuck)


def statistics(found, goal):
    """Return what the labels ask of a curve and, if it is not at its target, the law that it follows."""
    ahead = forecast(found, goal)
    exponents = (ahead.exponent, ahead.slowest, ahead.fastest)
    law = "a {} ({} to {}) {:.4g}, ".format(*(round(one, 3) + 0.0 for one in exponents), ahead.likely)
    paces = ", ".join(f"{round(one, 3) + 0.0}" for one in late_pace(found))
    yes = " ".join(ask.__name__ for ask in ASKED if ask(found))
    return f"pace {paces}, chance {at_chance(found)}, {law * (not ahead.is_past)}{yes}".rstrip(", ")


def test_curves_are_labelled_as_they_were_and_so_are_their_first_epochs():
    known = {name: found for name, (found, _) in REPORTED.items()}
    lines = []
    for name, found in (dict(notebook_curves()) | known | BOUNDS).items():
        goal = found.data.target
        label, evidence = curve_regime(found, goal)
        assert goal != 0.95 or curve_regime(found) == (label, evidence), "by default the target is MNIST's"
        when = epochs(*epochs_to(reached(found, goal, label), label)).replace("nan, nan, nan", "-")
        lines.append(f"{name}: {label}: {evidence} | {when}")
        unknown = curve_regime(found, None)
        if name in BOUNDS and found.epochs > 1:
            lines += [f"  no target: {', '.join(unknown)}"] * (
                "of 10" in name or ("epochs" in name and unknown[0] != label)
            )
            lines.append(f"  {course(found, goal)}; {statistics(found, goal)}")
    assert_kept("labels of curves", "\n".join([*lines, ""]))


# --- siblings


GUESSING = losses([2.301] * 10)
SLOWER = list(rise(0.50, 0.80, 10))
NO_TARGET = replace(MNIST, target=None)
RARE = DataFacts.of([9_700, 300], 2_000)


TO_AND_FRO = [0.5, 0.6, 0.65, 0.641, 0.70, 0.74, 0.731, 0.76, 0.759, 0.80]
TWO_FALLS = [0.5, 0.6, 0.588, 0.65, 0.7, 0.72, 0.708, 0.76, 0.77, 0.80]
ONE_FALL = [0.5, 0.6, 0.65, 0.7, 0.72, 0.74, 0.731, 0.76, 0.77, 0.80]
CUT = [0.5, 0.7, 0.8, 0.84, 0.86]
FALLING = losses(np.linspace(3.5, 2.6, 10), untrained=3.6)
STILL = losses([0.1347] * 10, untrained=0.7)
LEARNED_RARE = [0.97, *[0.985] * 9]
FALLING_RARE = losses(np.geomspace(0.13, 0.08, 10), untrained=0.7)
NOT_FINITE = losses([2.3, *[math.nan] * 9], untrained=2.4, diverged=[0, *[1] * 9])


def scene(*trials, **values):
    return trials, values


SCENES = {
    "a faster one is better": scene((0.1, level(0.80)), (1.0, level(0.97))),
    "another seed at the rate says nothing": scene((0.1, level(0.80)), (0.1, level(0.97)), seed=[0, 1]),
    "rates that are equal but for rounding are equal": scene(
        (1.0, level(0.80)), (0.1, level(0.97)), momentum=[0.0, 0.9]
    ),
    "rates of different batches are compared by image": scene(
        (0.5, level(0.80)), (1.0, level(0.97)), batch_size=[8, 128]
    ),
    "a slower one is better: what goes to and fro oscillates": scene(
        (0.1, TO_AND_FRO), (0.15, TWO_FALLS), (0.2, ONE_FALL), (0.5, level(0.80)), (0.01, level(0.96))
    ),
    "of four epochs one fall is not often": scene((0.1, [0.5, 0.6, 0.58, 0.7]), (0.01, [0.8, 0.85, 0.88, 0.9])),
    "better by what nobody sees": scene((0.1, level(0.80)), (1.0, level(0.812))),
    "better by what is seen": scene((0.1, level(0.80)), (1.0, level(0.82))),
    "at the target less counts as better": scene((0.1, level(0.94)), (1.0, level(0.952))),
    "what diverged is no measure": scene((0.1, level(0.80)), (1.0, level(0.97)[:5] + [0.1] * 5)),
    "what memorised is no measure": scene(
        (0.1, level(0.80)), (1.0, level(0.97), {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.9] * 6]})
    ),
    "at chance: dead above the least rate that learned": scene(
        *((rate, AT_CHANCE, GUESSING) for rate in (0.001, 0.01, 0.03, 1.0)), (0.01, FAST), (0.1, FAST)
    ),
    "at chance, not finite": scene((0.001, AT_CHANCE, NOT_FINITE), (0.05, AT_CHANCE, NOT_FINITE), (0.01, FAST)),
    "after two epochs": scene((0.1, FAST), (2.0, level(0.80)[:2]), asked=10),
    "none learned": scene((0.001, AT_CHANCE, GUESSING), (0.1, AT_CHANCE, GUESSING)),
    "a loss that falls is not dead": scene((0.05, AT_CHANCE, FALLING), (0.01, FAST), (0.1, FAST)),
    "a few steps at chance are not the end": scene(
        (0.1, AT_CHANCE[:6], losses([2.5] * 6)), (0.01, FAST), asked=60, batch_size=[60_000] * 2
    ),
    "many are": scene((0.1, AT_CHANCE[:6], losses([2.5] * 6)), (0.01, FAST), asked=60),
    "where one class is frequent the loss decides": scene(
        (0.03, [0.97] * 10, FALLING_RARE), (0.01, LEARNED_RARE, FALLING_RARE), (0.1, [0.97] * 10, STILL), data=RARE
    ),
    **{f"cut, of {asked}": scene((0.1, CUT), (1.0, level(0.97)), asked=asked) for asked in (6, 10)},
    "ahead after as many epochs": scene(
        (1.0, [0.6, 0.8, 0.8918]), (0.3, [0.86, 0.8748, 0.881]), (0.1, [0.8, 0.84, 0.87])
    ),
    "diverged below the least rate that learned, not at chance": scene(
        (0.001, [0.3] * 3, losses([500.0] * 3, untrained=2.4, diverged=[0, 1, 1])), (0.01, FAST), asked=10
    ),
    "cut, hardly slower": scene((0.1, CUT), (1.0, [0.51, 0.71, 0.81, 0.85, 0.87]), asked=6),
    "cut, shaken": scene((0.1, [0.3, 0.42, 0.49, 0.44, 0.57]), (1.0, level(0.97)), asked=10),
    "cut after two": scene((0.1, [0.3, 0.42]), (1.0, level(0.97)), asked=10),
    "cut, without a target": scene((0.1, CUT), (1.0, level(0.97)), asked=6, data=NO_TARGET),
    "three times the epochs": scene((0.1, WAY), (0.2, list(rise(0.8, 0.951, 10))), (1.0, FAST), (2.0, level(0.96))),
    "not three times": scene((0.1, WAY), (1.0, list(rise(0.8, 0.951, 10)))),
    "what is at the target is never slow": scene(
        (0.1, [0.90, 0.91, 0.92, 0.93, *[0.94] * 3, 0.948, 0.947, 0.95]), (1.0, [0.99] * 10)
    ),
    "after a schedule that ends at 0 more epochs tell nothing": scene((0.1, CLIMB), schedule=["cosine"]),
    "the target is that of the best": scene((0.1, level(0.90)), (1.0, level(0.93)), data=NO_TARGET),
    "the target is not that of one that memorised": scene(
        (0.1, level(0.90)), (1.0, level(0.99), {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.93] * 6]}), data=NO_TARGET
    ),
    "the target is that on held-out images": scene(
        (0.1, level(0.90)), (1.0, level(0.99), {"test_accuracy": level(0.85)}), data=NO_TARGET
    ),
    "the target is not that of one that runs": scene((0.1, level(0.90)), (1.0, FAST[:4]), asked=10, data=NO_TARGET),
    "the target before one has ended": scene((0.1, level(0.90)[:5]), (1.0, FAST[:4]), asked=10, data=NO_TARGET),
    "none has learned": scene((0.1, [0.2] * 5), data=NO_TARGET),
    "the target of few images is below the best by its noise": scene(
        (0.1, [0.97, 0.98, 0.99, 0.99, 0.99]), data=DataFacts.of([97, 3], 50)
    ),
    "another data set": scene((0.1, level(0.93)), data=DATA["mnist-5k"]),
    **{
        f"other {name}": scene((0.1, level(0.80)), (1.0, level(0.97)), **{name: values})
        for name, values in {
            "architecture": ["mlp-16-tanh", "mlp-32-tanh"], "label_noise": [0, 100], "optimizer": ["sgd", "adam"],
            "schedule": ["constant", "warm-up"], "loss": ["cross-entropy", "mse"], "drop_last": [False, True],
            "weight_decay": [0.0, 0.1], "momentum": [0.0, 0.9], "nesterov": [True, False],
        }.items()
    },
}  # fmt: skip


def test_siblings_say_of_each_other_what_they_said():
    found = {title: sweep(*trials, **values) for title, (trials, values) in SCENES.items()}
    lines = []
    for title, labelled in found.items():
        lines += of_sweep(title, labelled)[: 2 if "other" in title else None]
    assert_kept("labels of siblings", "\n".join([*lines, ""]))
