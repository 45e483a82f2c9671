"""A power cut at random moments, made from what the writer and the trials synced."""

import os
import random
import threading
import time

import pytest

from checks.power_cut import disk, record, recorded
from mnist_tune import storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.results.journal import read_journal

MOMENTS = 12


def train(writer, trial_id, epoch_row, batch_s, until, written):
    """Record rows and save states, as a driver and a trial do; note when each was
    written."""
    epoch = 0
    while time.monotonic() < until:
        epoch += 1
        row = epoch_row(epoch, batch_s=batch_s)
        if epoch > 1:
            Checkpoint({}, EpochRow.of(row)).save(writer.state(trial_id))
        writer.epoch(trial_id, row, repeated=False)
        written.append((time.monotonic(), trial_id, epoch))
        time.sleep(0.02)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, new_writer, epoch_row):
    """A sweep of two trials, one of which counts as slow; what was synced, and what was
    written, with the times."""
    folder = tmp_path_factory.mktemp("disk") / "a" / "sweep"
    records = tmp_path_factory.mktemp("records")
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", record(records, folder))
        patch.setattr(storage, "SYNC_S", 0.1, raising=False)
        start = time.monotonic()
        with new_writer(folder) as writer:
            opened = time.monotonic()
            end = opened + 1.2
            threads = []
            for trial_id, seconds in (("00000", 0.02), ("00001", 60.0)):
                arguments = writer, trial_id, epoch_row, seconds, end, written
                threads.append(threading.Thread(target=train, args=arguments))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            written.append((time.monotonic(), "end", 0))
            writer.finish(ended="now")
    return folder, recorded(records), written, start, opened, time.monotonic()


@pytest.mark.promise(
    "A power cut costs the rows of the last second, and nothing that was synced"
)
def test_a_power_cut_costs_a_second_of_rows_and_nothing_that_was_synced(
    sweep, new_writer, epoch_row, tmp_path
):
    folder, synced, written, start, opened, end = sweep
    chance = random.Random(0)
    for number in range(MOMENTS):
        at = chance.uniform(start, end)
        there = tmp_path / str(number)
        disk(synced, folder, at, chance, there)
        if not (there / "sweep.json").exists():
            assert at < opened, "the sweep is gone"
            continue
        with new_writer(there, resume=True) as writer:
            epochs = read_journal(there).epochs
            rows = set(zip(epochs["trial_id"], epochs["epoch"], strict=True))
            # A hundred milliseconds, and ten times as many for a machine that is busy.
            for when, trial_id, epoch in written:
                if when < at - 1 and epoch:
                    assert (trial_id, epoch) in rows
            states = [file for file in synced if ".00001.npz." in file.path]
            if any(file.at <= at for file in states):
                state = Checkpoint.load(writer.state("00001"))
                assert state, "a state that was synced is lost"
            assert writer.epoch("00000", epoch_row(999), repeated=True)
            if number % 6 == 0:
                assert len(writer.finish(ended="now").epochs) == len(rows) + 1
        assert len(read_journal(there).epochs) == len(epochs) + 1


def test_the_state_of_a_short_epoch_costs_no_sync(tmp_path, epoch_row, monkeypatch):
    """It would be newer than the rows that are synced, and of no use."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for batch_s, count in ((storage.SYNC_S / 2, 0), (None, 0), (storage.SYNC_S, 2)):
        row = EpochRow.of(epoch_row(1, batch_s=batch_s))
        Checkpoint({}, row).save(tmp_path / "state.npz")
        assert len(synced) == count


@pytest.mark.parametrize("content", [b"", bytes(1000)])
def test_a_state_that_a_power_cut_emptied_is_none(tmp_path, content):
    """A damaged one would be said, and its trial's rows recorded again."""
    (tmp_path / "state.npz").write_bytes(content)
    assert Checkpoint.load(tmp_path / "state.npz") is None
