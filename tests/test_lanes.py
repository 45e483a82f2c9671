"""The pool of lanes in one process: compilations, restore, the values used."""

import jax
import numpy as np
import pytest

from mnist_tune.checkpoint import Checkpoint
from mnist_tune.config import TrialConfig
from mnist_tune.errors import UserError
from mnist_tune.lanes import LanePool

SMALL = TrialConfig(architecture="mlp-8-tanh", epochs=4)
TIMES = ("compile_s", "train_s", "eval_s", "batch_s")


def numbers(row):
    return {name: value for name, value in row.items() if name not in TIMES}


@pytest.fixture
def compilations():
    counted = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    yield counted
    jax.monitoring.unregister_event_duration_listener(count)


def test_sixteen_learning_rates_compile_once(mnist_5k, compilations):
    pool = LanePool(mnist_5k)
    for i, rate in enumerate(np.geomspace(0.001, 4, 16)):
        pool.attach(str(i), TrialConfig(architecture="mlp-8-tanh", learning_rate=float(rate)))
        row = pool.run([str(i)])[str(i)]
        pool.run([str(i)])
        pool.detach(str(i))
        if i == 0:
            assert row["compile_s"] > 0
            assert len(compilations) > 0
            compilations.clear()
    assert compilations == []


def test_a_restored_trial_is_bit_identical(mnist_5k, tmp_path):
    config = TrialConfig(architecture="mlp-8-tanh", momentum=0.9, learning_rate=0.02)
    straight = LanePool(mnist_5k)
    straight.attach("a", config)
    rows = [straight.run(["a"])["a"] for _ in range(4)]
    first = LanePool(mnist_5k)
    first.attach("a", config)
    first.run(["a"])
    first.run(["a"])
    first.checkpoint("a").save(tmp_path / "a.npz")
    second = LanePool(mnist_5k)
    second.attach("a", config, Checkpoint.load(tmp_path / "a.npz"))
    for epoch in (2, 3):
        assert numbers(second.run(["a"])["a"]) == numbers(rows[epoch])


def test_a_reused_lane_starts_anew(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    first = pool.run(["a"])["a"]
    pool.detach("a")
    pool.attach("b", SMALL)
    assert numbers(pool.run(["b"])["b"]) == numbers(first)


def test_a_full_pool_and_a_foreign_state_are_refused(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    with pytest.raises(UserError, match="lanes"):
        pool.attach("b", SMALL)
    other = TrialConfig(architecture="mlp-9-tanh")
    with pytest.raises(UserError, match="does not fit"):
        pool.attach("c", other, pool.checkpoint("a"))


def test_detaching_twice_frees_one_lane(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", SMALL)
    pool.detach("a")
    pool.detach("a")
    pool.attach("b", SMALL)
    with pytest.raises(UserError):
        pool.attach("c", SMALL)


def test_label_noise_and_holdout_reach_the_training(mnist_5k):
    pool = LanePool(mnist_5k)
    plain = {}
    for name, fields in {"plain": {}, "noise": {"label_noise": 3000}, "holdout": {"holdout": 500}}.items():
        pool.attach(name, TrialConfig(architecture="mlp-8-tanh", **fields))
        plain[name] = [pool.run([name])[name] for _ in range(3)][-1]
    assert plain["noise"]["train_accuracy"] < plain["plain"]["train_accuracy"] - 0.2
    assert "validation_accuracy" not in plain["plain"]
    assert 0.1 < plain["holdout"]["validation_accuracy"] < 1
    assert plain["holdout"]["step"] == 3 * -(-3500 // 128)


def test_a_rate_that_is_too_large_diverges_at_a_step(mnist_5k):
    pool = LanePool(mnist_5k)
    pool.attach("a", TrialConfig(architecture="mlp-8-tanh", learning_rate=1e6))
    row = pool.run(["a"])["a"]
    assert row["diverged"]
    assert 1 <= row["above_since"] <= row["step"]
    assert row["step_loss_max"] > row["untrained_loss"]
