"""Data of one's own: files, folders and arrays, and what is said of those that are wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx
from own_networks import patterns

from mnist_tune.data.dataset import DATASETS, load_dataset
from mnist_tune.data.own import NAMES, checked

X, Y, X_TEST, Y_TEST = patterns((4, 3), 3, count=60)
GOOD = dict(zip(NAMES, (X, Y, X_TEST, Y_TEST), strict=True))


def test_a_file_as_keras_keeps_mnist(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", **GOOD)
    dataset = load_dataset(str(tmp_path / "mine.npz"))
    assert (dataset.name, dataset.note) == ("mine.npz", "")
    for found, expected in ((dataset.train_images, X), (dataset.test_labels, Y_TEST)):
        np.testing.assert_array_equal(found, expected)
    assert (dataset.spec.shape, dataset.spec.classes, dataset.spec.divisor) == ((4, 3), 3, 1.0)
    assert dataset.target is None
    assert dataset.checksums.keys() == set(NAMES)
    assert dataset.checksums == load_dataset((X, Y, X_TEST, Y_TEST)).checksums
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("~/mine.npz").checksums == dataset.checksums
    assert dataset.checksums != load_dataset((X + 1, Y, X_TEST, Y_TEST)).checksums


@pytest.mark.parametrize(("shape", "count"), [((4, 3), 1), ((4, 3, 2), 2), ((5,), 5)])
def test_standardising_is_by_channel_or_feature(shape, count):
    x, y, x_test, y_test = patterns(shape, 3, count=60)
    dataset = load_dataset((x, y, x_test, y_test), standardize=True)
    axes = tuple(range(x.ndim)) if count == 1 else tuple(range(x.ndim - 1))
    np.testing.assert_allclose(dataset.spec.mean, np.atleast_1d(x.mean(axes)), rtol=1e-5)
    np.testing.assert_allclose(dataset.spec.deviation, np.atleast_1d(x.std(axes)), rtol=1e-5)
    assert len(dataset.spec.mean) == count
    assert load_dataset((x, y, x_test, y_test)).spec.mean == ()


def test_without_a_test_part_a_sixth_becomes_it_and_is_said():
    order = np.argsort(Y)  # sorted by class: the last sixth would be of one class
    dataset = load_dataset((X[order], Y[order]))
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (42, 8)
    assert len(set(dataset.test_labels.tolist())) > 1
    parts = [image.tobytes() for part in (dataset.train_images, dataset.test_images) for image in part]
    assert sorted(parts) == sorted(image.tobytes() for image in X[order])
    assert "has no test part, so 8 of its images, drawn at random, are held out as the test set" in dataset.note


EMNIST = {"train-images": X, "train-labels": Y, "test-images": X_TEST, "test-labels": Y_TEST}


def write_idx(folder, prefix="", test="t10k", zipped=True):
    for name, array in EMNIST.items():
        content = idx(np.uint8(255 * array if "images" in name else array))
        rank = 3 if "images" in name else 1
        file = folder / f"{prefix}{name.replace('test', test)}-idx{rank}-ubyte{'.gz' * zipped}"
        file.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize(("prefix", "test", "zipped"), [("", "t10k", True), ("emnist-balanced-", "test", False)])
def test_a_folder_of_idx_files(tmp_path, prefix, test, zipped):
    folder = tmp_path / "letters"
    folder.mkdir()
    write_idx(folder, prefix, test, zipped)
    (folder / "readme.txt").write_text("by hand")
    dataset = load_dataset(str(folder))
    assert (dataset.name, dataset.spec.shape, dataset.spec.classes) == (f"{tmp_path.name}/letters", (4, 3), 3)
    np.testing.assert_array_equal(dataset.train_images, np.uint8(255 * X))
    np.testing.assert_array_equal(dataset.test_labels, Y_TEST)


@pytest.mark.parametrize("name", [*DATASETS, "arrays"])
@pytest.mark.parametrize("kind", ["file.npz", "a file", "a folder", "a prefix"])
def test_data_of_ones_own_are_never_a_built_in_set_whatever_they_are_called(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    if kind in ("file.npz", "a file"):
        np.savez(tmp_path / f"{name}.npz", **GOOD)
        given = Path(f"{name}.npz")
        if kind == "a file":
            given = given.rename(name)
    else:
        folder = tmp_path / (name if kind == "a folder" else "all")
        folder.mkdir()
        write_idx(folder, "" if kind == "a folder" else f"{name}-")
        given = Path(name) if kind == "a folder" else Path("all") / name
    dataset = load_dataset(given)
    assert dataset.name not in (*DATASETS, "arrays")
    assert name in dataset.name
    assert dataset.target is None
    assert load_dataset(dataset.source).checksums == dataset.checksums


TOKENS = np.arange(200).reshape(50, 4) % 7


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_rows_of_whole_numbers_may_have_a_label_for_each(kind):
    x = TOKENS.astype(kind)
    found = load_dataset((x, TOKENS[:, ::-1], x[:5], TOKENS[:5]))
    assert (found.spec.positions, found.spec.classes, found.spec.train_images) == (4, 7, 50)
    assert found.spec.divisor == 1
    assert found.note == ""
    assert load_dataset((1000 * x.astype(np.int32), TOKENS)).note.startswith("the given arrays has no test part")
    np.testing.assert_array_equal(found.train_labels, TOKENS[:, ::-1])


def test_types_that_differ_in_nothing_that_matters_are_taken():
    images, labels = np.eye(4) * 255, np.arange(4) % 2
    whole = (np.int64, np.uint8), (np.int32, np.int64), (np.uint8, np.uint16), (np.int16, np.uint8)
    for train, test in (*whole, (np.float64, np.float16)):
        found = checked(
            {"x_train": images.astype(train), "y_train": labels, "x_test": images.astype(test), "y_test": labels}, "it"
        )
        assert found["x_train"].dtype == found["x_test"].dtype
