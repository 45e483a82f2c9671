"""A sweep as an Optuna study in SQLite, which optuna-dashboard opens. Diverged trials
have failed, with their label. Tasks whose losses don't compare have a study each."""

from __future__ import annotations

import math
import shlex
import warnings
from datetime import datetime
from typing import Any

from mnist_tune import storage
from mnist_tune.exports.run import ExportedRun, library, runs, title, writing
from mnist_tune.regimes.families import held_out
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS, OPEN_REASONS

ID = "trial_id"


class Mirror:
    """A study in a database, by default the file `optuna.db`."""

    def __init__(self, output: str | None) -> None:
        self._optuna = library("optuna")
        output = output or "optuna.db"
        self._file = None if "://" in output else storage.local(output)
        self._url = f"sqlite:///{self._file}" if self._file else output
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)

    def update(self, sweep: Tables) -> str:
        ranking = sweep.record.data.ranking
        objective, self._direction = (
            ranking.column(held_out(sweep.trials)),
            "minimize" if ranking.less else "maximize",
        )
        with writing(self._url):
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            for name, compared in _studies(sweep).items():
                params = self._distributions(compared)
                # Trials that go on are left out until they end: with each epoch, the
                # study would be written anew.
                at_rest = [
                    run
                    for run in compared
                    if run.labels["stop_reason"] not in LIVE_REASONS
                ]
                wanted = {
                    run.trial_id: self._trial(run, params, objective) for run in at_rest
                }
                self._write(name, wanted, objective)
        return f"Look at it: optuna-dashboard {shlex.quote(self._url)}"

    def _write(self, name: str, wanted: dict[str, Any], objective: str) -> None:
        """Add the trials that the study lacks. A trial that has ended can't be changed
        in Optuna, so if one differs, as after a resume, the study is written anew."""
        made = {"storage": self._url, "study_name": name, "direction": self._direction}
        study = self._optuna.create_study(**made, load_if_exists=True)
        known = {
            trial.user_attrs.get(ID): trial
            for trial in study.get_trials(deepcopy=False)
        }
        if any(
            key not in wanted or _content(trial) != _content(wanted[key])
            for key, trial in known.items()
        ):
            self._optuna.delete_study(study_name=name, storage=self._url)
            study = self._optuna.create_study(**made)
            known = {}
        study.set_user_attr("objective", objective)
        with warnings.catch_warnings(action="ignore"):  # it is experimental since 2023
            study.set_metric_names([objective])
        study.add_trials([trial for key, trial in wanted.items() if key not in known])

    def _distributions(self, found: list[ExportedRun]) -> dict[str, Any]:
        """Return Optuna's distribution for each field: the range or the values that the
        sweep has."""
        kinds, made = self._optuna.distributions, {}
        for name in found[0].params if found else ():
            values = [run.params[name] for run in found]
            if isinstance(values[0], (str, bool)):
                made[name] = kinds.CategoricalDistribution(sorted(set(values)))
            elif isinstance(values[0], int):
                made[name] = kinds.IntDistribution(min(values), max(values))
            else:
                made[name] = kinds.FloatDistribution(
                    min(values), max(values), log=name == "learning_rate"
                )
        return made

    def _trial(self, run: ExportedRun, params: dict[str, Any], objective: str) -> Any:
        states, reason = self._optuna.trial.TrialState, run.labels["stop_reason"]
        curve = {row.epoch: row.metrics.get(objective, math.nan) for row in run.rows}
        value = curve[max(curve)] if curve else math.nan
        if reason in OPEN_REASONS:
            state = states.RUNNING if run.rows else states.WAITING
        elif (
            reason == "error" or run.labels["regime"] == "diverged" or math.isnan(value)
        ):
            state = states.FAIL
        else:
            state = states.COMPLETE if reason == "completed" else states.PRUNED
        trial = self._optuna.trial.create_trial(
            state=state,
            value=value if state in (states.COMPLETE, states.PRUNED) else None,
            params=dict(run.params),
            distributions=params,
            user_attrs={ID: run.trial_id, **run.labels},
            intermediate_values=curve,
        )
        if run.began is not None:
            trial.datetime_start = datetime.fromtimestamp(run.began)
            if state.is_finished():
                trial.datetime_complete = datetime.fromtimestamp(run.rows[-1].time)
        return trial


def _studies(sweep: Tables) -> dict[str, list[ExportedRun]]:
    """Return the trials that are compared with each other, by the name of their study.
    Those of a task whose loss compares with no other one's are named by the task, also
    if there is only one."""
    if sweep.record.data.compares_tasks:
        return {title(sweep): runs(sweep)}
    found: dict[str, list[ExportedRun]] = {}
    for run in runs(sweep):
        found.setdefault(f"{title(sweep)} {run.params['architecture']}", []).append(run)
    return found


def _content(trial: Any) -> str:
    """Return what a trial says, for comparisons: NaN is equal to NaN here. All trials
    of a study have the same choices, but each may have a range of its own."""
    attributes, params = sorted(trial.user_attrs.items()), sorted(trial.params.items())
    choices = {
        name: getattr(kind, "choices", ())
        for name, kind in sorted(trial.distributions.items())
    }
    return repr(
        (
            trial.state,
            trial.values,
            params,
            choices,
            attributes,
            trial.intermediate_values,
        )
    )
