"""A sweep in MLflow: a parent run for the sweep, and a child for each trial."""

from __future__ import annotations

import shlex
from typing import Any

from mnist_tune import storage
from mnist_tune.exports.run import (
    LABELS,
    ExportedRun,
    library,
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


class Mirror:
    """Runs in an MLflow store, by default the file `mlflow.db`, which `mlflow server`
    opens by default."""

    def __init__(self, output: str | None) -> None:
        self._mlflow = library("mlflow")
        output = output or "mlflow.db"
        self._uri = output if ":" in output else f"sqlite:///{storage.local(output)}"
        self._client: Any = None
        self._written: dict[str, ExportedRun] = {}

    def update(self, sweep: Tables) -> str:
        name, top = f"mnist_tune {sweep.record.name}", sweep_id(sweep)
        live = sweep.trials["stop_reason"].isin(LIVE_REASONS).any()
        with writing(self._uri):
            self._client = self._client or self._mlflow.MlflowClient(self._uri)
            experiment = self._client.get_experiment_by_name(name)
            place = (
                experiment.experiment_id
                if experiment
                else self._client.create_experiment(name)
            )
            ours = f"tags.`{ID}` LIKE '{top}%'"
            known, page = dict[str, Any](), None
            while page is None or page.token:
                page = self._client.search_runs(
                    [place], ours, page_token=page and page.token
                )
                known |= {run.data.tags[ID]: run for run in page}
            parent = known.get(top) or self._client.create_run(
                place, tags={ID: top}, run_name=title(sweep)
            )
            for run in runs(sweep):
                if run != self._written.get(run.id):
                    child = known.get(run.id)
                    params = {name: str(value) for name, value in run.params.items()}
                    if child and child.data.params not in ({}, params):
                        # no parameter of a run can change
                        child = self._client.delete_run(child.info.run_id)
                    tags = {ID: run.id, "mlflow.parentRunId": parent.info.run_id}
                    began = int(run.began * 1000) if run.began is not None else None
                    self._write(
                        run,
                        child
                        or self._client.create_run(place, began, tags, run.trial_id),
                    )
                    self._written[run.id] = run
            self._client.update_run(
                parent.info.run_id, "RUNNING" if live else "FINISHED"
            )
        return f"Look at it: mlflow server --backend-store-uri {shlex.quote(self._uri)}"

    def _write(self, run: ExportedRun, child: Any) -> None:
        entities, key = self._mlflow.entities, child.info.run_id
        if not child.data.params:
            self._client.log_batch(
                key,
                params=[entities.Param(name, str(v)) for name, v in run.params.items()],
            )
        done = int(child.data.tags.get(MARK, 0))
        for row in run.rows:
            if row.epoch > done:
                at = int(row.time * 1000)
                metrics = [
                    entities.Metric(name, value, at, row.epoch)
                    for name, value in row.metrics.items()
                ]
                self._client.log_batch(
                    key, metrics=metrics, tags=[entities.RunTag(MARK, str(row.epoch))]
                )
        self._client.log_batch(
            key,
            tags=[
                entities.RunTag(name, text[:5000]) for name, text in run.labels.items()
            ],
        )
        # such as the error of a trial that goes on
        for name in {*LABELS} & child.data.tags.keys() - run.labels.keys():
            self._client.delete_tag(key, name)
        status = STATUS.get(run.labels["stop_reason"], "FINISHED")
        if status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(key, status)
        else:
            self._client.set_terminated(
                key, status, int(run.rows[-1].time * 1000) if run.rows else None
            )
