"""Copies of a sweep in other tools: exported twice and after a resume, they hold what the tables hold."""

import errno
import math
import struct
from collections import namedtuple
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from unittest import mock

import pandas as pd
import pytest

from mnist_tune import TrialConfig, UserError, load_sweep
from mnist_tune.columns import EPOCHS
from mnist_tune.commands import export
from mnist_tune.exports import mirror
from mnist_tune.exports.run import library, runs, sweep_id, title

SETTINGS = vars(TrialConfig()).keys() - {"stop_when_diverged"}  # which no table has


@pytest.fixture
def folder(new_writer, epoch_row, tmp_path):
    """A sweep that was interrupted: a trial that goes on, and one that has not begun."""
    writer = new_writer(tmp_path / "sweep", count=5)
    for epoch in (1, 2, 3, 4):
        writer.epoch("00000", epoch_row(epoch, 0.1 / epoch, 0.97), False)
    writer.epoch("00001", epoch_row(1, math.inf, 0.1, finite=False, diverged=True, above_since=2), False)
    writer.epoch("00002", epoch_row(1, 2.0, 0.3), False)
    writer.epoch("00003", epoch_row(1, 1.0, 0.5), False)
    for trial_id, reason in (("00000", "completed"), ("00001", "diverged"), ("00002", "slow")):
        writer.end(trial_id, reason)
    writer.finish(ended="now")
    return tmp_path / "sweep"


@pytest.fixture
def resume(new_writer, epoch_row, folder):
    """A function that resumes the sweep to its end."""

    def go_on():
        writer = new_writer(folder, count=5, resume=True)
        for epoch in (2, 3, 4):
            writer.epoch("00003", epoch_row(epoch, 1.0 / epoch, 0.96), False)
        for epoch in (1, 2, 3, 4):
            writer.epoch("00004", epoch_row(epoch, math.nan if epoch == 3 else 0.5, 0.9), False)
        for trial_id in ("00003", "00004"):
            writer.end(trial_id, "completed")
        writer.finish(ended="now")

    return go_on


def counts_of_csv(output):
    trials, epochs = (pd.read_csv(output / f"{name}.csv", dtype={"trial_id": str}) for name in ("trials", "epochs"))
    assert len(trials) == 5
    return epochs.groupby("trial_id")["epoch"].agg(list).to_dict()


def events(file):
    """Yield the events of a TensorBoard file: TFRecords, each with its length and two checksums."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def counts_of_tensorboard(output):
    found = {}
    for run in sorted(output.glob("*/*")):
        all_events = [one for file in sorted(run.iterdir()) for one in events(file)]
        values = [(one.step, value) for one in all_events for value in one.summary.value]
        found[run.name] = [step for step, value in values if value.tag == "train_accuracy"]
        [settings] = [value for _, value in values if value.tag == "_hparams_/session_start_info"]
        assert all(name.encode() in settings.metadata.plugin_data.content for name in SETTINGS)
    return found


def counts_of_mlflow(output):
    client = library("mlflow").MlflowClient(f"sqlite:///{output}")
    [experiment] = [one for one in client.search_experiments() if one.name != "Default"]
    found = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(found) - 1 == 5
    history = {
        run.info.run_name: [one.step for one in client.get_metric_history(run.info.run_id, "train_accuracy")]
        for run in children
    }
    return {name: sorted(steps) for name, steps in history.items() if steps}


def leveldb_records(content):
    """Yield the records of a log as LevelDB writes it, after W&B's header of 7 bytes: in blocks of 32 KiB, each part
    with a checksum, its length and whether it is whole (1), the first (2), a middle (3) or the last (4)."""
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
        records = [Record.FromString(data) for data in leveldb_records(file.read_bytes())]
        steps = [one.history.step.num for one in records if one.WhichOneof("record_type") == "history"]
        assert file.stem not in found
        found[file.stem.rpartition("-")[2]] = steps
    assert len(found) == 5
    return {name: steps for name, steps in found.items() if steps}


def counts_of_optuna(output):
    import optuna

    [study] = optuna.get_all_study_summaries(f"sqlite:///{output}")
    trials = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{output}").get_trials()
    assert len(trials) == 5
    return {one.user_attrs["trial_id"]: sorted(one.intermediate_values) for one in trials if one.intermediate_values}


COUNTS = {
    "csv": (counts_of_csv, "copies"),
    "tensorboard": (counts_of_tensorboard, "logs"),
    "mlflow": (counts_of_mlflow, "runs.db"),
    "wandb": (counts_of_wandb, "runs"),
    "optuna": (counts_of_optuna, "study.db"),
}


def of_the_tables(folder):
    return load_sweep(folder).epochs.groupby("trial_id")["epoch"].agg(list).to_dict()


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_exported_twice_and_after_a_resume_it_counts_as_the_tables(kind, folder, resume, tmp_path):
    if kind in ("mlflow", "wandb") and find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed")
    counts, name = COUNTS[kind]
    output = tmp_path / name
    mirror(kind, str(output)).update(load_sweep(folder))
    assert counts(output) == of_the_tables(folder)
    for file in output.glob("*/*/events.*"):  # as if written at another time, or on another machine
        file.rename(file.with_name("events.out.tfevents.1000000000.elsewhere"))
    copy = mirror(kind, str(output))  # as in another process
    copy.update(load_sweep(folder))
    assert counts(output) == of_the_tables(folder)
    resume()
    copy.update(load_sweep(folder))
    assert counts(output) == of_the_tables(folder)
    assert len(of_the_tables(folder)) == 5


def test_a_diverged_trial_is_a_failed_one_in_optuna_with_its_label(folder, tmp_path):
    import optuna

    mirror("optuna", str(tmp_path / "study.db")).update(load_sweep(folder))
    [study] = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")
    trials = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{tmp_path}/study.db").get_trials()
    assert [one.state.name for one in trials] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING", "WAITING"]
    assert study.user_attrs["objective"] == "test_accuracy"
    assert [one.user_attrs["regime"] for one in trials][:2] == ["converged", "diverged"]
    assert trials[0].params["learning_rate"] == 0.1
    mirror("optuna", str(tmp_path / "study.db")).update(load_sweep(folder))
    again = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{tmp_path}/study.db")
    assert again._study_id == study._study_id  # nothing changed, so nothing was written anew
    assert trials[0].value == load_sweep(folder).trials["test_accuracy"][0]


def test_the_value_of_a_trial_in_optuna_is_that_of_its_last_epoch(new_writer, epoch_row, tmp_path):
    """On the images held out, where there are any. Trials that go on have none yet."""
    import optuna

    writer, url = new_writer(tmp_path / "sweep", count=4, holdout=100), f"sqlite:///{tmp_path}/study.db"
    for epoch, accuracy in enumerate((0.5, 0.9, 0.95, 0.8), start=1):
        writer.epoch("00000", epoch_row(epoch, 0.3, validation_loss=0.3, validation_accuracy=accuracy), False)
    writer.epoch("00001", epoch_row(1, validation_loss=0.5, validation_accuracy=0.7), False)
    for trial_id, reason in (("00000", "completed"), ("00001", "slow"), ("00002", "error")):
        writer.end(trial_id, reason)
    assert mirror("optuna", str(tmp_path / "study.db")).update(load_sweep(writer.path)).endswith(f" {url}")
    study = optuna.load_study(study_name=None, storage=url)
    found = {one.user_attrs["trial_id"]: (one.state.name, one.value) for one in study.trials}
    assert found == {"00000": ("COMPLETE", 0.8), "00001": ("PRUNED", 0.7), "00002": ("FAIL", None)}
    assert study.user_attrs["objective"] == "validation_accuracy"
    rates = optuna.distributions.FloatDistribution(0.1, 0.4, log=True)
    assert study.trials[0].distributions["learning_rate"] == rates
    writer.finish(ended="now")


def test_a_search_that_proposes_another_network_while_it_is_followed_goes_on_in_optuna(new_writer, epoch_row, tmp_path):
    """Optuna takes no trial whose choices differ from those of the trials before it."""
    writer, url = new_writer(tmp_path / "sweep", count=0), f"sqlite:///{tmp_path}/study.db"
    copy = mirror("optuna", str(tmp_path / "study.db"))
    proposed = [
        TrialConfig(architecture=name, batch_size=size, epochs=1)
        for name, size in (("mlp-4-tanh", 32), ("mlp-4-tanh", 64), ("mlp-8-tanh", 16))
    ]
    for number, trial in enumerate(proposed):
        writer.trial(f"{number:05d}", trial)
        writer.epoch(f"{number:05d}", epoch_row(1), False)
        writer.end(f"{number:05d}", "completed")
        copy.update(load_sweep(writer.path))
    writer.finish(ended="now")
    copy.update(load_sweep(writer.path))
    import optuna

    [study] = optuna.get_all_study_summaries(url)
    trials = optuna.load_study(study_name=study.study_name, storage=url).trials
    assert [one.params["architecture"] for one in trials] == [trial.architecture for trial in proposed]
    choices = {getattr(one.distributions["architecture"], "choices", None) for one in trials}
    assert choices == {("mlp-4-tanh", "mlp-8-tanh")}


@pytest.mark.parametrize("epochs", [{"ended_at": math.nan}, {}])
def test_a_journal_without_times_is_copied_to_mlflow(folder, monkeypatch, epochs):
    """As older versions wrote it."""
    library, sweep = MLflow(), load_sweep(folder)
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: library)
    known = sweep.epochs.drop(columns="ended_at").assign(**epochs)
    mirror("mlflow", "runs.db").update(replace(sweep, epochs=known))
    assert library.found()["00000"] == ("FINISHED", [1, 2, 3, 4], "completed")


def test_mlflow_is_told_times_in_milliseconds(folder, monkeypatch):
    """The gate has no MLflow, so a mock stands in for it and records the calls."""
    library = mock.MagicMock()
    client = library.MlflowClient.return_value
    client.search_runs.return_value = mock.MagicMock(token=None, __iter__=lambda page: iter([]))
    client.create_run.return_value.data.tags = {}
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: library)
    mirror("mlflow", "runs.db").update(load_sweep(folder))
    assert [call.args[1] for call in client.create_run.call_args_list[1:]] == [10**12] * 4 + [None]
    assert {call.args[2] for call in library.entities.Metric.call_args_list} == {10**12}
    assert {call.args[2] for call in client.set_terminated.call_args_list} == {10**12, None}


def test_a_run_whose_label_changed_is_written_again_to_wandb(folder, tmp_path, monkeypatch):
    """The gate has no W&B, so a mock stands in for it and records the calls."""
    library = mock.MagicMock()
    monkeypatch.setattr("mnist_tune.exports.wandb.library", lambda name: library)
    copy, sweep = mirror("wandb", str(tmp_path / "runs")), load_sweep(folder)
    copy.update(sweep)
    copy.update(sweep)
    assert library.init.call_count == 5
    sweep.trials.loc[2, "regime"] = "underfit"
    copy.update(sweep)
    assert [call.kwargs["name"] for call in library.init.call_args_list[5:]] == ["00002"]
    assert library.init.call_args.kwargs["tags"] == ["underfit"]


def test_tensorboard_has_every_finite_value_at_its_epoch_and_time(folder, tmp_path):
    sweep = load_sweep(folder)
    sweep = replace(sweep, epochs=sweep.epochs.assign(ended_at=1e9 + sweep.epochs["epoch"]))
    said = mirror("tensorboard", str(tmp_path / "my logs")).update(sweep)
    assert said == f"Look at it: tensorboard --logdir '{tmp_path}/my logs'"
    assert sorted(path.name for path in (tmp_path / "my logs" / title(sweep)).iterdir()) == sorted(
        of_the_tables(folder)
    )

    def written(trial_id):
        (file,) = (tmp_path / "my logs" / title(sweep) / trial_id).iterdir()
        return [(one.wall_time, one.step, value) for one in events(file) for value in one.summary.value]

    losses = [
        (time, step, pytest.approx(value.simple_value))
        for time, step, value in written("00000")
        if value.tag == "train_loss"
    ]
    assert losses == [(1e9 + epoch, epoch, 0.1 / epoch) for epoch in (1, 2, 3, 4)]
    assert {time for time, _, value in written("00000") if value.tag.startswith("_hparams_")} == {1e9 + 1}
    diverged = {value.tag for _, _, value in written("00001")}
    assert {"train_accuracy", "step_loss_max"} < diverged
    assert diverged.isdisjoint({"train_loss", "test_loss", "epoch", "time"})


def test_what_a_full_disk_cut_short_is_written_anew(folder, tmp_path, monkeypatch):
    """TensorBoard shows twice what is written twice."""
    copy, sweep = mirror("tensorboard", str(tmp_path / "logs")), load_sweep(folder)
    copy.update(sweep)
    more = sweep.epochs[sweep.epochs["trial_id"] == "00000"].assign(epoch=lambda rows: rows["epoch"] + 4)
    longer = replace(sweep, epochs=pd.concat([sweep.epochs, more], ignore_index=True))
    writer = library("tensorboardX.event_file_writer").EventsWriter
    write = writer.write_event

    def full(self, event):
        if event.step == 6:
            self.flush()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_event", full)
        with pytest.raises(UserError, match="No space left on device"):
            copy.update(longer)
    [cut] = (tmp_path / "logs").glob("*/00000/*.000008")
    cut.rename(f"{cut}.before")  # the retry would overwrite a file of the same second
    copy.update(longer)
    assert counts_of_tensorboard(tmp_path / "logs")["00000"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_logs_that_cannot_be_written_say_why_and_what_helps(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"^can't write {tmp_path}/file: Not a directory; name another --output$"):
        mirror("tensorboard", str(tmp_path / "file")).update(load_sweep(folder))


def test_a_trial_is_a_run_of_its_sweeps_group_in_wandb(folder, tmp_path, monkeypatch):
    """The gate has no W&B, so a mock stands in for it and records the calls."""
    library = mock.MagicMock()
    monkeypatch.setattr("mnist_tune.exports.wandb.library", lambda name: library)
    sweep, output = load_sweep(folder), tmp_path / "runs"
    copy = mirror("wandb", str(output))
    assert copy.update(sweep) == f"Upload it: wandb sync --include-offline {output}/wandb/offline-run-*"
    asked = library.init.call_args_list[1].kwargs
    found = runs(sweep)[1]
    assert (asked["group"], asked["name"], asked["id"]) == (title(sweep), "00001", found.id)
    assert (asked["dir"], asked["mode"], asked["tags"]) == (str(output), "offline", ["diverged"])
    assert asked["config"] == found.params
    opened = library.init.return_value.__enter__.return_value
    logged = [(call.kwargs["step"], call.args[0]) for call in opened.log.call_args_list]
    assert [step for step, _ in logged] == [1, 2, 3, 4, 1, 1, 1]
    assert all(values["epoch"] == step and "time" not in values for step, values in logged)
    assert "train_accuracy" in logged[4][1]
    assert "train_loss" not in logged[4][1], "it is infinite"
    assert opened.summary.update.call_args_list[1].args == (found.labels,)
    assert library.teardown.call_count == 1
    copy.update(sweep)
    assert library.teardown.call_count == 1, "nothing was written"
    copy.update(replace(sweep, epochs=sweep.epochs.iloc[1:]))
    assert [call.kwargs["name"] for call in library.init.call_args_list[5:]] == ["00000"], "it has other epochs"


def test_what_is_not_finite_is_in_no_curve_and_keeps_its_row(folder):
    found = {run.trial_id: run for run in runs(load_sweep(folder))}
    [row] = found["00001"].rows
    assert "train_loss" not in row.metrics
    assert row.metrics["train_accuracy"] == 0.1
    assert set(found["00001"].params) == SETTINGS


def test_a_run_holds_what_the_tables_say_of_its_trial(folder):
    sweep = load_sweep(folder)
    epochs = sweep.epochs.assign(window_loss_max=[0.5, *[math.nan] * 6], ended_at=1e9 + sweep.epochs["epoch"])
    first, *others = runs(replace(sweep, epochs=epochs.iloc[::-1]))
    assert [(row.epoch, row.time) for row in first.rows] == [(i, 1e9 + i) for i in (1, 2, 3, 4)]
    assert first.rows[0].metrics["window_loss_max"] == 0.5, "measured in some epochs only"
    assert first.rows[0].metrics.keys() < {column.name for column in EPOCHS}
    assert first.rows[0].metrics.keys().isdisjoint({"epoch", "ended_at", "validation_loss"})
    assert first.labels == {
        "regime": "converged", "regime_evidence": "accuracy 0.9700 >= 0.91", "stop_reason": "completed",
        "node": "here", "device": "cpu", "dataset": "mnist-5k",
    }  # fmt: skip
    assert {run.params["epochs"] for run in (first, *others)} == {4}, "as many as were asked for"
    assert others[-1].labels.keys() == {"regime", "regime_evidence", "stop_reason", "dataset"}


def test_the_states_of_trials_in_optuna(folder, tmp_path):
    import optuna

    known = [
        ("completed", "slow", "COMPLETE"),
        ("asha", "slow", "PRUNED"),
        ("diverged", "diverged", "FAIL"),
        ("time_budget", "undecided", "RUNNING"),
        ("interrupted", "diverged", "RUNNING"),
        ("error", "slow", "FAIL"),
        ("running", "slow", None),
        ("waiting", "undecided", None),
    ]
    sweep = load_sweep(folder)
    ids, (reasons, regimes, states) = [f"{i:05d}" for i in range(len(known))], zip(*known, strict=True)
    trials = pd.concat([sweep.trials[:1]] * len(known), ignore_index=True)
    trials = trials.assign(trial_id=ids, stop_reason=reasons, regime=regimes)
    epochs = pd.concat([sweep.epochs[sweep.epochs["trial_id"] == "00000"].assign(trial_id=name) for name in ids])
    mirror("optuna", str(tmp_path / "study.db")).update(replace(sweep, trials=trials, epochs=epochs))
    found = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/study.db").trials
    assert {one.user_attrs["trial_id"]: one.state.name for one in found} == {
        name: state for name, state in zip(ids, states, strict=True) if state
    }


def test_a_sweep_is_called_by_its_name_and_the_second_in_which_it_began(folder):
    sweep = load_sweep(folder)
    begun = replace(sweep, meta=sweep.meta | {"started": "2026-01-02T03:04:05.678+00:00"})
    assert title(begun) == "lr_regimes 2026-01-02T03-04-05"
    assert title(sweep) == f"lr_regimes {sweep_id(sweep)}"
    assert sweep_id(begun) != sweep_id(sweep), "the same trials, asked for at another time"


@pytest.mark.parametrize("name", ["/absolute", "..", "../../x", "a\\b", "a" * 300, "é" * 200, "a\nb", "."])
def test_a_sweeps_name_leads_out_of_no_export(folder, tmp_path, name):
    sweep = load_sweep(folder)
    (tmp_path / "logs").mkdir()
    before = {path for path in tmp_path.rglob("*") if tmp_path / "logs" not in path.parents}
    for _ in range(2):
        mirror("tensorboard", str(tmp_path / "logs")).update(replace(sweep, meta=sweep.meta | {"name": name}))
    assert {path for path in tmp_path.rglob("*") if tmp_path / "logs" not in path.parents} == before
    assert len(list((tmp_path / "logs").iterdir())) == 1


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_no_export_removes_or_writes_outside_its_folder(kind, folder, tmp_path, monkeypatch):
    """Trial ids are checked where they are read. The exports don't rely on it."""
    if kind == "wandb":
        monkeypatch.setattr("mnist_tune.exports.wandb.library", mock.MagicMock())
    sweep = load_sweep(folder)
    found, prefix = tmp_path / "out" / "wandb" / "offline-run-1-x", sweep_id(sweep)
    found.with_name(f"offline-run-1-{prefix}-00000").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    rename = {"00000": "00000/../../.."}
    trials, epochs = (part.assign(trial_id=part["trial_id"].replace(rename)) for part in (sweep.trials, sweep.epochs))
    with pytest.raises(UserError, match="is no name of a file"):
        mirror(kind, str(tmp_path / "out")).update(replace(sweep, trials=trials, epochs=epochs))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_has_the_same_id_wherever_its_folder_is(folder, resume, tmp_path):
    before = [run.id for run in runs(load_sweep(folder))]
    resume()
    folder.rename(tmp_path / "elsewhere")
    assert [run.id for run in runs(load_sweep(tmp_path / "elsewhere"))] == before
    assert len(set(before)) == 5


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


@pytest.mark.parametrize("text", HARMLESS)
def test_a_spreadsheet_takes_no_text_for_a_formula(text, folder, tmp_path):
    """Nor where it separates cells otherwise and heeds no quotes."""
    sweep = load_sweep(folder)
    sweep.trials.loc[0, "error"] = text
    mirror("csv", str(tmp_path)).update(sweep)
    read = pd.read_csv(tmp_path / "trials.csv")
    assert read["error"][0] == HARMLESS[text]
    assert (tmp_path / "trials.csv").read_text().startswith('"trial_id","label",')
    assert read["learning_rate"].tolist() == sweep.trials["learning_rate"].tolist()  # numbers as they are


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb", "optuna"])
def test_a_tool_that_is_missing_is_asked_for_by_name(kind, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("mnist_tune.exports.run.import_module", missing)
    with pytest.raises(UserError, match=rf"this export needs {kind}X?; to install it: python -m pip install {kind}"):
        mirror(kind, None)


def test_following_ends_with_the_sweep_and_outlives_a_dead_service(folder, resume, tmp_path, monkeypatch, capsys):
    class Dead:
        calls = 0

        def update(self, sweep):
            self.calls += 1
            if self.calls == 1:
                raise OSError("no route to host")
            if self.calls == 3:
                resume()
                monkeypatch.setattr(export, "is_being_written", lambda folder: False)
            return f"copy {self.calls}"

    monkeypatch.setattr(export, "mirror", lambda kind, output: Dead())
    monkeypatch.setattr(export.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(export, "is_being_written", lambda folder: True)
    monkeypatch.setattr("sys.argv", ["export.py", str(folder), "--follow"])
    export.main()
    said = capsys.readouterr()
    assert "no route to host; trying again" in said.err
    assert said.out == "5 trials, 14 epochs. copy 4\n"


@pytest.mark.parametrize("error", [UserError("the disk is full"), OSError("no route to host")])
@pytest.mark.parametrize("follow", [["--follow"], []])
def test_a_copy_that_fails_once_the_sweep_has_ended_is_an_error(error, follow, folder, monkeypatch, capsys):
    copy = mock.Mock(**{"update.side_effect": error})
    monkeypatch.setattr(export, "mirror", lambda kind, output: copy)
    monkeypatch.setattr("sys.argv", ["export.py", str(folder), *follow])
    with pytest.raises(type(error), match=str(error)):
        export.main()
    assert copy.update.call_count == 1
    assert "".join(capsys.readouterr()) == ""


def test_a_mistake_of_the_user_is_told_in_its_own_words_while_the_sweep_goes_on(folder, monkeypatch, capsys):
    copy = mock.Mock(**{"update.side_effect": [UserError("the disk is full"), "Look: there"]})
    made = mock.Mock(return_value=copy)
    monkeypatch.setattr(export, "mirror", made)
    monkeypatch.setattr(export.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(export, "is_being_written", lambda path: not copy.update.called)
    monkeypatch.setattr("sys.argv", ["export.py", str(folder), *"--to optuna --output all.db --follow".split()])
    export.main()
    made.assert_called_once_with("optuna", "all.db")
    said = capsys.readouterr()
    assert said.err == "note: the disk is full; trying again\n"
    assert said.out == "5 trials, 7 epochs. Look: there\n"


@pytest.mark.parametrize(("copying_s", "waited_s"), [(0.1, 10.0), (3.0, 30.0)])
def test_the_next_copy_waits_at_least_ten_times_as_long_as_the_last_took(folder, monkeypatch, copying_s, waited_s):
    now, waited, copied = [0.0], [], []

    class Slow:
        def update(self, sweep):
            copied.append(sweep)
            now[0] += copying_s
            monkeypatch.setattr(export, "_is_running", lambda sweep: not waited)
            return ""

    monkeypatch.setattr(export, "_is_running", lambda sweep: True)

    monkeypatch.setattr(export, "mirror", lambda kind, output: Slow())
    monkeypatch.setattr(export.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(export.time, "sleep", waited.append)
    monkeypatch.setattr("sys.argv", ["export.py", str(folder), "--follow"])
    export.main()
    assert waited == [pytest.approx(waited_s)]
    first, second = copied
    assert first is not second, "the sweep was not read again"


@pytest.mark.parametrize(("ended", "running"), [(None, True), ("2026-01-01T00:00:00+00:00", False)])
def test_a_sweep_in_object_storage_runs_until_it_says_that_it_ended(folder, ended, running):
    sweep = load_sweep(folder)
    assert export._is_running(replace(sweep, path="s3://bucket/sweep", meta=sweep.meta | {"ended": ended})) is running


def test_a_sweep_on_disk_runs_while_a_trial_lives(new_writer, tmp_path):
    writer = new_writer(tmp_path / "other")
    assert export._is_running(load_sweep(tmp_path / "other"))
    writer.finish(ended="now")
    ended = load_sweep(tmp_path / "other")
    assert not export._is_running(ended)
    assert export._is_running(replace(ended, trials=ended.trials.assign(stop_reason=["completed", "waiting"])))


@pytest.mark.parametrize("moment", ["before it is read", "after it is read"])
def test_a_search_that_ends_during_a_copy_is_copied_to_its_end(folder, monkeypatch, capsys, moment):
    """Between two rounds of a search, no trial runs or waits: only the lock says that there is more to come."""
    copied, written = [], [True]

    class Copy:
        def update(self, sweep):
            copied.append(sweep)
            written.clear()
            return "done"

    def read(path):
        if moment == "before it is read" and copied:
            written.clear()
        return load_sweep(path)

    monkeypatch.setattr(export, "mirror", lambda kind, output: Copy())
    monkeypatch.setattr(export, "load_sweep", read)
    monkeypatch.setattr(export, "is_being_written", lambda path: bool(written))
    monkeypatch.setattr(export.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("sys.argv", ["export.py", str(folder), "--follow"])
    export.main()
    assert len(copied) == 2
    assert capsys.readouterr().out == "5 trials, 7 epochs. done\n"


def test_a_storage_that_fails_for_a_moment_ends_no_following(folder, monkeypatch, capsys):
    sweep = replace(load_sweep(folder), path="s3://bucket/sweep")
    reads = [sweep, UserError("can't read s3://bucket/sweep: SLOW_DOWN"), replace(sweep, meta={"ended": "now"})]
    monkeypatch.setattr(export, "mirror", lambda kind, output: mock.Mock(**{"update.return_value": "done"}))
    monkeypatch.setattr(export, "load_sweep", mock.Mock(side_effect=reads))
    monkeypatch.setattr(export.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("sys.argv", ["export.py", "s3://bucket/sweep", "--follow"])
    export.main()
    said = capsys.readouterr()
    assert said.err == "note: can't read s3://bucket/sweep: SLOW_DOWN; trying again\n"
    assert said.out == "5 trials, 7 epochs. done\n"


def test_csv_files_are_in_the_sweeps_folder_by_default_and_a_new_folder_is_made(folder, tmp_path):
    sweep = load_sweep(folder)
    assert mirror("csv", None).update(sweep) == f"Files: {folder}/trials.csv, {folder}/epochs.csv"
    mirror("csv", str(tmp_path / "a" / "b")).update(sweep)
    for name in ("trials.csv", "epochs.csv"):
        assert (tmp_path / "a" / "b" / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(UserError, match=f"^can't write {folder}/trials.csv/trials.csv: .*; name another --output$"):
        mirror("csv", f"{folder}/trials.csv").update(sweep)


class MLflow:
    """What a mirror uses of MLflow, in memory, with two runs a page: the gate has no MLflow."""

    exceptions = SimpleNamespace(MlflowException=ConnectionError)
    entities = SimpleNamespace(
        Param=namedtuple("Param", "key value"),
        RunTag=namedtuple("RunTag", "key value"),
        Metric=namedtuple("Metric", "key value timestamp step"),
    )

    def __init__(self):
        self.runs = []

    def MlflowClient(self, uri):
        return self

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name):
        return name

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        info = SimpleNamespace(run_id=len(self.runs), run_name=run_name, status="RUNNING")
        self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), params={}, metrics=[])))
        return self.runs[-1]

    def search_runs(self, experiment_ids, max_results, page_token):
        first = page_token or 0
        last = first + 2 if first + 2 < len(self.runs) else None
        return mock.MagicMock(token=last, __iter__=lambda page: iter(self.runs[first:last]))

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        data = self.runs[run_id].data
        assert data.params.keys().isdisjoint(one.key for one in params), "MLflow refuses to change a parameter"
        data.params |= dict(params)
        data.tags |= dict(tags)
        data.metrics += metrics

    def update_run(self, run_id, status):
        self.runs[run_id].info.status = status

    def set_terminated(self, run_id, status, end_time):
        self.update_run(run_id, status)

    def found(self):
        """Return the status of each run by its name, the steps of its losses, and its stop reason."""
        return {
            run.info.run_name: (
                run.info.status,
                [one.step for one in run.data.metrics if one.key == "train_loss"],
                run.data.tags.get("stop_reason"),
            )
            for run in self.runs
        }


def test_runs_in_mlflow_go_on_and_end_as_the_trials_do(new_writer, epoch_row, tmp_path, monkeypatch):
    library = MLflow()
    monkeypatch.setattr("mnist_tune.exports.mlflow.library", lambda name: library)
    writer = new_writer(tmp_path / "sweep", count=4)
    for epoch, loss in enumerate((0.5, math.nan, 0.3, 0.2), start=1):
        writer.epoch("00000", epoch_row(epoch, loss), False)
    writer.epoch("00001", epoch_row(1), False)
    writer.end("00002", "error", "out of memory")
    copies = [mirror("mlflow", "runs.db") for _ in range(2)]

    def exported(copy, sweep):
        copy.update(sweep)
        (_, *top), *children = library.found().items()
        return top, dict(children)

    sweep = load_sweep(writer.path)
    first = exported(copies[0], sweep)
    assert first == (
        [("RUNNING", [], None)],
        {
            "00000": ("RUNNING", [1, 3, 4], "running"),
            "00001": ("RUNNING", [1], "running"),
            "00002": ("FAILED", [], "error"),
            "00003": ("SCHEDULED", [], "waiting"),
        },
    )
    assert exported(copies[1], sweep) == first
    with monkeypatch.context() as patch:
        patch.setattr(library, "log_batch", None)  # nothing is written again
        assert exported(copies[0], sweep) == first
    writer.end("00000", "completed")  # with no epoch that was not copied before
    writer.epoch("00001", epoch_row(2), False)
    writer.end("00001", "interrupted")
    sweep = writer.finish(ended="now")
    last = [exported(copy, sweep) for copy in copies]
    assert last[0] == last[1]
    assert last[0] == (
        [("FINISHED", [], None)],
        {
            "00000": ("FINISHED", [1, 3, 4], "completed"),
            "00001": ("KILLED", [1, 2], "interrupted"),
            "00002": ("FAILED", [], "error"),
            "00003": ("KILLED", [], "interrupted"),
        },
    )
    parent, child, *_ = library.runs
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params["learning_rate"] == "0.1"
