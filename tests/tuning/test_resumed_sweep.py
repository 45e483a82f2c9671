"""Resumed sweeps: their saved states, their options and their folder."""

import json
import math
import shutil
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from idx_files import idx, write
from own_networks import patterns
from waiting import wait_until

from mnist_tune import TrialConfig, UserError, storage
from mnist_tune.data.dataset import DATASETS, load_dataset
from mnist_tune.data.files import CHECKSUMS
from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import ErrorKind
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.results import journal
from mnist_tune.results.folder import exists
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import load_sweep
from mnist_tune.tuning import options
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import Past, additions
from mnist_tune.tuning.resuming import python_options


def opened(where, trials=(), **changes):
    """Open the folder of a sweep again."""
    options = SweepOptions(**{"resume": where, "quiet": True} | changes)
    return open_sweep(
        "",
        python_options(options),
        lambda old, holdout: additions(old, trials, holdout),
    )


def save_state(place, row):
    """Save a state, which is as small as none of a network."""
    Checkpoint({"a": np.zeros(3)}, EpochRow.of(row)).save(place)


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "sweep" if request.param == "local" else bucket


@pytest.fixture
def interrupted(place, new_writer, epoch_row):
    """A sweep of two trials. The first one has recorded three epochs."""
    writer = new_writer(place)
    writer.update_options(data_dir=None)
    writer.meta["dataset"]["checksums"] = load_dataset("mnist-5k").checksums
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch), False)
    return writer


def with_a_state_saved_in(epoch, sweep, epoch_row):
    """End a sweep that was interrupted once the first trial's state of an epoch had
    been saved."""
    save_state(storage.join(sweep.states, "00000.npz"), epoch_row(epoch))
    unknown = storage.join(sweep.states, "00002.npz")
    storage.write(unknown, b"of a proposal that was never recorded")
    sweep.finish(ended=None)


@pytest.mark.parametrize("epoch", [3, 4])
def test_a_state_that_the_journal_reaches_stays(interrupted, place, epoch_row, epoch):
    """With epoch 4 saved, the trial reports row 4 again."""
    with_a_state_saved_in(epoch, interrupted, epoch_row)
    again = opened(place).writer
    assert Checkpoint.load(again.state("00000")).row.epoch == epoch
    assert sorted(storage.sizes(again.states)) == ["00000.npz", "token"]
    assert read_journal(again.path).epochs["epoch"].tolist() == [1, 2, 3]
    again.finish(ended="now")


def test_a_state_too_far_ahead_of_the_journal_is_removed(interrupted, place, epoch_row):
    """With epoch 5 saved, row 4 is lost, so it trains again."""
    with_a_state_saved_in(5, interrupted, epoch_row)
    again = opened(place).writer
    assert Checkpoint.load(again.state("00000")) is None
    assert sorted(storage.sizes(again.states)) == ["token"]
    assert read_journal(again.path).epochs["epoch"].tolist() == [1, 2, 3]
    again.finish(ended="now")


def test_a_resume_reads_its_journal_once_and_no_state_that_is_not_there(
    interrupted, place, epoch_row
):
    """Each look is a request where the sweep is in object storage."""
    save_state(storage.join(interrupted.states, "00000.npz"), epoch_row(3))
    interrupted.finish(ended=None)
    looked = mock.patch.object(Checkpoint, "load", wraps=Checkpoint.load)
    read = mock.patch.object(journal, "_lines", wraps=journal._lines)
    with looked as looks, read as reads:
        resumed = opened(place)
    looks.assert_called_once_with(resumed.writer.state("00000"))
    assert reads.call_count == 1
    assert sorted(resumed.past.open) == ["00000", "00001"]
    resumed.writer.finish(ended="now")


@pytest.mark.slow
@pytest.mark.promise(
    "In object storage, `--resume URI` takes a sweep over, `--resume auto` refuses while another process writes it"
)
@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_live_sweep_is_taken_over_by_a_resume_that_names_it_and_not_by_auto(
    interrupted, place, epoch_row, tmp_path, monkeypatch, capsys
):
    interrupted.update_options()  # so that the data's checksums are written
    checksums = interrupted.meta["dataset"]["checksums"]

    def is_uploaded():
        uploaded = read_meta(place)["dataset"]["checksums"]
        return len(load_sweep(place).epochs) == 3 and uploaded == checksums

    wait_until(is_uploaded)
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another machine"))
    line = r"^a sweep on \S+ is writing to s3:.*take it over with --resume 's3:"
    with pytest.raises(UserError, match=line):
        opened(place, output=place, resume="auto")
    interrupted.epoch("00000", epoch_row(4), False)
    taker = opened(place, quiet=False).writer
    assert "this one takes over, and that one ends" in capsys.readouterr().err
    assert taker.last_epochs["00000"] in (3, 4)
    with pytest.raises(UserError, match=r"^another process took over s3:"):
        interrupted.finish(ended="now")
    taker.finish(ended="now")


@pytest.mark.promise("`--resume auto` starts a sweep, or goes on with it")
def test_resume_auto_resumes_a_sweep_or_starts_one(place, new_writer):
    options = SweepOptions(output=place, resume="auto")
    assert options.place_to_resume() is None
    writer = new_writer(place)
    wait_until(lambda: exists(place))
    assert options.place_to_resume() == place
    writer.finish(ended="now")


@pytest.mark.parametrize(
    ("address", "variable", "cluster"),
    [
        (None, None, None),
        (None, "head:6379", "head:6379"),
        (None, "local", None),
        (None, "http://127.0.0.1:8265", None),  # where `ray job submit` sends jobs to
        ("local", "head:6379", None),
        ("auto", "head:6379", "auto"),
        ("http://head:8265", None, "http://head:8265"),
    ],
)
def test_the_cluster_is_that_of_the_command_line_or_of_the_environment(
    monkeypatch, address, variable, cluster
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert SweepOptions(address=address).cluster() == cluster


ENDS = {
    "00000": (4, "completed"),
    "00001": (4, "completed"),  # and was then asked for more
    "00002": (2, "diverged"),
    "00003": (2, "slow"),
    "00004": (1, "time_budget"),
    "00005": (1, "interrupted"),
    "00006": (1, None),
    "00007": (0, None),
    "00008": (0, "error"),
    "00009": (1, "error"),
}
"""The epochs that made-up trials have trained, and how they ended."""


@pytest.fixture
def ended(new_writer, epoch_row, mnist_5k, tmp_path, monkeypatch):
    """The folder of a sweep whose trials have ended in every way. Each has a saved
    state, as has one unknown."""
    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    writer.meta |= {"resumed": ["before"]}
    for number, (trial_id, (epochs, reason)) in enumerate(ENDS.items()):
        writer.trial(trial_id, TrialConfig(epochs=4, seed=number))
        for epoch in range(1, epochs + 1):
            loss = math.nan if reason == "diverged" else 0.5
            writer.epoch(trial_id, epoch_row(epoch, loss, scores={"kl": 0.25}), False)
        if reason:
            kind = ErrorKind.REFUSED
            if trial_id == "00008":
                kind = ErrorKind.LAST_BATCH
            writer.end(trial_id, reason, "as it is", kind)
    writer.trial("00001", TrialConfig(epochs=6, seed=1))
    writer.finish(ended="then")
    for trial_id in (*ENDS, "00010"):
        save_state(storage.join(writer.states, f"{trial_id}.npz"), epoch_row(3))
    return tmp_path / "sweep"


def test_what_is_left_has_ended_or_failed(new_writer, ended):
    past = Past.of(read_journal(ended, ["kl"]), read_meta(ended))
    assert sorted(past.open) == ["00001", "00004", "00005", "00006", "00007"]
    assert past.open["00001"].epochs == 6
    names = ("epoch", "stop_reason", "scheduler_loss", "score_kl")
    last_rows = {}
    for trial_id, row in past.ended.items():
        last_rows[trial_id] = tuple(row.get(name) for name in names)
    assert last_rows == {
        "00000": (4, "completed", 0.5, 0.25),
        "00002": (2, "diverged", 1e9, 0.25),
        "00003": (2, "slow", 0.5, 0.25),
        "00008": (None, "error", 1e9, None),
        "00009": (1, "error", 0.5, 0.25),
    }
    assert past.failed == {"00008", "00009"}


def test_a_completed_trial_whose_only_row_is_damaged_trains_again(
    new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.epoch("00000", epoch_row(1), False)
    writer.end("00000", "completed")
    writer.finish(ended="then")
    file = tmp_path / "sweep" / "journal.jsonl"
    file.write_text(file.read_text().replace('"epoch": 1', '"epoch": -1'))
    past = Past.of(read_journal(writer.path), read_meta(writer.path))
    assert list(past.open) == ["00000"]
    assert list(past.ended) == []


FAILED = {"00008", "00009"}
GONE = {"00004", "00005", "00006", "00007", "00010"}
"""Those whose states are too far ahead of their rows, or that nobody knows."""


@pytest.mark.promise("`--retry-errored` goes on with trials that ended as `error`")
def test_trials_that_ended_in_an_error_go_on_if_asked_to(ended, capsys):
    """States stay but for those that nobody knows, or that are too far ahead of the
    rows of a trial that goes on."""
    resumed = opened(ended, retry_errored=True, quiet=False)
    assert resumed.past.open.keys() >= FAILED
    assert sorted(resumed.past.failed) == []
    assert capsys.readouterr().err.splitlines() == []
    assert resumed.writer.saved() == {*ENDS} - GONE - FAILED
    ends = read_journal(ended).ends
    assert ends["00008"]["stop_reason"] == "interrupted"
    assert ends["00009"]["stop_reason"] == "interrupted"
    resumed.writer.finish(ended="now")


@pytest.mark.promise("`--retry-errored` goes on with trials that ended as `error`")
def test_trials_that_ended_in_an_error_stay_as_they_are_and_a_line_says_so(
    ended, capsys
):
    resumed = opened(ended, retry_errored=False, quiet=False)
    assert resumed.past.open.keys() & FAILED == set()
    assert sorted(resumed.past.failed) == sorted(FAILED)
    line = "1 trial ended in an error; --retry-errored trains what failed again"
    assert capsys.readouterr().err.splitlines() == [line]
    assert resumed.writer.saved() == {*ENDS} - GONE
    ends = read_journal(ended).ends
    assert ends["00008"]["stop_reason"] == "error"
    assert ends["00009"]["stop_reason"] == "error"
    resumed.writer.finish(ended="now")


def test_trials_that_were_stopped_early_are_not_said_to_train_longer(ended, capsys):
    """Nor are those that ended in an error."""
    trials = [TrialConfig(epochs=9, seed=number) for number in range(len(ENDS) + 2)]
    resumed = opened(ended, trials, quiet=False)
    resumed.writer.finish(ended="now")
    line = (
        "2 trials are added, 6 train for more epochs; 2 that were stopped early do not"
    )
    assert capsys.readouterr().err.splitlines()[0] == line
    assert len(resumed.past.open) == 2 + 6


class KilledAfter:
    """Methods of a writer that work so many times in all, and then are interrupted."""

    def __init__(self, writes):
        self.writes = writes

    def of(self, method):
        def write(writer, *arguments):
            if not self.writes:
                raise KeyboardInterrupt
            self.writes -= 1
            method(writer, *arguments)

        return write


def trials_of(folder):
    """Return the trials of a sweep, which is opened for it."""
    with opened(folder).writer as writer:
        return [*read_journal(folder).known_trials(writer.meta).values()]


@pytest.mark.promise(
    "A resume that is killed while it adds to a sweep has added all or nothing"
)
def test_a_resume_that_is_killed_while_it_adds_has_added_all_or_nothing(
    ended, tmp_path
):
    """At whichever of its writes."""
    extended = [
        TrialConfig(epochs=9, seed=number, holdout=0) for number in range(len(ENDS) + 2)
    ]
    before = [*read_journal(ended).known_trials(read_meta(ended)).values()]
    trials_after_kills = []
    for writes in range(4):
        folder = shutil.copytree(ended, tmp_path / str(writes))
        killed = KilledAfter(writes)
        append = killed.of(SweepWriter._append)
        write = killed.of(SweepWriter._write)
        patch = mock.patch.multiple(SweepWriter, _append=append, _write=write)
        with patch, suppress(KeyboardInterrupt):
            opened(folder, extended).writer.release()
        trials_after_kills.append(trials_of(folder))
    # the first of the writes that adds
    added = trials_after_kills.index(extended)
    assert trials_after_kills[:added] == [before] * added
    assert trials_after_kills[added:] == [extended] * (4 - added)


def test_a_resumed_sweep_remembers_its_cluster_and_has_ended_until_trials_run_again(
    ended, monkeypatch
):
    def refuse(address, *_):
        raise UserError(f"no cluster at {address}")

    before = (ended / "sweep.json").read_text()
    monkeypatch.setattr(options, "start_ray", refuse)
    with pytest.raises(UserError, match="no cluster at head:6379"):
        opened(ended, address="head:6379")
    assert (ended / "sweep.json").read_text() == before
    monkeypatch.setattr(options, "start_ray", lambda *arguments: None)
    writer = opened(ended, address="head:6379").writer
    meta = json.loads((ended / "sweep.json").read_text())
    assert meta["ended"] == "then"
    assert meta["resumed"] == ["before"]
    assert meta["options"] == {"dataset": "mnist-5k", "address": "head:6379"}
    writer.finish(ended="now")


def save_npz(file, arrays):
    x, y, x_test, y_test = arrays
    np.savez(file, x_train=x, y_train=y, x_test=x_test, y_test=y_test)


def data_of_resume(folder, **changes):
    """Return the data on which a sweep that is resumed trains."""
    resumed = opened(folder, **changes)
    resumed.writer.finish()
    return resumed.data


def new_sweep(options):
    """Open a sweep of one trial."""
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh", batch_size=8)}
    return open_sweep("mine", options, lambda *_: trials)


@pytest.mark.promise("Data may lie elsewhere, but other data are refused")
@pytest.mark.parametrize("kind", ["arrays", "a file"])
def test_a_resume_trains_on_the_same_data_or_says_how_to_give_it(tmp_path, kind):
    data = patterns((4, 3), 3, seed=0)
    other_data = patterns((4, 3), 3, seed=1)
    if kind == "a file":
        save_npz(tmp_path / "data.npz", data)
        save_npz(tmp_path / "others.npz", other_data)
        data = str(tmp_path / "data.npz")
        other_data = str(tmp_path / "others.npz")
    folder = tmp_path / "sweep"
    options = SweepOptions(
        dataset=data, output=folder, train_images=90, standardize=True, quiet=True
    )
    new_sweep(options).writer.finish()

    remedy = r"give it with --dataset or --data-dir, or from Python with SweepOptions\(dataset=...\)$"
    if kind == "arrays":
        line = f"^{folder} was trained on arrays from Python; {remedy}"
        with pytest.raises(UserError, match=line):
            data_of_resume(folder)
        again = data_of_resume(folder, dataset=data)
    else:
        again = data_of_resume(folder)
    assert len(again.train_images) == 90
    assert again.spec.mean
    line = rf"^{folder} was trained on other data \(.*\); {remedy}"
    with pytest.raises(UserError, match=line):
        data_of_resume(folder, dataset=other_data)


def test_a_resume_reads_the_folder_that_the_sweep_read_unless_another_is_given(
    new_writer, tmp_path, monkeypatch
):
    read = []

    def load(name, folder, *_):
        read.append((name, folder))
        raise ZeroDivisionError

    monkeypatch.setattr(options, "load_dataset", load)
    writer = new_writer(tmp_path / "sweep")
    writer.update_options(data_dir=str(tmp_path / "data"))
    writer.finish()
    for changes in ({}, {"data_dir": tmp_path / "moved"}):
        with pytest.raises(ZeroDivisionError):
            opened(tmp_path / "sweep", **changes)
    assert read == [("mnist-5k", tmp_path / "data"), ("mnist-5k", tmp_path / "moved")]


@pytest.mark.parametrize(
    "name",
    ["mnist.npz", "mnist-5k.npz", "fashion-mnist.npz", "mnist-5k", "arrays", "lists"],
)
def test_ones_own_data_are_found_again_and_have_no_target(
    tmp_path, monkeypatch, epoch_row, name
):
    """Whatever they are called. On a command line, the folder would be `./mnist-5k`."""
    monkeypatch.chdir(tmp_path)
    arrays = patterns((4, 3), 3)
    dataset = arrays
    if name.endswith(".npz"):
        save_npz(name, arrays)
        dataset = name
    elif name == "mnist-5k":
        dataset = Path(name)
        dataset.mkdir()
        parts = zip(CHECKSUMS, arrays, strict=True)
        write(dataset, {file: idx(np.uint8(part)) for file, part in parts})
    elif name == "lists":
        dataset = tuple(part.tolist() for part in arrays)
    new = new_sweep(SweepOptions(dataset=dataset, output="sweep", quiet=True))
    row = EpochRow.of(epoch_row(1, train_accuracy=0.9))
    new.writer.epoch("00000", row, False)
    new.writer.finish()
    folder = tmp_path / "sweep"
    meta = load_sweep(folder).meta
    assert data_facts(meta).target is None
    assert meta["dataset"]["name"] not in DATASETS
    assert len((folder / "sweep.json").read_bytes()) < 10_000
    if isinstance(dataset, (str, Path)):
        again = data_of_resume(folder)
    else:
        again = data_of_resume(folder, dataset=dataset)
    assert again.checksums == new.data.checksums


def test_a_resume_that_fails_leaves_the_folder_to_others(
    interrupted, place, monkeypatch
):
    interrupted.finish(ended=None)
    trials = mock.MagicMock()
    trials.__iter__.side_effect = ZeroDivisionError
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            opened(place, trials)
