"""Early stopping by regimes, for whatever Ray Tune trains."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyarrow.fs import FileType, LocalFileSystem
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import FIFOScheduler
from ray.tune.utils import flatten_dict

from mnist_tune.columns import COUNT
from mnist_tune.curves.facts import CurveFacts
from mnist_tune.curves.files import REASONS
from mnist_tune.curves.names import meaning
from mnist_tune.curves.settings import trial_of, usual_settings, with_arguments
from mnist_tune.errors import UserError, closest
from mnist_tune.regimes.curve import Score
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.stopping import RegimeRules
from mnist_tune.trial import TrialConfig

LOSSES = ("train_loss", "test_loss", "validation_loss")
ACCURACIES = ("validation_accuracy", "test_accuracy", "train_accuracy")
"""Both in the order in which a trial is proposed for a stop by them."""

STEPS = ("step_loss_max", "window_loss_max", "above_since", "guessing_since")
"""What the steps within an epoch tell (`docs/tables.md`)."""

MEASURED = (*ACCURACIES, *LOSSES, *STEPS, "untrained_loss", "diverged")
"""What a report may hold, by our names."""

TUNES = {"trial_id", "experiment_id", "timestamp", "iterations_since_restore"}
"""What Ray Tune itself writes into a result, and no metric is."""


class RegimeScheduler(RegimeRules, FIFOScheduler):  # type: ignore[misc]
    """Stops trials of any Ray Tune trainable, with any searcher, whose curves are slow
    or dead by the rules of this package (`docs/regimes.md`).

        scheduler = RegimeScheduler(
            epochs=50, learning_rate="lr", metric="val_acc", mode="max",
            chance=0.1, test_examples=10_000,
        )
        tune.Tuner(train, tune_config=tune.TuneConfig(scheduler=scheduler), ...)

    A trial is proposed for a stop as ASHA does. It is stopped if its label among its
    peers so far is *slow* or *diverged*. All other settings in a trial's config are
    arguments of what it trains: peers are trials that differ in their learning rate and
    seed alone. All seeds of a configuration stop after the same report.

    `reasons` has the reason of each stop by the trial's id. The file `regimes.jsonl` in
    the experiment's folder holds rows and reasons. An experiment that is restored goes
    on from there.

    Args:
        epochs: how many reports a trial makes that runs to its end.
        learning_rate: the key in a trial's config, `optimizer/lr` if it is nested.
        seed: the key of its seed. Trials with equal configs are seeds, too.
        metric: the held-out accuracy or loss in a report; by default that of
            `TuneConfig`.
        mode: `max` for an accuracy, `min` for a loss; by default that of `TuneConfig`.
        chance: the accuracy of guessing, which accuracies need.
        test_examples: on how many examples the metric is measured, which they need,
            too.
        train_examples: how many examples there are to train on. With `batch_size` in a
            trial's config they tell its steps, so that dead trials are known sooner.
        guess: the loss of the best constant answer, which losses alone need.
        target: the accuracy to reach; by default it follows from the best trial.
        target_loss: with losses alone, the loss to reach.
        columns: our names of other numbers in a report, such as `{"loss":
            "train_loss"}`. Common names are known (`docs/curves_of_others.md`).
        grace_period: the reports before any trial may be stopped.

    Raises:
        UserError: a fact is missing or can't be so; later, that a config has no
            learning rate, or a report no metric.
    """

    def __init__(
        self,
        *,
        epochs: int,
        learning_rate: str = "lr",
        seed: str = "seed",
        metric: str | None = None,
        mode: str | None = None,
        chance: float | None = None,
        test_examples: int | None = None,
        train_examples: int | None = None,
        guess: float | None = None,
        target: float | None = None,
        target_loss: float | None = None,
        columns: Mapping[str, str] | None = None,
        grace_period: int = 5,
    ) -> None:
        _refuse_wrong(epochs, grace_period, mode, columns or {})
        self._columns = dict(columns or {})
        self._facts = CurveFacts(
            chance=chance,
            test_examples=test_examples,
            train_examples=train_examples,
            guess=guess,
            target=target,
            target_loss=target_loss,
        )
        self._guesses: dict[str, float] = {}
        data = _data_facts(self._facts, self._guesses)
        super().__init__(grace_period, data, Histories())
        self.reasons: dict[str, str] = {}
        self._metric = metric
        self._mode = mode
        self._epochs = epochs
        self._rate_key = learning_rate
        self._seed_key = seed
        self._names: dict[str, str] = {}
        """Our name of each number in a report, by its own."""
        self._answers: dict[str, dict[int, str]] = {}
        """Why each trial was stopped after each of its reports, by their iterations.
        Empty if it went on."""
        self._rows: dict[str, dict[str, float]] = {}
        """The last row of each trial."""
        self._file = Path()

    def set_search_properties(
        self, metric: str | None, mode: str | None, **spec: Any
    ) -> bool:
        """Take the metric and mode of `TuneConfig`. Return False if the scheduler has
        others of its own."""
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        if metric not in (None, self._metric) or mode not in (None, self._mode):
            return False
        if self._metric is None or self._mode is None:
            raise UserError(
                "RegimeScheduler needs a metric and a mode; give metric='val_acc', mode='max', or those of TuneConfig"
            )
        held_out = meaning(self._metric)
        if held_out not in MEASURED:
            held_out = "test_loss"
            if self._mode == "max":
                held_out = "test_accuracy"
        self._columns = {self._metric: held_out} | self._columns
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if not self._trials:
            self._begin(trial)
        if trial.trial_id not in self._trials:
            config = self._config(trial.config).to_dict()
            line = {"trial": trial.trial_id, "config": config}
            self._take_up(line)
            self._write(line)

    def on_trial_result(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> Any:
        iteration = int(result[TRAINING_ITERATION])
        answers = self._answers[trial.trial_id]
        # A trial that was restored repeats what it did after its checkpoint.
        if iteration > max(answers, default=0):
            row = self._row(trial.trial_id, result)
            line = {"trial": trial.trial_id, "iteration": iteration, "row": row}
            epoch = self._add(trial.trial_id, row)
            loss = _proposed_by(row)
            reason = self.judge(trial.trial_id, epoch, loss, bool(row["diverged"]))
            answers[iteration] = reason
            if reason:
                text = self._text(trial.trial_id, reason)
                self.reasons[trial.trial_id] = text
                line |= {"stopped": reason, "reason": text}
            self._write(line)
        if answers.get(iteration):
            return self.STOP
        return self.CONTINUE

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> None:
        """Take a row with which the trial ended itself: Tune did not ask about it."""
        if result and TRAINING_ITERATION in result:
            self.on_trial_result(tune_controller, trial, result)

    def _take_up(self, line: Mapping[str, Any]) -> None:
        """Take up a line of the file: a trial, or a row and what was decided then."""
        trial_id = line["trial"]
        if "config" in line:
            config = TrialConfig(**line["config"])
            self.know(trial_id, config)
            self._answers[trial_id] = {}
            if self._facts.guess is not None:
                self._guesses[config.architecture] = self._facts.guess
            return
        row = line["row"]
        epoch = self._add(trial_id, row)
        self.remember(trial_id, epoch, _proposed_by(row), bool(row["diverged"]))
        reason = line.get("stopped", "")
        self._answers[trial_id][line["iteration"]] = reason
        if reason:
            self.remember_stop(trial_id, epoch, reason)
            self.reasons[trial_id] = line["reason"]

    def _add(self, trial_id: str, row: dict[str, float]) -> int:
        """Add a row to the histories, and return the number of its report."""
        self._rows[trial_id] = row
        epoch = len(self._answers[trial_id]) + 1
        self._histories.add(trial_id, row | {"epoch": epoch})
        return epoch

    def _text(self, trial_id: str, reason: str) -> str:
        """Return why a trial is stopped, in words."""
        _, setting = self._trials[trial_id]
        if setting.label is None:
            return reason
        score = Score.LEARNED_SHARE
        if self._data.by_accuracy:
            score = Score.ACCURACY
        return f"{reason}: {evidence(setting.label, score)}"

    def _row(self, trial_id: str, result: Mapping[str, Any]) -> dict[str, float]:
        """Return the numbers of a report by our names. What it lacks is as in the
        report before."""
        numbers = flatten_dict(dict(result))
        if not self._names:
            self._names = self._our_names(numbers)
        row = dict(self._rows.get(trial_id, {}))
        has_diverged = False
        for theirs, ours in self._names.items():
            if numbers.get(theirs) is None:
                continue
            number = _number(theirs, numbers[theirs])
            if ours in ACCURACIES and (number < 0 or number > 1):
                raise UserError(
                    f"trial {trial_id} reports {theirs}={number:g}, which is no accuracy; divide percents by 100"
                )
            if math.isfinite(number):
                row[ours] = number
                continue
            row.pop(ours, None)
            # Other losses may lack a value for other reasons.
            if ours in LOSSES and (ours == "train_loss" or theirs == self._metric):
                has_diverged = True
        if has_diverged:
            row["diverged"] = 1.0
        row.setdefault("diverged", 0.0)
        return row

    def _our_names(self, numbers: Mapping[str, Any]) -> dict[str, str]:
        """Return our names of the numbers in the first report."""
        for theirs in self._columns:
            if theirs not in numbers:
                reported = sorted(numbers.keys() - TUNES)
                raise UserError(
                    f"a report has no {theirs!r}{closest(theirs, reported)}; it has {', '.join(reported)}"
                )
        names = dict(self._columns)
        for theirs in numbers:
            ours = meaning(theirs)
            if theirs in MEASURED:
                ours = theirs
            if ours in MEASURED and ours not in names.values():
                names[theirs] = ours
        self._facts.refuse_gaps(names.values())
        return names

    def _config(self, config: Mapping[str, Any]) -> TrialConfig:
        """Return the trial that a trial of Tune is."""
        settings = flatten_dict(dict(config))
        if self._rate_key not in settings:
            raise UserError(
                f"a trial's config has no {self._rate_key!r}{closest(self._rate_key, settings)}; name the key: RegimeScheduler(learning_rate=...)"
            )
        values = usual_settings(self._facts.train_count)
        rate = settings.pop(self._rate_key)
        values["learning_rate"] = _number(self._rate_key, rate)
        seed = settings.pop(self._seed_key, None)
        # Without a seed, trials are told apart by their number.
        if not isinstance(seed, int):
            seed = len(self._trials)
        values["seed"] = seed
        for name in list(settings):
            if meaning(name) == "batch_size" and isinstance(settings[name], int):
                values["batch_size"] = settings.pop(name)
        values["architecture"] = with_arguments("trainable", settings)
        values["epochs"] = self._epochs
        return trial_of(values | {"stop_when_diverged": False})

    def _begin(self, trial: Any) -> None:
        """Find the file of the experiment, and take up what it holds if the experiment
        is restored."""
        storage = trial.storage
        source = Path(storage.experiment_fs_path, REASONS)
        filesystem = storage.storage_filesystem
        self._file = source
        if not isinstance(filesystem, LocalFileSystem):
            # Tune copies it from there, with its own state.
            self._file = Path(storage.experiment_driver_staging_path, REASONS)
        text = ""
        if filesystem.get_file_info(str(source)).type is FileType.File:
            with filesystem.open_input_stream(str(source)) as stream:
                text = stream.read().decode()
        # A kill may have cut the last line.
        whole, _, _ = text.rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if all(line["trial"] != trial.trial_id for line in lines):
            # It is the file of another experiment.
            self._file.write_text("")
            return
        self._file.write_text(whole + "\n")
        for line in lines:
            self._take_up(line)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def _proposed_by(row: Mapping[str, float]) -> float:
    """Return what a trial is proposed for a stop by: the training loss, else the loss
    or the errors on what is held out."""
    if row["diverged"]:
        return math.inf
    for name in LOSSES:
        if name in row:
            return row[name]
    for name in ACCURACIES:
        if name in row:
            return 1 - row[name]
    return 1.0


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{name} is {value!r}, which is no number") from None


def _data_facts(facts: CurveFacts, guesses: Mapping[str, float]) -> DataFacts:
    by_accuracy = facts.chance is not None
    target = facts.target_loss
    if by_accuracy:
        target = facts.target
    return DataFacts(
        facts.train_count,
        facts.test_count,
        facts.chance or 0.0,
        guesses,
        target,
        by_accuracy=by_accuracy,
        flag="task",
    )


def _refuse_wrong(
    epochs: int, grace_period: int, mode: str | None, columns: Mapping[str, str]
) -> None:
    counts = {"epochs": epochs, "grace_period": grace_period}
    for name, count in counts.items():
        if not COUNT.holds(count):
            raise UserError(f"{name} must be a whole number from 1 on, got {count!r}")
    if mode not in (None, "min", "max"):
        raise UserError(f"mode must be 'min' or 'max', got {mode!r}")
    for ours in columns.values():
        if ours not in MEASURED:
            raise UserError(
                f"no number of a report is called {ours!r} here{closest(ours, MEASURED)}"
            )
