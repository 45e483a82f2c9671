"""Tables of curves as other tools keep them, each read by that tool's own library, which
is imported only then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_tune.curves.names import SETTING
from mnist_tune.errors import UserError, closest

SPLITS = ("train", "validation", "val", "test", "eval")
"""Folders of one run's logs, as Keras names them."""

EVENTS = "events.out.tfevents.*"


def tensorboard_table(
    logs: str | Path, runs: Mapping[str, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """Return the scalars in a folder of TensorBoard's logs, all of them: a row for each
    run and step.

    Args:
        logs: the folder. A run is a folder in it with logs. Those in its folders
            `train`, `validation` and the like are of the same run.
        runs: settings by run, such as `{"first": {"lr": 0.1}}`. Without them, they are
            read from the run's name: `lr=0.1_seed=0`.

    Raises:
        UserError: there are no logs, or no run has such a name.
    """
    folders = sorted({path.parent for path in Path(logs).rglob(EVENTS)})
    if not folders:
        raise UserError(f"no logs of TensorBoard are in {logs}; name their folder")
    scalars = []
    names = []
    for folder in folders:
        parts = folder.relative_to(logs).parts
        prefix = ""
        if parts and parts[-1] in SPLITS:
            prefix = f"{parts[-1]}_"
            parts = parts[:-1]
        run = "/".join(parts) or "."
        names.append(run)
        for tag, step, value in _scalars(folder):
            column = prefix + tag.removeprefix("epoch_")
            scalars.append({"run": run, "step": step, "tag": column, "value": value})
    for run in runs or {}:
        if run not in names:
            raise UserError(f"{logs} has no run {run!r}{closest(run, names)}")
    return _joined(scalars, {name: _settings(name, runs) for name in names})


def _settings(run: str, runs: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the settings of a run of TensorBoard."""
    if runs is not None:
        return dict(runs.get(run, {}))
    return dict(re.findall(r"([A-Za-z]\w*?)=([^\s_/,=]+)", run))


def _scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield the tag, step and value of each scalar in a folder of logs."""
    reader = _library("tensorboard.backend.event_processing.event_accumulator")
    # 0 keeps all: by default TensorBoard draws 10,000 of them.
    events = reader.EventAccumulator(str(folder), {"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        for event in events.Scalars(tag):
            yield tag, event.step, event.value
    for tag in tags["tensors"]:
        for event in events.Tensors(tag):
            values = event.tensor_proto.float_val
            if len(values) == 1:
                yield tag, event.step, values[0]


def mlflow_table(experiment: str, tracking_uri: str | None = None) -> pd.DataFrame:
    """Return the metrics of all runs of an MLflow experiment: a row for each run and
    step.

    Args:
        experiment: its name.
        tracking_uri: the store; by default that of the environment.

    Raises:
        UserError: there is no such experiment, or no run in it.
    """
    client = _library("mlflow").MlflowClient(tracking_uri)
    store = client.get_experiment_by_name(experiment)
    if store is None:
        names = [other.name for other in client.search_experiments()]
        raise UserError(
            f"MLflow has no experiment {experiment!r}{closest(experiment, names)}"
        )
    scalars = []
    settings = {}
    for run in _pages(client, store.experiment_id):
        run_id = run.info.run_id
        settings[run_id] = dict(run.data.params)
        for tag in run.data.metrics:
            for metric in client.get_metric_history(run_id, tag):
                scalars.append(
                    {
                        "run": run_id,
                        "step": metric.step,
                        "tag": tag,
                        "value": metric.value,
                    }
                )
    if not scalars:
        raise UserError(f"the experiment {experiment!r} of MLflow has no metrics")
    return _joined(scalars, settings)


def _pages(client: Any, experiment_id: str) -> Iterator[Any]:
    """Yield all runs of an experiment, which MLflow returns by the page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def optuna_table(study: Any, metric: str) -> pd.DataFrame:
    """Return what the trials of an Optuna study reported: a row for each trial and
    step.

    Args:
        study: as `optuna.load_study` returns it.
        metric: what `trial.report` was given, by our name, such as
            `validation_accuracy`.

    Raises:
        UserError: no trial reported a value.
    """
    ends = {"PRUNED": "pruned", "COMPLETE": "completed", "FAIL": "error"}
    scalars = []
    settings = {}
    for trial in study.get_trials(deepcopy=False):
        run = f"{trial.number:05d}"
        settings[run] = {**trial.params, **trial.user_attrs}
        settings[run]["stop_reason"] = ends.get(trial.state.name)
        for step, value in trial.intermediate_values.items():
            scalars.append({"run": run, "step": step, "tag": metric, "value": value})
    if not scalars:
        raise UserError(
            f"no trial of the study {study.study_name!r} reported a value; call trial.report(value, step) after each epoch"
        )
    return _joined(scalars, settings)


def wandb_table(runs: str | Iterable[Any]) -> pd.DataFrame:
    """Return the numbers that runs of Weights & Biases logged, all of them
    (`scan_history`): a row for each run and step.

    Args:
        runs: the project, such as `"me/mine"`; or runs of its public API, such as
            `wandb.Api().runs("me/mine", {"state": "finished"})`.

    Raises:
        UserError: no run has a metric.
    """
    logged: Iterable[Any] = runs
    if isinstance(runs, str):
        logged = _library("wandb").Api().runs(runs)
    scalars = []
    settings = {}
    for run in logged:
        [config] = pd.json_normalize([run.config], sep="/").to_dict("records")
        # as texts, of which Parquet takes several kinds in a column
        settings[run.id] = {name: str(value) for name, value in config.items()}
        if run.state == "failed":
            settings[run.id]["stop_reason"] = "error"
        for row in run.scan_history():
            for tag, value in row.items():
                # a rate that is logged changes, that of the config does not
                is_setting = tag in config or tag.startswith("_")
                if is_setting or not _is_number(value):
                    continue
                report = {"run": run.id, "step": row["_step"], "tag": tag}
                report["value"] = float(value)
                scalars.append(report)
    if not scalars:
        raise UserError("no run of Weights & Biases has a metric; name their project")
    return _joined(scalars, settings)


def _is_number(value: Any) -> bool:
    """Return whether what W&B logged is a number; those that are not finite are
    texts."""
    return isinstance(value, (int, float)) or value in ("NaN", "Infinity", "-Infinity")


def _joined(
    scalars: list[dict[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Return a row for each run and step, with a column for each tag and setting. Of
    what was written twice, the last counts."""
    table = pd.DataFrame(scalars).drop_duplicates(["run", "step", "tag"], keep="last")
    rows = table.pivot(index=["run", "step"], columns="tag", values="value")
    of_runs = pd.DataFrame.from_dict(settings, orient="index", dtype=object)
    plain = of_runs.columns.isin(["stop_reason"])
    of_runs.columns = of_runs.columns.where(plain, SETTING + of_runs.columns)
    of_runs = of_runs[of_runs.columns.difference(rows.columns)]
    return rows.reset_index().merge(of_runs, left_on="run", right_index=True)


def _library(name: str) -> Any:
    """Return the library of a tool. Raises `UserError` if it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UserError(
            f"to read these curves needs {package}; to install it: python -m pip install {package}"
        ) from None
