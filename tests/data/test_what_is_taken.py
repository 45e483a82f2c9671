"""What becomes of data of many shapes, to the letter (`kept_texts`), and what is said
of those that are refused."""

import gzip
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from idx_files import idx, small_mnist, write
from kept_texts import assert_kept
from outcomes import outcome
from text_tables import rows

from mnist_tune.data import files, own
from mnist_tune.data.dataset import check_counts, load_dataset
from mnist_tune.data.idx import read_idx, read_raw
from mnist_tune.trial import TrialConfig

X, Y = np.arange(24.0).reshape(12, 2) / 23, np.arange(12) % 3
WHOLE = np.arange(24).reshape(12, 2)
TOKENS = WHOLE % 4


def largest(value, kind=float, shape=(12, 2)):
    """Images of zeros but for a last value."""
    images = np.zeros(shape, kind)
    images.flat[-1] = value
    return images


def labels(*changed):
    """The labels with the last ones changed."""
    return np.array([*Y[: len(Y) - len(changed)], *changed])


def line(array):
    """A type, a shape, and the last values."""
    last = " ".join(f"{value:.3g}" for value in array.ravel()[-3:])
    return f"{array.dtype} {list(array.shape)} {last}"


def described(*arguments, **options):
    """Load a data set, and describe it in a line."""
    dataset = load_dataset(*arguments, **options)
    train = f"{line(dataset.train_images)}; {line(dataset.train_labels)}"
    test = f"{line(dataset.test_images)}; {line(dataset.test_labels)}"
    spec = str(dataset.spec).replace("DataSpec", "")
    sums = " ".join(dataset.checksums)
    text = f"{train}; {test}; {spec} from {dataset.source}, sums of {sums}"
    return f"{text}; {dataset.note}".strip("; ")


def both(x, y):
    """Return the same examples as the training part and the test part."""
    return x, y, x, y


LARGEST = """
    whole numbers to 127    127    int64
    whole numbers to 128    128    int64
    whole numbers to 255    255    int64
    whole numbers to 256    256    int64
    whole numbers to 65535  65535  int64
    whole numbers to 65536  65536  int64
    whole numbers below 0   -3     int8
    whole floats to 128     128    float64
    whole floats to 255     255    float64
    whole floats to 256     256    float64
"""


def kinds_of_images():
    """Yield the name of a case, and images."""
    yield "floats", X
    yield "True and False", X > 0.5
    yield "bytes", WHOLE.astype(np.uint8) * 11
    for name, value, kind in rows(LARGEST):
        yield name, largest(value, kind)
    is_first = WHOLE == 0
    yield "floats to 255 that are not whole", largest(255) + 0.5 * is_first
    yield "floats from -1 to 200", largest(200) - is_first
    yield "a root mean square of 10", np.full((12, 2), 10.0)
    yield "a root mean square above 10", np.full((12, 2), 10.01)
    yield "large floats that are seldom", largest(48)
    yield "an example of NaN", largest(np.nan)
    yield "masked values", np.ma.masked_less(X, 0.1)
    yield "a mask of nothing", np.ma.masked_less(X, 0)
    yield "infinity", np.array([[0.0, 1.0], [np.inf, 0.0]] * 6)
    yield "texts", X.astype(str)
    yield "a row", X[:, 0]
    yield "no examples", X[:0]
    yield "examples of nothing", X[:, :0]
    yield "a list", WHOLE.tolist()
    yield "one number each", X[:, :1]
    yield "squares", largest(1, shape=(12, 2, 3))
    yield "squares of channels", largest(1, shape=(12, 2, 3, 2))


def kinds_of_labels():
    """Yield the name of a case, and labels."""
    yield "floats", Y.astype(float)
    yield "targets of a regression", np.stack([Y / 2, Y / 3], 1)
    yield "True and False", Y > 0
    yield "a column", Y[:, None]
    yield "one column of several", np.stack([Y, Y], 1)
    yield "one-hot", np.eye(3)[Y]
    yield "cubes", np.zeros((12, 1, 1))
    yield "texts", Y.astype(str)
    yield "halves", Y + 0.5
    yield "NaN", Y + np.nan
    yield "complex numbers", Y * 1j
    yield "masked", np.ma.masked_equal(Y, 2)
    yield "below 0", labels(-1)
    yield "2**31", labels(2**31)
    yield "2**31 - 1", labels(2**31 - 1)
    yield "as many as there are", labels(12)
    yield "one less", labels(11)
    yield "a class without examples", labels(5)
    yield "two without", 2 * Y
    yield "one class", 0 * Y
    yield "two classes", Y % 2
    yield "eleven", Y[:11]
    yield "none", Y[:0]


def kinds_of_tokens():
    """Yield the name of a case, and data of tokens."""
    yield "a label for each token", (TOKENS, TOKENS[:, ::-1], TOKENS, TOKENS)
    yield "tokens above 255", both(1000 * TOKENS, TOKENS)
    twice = np.hstack([TOKENS, TOKENS])
    yield "more labels than tokens", (TOKENS, twice, TOKENS, TOKENS)
    yield "tokens of floats", both(TOKENS / 1.0, TOKENS)
    one_hot = np.eye(2, dtype=int)[Y % 2]
    yield "labels that sum to 1", both(TOKENS, one_hot)
    yield "a label an example in the test part", (TOKENS, TOKENS, TOKENS, Y)
    yield "a label an example in the training part", (TOKENS, Y, TOKENS, TOKENS)
    to_24 = np.where(WHOLE == 23, 24, TOKENS)
    yield "labels as many as there are", (TOKENS, to_24, TOKENS, TOKENS)
    to_23 = np.where(WHOLE == 23, 23, TOKENS)
    yield "labels one less", (TOKENS, to_23, TOKENS, TOKENS)
    beyond = TOKENS + 2**20
    name = "a test part of labels beyond any vocabulary"
    yield name, (TOKENS, 2 * TOKENS, TOKENS, beyond)
    yield "without a test part", (TOKENS, TOKENS)


def kinds_of_parts():
    """Yield the name of a case, and parts that may not fit each other."""
    yield "no test part", (X, Y)
    yield "no test part, six examples", (X[:6], Y[:6])
    yield "no test part, five examples", (X[:5], Y[:5])
    yield "three arrays", (X, Y, X)
    yield "a list of arrays", [X, Y, X[:4], Y[:4]]
    yield "other shapes", (X, Y, X[:, :1], Y)
    yield "other shapes of the same size", (X.reshape(12, 1, 2), Y, X, Y)
    yield "floats and whole numbers", (X, Y, WHOLE, Y)
    yield "bytes and floats", (WHOLE.astype(np.uint8), Y, X, Y)
    yield "parts of two ranges", (largest(100, int), Y, largest(300, int), Y)
    yield "whole floats in one part", (largest(200), Y, X, Y)
    yield "a test part of one class more", (X, Y, X, labels(3))
    yield "a test part of a class less", (X, Y, X[:1], Y[:1])
    yield "a test part without examples", (X, Y, X[:0], Y[:0])
    yield "a number", 7


IMAGES = dict(kinds_of_images())
TOKENS_OF = dict(kinds_of_tokens())


def cases():
    """Yield a name and data: each kind as the images, or the labels, of both parts."""
    for name, images in kinds_of_images():
        yield f"x of {name}", both(images, Y[: len(images)])
    yield "x of eleven", (X[:11], Y, X, Y)
    for name, changed in kinds_of_labels():
        yield f"y of {name}", both(X, changed)
    yield "y_test of below 0", (X, Y, X, labels(-1))
    yield "y_test of eleven", (X, Y, X, Y[:11])
    yield from kinds_of_tokens()
    yield from kinds_of_parts()


SCALED = (
    "floats",
    "bytes",
    "whole numbers to 65536",
    "squares",
    "squares of channels",
    "one number each",
)


def standardised():
    for name in SCALED:
        arrays = both(IMAGES[name], Y)
        spec = load_dataset(arrays, standardize=True).spec
        scale = np.round([spec.mean, spec.deviation], 4)
        yield f"{name}, standardised: {scale.tolist()}"
    tokens = TOKENS_OF["tokens above 255"]
    yield f"tokens, standardised: {outcome(load_dataset, tokens, standardize=True)}"


@pytest.mark.promise("What is wrong with data is one line with a remedy")
def test_arrays_are_taken_or_refused(caplog):
    lines = []
    for name, arrays in cases():
        caplog.clear()
        text = f"{name}: {outcome(described, arrays)}"
        if caplog.messages:
            assert caplog.messages[0] in text
            text += "; warned" * len(caplog.messages)
        lines.append(text)
    lines += standardised()
    for first in (1, 12, 13):
        text = outcome(described, both(X, Y), train_images=first)
        lines.append(f"first {first}: {text}")
    assert_kept("data arrays", "\n".join(lines) + "\n")


def test_the_scale_of_a_thousand_examples_is_looked_at():
    images = np.zeros((1001, 1), np.float32)
    images[999:, 0] = 9_000, 0
    assert own.scale_note(images) == (
        "its values, 0 to 9000, are trained as they are; divide them, or use --standardize"
    )
    images[999:, 0] = 0, 9_000
    assert own.scale_note(images) == ""


COUNTS = """
    {"batch_size": 12}
    {"batch_size": 13}
    {"batch_size": 1, "holdout": 11}
    {"batch_size": 1, "holdout": 12}
    {"batch_size": 1, "label_noise": 12}
    {"batch_size": 1, "label_noise": 13}
    {"batch_size": 1, "label_noise": 6, "holdout": 6}
    {"batch_size": 1, "label_noise": 6, "holdout": 7}
    {"batch_size": 6, "holdout": 7}
    {"batch_size": 6, "holdout": 7, "drop_last": True}
    {"batch_size": 6, "holdout": 6, "drop_last": True}
"""


def check_trial(data, **fields):
    check_counts([TrialConfig(**fields)], data)


def test_trials_that_need_too_many_images_are_refused():
    images = load_dataset(both(X, Y))
    lines = []
    for (fields,) in rows(COUNTS):
        lines.append(f"{fields}: {outcome(check_trial, images, **fields)}")
    tokens = load_dataset(both(TOKENS, TOKENS))
    for noise in (0, 1):
        text = outcome(check_trial, tokens, batch_size=1, label_noise=noise)
        lines.append(f"tokens, label_noise={noise}: {text}")
    assert_kept("data counts", "\n".join(lines) + "\n")


# --- files


def kinds_of_idx():
    """Yield the name of a case, and the content of an IDX file."""
    yield "nothing", b""
    yield "three bytes", b"\0\0\x08"
    yield "no dimensions", bytes([0, 0, 8, 0])
    yield "one dimension", idx(np.arange(3, dtype=np.uint8))
    yield "three dimensions", idx(np.arange(12, dtype=np.uint8).reshape(1, 3, 4))
    yield "four dimensions", idx(np.zeros((1, 1, 1, 1), np.uint8))
    yield "another type", b"\0\0\x0d\x01\0\0\0\0"
    yield "another magic number", b"\0\1\x08\x01\0\0\0\0"
    yield "a text", b"<html>"
    yield "no header", bytes([0, 0, 8, 2, 0, 0])
    two_by_three = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
    yield "one byte too few", two_by_three[:-1]
    yield "one byte too many", two_by_three + b"\0"
    yield "no elements", idx(np.zeros((0, 2), np.uint8))


NPZ: dict[str, dict[str, np.ndarray]] = {
    "whole": {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "more": X},
    "without a test part": {"x_train": X, "y_train": Y},
    "without x_test": {"x_train": X, "y_train": Y, "y_test": Y},
    "without y_test": {"x_train": X, "y_train": Y, "x_test": X},
    "without y_train": {"x_train": X, "x_test": X, "y_test": Y},
    "without x_train": {"y_train": Y},
    "of other names": {"images": X, "labels": Y},
    "of nothing": {},
    "of objects": {"x_train": np.array([None]), "y_train": Y},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, in which data lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def idx_in_a_line(content):
    return line(read_idx(content, "it"))


def contents():
    """Yield what is said of IDX files and of .npz files in the current folder."""
    for name, content in kinds_of_idx():
        yield f"IDX of {name}: {outcome(idx_in_a_line, content)}"
    for name, arrays in NPZ.items():
        np.savez("mine.npz", **arrays)
        yield f"npz {name}: {outcome(described, 'mine.npz')}"


GIB = 2**30


def too_large(monkeypatch):
    """Yield what is said of a file whose arrays take 3 GiB."""

    def sizes(file):
        return [SimpleNamespace(file_size=GIB), SimpleNamespace(file_size=2 * GIB)]

    def name_of(path):
        return load_dataset(path).name

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "infolist", sizes)
        for memory in (3 * GIB, 3 * GIB - 1, GIB // 2):
            patch.setattr(own, "usable_memory", Mock(return_value=memory))
            yield f"3 GiB, memory of {memory}: {outcome(name_of, 'whole.npz')}"


FILES = """
    noise.npz array.npz folder.npz missing.npz plain ./digits linked.npz ~/plain
"""
NOT_THERE = "minst emnist nowhere no/where ./nowhere"


def file_names(here):
    yield from FILES.split()
    yield here / "whole.npz"
    yield from NOT_THERE.split()
    yield ""
    yield here / "nowhere.npz"
    yield Path("digits")
    yield "x" * 256


def named_files(here):
    """Yield what is said of files by their names, and of built-in names."""
    whole = here / "whole.npz"
    (here / "noise.npz").write_bytes(b"noise")
    (here / "array.npz").write_bytes(whole.read_bytes()[:-30])
    (here / "folder.npz").mkdir()
    shutil.copy(whole, here / "plain")
    shutil.copy(whole, here / "digits")
    (here / "linked.npz").symlink_to(whole)
    for name in file_names(here):
        yield f"{name}: {outcome(described, name)}"
    nowhere = here / "nowhere"
    for name in ("plain", "digits", "mnist-5k", "mnist", "fashion-mnist", "x.npz"):
        yield f"{name} of a folder: {outcome(load_dataset, name, nowhere)}"
    (here / "raw").write_bytes(b"\x1f\x8b")
    for path in (here / "raw", here / "missing", here):
        yield f"{path}: {outcome(read_raw, path)}"


def test_files_are_taken_or_refused(here, monkeypatch):
    lines = [*contents()]
    np.savez(here / "whole.npz", **NPZ["whole"])
    lines += too_large(monkeypatch)
    monkeypatch.setattr(own, "usable_memory", Mock(return_value=8 * GIB))
    lines += named_files(here)
    text = "\n".join(lines).replace(str(here), "HERE")
    text = text.replace(", ".join(files.CHECKSUMS), "FOUR FILES")
    assert_kept("data files", text + "\n")


def named(contents, prefix="", test="t10k", dot="-", zipped=False):
    """Four IDX files by other names."""
    renamed = {}
    for name, content in contents.items():
        name = name.replace("t10k", test).replace("-idx", f"{dot}idx")
        if zipped:
            name += ".gz"
            content = gzip.compress(content)
        renamed[f"{prefix}{name}"] = content
    return renamed


LABEL_FILE = "train-labels-idx1-ubyte"


def kinds_of_folders(mnist):
    """Yield the name of a folder, and its files."""
    images = idx(np.full((20, 1, 2), 200, np.uint8))
    two_labels = idx(np.arange(20, dtype=np.uint8) % 2)
    tiny = {name: two_labels if "labels" in name else images for name in mnist}
    plain = named(tiny)
    yield "empty", {}
    yield "plain", plain
    yield "dotted", named(tiny, dot=".")
    yield "zipped", named(tiny, zipped=True)
    yield "test", named(tiny, test="test")
    yield "upper", {name.upper(): content for name, content in plain.items()}
    yield "three", dict(list(plain.items())[1:])
    yield "known", named(mnist)
    letters = named(tiny, "emnist-letters-")
    yield "one", letters
    yield "two", letters | named(tiny, "emnist-digits-")
    yield "two and plain", letters | named(mnist)
    yield "both", plain | named(mnist, zipped=True)
    yield "damaged", plain | {LABEL_FILE: b"\x1f\x8b"}
    whole = small_mnist(200)
    yield "fashion", named(whole)
    eleven_labels = idx(np.uint8(np.arange(200) % 11))
    yield "eleven", named(whole | {LABEL_FILE: eleven_labels})


def described_folder(*arguments):
    dataset = load_dataset(*arguments)
    sums = " ".join(dataset.checksums)
    last = dataset.test_labels[-3:]
    return f"{dataset.name} from {dataset.source}, {dataset.spec.shape}, {last}, {sums}"


PREFIXES = (
    "two/emnist-letters",
    "two/emnist",
    "two/kmnist",
    "two and plain/emnist",
    "two/emnist-letters-train",
)


def folders(here, mnist):
    """Yield what is said of folders, of data sets in them, and of files by prefix."""
    for name, contents in kinds_of_folders(mnist):
        folder = write(here / name, contents)
        place = f"./{name}"
        yield f"{place}: {outcome(described_folder, place)}"
        if name in ("known", "fashion", "plain", "dotted"):
            yield f"mnist in {name}: {outcome(described_folder, 'mnist', folder)}"
        if name in ("known", "fashion", "plain", "eleven"):
            text = outcome(described_folder, "fashion-mnist", folder)
            yield f"fashion-mnist in {name}: {text}"
    for name in PREFIXES:
        yield f"{name}: {outcome(described_folder, name)}"


def test_folders_are_taken_or_refused(here, monkeypatch):
    mnist = small_mnist(seed=7)
    for name, content in mnist.items():
        monkeypatch.setitem(files.CHECKSUMS, name, files.checksum(content))
    monkeypatch.setattr("mnist_tune.data.dataset.DEBIAN", here / "debian")
    fashion = outcome(described_folder, "fashion-mnist")
    lines = [f"fashion-mnist: {fashion}", *folders(here, mnist)]
    monkeypatch.chdir(here / "plain")
    lines.append(f".: {outcome(described_folder, '.')}")
    shutil.copytree(here / "fashion", here / "debian")
    fashion = outcome(described_folder, "fashion-mnist")
    lines.append(f"fashion-mnist: {fashion}")
    at_home = outcome(described_folder, "mnist", Path("~/known"))
    lines.append(f"mnist in ~/known: {at_home}")
    text = "\n".join(lines).replace(str(here), "HERE").replace(here.name, "NAME")
    for separator in (", ", " "):
        text = text.replace(separator.join(files.CHECKSUMS), "FOUR FILES")
    assert_kept("data folders", text + "\n")
