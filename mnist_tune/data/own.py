"""Data of one's own: arrays, or an `.npz` file of them as Keras keeps MNIST. Checked
here, so that training can rely on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from mnist_tune import storage
from mnist_tune.data.idx import DataError
from mnist_tune.errors import UserError
from mnist_tune.machine import usable_memory

NAMES = ("x_train", "y_train", "x_test", "y_test")
TEST_SHARE = 6
"""A data set without a test part gives one image in this many as its test set."""

LARGE = 10
"""A root mean square of floats that scaled ones, at about 1, and digits from 0 to 16,
at 8, are far from."""

DARK = 128
"""Whole numbers that are all below this are no pixels of 8 bits."""

COMMON, EXPECTED = 0.05, 20
"""A class with this share of all examples, of which a tenth of shuffled ones would have
this many, is missing from it by chance once in 10^8 data sets."""

Arrays = dict[str, np.ndarray]


@contextmanager
def arrays_in(path: Path) -> Iterator[Mapping[str, Any]]:
    """Open a file of `numpy.savez`, whose arrays are read when they are asked for, or
    of `numpy.save`, whose one array has no name. Pickled objects are not read. Raises
    DataError if it can't be read, or is larger than this machine's memory."""
    try:
        memory = usable_memory()
        with storage.open_file(path, memory, links=True) as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, NpzFile):
                yield {"an array without a name": loaded}
                return
            # a zipped file may be small, and its arrays large
            needed = 0
            if loaded.zip:
                needed = sum(member.file_size for member in loaded.zip.infolist())
            if needed > memory:
                raise DataError(
                    f"{path} takes {needed / 2**30:.1f} GiB of memory, this machine has {memory / 2**30:.1f}; "
                    "save fewer or smaller images, or of a smaller type (uint8)"
                )
            yield loaded
    except UserError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds
        why = getattr(error, "strerror", None)
        if not why:
            # what follows is advice to programmers
            why, _, _ = str(error).partition(" when allow_pickle")
        if "pickled data" in why.replace("(object) ", ""):
            why = "it is no file of NumPy"
        raise DataError(
            f"cannot read {path}: {why}; write arrays of numbers with numpy.savez"
        ) from None


def read_npz(path: Path) -> Arrays:
    """Return the arrays of a file, of which `x_test` and `y_test` may be missing.
    Raises DataError if it lacks another, or can't be read."""
    with arrays_in(path) as file:
        names = [name for name in NAMES if name in file]
        if not {"x_train", "y_train"} <= set(names):
            has = ", ".join(file) or "nothing"
            raise DataError(
                f"{path} has no x_train and y_train, it has {has}; save it with those names"
            )
        return {name: file[name] for name in names}


def checked(arrays: Mapping[str, Any], source: str) -> Arrays:
    """Return the four arrays as they are trained on: images of float32, uint8 or
    uint16, labels as int32. Raises DataError, which calls the data `source`, says what
    is wrong with which array, and what to do.

    Whole numbers from 0 to 255 become uint8, whatever their type: they are pixels.
    Larger ones become uint16, if they fit, else float32. Floats become uint8 only if
    all are whole and the largest is between 128 and 255.

    Without a test part, one image in `TEST_SHARE` of the training part becomes it,
    drawn by a fixed shuffle.
    """
    parts = ["train"]
    if "x_test" in arrays or "y_test" in arrays:
        parts.append("test")
    data: Arrays = {}
    for part in parts:
        data |= _checked_part(arrays, f"x_{part}", f"y_{part}", source)
    if "x_test" not in data:
        data = _with_test_part(data, source)
    train, test = data["x_train"], data["x_test"]
    shape, test_shape = train.shape[1:], test.shape[1:]
    if shape != test_shape:
        raise DataError(
            f"{source}: examples of x_train have shape {shape}, of x_test {test_shape}"
        )
    if data["y_train"].ndim != data["y_test"].ndim:
        raise DataError(
            f"{source}: one of y_train and y_test has a label for each token; give both in the same way"
        )
    _check_classes(data, source)
    # whole numbers are divided, floats are not
    if (train.dtype.kind == "f") != (test.dtype.kind == "f"):
        kind = np.asarray(arrays["x_train"]).dtype
        test_kind = np.asarray(arrays["x_test"]).dtype
        types = f"x_train is of type {kind}, x_test of {test_kind}"
        how = "give both in the same type and the same units"
        raise DataError(f"{source}: {types}; {how}")
    common = type_of([train, test])
    data["x_train"] = train.astype(common, copy=False)
    data["x_test"] = test.astype(common, copy=False)
    return data


def _checked_part(arrays: Mapping[str, Any], x: str, y: str, source: str) -> Arrays:
    """Return the examples and the labels of a part, which `arrays` has as x and y."""
    for name in (x, y):
        if name not in arrays:
            raise DataError(f"{source} has no {name}; give both {x} and {y}")
    images = arrays[x]
    examples = examples_of(images, f"{x} of {source}")
    labels = _labels(arrays[y], f"{y} of {source}", np.asarray(images))
    count, label_count = len(examples), len(labels)
    if count != label_count:
        counts = f"{x} has {count} examples, {y} {label_count} labels"
        raise DataError(f"{source}: {counts}; give a label each")
    return {x: examples, y: labels}


def type_of(parts: Sequence[np.ndarray]) -> type:
    """Return the type that images of both parts get."""
    smallest = min(part.min() for part in parts)
    largest = max(part.max() for part in parts)
    if parts[0].dtype.kind == "f":
        in_range = smallest >= 0 and DARK <= largest <= 255
        if in_range and all((part == np.floor(part)).all() for part in parts):
            return np.uint8
        return np.float32
    if largest <= 255:
        return np.uint8
    if largest < 2**16:
        return np.uint16
    return np.float32


def scale_note(images: np.ndarray) -> str:
    """Return a line on the scale that images are trained in if it may not be what the
    user means; else nothing."""
    if images.dtype == np.uint16:
        return "its whole numbers go beyond 255, so they are divided by 65535; else give floats, or use --standardize"
    low, high = images.min(), images.max()
    if images.dtype == np.uint8 and high < DARK:
        return f"its whole numbers, {low} to {high}, are divided by 255; else give floats, or use --standardize"
    if images.dtype != np.float32:
        return ""
    root_mean_square = np.sqrt(np.square(images[:1000], dtype=np.float64).mean())
    if root_mean_square > LARGE:
        return f"its values, {low:.4g} to {high:.4g}, are trained as they are; divide them, or use --standardize"
    return ""


def order_note(labels: np.ndarray) -> str:
    """Return a line if examples with these labels are not shuffled, so that those which
    a sweep holds out or leaves out are of other classes than the rest; else nothing."""
    left_out = "so those that --holdout and --train-images leave out are of other classes than the rest: shuffle them"
    counts = np.bincount(labels)
    # In order of class, the label changes once less than there are classes.
    changes = np.count_nonzero(labels[1:] != labels[:-1])
    if 0 < changes < np.count_nonzero(counts):
        return f"its training examples are in order of class, {left_out}"
    is_common = counts >= max(COMMON * len(labels), 10 * EXPECTED)
    tenth = len(labels) // 10
    ends = {"first": labels[:tenth], "last": labels[len(labels) - tenth :]}
    for where, part in ends.items():
        part_counts = np.bincount(part, minlength=len(counts))
        missing = np.flatnonzero(is_common & (part_counts == 0))
        if len(missing):
            return f"the {where} tenth of its training examples has none of class {missing[0]}, {left_out}"
    return ""


def unmasked(array: Any, name: str) -> np.ndarray:
    """Return an array of NumPy. Raises DataError if values of it are masked: they would
    be taken as they are."""
    if np.ma.is_masked(array):
        raise DataError(
            f"{name} has masked values; say what they are, such as {name.split()[0]}.filled(0)"
        )
    return np.asarray(array)


def examples_of(array: Any, name: str) -> np.ndarray:
    """Return numbers, one example or more a row; those that are not whole as float32.
    Raises DataError."""
    images = unmasked(array, name)
    if images.dtype.kind not in "fiub":
        raise DataError(f"{name} is of type {images.dtype}; give numbers")
    if images.ndim < 2 or not images.size:
        raise DataError(
            f"{name} has shape {images.shape}; give at least one example a row, [n, ...]"
        )
    if images.dtype.kind == "f":
        images = images.astype(np.float32, copy=False)
        is_finite = np.isfinite(images)
        if not is_finite.all():
            example, *_ = np.argwhere(~is_finite)[0]
            raise DataError(
                f"{name} holds NaN or infinity in example {example}; remove it, or np.nan_to_num(x)"
            )
        return images
    if images.dtype.kind == "b":
        return images.astype(np.float32)
    smallest = images.min()
    if smallest < 0:
        raise DataError(
            f"{name} holds whole numbers below 0 ({smallest}); give floats, or add {-smallest}"
        )
    return images


def _labels(array: Any, name: str, examples: np.ndarray) -> np.ndarray:
    """Return the labels: one for each example, or for each token where examples are
    rows of whole numbers."""
    labels = unmasked(array, name)
    if labels.dtype.kind in "OSU":
        raise DataError(
            f"{name} holds texts; number the classes from 0, np.unique(y, return_inverse=True)[1]"
        )
    if not _are_whole_numbers(labels):
        other = "to predict anything else, write a task, --task (docs/own_training.md)"
        raise DataError(
            f"{name} is of type {labels.dtype}; classifiers need whole-number labels from 0; {other}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if _are_of_tokens(labels, examples):
        if labels.shape != examples.shape:
            raise DataError(
                f"{name} has shape {labels.shape}; labels of tokens have that of x, {examples.shape}"
            )
    elif labels.ndim != 1:
        how = "give a number an example"
        if labels.ndim == 2:
            how = "give the class of each example, y.argmax(1)"
        raise DataError(f"{name} has shape {labels.shape}, as one-hot labels do; {how}")
    if labels.size:
        smallest, largest = labels.min(), labels.max()
        how = "number the classes from 0"
        if smallest < 0:
            raise DataError(f"{name} holds {smallest:.15g}; {how}")
        if largest >= 2**31:
            raise DataError(f"{name} holds {largest:.15g}; {how}")
    return labels.astype(np.int32)


def _are_whole_numbers(labels: np.ndarray) -> bool:
    if labels.dtype.kind not in "fiub" or not np.isfinite(labels).all():
        return False
    return bool((labels == np.floor(labels)).all())


def _are_of_tokens(labels: np.ndarray, examples: np.ndarray) -> bool:
    """Return whether rows of labels go with rows of whole numbers, rather than to be
    one-hot."""
    if labels.ndim != 2 or examples.ndim != 2 or examples.dtype.kind not in "iu":
        return False
    return bool((labels.sum(1) != 1).any())


def _with_test_part(data: Arrays, source: str) -> Arrays:
    count = len(data["y_train"])
    test_count = count // TEST_SHARE
    if not test_count:
        raise DataError(
            f"{source} has {count} examples and no test part; give x_test and y_test"
        )
    order = np.random.RandomState(0).permutation(count)
    train = np.sort(order[test_count:])
    test = np.sort(order[:test_count])
    x, y = data["x_train"], data["y_train"]
    return {
        "x_train": x[train],
        "y_train": y[train],
        "x_test": x[test],
        "y_test": y[test],
    }


LARGEST_VOCABULARY = 2**20
"""Ids of tokens are below it, if there are no more tokens than that."""


def _check_classes(data: Arrays, source: str) -> None:
    labels = data["y_train"]
    last = int(labels.max())
    are_of_tokens = labels.ndim == 2
    most = labels.size
    if are_of_tokens:
        most = max(most, LARGEST_VOCABULARY)
    if last >= most:
        raise DataError(
            f"{source}: y_train holds {last}, but has {labels.size} labels; number from 0"
        )
    counts = np.bincount(labels.ravel())
    if len(counts) < 2:
        raise DataError(f"{source}: y_train has one class; two at least are needed")
    # a text may use a part of its vocabulary
    if not are_of_tokens and not counts.all():
        missing = int(np.flatnonzero(counts == 0)[0])
        how = "number the classes from 0 without gaps, np.unique(y, return_inverse=True)[1]"
        raise DataError(
            f"{source}: y_train has no example of class {missing}, its labels go to {last}; {how}"
        )
    classes = len(counts)
    if are_of_tokens:
        classes = most
    last_of_test = data["y_test"].max()
    if last_of_test >= classes:
        raise DataError(
            f"{source}: y_test holds class {last_of_test}, which y_train has not"
        )
