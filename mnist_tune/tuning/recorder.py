"""The Tune callback that records every epoch and every trial's end, and shows the
progress."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import ErrorKind, UserError
from mnist_tune.invocation import words
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.labels import REGIMES, curve_regime
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.nodes import UnsavedCallback, last_death
from mnist_tune.runtime.ray_private import forget
from mnist_tune.terminal import announce, note, warning
from mnist_tune.trial import STARTED_AGAIN, TrialConfig, own_id
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.run import Run


class Recorder(UnsavedCallback):
    """Records epochs and ends. A trial that ends without a reason was stopped by the
    scheduler, whose name it gets. `trials` are those that are known in advance."""

    def __init__(
        self,
        writer: SweepWriter,
        view: ProgressView,
        trials: Mapping[str, TrialConfig],
        past: Past,
        scheduler: str,
    ) -> None:
        self._scheduler = scheduler
        self.run = Run(past)
        self._writer, self._view = writer, view
        self._configs = dict(trials)
        self._data = writer.record.data
        self._ended: set[str] = set()
        self._has_noted = False

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        if result["stop_reason"] == "error":
            self._fail(trial, result["error"], result["error_kind"])
            return
        trial_id = own_id(trial)
        # the epoch's: `trial.config` may already hold the next one's values
        config = result.get("trial_config")
        if config:
            self._record(trial_id, config)
        problem = result.get("warning")
        if problem:
            announce(warning(problem))
        row = EpochRow.reported(result)
        before = self._writer.last_epochs.get(trial_id, 0)
        if row.epoch == 1 <= before and not result["repeated"]:
            self._writer.update_options(**{STARTED_AGAIN: True})
        if not self._has_noted:
            line = slow_evaluation(row, self._configs[trial_id].epochs, self._data)
            self._has_noted = bool(line)
            if line:
                announce(note(line))
        if self._writer.epoch(trial_id, row, result["repeated"]):
            self.run.take_up(trial_id, result, result["repeated"])
            self._view.epoch(trial_id, row.epoch - before)
        if result["done"]:
            by_scheduler = self.run.stop_reasons.get(trial_id, self._scheduler)
            self._end(trial_id, result["stop_reason"] or by_scheduler)

    def on_trial_complete(
        self, iteration: int, trials: list[Any], trial: Any, **info: Any
    ) -> None:
        """Record the end of a trial that a scheduler stopped while it waited: there is
        no result. HyperBand does this. Then make Tune forget the trial."""
        trial_id = own_id(trial)
        if trial_id in self._configs and trial_id not in self._ended:
            self._end(trial_id, self._scheduler)
        forget(trial, trials)

    def on_trial_error(
        self, iteration: int, trials: list[Any], trial: Any, **info: Any
    ) -> None:
        _, cause = last_death(trial)
        deaths = f"its process died {trial.num_failures} times, the last time {cause}"
        self._fail(trial, deaths, ErrorKind.DIED)

    def record(self, proposed: Mapping[str, Any]) -> None:
        """Record a trial by its values and `trial_id`. One that a search proposes is
        recorded before it runs: after a kill, the order of the proposals is known."""
        values = dict(proposed)
        trial_id = values.pop("trial_id")
        # of invalid values, the trial itself reports an error
        with suppress(UserError):
            self._record(trial_id, TrialConfig(**values))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """If all trials have ended, and a search had not, have it propose the next one:
        so the tables say that there is something to resume."""
        if self.run.search and self._ended.issuperset(self._configs):
            self.run.search.suggest("next")

    def close(self, reason: str) -> None:
        """Record the end of all trials that were still running or waiting."""
        for trial_id in self._configs:
            if trial_id not in self._ended:
                self._end(trial_id, reason)

    def _record(self, trial_id: str, config: TrialConfig) -> None:
        """Record a trial's config if it is new or a scheduler changed it."""
        if config != self._configs.get(trial_id):
            self._writer.trial(trial_id, config, changed=trial_id in self._configs)
            self._configs[trial_id] = config

    def _fail(self, trial: Any, error: str, error_kind: str) -> None:
        """Record that a trial ended in an error. If its config is invalid, it has no
        row, so print the error."""
        trial_id = own_id(trial)
        # with the values that it has by now
        self.record(trial.config["trial"] | {"trial_id": trial_id})
        if trial_id in self._configs:
            self._end(trial_id, "error", error, error_kind)
        else:
            announce(f"error: a proposed trial was not started: {error}")

    def _end(
        self, trial_id: str, reason: str, error: str = "", error_kind: str = ""
    ) -> None:
        self._ended.add(trial_id)
        self._writer.end(trial_id, reason, error, error_kind)
        config = self._configs[trial_id]
        histories = self.run.histories
        curve = Curve.of(histories.columns(trial_id), config, self._data)
        epochs_not_run = config.epochs - histories.last_epoch(trial_id)
        # Why it was stopped may rest on other curves, which its own does not know of.
        # Nor does it know a target that follows from these.
        regime = ""
        if reason in REGIMES:
            regime = reason
        target = self._data.with_wrong_labels(config.label_noise).target
        if not regime and target is not None and self._data.by_accuracy:
            regime = curve_regime(curve, target).regime
        self._view.end(trial_id, reason, epochs_not_run, regime)


WORTH_S = 10.0
"""Seconds of a trial's evaluations that are worth a line."""


def slow_evaluation(row: EpochRow, epochs: int, data: DataFacts) -> str:
    """Return what to do if evaluation takes most of the time of a trial of so many
    epochs, and evaluates more training examples than it must; else nothing."""
    evaluated = data.evaluated or data.train_images
    if data.flag == "loop" or evaluated <= data.test_images:
        return ""
    # Before the first epoch, the untrained state was evaluated. Sharpness takes its
    # share of the evaluation's seconds.
    if row.epoch == 1 or row.sharpness is not None:
        return ""
    eval_s = row.eval_s or 0.0
    train_s = row.train_s or 0.0
    if eval_s <= train_s or eval_s * epochs < WORTH_S:
        return ""
    share = eval_s / (eval_s + train_s)
    fewer = words("train_evaluation", data.test_images)
    takes = f"evaluation takes {share:.0%} of an epoch's time"
    instead = f"evaluates so many training examples in place of {evaluated}"
    return f"{takes}; in a new sweep, {fewer} {instead}"


def scheduler_name(scheduler: Any, otherwise: str) -> str:
    """Return the stop reason of what a Tune scheduler stops: `asha`, `hyperband`, ...;
    without one, `otherwise`."""
    if scheduler is None:
        return otherwise
    kinds = [kind.__name__ for kind in type(scheduler).__mro__]
    if "AsyncHyperBandScheduler" in kinds:
        return "asha"
    name = kinds[0].removesuffix("Scheduler").removesuffix("Rule")
    return name.lower()
