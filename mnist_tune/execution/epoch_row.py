"""A trial's row in the `epochs` table, computed from an epoch's step losses and evaluations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mnist_tune.execution.checkpoint import Progress
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.step_losses import left_for_good, window_means
from mnist_tune.regimes.divergence import chance_of, guess_loss, has_diverged
from mnist_tune.regimes.noise import WINDOW_IMAGES, calm_floor
from mnist_tune.trial import TrialConfig

Row = dict[str, Any]


def epoch_row(
    progress: Progress,
    losses: np.ndarray,
    scores: dict[str, tuple[float, float]],
    config: TrialConfig,
    data: DeviceData,
) -> Row:
    """Return an epoch's row.

    Args:
        progress: the trial's progress before this epoch.
        losses: the loss of each step, [steps].
        scores: for each split, the loss and the accuracy.
        config: of the trial.
        data: what the trial trained on.
    """
    done, batch_size = progress.epoch * len(losses), config.batch_size
    means, starts = window_means(losses, batch_size, data.train_count)
    guessing = calm_floor(guess_loss(data.label_counts, config.loss), max(batch_size, WINDOW_IMAGES), len(means))
    since = (progress.row or {}).get("guessing_since")
    row: Row = {
        "epoch": progress.epoch + 1,
        "step": done + len(losses),
        "step_loss_first": float(losses[0]),
        "step_loss_max": float(losses.max()),
        "step_loss_last": float(losses[-1]),
        "window_loss_max": float(means.max()),
        "finite": bool(np.isfinite(losses).all() and math.isfinite(scores["train"][0])),
        "above_since": left_for_good(means, progress.untrained_loss, done + 1, progress.above_since, starts),
        "guessing_since": left_for_good(means, guessing, done + 1, since, starts),
        "untrained_loss": progress.untrained_loss,
    }
    for split, (loss, accuracy) in scores.items():
        row[f"{split}_loss"], row[f"{split}_accuracy"] = loss, accuracy
    return row | {"diverged": has_diverged(row, batch_size, chance_of(data.label_counts), data.splits["train"][1])}
