"""When a trial ends early, and why.

Two rules: divergence, decided by the trial itself from its losses, and ASHA, decided by Tune's scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

StopReason = Literal["completed", "diverged", "asha", "time_budget", "interrupted", "error"]

LOSS_CEILING = 1e9
"""Reported to schedulers in place of a loss that is NaN, infinite or larger: Tune's ASHA never stops a NaN."""

GRACE_PERIOD = 5
"""Epochs before ASHA may stop a trial: of fewer, most curves can't be told from one another."""

REDUCTION_FACTOR = 2
"""ASHA keeps one trial in so many at each rung; gentle, since a regime sweep wants curves, not one winner."""


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


def finite_loss(loss: float) -> float:
    """The loss as a scheduler may see it: finite, at most `LOSS_CEILING`."""
    return min(loss, LOSS_CEILING) if math.isfinite(loss) else LOSS_CEILING


def stop_reason(epoch: int, epochs: int, diverged: bool) -> StopReason | Literal[""]:
    """Why a trial ends itself after this epoch; empty while it goes on."""
    if diverged:
        return "diverged"
    return "completed" if epoch >= epochs else ""


def asha(epochs: int, grace_period: int, past_rows: Iterable[Mapping[str, Any]] = ()) -> Any:
    """ASHA (Li et al. 2020) on the training loss.

    Args:
        epochs: the most that a trial runs.
        grace_period: epochs before a trial may be stopped.
        past_rows: rows of the sweep that is resumed; Tune does not restore rungs, so they are filled again.
    """
    from ray.tune.schedulers import ASHAScheduler

    class ResumableASHA(ASHAScheduler):  # type: ignore[misc]
        """Knows trials by our ids, which a resumed sweep keeps, not by Tune's."""

        _past = sorted(past_rows, key=lambda row: row["epoch"])

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
            super().on_trial_add(tune_controller, _named(trial))
            past, self._past = self._past, []
            for row in past:
                bracket, ghost = self._trial_info[_named(trial).trial_id], SimpleNamespace(trial_id=row["trial_id"])
                bracket.on_result(ghost, row["epoch"], -finite_loss(row["train_loss"]))

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> Any:
            return super().on_trial_result(tune_controller, _named(trial), result)

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            super().on_trial_complete(tune_controller, _named(trial), result)

        def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
            super().on_trial_remove(tune_controller, _named(trial))

    return ResumableASHA(
        time_attr="epoch",
        metric="scheduler_loss",
        mode="min",
        max_t=max(epochs, 1),
        grace_period=min(grace_period, epochs),
        reduction_factor=REDUCTION_FACTOR,
    )


def own_id(trial: Any) -> str:
    """The id that a Tune trial has in our tables: that of its config, else Tune's."""
    return str(trial.config["trial"].get("trial_id", trial.trial_id))


def _named(trial: Any) -> SimpleNamespace:
    return SimpleNamespace(trial_id=own_id(trial))
