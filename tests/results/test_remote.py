"""A sweep in object storage: its uploads, downloads and resumes, and its one writer's
signs of life."""

import subprocess
import threading
from datetime import timedelta
from unittest import mock

import pytest
from waiting import wait_until

from mnist_tune import UserError, load_sweep, object_storage, storage
from mnist_tune.judged import judge
from mnist_tune.reports.answer import answer
from mnist_tune.reports.terminal import exit_code
from mnist_tune.results import remote
from mnist_tune.results.folder import exists, fetched, working_folder
from mnist_tune.results.journal import read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.remote import Remote
from mnist_tune.results.signs import SIGN, is_being_written, last_sign
from mnist_tune.results.writer import SweepWriter


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Upload rows at once, and give each test its own cache folder."""
    monkeypatch.setattr(remote, "INTERVAL_S", 0.05)
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))


def epochs(place):
    return load_sweep(place).epochs[["trial_id", "epoch"]].apply(tuple, axis=1).tolist()


def names(place):
    return [name.rpartition("/")[2] for name in object_storage.below(place)]


@pytest.mark.promise("Rows are uploaded while the sweep runs")
def test_rows_are_uploaded_while_the_sweep_runs(
    new_writer, epoch_row, bucket, monkeypatch
):
    """After what plans their trials."""
    writer = new_writer(bucket)
    monkeypatch.setattr(
        writer._remote, "_put", uploads := mock.Mock(wraps=writer._remote._put)
    )
    writer.update_options(seeds=[0, 1])
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket) == [("00000", 1)])
    assert [
        call.args[0] for call in uploads.call_args_list if call.args[0] != SIGN
    ] == ["sweep.json", "journal/000000"]
    assert load_sweep(bucket).path == bucket
    assert load_sweep(bucket).meta["ended"] is None
    writer.finish(ended="now")


def test_a_finished_sweep_in_storage_equals_a_local_one(
    new_writer, epoch_row, bucket, tmp_path
):
    sweeps = []
    for place in (bucket, tmp_path / "local"):
        writer = new_writer(place)
        for epoch in (1, 2):
            writer.epoch("00000", epoch_row(epoch), False)
        writer.end("00000", "completed")
        sweeps += [writer.finish(ended="now"), load_sweep(place)]
    for sweep in sweeps[:3]:
        assert sweep.trials.equals(sweeps[3].trials)
        assert sweep.epochs.equals(sweeps[3].epochs)
    local = tmp_path / "local"
    assert [sweep.path for sweep in sweeps] == [bucket, bucket, local, local]
    assert not working_folder(bucket).exists(), "files are left on the driver's machine"
    assert names(storage.join(bucket, "states")) == ["token"]
    assert last_sign(bucket).writer == {}


def test_a_local_journal_is_kept_only_if_it_begins_with_what_was_uploaded(bucket):
    """Otherwise the sweep went on elsewhere, and its epochs would be trained again."""
    storage.write(storage.join(bucket, "sweep.json"), b"{}")
    working_folder(bucket).mkdir(parents=True)
    journal = working_folder(bucket) / "journal.jsonl"
    journal.write_bytes(b"[1]\n")  # of an earlier sweep, whose files there are gone
    assert (fetched(bucket) / "journal.jsonl").read_bytes() == b""
    for number, segment in enumerate((b"[1]\n[", b"2]\n")):
        storage.write(storage.join(bucket, "journal", f"{number:06d}"), segment)
    for local, joined in (
        (b"[1]\n[2]\n[3]\n", b"[1]\n[2]\n[3]\n"),
        (b"[1]\n", b"[1]\n[2]\n"),
        (b"[1]\n[0]\n[3]\n", b"[1]\n[2]\n"),
    ):
        journal.write_bytes(local)
        fetched(bucket)
        assert journal.read_bytes() == joined


def test_what_is_too_large_is_not_downloaded(bucket):
    storage.write(storage.join(bucket, "large"), b" " * 100)
    with pytest.raises(OSError, match=r"has 100 bytes; at most 50 are read$"):
        storage.open_file(storage.join(bucket, "large"), 50)


@pytest.mark.parametrize(
    "into",
    [load_sweep, lambda copy: SweepWriter(copy, read_meta(copy), judge, resume=True)],
)
def test_a_downloaded_sweep_says_how_its_journal_is_joined(
    new_writer, epoch_row, bucket, tmp_path, into
):
    copy = tmp_path / "a copy"
    with new_writer(bucket, count=1) as writer:
        writer.epoch("00000", epoch_row(1), False)
        wait_until(lambda: epochs(bucket))
        for name in object_storage.below(bucket):  # as `aws s3 sync` does
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(storage.read(storage.join(bucket, name)))
    line = "is a journal in parts, from object storage; join them: cat "
    with pytest.raises(UserError, match=line) as refused:
        into(copy)
    _, _, command = str(refused.value).partition("join them: ")
    subprocess.run(command, shell=True, check=True)
    assert epochs(copy) == [("00000", 1)]


def test_a_sweep_that_has_ended_is_read_without_its_journal(
    new_writer, epoch_row, bucket
):
    writer = new_writer(bucket)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    with mock.patch.object(object_storage, "read", wraps=object_storage.read) as read:
        assert epochs(bucket) == [("00000", 1)]
    assert not [call for call in read.call_args_list if "/journal/" in call.args[0]]
    storage.write(storage.join(bucket, "epochs.parquet"), b"damaged")
    assert epochs(bucket) == [("00000", 1)]


@pytest.mark.parametrize("look", [exists, fetched, load_sweep])
def test_storage_that_cannot_be_read_is_said_in_one_line(monkeypatch, look):
    monkeypatch.setattr(
        object_storage, "read", mock.Mock(side_effect=OSError("SlowDown no"))
    )
    with pytest.raises(UserError, match=r"^can't read s3://bucket/x: SlowDown no$"):
        look("s3://bucket/x")


def test_a_new_sweep_does_not_begin_with_what_an_earlier_one_left(new_writer, bucket):
    """On this machine, or in the storage."""
    working_folder(bucket).mkdir(parents=True)
    (working_folder(bucket) / "journal.jsonl").write_bytes(b"[1]\n")
    for name in ("journal/000000", "journal/000001", "trials.parquet", ".ray/1/pickle"):
        storage.write(storage.join(bucket, name), b"[2]\n")
    new = new_writer(bucket)
    assert b"[" not in (new.path / "journal.jsonl").read_bytes()
    # pyarrow leaves an empty folder.
    names_now = sorted(names(bucket))
    assert names_now == [".ray", "000000", "sweep.json", "token", "writer.json"]
    new.finish(ended="now")


def test_states_without_a_sweep_are_not_overwritten(new_writer, bucket):
    storage.write(storage.join(bucket, "states/3/00000.npz"), b"state")
    line = r"/states\S* has the states of a sweep whose sweep.json is gone"
    with pytest.raises(UserError, match=line):
        new_writer(bucket)


def test_a_uri_without_a_sweep_is_named_in_the_error(bucket):
    with pytest.raises(UserError, match="no sweep in s3://mnist-tune/"):
        load_sweep(bucket)


def test_a_missing_bucket_is_refused_before_anything_starts(new_writer, s3):
    with pytest.raises(UserError, match=r"s3://nobody-has-it/x.*NoSuchBucket"):
        new_writer(s3.uri("nobody-has-it", "x"))


def test_one_writer_at_a_time_on_this_machine(new_writer, bucket):
    writer = new_writer(bucket)
    wait_until(lambda: exists(bucket))
    with pytest.raises(UserError, match="another sweep is writing to"):
        fetched(bucket)
    writer.finish(ended="now")


@pytest.mark.promise("At the end, a line names what could not be uploaded")
def test_a_failed_last_upload_is_an_error_and_keeps_the_local_files(
    new_writer, epoch_row, bucket, monkeypatch
):
    writer = new_writer(bucket)
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket))
    monkeypatch.setattr(remote, "PATIENCE_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "write_over", refuse)
        writer.epoch("00000", epoch_row(2), False)
        line = r"could not be uploaded to .*mnist-tune show .*--resume"
        with pytest.raises(UserError, match=line):
            writer.finish(ended="now")
    assert epochs(working_folder(bucket)) == [("00000", 1), ("00000", 2)]
    assert epochs(bucket) == [("00000", 1)]
    fetched(bucket)
    new_writer(bucket, resume=True).finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]


def refuse(*arguments):
    raise OSError("SlowDown later")


@pytest.mark.promise(
    "While the storage does not answer, rows are kept; they are uploaded later"
)
def test_rows_wait_until_the_storage_answers_again(bucket, tmp_path, monkeypatch):
    lines = []
    place = Remote(tmp_path, bucket, "token", lines.append)
    place.files["sweep.json"] = b"{}"
    place.claim()
    for epoch, answers in enumerate((True, False, False, True, True), start=1):
        with (tmp_path / "journal.jsonl").open("ab") as file:
            file.write(b"[%d]\n" % epoch)
        with monkeypatch.context() as patch:
            if not answers:
                patch.setattr(object_storage, "write_over", refuse)
            assert (place._upload() is None) == answers
    segment = storage.read(storage.join(bucket, "journal", "000000"))
    assert segment == b"[1]\n[2]\n[3]\n[4]\n[5]\n"
    beginnings = [line.partition(" s3://")[0] for line in lines]
    assert beginnings == ["can't upload to", "uploads to"]
    place.withdraw()


def test_others_wait_until_the_end_is_tidied_up(new_writer, bucket, monkeypatch):
    """Else the states of one that resumes the sweep at that moment would be removed."""
    writer = new_writer(bucket)
    seen = []
    storage.write(storage.join(writer.states, "00000.npz"), b"state")
    writer.end("00000", "diverged")
    remove = storage.remove

    def look(where):
        if "00000.npz" in where:
            seen.append((last_sign(bucket).writer is not None, writer.path.exists()))
        remove(where)

    monkeypatch.setattr(storage, "remove", look)
    writer.finish(ended="now")
    assert seen == [(True, True)]


# --- two machines, one after the other


@pytest.mark.promise("Any machine can resume what was uploaded")
@pytest.mark.promise(
    "A process that was taken for dead, or from which a resume took over, ends with a line and writes nothing more"
)
def test_a_writer_whose_place_was_taken_ends_and_writes_nothing(
    new_writer, epoch_row, bucket, tmp_path, monkeypatch
):
    """As a laptop that slept for an hour. Its sign of life tells it, or the next file
    that it writes."""
    first = new_writer(bucket)
    first.epoch("00000", epoch_row(1), False)
    wait_until(lambda: epochs(bucket))
    with monkeypatch.context() as patch:
        patch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
        fetched(bucket)
        second = new_writer(bucket, resume=True)
    first.epoch("00000", epoch_row(2), False)
    wait_until(lambda: first._remote.refused)
    line = f"^another process took over {bucket[:20]}.* what this one did is in"
    with pytest.raises(UserError, match=line):
        first.epoch("00000", epoch_row(3), False)
    assert first.failure is first._remote.refused
    with pytest.raises(UserError, match="another process took over"):
        first.finish(ended="now")
    assert epochs(bucket) == [("00000", 1)]
    assert last_sign(bucket).writer["folder"] == str(second.path)
    assert read_journal(first.path).epochs["epoch"].tolist() == [1, 2]
    second.epoch("00000", epoch_row(1), True)
    second.epoch("00000", epoch_row(2), False)
    second.finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]


@pytest.mark.promise(
    "Trials of a process from which a resume took over can't overwrite the resume's states"
)
def test_states_that_a_sleeping_writers_processes_save_are_not_the_next_ones(
    new_writer, bucket
):
    places = []
    for number in (1, 2, 3):
        if number > 1:
            fetched(bucket)
        writer = new_writer(bucket, resume=number > 1)
        places.append(writer.state("00000"))
        assert storage.read(writer.state("00001")) == (b"of 1" if number > 1 else None)
        storage.write(writer.state("00000"), f"of {number}".encode())
        if number == 1:
            storage.write(writer.state("00001"), b"of 1")
        writer.release()
    storage.write(places[0], b"late")
    storage.write(storage.join(bucket, "states/elsewhere/00000.npz"), b"no writer's")
    fetched(bucket)
    last = new_writer(bucket, resume=True)
    assert storage.read(last.state("00000")) == b"of 3"
    assert last.saved() == {"00000", "00001"}
    assert storage.read(places[0]) is None  # what was taken over is removed
    assert last.tunes == storage.join(bucket, ".ray", "4")
    last.release()


def test_a_sweep_that_ended_has_not_ended_once_it_is_resumed(
    new_writer, epoch_row, bucket, caplog
):
    """Also if it is killed at once: its tables are made from the journal."""
    writer = new_writer(bucket)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="then")
    fetched(bucket)
    again = new_writer(bucket, resume=True)
    assert load_sweep(bucket).meta["ended"] is None
    assert epochs(bucket) == [("00000", 1)]
    again.release()
    assert epochs(bucket) == [("00000", 1)]
    assert not [
        record for record in caplog.records if record.name.startswith("mnist_tune")
    ]


# --- one owner


def test_a_writer_that_is_left_without_an_end_gives_its_place_back(new_writer, bucket):
    """As when Ray does not start: its lock, its upload and its signs of life end with
    it."""
    with new_writer(bucket) as writer:
        assert last_sign(bucket).writer
    assert last_sign(bucket).writer == {}
    assert not any(thread.is_alive() for thread in writer._remote._threads)
    writer.release()  # once more does no harm
    fetched(bucket)
    with new_writer(bucket, resume=True) as again:
        again.finish(ended="now")
        again.release()


def test_a_folder_that_is_left_without_an_end_is_not_locked(
    new_writer, tmp_path, monkeypatch
):
    folder = tmp_path / "sweep"
    with new_writer(folder) as held:
        assert is_being_written(folder)
    assert not is_being_written(folder)
    with monkeypatch.context() as patch:
        patch.setattr(
            SweepWriter, "_write_meta", mock.Mock(side_effect=OSError(28, "full"))
        )
        line = r"can't write results to .*full"
        with pytest.raises(UserError, match=line) as refused:
            new_writer(folder, resume=True)
    # also while something refers to them
    assert not is_being_written(folder), (held, refused)
    new_writer(folder, resume=True).finish(ended="now")


def test_a_place_that_cannot_be_taken_is_given_back(new_writer, bucket, monkeypatch):
    new_writer(bucket).finish(ended=None)
    fetched(bucket)
    for error in (OSError("SlowDown later"), KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            patch.setattr(Remote, "take_over", mock.Mock(side_effect=error))
            with pytest.raises((UserError, KeyboardInterrupt)):
                new_writer(bucket, resume=True)
        assert last_sign(bucket).writer == {}
        fetched(bucket)
    new_writer(bucket, resume=True).finish(ended="now")


@pytest.mark.parametrize("at", ["there", "here"])
def test_a_resume_is_refused_if_the_sweep_went_on_since_it_was_read(
    new_writer, epoch_row, bucket, tmp_path, monkeypatch, at
):
    """Also if the other one has ended by then, so that it gives no more signs."""
    first = new_writer(bucket)
    first.epoch("00000", epoch_row(1), False)
    first.finish(ended=None)
    fetched(bucket)
    with monkeypatch.context() as patch:
        if at == "there":
            patch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
            fetched(bucket)
        other = new_writer(bucket, resume=True)
        other.epoch("00000", epoch_row(2), False)
        other.finish(ended=None)
    line = r"^another process has just written to s3://.*; try again$"
    with pytest.raises(UserError, match=line):
        new_writer(bucket, resume=True)
    fetched(bucket)
    new_writer(bucket, resume=True).finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]


# --- signs of life


@pytest.mark.promise(
    "A running sweep in object storage can be read, also in an epoch of five minutes; its trials are `unknown` after"
    " two minutes without a sign of life"
)
@pytest.mark.parametrize(
    ("silent", "reason"),
    [
        ({"sweep.json": 300}, "running"),
        ({SIGN: 100}, "running"),
        ({SIGN: 122}, "unknown"),
        ({SIGN: 1e9}, "unknown"),
    ],
)
def test_a_sweep_that_runs_elsewhere_is_running_while_it_gives_signs(
    new_writer, epoch_row, bucket, tmp_path, monkeypatch, silent, reason
):
    """Also in an epoch of five minutes. `silent` are the seconds for which the storage
    got no such file."""
    writer = new_writer(bucket, count=1)
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: epochs(bucket))
    listed = object_storage.files

    def files(where):
        facts = listed(where)
        for name in silent.keys() & facts.keys():
            last = facts[name]["last_modified"] - timedelta(seconds=silent[name])
            facts[name] = {**facts[name], "last_modified": last}
        return facts

    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "files", files)
        sweep = load_sweep(bucket)
    assert sweep.trials["stop_reason"].tolist() == [reason]
    assert exit_code(sweep.trials) == 0
    questions = answer(sweep, bucket).questions
    offers_a_resume = any("resume" in question.command for question in questions)
    assert offers_a_resume == (reason == "unknown")
    writer.release()
    assert load_sweep(bucket).trials["stop_reason"].tolist() == ["interrupted"]


def test_who_may_only_read_is_not_told_that_a_running_sweep_was_interrupted(
    new_writer, bucket, tmp_path, monkeypatch
):
    with new_writer(bucket):
        monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
        with monkeypatch.context() as patch:
            patch.setattr(
                object_storage,
                "write",
                mock.Mock(side_effect=PermissionError("AccessDenied")),
            )
            assert set(load_sweep(bucket).trials["stop_reason"]) == {"unknown"}


def test_a_sign_that_cannot_be_read_says_nothing(bucket):
    storage.write(storage.join(bucket, SIGN), b"\xff")
    assert is_being_written(bucket) is None


def test_a_new_sweep_ignores_the_sign_of_a_writer_that_left_no_sweep(
    new_writer, bucket
):
    storage.write(storage.join(bucket, SIGN), b'{"host": "elsewhere"}')
    new_writer(bucket).finish(ended="now")


def test_a_writer_gives_signs_of_life_while_an_upload_takes_long(
    new_writer, epoch_row, bucket, monkeypatch
):
    monkeypatch.setattr(remote, "SIGN_S", 0.1)
    writer = new_writer(bucket)
    send = object_storage.write_over
    long = threading.Event()

    def slow(where, *arguments):
        if "/journal/" in where:
            long.wait(30)
        return send(where, *arguments)

    monkeypatch.setattr(object_storage, "write_over", slow)
    writer.epoch("00000", epoch_row(1), False)
    first = last_sign(bucket)
    wait_until(lambda: last_sign(bucket) != first)
    long.set()
    writer.finish(ended="now")
    assert epochs(bucket) == [("00000", 1)]
