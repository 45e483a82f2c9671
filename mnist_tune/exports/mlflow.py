"""A sweep in MLflow: a parent run for the sweep, and a child for each trial."""

from __future__ import annotations

import shlex
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import library
from mnist_tune.exports.run import (
    EXPORT,
    LABELS,
    ExportedRun,
    Row,
    runs,
    sweep_id,
    title,
    writing,
)
from mnist_tune.results.tables import Tables
from mnist_tune.trial import LIVE_REASONS

ID = "mnist_tune.id"
"""The tag that holds a run's fixed id: MLflow gives every run an id of its own."""

MARK = "mnist_tune.epoch"
"""The tag that holds the last epoch that a run has."""

STATUS = {
    "running": "RUNNING",
    "unknown": "RUNNING",
    "waiting": "SCHEDULED",
    "error": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's status by stop reason; all others are FINISHED."""


LONGEST_TAG = 5000
"""Characters that MLflow takes of a tag."""


class Mirror:
    """Runs in an MLflow store, by default the file `mlflow.db`, which `mlflow server`
    opens by default."""

    def __init__(self, output: str | None) -> None:
        self._mlflow = library("mlflow", EXPORT)
        self._uri = output or "mlflow.db"
        if ":" not in self._uri:
            self._uri = f"sqlite:///{storage.local(self._uri)}"
        self._client: Any = None
        self._written: dict[str, ExportedRun] = {}

    def update(self, sweep: Tables) -> str:
        with writing(self._uri):
            if self._client is None:
                self._client = self._mlflow.MlflowClient(self._uri)
            self._update(sweep)
        return f"Look at it: mlflow server --backend-store-uri {shlex.quote(self._uri)}"

    def _update(self, sweep: Tables) -> None:
        experiment_id = self._experiment_id(f"mnist_tune {sweep.record.name}")
        parent_id = sweep_id(sweep)
        stored = self._stored(experiment_id, parent_id)
        parent = stored.get(parent_id)
        if parent is None:
            parent = self._client.create_run(
                experiment_id, tags={ID: parent_id}, run_name=title(sweep)
            )
        parent_key = parent.info.run_id
        for run in runs(sweep):
            if run == self._written.get(run.id):
                continue
            child = stored.get(run.id)
            # no parameter of a run can change
            if child and child.data.params not in ({}, _params(run)):
                self._client.delete_run(child.info.run_id)
                child = None
            if child is None:
                child = self._create_child(run, experiment_id, parent_key)
            self._write(run, child)
            self._written[run.id] = run
        is_live = sweep.trials["stop_reason"].isin(LIVE_REASONS).any()
        self._client.update_run(parent_key, "RUNNING" if is_live else "FINISHED")

    def _experiment_id(self, name: str) -> Any:
        experiment = self._client.get_experiment_by_name(name)
        if experiment:
            return experiment.experiment_id
        return self._client.create_experiment(name)

    def _stored(self, experiment_id: str, prefix: str) -> dict[str, Any]:
        """Return the runs that the store has of a sweep, by their fixed ids."""
        query = f"tags.`{ID}` LIKE '{prefix}%'"
        stored = {}
        token = None
        while True:
            page = self._client.search_runs([experiment_id], query, page_token=token)
            for run in page:
                stored[run.data.tags[ID]] = run
            token = page.token
            if not token:
                return stored

    def _create_child(self, run: ExportedRun, experiment_id: str, parent: str) -> Any:
        tags = {ID: run.id, "mlflow.parentRunId": parent}
        began = _milliseconds(run.began)
        return self._client.create_run(experiment_id, began, tags, run.trial_id)

    def _write(self, run: ExportedRun, child: Any) -> None:
        """Add what a run in the store lacks."""
        entities = self._mlflow.entities
        key = child.info.run_id
        if not child.data.params:
            params = [entities.Param(*pair) for pair in _params(run).items()]
            self._client.log_batch(key, params=params)
        last_epoch = int(child.data.tags.get(MARK, 0))
        for row in run.rows:
            if row.epoch > last_epoch:
                self._log(key, row)
        labels = {name: text[:LONGEST_TAG] for name, text in run.labels.items()}
        tags = [entities.RunTag(*pair) for pair in labels.items()]
        self._client.log_batch(key, tags=tags)
        # such as the error of a trial that goes on
        for name in {*LABELS} & child.data.tags.keys() - run.labels.keys():
            self._client.delete_tag(key, name)
        status = STATUS.get(run.labels["stop_reason"], "FINISHED")
        if status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(key, status)
            return
        ended = None
        if run.rows:
            ended = _milliseconds(run.rows[-1].time)
        self._client.set_terminated(key, status, ended)

    def _log(self, key: str, row: Row) -> None:
        entities = self._mlflow.entities
        time = _milliseconds(row.time)
        metrics = [
            entities.Metric(name, value, time, row.epoch)
            for name, value in row.metrics.items()
        ]
        mark = entities.RunTag(MARK, str(row.epoch))
        self._client.log_batch(key, metrics=metrics, tags=[mark])


def _params(run: ExportedRun) -> dict[str, str]:
    return {name: str(value) for name, value in run.params.items()}


def _milliseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    return int(seconds * 1000)
