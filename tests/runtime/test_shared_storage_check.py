"""The check that a node reaches the folder of saved states."""

import platform
import threading

import pytest

from mnist_tune import storage
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime.nodes import blindness
from mnist_tune.tuning import trainable


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_folder_without_the_right_token_is_not_the_sweeps(kind, tmp_path, bucket):
    states = tmp_path if kind == "local" else bucket
    assert (
        f"reaches {states} ({platform.node()}: there is no such folder); give"
        in blindness(states, "mine")
    )
    storage.write(storage.join(states, TOKEN), b"others")
    assert f"({platform.node()}: another folder); give --output a folder" in blindness(
        states, "mine"
    )
    storage.write(storage.join(states, TOKEN), b"mine")
    assert blindness(states, "mine") == ""


def test_storage_that_does_not_answer_is_reported(silent_s3):
    assert "Connection refused" in blindness(
        silent_s3.uri("mnist-tune", "states"), "mine", 0
    )


def test_a_trial_waits_for_storage_that_fails_once(bucket, silent_s3, tmp_path):
    storage.write(storage.join(bucket, TOKEN), b"mine")
    threading.Timer(0.5, silent_s3.start).start()
    assert blindness(silent_s3.uri("mnist-tune", tmp_path.name), "mine") == ""


@pytest.mark.promise(
    "A node that does not see the folder ends no sweep, only its trial"
)
def test_a_trial_on_a_node_without_the_folder_ends_in_an_error(tmp_path, monkeypatch):
    """Without the error the trial would start again from its first epoch, unnoticed."""
    monkeypatch.setattr(trainable, "make_pool", lambda dataset, settings: None)
    settings = WorkerSettings(tmp_path / "elsewhere", "mine")
    trial = object.__new__(trainable.TrialTrainable)
    trial._trial_info = None
    trial.setup({"trial": {"trial_id": "00000"}}, None, settings)
    row = trial.step()
    assert row["done"]
    assert row["stop_reason"] == "error"
    assert "--output a folder that all of them share, or object storage" in row["error"]
