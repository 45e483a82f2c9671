"""The journal and the tables: every epoch is there once, wherever a kill came."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_tune import Sweep, TrialConfig, UserError, load_sweep, machine, storage
from mnist_tune.answers.progress import progress
from mnist_tune.columns import TRIALS
from mnist_tune.judged import judged
from mnist_tune.reports import page
from mnist_tune.reports.answer import answer
from mnist_tune.reports.findings import so_far
from mnist_tune.reports.terminal import print_report
from mnist_tune.results import writer as writer_module
from mnist_tune.results.folder import fetched
from mnist_tune.results.journal import read_journal
from mnist_tune.results.signs import is_being_written
from mnist_tune.results.tables import journal_tables


@pytest.fixture
def writer(new_writer, tmp_path):
    """A writer of a sweep of two trials of four epochs."""
    with_sweep = new_writer(tmp_path / "sweep")
    yield with_sweep
    with_sweep.release()


def record(writer, row, trial_id, epochs, repeated=False, **values):
    for epoch in epochs:
        writer.epoch(trial_id, row(epoch, **values), repeated)


def keys(epochs):
    if not len(epochs):
        return []
    return list(zip(epochs["trial_id"], epochs["epoch"], strict=True))


# --- from the journal to the tables


def test_repeated_rows_are_recorded_only_if_lost(writer, epoch_row, new_writer):
    record(writer, epoch_row, "00000", (1,))
    record(writer, epoch_row, "00000", (1,), repeated=True, train_loss=9.0)
    record(writer, epoch_row, "00000", (2,), repeated=True, train_loss=0.2)
    writer.release()  # as the end of its process does
    resumed = new_writer(writer.path, resume=True)
    resumed.last_epochs = {"00000": 2}
    record(resumed, epoch_row, "00000", (2,), repeated=True, train_loss=9.0)
    record(resumed, epoch_row, "00000", (3,), repeated=True, train_loss=0.1)
    resumed.release()
    assert load_sweep(writer.path).epochs["train_loss"].tolist() == [0.5, 0.2, 0.1]
    assert len(read_journal(writer.path).epochs) == 3


def test_a_sweep_over_rates_alone_is_read_with_pandas_2_too(
    writer, epoch_row, monkeypatch
):
    """It makes no records of a table without columns, such as the one of the settings
    in which trials differ."""
    made = pd.DataFrame.to_dict

    def to_dict(table, orient="dict", **how):
        if orient == "records" and table.columns.empty:
            return []
        return made(table, orient, **how)

    monkeypatch.setattr(pd.DataFrame, "to_dict", to_dict)
    record(writer, epoch_row, "00000", (1,))
    assert len(load_sweep(writer.path).trials) == 2


def test_a_sweep_without_any_epoch(writer):
    sweep = load_sweep(writer.path)
    assert len(sweep.epochs) == 0
    assert sweep.trials["regime"].tolist() == ["undecided", "undecided"]
    assert list(sweep.trials.columns) == [column.name for column in TRIALS]


def test_a_trial_diverged_when_its_loss_left_or_else_when_it_began_to_guess(
    new_writer, tmp_path, epoch_row
):
    guesses = {"guessing_since": 3}
    both = {"above_since": 4, "guessing_since": 3}
    with new_writer(tmp_path / "sweep", count=4) as writer:
        for trial_id, loss, since in (
            ("00000", math.nan, both),
            ("00001", 7.0, both),
            ("00002", math.nan, guesses),
            ("00003", math.nan, {}),
        ):
            row = epoch_row(1, loss, 0.1, diverged=True, **since)
            writer.epoch(trial_id, row, False)
    trials = load_sweep(writer.path).trials
    assert set(trials["regime"]) == {"diverged"}
    assert trials["diverged_at_step"].tolist() == [4, 4, 3, 10]


def test_nan_and_infinite_losses_are_stored(writer, epoch_row):
    """Also in a column that has no other value."""
    row = epoch_row(1, train_loss=math.nan, test_loss=math.inf)
    writer.epoch("00000", row | {"step_loss_first": -math.inf}, False)
    running = load_sweep(writer.path)
    ended = writer.finish(ended="now")
    for sweep in (running, ended, load_sweep(writer.path)):
        stored = sweep.epochs.iloc[0]
        assert math.isnan(stored["train_loss"])
        assert stored["test_loss"] == math.inf
        assert stored["step_loss_first"] == -math.inf


@pytest.mark.parametrize(
    ("target", "regime"), [(None, "converged"), (0.99, "underfit")]
)
def test_the_target_is_that_of_the_data_set_or_the_one_asked_for(
    writer, epoch_row, target, regime
):
    writer.meta["options"] = {"target": target}
    record(writer, epoch_row, "00000", (1, 2, 3, 4, 5), train_accuracy=0.93)
    trials = judged(journal_tables(writer.path, writer.meta)).trials
    assert trials["regime"][0] == regime


def test_a_dead_network_diverged_at_the_step_since_which_it_guesses(writer, epoch_row):
    dead = {"train_accuracy": 0.11, "train_loss": 2.302}
    since = {"guessing_since": 3, "above_since": 5}
    record(writer, epoch_row, "00000", (1, 2, 3, 4), **dead, **since)
    record(writer, epoch_row, "00001", (1, 2, 3, 4), train_accuracy=0.97)
    writer.meta["trials"]["00000"]["learning_rate"] = 10.0
    trials = judged(journal_tables(writer.path, writer.meta)).trials
    assert trials["regime"].tolist() == ["diverged", "converged"]
    assert trials["diverged_at_step"].tolist() == [3, pd.NA]


# --- the data contract


def test_pages_are_written_into_the_folder_and_both_where_they_are_asked_for(
    writer, monkeypatch, tmp_path
):
    written = []
    monkeypatch.setattr(page, "write_page", lambda shown, path: written.append(path))
    sweep = load_sweep(writer.path)
    in_a_bucket = replace(sweep, path="s3://bucket/sweep")
    elsewhere = "s3://bucket/a.html"
    assert sweep.report() == writer.path / "report.html"
    assert sweep.report(elsewhere) == elsewhere
    assert in_a_bucket.report() == Path("report.html")
    assert in_a_bucket.report(elsewhere) == elsewhere
    in_folder = writer.path / "report.html"
    assert written == [in_folder, elsewhere, Path("report.html"), elsewhere]
    assert not list(writer.path.glob("*.png"))
    picture = tmp_path / "a.png"
    assert sweep.plot(picture)._repr_png_().startswith(b"\x89PNG")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_scores_by_any_setting(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2], seeds=3)
    accuracies = [0.7, 0.8, 0.9, 0.8, 0.8, 0.8]
    batch_sizes = [32, 32, 32, 64, 64, 64]
    trials = sweep.trials.assign(batch_size=batch_sizes, test_accuracy=accuracies)
    trials.loc[5, "epochs_run"] = 0
    scores = replace(sweep, trials=trials).by("batch_size")
    assert scores["batch_size"].tolist() == [32, 64]
    assert scores["replicates"].tolist() == [3, 2]
    assert scores["test_accuracy_mean"].tolist() == pytest.approx([0.8, 0.8])
    intervals = scores["test_accuracy_ci95"].tolist()
    assert intervals[0] == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert math.isnan(intervals[1])
    assert len(sweep.by()) == 2
    assert len(sweep.by("batch_size", "learning_rate")) == 2
    with pytest.raises(UserError, match="no column 'batchsize'"):
        sweep.by("batchsize")


# --- folders


def test_a_new_sweep_does_not_count_the_rows_of_one_whose_sweep_json_is_gone(
    writer, epoch_row, new_writer
):
    record(writer, epoch_row, "00000", (1, 2, 3, 4))
    writer.end("00000", "completed")
    writer.finish(ended="now")
    (writer.path / "sweep.json").unlink()
    with new_writer(writer.path):
        assert load_sweep(writer.path).trials["epochs_run"].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["ended", "options"])
def test_a_sweep_json_without_its_end_or_its_options_is_read(
    writer, epoch_row, capsys, name
):
    # two that are not told apart, so a decision is proposed
    for trial_id in ("00000", "00001"):
        record(writer, epoch_row, trial_id, (1, 2, 3, 4))
        writer.end(trial_id, "completed")
    writer.finish(ended="now")
    file = writer.path / "sweep.json"
    meta = json.loads(file.read_text())
    del meta[name]
    file.write_text(json.dumps(meta))
    sweep = load_sweep(writer.path)
    print_report(sweep)
    page.page([sweep])
    assert sweep.meta["ended"] == (None if name == "ended" else "now")


def test_a_lock_that_no_process_can_hold_is_nobodys(writer, tmp_path, monkeypatch):
    assert is_being_written(writer.path)
    (tmp_path / ".lock").symlink_to(writer.path / ".lock")
    assert not is_being_written(tmp_path)
    assert not is_being_written(tmp_path / "nowhere")
    writer.release()
    assert not is_being_written(writer.path)


@pytest.mark.promise(
    "Trials are `unknown` where another user lets nobody look, and nobody is told to resume them"
)
def test_without_a_right_to_look_nobody_is_told_to_resume(
    writer, epoch_row, monkeypatch
):
    record(writer, epoch_row, "00001", (1, 2))
    opened = os.open

    def refuse_the_lock(path, *how):
        if str(path).endswith(".lock"):
            raise PermissionError
        return opened(path, *how)

    monkeypatch.setattr(os, "open", refuse_the_lock)
    assert is_being_written(writer.path) is None
    sweep = load_sweep(writer.path)
    monkeypatch.undo()
    assert set(sweep.trials["stop_reason"]) == {"unknown"}
    assert so_far(progress(sweep.trials)) == "0 of 2 trials ended, 2 unknown"
    end = answer(sweep, "there")
    assert "0 of 2 trials ended, 2 unknown" in end.lines
    assert not any("resume" in question.text for question in end.questions)


@pytest.mark.promise("Nothing is written through a link, symbolic or hard")
@pytest.mark.parametrize("name", ["journal.jsonl", ".lock", "states/00000.npz"])
def test_a_hard_link_is_refused_as_a_link_is(new_writer, tmp_path, name):
    """What we append to, or truncate, would be changed at its other name, too."""
    other = tmp_path / "other"
    other.write_text("of somebody else")
    (tmp_path / "sweep" / "states").mkdir(parents=True)
    (tmp_path / "sweep" / name).hardlink_to(other)
    line = f"{name} is a link, so a sweep would write outside its folder; remove it"
    with pytest.raises(UserError, match=line):
        new_writer(tmp_path / "sweep", resume=True)
    assert other.read_text() == "of somebody else"


@pytest.mark.promise(
    "One process writes a folder at a time, on a disk, on a shared mount and in object storage"
)
def test_a_new_sweep_does_not_overwrite_an_old_one(tmp_path, epoch_row, new_writer):
    writer = new_writer(tmp_path / "a sweep")
    record(writer, epoch_row, "00000", (1,))
    before = contents(writer.path)
    line = f"{writer.path} already holds a sweep; .* --resume '{writer.path}'"
    with pytest.raises(UserError, match=line):
        new_writer(writer.path)
    assert contents(writer.path) == before


def contents(folder):
    """Return the bytes of the files of a folder."""
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_versions_that_changed_are_told_as_they_are_now_and_were_then(monkeypatch):
    now = {"versions": {"jax": "0.11", "ray": "2.60"}, "processor": "new"}
    monkeypatch.setattr(machine, "describe_environment", lambda: now)
    versions_then = {"jax": "0.10", "ray": "2.60", "gone": "1.0"}
    then = {"versions": versions_then, "processor": "old"}
    assert machine.changed_versions(then) == {
        "jax": "0.11 now, it was 0.10",
        "gone": "None now, it was 1.0",
        "processor": "new now, it was old",
    }
    assert machine.changed_versions({}) == {}


# --- journals cut short by a kill


@pytest.mark.promise(
    "The states of the best are kept, and those of other completed trials if they are small enough"
)
@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize(
    ("most_bytes", "further"), [(30, {"3", "4"}), (25, {"3"}), (0, set())]
)
def test_states_that_stay(
    new_writer, epoch_row, monkeypatch, tmp_path, request, where, most_bytes, further
):
    """Also after a resume that adds nothing: three settings of a network and the best
    of the other always do."""
    monkeypatch.setattr(writer_module, "KEPT_BYTES", most_bytes)
    place = tmp_path / "sweep"
    if where == "bucket":
        place = request.getfixturevalue("bucket")
    writer = new_writer(place)
    ends = dict.fromkeys("01234x", "completed") | {"d": "diverged", "i": "interrupted"}
    writer.meta["trials"] = {}
    for i, (name, reason) in enumerate(ends.items()):
        config = TrialConfig(learning_rate=0.1 + i / 100, epochs=1)
        if name == "x":
            config = replace(config, architecture="mlp-4-tanh")
        writer.meta["trials"][name] = config.to_dict()
        storage.write(writer.state(name), b"state")
        writer.epoch(name, epoch_row(1, 0.5, 0.9 - i / 20), False)
        writer.end(name, reason)
    ended = Sweep.of(writer.finish(ended="now"))
    assert ended.leading() == ["0", "1", "2", "x"]
    fetched(place)
    if where == "folder":  # copied from object storage
        meta = json.dumps(writer.meta | {"writer": 3})
        storage.write(place / "sweep.json", meta.encode())
    again = new_writer(place, resume=True)
    again.finish(ended="now")
    assert again.saved() == {"0", "1", "2", "x", "i"} | further
    sweep = load_sweep(place)
    assert sweep.state("x") == again.state("x")
    folder = tmp_path / "copy"
    copied_state = replace(sweep, path=folder).state("x")
    assert str(copied_state.relative_to(folder)) in str(again.state("x"))


@pytest.fixture(scope="module")
def torn(new_writer, epoch_row, tmp_path_factory):
    """The folder of a sweep, and the bytes of its journal, which has losses that are
    not finite."""
    writer = new_writer(tmp_path_factory.mktemp("torn") / "sweep")
    record(writer, epoch_row, "00000", (1, 2, 3))
    diverged = {"diverged": True, "finite": False, "above_since": 10}
    writer.epoch("00001", epoch_row(1, math.nan, 0.1, **diverged), False)
    writer.end("00001", "diverged")
    record(writer, epoch_row, "00000", (4,))
    writer.end("00000", "completed")
    writer.release()
    return writer.path, (writer.path / "journal.jsonl").read_bytes()


def whole_rows(journal, length):
    """Return the (trial, epoch) of all rows that are complete in the first `length`
    bytes, but for their newline."""
    end = -1
    rows = []
    for line in journal.splitlines():
        end += len(line) + 1
        event = json.loads(line)
        if event["kind"] == "epoch" and end <= length:
            rows.append((event["trial_id"], event["epoch"]))
    return sorted(rows)


@settings(max_examples=20)
@given(data=st.data())
def test_a_torn_line_is_mended_by_a_resumed_sweep(torn, new_writer, epoch_row, data):
    path, whole = torn
    length = data.draw(st.integers(0, len(whole)))
    (path / "journal.jsonl").write_bytes(whole[:length])
    rows = whole_rows(whole, length)
    sweep = load_sweep(path)
    assert keys(sweep.epochs) == rows
    assert sweep.trials["epochs_run"].sum() == len(rows)
    writer = new_writer(path, resume=True)
    by_trial = read_journal(writer.path).epochs.groupby("trial_id")
    writer.last_epochs = by_trial["epoch"].last().to_dict()
    record(writer, epoch_row, "00000", (1, 2, 3, 4), repeated=True)
    record(writer, epoch_row, "00001", (2,))
    writer.release()
    new_rows = {("00000", epoch) for epoch in (1, 2, 3, 4)} | {("00001", 2)}
    assert sorted(keys(read_journal(path).epochs)) == sorted({*rows} | new_rows)


# --- folders of older versions


def test_reasons_and_kinds_of_errors_are_made_for_a_table_of_an_older_version(
    writer, epoch_row
):
    """As it had none, they follow from its curves and its errors. Labels that are
    stored are kept, and have no reason where today's are others."""
    record(writer, epoch_row, "00000", (1, 2, 3, 4), train_accuracy=0.97)
    record(writer, epoch_row, "00001", (1,), train_accuracy=0.5)
    writer.end("00000", "completed")
    text = "ValueError; in a new sweep, --drop-last leaves it out"
    writer.end("00001", "error", text, "last_batch")
    now = Sweep.of(writer.finish(ended="now")).trials
    assert now["reason"].tolist() == ["at_target", "too_few_epochs"]
    file = writer.path / "trials.parquet"
    older = pd.read_parquet(file).drop(columns=["reason", "error_kind"])
    older.to_parquet(file, index=False)
    pd.testing.assert_frame_equal(load_sweep(writer.path).trials, now)
    older.assign(regime=["slow", "undecided"]).to_parquet(file, index=False)
    trials = load_sweep(writer.path).trials
    assert trials["regime"].tolist() == ["slow", "undecided"]
    assert trials["reason"].isna().tolist() == [True, False]


def test_the_kind_of_an_error_is_read_from_a_journal_that_has_the_text_alone(writer):
    errors = {
        "00000": "ValueError; in a new sweep, --drop-last leaves it out",
        "00001": "its process died",
    }
    for trial_id, error in errors.items():
        writer.end(trial_id, "error", error)
    writer.release()
    journal = writer.path / "journal.jsonl"
    journal.write_text(journal.read_text().replace(', "error_kind": ""', ""))
    assert "error_kind" not in journal.read_text()
    ends = read_journal(writer.path).ends
    assert [ends[name]["error_kind"] for name in errors] == ["last_batch", ""]
