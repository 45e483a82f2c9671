"""Data of one's own: files, folders and arrays, and what is said of those that are wrong."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx, small_mnist, write
from own_networks import patterns

from mnist_tune import UserError
from mnist_tune.data.dataset import DATASETS, load_dataset
from mnist_tune.data.files import CHECKSUMS, checksum
from mnist_tune.data.idx import DataError
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


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float16, np.float64])
def test_whole_numbers_up_to_255_are_pixels_whatever_their_type(kind):
    pixels = np.arange(600).reshape(50, 12) % 256
    dataset = load_dataset((pixels.astype(kind), Y, pixels[:5].astype(kind), Y[:5]))
    np.testing.assert_array_equal(dataset.train_images, np.uint8(pixels), strict=True)
    np.testing.assert_array_equal(dataset.test_images, np.uint8(pixels[:5]), strict=True)
    assert (dataset.spec.divisor, dataset.note) == (255, "")


SCALES = {
    "16 bits": (np.full((50, 2), 300, np.int16), np.uint16, 65535, "go beyond 255, so they are divided by 65535"),
    "more": (np.full((50, 2), 70_000), np.float32, 1, r"its values, 7e\+04 to 7e\+04, are trained as they are"),
    "floats that are not whole": (np.full((50, 2), 127.5), np.float32, 1, "its values, 127.5 to 127.5, are trained"),
    "floats below 0": (np.full((50, 2), -200.0), np.float32, 1, "its values, -200 to -200, are trained as they are"),
    "few whole numbers": (
        np.arange(600).reshape(50, 12) % 16,
        np.uint8,
        255,
        "its whole numbers, 0 to 15, are",
    ),
    "some floats are large": (400 * np.eye(50), np.float32, 1, "its values, 0 to 400, are trained as they are"),
    "small whole floats": (np.full((50, 2), 7.0), np.float32, 1, "^$"),
    "0 and 1": (np.eye(50), np.float32, 1, "^$"),
    "scaled": (X, np.float32, 1, "^$"),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_that_may_not_be_meant_is_said(name, caplog):
    images, kind, divisor, said = SCALES[name]
    arrays = images, Y, images[:5], Y[:5]
    dataset = load_dataset(arrays)
    assert (dataset.train_images.dtype, dataset.spec.divisor) == (kind, divisor)
    assert re.search(said, dataset.note)
    assert [record.getMessage() for record in caplog.records] == [dataset.note] * (dataset.note != "")
    assert load_dataset(arrays, standardize=True).note == ""


def test_images_of_true_and_false_are_floats_and_labels_may_be_any_kind_of_whole_numbers():
    dataset = load_dataset((X > 0.5, Y.astype(float), X_TEST > 0.5, Y_TEST.astype(np.uint8)))
    np.testing.assert_array_equal(dataset.train_images, np.float32(X > 0.5), strict=True)
    np.testing.assert_array_equal(dataset.train_labels, np.int32(Y), strict=True)
    np.testing.assert_array_equal(dataset.test_labels, np.int32(Y_TEST), strict=True)
    assert dataset.spec.divisor == 1
    np.testing.assert_array_equal(load_dataset((X, Y > 0, X_TEST, Y_TEST > 0)).train_labels, np.int32(Y > 0))


def test_both_parts_are_divided_by_the_same():
    spec = load_dataset((np.full((30, 2), 100), Y[:30], np.full((5, 2), 300), Y[:5])).spec
    assert spec.divisor == 65535


@pytest.mark.parametrize(("shape", "count"), [((4, 3), 1), ((4, 3, 2), 2), ((5,), 5)])
def test_standardising_is_by_channel_or_feature(shape, count):
    x, y, x_test, y_test = patterns(shape, 3, count=60)
    dataset = load_dataset((x, y, x_test, y_test), standardize=True)
    axes = tuple(range(x.ndim)) if count == 1 else tuple(range(x.ndim - 1))
    np.testing.assert_allclose(dataset.spec.mean, np.atleast_1d(x.mean(axes)), rtol=1e-5)
    np.testing.assert_allclose(dataset.spec.deviation, np.atleast_1d(x.std(axes)), rtol=1e-5)
    assert len(dataset.spec.mean) == count
    assert load_dataset((x, y, x_test, y_test)).spec.mean == ()


def test_a_feature_that_is_the_same_everywhere_is_divided_by_one():
    images = np.stack([np.full(30, 7.0), np.arange(30.0)], axis=1)
    spec = load_dataset((images, Y[:30], images, Y[:30]), standardize=True).spec
    assert spec.mean == (7.0, 14.5)
    assert spec.deviation == (1.0, pytest.approx(np.arange(30).std()))


def test_the_description_counts_the_images_and_the_test_set():
    spec = load_dataset((X, Y, X_TEST, Y_TEST)).spec
    assert spec.label_counts == tuple(np.bincount(Y).tolist())
    assert (spec.train_images, spec.test_images, spec.size, spec.name) == (50, 10, 12, "arrays")


def test_a_class_that_the_first_images_lack_is_still_one():
    order = np.argsort(Y)
    spec = load_dataset((X[order], Y[order], X_TEST, Y_TEST), train_images=5).spec
    assert (spec.classes, spec.label_counts) == (3, (5, 0, 0))


def test_without_a_test_part_a_sixth_becomes_it_and_is_said():
    order = np.argsort(Y)  # sorted by class: the last sixth would be of one class
    dataset = load_dataset((X[order], Y[order]))
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (42, 8)
    assert len(set(dataset.test_labels.tolist())) > 1
    parts = [image.tobytes() for part in (dataset.train_images, dataset.test_images) for image in part]
    assert sorted(parts) == sorted(image.tobytes() for image in X[order])
    assert "has no test part, so 8 of its images, drawn at random, are held out as the test set" in dataset.note


def test_without_a_test_part_the_same_images_become_it_each_time():
    assert load_dataset((X, Y)).checksums == load_dataset((X, Y)).checksums
    assert len(load_dataset((X[:6], np.arange(6) % 2)).test_labels) == 1
    with pytest.raises(UserError, match="has 5 examples and no test part; give x_test and y_test"):
        load_dataset((X[:5], np.arange(5) % 2))


def test_labels_may_be_a_column():
    dataset = load_dataset((X, Y[:, None], X_TEST, Y_TEST[:, None]))
    np.testing.assert_array_equal(dataset.train_labels, Y)
    np.testing.assert_array_equal(dataset.test_labels, Y_TEST)


def test_the_first_images_alone():
    dataset = load_dataset((X, Y, X_TEST, Y_TEST), train_images=20)
    np.testing.assert_array_equal(dataset.train_images, X[:20])
    assert dataset.spec.train_images == 20
    assert load_dataset((X, Y, X_TEST, Y_TEST), train_images=50).spec.train_images == 50
    with pytest.raises(UserError, match="--train-images 51 is more than arrays has; give at most 50"):
        load_dataset((X, Y, X_TEST, Y_TEST), train_images=51)


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


def test_of_several_data_sets_in_a_folder_one_is_named(tmp_path):
    for prefix in ("emnist-balanced-", "emnist-letters-"):
        write_idx(tmp_path, prefix, "test")
    with pytest.raises(UserError, match=r"it has several, choose one: .*/NAME, of emnist-balanced, emnist-letters"):
        load_dataset(str(tmp_path))
    assert load_dataset(f"{tmp_path}/emnist-letters").name == f"{tmp_path.name}/emnist-letters"
    write_idx(tmp_path)
    assert load_dataset(str(tmp_path)).name == f"{tmp_path.parent.name}/{tmp_path.name}"


def test_a_folder_that_holds_mnist_is_mnist(tmp_path, monkeypatch):
    found = small_mnist()
    for name, content in found.items():
        monkeypatch.setitem(CHECKSUMS, name, checksum(content))
    dataset = load_dataset(str(write(tmp_path / "letters", found)))
    assert (dataset.name, dataset.source, dataset.target) == ("mnist", f"{tmp_path}/letters", None)
    assert dataset.checksums == CHECKSUMS
    with pytest.raises(UserError, match=f"--dataset {tmp_path}/letters is read from there; drop --data-dir"):
        load_dataset(str(tmp_path / "letters"), data_dir=tmp_path)


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


def test_data_of_another_kind_are_refused_in_a_line():
    with pytest.raises(UserError, match=r"^a dataset is a name, a path or the arrays .*, got a dict; give a tuple$"):
        load_dataset(GOOD)


def with_nan(images):
    images = images.copy()
    images[3, 0, 0] = np.nan
    return images


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


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((TOKENS, TOKENS[:, 1:]), r"y_train .* has shape \(50, 3\); labels of tokens have that of x, \(50, 4\)"),
        ((TOKENS / 2, TOKENS), r"y_train .* has shape \(50, 4\), as one-hot labels do"),
        ((TOKENS, np.eye(4)[TOKENS[:, 0] % 4]), r"y_train .* has shape \(50, 4\), as one-hot labels do"),
        ((TOKENS, TOKENS, TOKENS, TOKENS[:, 0]), "one of y_train and y_test has a label for each token"),
        ((TOKENS, 2 * TOKENS), "y_train has no example of class 1"),
    ],
)
def test_labels_of_tokens_that_do_not_fit_are_one_line(arrays, said):
    with pytest.raises(UserError, match=said):
        load_dataset(arrays)


WRONG = {
    "labels as texts": ({"y_train": Y.astype(str)}, "y_train .* holds texts; number the classes from 0"),
    "one-hot labels": ({"y_train": np.eye(3)[Y]}, r"y_train .* has shape \(50, 3\), as one-hot labels do; .*argmax"),
    "labels that are no whole numbers": ({"y_train": Y + 0.5}, "y_train .* must be whole numbers from 0"),
    "a negative label": ({"y_train": Y - 1}, "y_train .* holds -1; number the classes from 0"),
    "a class without examples": (
        {"y_train": 2 * Y},
        "y_train has no example of class 1, its labels go to 4; .* without gaps",
    ),
    "one class": ({"y_train": 0 * Y, "y_test": 0 * Y_TEST}, "y_train has one class; two at least are needed"),
    "a label far too large": ({"y_train": Y + 10**9}, "y_train holds 1000000002, but has 50 labels"),
    "a label as large as there are examples": ({"y_train": Y + 48}, "y_train holds 50, but has 50 labels"),
    "a negative label of the test part": ({"y_test": Y_TEST - 1}, "y_test .* holds -1; number the classes from 0"),
    "a class of the test part alone": ({"y_test": Y_TEST + 5}, "y_test holds class 7, which y_train has not"),
    "unequal lengths": ({"y_train": Y[:-1]}, "x_train has 50 examples, y_train 49 labels; give a label each"),
    "other shapes": ({"x_test": X_TEST[:, :2]}, r"examples of x_train have shape \(4, 3\), of x_test \(2, 3\)"),
    "NaN": ({"x_train": with_nan(X)}, r"x_train .* holds NaN or infinity in example 3"),
    "texts as images": ({"x_train": X.astype(str)}, "x_train .* is of type <U.*; give numbers"),
    "a row of numbers": ({"x_train": X[:, 0, 0]}, r"x_train .* has shape \(50,\); give at least one example a row"),
    "negative whole numbers": ({"x_train": np.int8(X) - 1}, r"x_train .* whole numbers below 0 .*; give floats"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_with_a_remedy(name, tmp_path):
    changed, said = WRONG[name]
    np.savez(tmp_path / "mine.npz", **GOOD | changed)
    with pytest.raises(UserError, match=said) as caught:
        load_dataset(str(tmp_path / "mine.npz"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["test", "train"])
@pytest.mark.parametrize("kind", ["x", "y"])
def test_half_a_part_is_refused(part, kind, tmp_path):
    lacking = f"{kind}_{part}"
    np.savez(tmp_path / "mine.npz", **{name: array for name, array in GOOD.items() if name != lacking})
    said = "give both x_test and y_test" if part == "test" else "it has "
    with pytest.raises(
        UserError, match=f"mine.npz has no {lacking if part == 'test' else 'x_train and y_train'}.*{said}"
    ):
        load_dataset(str(tmp_path / "mine.npz"))


def test_files_that_are_no_data_set(tmp_path, monkeypatch):
    file = tmp_path / "mine.npz"
    np.savez(file, images=X)
    with pytest.raises(
        UserError, match=f"^{re.escape(str(file))} has no x_train and y_train, it has images; save it with those names$"
    ):
        load_dataset(str(file))
    np.savez(file, x_train=X, y_train=np.array([{"a": 1}] * 50))
    with pytest.raises(UserError, match="holds Python objects, which are not read"):
        load_dataset(str(file))
    np.savez(file, **GOOD)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"cannot read {file}: .*; write it with numpy.savez"):
        load_dataset(str(file))
    np.savez(file, **GOOD)
    monkeypatch.setattr("mnist_tune.data.own.usable_memory", lambda: 1)
    with pytest.raises(UserError, match=r"GiB of memory, this machine has 0\.0; save fewer"):
        load_dataset(str(file))
    with pytest.raises(UserError, match=r"there is no file .*none.npz"):
        load_dataset(str(tmp_path / "none.npz"))
    for _ in range(2):
        with pytest.raises(
            UserError, match="must hold four IDX files of one data set; such as train-images-idx3-ubyte"
        ):
            load_dataset(str(tmp_path))
        write(tmp_path, dict(list(small_mnist().items())[:3]))
    with pytest.raises(UserError, match="has 4 arrays, x_train, y_train, x_test, y_test, or the first 2; got 3"):
        load_dataset((X, Y, X))


@pytest.mark.parametrize(
    ("train", "test"),
    [(np.uint8, np.float64), (np.float32, np.uint8), (bool, np.uint8)],
)
def test_parts_of_different_types_are_refused(train, test):
    """One of them would be divided by what only the other one needs."""
    images, labels = np.eye(4), np.arange(4) % 2
    arrays = {"x_train": images.astype(train), "y_train": labels, "x_test": images.astype(test), "y_test": labels}
    with pytest.raises(DataError, match=f"^mine: x_train is of type {np.dtype(train)}, x_test of {np.dtype(test)}; "):
        checked(arrays, "mine")


def test_types_that_differ_in_nothing_that_matters_are_taken():
    images, labels = np.eye(4) * 255, np.arange(4) % 2
    whole = (np.int64, np.uint8), (np.int32, np.int64), (np.uint8, np.uint16), (np.int16, np.uint8)
    for train, test in (*whole, (np.float64, np.float16)):
        found = checked(
            {"x_train": images.astype(train), "y_train": labels, "x_test": images.astype(test), "y_test": labels}, "it"
        )
        assert found["x_train"].dtype == found["x_test"].dtype


@pytest.mark.parametrize("largest", [2**31, 2**32, 2**40])
def test_labels_that_do_not_fit_are_refused_and_not_wrapped_around(largest):
    with pytest.raises(DataError, match=f"holds {largest}; number the classes from 0"):
        checked({"x_train": np.eye(4), "y_train": np.array([0, 1, 1, largest])}, "mine")
