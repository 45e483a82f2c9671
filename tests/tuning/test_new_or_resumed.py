"""Resumed sweeps: their saved states, their options and their folder."""

import time
from unittest import mock

import numpy as np
import pytest

from mnist_tune import TrialConfig, UserError, storage
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.checkpoint import Checkpoint, Progress, saved_epochs
from mnist_tune.results import journal
from mnist_tune.results.folder import exists
from mnist_tune.results.journal import read_journal
from mnist_tune.tuning import new_or_resumed, sweep
from mnist_tune.tuning.new_or_resumed import _hint_at_cluster, as_before, left_and_over, open_again, open_new
from mnist_tune.tuning.options import SweepOptions


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
def test_a_state_too_far_ahead_of_the_journal_is_removed(interrupted, place, epoch_row, saved, kept):
    """With epoch 4 saved, the trial reports row 4 again. With epoch 5 saved, row 4 is lost, so it trains again."""
    state = storage.join(interrupted.states, "00000.npz")
    Checkpoint({"a": np.zeros(3)}, Progress(saved, 2.3, None, epoch_row(saved))).save(state)
    storage.write(storage.join(interrupted.states, "00002.npz"), b"of a proposal that was never recorded")
    interrupted.finish(ended=None)
    again, _, _ = open_again(place, SweepOptions(quiet=True), search=False)
    assert saved_epochs(state) == kept
    assert list(storage.names(interrupted.states)) == ["00000.npz"] * bool(kept) + ["token"]
    assert read_journal(again.path).epochs["epoch"].tolist() == [1, 2, 3]
    again.finish(ended="now")


def test_a_resume_reads_its_journal_once(interrupted, place):
    interrupted.finish(ended=None)
    with mock.patch.object(journal, "_blocks", wraps=journal._blocks) as read:
        again, _, _ = open_again(place, SweepOptions(quiet=True), search=False)
        left, _, _ = left_and_over(again)
    assert sorted(left) == ["00000", "00001"]
    assert read.call_count == 1
    again.finish(ended="now")


def test_a_resume_looks_only_into_the_states_that_are_there(interrupted, place, epoch_row):
    """Each look is a request where the sweep is in object storage."""
    state = storage.join(interrupted.states, "00000.npz")
    Checkpoint({"a": np.zeros(3)}, Progress(3, 2.3, None, epoch_row(3))).save(state)
    interrupted.finish(ended=None)
    with mock.patch.object(new_or_resumed, "saved_epochs", wraps=saved_epochs) as looked:
        again, _, _ = open_again(place, SweepOptions(quiet=True), search=False)
    looked.assert_called_once_with(state)
    again.finish(ended="now")


def test_resume_auto_resumes_a_sweep_or_starts_one(place, new_writer):
    options = SweepOptions(output=place, resume="auto")
    assert options.goes_on() is None
    writer = new_writer(place)
    deadline = time.monotonic() + 30
    while not exists(place):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert options.goes_on() == place
    writer.finish(ended="now")


def test_a_resumed_sweep_keeps_what_its_numbers_depend_on():
    kept = {"scheduler": "fifo", "grace_period": 3, "cpus_per_trial": 2, "train_evaluation": 500, "target": 0.8}
    kept |= {"standardize": True, "train_images": 100}
    kept |= {"sharpness": True, "sharpness_every": 7, "sharpness_images": 300}
    run = {"execution": "process", "lanes": 3, "trials_per_gpu": 2, "max_concurrent": 4, "time_budget": 60.0}
    for given in (SweepOptions(), SweepOptions(grace_period=7, cpus_per_trial=1, train_evaluation=9, target=0.9)):
        found = as_before(given, kept | run)
        assert {name: getattr(found, name) for name in kept | run} == kept | run
    anew = {"lanes": 5, "time_budget": 9.0}
    assert as_before(SweepOptions(**anew), run) == SweepOptions(**run | anew)


def test_resume_auto_needs_an_output():
    with pytest.raises(UserError, match="--resume auto resumes the sweep in --output, so it needs --output, too"):
        SweepOptions(resume="auto")


@pytest.mark.parametrize(
    ("given", "variable", "found"),
    [
        (None, None, None),
        (None, "head:6379", "head:6379"),
        (None, "local", None),
        (None, "http://127.0.0.1:8265", None),  # where `ray job submit` sends jobs to
        ("local", "head:6379", None),
        ("auto", "head:6379", "auto"),
    ],
)
def test_the_cluster_is_that_of_the_command_line_or_of_the_environment(monkeypatch, given, variable, found):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert SweepOptions(address=given).cluster() == found


@pytest.mark.parametrize("given", [None, "local", "head:6379"])
def test_a_resume_joins_no_cluster_that_the_folder_names(new_writer, mnist_5k, tmp_path, monkeypatch, capsys, given):
    writer = new_writer(tmp_path / "sweep")
    writer.meta |= {"options": {"address": "evil:6379; rm"}}
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    writer.finish()
    joined = []

    def run(writer, plan, data, options):
        joined.append(options.cluster())
        return writer.finish()

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sweep, "run_plan", run)
    sweep.resume_sweep(tmp_path / "sweep", SweepOptions(address=given))
    assert joined == [given if given == "head:6379" else None]
    assert "before, it ran on a Ray cluster: --address 'evil:6379; rm'" in capsys.readouterr().err


def test_a_cluster_is_hinted_at_only_where_there_was_another_one():
    said = []
    for before, now in ((None, None), (None, "head:6379"), ("head:6379", "head:6379")):
        _hint_at_cluster(before, now, said.append)
    assert said == []
    _hint_at_cluster("head:6379", "other:6379", said.append)
    assert said == ["note: on the cluster at other:6379; before, it ran on a Ray cluster: --address head:6379"]


def test_a_sweep_without_output_goes_to_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh")}
    writer, _ = open_new("mine", trials, SweepOptions(dataset="mnist-5k", quiet=True))
    writer.finish()
    assert writer.path.parent == tmp_path / "results" / "mine"
