"""The loops among the examples: each trains, saves and goes on, in this process."""

import os
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest

from mnist_tune import Run, TrialConfig

FOLDER = Path(__file__).parents[2] / "examples" / "loops"


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize(
    ("module", "name"), [("torch_cnn", "cnn"), ("nnx_augmented", "cnn")]
)
def test_an_example_goes_on_from_what_it_saved(module, name, tmp_path):
    pytest.importorskip("torch")
    trial = TrialConfig(learning_rate=0.3, epochs=3, batch_size=100)
    with patch.dict(os.environ):
        loop = getattr(import_module(f"examples.loops.{module}"), name)
        run = Run(trial, "00000", {})
        first, second, _ = loop(run)
        run.save(tmp_path)
        again = Run(trial, "00000", {}, epochs_done=2, state=tmp_path)
        [third] = loop(again)
    assert {*first} >= {*loop.needed}
    assert loop.held_out == 300
    assert second["train_loss"] < first["train_loss"]
    assert third["train_loss"] < second["train_loss"]
