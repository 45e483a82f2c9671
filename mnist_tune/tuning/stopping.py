"""When a scheduler ends a trial early, and why a trial ends: ASHA, and the reasons that the tables name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Literal

from mnist_tune.trial import own_id

StopReason = Literal["completed", "diverged", "time_budget", "interrupted", "error"]
"""Or the name of the scheduler that stopped a trial (`scheduler_name`)."""

LOSS_CEILING = 1e9
"""Reported to schedulers in place of a loss that is NaN, infinite or larger: Tune's ASHA never stops a NaN."""

GRACE_PERIOD = 5
"""Epochs before ASHA may stop a trial: of fewer, most curves can't be told from one another."""

REDUCTION_FACTOR = 2
"""ASHA keeps one trial in so many at each rung; gentle, since a regime sweep wants curves, not one winner."""


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


def scheduler_name(scheduler: Any, otherwise: str) -> str:
    """What a scheduler's stops are called: `asha`, `hyperband`, `medianstopping`, ...

    Args:
        scheduler: of Tune's; None where `SweepOptions.scheduler` chooses.
        otherwise: that choice.
    """
    if scheduler is None:
        return otherwise
    for kind in type(scheduler).__mro__:
        if kind.__name__ == "AsyncHyperBandScheduler":
            return "asha"
    return type(scheduler).__name__.removesuffix("Scheduler").removesuffix("Rule").lower()


def keeping_ids(scheduler: Any) -> Any:
    """The scheduler, under which a trial that takes over another's config (population based training) keeps its own id:
    the config of a trial that was resumed holds one."""
    take_over = getattr(scheduler, "_get_new_config", None)
    if take_over is None:
        return scheduler

    def keep(trial: Any, donor: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = take_over(trial, donor)
        return config | {"trial": config["trial"] | {"trial_id": own_id(trial)}}, operations

    scheduler._get_new_config = keep
    return scheduler


def _named(trial: Any) -> SimpleNamespace:
    return SimpleNamespace(trial_id=own_id(trial))
