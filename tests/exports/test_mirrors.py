"""Copies of a sweep in other tools: exported twice and after a resume, they hold what
the tables hold."""

import csv
import errno
import io
import math
import shlex
import struct
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from recorded_data import OF_A_TASK
from safetensors.numpy import load_file

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
    return [
        pytest.param(one, marks=pytest.mark.slow) if one in ("mlflow", "wandb") else one
        for one in names
    ]


@pytest.fixture
def folder(new_writer, epoch_row, tmp_path):
    """A sweep that was interrupted: one of its trials goes on."""
    writer = new_writer(tmp_path / "sweep", count=4)
    for epoch in (1, 2, 3, 4):
        writer.epoch("00000", epoch_row(epoch, 0.1 / epoch, 0.97), False)
    writer.epoch(
        "00001",
        epoch_row(1, math.inf, 0.1, finite=False, diverged=True, above_since=2),
        False,
    )
    writer.epoch("00002", epoch_row(1, 2.0, 0.3), False)
    writer.epoch("00003", epoch_row(1, 1.0, 0.5), False)
    for trial_id, reason in (
        ("00000", "completed"),
        ("00001", "diverged"),
        ("00002", "slow"),
    ):
        writer.end(trial_id, reason)
    writer.finish(ended="now")
    return tmp_path / "sweep"


@pytest.fixture
def resume(new_writer, epoch_row, folder):
    """A function that resumes the sweep to its end, with one more trial."""

    def go_on():
        writer = new_writer(folder, count=5, resume=True)
        for epoch in (2, 3, 4):
            writer.epoch("00003", epoch_row(epoch, 1.0 / epoch, 0.96), False)
        for epoch in (1, 2, 3, 4):
            writer.epoch(
                "00004", epoch_row(epoch, math.nan if epoch == 3 else 0.5, 0.9), False
            )
        for trial_id in ("00003", "00004"):
            writer.end(trial_id, "completed")
        writer.finish(ended="now")

    return go_on


def counts_of_mlflow(output):
    # these libraries take seconds, which the processes that run other files save
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{output}")
    [experiment] = [one for one in client.search_experiments() if one.name != "Default"]
    found = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [
        run
        for run in found
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert len(children) == len(found) - 1 in (4, 5)
    history = {
        run.info.run_name: [
            one.step
            for one in client.get_metric_history(run.info.run_id, "train_accuracy")
        ]
        for run in children
    }
    return {name: sorted(steps) for name, steps in history.items() if steps}


def leveldb_records(content):
    """Yield the records of a log as LevelDB writes it, after W&B's header of 7 bytes:
    in blocks of 32 KiB, each part with a checksum, its length and whether it is whole
    (1), the first (2), a middle (3) or the last (4)."""
    place, data = 7, b""
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield data
            data = b""


def counts_of_wandb(output):
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    for file in sorted(output.glob("wandb/offline-run-*/*.wandb")):
        records = [
            Record.FromString(data) for data in leveldb_records(file.read_bytes())
        ]
        steps = [
            one.history.step.num
            for one in records
            if one.WhichOneof("record_type") == "history"
        ]
        assert file.stem not in found
        found[file.stem.rpartition("-")[2]] = steps
    assert len(found) in (4, 5)
    return {name: steps for name, steps in found.items() if steps}


def counts_of_optuna(output):
    [study] = library("optuna", "this test").get_all_study_summaries(
        f"sqlite:///{output}"
    )
    trials = (
        library("optuna", "this test")
        .load_study(study_name=study.study_name, storage=f"sqlite:///{output}")
        .get_trials()
    )
    assert len(trials) in (4, 5)
    return {
        one.user_attrs["trial_id"]: sorted(one.intermediate_values)
        for one in trials
        if one.intermediate_values
    }


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
    found = {}
    for file in output.glob("*/*/events.*"):
        steps = [
            one.step
            for one in events(file)
            for value in one.summary.value
            if value.tag == "train_s"
        ]
        found.setdefault(file.parent.name, []).extend(steps)
    return {name: sorted(steps) for name, steps in found.items()}


COUNTS = {
    "tensorboard": (counts_of_tensorboard, "logs"),
    "mlflow": (counts_of_mlflow, "runs.db"),
    "wandb": (counts_of_wandb, "runs"),
    "optuna": (counts_of_optuna, "study.db"),
}


def of_the_tables(folder):
    return load_sweep(folder).epochs.groupby("trial_id")["epoch"].agg(list).to_dict()


@pytest.mark.parametrize("kind", tools(*COUNTS))
def test_exported_twice_and_after_a_resume_it_counts_as_the_tables(
    kind, folder, resume, tmp_path, monkeypatch
):
    counts, name = COUNTS[kind]
    output = tmp_path / "it's mine" / name
    output.parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        said = mirror(kind, f"~/it's mine/{name}").update(load_sweep(folder))
    assert str(output) in shlex.split(said)[-1], "what is printed is for a shell"
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
    copy, sweep = mirror(kind, str(tmp_path / name)), load_sweep(folder)
    copy.update(sweep)
    copy.update(replace(sweep, epochs=sweep.epochs[sweep.epochs["epoch"] < 3]))
    assert counts(tmp_path / name)["00000"] == [1, 2]


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
    trials = pd.concat([sweep.trials[:1]] * len(REASONS), ignore_index=True)
    trials = trials.assign(trial_id=[*REASONS], stop_reason=[*REASONS])
    trials = trials.assign(
        regime=trials["regime"].mask(trials["trial_id"] == "diverged", "diverged")
    )
    sweep = replace(
        sweep,
        trials=trials,
        epochs=pd.concat([sweep.epochs[:1].assign(trial_id=one) for one in REASONS]),
    )
    urls = {kind: f"sqlite:///{tmp_path / kind}" for kind in ("mlflow", "optuna")}
    for kind, url in urls.items():
        mirror(kind, url).update(sweep)
    runs = mlflow.MlflowClient(urls["mlflow"]).search_runs(["1"])
    told = {
        run.info.run_name: run.info.status
        for run in runs
        if run.info.run_name in REASONS
    }
    study = library("optuna", "this test").load_study(
        study_name=None, storage=urls["optuna"]
    )
    states = {trial.user_attrs["trial_id"]: trial.state.name for trial in study.trials}
    assert {name: (told[name], states.get(name)) for name in REASONS} == REASONS


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
    (tmp_path / "file").write_text("no database" * 100)
    with pytest.raises(UserError, match=REFUSED[kind]):
        mirror(kind, str(tmp_path / "file")).update(load_sweep(folder))
    monkeypatch.setattr(
        "mnist_tune.errors.import_module", mock.Mock(side_effect=ImportError)
    )
    if kind != "csv":
        with pytest.raises(
            UserError, match=f"^this export needs {kind}.*python -m pip install {kind}"
        ):
            mirror(kind, None)


def test_what_a_full_disk_cut_short_is_written_anew(
    folder, resume, tmp_path, monkeypatch
):
    """TensorBoard shows twice what is written twice."""
    copy, writer = (
        mirror("tensorboard", str(tmp_path / "logs")),
        library("tensorboardX.event_file_writer", "this test").EventsWriter,
    )
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
        with pytest.raises(
            UserError,
            match=r"^can't write \S*: No space left on device; name another --output",
        ):
            copy.update(load_sweep(folder))
    for cut in (tmp_path / "logs").glob("*/00003/*.000004"):
        # the retry would overwrite a file of the same second
        cut.rename(f"{cut}.before")
    copy.update(load_sweep(folder))
    assert counts_of_tensorboard(tmp_path / "logs") == of_the_tables(folder)


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
    assert rows == [[one, "-1.0"] for one in (*HARMLESS.values(), "7")]
    sweep = load_sweep(folder)
    trials = sweep.trials.assign(error="=1+1")
    mirror("csv", str(tmp_path / "out")).update(replace(sweep, trials=trials))
    found = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert found.columns.tolist() == trials.columns.tolist()
    assert set(found["error"]) == {"'=1+1"}


@pytest.mark.parametrize("kind", ["tensorboard", "optuna"])
def test_sweeps_that_begin_in_the_same_second_are_beside_each_other(
    kind, folder, tmp_path
):
    sweep, output = load_sweep(folder), tmp_path / "copies"
    for started in ("2026-01-02T03:04:05.1+00:00", "2026-01-02T03:04:05.2+00:00"):
        mirror(kind, str(output)).update(
            replace(sweep, meta=sweep.meta | {"started": started})
        )
    if kind == "optuna":
        studies = library("optuna", "this test").get_all_study_summaries(
            f"sqlite:///{output}"
        )
        assert [study.n_trials for study in studies] == [4, 4]
    else:
        assert [len(list(logs.iterdir())) for logs in output.iterdir()] == [4, 4]


@pytest.mark.slow
def test_mlflow_forgets_an_error_and_has_the_epochs_of_a_resume(
    folder, new_writer, epoch_row, tmp_path, monkeypatch
):
    """Also where it lists two runs at once, as it does a thousand."""
    import mlflow

    search = mlflow.MlflowClient.search_runs

    def two_at_once(*given, **options):
        return search(*given, **options | {"max_results": 2})

    def runs():
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "search_runs", two_at_once)
            mirror("mlflow", str(tmp_path / "runs.db")).update(load_sweep(folder))
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs.db'}")
        found = client.search_runs(
            [one.experiment_id for one in client.search_experiments()]
        )
        assert len(found) == 6
        return {run.info.run_name: run.data for run in found}

    with new_writer(folder, count=5, resume=True) as writer:
        writer.end("00003", "error", "it broke")
    assert runs()["00003"].tags["error"] == "it broke"
    with new_writer(folder, count=5, resume=True) as writer:
        writer.end("00003", "interrupted")
        writer.trial(
            "00000", replace(TrialConfig(**writer.meta["trials"]["00000"]), epochs=5)
        )
        writer.epoch("00000", epoch_row(5), False)
    found = runs()
    assert "error" not in found["00003"].tags
    assert found["00000"].params["epochs"] == "5"
    assert found["00000"].tags["mnist_tune.epoch"] == "5"


def test_optuna_knows_when_a_trial_ran_and_what_is_maximised(folder, tmp_path):
    sweep = load_sweep(folder)
    ended = 1e9 + sweep.epochs["epoch"]
    sweep = replace(
        sweep,
        epochs=sweep.epochs.assign(
            ended_at=ended, train_s=0.5, eval_s=0.25, compile_s=0.0
        ),
    )
    mirror("optuna", str(tmp_path / "study.db")).update(sweep)
    study = library("optuna", "this test").load_study(
        study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}"
    )
    first = study.trials[0]
    assert (first.datetime_start.timestamp(), first.datetime_complete.timestamp()) == (
        1e9 + 0.25,
        1e9 + 4,
    )
    assert study.metric_names == ["test_accuracy"]


def test_tasks_whose_losses_dont_compare_are_a_study_each(folder, tmp_path):
    sweep = load_sweep(folder)
    names = ["vae", "vae", "gan", "gan"]
    trials = sweep.trials.assign(
        architecture=names, stop_reason="completed", regime="converged"
    )

    def studies(name, trials=trials, **options):
        meta = sweep.meta | {"dataset": OF_A_TASK, "options": options}
        both = {"trials": trials, "epochs": sweep.epochs.assign(score_kl=0.5)}
        url = f"sqlite:///{tmp_path / name}"
        for _ in range(2):
            mirror("optuna", str(tmp_path / name)).update(
                replace(sweep, meta=meta, **both)
            )
        found = [
            one.study_name
            for one in library("optuna", "this test").get_all_study_summaries(url)
        ]
        return [
            library("optuna", "this test").load_study(study_name=one, storage=url)
            for one in found
        ]

    losses = sweep.trials["test_loss"]
    each = {
        study.study_name.rpartition(" ")[2]: study for study in studies("losses.db")
    }
    assert {name: len(study.trials) for name, study in each.items()} == {
        "vae": 2,
        "gan": 2,
    }
    assert each["vae"].best_value == losses[0] < each["gan"].best_value == losses[3]
    assert {study.trials[0].params["architecture"] for study in each.values()} == {
        "vae",
        "gan",
    }
    [alone] = studies("alone.db", trials[:2])
    assert alone.study_name == each["vae"].study_name, (
        "which another task beside it does not change"
    )
    [ranked] = studies("scores.db", rank_by="score_kl:min")
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
    sweep = load_sweep(folder)
    (tmp_path / "logs").mkdir()
    before = {
        path for path in tmp_path.rglob("*") if tmp_path / "logs" not in path.parents
    }
    for _ in range(2):
        mirror("tensorboard", str(tmp_path / "logs")).update(
            replace(sweep, meta=sweep.meta | {"name": name})
        )
    assert {
        path for path in tmp_path.rglob("*") if tmp_path / "logs" not in path.parents
    } == before
    assert len(list((tmp_path / "logs").iterdir())) == 1


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
    found, prefix = tmp_path / "out" / "wandb" / "offline-run-1-x", sweep_id(sweep)
    found.with_name(f"offline-run-1-{prefix}-00000").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    rename = {"00000": "00000/../../.."}
    trials, epochs = (
        part.assign(trial_id=part["trial_id"].replace(rename))
        for part in (sweep.trials, sweep.epochs)
    )
    with pytest.raises(UserError, match="is no name of a file"):
        mirror(kind, str(tmp_path / "out")).update(
            replace(sweep, trials=trials, epochs=epochs)
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_safetensors_hold_the_parameters_and_the_state_of_each_kept_trial(
    folder, epoch_row, tmp_path
):
    arrays = {
        ".params['hidden'][0]": np.arange(6.0).reshape(2, 3).T,
        ".optimizer[0]": np.zeros(3),
    }
    Checkpoint(
        arrays | {".extra['mean']": np.array(3, np.int32)}, EpochRow.of(epoch_row(4))
    ).save(folder / "states" / "00000.npz")
    said = mirror("safetensors", None).update(load_sweep(folder))
    assert said == f"Files: {folder / 'safetensors'}, 1; the best first: 00000"
    found = load_file(folder / "safetensors" / "00000.safetensors")
    assert {name: one.tolist() for name, one in found.items()} == {
        "params.hidden.0": [[0, 3], [1, 4], [2, 5]],
        "state.mean": 3,
    }
    mirror("safetensors", str(tmp_path / "other")).update(load_sweep(folder))
    assert [file.name for file in (tmp_path / "other").iterdir()] == [
        "00000.safetensors"
    ]
