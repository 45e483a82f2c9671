"""Two processes on two nodes that share a folder, where each node's lock is its own."""

import platform
import time
from contextlib import nullcontext

import pytest
from waiting import wait_until

from mnist_tune import UserError, storage
from mnist_tune.results import signs, writer
from mnist_tune.results.journal import read_journal
from mnist_tune.results.signs import WriterTurn, is_being_written


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    """A mount that is shared, whose locks hold on one node only. The clock runs
    fast."""
    monkeypatch.setattr(writer, "locked", lambda folder, where: nullcontext())
    monkeypatch.setattr(signs, "SILENCE_S", 2.0)
    monkeypatch.setattr(signs, "LOOK_S", 0.05)
    monkeypatch.setattr(storage, "SYNC_S", 0.05)


@pytest.fixture
def on(monkeypatch):
    """A function after which this process is on a node of this name."""
    return lambda name: monkeypatch.setattr(signs, "_here", lambda folder: [name])


@pytest.mark.promise(
    "One process writes a folder at a time, on a disk, on a shared mount and in object storage"
)
def test_of_two_that_write_one_is_refused(tmp_path, new_writer, on, monkeypatch):
    monkeypatch.setattr(signs, "SILENCE_S", 60.0)
    on("one")
    with new_writer(tmp_path / "sweep") as first:
        (first.path / ".lock").touch()
        on("another")
        line = r"^a sweep on one is writing to .*sweep; wait for it, or stop it first$"
        with pytest.raises(UserError, match=line):
            new_writer(tmp_path / "sweep", resume=True)
        assert first.failure is None
        assert is_being_written(first.path), (
            "or it would be shown as interrupted, to be resumed"
        )
        monkeypatch.setattr(signs, "SILENCE_S", 0.0)
        assert not is_being_written(first.path)
    start = time.monotonic()
    with new_writer(tmp_path / "sweep", resume=True):
        assert time.monotonic() - start < 30, "it waits for one that has ended"


@pytest.mark.promise(
    "A process that was taken for dead, or from which a resume took over, ends with a line and writes nothing more"
)
def test_one_that_slept_writes_nothing_more(
    tmp_path, new_writer, epoch_row, on, monkeypatch
):
    on("one")
    slept = new_writer(tmp_path / "sweep")
    (slept.path / ".lock").touch()
    slept.epoch("00000", epoch_row(1), repeated=False)
    with monkeypatch.context() as patch:
        patch.setattr(WriterTurn, "go_on", lambda turn: None)
        on("another")
        other = new_writer(tmp_path / "sweep", resume=True)
    with other:
        wait_until(lambda: slept.failure, every=0.01)
        line = (
            r"^another process took over .*sweep, after this one gave no sign of life"
        )
        with pytest.raises(UserError, match=line):
            slept.epoch("00000", epoch_row(2), repeated=False)
        slept.release()
        other.epoch("00000", epoch_row(2), repeated=False)
        assert other.failure is None
    assert read_journal(tmp_path / "sweep").epochs["epoch"].tolist() == [1, 2]
    assert [file.name for file in (tmp_path / "sweep").glob(".writer-*")] == [
        ".writer-2"
    ]


@pytest.mark.promise(
    "On a shared mount, a writer elsewhere is waited for until it has been silent for a minute"
)
def test_one_that_was_killed_is_waited_for_and_its_name_is_said(
    tmp_path, on, monkeypatch
):
    monkeypatch.setattr(signs, "SILENCE_S", 0.3)
    (tmp_path / ".lock").touch()
    lines = []
    on("one")
    killed = WriterTurn(tmp_path, lines.append)
    on("another")
    start = time.monotonic()
    WriterTurn(tmp_path, lines.append)
    assert 0.2 < time.monotonic() - start < 5
    assert [line.partition(" wrote")[0] for line in lines] == ["one"]
    with pytest.raises(UserError, match="another process took over"):
        killed.go_on()
    # on the same node, its lock says that it has ended
    WriterTurn(tmp_path, lines.append).end()
    on("a third")
    WriterTurn(tmp_path, lines.append)
    assert len(lines) == 1, "nobody waits for one that has ended"


@pytest.mark.promise(
    "Nobody waits for a container of the same machine that was killed, whatever it was called"
)
def test_a_container_does_not_wait_for_one_that_had_another_name(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    lines = []
    for name in ("one", "another"):
        monkeypatch.setattr(platform, "node", lambda name=name: name)
        WriterTurn(tmp_path, lines.append)
    monkeypatch.setattr(platform, "node", lambda: "a third")
    assert lines == []
    assert is_being_written(tmp_path) is False
