"""A sweep in object storage: uploads, downloads and resumes."""

import platform
import threading
import time
from contextlib import nullcontext
from unittest import mock

import pytest

from mnist_tune import UserError, load_sweep, object_storage, storage
from mnist_tune.results import claim, folder, sign_of_life, upload, writer
from mnist_tune.results.folder import exists, fetched, working_folder
from mnist_tune.results.journal import read_journal
from mnist_tune.results.sign_of_life import SignOfLife
from mnist_tune.results.writer import SweepWriter


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Upload rows at once, and give each test its own cache folder."""
    monkeypatch.setattr(upload, "INTERVAL_S", 0.05)
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.05)


def signed(place):
    """Return the sign of life of a writer that has given it."""
    sign = SignOfLife(place)
    sign.give()
    return sign


def epochs(place):
    return load_sweep(place).epochs[["trial_id", "epoch"]].apply(tuple, axis=1).tolist()


def test_rows_are_uploaded_while_the_sweep_runs(new_writer, epoch_row, bucket):
    writer = new_writer(bucket)
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket) == [("00000", 1)])
    assert load_sweep(bucket).path == bucket
    assert load_sweep(bucket).meta["ended"] is None
    writer.finish(ended="now")


def test_a_finished_sweep_in_storage_equals_a_local_one(new_writer, epoch_row, bucket, tmp_path):
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
    assert [sweep.path for sweep in sweeps] == [bucket, bucket, tmp_path / "local", tmp_path / "local"]
    assert not working_folder(bucket).exists(), "files are left on the driver's machine"
    assert list(storage.names(storage.join(bucket, "states"))) == ["token"]
    assert "writer.json" not in storage.names(bucket)


def test_states_of_ended_trials_are_removed(new_writer, bucket):
    writer = new_writer(bucket)
    for trial_id in ("00000", "00001"):
        storage.write(storage.join(writer.states, f"{trial_id}.npz"), b"state")
    writer.end("00000", "completed")
    writer.end("00001", "interrupted")
    writer.finish(ended="now")
    assert list(storage.names(storage.join(bucket, "states"))) == ["00001.npz", "token"]


def test_a_long_journal_comes_back_whole(new_writer, epoch_row, bucket, monkeypatch):
    monkeypatch.setattr(upload, "SEGMENT_BYTES", 1000)
    writer = new_writer(bucket)
    rows = [epoch_row(epoch, note="x" * 40) for epoch in range(1, 30)]
    for row in rows:
        writer.epoch("00000", row, False)
        time.sleep(0.01)
    writer.finish(ended=None)
    assert len(storage.names(storage.join(bucket, "journal"))) > 10
    assert read_journal(fetched(bucket)).epochs["epoch"].tolist() == list(range(1, 30))


def test_a_resume_uploads_only_what_is_new(new_writer, epoch_row, bucket, monkeypatch):
    monkeypatch.setattr(upload, "SEGMENT_BYTES", 1000)
    writer = new_writer(bucket)
    for epoch in range(1, 30):
        writer.epoch("00000", epoch_row(epoch), False)
    writer.finish(ended=None)
    segments = storage.names(storage.join(bucket, "journal"))
    fetched(bucket)
    with mock.patch.object(object_storage, "write", wraps=object_storage.write) as send:
        resumed = new_writer(bucket, resume=True)
        resumed.epoch("00000", epoch_row(30), False)
        resumed.finish(ended="now")
    sent = [call.args[0].partition("/journal/")[2][:6] for call in send.mock_calls if "/journal/" in call.args[0]]
    assert sent
    assert set(sent) <= {segments[-1], f"{len(segments):06d}"}
    assert read_journal(fetched(bucket)).epochs["epoch"].tolist() == list(range(1, 31))


@pytest.mark.parametrize(
    ("local", "kept"), [(None, False), (b"[1]\n[2]\n[3]\n", True), (b"[1]\n", False), (b"[1]\n[0]\n[3]\n", False)]
)
def test_a_local_journal_is_kept_only_if_it_begins_with_what_was_uploaded(bucket, local, kept):
    """Otherwise the sweep went on elsewhere, and its epochs would be trained again."""
    storage.write(storage.join(bucket, "sweep.json"), b"{}")
    for number, segment in enumerate((b"[1]\n[", b"2]\n")):
        storage.write(storage.join(bucket, "journal", f"{number:06d}"), segment)
    if local is not None:
        working_folder(bucket).mkdir(parents=True)
        (working_folder(bucket) / "journal.jsonl").write_bytes(local)
    assert (fetched(bucket) / "journal.jsonl").read_bytes() == (local if kept else b"[1]\n[2]\n")


@pytest.mark.parametrize("look", [exists, fetched, load_sweep])
def test_storage_that_cannot_be_read_is_said_in_one_line(monkeypatch, look):
    monkeypatch.setattr(
        storage, "read", mock.Mock(side_effect=OSError("AWS Error SLOW_DOWN during GetObject operation: no"))
    )
    monkeypatch.setattr(storage, "names", lambda where: [])
    with pytest.raises(UserError, match=r"^can't read s3://bucket/x: SLOW_DOWN GetObject no$"):
        look("s3://bucket/x")


def test_each_uri_has_a_working_folder_of_its_own(tmp_path):
    uris = [f"s3://bucket/{'long' * 30}/{name}" for name in ("a", "b")]
    first, second = map(working_folder, uris)
    assert first != second
    assert working_folder(uris[0]) == first
    assert first.parent == second.parent == tmp_path / "cache" / "sweeps"
    assert working_folder(tmp_path) == tmp_path


@pytest.fixture
def begin(bucket, monkeypatch):
    """A function that begins to write a sweep in the bucket, of which nothing is uploaded later."""
    monkeypatch.setattr(writer, "Upload", lambda *arguments: None)
    begun = []

    def begin(**options):
        begun.append(SweepWriter(bucket, {"trials": {}}, **options))
        return begun[-1].path

    yield begin
    for one in begun:
        one._sign.withdraw()
        one._journal.close()
        one._lock.release()


def test_a_new_sweep_does_not_begin_with_what_an_earlier_one_left_on_this_machine(bucket, begin):
    working_folder(bucket).mkdir(parents=True)
    (working_folder(bucket) / "journal.jsonl").write_bytes(b"[1]\n")
    assert (begin() / "journal.jsonl").read_bytes() == b""
    assert list(storage.names(bucket)) == ["sweep.json", "writer.json"]  # before the first upload


def test_a_last_upload_that_fails_is_tried_again_and_a_changed_file_of_the_same_size_uploaded(
    bucket, tmp_path, monkeypatch
):
    for name in ("journal.jsonl", "sweep.json"):
        storage.write(tmp_path / name, b"one")
    said, refused = [], OSError("AWS Error SLOW_DOWN during PutObject operation: later")
    up = upload.Upload(tmp_path, bucket, signed(bucket), said.append)
    up.close()
    storage.write(tmp_path / "sweep.json", b"two")
    with monkeypatch.context() as patch:
        patch.setattr(upload, "INTERVAL_S", 0.0)
        patch.setattr(
            object_storage, "write", mock.Mock(wraps=object_storage.write, side_effect=[refused, refused, mock.DEFAULT])
        )
        up.close()
    up.close()
    assert storage.read(storage.join(bucket, "sweep.json")) == b"two"
    assert [line.partition(" to ")[0] for line in said] == ["can't upload", "uploads"]


def test_tables_that_are_no_longer_there_do_not_stay_behind(new_writer, bucket):
    new_writer(bucket).finish(ended="now")
    tables = ["epochs.parquet", "trials.parquet"]
    assert sorted(path.name for path in fetched(bucket).glob("*.parquet")) == tables
    for name in tables:
        storage.remove(storage.join(bucket, name))
    assert not list(fetched(bucket).glob("*.parquet"))


def test_an_existing_sweep_is_not_overwritten(new_writer, bucket):
    new_writer(bucket).finish(ended="now")
    with pytest.raises(UserError, match="already holds a sweep; name another --output or resume with --resume"):
        new_writer(bucket)


def test_a_uri_without_a_sweep_is_named_in_the_error(bucket):
    with pytest.raises(UserError, match="no sweep in s3://mnist-tune/"):
        load_sweep(bucket)


def test_a_missing_bucket_is_refused_before_anything_starts(new_writer, s3):
    with pytest.raises(UserError, match=r"s3://nobody-has-it/x.*NO_SUCH_BUCKET"):
        new_writer(s3.uri("nobody-has-it", "x"))


def test_one_writer_at_a_time_on_this_machine(new_writer, bucket):
    writer = new_writer(bucket)
    wait_until(lambda: exists(bucket))
    with pytest.raises(UserError, match="another sweep is writing to"):
        fetched(bucket)
    writer.finish(ended="now")


def test_failed_uploads_are_announced_once_and_retried(new_writer, epoch_row, bucket, monkeypatch):
    place, said, tries, sign = bucket, [], [], signed(bucket)

    def silent(*arguments):
        tries.append(arguments)
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7")

    writer = new_writer(working_folder(place))
    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "write", silent)
        up = upload.Upload(writer.path, place, sign, said.append)
        writer.epoch("00000", epoch_row(1), False)
        wait_until(lambda: len(tries) > 2)
        writer.epoch("00000", epoch_row(2), False)
    writer.update_options(epochs=4)
    wait_until(lambda: len(said) == 2)
    up.close()
    writer.finish(ended="now")
    assert "NETWORK_CONNECTION" in said[0]
    assert "rows are kept in" in said[0]
    assert said[1].endswith("work again")
    assert epochs(place) == [("00000", 1), ("00000", 2)]


def test_a_file_whose_upload_failed_is_uploaded_again(new_writer, bucket, monkeypatch):
    send, failed = object_storage.write, []

    def first_fails(uri, *rest):
        if "sweep.json" in uri and not failed:
            failed.append(uri)
            raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7")
        send(uri, *rest)

    writer = new_writer(working_folder(bucket))
    sign = signed(bucket)
    monkeypatch.setattr(object_storage, "write", first_fails)
    up = upload.Upload(writer.path, bucket, sign, lambda line: None)
    wait_until(lambda: exists(bucket))
    up.close()
    writer.finish(ended="now")
    assert failed


def test_a_failed_last_upload_is_an_error_and_keeps_the_local_files(new_writer, epoch_row, bucket, monkeypatch):
    writer = new_writer(bucket)
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket))
    monkeypatch.setattr(upload, "PATIENCE_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "write", refuse)
        writer.epoch("00000", epoch_row(2), False)
        with pytest.raises(UserError, match=r"could not be uploaded to .*/summarize.py .*--resume"):
            writer.finish(ended="now")
    assert epochs(working_folder(bucket)) == [("00000", 1), ("00000", 2)]
    assert epochs(bucket) == [("00000", 1)]
    fetched(bucket)
    new_writer(bucket, resume=True).finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]


def refuse(*arguments):
    raise OSError("AWS Error SLOW_DOWN during PutObject operation: later")


def test_another_machine_resumes_what_was_uploaded(new_writer, epoch_row, bucket, tmp_path, monkeypatch):
    first = new_writer(bucket)
    first.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket))
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "another"))
    fetched(bucket)
    second = new_writer(bucket, resume=True, seen=sign_of_life.last_sign(bucket))
    second.epoch("00000", epoch_row(1), True)
    second.epoch("00000", epoch_row(2), False)
    second.finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]
    with pytest.raises(UserError, match="another process took over"):
        first.finish(ended="now")


def test_the_tables_are_uploaded_before_what_says_that_they_are_final(new_writer, bucket, monkeypatch):
    """And read after it. Else a reader, or a kill in between, takes the tables of before a resume for final."""
    writer = new_writer(bucket)
    wait_until(lambda: exists(bucket))
    with mock.patch.object(object_storage, "write", wraps=object_storage.write) as send:
        writer.finish(ended="now")
    names = [call.args[0].partition("?")[0].rpartition("/")[2] for call in send.mock_calls]
    *before, last = [name for name in names if name in ("sweep.json", "trials.parquet", "epochs.parquet")]
    assert last == "sweep.json"
    assert {"trials.parquet", "epochs.parquet"} <= set(before)
    with mock.patch.object(storage, "read", wraps=storage.read) as read:
        fetched(bucket)
    assert "/sweep.json" in read.mock_calls[0].args[0]


def test_others_wait_until_the_end_is_tidied_up(new_writer, bucket, monkeypatch):
    """Else the states of one that resumes the sweep at that moment would be removed."""
    writer, seen = new_writer(bucket), []
    storage.write(storage.join(writer.states, "00000.npz"), b"state")
    writer.end("00000", "completed")
    remove = storage.remove

    def look(where):
        if "00000.npz" in where:
            seen.append((sign_of_life.last_sign(bucket) is not None, writer.path.exists()))
        remove(where)

    monkeypatch.setattr(storage, "remove", look)
    writer.finish(ended="now")
    assert seen == [(True, True)]


def test_a_reader_that_has_gone_ends_no_uploads(new_writer, epoch_row, bucket, monkeypatch):
    def gone(line):
        raise BrokenPipeError

    sign, writer, send = signed(bucket), new_writer(working_folder(bucket)), mock.Mock(side_effect=refuse)
    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "write", send)
        up = upload.Upload(writer.path, bucket, sign, gone)
        wait_until(lambda: send.call_count > 2)
    writer.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket) == [("00000", 1)])
    up.close()
    writer.finish(ended="now")


# --- two machines, one after the other


def test_a_writer_whose_place_was_taken_ends_and_writes_nothing(new_writer, epoch_row, bucket):
    """As a laptop that slept for an hour."""
    first = new_writer(bucket)
    first.epoch("00000", epoch_row(1), False)
    wait_until(lambda: exists(bucket) and epochs(bucket))
    second = signed(bucket)
    first.epoch("00000", epoch_row(2), False)
    wait_until(lambda: first._upload.refused)
    with pytest.raises(UserError, match=f"^another process took over {bucket[:20]}.* what this one did is in"):
        first.epoch("00000", epoch_row(3), False)
    assert first.failure is first._upload.refused
    with pytest.raises(UserError, match="another process took over"):
        first.finish(ended="now")
    assert epochs(bucket) == [("00000", 1)]
    assert second.is_there()
    assert read_journal(first.path).epochs["epoch"].tolist() == [1, 2]


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
    with pytest.raises(UserError, match=r"^another process has just written to s3://.*; try again$"):
        new_writer(bucket, resume=True)
    fetched(bucket)
    new_writer(bucket, resume=True).finish(ended="now")
    assert epochs(bucket) == [("00000", 1), ("00000", 2)]


def test_a_claim_that_was_taken_for_a_dead_ones_is_noticed(bucket):
    with claim.claimed(bucket) as check:
        check()
        [name] = storage.names(bucket)
        storage.remove(storage.join(bucket, name))
        with pytest.raises(UserError, match=r"answered too slowly to begin there: .*; try again$"):
            check()


# --- two machines at the same moment


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """A function that calls another one on pretended machines at once, and returns what that returned or raised."""
    monkeypatch.setattr(claim, "PAUSE_S", 0.2)
    for module in (writer, sign_of_life, folder):
        monkeypatch.setattr(module, "working_folder", lambda where: tmp_path / threading.current_thread().name)
    monkeypatch.setattr(platform, "node", lambda: threading.current_thread().name)

    def run(function, count):
        found, ready = {}, threading.Barrier(count)

        def one():
            ready.wait()
            try:
                found[threading.current_thread().name] = function()
            except UserError as error:
                found[threading.current_thread().name] = error

        threads = [threading.Thread(target=one, name=f"machine-{i}") for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    return run


def test_of_sweeps_that_start_at_once_at_a_new_place_one_writes(machines, new_writer, bucket):
    found = machines(lambda: new_writer(bucket), 4)
    [first] = [one for one in found.values() if isinstance(one, SweepWriter)]
    for error in (one for one in found.values() if one is not first):
        assert (
            "already holds a sweep" in str(error) or "is being started at" in str(error) or "is writing" in str(error)
        )
    first.finish(ended="now")
    assert not [name for name in storage.names(bucket) if name.startswith("claim-")]


def test_two_that_claim_a_place_at_once_try_again_at_different_moments(bucket, monkeypatch):
    pauses = []
    monkeypatch.setattr(claim.time, "sleep", pauses.append)
    monkeypatch.setattr(claim, "_is_only", lambda name, to: False)
    with pytest.raises(UserError, match="is being started at"), claim.claimed(bucket):
        pytest.fail("taken")
    assert len(set(pauses)) == claim.TRIES
    assert max(pauses) <= 2 * claim.PAUSE_S


def test_of_resumes_at_once_one_writes(machines, new_writer, bucket):
    new_writer(bucket).finish(ended=None)

    def resume():
        fetched(bucket)
        return new_writer(bucket, resume=True)

    found = machines(resume, 3)
    [first] = [one for one in found.values() if isinstance(one, SweepWriter)]
    first.finish(ended="now")


@pytest.mark.parametrize(("age_s", "taken"), [(1.0, True), (59.0, True), (61.0, False)])
def test_a_claim_counts_for_a_minute(bucket, monkeypatch, age_s, taken):
    times = storage.times
    monkeypatch.setattr(claim, "TRIES", 1)
    monkeypatch.setattr(claim, "PAUSE_S", 0.0)
    storage.write(storage.join(bucket, "claim-other"), b"elsewhere")
    dated = {"claim-other": 1000.0 - age_s}
    monkeypatch.setattr(storage, "times", lambda uri: dict.fromkeys(times(uri), 1000.0) | dated)
    with pytest.raises(UserError, match="is being started") if taken else nullcontext(), claim.claimed(bucket):
        assert not taken


def test_a_claim_that_cannot_be_withdrawn_ends_no_sweep(bucket, monkeypatch):
    monkeypatch.setattr(storage, "remove", mock.Mock(side_effect=OSError("no answer")))
    with claim.claimed(bucket):
        assert len(storage.names(bucket)) == 1


def test_a_claim_that_a_killed_writer_left_is_in_nobodys_way(new_writer, bucket, monkeypatch):
    storage.write(storage.join(bucket, "claim-left"), b"elsewhere")
    monkeypatch.setattr(claim, "TRIES", 1)
    with pytest.raises(UserError, match=r"another sweep is being started at s3://.*try again"):
        new_writer(bucket)
    times = storage.times
    monkeypatch.setattr(storage, "times", lambda uri: times(uri) | {"claim-left": 0.0})
    new_writer(bucket).finish(ended="now")
    assert "claim-left" not in storage.names(bucket)
