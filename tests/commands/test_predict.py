"""`mnist-tune predict`: which array it takes, and what it writes. What it predicts:
tests/whole/test_predictions.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from text_tables import barred_rows

from mnist_tune import UserError
from mnist_tune.commands import predict

LOADED = SimpleNamespace(predict=lambda x: np.asarray(x).argmax(-1))
SWEEP = SimpleNamespace(
    path="sweep",
    record=SimpleNamespace(trains_tasks=False),
    load=lambda *_, **options: LOADED,
)
X = np.eye(3)[[2, 0, 1]]
TOKENS = np.eye(3)[[[2, 0], [1, 1]]]


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "one.npy", X)
    np.savez(tmp_path / "one.npz", images=X)
    np.savez(tmp_path / "two.npz", x_test=X, y_test=X[::-1])
    np.savez(tmp_path / "none.npz")
    np.save(tmp_path / "texts.npy", np.array([{}]))
    np.save(tmp_path / "tokens.npy", TOKENS)
    (tmp_path / "photo.png").write_bytes(b"PNG")


@pytest.mark.parametrize("words", ["one.npy", "one.npz", "two.npz --array x_test"])
def test_it_takes_the_array_of_a_file(files, main_of, tmp_path, words):
    code, text, _ = main_of(predict, "sweep", *words.split(), load_sweep=SWEEP)
    assert code == 0
    assert text.split(",")[0] == "classes.csv has the classes of 3 images"
    assert (tmp_path / "classes.csv").read_text() == "class\n2\n0\n1\n"


def test_a_line_has_all_tokens_of_an_example(files, main_of, tmp_path):
    main_of(predict, "sweep", "tokens.npy", "--output", "out.csv", load_sweep=SWEEP)
    assert (tmp_path / "out.csv").read_text() == "class_0,class_1\n2,0\n1,1\n"


REFUSED = """
    two.npz                             | two.npz has x_test, y_test; say which one: --array NAME
    two.npz --array x                   | two.npz has x_test, y_test; say which one
    none.npz                            | none.npz has no array
    one.npy --array x                   | one.npy has an array without a name; say which one
    texts.npy                           | cannot read texts.npy: Object arrays cannot be loaded; write arrays of numbers
    photo.png                           | cannot read photo.png: it is no file of NumPy; write arrays of numbers with numpy.savez
    gone.npy                            | cannot read gone.npy: No such file or directory; write
    one.npy --output no/such/folder.csv | can't write no/such/folder.csv: .*; name another --output
"""


@pytest.mark.parametrize(("words", "message"), barred_rows(REFUSED))
def test_what_cannot_be_read_or_written_is_one_line(files, main_of, words, message):
    with pytest.raises(UserError, match=message):
        main_of(predict, "sweep", *words.split(), load_sweep=SWEEP)
