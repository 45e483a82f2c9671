"""The set-up of a process that trains."""

from mnist_tune.execution import pool, process_setup
from mnist_tune.execution.process_setup import WorkerSettings, make_pool
from mnist_tune.execution.sharpness import SharpnessSettings


def test_a_pool_gets_the_settings_of_its_sweep(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(process_setup, "configure_jax", lambda settings: None)
    monkeypatch.setattr(pool, "LanePool", lambda *given: made.append(given))
    sharpness = SharpnessSettings(every=10)
    make_pool("data", WorkerSettings(tmp_path, train_evaluation=500, sharpness=sharpness), 7)
    assert made == [("data", 7, 500, sharpness)]
