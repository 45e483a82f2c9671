"""The decision, in training, whether a trial has diverged, and since which step its loss has been too high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_tune.regimes.noise import calm_limit, window_images
from mnist_tune.regimes.tuned import BLOWN_UP, CHANCE_MARGIN, PATIENCE


def chance_of(label_counts: np.ndarray | Sequence[int]) -> float:
    """Return the accuracy of the best constant answer: the share of the most frequent label."""
    counts = np.asarray(label_counts, float)
    return float(counts.max() / counts.sum())


def guess_loss(label_counts: np.ndarray | Sequence[int], loss: str = "cross-entropy") -> float:
    """Return the loss of the best constant guess, which gives each class its frequency f among the labels:
    `-sum f ln f` nats, or `(1 - sum f²) / 2` for mse."""
    shares = np.asarray(label_counts, float)
    shares = shares[shares > 0] / shares.sum()
    return float((1 - (shares**2).sum()) / 2 if loss == "mse" else -(shares * np.log(shares)).sum())


def chance_ceiling(chance: float) -> float:
    """Return the accuracy up to which a network counts as guessing, `chance + (1 - chance) / 20`. The notebook's
    diverged networks are between 0.09 and 0.104."""
    return chance + (1 - chance) * CHANCE_MARGIN


def has_diverged(row: Mapping[str, Any], batch_size: int, chance: float, images: int) -> bool:
    """Return whether a trial has diverged by the end of an epoch, given the epoch's row of the `epochs` table, the
    share of the most frequent label, and the number of images that the training loss is measured on.

    It has if its loss is not finite, or at least `BLOWN_UP` times the untrained loss. It also has if the network
    guesses, its loss is above the untrained loss by more than noise, and no step was below that for `PATIENCE` steps.
    (Near the edge, a run may guess for some epochs and recover. With random labels, a network stays at its untrained
    loss, up to the noise of its steps, and has not diverged.)
    """
    if not row["finite"] or row["train_loss"] >= BLOWN_UP * row["untrained_loss"]:
        return True
    if row["above_since"] is None or row["train_loss"] <= calm_limit(row["untrained_loss"], images):
        return False
    windows = (row["step"] - row["above_since"] + 1) * batch_size / window_images(batch_size)
    return bool(windows >= PATIENCE and row["train_accuracy"] <= chance_ceiling(chance))


def left_for_good(
    losses: np.ndarray, untrained_loss: float, first_step: int, since: int | None, starts: np.ndarray | None = None
) -> int | None:
    """Return the number, from 1, of the step since which all losses are above a limit; None if the last one is not.

    Args:
        losses: the losses of an epoch's steps or their means over windows, in order, nats; NaN counts as above.
        untrained_loss: the limit, such as the loss of the untrained network, nats.
        first_step: the number of the epoch's first step, from 1.
        since: what this function returned for the epoch before.
        starts: the index of each window's first step; by default, a window is a step.
    """
    below = np.flatnonzero(losses <= untrained_loss)
    if not len(below):
        return first_step if since is None else since
    after = int(below[-1]) + 1
    if after == len(losses):
        return None
    return first_step + (after if starts is None else int(starts[after]))
