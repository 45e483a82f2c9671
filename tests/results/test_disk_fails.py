"""A disk that is full, or a folder that becomes read-only, at any write of a sweep: one
line, and nothing is lost."""

import errno
import os
import random

import pytest

from mnist_tune import UserError, storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.results.journal import read_journal

MOMENTS = 10  # with each of two errors


class Failing:
    """Lets so many calls through that write, then fails all."""

    def __init__(self, patch, calls, code):
        self.left = calls
        self._code = code
        for owner, name in ((os, "open"), (os, "replace"), (os, "fsync")):
            patch.setattr(owner, name, self._counted(getattr(os, name), name))

    def _counted(self, function, name):
        def call(*arguments, **options):
            if name != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR):
                self.left -= 1
                if self.left < 0:
                    raise OSError(self._code, os.strerror(self._code))
            return function(*arguments, **options)

        return call


def sweep(writer, epoch_row, rows):
    """Record three epochs, each with a state; note what is recorded."""
    for epoch in (1, 2, 3):
        row = epoch_row(epoch, batch_s=60.0)
        writer.epoch("00000", row, repeated=True)
        rows.append(epoch)
        Checkpoint({}, EpochRow.of(row)).save(writer.state("00000"))


@pytest.mark.promise(
    "A full disk or a folder that becomes read-only ends the sweep with one line, and loses no row"
)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_at_a_random_moment_is_one_line_and_nothing_is_lost(
    code, tmp_path, new_writer, epoch_row
):
    chance = random.Random(code)
    lines = []
    for number in range(MOMENTS):
        folder = tmp_path / str(number)
        rows = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "SYNC_S", 0.001)
            Failing(patch, chance.randrange(60), code)
            try:
                with new_writer(folder) as writer:
                    sweep(writer, epoch_row, rows)
                    writer.finish(ended="now")
            except UserError as error:
                lines.append(str(error))
        if (folder / "sweep.json").exists():
            assert set(read_journal(folder).epochs["epoch"]) >= set(rows)
            with new_writer(folder, resume=True) as writer:
                writer.last_epochs = {"00000": max(rows, default=0)}
                sweep(writer, epoch_row, [])
            epochs = read_journal(folder).epochs["epoch"].tolist()
            assert set(epochs) == {1, 2, 3}
        else:
            assert not rows
    assert len(lines) > MOMENTS / 4
    for line in lines:
        assert os.strerror(code) in line
        assert "\n" not in line
