"""The set-up of a process that trains."""

import os

import pytest

from mnist_tune.execution import pool, process_setup
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax, make_pool
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.training.architectures import own_architectures
from mnist_tune.training.optimizers import own_optimizers


def test_a_pool_gets_the_settings_of_its_sweep(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(process_setup, "configure_jax", lambda settings: None)
    monkeypatch.setattr(pool, "LanePool", lambda *given: made.append(given))
    sharpness = SharpnessSettings(every=10)
    own = {"architecture": {"my.py:net": "a factory"}, "optimizer": {"my.py:rule": "another"}}
    masks = []
    monkeypatch.setattr(os, "umask", masks.append)
    make_pool("data", WorkerSettings(tmp_path, train_evaluation=500, sharpness=sharpness, own_code=own, umask=0o27), 7)
    assert made == [("data", 7, 500, sharpness)]
    assert masks == [0o27]
    assert own_architectures() == own["architecture"]
    assert own_optimizers() == own["optimizer"]
    make_pool("data", WorkerSettings(tmp_path))
    assert made[1:] == [("data", 1, None, None)]
    assert masks == [0o27]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"threads": 3, "memory_fraction": 0.12345}, {"PJRT_NPROC": "3", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.123"}),
        ({}, {"PJRT_NPROC": "1"}),
        ({"threads": None}, {}),
    ],
)
def test_jax_is_told_its_threads_and_its_share_of_the_memory(settings, expected, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    configure_jax(WorkerSettings("states", **settings))
    assert os.environ == {"TF_CPP_MIN_LOG_LEVEL": "2", **expected}
