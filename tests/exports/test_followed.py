"""A sweep that is followed: copied again and again until it has ended, or nobody can
say whether it runs."""

import pytest

from mnist_tune.commands import export
from mnist_tune.exports.csv import Mirror
from mnist_tune.results import signs


def test_a_killed_sweep_in_object_storage_is_followed_until_its_signs_are_old(
    new_writer, epoch_row, bucket, tmp_path, monkeypatch, capsys
):
    with new_writer(bucket, count=1) as writer:
        writer.epoch("00000", epoch_row(1), False)
        writer._remote._upload()
        monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "of another machine"))
        words = ["export", bucket, "--follow", "--output", str(tmp_path / "out")]
        monkeypatch.setattr("sys.argv", words)

        def wait(seconds):
            assert signs.ALIVE_S > 0, "it is followed for ever"
            monkeypatch.setattr(signs, "ALIVE_S", -1.0)

        monkeypatch.setattr(export.time, "sleep", wait)
        export.main()
    printed = capsys.readouterr()
    note = "nobody can say whether this sweep still runs, so it is followed no longer"
    assert printed.err == f"note: {note}\n"
    assert printed.out.startswith("1 trial, 1 epoch. Files: ")


def test_a_sweep_is_copied_until_it_has_ended_also_after_a_copy_failed(
    new_writer, epoch_row, tmp_path, monkeypatch, capsys
):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.epoch("00000", epoch_row(1), False)
    waits = []
    write = Mirror.update

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 1:
            monkeypatch.setattr(Mirror, "update", write)
            writer.epoch("00000", epoch_row(2), False)
            writer.end("00000", "completed")
        else:
            writer.finish(ended="now")

    def dead(mirror, sweep):
        raise OSError("no route to host")

    monkeypatch.setattr(Mirror, "update", dead)
    monkeypatch.setattr(export.time, "sleep", wait)
    monkeypatch.setattr("sys.argv", ["export", str(writer.path), "--follow"])
    export.main()
    printed = capsys.readouterr()
    assert printed.err == "note: OSError: no route to host; trying again\n"
    assert printed.out.startswith("1 trial, 2 epochs. Files: ")
    assert len(waits) == 2
    assert min(waits) >= export.INTERVAL_S
    monkeypatch.setattr(Mirror, "update", dead)
    # of one that has ended, nothing else will come
    with pytest.raises(OSError, match="no route"):
        export.main()
