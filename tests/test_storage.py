"""Files in folders and in object storage (moto's S3 in memory)."""

import _thread
import errno
import itertools
import os
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from pyarrow.fs import FileSystem

from mnist_tune import UserError, object_storage, storage

SCHEMES = ["local", "s3", "renaming"]


@pytest.fixture(params=SCHEMES)
def folder(request, tmp_path, bucket, monkeypatch):
    """A folder of each kind: on disk, in S3, and in a filesystem that needs a rename to replace files atomically."""
    if request.param == "local":
        return tmp_path
    if request.param == "renaming":
        filesystem = FileSystem.from_uri("mock://")[0]
        monkeypatch.setattr(object_storage, "_filesystem", lambda uri: (filesystem, "root"))
        return "hdfs://host/folder"
    return bucket


def test_written_files_are_read_back(folder):
    place = storage.join(folder, "a.txt")
    assert storage.read(place) is None
    storage.write(place, b"one")
    storage.write(place, b"two")
    assert storage.read(place) == b"two"
    storage.write(storage.join(folder, "b"), b"")
    assert list(storage.names(folder)) == ["a.txt", "b"]
    assert storage.sizes(folder) == {"a.txt": 3, "b": 0}
    storage.remove(place)
    storage.remove(place)
    assert list(storage.names(folder)) == ["b"]


@pytest.mark.parametrize("sync", [True, False])
def test_with_sync_a_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch, sync):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_size))
    replace = os.replace

    def named(part, whole):
        done.append("named")
        replace(part, whole)

    monkeypatch.setattr(os, "replace", named)
    storage.write(tmp_path / "a", b"content", sync=sync)
    assert done == [7, "named"] if sync else done == ["named"]


def test_what_could_not_be_written_leaves_the_former_file_and_no_other(tmp_path, monkeypatch):
    storage.write(tmp_path / "a", b"former")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        storage.write(tmp_path / "a", b"new", sync=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"former"}


def test_where_files_are_not_whole_at_once_they_are_renamed_when_they_are(monkeypatch):
    filesystem = Mock(wraps=FileSystem.from_uri("mock://")[0], type_name="hdfs")
    monkeypatch.setattr(object_storage, "_filesystem", lambda uri: (filesystem, "root"))
    storage.write("hdfs://host/folder/a", b"1")
    filesystem.open_output_stream.assert_called_once_with("root/folder/a.part")
    filesystem.move.assert_called_once_with("root/folder/a.part", "root/folder/a")


def test_remove_folder_deletes_all_files_in_it(folder):
    below = storage.join(folder, "below")
    storage.remove_folder(below)
    if isinstance(below, Path):
        below.mkdir()
    storage.write(storage.join(below, "a"), b"1")
    storage.write(storage.join(folder, "b"), b"1")
    assert list(storage.names(folder)) == ["b"]  # folders are no files
    assert isinstance(folder, Path) or list(storage.times(folder)) == ["b"]
    storage.remove_folder(below)
    assert list(storage.names(below)) == []
    assert list(storage.names(folder)) == ["b"]


def test_a_missing_folder_has_no_files(folder):
    assert list(storage.names(storage.join(folder, "nothing"))) == []


def test_join_keeps_the_query_at_the_end():
    place = storage.place("s3://bucket/sweep/?region=eu-west-1&scheme=http")
    assert storage.join(place, "states", "0.npz") == "s3://bucket/sweep/states/0.npz?region=eu-west-1&scheme=http"


def test_a_user_without_a_password_may_be_named_but_for_s3():
    assert storage.place("gs://anonymous@bucket/x") == "gs://anonymous@bucket/x"
    with pytest.raises(UserError, match="there are keys in this URI"):
        storage.place("s3://AKIA@bucket/x")


def test_a_home_folder_that_no_shell_has_expanded_is_no_folder_called_so(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert storage.place("~/x") == Path("/home/anna/x")
    assert storage.place(Path("~/x")) == Path("/home/anna/x")


@pytest.mark.parametrize("where", ["results/x", "/results/x", "file:///results/x"])
def test_a_folder_becomes_a_path(where):
    assert storage.place(where) == Path(where.removeprefix("file://"))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nfs://host/x", "nfs://host/x: results go to a folder or to one of s3://, gs://"),
        ("s3://", "names no bucket"),
        ("s3:///folder", "names no bucket"),
        ("s3://key:hidden@bucket/x", "s3://bucket/x: there are keys in this URI"),
        ("gs://key:hidden@bucket/x", "gs://bucket/x: there are keys in this URI"),
        ("s3://bucket/x?secret_key=hidden", "AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket/x?access_token=hidden", "there are keys"),
    ],
)
def test_an_invalid_place_is_refused_without_showing_secrets(uri, said):
    with pytest.raises(UserError) as error:
        storage.place(uri)
    assert said in str(error.value)
    assert "hidden" not in str(error.value)


def test_an_option_that_pyarrow_does_not_know_is_named():
    with pytest.raises(UserError, match="Unexpected query parameter in S3 URI: 'colour'"):
        storage.read("s3://bucket/x?region=us-east-1&colour=red")


def test_the_error_for_a_missing_bucket_is_short(s3):
    with pytest.raises(OSError, match="bucket") as error:
        storage.write(s3.uri("no-such-bucket", "x"), b"1")
    assert storage.reason(error.value).startswith("NO_SUCH_BUCKET")
    assert "\n" not in storage.reason(error.value)
    assert storage.reason(OSError()) == "OSError"
    assert storage.reason(OSError("one\ntwo")) == "one"
    assert storage.reason(OSError(errno.ENOSPC, "full", "a file")) == "full"


def test_requests_are_retried_until_the_storage_answers(silent_s3):
    place = silent_s3.uri("mnist-tune", "late")
    threading.Timer(1.0, silent_s3.start).start()
    storage.write(place, b"1", patience_s=60)
    assert storage.read(place) == b"1"


def test_storage_is_waited_for_in_reading_too(bucket, monkeypatch):
    place, open_file = storage.join(bucket, "a.txt"), object_storage.open_file
    storage.write(place, b"1")
    refused = iter([OSError("AWS Error SLOW_DOWN during GetObject operation: later")])

    def refused_once(where):
        for error in refused:
            raise error
        return open_file(where)

    monkeypatch.setattr(object_storage, "open_file", refused_once)
    assert storage.read(place, patience_s=60) == b"1"


@pytest.fixture
def after_opening(monkeypatch):
    """A function that has a function called after each of the next openings of a file, with their number."""
    open_file = object_storage.open_file

    def call(change):
        numbers = itertools.count(1)

        def opened(where):
            file = open_file(where)
            change(next(numbers))
            return file

        monkeypatch.setattr(object_storage, "open_file", opened)

    return call


@pytest.mark.parametrize("replaced", [1, object_storage.READS - 1, object_storage.READS])
def test_a_file_that_is_replaced_while_it_is_read_is_read_whole_or_not_at_all(bucket, after_opening, replaced):
    """Also if it has another size only for a moment: what is read is cut to the size that was asked for."""
    place = storage.join(bucket, "a.txt")
    storage.write(place, b"old")

    def replace(number):
        read = (number + 1) // 2  # a file is opened twice: to be read, and to see whether it is the same
        if read <= replaced:
            storage.write(place, b"longer" if number % 2 else f"{read:03d}".encode())

    after_opening(replace)
    if replaced == object_storage.READS:
        with pytest.raises(OSError, match="was replaced 10 times while it was read"):
            storage.read(place)
    else:
        assert storage.read(place) == f"{replaced:03d}".encode()


@pytest.mark.parametrize("at", [1, 2])
def test_a_file_that_is_removed_while_it_is_read_is_missing_or_read(bucket, after_opening, at):
    place = storage.join(bucket, "a.txt")
    storage.write(place, b"1")
    after_opening(lambda number: storage.remove(place) if number == at else None)
    assert storage.read(place) == (None if at == 1 else b"1")


@pytest.mark.parametrize(
    "error",
    [
        OSError("AWS Error ACCESS_DENIED during PutObject operation: no"),
        OSError("Couldn't find your credentials"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("a mistake of ours"),
    ],
)
def test_permanent_errors_are_not_retried(monkeypatch, error):
    tries = []

    def refuse(*arguments):
        tries.append(arguments)
        raise error

    monkeypatch.setattr(object_storage, "write", refuse)
    with pytest.raises(type(error), match=str(error.args[-1])):
        storage.write("s3://bucket/x", b"1", patience_s=2)
    assert len(tries) == 1


def test_a_missing_file_is_not_retried(folder, monkeypatch):
    module, tries = storage if isinstance(folder, Path) else object_storage, []
    open_file = module.open_file

    def counted(where):
        tries.append(where)
        return open_file(where)

    monkeypatch.setattr(module, "open_file", counted)
    assert storage.read(storage.join(folder, "nothing"), patience_s=2) is None
    assert len(tries) == 1


@pytest.mark.parametrize("where", ["s3://bucket/x", "gs://bucket/x", "gcs://bucket/x", "abfs://container@account/x"])
def test_a_uri_stays_one_and_no_path_is_taken_for_one(where):
    assert storage.place(where) == where
    assert [storage.is_uri(one) for one in (where, "mnist-5k", Path("s3://bucket"))] == [True, False, False]


def test_requests_are_tried_again_after_a_few_seconds_at_most(monkeypatch):
    slept, refused = [], OSError("AWS Error SLOW_DOWN during PutObject operation: later")
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    monkeypatch.setattr(object_storage, "write", Mock(side_effect=[refused] * 9 + [None]))
    storage.write("s3://bucket/x", b"1", patience_s=60)
    assert len(slept) == 9
    assert max(slept) == 8


def test_names_are_sorted_and_written_files_may_be_read_by_whom_the_user_lets(tmp_path):
    before = os.umask(0o022)
    try:
        for name in "cab":
            storage.write(tmp_path / name, b"1")
    finally:
        os.umask(before)
    assert list(storage.names(tmp_path)) == ["a", "b", "c"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    outside, link = tmp_path / "outside", tmp_path / "link"
    outside.write_bytes(b"ours")
    link.symlink_to(outside)
    with pytest.raises(OSError, match="it is a link") as error:
        storage.write(link, b"new")
    assert storage.reason(error.value).startswith("it is a link")
    with pytest.raises(OSError, match="it is a link"):
        storage.open_to_append(link)
    with pytest.raises(OSError, match="it is a link"):
        storage.no_link(link, os.O_RDWR)
    assert outside.read_bytes() == b"ours"


def test_an_unfinished_file_has_a_name_that_nobody_can_guess(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(os, "replace", lambda part, whole: names.append(part))
    for _ in range(2):
        storage.write(tmp_path / "a", b"content")
    first, second = names
    assert first != second
    (tmp_path / ".hidden.part").write_bytes(b"the user's")
    storage.remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden.part"]


def test_an_unfinished_file_is_never_one_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.secrets, "token_hex", lambda count: "guessed")
    (tmp_path / ".a.guessed.part").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="it is a link"):
        storage.write(tmp_path / "a", b"content")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    storage.write(tmp_path / "file", b"old")

    def fail(*names):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(error):
        storage.write(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


@pytest.mark.parametrize("folder", ["s3", "renaming"], indirect=True)
def test_ctrl_c_during_an_upload_leaves_a_whole_file(folder, monkeypatch):
    """An upload that is interrupted would make what was sent so far the file: an empty sweep.json."""
    place, opened = storage.join(folder, "a.txt"), object_storage.filesystem_of

    class Interrupting:
        """A filesystem in which Ctrl-C comes between opening a file and writing it."""

        def __init__(self, filesystem):
            self._filesystem = filesystem

        def __getattr__(self, name):
            return getattr(self._filesystem, name)

        def open_output_stream(self, path):
            stream = self._filesystem.open_output_stream(path)
            time.sleep(0.2)  # until the main thread waits
            _thread.interrupt_main()
            time.sleep(0.2)
            return stream

    def interrupting(uri):
        filesystem, path = opened(uri)
        return Interrupting(filesystem), path

    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "filesystem_of", interrupting)
        with pytest.raises(KeyboardInterrupt):
            storage.write(place, b"whole")
    assert storage.read(place) == b"whole"
