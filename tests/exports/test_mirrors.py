"""Copies of a sweep in other tools: exported twice and after a resume, they hold what
the tables hold."""

import csv
import errno
import io
import math
import shlex
import struct
from collections import defaultdict
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from changed_sweeps import with_epochs, with_meta, with_trials
from recorded_data import OF_A_TASK
from safetensors.numpy import load_file
from wandb_runs import records_of

from mnist_tune import TrialConfig, UserError, load_sweep, storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import library
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.exports import mirror
from mnist_tune.exports.run import sweep_id
from mnist_tune.results.tables import as_csv

# The tools' own: MLflow's and Optuna's connections are left to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


def tools(*names):
    """Parameters. MLflow and W&B take seconds to import, so their tests are not in the
    quick gate."""
    parameters = []
    for name in names:
        marks = pytest.mark.slow if name in ("mlflow", "wandb") else ()
        parameters.append(pytest.param(name, marks=marks))
    return parameters


@pytest.fixture
def folder(new_writer, epoch_row, tmp_path):
    """A sweep that was interrupted: one of its trials goes on."""
    writer = new_writer(tmp_path / "sweep", count=4)
    for epoch in (1, 2, 3, 4):
        writer.epoch("00000", epoch_row(epoch, 0.1 / epoch, 0.97), False)
    diverged = {"finite": False, "diverged": True, "above_since": 2}
    writer.epoch("00001", epoch_row(1, math.inf, 0.1, **diverged), False)
    writer.epoch("00002", epoch_row(1, 2.0, 0.3), False)
    writer.epoch("00003", epoch_row(1, 1.0, 0.5), False)
    writer.end("00000", "completed")
    writer.end("00001", "diverged")
    writer.end("00002", "slow")
    writer.finish(ended="now")
    return tmp_path / "sweep"


@pytest.fixture
def resume(new_writer, epoch_row, folder):
    """A function that resumes the sweep to its end, with one more trial."""

    def go_on():
        writer = new_writer(folder, count=5, resume=True)
        for epoch in (2, 3, 4):
            writer.epoch("00003", epoch_row(epoch, 1.0 / epoch, 0.96), False)
        writer.end("00003", "completed")
        for epoch, loss in enumerate((0.5, 0.5, math.nan, 0.5), start=1):
            writer.epoch("00004", epoch_row(epoch, loss, 0.9), False)
        writer.end("00004", "completed")
        writer.finish(ended="now")

    return go_on


def without_empty(epochs):
    """The epochs of each trial, but for trials without one."""
    return {trial_id: steps for trial_id, steps in epochs.items() if steps}


def counts_of_mlflow(output):
    # these libraries take seconds, which the processes that run other files save
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{output}")
    experiments = client.search_experiments()
    [experiment] = [sweep for sweep in experiments if sweep.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(runs) - 1 in (4, 5)
    children = [run for run in runs if run is not parent]
    epochs = {}
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        history = client.get_metric_history(run.info.run_id, "train_accuracy")
        epochs[run.info.run_name] = sorted(metric.step for metric in history)
    return without_empty(epochs)


def counts_of_wandb(output):
    epochs = {}
    for file in sorted(output.glob("wandb/offline-run-*/*.wandb")):
        trial_id = file.stem.rpartition("-")[2]
        assert trial_id not in epochs
        epochs[trial_id] = []
        for record in records_of(file):
            if record.WhichOneof("record_type") == "history":
                epochs[trial_id].append(record.history.step.num)
    assert len(epochs) in (4, 5)
    return without_empty(epochs)


def optuna():
    return library("optuna", "this test")


def study_in(url, name=None):
    """A study of Optuna; without a name, the only one that is there."""
    return optuna().load_study(study_name=name, storage=url)


def counts_of_optuna(output):
    trials = study_in(f"sqlite:///{output}").get_trials()
    assert len(trials) in (4, 5)
    epochs = {}
    for trial in trials:
        epochs[trial.user_attrs["trial_id"]] = sorted(trial.intermediate_values)
    return without_empty(epochs)


def events(file):
    """Yield the events of a TensorBoard file: TFRecords, each with its length and two
    checksums."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def counts_of_tensorboard(output):
    epochs = defaultdict(list)
    for file in output.glob("*/*/events.*"):
        for event in events(file):
            tags = [value.tag for value in event.summary.value]
            epochs[file.parent.name] += [event.step] * tags.count("train_s")
    return {trial_id: sorted(steps) for trial_id, steps in epochs.items()}


COUNTS = {
    "tensorboard": (counts_of_tensorboard, "logs"),
    "mlflow": (counts_of_mlflow, "runs.db"),
    "wandb": (counts_of_wandb, "runs"),
    "optuna": (counts_of_optuna, "study.db"),
}


def of_the_tables(folder):
    epochs = load_sweep(folder).epochs.groupby("trial_id")["epoch"]
    return epochs.agg(list).to_dict()


@pytest.mark.parametrize("kind", tools(*COUNTS))
def test_exported_twice_and_after_a_resume_it_counts_as_the_tables(
    kind, folder, resume, tmp_path, monkeypatch
):
    counts, name = COUNTS[kind]
    output = tmp_path / "it's mine" / name
    output.parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        printed = mirror(kind, f"~/it's mine/{name}").update(load_sweep(folder))
    last_word = shlex.split(printed)[-1]
    assert str(output) in last_word, "what is printed is for a shell"
    assert counts(output) == of_the_tables(folder)
    copy = mirror(kind, str(output))  # as in another process
    copy.update(load_sweep(folder))
    assert counts(output) == of_the_tables(folder)
    resume()
    copy.update(load_sweep(folder))
    assert counts(output) == of_the_tables(folder)
    assert len(of_the_tables(folder)) == 5


@pytest.mark.parametrize("kind", tools("tensorboard", "wandb"))
def test_what_is_trained_again_replaces_what_was_copied(kind, folder, tmp_path):
    counts, name = COUNTS[kind]
    output = tmp_path / name
    copy = mirror(kind, str(output))
    sweep = load_sweep(folder)
    copy.update(sweep)
    first_epochs = sweep.epochs[sweep.epochs["epoch"] < 3]
    copy.update(replace(sweep, epochs=first_epochs))
    assert counts(output)["00000"] == [1, 2]


REASONS = {
    "completed": ("FINISHED", "COMPLETE"),
    "asha": ("FINISHED", "PRUNED"),
    "diverged": ("FINISHED", "FAIL"),
    "time_budget": ("FINISHED", "RUNNING"),
    "interrupted": ("KILLED", "RUNNING"),
    "error": ("FAILED", "FAIL"),
    "running": ("RUNNING", None),
    "unknown": ("RUNNING", None),
    "waiting": ("SCHEDULED", None),
}
"""What MLflow and Optuna call the states of trials."""


@pytest.mark.slow
def test_the_states_of_trials(folder, tmp_path):
    import mlflow

    sweep = load_sweep(folder)
    trials = []
    epochs = []
    for reason in REASONS:
        trial = sweep.trials[:1].assign(trial_id=reason, stop_reason=reason)
        if reason == "diverged":
            trial = trial.assign(regime="diverged")
        trials.append(trial)
        epochs.append(sweep.epochs[:1].assign(trial_id=reason))
    table = pd.concat(trials, ignore_index=True)
    sweep = replace(sweep, trials=table, epochs=pd.concat(epochs))
    of_mlflow = f"sqlite:///{tmp_path / 'mlflow'}"
    mirror("mlflow", of_mlflow).update(sweep)
    of_optuna = f"sqlite:///{tmp_path / 'optuna'}"
    mirror("optuna", of_optuna).update(sweep)

    runs = mlflow.MlflowClient(of_mlflow).search_runs(["1"])
    statuses = {run.info.run_name: run.info.status for run in runs}
    states = {}
    for trial in study_in(of_optuna).trials:
        states[trial.user_attrs["trial_id"]] = trial.state.name
    for reason, (status, state) in REASONS.items():
        assert statuses[reason] == status, reason
        assert states.get(reason) == state, reason


REFUSED = {
    "csv": r"^can't write \S*/file/trials.csv: ",
    "tensorboard": r"^can't write \S*/file: Not a directory; name another --output$",
    "wandb": r"^can't write \S*/file: File exists; name another --output$",
    "mlflow": r"^can't write sqlite:///\S*/file: .*file is not a database.*; name another --output$",
    "optuna": r"^can't write sqlite:///\S*/file: .*file is not a database.*; name another --output$",
}


@pytest.mark.parametrize("kind", tools(*REFUSED))
def test_what_cannot_be_written_or_is_not_installed_is_one_line(
    folder, tmp_path, monkeypatch, kind
):
    file = tmp_path / "file"
    file.write_text("no database" * 100)
    with pytest.raises(UserError, match=REFUSED[kind]):
        mirror(kind, str(file)).update(load_sweep(folder))
    not_installed = mock.Mock(side_effect=ImportError)
    monkeypatch.setattr("mnist_tune.errors.import_module", not_installed)
    if kind != "csv":
        remedy = f"python -m pip install {kind}"
        with pytest.raises(UserError, match=f"^this export needs {kind}.*{remedy}"):
            mirror(kind, None)


def test_what_a_full_disk_cut_short_is_written_anew(
    folder, resume, tmp_path, monkeypatch
):
    """TensorBoard shows twice what is written twice."""
    logs = tmp_path / "logs"
    copy = mirror("tensorboard", str(logs))
    written_by = library("tensorboardX.event_file_writer", "this test")
    writer = written_by.EventsWriter
    copy.update(load_sweep(folder))
    resume()
    write = writer.write_event

    def full(self, event):
        if event.step:
            self.flush()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_event", full)
        no_space = r"^can't write \S*: No space left on device; name another --output"
        with pytest.raises(UserError, match=no_space):
            copy.update(load_sweep(folder))
    for cut in logs.glob("*/00003/*.000004"):
        # the retry would overwrite a file of the same second
        cut.rename(f"{cut}.before")
    copy.update(load_sweep(folder))
    assert counts_of_tensorboard(logs) == of_the_tables(folder)


HARMLESS = {
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t'=1",
    " =1": "' =1",
    "\rx": "'\rx",
    "a;=1+1": "a;'=1+1",
    "a; @x;-2": "a;' @x;'-2",
    "a,=1": "a,'=1",
    "a|+1": "a|'+1",
    "a\n=1": "a\n'=1",
    "1e-3, x-y, a=b": "1e-3, x-y, a=b",
}


@pytest.mark.promise("A spreadsheet takes no text for a formula")
def test_a_spreadsheet_takes_no_text_for_a_formula(folder, tmp_path):
    """Nor where it separates cells otherwise and heeds no quotes."""
    table = pd.DataFrame({"error": [*HARMLESS, 7], "number": -1.0})
    _, *rows = csv.reader(io.StringIO(as_csv(table), newline=""))
    assert [text for text, _ in rows] == [*HARMLESS.values(), "7"]
    assert {number for _, number in rows} == {"-1.0"}
    sweep = with_trials(load_sweep(folder), error="=1+1")
    output = tmp_path / "out"
    mirror("csv", str(output)).update(sweep)
    written = pd.read_csv(output / "trials.csv")
    assert written.columns.tolist() == sweep.trials.columns.tolist()
    assert set(written["error"]) == {"'=1+1"}


@pytest.mark.parametrize("kind", ["tensorboard", "optuna"])
def test_sweeps_that_begin_in_the_same_second_are_beside_each_other(
    kind, folder, tmp_path
):
    sweep = load_sweep(folder)
    output = tmp_path / "copies"
    for started in ("2026-01-02T03:04:05.1+00:00", "2026-01-02T03:04:05.2+00:00"):
        mirror(kind, str(output)).update(with_meta(sweep, started=started))
    if kind == "optuna":
        studies = optuna().get_all_study_summaries(f"sqlite:///{output}")
        assert [study.n_trials for study in studies] == [4, 4]
    else:
        assert [len(list(logs.iterdir())) for logs in output.iterdir()] == [4, 4]


@pytest.mark.slow
def test_mlflow_forgets_an_error_and_has_the_epochs_of_a_resume(
    folder, new_writer, epoch_row, tmp_path, monkeypatch
):
    """Also where it lists two runs at once, as it does a thousand."""
    import mlflow

    search_runs = mlflow.MlflowClient.search_runs
    output = tmp_path / "runs.db"

    def two_at_once(*arguments, **options):
        return search_runs(*arguments, **options | {"max_results": 2})

    def runs():
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "search_runs", two_at_once)
            mirror("mlflow", str(output)).update(load_sweep(folder))
        client = mlflow.MlflowClient(f"sqlite:///{output}")
        experiments = client.search_experiments()
        ids = [experiment.experiment_id for experiment in experiments]
        every_run = client.search_runs(ids)
        assert len(every_run) == 6
        return {run.info.run_name: run.data for run in every_run}

    with new_writer(folder, count=5, resume=True) as writer:
        writer.end("00003", "error", "it broke")
    assert runs()["00003"].tags["error"] == "it broke"
    with new_writer(folder, count=5, resume=True) as writer:
        writer.end("00003", "interrupted")
        config = TrialConfig(**writer.meta["trials"]["00000"])
        writer.trial("00000", replace(config, epochs=5))
        writer.epoch("00000", epoch_row(5), False)
    after = runs()
    assert "error" not in after["00003"].tags
    assert after["00000"].params["epochs"] == "5"
    assert after["00000"].tags["mnist_tune.epoch"] == "5"


def test_optuna_knows_when_a_trial_ran_and_what_is_maximised(folder, tmp_path):
    sweep = load_sweep(folder)
    ended = 1e9 + sweep.epochs["epoch"]
    sweep = with_epochs(sweep, ended_at=ended, train_s=0.5, eval_s=0.25, compile_s=0.0)
    output = tmp_path / "study.db"
    mirror("optuna", str(output)).update(sweep)
    study = study_in(f"sqlite:///{output}")
    first = study.trials[0]
    assert first.datetime_start.timestamp() == 1e9 + 0.25
    assert first.datetime_complete.timestamp() == 1e9 + 4
    assert study.metric_names == ["test_accuracy"]


def test_tasks_whose_losses_dont_compare_are_a_study_each(folder, tmp_path):
    sweep = with_trials(
        load_sweep(folder),
        architecture=["vae", "vae", "gan", "gan"],
        stop_reason="completed",
        regime="converged",
    )
    sweep = with_epochs(sweep, score_kl=0.5)

    def studies(name, trials=sweep.trials, **options):
        """The studies of a sweep that was exported twice, by their names."""
        exported = with_meta(sweep, dataset=OF_A_TASK, options=options)
        exported = replace(exported, trials=trials)
        output = tmp_path / name
        url = f"sqlite:///{output}"
        mirror("optuna", str(output)).update(exported)
        mirror("optuna", str(output)).update(exported)
        summaries = optuna().get_all_study_summaries(url)
        names = [summary.study_name for summary in summaries]
        assert len(set(names)) == len(names)
        return {study_name: study_in(url, study_name) for study_name in names}

    losses = sweep.trials["test_loss"]
    by_task = {}
    for name, study in studies("losses.db").items():
        assert len(study.trials) == 2
        by_task[name.rpartition(" ")[2]] = study
    assert by_task.keys() == {"vae", "gan"}
    vae = by_task["vae"]
    gan = by_task["gan"]
    assert vae.best_value == losses[0]
    assert gan.best_value == losses[3]
    assert vae.best_value < gan.best_value
    networks = {study.trials[0].params["architecture"] for study in (vae, gan)}
    assert networks == {"vae", "gan"}
    [name_alone] = studies("alone.db", sweep.trials[:2])
    assert name_alone == vae.study_name, "which another task beside it does not change"
    [ranked] = studies("scores.db", rank_by="score_kl:min").values()
    assert len(ranked.trials) == 4


def test_csv_files_go_to_object_storage_and_logs_do_not(folder, bucket):
    mirror("csv", bucket).update(load_sweep(folder))
    assert storage.read(storage.join(bucket, "trials.csv")).startswith(b'"trial_id"')
    with pytest.raises(UserError, match="name a folder"):
        mirror("tensorboard", bucket)


@pytest.mark.parametrize(
    "name", ["/absolute", "..", "../../x", "a\\b", "a" * 300, "é" * 200, "a\nb", "."]
)
def test_a_sweeps_name_leads_out_of_no_export(folder, tmp_path, name):
    sweep = with_meta(load_sweep(folder), name=name)
    logs = tmp_path / "logs"
    logs.mkdir()

    def outside():
        return {path for path in tmp_path.rglob("*") if logs not in path.parents}

    before = outside()
    mirror("tensorboard", str(logs)).update(sweep)
    mirror("tensorboard", str(logs)).update(sweep)
    assert outside() == before
    assert len(list(logs.iterdir())) == 1


@pytest.mark.promise(
    "No name leads out of the sweep's folder, and no export writes outside its own"
)
@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_no_export_removes_or_writes_outside_its_folder(
    kind, folder, tmp_path, monkeypatch
):
    """Trial ids are checked where they are read. The exports don't rely on it."""
    if kind == "wandb":
        monkeypatch.setattr("mnist_tune.exports.wandb.library", mock.MagicMock())
    sweep = load_sweep(folder)
    output = tmp_path / "out"
    earlier_run = f"offline-run-1-{sweep_id(sweep)}-00000"
    (output / "wandb" / earlier_run).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    outside = "00000/../../.."
    trial_ids = sweep.trials["trial_id"].replace("00000", outside)
    hostile = with_trials(sweep, trial_id=trial_ids)
    trial_ids = sweep.epochs["trial_id"].replace("00000", outside)
    hostile = with_epochs(hostile, trial_id=trial_ids)
    with pytest.raises(UserError, match="is no name of a file"):
        mirror(kind, str(output)).update(hostile)
    assert sorted(tmp_path.rglob("*")) == before


def test_safetensors_hold_the_parameters_and_the_state_of_each_kept_trial(
    folder, epoch_row, tmp_path
):
    arrays = {
        ".params['hidden'][0]": np.arange(6.0).reshape(2, 3).T,
        ".optimizer[0]": np.zeros(3),
        ".extra['mean']": np.array(3, np.int32),
    }
    checkpoint = Checkpoint(arrays, EpochRow.of(epoch_row(4)))
    checkpoint.save(folder / "states" / "00000.npz")
    printed = mirror("safetensors", None).update(load_sweep(folder))
    output = folder / "safetensors"
    assert printed == f"Files: {output}, 1; the best first: 00000"
    tensors = load_file(output / "00000.safetensors")
    assert tensors.keys() == {"params.hidden.0", "state.mean"}
    assert tensors["params.hidden.0"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert tensors["state.mean"].tolist() == 3
    elsewhere = tmp_path / "other"
    mirror("safetensors", str(elsewhere)).update(load_sweep(folder))
    [file] = elsewhere.iterdir()
    assert file.name == "00000.safetensors"
