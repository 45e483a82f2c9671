"""When a trial has diverged: decided from its losses, with the step at which they left for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_tune.regimes.noise import calm_limit, window_images

MNIST_CHANCE = 0.1124
"""Share of the ones, MNIST's most frequent training label: what a constant answer reaches at most."""

PATIENCE = 1000
"""Steps, or windows of 128 images where a step has fewer, for which a network guesses above its untrained loss before
it counts as lost. Of 784-1024-128-10 at learning rates from 1 to 2 the runs that came back did so after 20 to 1,300
steps (docs/regimes.md): it is steps that count, not epochs, of which one may have 30 or 500."""

BLOWN_UP = 100
"""Times the untrained loss from which nobody waits: runs that recovered peaked at 65 times (177 nats, rate 2)."""


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
    row: Mapping[str, Any], batch_size: int = 128, chance: float = MNIST_CHANCE, images: int = 60_000
) -> bool:
    """Whether a trial is lost after an epoch.

    Its loss is not finite, or more than `BLOWN_UP` times that of the untrained network; or it is above that by more
    than noise, the network guesses, and for `PATIENCE` steps its loss has not been below. (At learning rates near the
    edge a run may guess for some epochs and recover. On random labels a network stays at its untrained loss, give or
    take the noise of its steps, without being lost.)

    Args:
        row: of the epochs table.
        batch_size: images a step.
        chance: share of the most frequent label.
        images: over which the training loss is a mean.
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
