"""The decision, in training, whether a trial has diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_tune.regimes.noise import SIGMAS, accuracy_noise, calm_limit

PATIENCE = 1000
"""Steps that a network may guess above its untrained loss before it counts as diverged,
whatever the batch size. Runs of mlp-1024-128-tanh at rates from 1 to 2 that came back
did so after 20 to 1,300 steps."""

BLOWN_UP = 100
"""A loss of this many times the untrained loss counts as diverged after `PATIENCE`
steps, whatever the accuracy, and a larger one after fewer, in proportion. Of 756 runs
on digits, those that came back reached 40% of that."""

CHANCE_MARGIN = 1 / 20
"""Up to this share of what can be learned, a network counts as guessing. The notebook's
diverged networks are between 0.09 and 0.104."""

LOSS_CEILING = 1e9
"""The largest loss that schedulers see. It replaces NaN and infinity, since Tune's ASHA
never stops a NaN."""


def finite_loss(loss: float) -> float:
    """Return the loss for schedulers: finite, at most `LOSS_CEILING`."""
    if not math.isfinite(loss):
        return LOSS_CEILING
    return min(loss, LOSS_CEILING)


def chance_of(label_counts: np.ndarray | Sequence[int]) -> float:
    """Return the accuracy of the best constant answer: the share of the most frequent
    label."""
    return float(max(label_counts) / sum(label_counts))


def guess_loss(
    label_counts: np.ndarray | Sequence[int], loss: str = "cross-entropy"
) -> float:
    """Return the loss of the best constant guess, which gives each class its frequency
    f among the labels: `-sum f ln f` nats, or `(1 - sum f²) / 2` for mse."""
    counts = np.asarray(label_counts, float)
    shares = counts / counts.sum()
    shares = shares[shares > 0]
    if loss == "mse":
        return float((1 - (shares**2).sum()) / 2)
    return float(-(shares * np.log(shares)).sum())


def least_guess_loss(chance: float) -> float:
    """Return the least cross-entropy that the best constant guess can have, nats, given
    the share of the most frequent label; infinite if that is 0.

    It is that of as many labels as can have this share, and one that has the rest. So
    it is exact for two labels, and for any number of equally frequent ones.
    """
    if not chance > 0:
        return math.inf
    labels = math.floor(1 / chance)
    loss = -labels * chance * math.log(chance)
    rest = 1 - labels * chance
    if rest > 0:
        loss -= rest * math.log(rest)
    return loss


def chance_ceiling(chance: float, images: Any = math.inf) -> Any:
    """Return the accuracy up to which a network counts as guessing: `chance + (1 -
    chance) / 20` or, if that is more, what answers that do not depend on the images
    reach by luck on so many images.

    With two classes, an answer that differs from the most frequent label with the share
    e loses `e (2 chance - 1)` on average. Its standard error is `2 sqrt(e (1 - e)
    chance (1 - chance) / images)`. What is returned is the largest sum of the mean and
    three standard errors, over all e. With a rare class, that is hardly above chance.
    """
    luck = SIGMAS * accuracy_noise(chance, images)
    loss = max(chance - 0.5, 0.0)
    by_luck = np.hypot(luck, loss) - loss
    return chance + np.maximum((1 - chance) * CHANCE_MARGIN, by_luck)


def has_diverged(row: Mapping[str, Any], chance: float, images: int) -> bool:
    """Return whether a trial has diverged by the end of an epoch, given the epoch's row
    of the `epochs` table, the share of the most frequent label, and the number of
    images that the training loss is measured on.

    It has if its loss is not finite. It also has if its loss is above the untrained
    loss by more than noise, no step was below that for `PATIENCE` steps, and the
    network guesses or its loss is blown up (`BLOWN_UP`). (Near the edge, a run may
    guess for some epochs and recover. With random labels, a network stays at its
    untrained loss, up to the noise of its steps, and has not diverged.)
    """
    if not row["finite"]:
        return True
    loss, untrained = row["train_loss"], row["untrained_loss"]
    if row["above_since"] is None or loss <= calm_limit(untrained, images):
        return False
    steps = row["step"] - row["above_since"] + 1
    if steps >= PATIENCE and row["train_accuracy"] <= chance_ceiling(chance, images):
        return True
    times = loss / untrained
    return bool(times >= BLOWN_UP and steps * times >= BLOWN_UP * PATIENCE)


def blown_up(
    loss: float, untrained: float, least: float, deviation: float = 0.0
) -> bool:
    """Return whether the loss of a task, of either sign, is too far above the untrained
    one, given the least so far and the standard deviation of the untrained one over
    parts of the data."""
    scale = max(abs(untrained), deviation, untrained - least)
    return loss - untrained > (BLOWN_UP - 1) * scale
