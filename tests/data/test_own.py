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


@pytest.fixture
def text():
    """Tokens of a large vocabulary, of which training uses three."""
    x = np.random.default_rng(0).choice([5, 70_000, 400_000], (40, 6))
    x_test = np.where(x[:10] == 5, 400_007, x[:10])
    y, y_test = np.roll(x, -1, axis=1), np.roll(x_test, -1, axis=1)
    return x, y, x_test, y_test


def test_a_text_may_use_a_part_of_its_vocabulary(text):
    spec = load_dataset(text).spec
    assert spec.classes == 400_008
    assert spec.positions == 6
    assert spec.divisor == 1.0
    assert spec.tokens == 400_008
    assert np.flatnonzero(spec.label_counts).tolist() == [5, 70_000, 400_000]
    assert spec.train_images == 40


def thousands(_, x):
    """Logits of four classes, by the thousands of a token."""
    return jnp.eye(4)[x // 1_000 % 4]


def test_tokens_of_the_test_part_are_predicted_and_others_refused(text):
    x, _, x_test, _ = text
    spec = load_dataset(text).spec
    trained = Trained(TrialConfig(), {}, Network(None, thousands), {}, (), spec)
    assert (trained.predict(x_test) == x_test // 1_000 % 4).all()
    beyond = np.where(x == 5, 400_008, x)
    with pytest.raises(
        UserError,
        match="400008, it was trained on whole numbers from 0 to 400007; give x as it is",
    ):
        trained.predict(beyond)


def test_a_file_as_keras_keeps_mnist(tmp_path, monkeypatch):
    file = tmp_path / "mine.npz"
    np.savez(file, **GOOD)
    dataset = load_dataset(str(file))
    assert dataset.name == "mine.npz"
    assert dataset.note == ""
    np.testing.assert_array_equal(dataset.train_images, X)
    np.testing.assert_array_equal(dataset.test_labels, Y_TEST)
    assert dataset.spec.shape == (4, 3)
    assert dataset.spec.classes == 3
    assert dataset.spec.divisor == 1.0
    assert dataset.target is None
    assert dataset.checksums.keys() == set(NAMES)
    assert dataset.checksums == load_dataset((X, Y, X_TEST, Y_TEST)).checksums
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("~/mine.npz").checksums == dataset.checksums
    assert dataset.checksums != load_dataset((X + 1, Y, X_TEST, Y_TEST)).checksums


def image_bytes(*parts):
    """The bytes of each image, sorted."""
    return sorted(image.tobytes() for part in parts for image in part)


@pytest.mark.promise(
    "Without a test part, the same sixth of the images becomes it, and a line says so"
)
def test_without_a_test_part_a_sixth_becomes_it_and_is_said():
    order = np.argsort(Y)  # sorted by class: the last sixth would be of one class
    images, labels = X[order], Y[order]
    dataset = load_dataset((images, labels))
    assert len(dataset.train_labels) == 42
    assert len(dataset.test_labels) == 8
    assert len(set(dataset.test_labels.tolist())) > 1
    parts = image_bytes(dataset.train_images, dataset.test_images)
    assert parts == image_bytes(images)
    again = load_dataset((images, labels))
    np.testing.assert_array_equal(again.test_images, dataset.test_images)
    assert (
        "has no test part, so 8 of its images, drawn at random, are held out as the test set"
        in dataset.note
    )


IN_ORDER = "arrays: its training examples are in order of class, so those that --holdout and --train-images leave out are of other classes than the rest: shuffle them"


@pytest.mark.parametrize("key", [Y, -Y, (Y + 1) % 3])
def test_examples_in_order_of_class_are_said_to_be(caplog, key):
    """Also where classes follow each other in another order."""
    order = np.argsort(key, kind="stable")
    dataset = load_dataset((X[order], Y[order], X_TEST, Y_TEST), train_images=20)
    assert dataset.note == IN_ORDER
    assert caplog.messages.pop() == dataset.note


def test_a_test_part_may_be_in_order_of_class():
    order = np.argsort(Y_TEST)
    dataset = load_dataset((X, Y, X_TEST[order], Y_TEST[order]))
    assert dataset.note == ""


def test_of_examples_in_order_of_class_the_scale_is_told_too():
    order = np.argsort(Y)
    dataset = load_dataset((100 * X[order], Y[order], X_TEST, Y_TEST))
    assert dataset.note.count("arrays: ") == 2


FOUR_CLASSES = np.random.RandomState(0).randint(0, 4, 4000)


@pytest.mark.parametrize(
    ("where", "part"), [("first", slice(400)), ("last", slice(3600, None))]
)
def test_a_tenth_of_the_examples_that_lacks_a_common_class_is_noted(where, part):
    assert order_note(FOUR_CLASSES) == ""
    labels = FOUR_CLASSES.copy()
    labels[part] %= 3
    note = f"the {where} tenth of its training examples has none of class 3, so"
    assert order_note(labels).startswith(note)


def test_a_tenth_may_lack_a_rare_class_or_be_small():
    rare = np.where(np.arange(4000) % 25 == 0, 3, FOUR_CLASSES % 3)
    rare[3600:] %= 3
    assert order_note(rare) == "", "a class of one in 25"
    few = np.array([0, 1, 2, 0] * 4 + [1, 2])
    assert order_note(few) == "", "few examples lack one by chance"


EMNIST = {
    "train-images-idx3": np.uint8(255 * X),
    "train-labels-idx1": np.uint8(Y),
    "t10k-images-idx3": np.uint8(255 * X_TEST),
    "t10k-labels-idx1": np.uint8(Y_TEST),
}


def write_idx(folder, prefix=""):
    folder.mkdir()
    for name, array in EMNIST.items():
        file = folder / f"{prefix}{name}-ubyte.gz"
        file.write_bytes(gzip.compress(idx(array)))


def as_npz_file(name):
    np.savez(f"{name}.npz", **GOOD)
    return Path(f"{name}.npz")


def as_file(name):
    return as_npz_file(name).rename(name)


def as_folder(name):
    write_idx(Path(name))
    return Path(name)


def as_prefix(name):
    write_idx(Path("all"), f"{name}-")
    return Path("all") / name


@pytest.mark.promise("Your data are never taken for a built-in set")
@pytest.mark.parametrize("name", [*DATASETS, "arrays"])
@pytest.mark.parametrize("saved", [as_npz_file, as_file, as_folder, as_prefix])
def test_data_of_ones_own_are_never_a_built_in_set_whatever_they_are_called(
    tmp_path, monkeypatch, name, saved
):
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset(saved(name))
    assert dataset.name not in (*DATASETS, "arrays")
    assert name in dataset.name
    assert dataset.target is None
    assert load_dataset(dataset.source).checksums == dataset.checksums
