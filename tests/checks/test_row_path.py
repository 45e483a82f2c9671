"""What counts as the row, and where a path begins and ends. The files are made up."""

import sys

import numpy as np
import pytest

from checks import row_path
from checks.row_path import DEPTH, FOLLOWED, Follower
from mnist_tune.execution.checkpoint import Checkpoint

ROW = {"epoch": FOLLOWED, "step_loss_first": 2.25, "train_loss": 0.3, "above_since": None}


@pytest.fixture
def driver():
    follower = Follower(begun=True)
    assert follower._carries(ROW, DEPTH)
    return follower


@pytest.mark.parametrize(
    ("value", "carries"),
    [
        (ROW | {"done": False}, True),
        ([("00000", ROW)], True),
        (Checkpoint({}, ROW), True),
        ('{"kind": "epoch", "step_loss_first": 2.25}', True),
        (0.3, True),
        (ROW | {"step_loss_first": 2.5}, False),  # another epoch's
        (Checkpoint({}, {"epoch": 0}), False),
        ("step_loss_first", False),
        (0.4, False),
        (FOLLOWED, False),  # any count of 2
        (None, False),
    ],
)
def test_what_is_the_row(driver, value, carries):
    assert driver._carries(value, DEPTH) is carries


def test_a_path_begins_with_the_losses_and_ends_with_the_journals_line(tmp_path, monkeypatch):
    """Three files of a package: one returns the losses, one makes the row and writes it, one has nothing of it."""
    texts = {
        "train": "def train(losses):\n    return losses\n",
        "idle": "def idle(number):\n    return number\n",
        "write": "def write(losses, file):\n    row = made(losses)\n    file.write(str(row))\n    after(row)\n"
        "def made(losses):\n    return {'epoch': 2, 'step_loss_first': float(losses[0])}\n",
        "late": "def after(row):\n    return row\n",
    }
    functions = {}
    for name, text in texts.items():
        exec(compile(text, str(tmp_path / f"{name}.py"), "exec"), functions)
    monkeypatch.setattr(row_path, "ROOT", tmp_path)
    monkeypatch.setattr(row_path, "BEGIN", ("train.py", "train"))
    follower = Follower(begun=False)
    with open(tmp_path / "journal.jsonl", "w") as file:
        sys.setprofile(follower)
        try:
            functions["made"]([1.5])
            losses = functions["train"](np.array([2.25, 2.0]))
            functions["idle"](3)
            functions["write"](losses, file)
        finally:
            sys.setprofile(None)
    assert follower.files == {"train.py": "train", "write.py": "write"}
