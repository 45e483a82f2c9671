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
        with storage.open_file(path, there := usable_memory(), links=True) as opened:
            found = np.load(opened, allow_pickle=False)
            members = (
                found.zip.infolist() if isinstance(found, NpzFile) and found.zip else ()
            )
            if (needed := sum(member.file_size for member in members)) > there:
                raise DataError(
                    f"{path} takes {needed / 2**30:.1f} GiB of memory, this machine has {there / 2**30:.1f}; "
                    "save fewer or smaller images, or of a smaller type (uint8)"
                )
            yield (
                found
                if isinstance(found, NpzFile)
                else {"an array without a name": found}
            )
    except UserError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds
        why = (
            getattr(error, "strerror", None)
            or str(error).partition(" when allow_pickle")[0]
        )
        why = (
            "it is no file of NumPy"
            if "pickled data" in why.replace("(object) ", "")
            else why
        )
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
    found: Arrays = {}
    for part in (
        ("train", "test") if {"x_test", "y_test"} & arrays.keys() else ("train",)
    ):
        x, y = f"x_{part}", f"y_{part}"
        for name in (x, y):
            if name not in arrays:
                raise DataError(f"{source} has no {name}; give both {x} and {y}")
        found[x] = examples_of(arrays[x], f"{x} of {source}")
        found[y] = _labels(arrays[y], f"{y} of {source}", np.asarray(arrays[x]))
        if len(found[x]) != len(found[y]):
            given = f"{x} has {len(found[x])} examples, {y} {len(found[y])} labels"
            raise DataError(f"{source}: {given}; give a label each")
    if "x_test" not in found:
        found = _with_test_part(found, source)
    shapes = {name: found[name].shape[1:] for name in ("x_train", "x_test")}
    if shapes["x_train"] != shapes["x_test"]:
        raise DataError(
            f"{source}: examples of x_train have shape {shapes['x_train']}, of x_test {shapes['x_test']}"
        )
    if found["y_train"].ndim != found["y_test"].ndim:
        raise DataError(
            f"{source}: one of y_train and y_test has a label for each token; give both in the same way"
        )
    _check_classes(found, source)
    parts = [found[name] for name in shapes]
    # whole numbers are divided, floats are not
    if (parts[0].dtype.kind == "f") != (parts[1].dtype.kind == "f"):
        one, other = (np.asarray(arrays[name]).dtype for name in shapes)
        how = "give both in the same type and the same units"
        raise DataError(f"{source}: x_train is of type {one}, x_test of {other}; {how}")
    kind = type_of(parts)
    return found | {name: found[name].astype(kind, copy=False) for name in shapes}


def type_of(parts: Sequence[np.ndarray]) -> type:
    """Return the type that images of both parts get."""
    smallest, largest = (
        min(part.min() for part in parts),
        max(part.max() for part in parts),
    )
    if parts[0].dtype.kind == "f":
        in_range = smallest >= 0 and DARK <= largest <= 255
        return (
            np.uint8
            if in_range and all((part == np.floor(part)).all() for part in parts)
            else np.float32
        )
    return np.uint8 if largest <= 255 else np.uint16 if largest < 2**16 else np.float32


def scale_note(images: np.ndarray) -> str:
    """Return a line on the scale that images are trained in if it may not be what the
    user means; else nothing."""
    if images.dtype == np.uint16:
        return "its whole numbers go beyond 255, so they are divided by 65535; else give floats, or use --standardize"
    low, high = images.min(), images.max()
    if images.dtype == np.uint8 and high < DARK:
        return f"its whole numbers, {low} to {high}, are divided by 255; else give floats, or use --standardize"
    if (
        images.dtype == np.float32
        and np.sqrt(np.square(images[:1000], dtype=np.float64).mean()) > LARGE
    ):
        return f"its values, {low:.4g} to {high:.4g}, are trained as they are; divide them, or use --standardize"
    return ""


def order_note(labels: np.ndarray) -> str:
    """Return a line if examples with these labels are not shuffled, so that those which
    a sweep holds out or leaves out are of other classes than the rest; else nothing."""
    left_out = "so those that --holdout and --train-images leave out are of other classes than the rest: shuffle them"
    counts, tenth = np.bincount(labels), len(labels) // 10
    if 0 < np.count_nonzero(labels[1:] != labels[:-1]) < np.count_nonzero(counts):
        return f"its training examples are in order of class, {left_out}"
    common = counts >= max(COMMON * len(labels), 10 * EXPECTED)
    for where, part in (
        ("first", labels[:tenth]),
        ("last", labels[len(labels) - tenth :]),
    ):
        missing = np.flatnonzero(
            common & (np.bincount(part, minlength=len(counts)) == 0)
        )
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
        if not np.isfinite(images).all():
            example = np.argwhere(~np.isfinite(images))[0][0]
            raise DataError(
                f"{name} holds NaN or infinity in example {example}; remove it, or np.nan_to_num(x)"
            )
        return images
    if images.dtype.kind == "b":
        return images.astype(np.float32)
    if images.min() < 0:
        raise DataError(
            f"{name} holds whole numbers below 0 ({images.min()}); give floats, or add {-images.min()}"
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
    if (
        labels.dtype.kind not in "fiub"
        or not np.isfinite(labels).all()
        or (labels != np.floor(labels)).any()
    ):
        other = "to predict anything else, write a task, --task (docs/own_training.md)"
        raise DataError(
            f"{name} is of type {labels.dtype}; classifiers need whole-number labels from 0; {other}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if (
        labels.ndim == 2
        and examples.ndim == 2
        and examples.dtype.kind in "iu"
        and (labels.sum(1) != 1).any()
    ):
        if labels.shape != examples.shape:
            raise DataError(
                f"{name} has shape {labels.shape}; labels of tokens have that of x, {examples.shape}"
            )
    elif labels.ndim != 1:
        hint = (
            "; give the class of each example, y.argmax(1)"
            if labels.ndim == 2
            else "; give a number an example"
        )
        raise DataError(f"{name} has shape {labels.shape}, as one-hot labels do{hint}")
    if labels.size and (labels.min() < 0 or labels.max() >= 2**31):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{name} holds {wrong:.15g}; number the classes from 0")
    return labels.astype(np.int32)


def _with_test_part(found: Arrays, source: str) -> Arrays:
    count = len(found["y_train"])
    order, test = np.random.RandomState(0).permutation(count), count // TEST_SHARE
    if not test:
        raise DataError(
            f"{source} has {count} examples and no test part; give x_test and y_test"
        )
    parts = {"train": np.sort(order[test:]), "test": np.sort(order[:test])}
    return {
        f"{kind}_{part}": found[f"{kind}_train"][rows]
        for part, rows in parts.items()
        for kind in "xy"
    }


LARGEST_VOCABULARY = 2**20
"""Ids of tokens are below it, if there are no more tokens than that."""


def _check_classes(found: Arrays, source: str) -> None:
    last, tokens = int(found["y_train"].max()), found["y_train"].ndim == 2
    most = (
        max(found["y_train"].size, LARGEST_VOCABULARY)
        if tokens
        else found["y_train"].size
    )
    if last >= most:
        raise DataError(
            f"{source}: y_train holds {last}, but has {found['y_train'].size} labels; number from 0"
        )
    counts = np.bincount(found["y_train"].ravel())
    if len(counts) < 2:
        raise DataError(f"{source}: y_train has one class; two at least are needed")
    if not (tokens or counts.all()):  # a text may use a part of its vocabulary
        missing = int(np.flatnonzero(counts == 0)[0])
        how = "number the classes from 0 without gaps, np.unique(y, return_inverse=True)[1]"
        raise DataError(
            f"{source}: y_train has no example of class {missing}, its labels go to {last}; {how}"
        )
    if found["y_test"].max() >= (most if tokens else len(counts)):
        raise DataError(
            f"{source}: y_test holds class {found['y_test'].max()}, which y_train has not"
        )
