"""A sweep as an Optuna study in SQLite, which optuna-dashboard opens. Diverged trials
have failed, with their label. Tasks whose losses don't compare have a study each."""

from __future__ import annotations

import math
import shlex
import warnings
from datetime import datetime
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import library
from mnist_tune.exports.run import EXPORT, ExportedRun, runs, title, writing
from mnist_tune.regimes.families import held_out
from mnist_tune.results.tables import Tables
from mnist_tune.trial import COMPLETED_REASONS, LIVE_REASONS, OPEN_REASONS

ID = "trial_id"


class Mirror:
    """A study in a database, by default the file `optuna.db`."""

    def __init__(self, output: str | None) -> None:
        self._optuna = library("optuna", EXPORT)
        self._url = output or "optuna.db"
        self._file = None
        if "://" not in self._url:
            self._file = storage.local(self._url)
            self._url = f"sqlite:///{self._file}"
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)

    def update(self, sweep: Tables) -> str:
        ranking = sweep.record.data.ranking
        objective = ranking.column(held_out(sweep.trials))
        self._direction = "minimize" if ranking.less else "maximize"
        with writing(self._url):
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            for name, compared in _studies(sweep).items():
                distributions = self._distributions(compared)
                trials = {}
                for run in compared:
                    # Trials that go on are left out until they end: with each epoch,
                    # the study would be written anew.
                    if run.labels["stop_reason"] not in LIVE_REASONS:
                        trial = self._trial(run, distributions, objective)
                        trials[run.trial_id] = trial
                self._write(name, trials, objective)
        return f"Look at it: optuna-dashboard {shlex.quote(self._url)}"

    def _write(self, name: str, trials: dict[str, Any], objective: str) -> None:
        """Add the trials that the study lacks. A trial that has ended can't be changed
        in Optuna, so if one differs, as after a resume, the study is written anew."""
        made = {"storage": self._url, "study_name": name, "direction": self._direction}
        study = self._optuna.create_study(**made, load_if_exists=True)
        there = study.get_trials(deepcopy=False)
        stored = {trial.user_attrs.get(ID): trial for trial in there}
        if any(_differs(trial, trials.get(key)) for key, trial in stored.items()):
            self._optuna.delete_study(study_name=name, storage=self._url)
            study = self._optuna.create_study(**made)
            stored = {}
        study.set_user_attr("objective", objective)
        with warnings.catch_warnings(action="ignore"):  # it is experimental since 2023
            study.set_metric_names([objective])
        study.add_trials([trial for key, trial in trials.items() if key not in stored])

    def _distributions(self, compared: list[ExportedRun]) -> dict[str, Any]:
        """Return Optuna's distribution for each field: the range or the values that the
        sweep has."""
        kinds = self._optuna.distributions
        distributions: dict[str, Any] = {}
        if not compared:
            return distributions
        for name, example in compared[0].params.items():
            values = [run.params[name] for run in compared]
            low, high = min(values), max(values)
            if isinstance(example, (str, bool)):
                distribution = kinds.CategoricalDistribution(sorted(set(values)))
            elif isinstance(example, int):
                distribution = kinds.IntDistribution(low, high)
            else:
                distribution = kinds.FloatDistribution(
                    low, high, log=name == "learning_rate"
                )
            distributions[name] = distribution
        return distributions

    def _trial(
        self, run: ExportedRun, distributions: dict[str, Any], objective: str
    ) -> Any:
        curve = {row.epoch: row.metrics.get(objective, math.nan) for row in run.rows}
        last_value = curve[max(curve)] if curve else math.nan
        state = self._state(run, last_value)
        states = self._optuna.trial.TrialState
        has_value = state in (states.COMPLETE, states.PRUNED)
        trial = self._optuna.trial.create_trial(
            state=state,
            value=last_value if has_value else None,
            params=dict(run.params),
            distributions=distributions,
            user_attrs={ID: run.trial_id, **run.labels},
            intermediate_values=curve,
        )
        if run.began is not None:
            trial.datetime_start = datetime.fromtimestamp(run.began)
            if state.is_finished():
                trial.datetime_complete = datetime.fromtimestamp(run.rows[-1].time)
        return trial

    def _state(self, run: ExportedRun, last_value: float) -> Any:
        states = self._optuna.trial.TrialState
        stop_reason = run.labels["stop_reason"]
        if stop_reason in OPEN_REASONS:
            if run.rows:
                return states.RUNNING
            return states.WAITING
        has_diverged = run.labels["regime"] == "diverged" or math.isnan(last_value)
        if stop_reason == "error" or has_diverged:
            return states.FAIL
        if stop_reason in COMPLETED_REASONS:
            return states.COMPLETE
        return states.PRUNED


def _studies(sweep: Tables) -> dict[str, list[ExportedRun]]:
    """Return the trials that are compared with each other, by the name of their study.
    Those of a task whose loss compares with no other one's are named by the task, also
    if there is only one."""
    if sweep.record.data.compares_tasks:
        return {title(sweep): runs(sweep)}
    studies: dict[str, list[ExportedRun]] = {}
    for run in runs(sweep):
        name = f"{title(sweep)} {run.params['architecture']}"
        studies.setdefault(name, []).append(run)
    return studies


def _differs(stored: Any, trial: Any) -> bool:
    """Return whether a stored trial is another one than today's, or is none of them."""
    return trial is None or _content(stored) != _content(trial)


def _content(trial: Any) -> str:
    """Return what a trial says, for comparisons: NaN is equal to NaN here. All trials
    of a study have the same choices, but each may have a range of its own."""
    choices = {}
    for name, distribution in sorted(trial.distributions.items()):
        choices[name] = getattr(distribution, "choices", ())
    params = sorted(trial.params.items())
    labels = sorted(trial.user_attrs.items())
    curve = trial.intermediate_values
    return repr((trial.state, trial.values, params, choices, labels, curve))
