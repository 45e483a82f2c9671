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

    def train_apply(params, state, x, key):
        # to draw more would take long to compile
        factor = jax.random.key_data(key)[0].astype(jnp.float32) * 2.0**-32
        return factor * x.reshape(len(x), -1) @ params, state

    return Network(
        init, lambda params, state, x: x.reshape(len(x), -1) @ params, train_apply
    )


@pytest.fixture(scope="module", autouse=True)
def network():
    register("random")(random)
    yield
    del ENTRIES["architecture"]["random"]


@pytest.mark.parametrize("every", [1, 2, 5, 7, 8, 30])
def test_it_is_measured_at_multiples_whatever_the_steps_of_an_epoch(every):
    """By default after each epoch."""
    settings, steps = SharpnessSettings(every), 7
    found = [
        done + step
        for done in range(0, 8 * steps, steps)
        for step in settings.due(done, steps)
    ]
    assert found == list(range(every, 8 * steps + 1, every))
    assert SharpnessSettings().due(7, steps) == [7]


@pytest.mark.usefixtures("as_users_have_it")  # optax promotes
@pytest.mark.slow
def test_it_is_the_same_after_a_resume_and_among_lanes_of_another_age(few_images):
    """Four steps an epoch, measured every two. Only the training of lanes is rounded
    otherwise."""
    config = replace(
        CONFIG, batch_size=256, optimizer="adam(b1=0.8)", learning_rate=0.01
    )
    other = replace(config, seed=1, optimizer="adam(b1=0.5)")

    def attached(checkpoint=None, settings=SharpnessSettings(2, 50), lanes=1):  # noqa: B008
        pool = LanePool(few_images, lanes, sharpness=settings)
        pool.attach("a", config, checkpoint)
        return pool

    def measured(row):
        return row.sharpness_steps

    def without(row):
        return {
            name: value
            for name, value in row.report().items()
            if "sharpness" not in name and name not in OF_THE_BATCH
        }

    alone, plain = attached(), attached(settings=None)
    rows = [alone.run(["a"])["a"]]
    saved = alone.checkpoint("a")
    rows += [alone.run(["a"])["a"] for _ in range(2)]
    assert [[one[0] for one in measured(row)] for row in rows] == [
        [0, 2, 4],
        [6, 8],
        [10, 12],
    ]
    assert [without(row) for row in rows] == [
        without(plain.run(["a"])["a"]) for _ in range(3)
    ]

    resumed, lanes = attached(saved), attached(saved, lanes=2)
    lanes.attach("b", other)
    together = [lanes.run(["a", "b"]) for _ in range(2)]
    for row, both in zip(rows[1:], together, strict=True):
        assert measured(resumed.run(["a"])["a"]) == measured(row)
        np.testing.assert_allclose(
            measured(both["a"]), measured(row), rtol=1e-2, atol=1e-5
        )
    assert [[one[0] for one in measured(both["b"])] for both in together] == [
        [0, 2, 4],
        [6, 8],
    ]
    assert {len(one) for row in rows for one in measured(row)} == {6}
    assert [row.preconditioned_sharpness for row in rows] == [
        (*measured(row)[-1], None)[4] for row in rows
    ]


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.slow
def test_however_the_measurements_fall_few_programs_are_compiled(few_images):
    """65 steps an epoch, measured every 11. Training does not notice."""
    config, rows = replace(CONFIG, batch_size=13, holdout=185, learning_rate=0.01), []
    for settings in (SharpnessSettings(11, 50), None):
        pool = LanePool(few_images, sharpness=settings)
        pool.attach("a", config)
        rows.append([pool.run(["a"])["a"].train_loss for _ in range(5)])
        assert len(pool.lanes["a"].group.executor.sizes) <= (5 if settings else 1)
    assert rows[0] == rows[1]


@pytest.mark.usefixtures("as_users_have_it")
def test_lanes_that_have_not_converged_are_measured_again(few_images, monkeypatch):
    monkeypatch.setattr(curvature, "PRODUCTS", 1)
    for more in (1, curvature.MORE_PRODUCTS):
        monkeypatch.setattr(curvature, "MORE_PRODUCTS", more)
        pool = LanePool(few_images, sharpness=SharpnessSettings(images=50))
        pool.attach("a", replace(CONFIG, batch_size=256))
        converged = pool.run(["a"])["a"].sharpness_residual <= curvature.TOLERANCE
        assert converged == (more > 1)


def test_more_images_are_looked_at_once_a_network_is_trained():
    assert [SharpnessSettings().images_at(step) for step in (0, 1, 500)] == [
        1000,
        5000,
        5000,
    ]
    assert [SharpnessSettings(images=70).images_at(step) for step in (0, 1)] == [70, 70]


def test_an_epoch_without_a_measurement_has_none():
    before = Memory(
        epoch=3, untrained_loss=2.4, least_loss=2.4, untrained_sharpness=1.5
    )
    row = sharpness_columns([], before)
    assert row == {"sharpness_steps": (), "untrained_sharpness": 1.5}


def test_a_data_set_may_have_fewer_images_than_a_measurement_takes(few_images):
    """And than a batch has."""
    pool = LanePool(few_images, 2, train_evaluation=100, sharpness=SharpnessSettings(1))
    for i in range(2):
        pool.attach(str(i), replace(CONFIG, batch_size=512, seed=i, holdout=900))
    for row in pool.run(["0", "1"]).values():
        assert all(
            0 < getattr(row, name) < math.inf
            for name in ("untrained_sharpness", *COLUMNS)
        )
        assert row.untrained_sharpness == row.sharpness_steps[0][1]


def test_the_table_of_all_measurements(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path)
    writer.epoch(
        "00000",
        epoch_row(1, sharpness_steps="[[0, 1.5, 0.01, 0.5], [10, NaN, NaN, NaN]]"),
        False,
    )
    writer.epoch("00000", epoch_row(2, sharpness_steps="[[20, 2.5, 0.02, 0.6]]"), False)
    writer.epoch("00001", epoch_row(1), False)
    writer.finish(ended="now")
    found = load_sweep(tmp_path).sharpness()
    assert list(found.columns[:5]) == [
        "trial_id",
        "step",
        "sharpness",
        "residual",
        "batch_sharpness",
    ]
    np.testing.assert_equal(
        found.iloc[:, :5].to_numpy().tolist(),
        [
            ["00000", 0, 1.5, 0.01, 0.5],
            ["00000", 10, *[np.nan] * 3],
            ["00000", 20, 2.5, 0.02, 0.6],
        ],
    )
