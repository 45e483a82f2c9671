"""The Tune callback that hands every epoch and every trial's end to the results and the progress view."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune import Callback

from mnist_tune.columns import EPOCHS
from mnist_tune.errors import UserError
from mnist_tune.regimes.curve import COLUMNS, counts
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.labels import Curve, curve_regime
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.nodes import Death
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig, own_id
from mnist_tune.tuning.progress import ProgressView


class Recorder(Callback):  # type: ignore[misc]
    """Writes rows as they come, and why each trial stopped: a scheduler's stop is the one without a reason."""

    def __init__(
        self,
        writer: SweepWriter,
        view: ProgressView,
        trials: Mapping[str, TrialConfig],
        rows: Iterable[Mapping[str, Any]],
        scheduler: str = "scheduler",
    ) -> None:
        """Args:
        writer: of the sweep's folder.
        view: shown on the terminal.
        trials: known beforehand.
        rows: recorded before, of a sweep that goes on.
        scheduler: its name, the reason of the stops that are its own.
        """
        self._scheduler = scheduler
        self._writer, self._view = writer, view
        self._configs = dict(trials)
        self._rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            self._rows[row["trial_id"]].append(row)
        self._data = data_facts(writer.meta)
        self._ended: set[str] = set()
        self._results, self._cpu_start = 0, 0.0
        self._cpu_end = 0.0

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = self._identify(trial, result.get("trial_config"))
        if result["stop_reason"] == "error":
            self._fail(trial_id, result["error"])
            return
        if result["warning"]:
            announce(f"warning: {result['warning']}")
        row = {column.name: result[column.name] for column in EPOCHS[1:] if column.name in result}
        row["ended_at"] = time.time()
        self._writer.epoch(trial_id, row, result["repeated"])
        self._rows[trial_id] = [past for past in self._rows[trial_id] if past["epoch"] < row["epoch"]] + [row]
        name = f"{self._configs[trial_id].architecture} at learning rate {row['learning_rate']:.4g}"
        self._view.epoch(trial_id, name, row)
        if result["done"]:
            self._end(trial_id, result["stop_reason"] or self._scheduler)
        self._results += 1
        self._cpu_end = time.process_time()
        self._cpu_start = self._cpu_start or self._cpu_end

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ends a trial that a scheduler stopped while it waited, as HyperBand does: no result tells. Lets Tune forget
        it: it would keep a tenth of a megabyte of statistics of each, look through all of them at every event, and save
        all of them at the end."""
        trial_id = own_id(trial)
        if trial_id in self._configs and trial_id not in self._ended:
            self._end(trial_id, self._scheduler)
        metadata = trial.run_metadata
        metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result = {}, {}, {}
        trial.get_json_state = _saved_nowhere
        if len(trials) > 1:  # of none, Tune would read what it saved
            trials.remove(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        seen = f"its process died {trial.num_failures} times, the last time {Death.last_of(trial).said}"
        self._fail(self._identify(trial), seen)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore of its own; sweeps resume through `resume_sweep`

    def close(self, reason: str) -> None:
        """Ends what Tune had not ended: the trials that were running or waiting."""
        for trial_id in self._configs:
            if trial_id not in self._ended:
                self._end(trial_id, reason)

    def cost(self) -> dict[str, float]:
        """CPU seconds of this process between the first and the last result, and how many results that was."""
        return {"results": self._results, "cpu_s": self._cpu_end - self._cpu_start}

    def _identify(self, trial: Any, config: TrialConfig | None = None) -> str:
        """Our id of a Tune trial; what a searcher proposed, or a scheduler changed, is recorded.

        Args:
            trial: of Tune's, which may have the values already that a scheduler wants next.
            config: with which it trained the epoch that it reports.
        """
        trial_id = own_id(trial)
        if config is None:
            try:
                config = TrialConfig.from_dict({k: v for k, v in trial.config["trial"].items() if k != "trial_id"})
            except UserError:  # what the trial itself says
                return trial_id
        if config != self._configs.get(trial_id):
            self._configs[trial_id] = config
            self._writer.trial(trial_id, config)
        return trial_id

    def _fail(self, trial_id: str, error: str) -> None:
        """Ends a trial in an error, which is said at once where its values are none that a table can hold."""
        if trial_id in self._configs:
            self._end(trial_id, "error", error)
        else:
            announce(f"error: a trial that was proposed was not started: {error}")

    def _end(self, trial_id: str, reason: str, error: str = "") -> None:
        self._ended.add(trial_id)
        self._writer.end(trial_id, reason, error)
        config, rows = self._configs[trial_id], self._rows.pop(trial_id, [])
        known = counts(config.batch_size, config.holdout, config.label_noise, self._data)
        curve = Curve.cut(_columns(rows), slice(None), config.epochs, **known)
        left = config.epochs - (rows[-1]["epoch"] if rows else 0)
        self._view.end(trial_id, reason, left, curve_regime(curve, self._data.target)[0])


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """What curves are made of; pandas would take as long as all else that Tune and this do for a trial."""
    return {name: np.array([np.nan if row.get(name) is None else row[name] for row in rows], float) for name in COLUMNS}


def _saved_nowhere() -> tuple[str, str]:
    """In place of a trial's state in Tune's own file, which nothing reads."""
    return "{}", "{}"
