"""Early stopping by regimes, for whatever Ray Tune trains."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyarrow.fs import FileType, LocalFileSystem
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import FIFOScheduler
from ray.tune.utils import flatten_dict

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

SHARES = ("train_accuracy", "test_accuracy", "validation_accuracy")
LOSSES = ("train_loss", "test_loss", "validation_loss")
STEPS = ("step_loss_max", "window_loss_max", "above_since", "guessing_since")
"""What the steps within an epoch tell (`docs/tables.md`)."""
MEASURED = (*SHARES, *LOSSES, *STEPS, "untrained_loss", "diverged")
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
        self._facts = CurveFacts(
            chance=chance,
            test_examples=test_examples,
            train_examples=train_examples,
            guess=guess,
            target=target,
            target_loss=target_loss,
        )
        _refuse_wrong(epochs, grace_period, mode, columns or {})
        self._guesses: dict[str, float] = {}
        by_accuracy = chance is not None
        data = DataFacts(
            self._facts.train_count,
            self._facts.test_count,
            chance or 0.0,
            self._guesses,
            target if by_accuracy else target_loss,
            by_accuracy=by_accuracy,
            flag="task",
        )
        super().__init__(grace_period, data, Histories())
        self.reasons: dict[str, str] = {}
        self._metric, self._mode = metric, mode
        self._epochs = epochs
        self._rate_key, self._seed_key = learning_rate, seed
        self._columns = dict(columns or {})
        self._named: dict[str, str] = {}
        """Our name of each number in a report, by its own."""
        self._places: dict[str, list[int]] = {}
        """The iterations of each trial's reports."""
        self._rows: dict[str, dict[str, float]] = {}
        """The last row of each trial."""
        self._file: Path | None = None

    def set_search_properties(
        self, metric: str | None, mode: str | None, **spec: Any
    ) -> bool:
        """Take the metric and mode of `TuneConfig`. Return False if the scheduler has
        others of its own."""
        if self._metric and metric and metric != self._metric:
            return False
        if self._mode and mode and mode != self._mode:
            return False
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        if self._metric is None or self._mode is None:
            raise UserError(
                "RegimeScheduler needs a metric and a mode; give metric='val_acc', mode='max', or those of TuneConfig"
            )
        held_out = meaning(self._metric)
        if held_out not in MEASURED:
            held_out = "test_accuracy" if self._mode == "max" else "test_loss"
        self._columns = {self._metric: held_out} | self._columns
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if self._file is None:
            self._begin(trial)
        if trial.trial_id not in self._trials:
            config = self._config(trial.config)
            self._meet(trial.trial_id, config)
            self._write({"trial": trial.trial_id, "config": config.to_dict()})

    def on_trial_result(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> Any:
        if self._reason(trial.trial_id, result):
            return self.STOP
        return self.CONTINUE

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: dict[str, Any]
    ) -> None:
        """Take a row with which the trial ended itself: Tune did not ask about it."""
        if result and TRAINING_ITERATION in result:
            self._reason(trial.trial_id, result)

    def _reason(self, trial_id: str, result: Mapping[str, Any]) -> str:
        """Take up a report, and return the reason for which its trial is stopped."""
        iteration = int(result[TRAINING_ITERATION])
        iterations = self._places.setdefault(trial_id, [])
        _, setting = self._trials[trial_id]
        if iterations and iteration <= iterations[-1]:
            # A trial that was restored repeats what it did after its checkpoint.
            epoch = bisect_left(iterations, iteration) + 1
            return setting.stops.get(epoch, "")
        row = self._row(trial_id, result)
        reason = self._take_up(trial_id, iteration, row)
        line = {"trial": trial_id, "iteration": iteration, "row": row}
        if reason:
            label = setting.label
            text = reason
            if label is not None:
                score = Score.ACCURACY
                if not self._data.by_accuracy:
                    score = Score.LEARNED_SHARE
                text = f"{reason}: {evidence(label, score)}"
            self.reasons[trial_id] = text
            line |= {"stopped": reason, "reason": text}
        self._write(line)
        return reason

    def _take_up(self, trial_id: str, iteration: int, row: dict[str, float]) -> str:
        epoch = self._add(trial_id, iteration, row)
        return self.judge(trial_id, epoch, self._loss(row), bool(row["diverged"]))

    def _add(self, trial_id: str, iteration: int, row: dict[str, float]) -> int:
        """Add a row to the histories, and return the number of its report."""
        iterations = self._places.setdefault(trial_id, [])
        iterations.append(iteration)
        self._rows[trial_id] = row
        epoch = len(iterations)
        self._histories.add(trial_id, row | {"epoch": epoch})
        return epoch

    def _loss(self, row: Mapping[str, float]) -> float:
        """Return what trials are proposed by: the training loss, else the loss or the
        errors on what is held out."""
        if row["diverged"]:
            return math.inf
        for name in LOSSES:
            if name in row:
                return row[name]
        accuracies = [row[name] for name in reversed(SHARES) if name in row]
        return 1 - max(accuracies[:1], default=0.0)

    def _row(self, trial_id: str, result: Mapping[str, Any]) -> dict[str, float]:
        """Return the numbers of a report by our names. What it lacks is as in the
        report before."""
        flat = flatten_dict(dict(result))
        if not self._named:
            self._name(flat)
        row = dict(self._rows.get(trial_id, {}))
        diverged = False
        for theirs, ours in self._named.items():
            value = flat.get(theirs)
            if value is None:
                continue
            number = _number(theirs, value)
            if ours in SHARES and (number < 0 or number > 1):
                raise UserError(
                    f"trial {trial_id} reports {theirs}={number:g}, which is no accuracy; divide percents by 100"
                )
            if math.isfinite(number):
                row[ours] = number
                continue
            row.pop(ours, None)
            if ours == "train_loss" or (ours in LOSSES and theirs == self._metric):
                diverged = True
        row["diverged"] = float(diverged or bool(row.get("diverged")))
        return row

    def _name(self, flat: Mapping[str, Any]) -> None:
        """Find our names of the numbers in the first report."""
        for theirs in self._columns:
            if theirs not in flat:
                names = [name for name in flat if name not in TUNES]
                raise UserError(
                    f"a report has no {theirs!r}{closest(theirs, names)}; it has {', '.join(sorted(names))}"
                )
        named = dict(self._columns)
        for theirs in flat:
            ours = theirs
            if theirs not in MEASURED and theirs not in TUNES:
                ours = meaning(theirs) or ""
            if ours in MEASURED and ours not in named.values():
                named[theirs] = ours
        self._facts.refuse_gaps(named.values())
        self._named = named

    def _config(self, config: Mapping[str, Any]) -> TrialConfig:
        """Return the trial that a trial of Tune is."""
        flat = flatten_dict(dict(config))
        if self._rate_key not in flat:
            raise UserError(
                f"a trial's config has no {self._rate_key!r}{closest(self._rate_key, flat)}; name the key: RegimeScheduler(learning_rate=...)"
            )
        rate = _number(self._rate_key, flat.pop(self._rate_key))
        seed = flat.pop(self._seed_key, None)
        values = usual_settings(self._facts.train_count)
        settings = {}
        for name, value in flat.items():
            if meaning(name) == "batch_size" and isinstance(value, int):
                values["batch_size"] = value
            else:
                settings[name] = value
        trained = with_arguments("trainable", settings)
        if self._facts.guess is not None:
            self._guesses[trained] = self._facts.guess
        values |= {"architecture": trained, "learning_rate": rate}
        values["epochs"] = self._epochs
        if not isinstance(seed, int):
            alike = replace(trial_of(values | {"seed": 0}), stop_when_diverged=False)
            setting = self._settings.get(alike)
            seed = 0 if setting is None else len(setting.seeds)
        trial = trial_of(values | {"seed": seed})
        return replace(trial, stop_when_diverged=False)

    def _meet(self, trial_id: str, config: TrialConfig) -> None:
        self.know(trial_id, config)
        if self._facts.guess is not None:
            self._guesses[config.architecture] = self._facts.guess

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
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        if all(line["trial"] != trial.trial_id for line in lines):
            lines = []
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self._replay(lines)

    def _replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in lines:
            trial_id = line["trial"]
            if "config" in line:
                self._meet(trial_id, TrialConfig(**line["config"]))
                continue
            row = line["row"]
            epoch = self._add(trial_id, line["iteration"], row)
            self.remember(trial_id, epoch, self._loss(row), bool(row["diverged"]))
            if "stopped" in line:
                self.remember_stop(trial_id, epoch, line["stopped"])
                self.reasons[trial_id] = line["reason"]

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def _refuse_wrong(
    epochs: int, grace_period: int, mode: str | None, columns: Mapping[str, str]
) -> None:
    for name, value in (("epochs", epochs), ("grace_period", grace_period)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number from 1 on, got {value!r}")
    if mode not in (None, "min", "max"):
        raise UserError(f"mode must be 'min' or 'max', got {mode!r}")
    for ours in columns.values():
        if ours not in MEASURED:
            raise UserError(
                f"no number of a report is called {ours!r} here{closest(ours, MEASURED)}"
            )


def _number(name: str, value: Any) -> float:
    with suppress(TypeError, ValueError):
        return float(value)
    raise UserError(f"{name} is {value!r}, which is no number")
