"""Data of one's own: files, folders and arrays, and what is said of those that are
wrong."""

import gzip
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from idx_files import idx
from own_networks import patterns

from mnist_tune import Network, TrialConfig, UserError
from mnist_tune.data.dataset import DATASETS, load_dataset
from mnist_tune.data.own import NAMES, order_note
from mnist_tune.trained import Trained

X, Y, X_TEST, Y_TEST = patterns((4, 3), 3, count=60)
GOOD = dict(zip(NAMES, (X, Y, X_TEST, Y_TEST), strict=True))


def test_a_text_may_use_a_part_of_its_vocabulary():
    x = np.random.default_rng(0).choice([5, 70_000, 400_000], (40, 6))
    x_test = np.where(x[:10] == 5, 400_007, x[:10])
    spec = load_dataset(
        (x, np.roll(x, -1, axis=1), x_test, np.roll(x_test, -1, axis=1))
    ).spec
    assert (spec.classes, spec.positions, spec.divisor, spec.tokens) == (
        400_008,
        6,
        1.0,
        400_008,
    )
    assert np.flatnonzero(spec.label_counts).tolist() == [5, 70_000, 400_000]
    assert spec.train_images == 40
    trained = Trained(
        TrialConfig(),
        {},
        Network(None, lambda _, x: jnp.eye(4)[x // 1_000 % 4]),
        {},
        (),
        spec,
    )
    assert (trained.predict(x_test) == x_test // 1_000 % 4).all()
    with pytest.raises(
        UserError,
        match="400008, it was trained on whole numbers from 0 to 400007; give x as it is",
    ):
        trained.predict(np.where(x == 5, 400_008, x))


def test_a_file_as_keras_keeps_mnist(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", **GOOD)
    dataset = load_dataset(str(tmp_path / "mine.npz"))
    assert (dataset.name, dataset.note) == ("mine.npz", "")
    for found, expected in ((dataset.train_images, X), (dataset.test_labels, Y_TEST)):
        np.testing.assert_array_equal(found, expected)
    assert (dataset.spec.shape, dataset.spec.classes, dataset.spec.divisor) == (
        (4, 3),
        3,
        1.0,
    )
    assert dataset.target is None
    assert dataset.checksums.keys() == set(NAMES)
    assert dataset.checksums == load_dataset((X, Y, X_TEST, Y_TEST)).checksums
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("~/mine.npz").checksums == dataset.checksums
    assert dataset.checksums != load_dataset((X + 1, Y, X_TEST, Y_TEST)).checksums


@pytest.mark.promise(
    "Without a test part, the same sixth of the images becomes it, and a line says so"
)
def test_without_a_test_part_a_sixth_becomes_it_and_is_said():
    order = np.argsort(Y)  # sorted by class: the last sixth would be of one class
    dataset = load_dataset((X[order], Y[order]))
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (42, 8)
    assert len(set(dataset.test_labels.tolist())) > 1
    parts = [
        image.tobytes()
        for part in (dataset.train_images, dataset.test_images)
        for image in part
    ]
    assert sorted(parts) == sorted(image.tobytes() for image in X[order])
    np.testing.assert_array_equal(
        load_dataset((X[order], Y[order])).test_images, dataset.test_images
    )
    assert (
        "has no test part, so 8 of its images, drawn at random, are held out as the test set"
        in dataset.note
    )


def test_examples_in_order_of_class_are_said_to_be_and_shuffled_ones_are_not(caplog):
    """Also where classes follow each other in another order. The test part of such data
    may be in order."""
    tail = "so those that --holdout and --train-images leave out are of other classes than the rest: shuffle them"
    for order in (
        np.argsort(Y, kind="stable"),
        np.argsort(-Y, kind="stable"),
        np.argsort((Y + 1) % 3, kind="stable"),
    ):
        dataset = load_dataset((X[order], Y[order], X_TEST, Y_TEST), train_images=20)
        assert (
            dataset.note
            == f"arrays: its training examples are in order of class, {tail}"
        )
        assert caplog.messages.pop() == dataset.note
    order = np.argsort(Y_TEST)
    assert load_dataset((X, Y, X_TEST[order], Y_TEST[order])).note == ""
    large = load_dataset((100 * X[np.argsort(Y)], np.sort(Y), X_TEST, Y_TEST)).note
    assert large.count("arrays: ") == 2, "its scale is told, too"


def test_a_tenth_of_the_examples_that_lacks_a_common_class_is_noted():
    labels = np.random.RandomState(0).randint(0, 4, 4000)
    assert order_note(labels) == ""
    for where, part in (("first", slice(400)), ("last", slice(3600, None))):
        sorted_there = labels.copy()
        sorted_there[part] %= 3
        said = f"the {where} tenth of its training examples has none of class 3, so"
        assert order_note(sorted_there).startswith(said)
    rare = np.where(np.arange(4000) % 25 == 0, 3, labels % 3)
    rare[3600:] %= 3
    assert order_note(rare) == "", "a class of one in 25"
    assert order_note(np.array([0, 1, 2, 0] * 4 + [1, 2])) == "", (
        "few examples lack one by chance"
    )


EMNIST = {
    "train-images": X,
    "train-labels": Y,
    "test-images": X_TEST,
    "test-labels": Y_TEST,
}


def write_idx(folder, prefix="", test="t10k", zipped=True):
    for name, array in EMNIST.items():
        content = idx(np.uint8(255 * array if "images" in name else array))
        rank = 3 if "images" in name else 1
        file = (
            folder
            / f"{prefix}{name.replace('test', test)}-idx{rank}-ubyte{'.gz' * zipped}"
        )
        file.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.promise("Your data are never taken for a built-in set")
@pytest.mark.parametrize("name", [*DATASETS, "arrays"])
@pytest.mark.parametrize("kind", ["file.npz", "a file", "a folder", "a prefix"])
def test_data_of_ones_own_are_never_a_built_in_set_whatever_they_are_called(
    tmp_path, monkeypatch, name, kind
):
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
