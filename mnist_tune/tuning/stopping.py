"""ASHA, which stops trials early, and the stop reasons of trials."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from mnist_tune.columns import EPOCHS
from mnist_tune.errors import UserError
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.trial import closest, own_id

if TYPE_CHECKING:
    import pandas as pd

    from mnist_tune.tuning.past import Past

StopReason = Literal["completed", "diverged", "time_budget", "interrupted", "error"]
"""A stop reason; if a scheduler stopped the trial, the reason is its name instead (`scheduler_name`)."""

GRACE_PERIOD = 5
"""Epochs before ASHA may stop a trial: fewer are too few to tell most curves apart."""

REDUCTION_FACTOR = 2
"""ASHA keeps one trial in this many at each rung. The value is small: we want curves, not only the best trial."""


def stop_reason(epoch: int, epochs: int, diverged: bool) -> StopReason | Literal[""]:
    """Return why a trial ends itself after this epoch; empty if it continues."""
    return "diverged" if diverged else "completed" if epoch >= epochs else ""


def asha(epochs: int, grace_period: int, past: Past | None = None) -> Any:
    """Return Tune's ASHA scheduler (Li et al. 2020) on the training loss.

    Args:
        epochs: the largest number of epochs of a trial.
        grace_period: epochs before a trial may be stopped.
        past: that of a resumed sweep. Tune does not restore rungs, so they are filled from its rows.
    """
    from ray.tune.schedulers import ASHAScheduler

    before = [] if past is None or past.rows is None else [(past.rows, past.undecided)]  # emptied once in the rungs

    class ResumableASHA(ASHAScheduler):  # type: ignore[misc]
        """Identifies trials by our ids, which a resumed sweep keeps, instead of Tune's."""

        stopped = "", 0
        """The trial that was to be stopped when the driver was killed, and its epoch, which it reports again."""

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
            super().on_trial_add(tune_controller, _named(trial))
            if before:
                self.stopped = _fill(self._trial_info[_named(trial).trial_id], *before.pop())

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> Any:
            if (own_id(trial), result["epoch"]) == self.stopped:
                return self.STOP
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


def _fill(bracket: Any, rows: pd.DataFrame, undecided: bool) -> tuple[str, int]:
    """Put recorded rows into the rungs of a bracket, as their results did. Return the trial and the epoch of the last
    one if that is undecided and stops it."""
    rows, action = rows[["trial_id", "epoch", "train_loss"]], ""
    bracket.cutoff = lambda recorded: None  # it would sort a whole rung for each row; what it decided is known
    for part in (rows[: len(rows) - undecided], rows[len(rows) - undecided :]):
        for trial_id, epoch, loss in zip(*(part[name].tolist() for name in part), strict=True):
            action = bracket.on_result(SimpleNamespace(trial_id=trial_id), epoch, -finite_loss(loss))
        vars(bracket).pop("cutoff", None)
    return (trial_id, epoch) if action == "STOP" else ("", 0)


def early(take: Callable[..., str], reasons: MutableMapping[str, str]) -> Any:
    """Return a scheduler that stops trials early.

    Args:
        take: takes a trial's id, config, row and whether the row may have been taken before; returns why the trial is
            stopped, if it is. It gets every row in the order of the journal, that of a trial's end included.
        reasons: where these reasons are kept, by trial id.
    """
    from ray.tune.schedulers import FIFOScheduler

    class Early(FIFOScheduler):  # type: ignore[misc]
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> Any:
            config = result.get("trial_config")  # none if the trial can't train
            reason = config and take(own_id(trial), config, result, result["repeated"])
            if reason:
                reasons[own_id(trial)] = reason
            return self.STOP if reason else self.CONTINUE

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            """Take a row with which the trial ended itself: Tune did not ask about it."""
            if result.get("trial_config"):
                take(own_id(trial), result["trial_config"], result, True)

    return Early()


METRICS = (*(column.name for column in EPOCHS), "scheduler_loss", "training_iteration", "time_total_s")
"""What schedulers and searchers may look at: the columns of `epochs`, the finite training loss, and Tune's own."""


def check_metric(user: Any) -> None:
    """Refuse a scheduler or a searcher whose metric or time no result has. Tune would never stop a trial, and say so in
    pages of traceback at the end.

    Raises:
        UserError: it is mistyped.
    """
    for names in (("metric", "_metric"), ("time_attr", "_time_attr")):
        found = next((value for name in names if isinstance(value := getattr(user, name, None), str)), None)
        if found is not None and found not in METRICS:
            kind = type(user).__name__
            raise UserError(
                f"{kind} looks at {found!r}, which no epoch has{closest(found, METRICS)}; see docs/tables.md"
            )


def scheduler_name(scheduler: Any, otherwise: str) -> str:
    """Return the stop reason of trials that a scheduler stops: `asha`, `hyperband`, `medianstopping`, ...

    Args:
        scheduler: a Tune scheduler, or None.
        otherwise: the name if there is none: `SweepOptions.scheduler`.
    """
    if scheduler is None:
        return otherwise
    if any(kind.__name__ == "AsyncHyperBandScheduler" for kind in type(scheduler).__mro__):
        return "asha"
    return type(scheduler).__name__.removesuffix("Scheduler").removesuffix("Rule").lower()


def keeping_ids(scheduler: Any) -> Any:
    """Return the scheduler, patched so that each trial keeps its own id.

    In population based training a trial copies the config of another one, and so its id.
    """
    new_config = getattr(scheduler, "_get_new_config", None)
    if new_config is None:
        return scheduler

    def with_own_id(trial: Any, donor: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = new_config(trial, donor)
        return config | {"trial": config["trial"] | {"trial_id": own_id(trial)}}, operations

    scheduler._get_new_config = with_own_id
    return scheduler


def _named(trial: Any) -> SimpleNamespace:
    return SimpleNamespace(trial_id=own_id(trial))
