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
    folder, records = (
        tmp_path_factory.mktemp("disk") / "a" / "sweep",
        tmp_path_factory.mktemp("records"),
    )
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", record(records, folder))
        patch.setattr(storage, "SYNC_S", 0.1, raising=False)
        start = time.monotonic()
        with new_writer(folder) as writer:
            opened = time.monotonic()
            trials = [("00000", 0.02), ("00001", 60.0)]
            threads = [
                threading.Thread(
                    target=train,
                    args=(
                        writer,
                        *trial[:1],
                        epoch_row,
                        trial[1],
                        opened + 1.2,
                        written,
                    ),
                )
                for trial in trials
            ]
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
        at, there = chance.uniform(start, end), tmp_path / str(number)
        disk(synced, folder, at, chance, there)
        if not (there / "sweep.json").exists():
            assert at < opened, "the sweep is gone"
            continue
        with new_writer(there, resume=True) as writer:
            epochs = read_journal(there).epochs
            kept = set(zip(epochs["trial_id"], epochs["epoch"], strict=True))
            # A hundred milliseconds, and ten times as many for a machine that is busy.
            assert kept >= {
                (trial, epoch)
                for when, trial, epoch in written
                if when < at - 1 and epoch
            }
            before = [
                one for one in synced if one.at <= at and ".00001.npz." in one.path
            ]
            assert not before or Checkpoint.load(writer.state("00001")), (
                "a state that was synced is lost"
            )
            assert writer.epoch("00000", epoch_row(999), repeated=True)
            if number % 6 == 0:
                assert len(writer.finish(ended="now").epochs) == len(kept) + 1
        assert len(read_journal(there).epochs) == len(epochs) + 1


def test_the_state_of_a_short_epoch_costs_no_sync(tmp_path, epoch_row, monkeypatch):
    """It would be newer than the rows that are synced, and of no use."""
    asked = []
    monkeypatch.setattr(os, "fsync", asked.append)
    for batch_s, count in ((storage.SYNC_S / 2, 0), (None, 0), (storage.SYNC_S, 2)):
        Checkpoint({}, EpochRow.of(epoch_row(1, batch_s=batch_s))).save(
            tmp_path / "state.npz"
        )
        assert len(asked) == count


@pytest.mark.parametrize("left", [b"", bytes(1000)])
def test_a_state_that_a_power_cut_emptied_is_none(tmp_path, left):
    """A damaged one would be said, and its trial's rows recorded again."""
    (tmp_path / "state.npz").write_bytes(left)
    assert Checkpoint.load(tmp_path / "state.npz") is None
