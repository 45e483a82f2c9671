"""A new set is trained from the file that a person writes, and read as the stored ones
are."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from mnist_tune import UserError
from validation import blind_set, label_cuts

STORED = Path(__file__).parents[1] / "regimes"
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

    def train(sweeps=tmp_path / "sweeps.py"):
        flags = [str(sweeps), "--set", "10", "--output", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["blind_set.py", *flags])
        blind_set.main()

    return train


@pytest.mark.ray
def test_a_set_is_read_as_the_stored_ones_are(
    train_set, one_core, tmp_path, monkeypatch
):
    monkeypatch.setattr(blind_set, "start_ray", lambda *_: None)  # the tests' own runs
    train_set()
    for part in ("trials", "epochs"):
        stored = pd.read_csv(STORED / f"unseen_10_{part}.csv")
        # set 10 has tasks
        of_networks = stored.columns.drop(["train_images", "guess"], errors="ignore")
        file = tmp_path / f"unseen_10_{part}.csv"
        # younger than set 10
        columns = pd.read_csv(file).columns.drop("loss_error", errors="ignore")
        assert list(columns) == list(of_networks), part
        assert str(EXAMPLES.parent) not in file.read_text()
    file = tmp_path / "unseen_10_labels.csv"
    labels = pd.read_csv(file)
    assert list(labels) == ["sweep", "learning_rate", "seed", "expected", "acceptable"]
    labels.assign(expected="slow").to_csv(file, index=False)
    (sweep,) = label_cuts.read_set(10, tmp_path)
    assert sweep.name == "dots radam"
    assert len(sweep.epochs) == 6
    assert list(sweep.labelled()["expected"]) == ["slow"] * 2
    with pytest.raises(UserError, match="set 10 is there already"):
        train_set()


def test_a_file_without_sweeps_is_refused(train_set, tmp_path):
    (tmp_path / "other.py").write_text("")
    for name in ("other.py", "none.py"):
        with pytest.raises(UserError, match="must be a Python file with SWEEPS"):
            train_set(sweeps=tmp_path / name)
