"""What the losses of an epoch's steps say: their means over windows, and the step since which they are too high."""

from __future__ import annotations

import numpy as np

from mnist_tune.regimes.noise import window_images


def window_means(losses: np.ndarray, batch_size: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the losses of an epoch's steps, [steps], over windows of `WINDOW_IMAGES` images or more. Return the
    means, and the index of each window's first step.

    There are `images` images. The last step may have fewer than `batch_size`, or have left out the rest; an incomplete
    window is added to the one before it.
    """
    images = min(images, batch_size * len(losses))
    sizes = np.full(len(losses), float(batch_size))
    sizes[-1] = images - batch_size * (len(losses) - 1)
    span = window_images(batch_size) // batch_size
    starts = np.arange(0, max(len(losses) - span * (images % (span * batch_size) > 0), 1), span)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(losses.astype(np.float64) * sizes, starts)
    return sums / np.add.reduceat(sizes, starts), starts


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
