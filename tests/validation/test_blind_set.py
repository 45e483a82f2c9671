"""A new set is trained from the file that a person writes, and read as the stored ones
are."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from mnist_tune import UserError
from validation import blind_set, label_cuts

EXAMPLES = Path(__file__).parents[2] / "examples" / "networks.py"
WRITTEN = f"""
import numpy as np
from validation.blind_set import Case

def dots():
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    return x[:40], (x[:40, 0] > 0).astype(int), x[40:], (x[40:, 0] > 0).astype(int)

NET = "{EXAMPLES}:residual(width=4, blocks=1)"
SWEEPS = [Case("dots radam", dots, NET, (0.01, 0.1), 3, {{"optimizer": "{EXAMPLES}:radam", "batch_size": 20}})]
"""


@pytest.fixture
def train_set(tmp_path, monkeypatch):
    (tmp_path / "sweeps.py").write_text(WRITTEN)
    monkeypatch.setattr(label_cuts, "SETS", tmp_path)

    def train(*more, sweeps=tmp_path / "sweeps.py"):
        flags = [str(sweeps), "--set", "10", "--output", str(tmp_path), *more]
        monkeypatch.setattr(sys, "argv", ["blind_set.py", *flags])
        blind_set.main()

    return train


@pytest.mark.ray
def test_a_set_is_read_as_the_stored_ones_are(
    train_set, one_core, tmp_path, monkeypatch
):
    monkeypatch.setattr(blind_set, "start_ray", lambda *_: None)  # the tests' own runs
    train_set()
    stored = [
        pd.read_csv(Path(__file__).parents[1] / "regimes" / f"unseen_10_{part}.csv")
        for part in ("trials", "epochs")
    ]
    for part, like in zip(("trials", "epochs"), stored, strict=True):
        text = (tmp_path / f"unseen_10_{part}.csv").read_text()
        # set 10 has tasks
        of_networks = [name for name in like if name not in ("train_images", "guess")]
        # younger than set 10
        columns = [
            name for name in text.splitlines()[0].split(",") if name != "loss_error"
        ]
        assert columns == of_networks, part
        assert str(EXAMPLES.parent) not in text
    labels = pd.read_csv(tmp_path / "unseen_10_labels.csv")
    assert list(labels) == ["sweep", "learning_rate", "seed", "expected", "acceptable"]
    labels.assign(expected="slow").to_csv(
        tmp_path / "unseen_10_labels.csv", index=False
    )
    (sweep,) = label_cuts.read_set(10, tmp_path)
    assert (sweep.name, len(sweep.epochs), list(sweep.labelled()["expected"])) == (
        "dots radam",
        6,
        ["slow"] * 2,
    )
    with pytest.raises(UserError, match="set 10 is there already"):
        train_set()


def test_a_file_without_sweeps_is_refused(train_set, tmp_path):
    (tmp_path / "other.py").write_text("")
    for name in ("other.py", "none.py"):
        with pytest.raises(UserError, match="must be a Python file with SWEEPS"):
            train_set(sweeps=tmp_path / name)
