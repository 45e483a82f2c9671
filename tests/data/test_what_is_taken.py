"""What becomes of data of many shapes, to the letter (`kept_texts`), and what is said
of those that are refused."""

import gzip
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from idx_files import idx, small_mnist, write
from kept_texts import assert_kept
from outcomes import outcome

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
    return f"{array.dtype} {list(array.shape)} {' '.join(f'{value:.3g}' for value in array.ravel()[-3:])}"


def described(dataset):
    """A data set in a line."""
    parts = (
        dataset.train_images,
        dataset.train_labels,
        dataset.test_images,
        dataset.test_labels,
    )
    arrays, spec = (
        "; ".join(map(line, parts)),
        str(dataset.spec).replace("DataSpec", ""),
    )
    return f"{arrays}; {spec} from {dataset.source}, sums of {' '.join(dataset.checksums)}; {dataset.note}".strip(
        "; "
    )


IMAGES = {
    "floats": X,
    "True and False": X > 0.5,
    "bytes": WHOLE.astype(np.uint8) * 11,
    "whole numbers to 127": largest(127, int),
    "whole numbers to 128": largest(128, int),
    "whole numbers to 255": largest(255, np.int64),
    "whole numbers to 256": largest(256, int),
    "whole numbers to 65535": largest(65535, int),
    "whole numbers to 65536": largest(65536, int),
    "whole numbers below 0": largest(-3, np.int8),
    "whole floats to 128": largest(128),
    "whole floats to 255": largest(255),
    "whole floats to 256": largest(256),
    "floats to 255 that are not whole": largest(255) + 0.5 * (WHOLE == 0),
    "floats from -1 to 200": largest(200) - (WHOLE == 0),
    "a root mean square of 10": np.full((12, 2), 10.0),
    "a root mean square above 10": np.full((12, 2), 10.01),
    "large floats that are seldom": largest(48),
    "an example of NaN": largest(np.nan),
    "masked values": np.ma.masked_less(X, 0.1),
    "a mask of nothing": np.ma.masked_less(X, 0),
    "infinity": np.array([[0.0, 1.0], [np.inf, 0.0]] * 6),
    "texts": X.astype(str),
    "a row": X[:, 0],
    "no examples": X[:0],
    "examples of nothing": X[:, :0],
    "a list": WHOLE.tolist(),
    "one number each": X[:, :1],
    "squares": largest(1, shape=(12, 2, 3)),
    "squares of channels": largest(1, shape=(12, 2, 3, 2)),
}
LABELS = {
    "floats": Y.astype(float),
    "targets of a regression": np.stack([Y / 2, Y / 3], 1),
    "True and False": Y > 0,
    "a column": Y[:, None],
    "one column of several": np.stack([Y, Y], 1),
    "one-hot": np.eye(3)[Y],
    "cubes": np.zeros((12, 1, 1)),
    "texts": Y.astype(str),
    "halves": Y + 0.5,
    "NaN": Y + np.nan,
    "complex numbers": Y * 1j,
    "masked": np.ma.masked_equal(Y, 2),
    "below 0": labels(-1),
    "2**31": labels(2**31),
    "2**31 - 1": labels(2**31 - 1),
    "as many as there are": labels(12),
    "one less": labels(11),
    "a class without examples": labels(5),
    "two without": 2 * Y,
    "one class": 0 * Y,
    "two classes": Y % 2,
    "eleven": Y[:11],
    "none": Y[:0],
}
TOKENS_OF = {
    "a label for each token": (TOKENS, TOKENS[:, ::-1], TOKENS, TOKENS),
    "tokens above 255": (1000 * TOKENS, TOKENS, 1000 * TOKENS, TOKENS),
    "more labels than tokens": (TOKENS, np.hstack([TOKENS, TOKENS]), TOKENS, TOKENS),
    "tokens of floats": (TOKENS / 1.0, TOKENS, TOKENS / 1.0, TOKENS),
    "labels that sum to 1": (
        TOKENS,
        np.eye(2, dtype=int)[Y % 2],
        TOKENS,
        np.eye(2, dtype=int)[Y % 2],
    ),
    "a label an example in the test part": (TOKENS, TOKENS, TOKENS, Y),
    "a label an example in the training part": (TOKENS, Y, TOKENS, TOKENS),
    "labels as many as there are": (
        TOKENS,
        np.where(WHOLE == 23, 24, TOKENS),
        TOKENS,
        TOKENS,
    ),
    "labels one less": (TOKENS, np.where(WHOLE == 23, 23, TOKENS), TOKENS, TOKENS),
    "a test part of labels beyond any vocabulary": (
        TOKENS,
        2 * TOKENS,
        TOKENS,
        TOKENS + 2**20,
    ),
    "without a test part": (TOKENS, TOKENS),
}
PARTS = {
    "no test part": (X, Y),
    "no test part, six examples": (X[:6], Y[:6]),
    "no test part, five examples": (X[:5], Y[:5]),
    "three arrays": (X, Y, X),
    "a list of arrays": [X, Y, X[:4], Y[:4]],
    "other shapes": (X, Y, X[:, :1], Y),
    "other shapes of the same size": (X.reshape(12, 1, 2), Y, X, Y),
    "floats and whole numbers": (X, Y, WHOLE, Y),
    "bytes and floats": (WHOLE.astype(np.uint8), Y, X, Y),
    "parts of two ranges": (largest(100, int), Y, largest(300, int), Y),
    "whole floats in one part": (largest(200), Y, X, Y),
    "a test part of one class more": (X, Y, X, labels(3)),
    "a test part of a class less": (X, Y, X[:1], Y[:1]),
    "a test part without examples": (X, Y, X[:0], Y[:0]),
    "a number": 7,
}


@pytest.mark.promise("What is wrong with data is one line with a remedy")
def test_arrays_are_taken_or_refused(caplog):
    """Each as the images, or the labels, of both parts."""
    lines = []
    cases = {
        f"x of {name}": (images, Y[: len(images)], images, Y[: len(images)])
        for name, images in IMAGES.items()
    }
    cases["x of eleven"] = (X[:11], Y, X, Y)
    cases |= {f"y of {name}": (X, found, X, found) for name, found in LABELS.items()}
    cases |= {
        f"y_test of {name}": (X, Y, X, LABELS[name]) for name in ("below 0", "eleven")
    }
    for name, arrays in (cases | TOKENS_OF | PARTS).items():
        caplog.clear()
        lines.append(f"{name}: {outcome(lambda: described(load_dataset(arrays)))}")  # noqa: B023
        assert not caplog.messages or caplog.messages[0] in lines[-1]
        lines[-1] += "; warned" * len(caplog.messages)
    for name in (
        "floats",
        "bytes",
        "whole numbers to 65536",
        "squares",
        "squares of channels",
        "one number each",
    ):
        arrays = IMAGES[name], Y, IMAGES[name], Y
        spec = load_dataset(arrays, standardize=True).spec
        lines.append(
            f"{name}, standardised: {np.round([spec.mean, spec.deviation], 4).tolist()}"
        )
    tokens = TOKENS_OF["tokens above 255"]
    lines.append(
        f"tokens, standardised: {outcome(load_dataset, tokens, standardize=True)}"
    )
    for first in (1, 12, 13):
        lines.append(
            f"first {first}: {outcome(lambda: described(load_dataset((X, Y, X, Y), train_images=first)))}"  # noqa: B023
        )
    assert_kept("data arrays", "\n".join(lines) + "\n")


def test_the_scale_of_a_thousand_examples_is_looked_at():
    images = np.zeros((1001, 1), np.float32)
    images[999:, 0] = 9_000, 0
    notes = [own.scale_note(images)]
    images[999:, 0] = 0, 9_000
    assert [*notes, own.scale_note(images)] == [
        "its values, 0 to 9000, are trained as they are; divide them, or use --standardize",
        "",
    ]


COUNTS = (
    {"batch_size": 12},
    {"batch_size": 13},
    {"batch_size": 1, "holdout": 11},
    {"batch_size": 1, "holdout": 12},
    {"batch_size": 1, "label_noise": 12},
    {"batch_size": 1, "label_noise": 13},
    {"batch_size": 1, "label_noise": 6, "holdout": 6},
    {"batch_size": 1, "label_noise": 6, "holdout": 7},
    {"batch_size": 6, "holdout": 7},
    {"batch_size": 6, "holdout": 7, "drop_last": True},
    {"batch_size": 6, "holdout": 6, "drop_last": True},
)


def test_trials_that_need_too_many_images_are_refused():
    plain, tokens = (
        load_dataset((X, Y, X, Y)),
        load_dataset((TOKENS, TOKENS, TOKENS, TOKENS)),
    )
    lines = [
        f"{one}: {outcome(check_counts, [TrialConfig(), TrialConfig(**one)][1:], plain)}"
        for one in COUNTS
    ]
    for noise in (0, 1):
        one = TrialConfig(batch_size=1, label_noise=noise)
        lines.append(
            f"tokens, label_noise={noise}: {outcome(check_counts, [one], tokens)}"
        )
    assert_kept("data counts", "\n".join(lines) + "\n")


# --- files


IDX = {
    "nothing": b"",
    "three bytes": b"\0\0\x08",
    "no dimensions": bytes([0, 0, 8, 0]),
    "one dimension": idx(np.arange(3, dtype=np.uint8)),
    "three dimensions": idx(np.arange(12, dtype=np.uint8).reshape(1, 3, 4)),
    "four dimensions": idx(np.zeros((1, 1, 1, 1), np.uint8)),
    "another type": b"\0\0\x0d\x01\0\0\0\0",
    "another magic number": b"\0\1\x08\x01\0\0\0\0",
    "a text": b"<html>",
    "no header": bytes([0, 0, 8, 2, 0, 0]),
    "one byte too few": idx(np.arange(6, dtype=np.uint8).reshape(2, 3))[:-1],
    "one byte too many": idx(np.arange(6, dtype=np.uint8).reshape(2, 3)) + b"\0",
    "no elements": idx(np.zeros((0, 2), np.uint8)),
}
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


def test_files_are_taken_or_refused(here, monkeypatch):
    lines = [
        f"IDX of {name}: {outcome(lambda: line(read_idx(content, 'it')))}"  # noqa: B023
        for name, content in IDX.items()
    ]
    for name, arrays in NPZ.items():
        np.savez(here / "mine.npz", **arrays)
        lines.append(
            f"npz {name}: {outcome(lambda: described(load_dataset('mine.npz')))}"
        )
    whole = here / "whole.npz"
    np.savez(whole, **NPZ["whole"])
    sizes = [SimpleNamespace(file_size=2**30), SimpleNamespace(file_size=2**31)]
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "infolist", lambda file: sizes)
        for memory in (3 * 2**30, 3 * 2**30 - 1, 2**29):
            patch.setattr(own, "usable_memory", lambda: memory)  # noqa: B023
            lines.append(
                f"3 GiB, memory of {memory}: {outcome(lambda: load_dataset('whole.npz').name)}"
            )
    monkeypatch.setattr(own, "usable_memory", lambda: 2**33)
    (here / "noise.npz").write_bytes(b"noise")
    (here / "array.npz").write_bytes(whole.read_bytes()[:-30])
    (here / "folder.npz").mkdir()
    shutil.copy(whole, here / "plain")
    shutil.copy(whole, here / "digits")
    (here / "linked.npz").symlink_to(whole)
    for name in (
        *(
            "noise.npz",
            "array.npz",
            "folder.npz",
            "missing.npz",
            "plain",
            "./digits",
            "linked.npz",
            "~/plain",
            whole,
        ),
        *(
            "minst",
            "emnist",
            "nowhere",
            "no/where",
            "./nowhere",
            "",
            here / "nowhere.npz",
            Path("digits"),
            "x" * 256,
        ),
    ):
        lines.append(f"{name}: {outcome(lambda: described(load_dataset(name)))}")  # noqa: B023
    for name in ("plain", "digits", "mnist-5k", "mnist", "fashion-mnist", "x.npz"):
        lines.append(
            f"{name} of a folder: {outcome(load_dataset, name, here / 'nowhere')}"
        )
    (here / "raw").write_bytes(b"\x1f\x8b")
    for path in (here / "raw", here / "missing", here):
        lines.append(f"{path}: {outcome(read_raw, path)}")
    text = (
        "\n".join(lines)
        .replace(str(here), "HERE")
        .replace(", ".join(files.CHECKSUMS), "FOUR FILES")
    )
    assert_kept("data files", text + "\n")


def named(found, prefix="", test="t10k", dot="-", zipped=False):
    """Four IDX files by other names."""
    names = {
        name.replace("t10k", test).replace("-idx", f"{dot}idx"): content
        for name, content in found.items()
    }
    return {
        f"{prefix}{name}{'.gz' * zipped}": gzip.compress(content) if zipped else content
        for name, content in names.items()
    }


def test_folders_are_taken_or_refused(here, monkeypatch):
    known = small_mnist(seed=7)
    for name, content in known.items():
        monkeypatch.setitem(files.CHECKSUMS, name, files.checksum(content))
    monkeypatch.setattr("mnist_tune.data.dataset.DEBIAN", here / "debian")
    tiny = {
        name: idx(
            np.arange(20, dtype=np.uint8) % 2
            if "labels" in name
            else np.full((20, 1, 2), 200, np.uint8)
        )
        for name in known
    }
    whole = small_mnist(200)
    folders = {
        "empty": {},
        "plain": named(tiny),
        "dotted": named(tiny, dot="."),
        "zipped": named(tiny, zipped=True),
        "test": named(tiny, test="test"),
        "upper": {name.upper(): content for name, content in named(tiny).items()},
        "three": dict(list(named(tiny).items())[1:]),
        "known": named(known),
        "one": named(tiny, "emnist-letters-"),
        "two": named(tiny, "emnist-letters-") | named(tiny, "emnist-digits-"),
        "two and plain": named(tiny, "emnist-letters-") | named(known),
        "both": named(tiny) | named(known, zipped=True),
        "damaged": named(tiny) | {"train-labels-idx1-ubyte": b"\x1f\x8b"},
        "fashion": named(whole),
        "eleven": named(
            whole | {"train-labels-idx1-ubyte": idx(np.uint8(np.arange(200) % 11))}
        ),
    }
    lines = []

    def of(dataset):
        sums = " ".join(dataset.checksums)
        return f"{dataset.name} from {dataset.source}, {dataset.spec.shape}, {dataset.test_labels[-3:]}, {sums}"

    def say(name, *arguments):
        lines.append(f"{name}: {outcome(lambda: of(load_dataset(*arguments)))}")

    say("fashion-mnist", "fashion-mnist")
    for name, found in folders.items():
        folder = write(here / name, found)
        say(f"./{name}", f"./{name}")
        if name in ("known", "fashion", "plain", "dotted"):
            say(f"mnist in {name}", "mnist", folder)
        if name in ("known", "fashion", "plain", "eleven"):
            say(f"fashion-mnist in {name}", "fashion-mnist", folder)
    for name in (
        "two/emnist-letters",
        "two/emnist",
        "two/kmnist",
        "two and plain/emnist",
        "two/emnist-letters-train",
    ):
        say(name, name)
    monkeypatch.chdir(here / "plain")
    say(".", ".")
    shutil.copytree(here / "fashion", here / "debian")
    say("fashion-mnist", "fashion-mnist")
    say("mnist in ~/known", "mnist", Path("~/known"))
    text = "\n".join(lines).replace(str(here), "HERE").replace(here.name, "NAME")
    text = text.replace(", ".join(files.CHECKSUMS), "FOUR FILES").replace(
        " ".join(files.CHECKSUMS), "FOUR FILES"
    )
    assert_kept("data folders", text + "\n")
