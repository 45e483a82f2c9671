"""Files in folders and in object storage (moto's S3 in memory)."""

import errno
import os
import socket
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from kept_texts import assert_kept
from outcomes import outcome, said_once

from mnist_tune import storage


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path, bucket):
    """A folder of each kind: on disk, and in S3."""
    return tmp_path if request.param == "local" else bucket


def test_written_files_are_read_back(folder):
    place = storage.join(folder, "a.txt")
    assert storage.read(place) is None
    storage.write(place, b"one")
    storage.write(place, b"two")
    assert storage.read(place) == b"two"
    storage.write(storage.join(folder, "b"), b"")
    assert sorted(storage.sizes(folder)) == ["a.txt", "b"]
    storage.remove(place)
    storage.remove(place)
    assert sorted(storage.sizes(folder)) == ["b"]


@pytest.mark.parametrize("sync", [True, False])
def test_with_sync_a_file_is_on_disk_before_it_gets_its_name(
    tmp_path, monkeypatch, sync
):
    done = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_size)
    )
    replace = os.replace

    def named(part, whole):
        done.append("named")
        replace(part, whole)

    monkeypatch.setattr(os, "replace", named)
    storage.write(tmp_path / "a", b"content", sync=sync)
    assert (
        (done[:2] == [7, "named"] and len(done) == 3) if sync else done == ["named"]
    ), "then the folder"


def test_what_a_folder_below_holds_is_none_of_a_folders_files(folder):
    below = storage.join(folder, "below")
    assert storage.sizes(below) == {}
    if isinstance(below, Path):
        below.mkdir()
    storage.write(storage.join(below, "a"), b"1")
    storage.write(storage.join(folder, "b"), b"12")
    assert storage.sizes(folder) == {"b": 2}


PLACES = (
    "results/x",
    "/results/x",
    "file:///results/x",
    "file:results",
    "~/x",
    "a\0b",
    "a" * 256,
    "a" * 9000,
    "",
    "C:\\x",
    "s3://bucket/x",
    "gs://bucket/x",
    "az://container/x",
    "s3://bucket/sweep/?region=eu-west-1&scheme=http",
    "s3://b//",
    "nfs://host/x",
    "s3://",
    "s3:///folder",
    "s3://[/x",
    "gs://key:hidden@bucket/x",
    "s3://AKIA@bucket/x",
    "s3:b/x",
    "s3://b/x?secret_key=hidden",
    "gs://b/x?access_token=hidden",
    "az://b/x?PASSWORD=hidden",
    "s3://b/x?signature=hidden",
    "s3://b/x?X-Credential=hidden",
    "s3://b/x?region=key",
    "s3://b/x?endpoint_override=http://key:hidden@host",
    "file://results/x",
    "file:///a%20b",
    "s3://b/run#1",
)
NAMES = ("a", "1/b", "..x", "...", "a b", "é")
NO_NAMES = (
    "..",
    "../x",
    "a/../../x",
    "/x",
    "",
    "a/",
    ".",
    "a//b",
    "a\\b",
    "a\0b",
    "a\nb",
)


@pytest.mark.promise("A URI with keys in it is refused, and not shown")
@pytest.mark.promise(
    "No name leads out of the sweep's folder, and no export writes outside its own"
)
def test_places_and_names_are_taken_or_refused(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    lines = [
        f"{where!r:.50}: {outcome(lambda: repr(storage.place(where)))}"  # noqa: B023
        for where in (*PLACES, Path("~/x"))
    ]
    assert "hidden" not in "".join(line.partition(": ")[2] for line in lines)
    for where in (Path("folder"), "s3://bucket/folder?region=x", "gs://bucket"):
        lines.append(f"in {where}: {outcome(storage.join, where, *NAMES)}")
        for name in NO_NAMES:
            refusal = outcome(storage.join, where, "states", name)
            assert refusal.endswith(f"is no name of a file below {where}; rename it")
    too_long = "a" * 99 + "\n"
    lines.append(f"too long: {outcome(storage.join, Path('folder'), too_long)}")
    full = OSError(errno.ENOSPC, "full", "a file")
    errors = OSError(), OSError("one\ntwo"), full, PermissionError("no"), OSError(1, "")
    lines += [f"{error!r}: {storage.reason(error)}" for error in errors]
    variables = (
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)"
    )
    keys = f"there are keys in this URI, which is written to files; set them in the environment of every node instead {variables}"
    text = said_once("\n".join(lines), keys)
    # as Python 3.13 says it
    text = text.replace("stat: embedded null character in path", "embedded null byte")
    assert_kept("places", text + "\n")


def test_an_endpoint_may_be_written_as_other_tools_write_it(bucket):
    where = bucket.replace("&scheme=http", "").replace(
        "endpoint_override=", "endpoint_override=http://"
    )
    storage.write(storage.join(storage.place(where), "a"), b"there")
    assert storage.read(storage.join(bucket, "a")) == b"there"


@pytest.mark.promise("Links, pipes and devices are not read")
@pytest.mark.parametrize(
    "kind", ["pipe", "device", "link", "large", "folder", "socket"]
)
def test_what_is_no_file_of_the_folder_is_not_read(tmp_path, kind):
    """To read a pipe or a device may never end."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "it"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "other").write_bytes(b"1")
        path.symlink_to(tmp_path / "other")
    elif kind == "large":
        path.touch()
        os.truncate(path, 2**40)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(path))
    elif kind == "folder":
        path.mkdir()
    refused = (
        "pipe or a device|is a link|at most 4294967296|Is a directory|No such device"
    )
    for call in (storage.read, storage.open_file):
        with pytest.raises(OSError, match=refused):
            call(path)
    if kind == "link":
        with storage.open_file(path, links=True) as file:
            assert file.read() == b"1"
    if kind == "pipe":
        with pytest.raises(OSError, match="a pipe or a device"):
            storage.write(path, b"1")
        with pytest.raises(OSError, match=r"busy|exists|directory"):
            storage.write(Path(), b"1")
        with pytest.raises(OSError, match=r"Illegal seek|No such device|not seekable"):
            storage.open_to_append(path)


@pytest.mark.promise("Saving a state is tried again if the storage fails")
@pytest.mark.parametrize("call", ["write", "read"])
def test_requests_are_retried_until_the_storage_answers(
    bucket, silent_s3, tmp_path, call
):
    # both servers have these files
    place = silent_s3.uri("mnist-tune", f"{tmp_path.name}/late")
    storage.write(storage.join(bucket, "late"), b"1")
    threading.Timer(1.0, silent_s3.start).start()
    if call == "write":
        storage.write(place, b"2", patience_s=60)
        assert storage.read(place) == b"2"
    else:
        assert storage.read(place, patience_s=60) == b"1"


def test_what_patience_does_not_mend_is_not_waited_for(bucket, s3):
    start = time.monotonic()
    assert storage.read(storage.join(bucket, "nothing"), patience_s=60) is None
    with pytest.raises(OSError, match="NoSuchBucket"):
        storage.write(s3.uri("nobody-has-it", "x"), b"1", patience_s=60)
    assert time.monotonic() - start < 30


def test_written_files_may_be_read_by_whom_the_user_lets(tmp_path):
    before = os.umask(0o022)
    storage.write(tmp_path / "a", b"1")
    os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    outside = tmp_path / "outside"
    link = tmp_path / "link"
    outside.write_bytes(b"ours")
    link.symlink_to(outside)
    with pytest.raises(OSError, match="it is a link") as error:
        storage.write(link, b"new")
    assert storage.reason(error.value).startswith("it is a link")
    with pytest.raises(OSError, match="it is a link"):
        storage.open_to_append(link)
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


@pytest.mark.parametrize(
    ("error", "at"),
    [(KeyboardInterrupt, "replace"), (OSError, "replace"), (OSError, "fsync")],
)
def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, error, at
):
    storage.write(tmp_path / "file", b"old")
    monkeypatch.setattr(os, at, Mock(side_effect=error))
    with pytest.raises(error):
        storage.write(tmp_path / "file", b"new", sync=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "file": b"old"
    }
