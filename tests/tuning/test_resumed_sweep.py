"""Resumed sweeps: their saved states, their options and their folder."""

import json
import math
import shutil
from contextlib import suppress
from functools import partialmethod
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


def opened(where, trials=(), **given):
    """Open the folder of a sweep again."""
    options = python_options(SweepOptions(**{"resume": where, "quiet": True} | given))
    return open_sweep(
        "", options, lambda known, holdout: additions(known, trials, holdout)
    )


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


@pytest.mark.parametrize(("saved", "kept"), [(3, 3), (4, 4), (5, 0)])
def test_a_state_too_far_ahead_of_the_journal_is_removed(
    interrupted, place, epoch_row, saved, kept
):
    """With epoch 4 saved, the trial reports row 4 again. With epoch 5 saved, row 4 is
    lost, so it trains again."""
    state = storage.join(interrupted.states, "00000.npz")
    Checkpoint({"a": np.zeros(3)}, EpochRow.of(epoch_row(saved))).save(state)
    storage.write(
        storage.join(interrupted.states, "00002.npz"),
        b"of a proposal that was never recorded",
    )
    interrupted.finish(ended=None)
    again = opened(place).writer
    state = Checkpoint.load(again.state("00000"))
    assert (state.row.epoch if state else 0) == kept
    assert sorted(storage.sizes(again.states)) == ["00000.npz"] * bool(kept) + ["token"]
    assert read_journal(again.path).epochs["epoch"].tolist() == [1, 2, 3]
    again.finish(ended="now")


def test_a_resume_reads_its_journal_once_and_no_state_that_is_not_there(
    interrupted, place, epoch_row
):
    """Each look is a request where the sweep is in object storage."""
    Checkpoint({"a": np.zeros(3)}, EpochRow.of(epoch_row(3))).save(
        storage.join(interrupted.states, "00000.npz")
    )
    interrupted.finish(ended=None)
    looked = mock.patch.object(Checkpoint, "load", wraps=Checkpoint.load)
    read = mock.patch.object(journal, "_lines", wraps=journal._lines)
    with looked as looks, read as reads:
        found = opened(place)
    looks.assert_called_once_with(found.writer.state("00000"))
    assert reads.call_count == 1
    assert sorted(found.past.open) == ["00000", "00001"]
    found.writer.finish(ended="now")


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
    wait_until(
        lambda: (
            len(load_sweep(place).epochs) == 3
            and read_meta(place)["dataset"]["checksums"] == checksums
        )
    )
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(
        UserError,
        match=r"^a sweep on \S+ is writing to s3:.*take it over with --resume 's3:",
    ):
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
    ("given", "variable", "found"),
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
    monkeypatch, given, variable, found
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert SweepOptions(address=given).cluster() == found


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
            is_hopeless = trial_id == "00008"
            kind = ErrorKind.LAST_BATCH if is_hopeless else ErrorKind.REFUSED
            writer.end(trial_id, reason, "as it is", kind)
    writer.trial("00001", TrialConfig(epochs=6, seed=1))
    writer.finish(ended="then")
    for trial_id in (*ENDS, "00010"):
        Checkpoint({}, EpochRow.of(epoch_row(3))).save(
            storage.join(writer.states, f"{trial_id}.npz")
        )
    return tmp_path / "sweep"


def test_what_is_left_has_ended_or_failed(new_writer, ended):
    past = Past.of(read_journal(ended, ["kl"]), read_meta(ended))
    assert sorted(past.open) == ["00001", "00004", "00005", "00006", "00007"]
    assert past.open["00001"].epochs == 6
    names = ("epoch", "stop_reason", "scheduler_loss", "score_kl")
    assert {
        trial_id: tuple(row.get(name) for name in names)
        for trial_id, row in past.ended.items()
    } == {
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
    past = Past.of(read_journal(tmp_path / "sweep"), read_meta(tmp_path / "sweep"))
    assert [list(found) for found in (past.open, past.ended)] == [["00000"], []]


@pytest.mark.promise("`--retry-errored` goes on with trials that ended as `error`")
@pytest.mark.parametrize("again", [False, True])
def test_trials_that_ended_in_an_error_go_on_if_asked_to(ended, again, capsys):
    """States stay but for those that nobody knows, or that are too far ahead of the
    rows of a trial that goes on."""
    found = opened(ended, retry_errored=again, quiet=False)
    writer, past = found.writer, found.past
    assert sorted(past.open.keys() & {"00008", "00009"}) == ["00008", "00009"] * again
    assert sorted(past.failed) == ["00008", "00009"] * (not again)
    said = "1 trial ended in an error; --retry-errored trains what failed again"
    assert capsys.readouterr().err.splitlines() == [said] * (not again)
    gone = {"00004", "00005", "00006", "00007", "00010"} | (
        {"00008", "00009"} if again else set()
    )
    assert writer.saved() == {*ENDS} - gone
    reasons = {
        trial_id: end["stop_reason"]
        for trial_id, end in read_journal(ended).ends.items()
    }
    assert (reasons["00008"], reasons["00009"]) == (
        ("interrupted",) * 2 if again else ("error",) * 2
    )
    writer.finish(ended="now")


def test_trials_that_were_stopped_early_are_not_said_to_train_longer(ended, capsys):
    """Nor are those that ended in an error."""
    trials = [TrialConfig(epochs=9, seed=number) for number in range(len(ENDS) + 2)]
    found = opened(ended, trials, quiet=False)
    writer, past = found.writer, found.past
    writer.finish(ended="now")
    said = (
        "2 trials are added, 6 train for more epochs; 2 that were stopped early do not"
    )
    assert capsys.readouterr().err.splitlines()[0] == said
    assert len(past.open) == 2 + 6


@pytest.mark.promise(
    "A resume that is killed while it adds to a sweep has added all or nothing"
)
def test_a_resume_that_is_killed_while_it_adds_has_added_all_or_nothing(
    ended, tmp_path
):
    """At whichever of its writes."""
    wanted = [
        TrialConfig(epochs=9, seed=number, holdout=0) for number in range(len(ENDS) + 2)
    ]
    before, found = [*read_journal(ended).known_trials(read_meta(ended)).values()], []
    for count in range(4):
        where, left = shutil.copytree(ended, tmp_path / str(count)), [1] * count

        def write(self, *given, real, left=left):
            if not left:
                raise KeyboardInterrupt
            left.pop()
            real(self, *given)

        killed = {
            name: partialmethod(write, real=getattr(SweepWriter, name))
            for name in ("_append", "_write")
        }
        with mock.patch.multiple(SweepWriter, **killed), suppress(KeyboardInterrupt):
            opened(where, wanted).writer.release()
        with opened(where).writer as writer:
            found.append([*read_journal(where).known_trials(writer.meta).values()])
    assert [one for one in found if one != wanted] == [before] * found.index(wanted)


def test_a_resumed_sweep_remembers_its_cluster_and_has_ended_until_trials_run_again(
    ended, monkeypatch
):
    def refuse(address, *others):
        raise UserError(f"no cluster at {address}")

    before = (ended / "sweep.json").read_text()
    monkeypatch.setattr(options, "start_ray", refuse)
    with pytest.raises(UserError, match="no cluster at head:6379"):
        opened(ended, address="head:6379")
    assert (ended / "sweep.json").read_text() == before
    monkeypatch.setattr(options, "start_ray", lambda *arguments: None)
    writer = opened(ended, address="head:6379").writer
    meta = json.loads((ended / "sweep.json").read_text())
    assert (meta["ended"], meta["resumed"]) == ("then", ["before"])
    assert meta["options"] == {"dataset": "mnist-5k", "address": "head:6379"}
    writer.finish(ended="now")


@pytest.mark.promise("Data may lie elsewhere, but other data are refused")
@pytest.mark.parametrize("kind", ["arrays", "a file"])
def test_a_resume_trains_on_the_same_data_or_says_how_to_give_it(tmp_path, kind):
    arrays, others = (patterns((4, 3), 3, seed=seed) for seed in (0, 1))
    for name, (x, y, x_test, y_test) in (("data", arrays), ("others", others)):
        np.savez(
            tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test
        )
    given = arrays if kind == "arrays" else str(tmp_path / "data.npz")
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh", batch_size=8)}
    options = SweepOptions(
        dataset=given,
        output=tmp_path / "sweep",
        train_images=90,
        standardize=True,
        quiet=True,
    )
    open_sweep("mine", options, lambda *given: trials).writer.finish()

    def data(**given):
        found = opened(tmp_path / "sweep", **given)
        found.writer.finish()
        return found.data

    how = r"give it with --dataset or --data-dir, or from Python with SweepOptions\(dataset=...\)$"
    if kind == "arrays":
        with pytest.raises(
            UserError,
            match=f"^{tmp_path}/sweep was trained on arrays from Python; {how}",
        ):
            data()
    again = data(dataset=given) if kind == "arrays" else data()
    assert len(again.train_images) == 90
    assert again.spec.mean
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/sweep was trained on other data \(.*\); {how}"
    ):
        data(dataset=others if kind == "arrays" else str(tmp_path / "others.npz"))


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
    for given in ({}, {"data_dir": tmp_path / "moved"}):
        with pytest.raises(ZeroDivisionError):
            opened(tmp_path / "sweep", **given)
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
    x, y, x_test, y_test = patterns((4, 3), 3)
    if name.endswith(".npz"):
        np.savez(name, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        given = name
    elif name == "mnist-5k":
        given = Path(name)
        given.mkdir()
        write(
            given,
            {
                file: idx(np.uint8(part))
                for file, part in zip(CHECKSUMS, (x, y, x_test, y_test), strict=True)
            },
        )
    else:
        given = (
            (x, y, x_test, y_test)
            if name == "arrays"
            else tuple(part.tolist() for part in (x, y, x_test, y_test))
        )
    trial = TrialConfig(architecture="mlp-4-tanh", batch_size=2)
    new = SweepOptions(dataset=given, output="sweep", quiet=True)
    found = open_sweep("mine", new, lambda *given: {"00000": trial})
    writer, dataset = found.writer, found.data
    row = EpochRow.of(epoch_row(1, train_accuracy=0.9))
    writer.epoch("00000", row, False)
    writer.finish()
    recorded = load_sweep(tmp_path / "sweep").meta
    assert data_facts(recorded).target is None
    assert recorded["dataset"]["name"] not in DATASETS
    assert len((tmp_path / "sweep" / "sweep.json").read_bytes()) < 10_000
    again = {} if isinstance(given, (str, Path)) else {"dataset": given}
    found = opened(tmp_path / "sweep", **again)
    found.writer.finish()
    assert found.data.checksums == dataset.checksums


def test_a_resume_that_fails_leaves_the_folder_to_others(
    interrupted, place, monkeypatch
):
    interrupted.finish(ended=None)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            opened(
                place, mock.MagicMock(__iter__=mock.Mock(side_effect=ZeroDivisionError))
            )
