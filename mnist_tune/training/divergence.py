"""When a trial has diverged: decided from its losses, with the step at which they left for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

CHANCE_ACCURACY = 0.15
"""Ten classes give 0.10; diverged networks of the notebook are between 0.09 and 0.104."""


def has_diverged(row: Mapping[str, Any], steps: int) -> bool:
    """Whether a trial is lost after an epoch.

    Its loss is not finite; or its training loss is above that of the untrained network, and either the network
    classifies at chance or every step of the epoch was above too. (At learning rates near the edge some runs
    end the first epoch above, far from chance, and recover.)

    Args:
        row: of the epochs table.
        steps: in this epoch.
    """
    if not row["finite"]:
        return True
    above = row["train_loss"] > row["untrained_loss"]
    whole_epoch = row["above_since"] is not None and row["above_since"] <= row["step"] - steps + 1
    return bool(above and (row["train_accuracy"] <= CHANCE_ACCURACY or whole_epoch))


def left_for_good(losses: np.ndarray, untrained_loss: float, first_step: int, since: int | None) -> int | None:
    """The step at which the loss rose above the untrained network's and did not come back.

    Args:
        losses: of the steps of an epoch, in order, [steps]; NaN counts as above.
        untrained_loss: mean cross-entropy of the untrained network, nats.
        first_step: 1-based number of the first of these steps.
        since: the answer at the end of the epoch before.

    Returns:
        The 1-based first step of the run of steps above `untrained_loss` that reaches the end; None if the
        last step is not above.
    """
    below = np.flatnonzero(losses <= untrained_loss)
    if len(below) == len(losses) or (len(below) and below[-1] == len(losses) - 1):
        return None
    if len(below):
        return first_step + int(below[-1]) + 1
    return first_step if since is None else since
