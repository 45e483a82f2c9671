"""Sharpness in a pool: when it is measured, that training does not notice, and the rows
that come of it."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_tune.execution.memory import Memory
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.sharpness import SharpnessSettings, sharpness_columns
from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.sweep import load_sweep
from mnist_tune.training import curvature
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

CONFIG = TrialConfig(architecture="random", batch_size=1500)
COLUMNS = ("sharpness", "sharpness_residual", "batch_sharpness")
OF_THE_BATCH = (
    "compile_s",
    "train_s",
    "eval_s",
    "batch_s",
    "wait_s",
    "ended_at",
    "lanes",
    "fill",
)


def random(data):
    def init(key):
        return 0.1 * jax.random.normal(key, (data.size, data.classes)), ()

    def apply(params, state, x):
        return x.reshape(len(x), -1) @ params

    def train_apply(params, state, x, key):
        # to draw more would take long to compile
        bits = jax.random.key_data(key)[0]
        factor = bits.astype(jnp.float32) * 2.0**-32
        return factor * x.reshape(len(x), -1) @ params, state

    return Network(init, apply, train_apply)


@pytest.fixture(scope="module", autouse=True)
def network():
    register("random")(random)
    yield
    del ENTRIES["architecture"]["random"]


@pytest.mark.parametrize("every", [1, 2, 5, 7, 8, 30])
def test_it_is_measured_at_multiples_whatever_the_steps_of_an_epoch(every):
    """By default after each epoch."""
    settings = SharpnessSettings(every)
    steps = 7
    measured = []
    for done in range(0, 8 * steps, steps):
        measured += [done + step for step in settings.due(done, steps)]
    assert measured == list(range(every, 8 * steps + 1, every))
    assert SharpnessSettings().due(7, steps) == [7]


EVERY_TWO_STEPS = SharpnessSettings(2, 50)


def steps_of(row):
    """Return the steps after which it was measured."""
    return [step for step, *_ in row.sharpness_steps]


def without_sharpness(row):
    return {
        name: value
        for name, value in row.report().items()
        if "sharpness" not in name and name not in OF_THE_BATCH
    }


@pytest.mark.usefixtures("as_users_have_it")  # optax promotes
@pytest.mark.slow
def test_it_is_the_same_after_a_resume_and_among_lanes_of_another_age(few_images):
    """Four steps an epoch, measured every two. Only the training of lanes is rounded
    otherwise."""
    config = replace(
        CONFIG, batch_size=256, optimizer="adam(b1=0.8)", learning_rate=0.01
    )
    alone = LanePool(few_images, sharpness=EVERY_TWO_STEPS)
    alone.attach("a", config)
    rows = [alone.run(["a"])["a"]]
    saved = alone.checkpoint("a")
    rows += [alone.run(["a"])["a"] for _ in range(2)]
    assert [steps_of(row) for row in rows] == [[0, 2, 4], [6, 8], [10, 12]]
    for row in rows:
        assert {len(measurement) for measurement in row.sharpness_steps} == {6}
        assert row.preconditioned_sharpness == row.sharpness_steps[-1][4]

    # training does not notice
    plain = LanePool(few_images)
    plain.attach("a", config)
    for row in rows:
        row_of_training = plain.run(["a"])["a"]
        assert without_sharpness(row) == without_sharpness(row_of_training)

    resumed = LanePool(few_images, sharpness=EVERY_TWO_STEPS)
    resumed.attach("a", config, saved)
    lanes = LanePool(few_images, 2, sharpness=EVERY_TWO_STEPS)
    lanes.attach("a", config, saved)
    lanes.attach("b", replace(config, seed=1, optimizer="adam(b1=0.5)"))
    steps_of_the_younger = []
    for row in rows[1:]:
        resumed_row = resumed.run(["a"])["a"]
        assert resumed_row.sharpness_steps == row.sharpness_steps
        together = lanes.run(["a", "b"])
        steps_of_the_younger.append(steps_of(together["b"]))
        np.testing.assert_allclose(
            together["a"].sharpness_steps, row.sharpness_steps, rtol=1e-2, atol=1e-5
        )
    assert steps_of_the_younger == [[0, 2, 4], [6, 8]]


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.slow
def test_however_the_measurements_fall_few_programs_are_compiled(few_images):
    """65 steps an epoch, measured every 11. Training does not notice."""
    config = replace(CONFIG, batch_size=13, holdout=185, learning_rate=0.01)
    losses = []
    for settings, most_programs in ((SharpnessSettings(11, 50), 5), (None, 1)):
        pool = LanePool(few_images, sharpness=settings)
        pool.attach("a", config)
        losses.append([pool.run(["a"])["a"].train_loss for _ in range(5)])
        executor = pool.lanes["a"].group.executor
        assert len(executor.sizes) <= most_programs
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("as_users_have_it")
def test_lanes_that_have_not_converged_are_measured_again(few_images, monkeypatch):
    monkeypatch.setattr(curvature, "PRODUCTS", 1)
    for products in (1, curvature.MORE_PRODUCTS):
        monkeypatch.setattr(curvature, "MORE_PRODUCTS", products)
        pool = LanePool(few_images, sharpness=SharpnessSettings(images=50))
        pool.attach("a", replace(CONFIG, batch_size=256))
        row = pool.run(["a"])["a"]
        has_converged = row.sharpness_residual <= curvature.TOLERANCE
        assert has_converged == (products > 1)


def test_more_images_are_looked_at_once_a_network_is_trained():
    settings = SharpnessSettings()
    assert settings.images_at(0) == 1000
    assert settings.images_at(1) == 5000
    assert settings.images_at(500) == 5000
    chosen = SharpnessSettings(images=70)
    assert chosen.images_at(0) == 70
    assert chosen.images_at(1) == 70


def test_an_epoch_without_a_measurement_has_none():
    losses = {"untrained_loss": 2.4, "least_loss": 2.4}
    before = Memory(epoch=3, untrained_sharpness=1.5, **losses)
    row = sharpness_columns([], before)
    assert row == {"sharpness_steps": (), "untrained_sharpness": 1.5}


def test_a_data_set_may_have_fewer_images_than_a_measurement_takes(few_images):
    """And than a batch has."""
    pool = LanePool(few_images, 2, train_evaluation=100, sharpness=SharpnessSettings(1))
    for i in range(2):
        pool.attach(str(i), replace(CONFIG, batch_size=512, seed=i, holdout=900))
    for row in pool.run(["0", "1"]).values():
        for name in ("untrained_sharpness", *COLUMNS):
            assert 0 < getattr(row, name) < math.inf
        assert row.untrained_sharpness == row.sharpness_steps[0][1]


def test_the_table_of_all_measurements(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path)
    first = epoch_row(1, sharpness_steps="[[0, 1.5, 0.01, 0.5], [10, NaN, NaN, NaN]]")
    second = epoch_row(2, sharpness_steps="[[20, 2.5, 0.02, 0.6]]")
    writer.epoch("00000", first, False)
    writer.epoch("00000", second, False)
    writer.epoch("00001", epoch_row(1), False)
    writer.finish(ended="now")
    table = load_sweep(tmp_path).sharpness().iloc[:, :5]
    columns = "trial_id step sharpness residual batch_sharpness"
    assert list(table.columns) == columns.split()
    rows = table.to_numpy().tolist()
    assert len(rows) == 3
    assert rows[0] == ["00000", 0, 1.5, 0.01, 0.5]
    np.testing.assert_equal(rows[1], ["00000", 10, np.nan, np.nan, np.nan])
    assert rows[2] == ["00000", 20, 2.5, 0.02, 0.6]
