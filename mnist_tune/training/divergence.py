"""When a trial has diverged: decided from its losses, with the step at which they left for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_tune.training.noise import calm_limit

MNIST_CHANCE = 0.1124
"""Share of the ones, MNIST's most frequent training label: what a constant answer reaches at most."""

PATIENCE = 100
"""Steps, or windows of 128 images where a step has fewer, before a finite loss counts as lost. A catapult (Lewkowycz
et al. 2020) rises for about log(width) steps, some ten, and takes as long again to fall; an epoch of large batches, or
of 4,000 images, may be shorter than that."""

HOPELESS = 100
"""Times the untrained loss from which nobody waits: runs that recovered peaked at 51 times (137 nats, rate 1.6)."""


def guessing(label_counts: np.ndarray | Sequence[int]) -> tuple[float, float]:
    """Accuracy of the best constant answer, and loss of the best constant guess, `-sum f ln f` over the frequencies f
    of the labels, nats."""
    shares = np.asarray(label_counts, float)
    shares = shares[shares > 0] / shares.sum()
    return float(shares.max()), float(-(shares * np.log(shares)).sum())


def chance_ceiling(chance: float = MNIST_CHANCE) -> float:
    """The accuracy up to which a network counts as guessing: a twentieth of the way from a constant answer to all
    right. Diverged networks of the notebook are between 0.09 and 0.104."""
    return chance + (1 - chance) / 20


def has_diverged(
    row: Mapping[str, Any], steps: int, chance: float = MNIST_CHANCE, images: int = 60_000, patience: int = 0
) -> bool:
    """Whether a trial is lost after an epoch.

    Its loss is not finite; or its training loss is above that of the untrained network by more than noise, and either
    the network guesses or every step of the epoch was above too. (At learning rates near the edge some runs end the
    first epoch above, far from chance, and recover. On random labels a network stays at its untrained loss, give or
    take the noise of its steps, without being lost.)

    Args:
        row: of the epochs table.
        steps: in this epoch.
        chance: share of the most frequent label.
        images: over which the training loss is a mean.
        patience: steps of the trial before a finite loss may count as lost.
    """
    if not row["finite"]:
        return True
    if row["step"] < patience and row["train_loss"] < HOPELESS * row["untrained_loss"]:
        return False
    above = row["train_loss"] > calm_limit(row["untrained_loss"], images)
    whole_epoch = row["above_since"] is not None and row["above_since"] <= row["step"] - steps + 1
    return bool(above and (row["train_accuracy"] <= chance_ceiling(chance) or whole_epoch))


def left_for_good(
    losses: np.ndarray, untrained_loss: float, first_step: int, since: int | None, starts: np.ndarray | None = None
) -> int | None:
    """The step at which the loss rose above the untrained network's and did not come back.

    Args:
        losses: of the steps of an epoch, in order, [steps]; NaN counts as above. Or means over windows of steps.
        untrained_loss: mean cross-entropy of the untrained network, nats.
        first_step: 1-based number of the first of these steps.
        since: the answer at the end of the epoch before.
        starts: of each window, its first step's index; by default a window is a step.

    Returns:
        The 1-based first step of the run of steps above `untrained_loss` that reaches the end; None if the
        last step is not above.
    """
    below = np.flatnonzero(losses <= untrained_loss)
    if not len(below):
        return first_step if since is None else since
    after = int(below[-1]) + 1
    if after == len(losses):
        return None
    return first_step + (after if starts is None else int(starts[after]))
