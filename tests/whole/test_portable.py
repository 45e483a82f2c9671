"""Properties of training that must hold on every processor.

Processors are compared through the numbers in this file, which `reference` computed in
float64 (JAX computed those of Glorot's parameters). The tests share three programs,
since XLA takes seconds to compile even a small one on an emulated processor.
"""

import hashlib
from dataclasses import replace
from functools import cache

import batch_orders
import numpy as np
import pytest
from reference import SGD, cross_entropies, leaves, logits_of

from mnist_tune.data.dataset import Dataset
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.training.architectures import architecture
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.networks import initial
from mnist_tune.trial import TrialConfig

pytestmark = pytest.mark.portable

TRAIN, TEST = 300, 84
CALM = TrialConfig(
    architecture="mlp-8-tanh", learning_rate=0.05, momentum=0.9, batch_size=16
)
STEPS = 19  # an epoch; the last batch is partial
OTHER = replace(CALM, learning_rate=0.02, seed=1, data_seed=1)
LOSSES = [
    (1.2682564221647714, 1.26550695620667),
    (0.3109928448886335, 0.31988902783014994),
]
"""Losses of the calm trial after each epoch, on the training and the test images."""
RIGHT = 271, 74
"""Training and test images that it classifies correctly after its first epoch, by at
least 0.011 in logits."""
ROUNDING = 2e-6
"""About 30 units in the last place of float32. Sums of 784 products in another order
differ by a few units."""
LANE_TOLERANCE = 1e-5
"""The largest difference of a lane from the same trial alone, relative to the largest
entry."""


@pytest.fixture(scope="module")
def data():
    """Ten noisy patterns of whole numbers, which are the same on every processor."""
    rng = np.random.RandomState(0)
    patterns = rng.randint(0, 6, (10, 784)) == 0
    labels = rng.randint(0, 10, TRAIN + TEST)
    images = (160 * patterns[labels] + rng.randint(0, 96, (TRAIN + TEST, 784))).astype(
        np.uint8
    )
    labels = labels.astype(np.uint8)
    return Dataset(
        "made-up", images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:]
    )


@pytest.fixture(scope="module")
def alone(data):
    """A function that trains a single trial, and returns the row and the state after
    each of two epochs."""
    pool = LanePool(data)

    @cache
    def train(config):
        pool.attach("a", config)
        return [(pool.run(["a"])["a"], pool.checkpoint("a")) for _ in range(2)]

    return train


@pytest.fixture(scope="module")
def by_hand(data):
    """The step losses and the parameters of the calm trial in float64, for each of two
    epochs."""
    trial = SGD(
        initial(architecture(CALM.architecture, data.spec), CALM.seed),
        16,
        CALM.learning_rate,
        CALM.momentum,
    )
    orders = [batch_order(CALM.data_seed, epoch, TRAIN) for epoch in range(2)]
    return [
        (trial.epoch(data.train_images, data.train_labels, order), trial.copy())
        for order in orders
    ]


def without_seconds(row):
    return {
        name: value
        for name, value in vars(row).items()
        if not name.endswith("_s") and name != "ended_at"
    }


def assert_close(arrays, expected, tolerance):
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(
            array, other, rtol=0, atol=tolerance * np.abs(other).max()
        )


def test_a_restored_trial_continues_bit_for_bit(alone, data, tmp_path):
    (_, saved), (expected_row, expected) = alone(CALM)
    saved.save(tmp_path / "a.npz")
    batch_orders.forget()  # as in another process
    another = LanePool(data)
    another.attach("a", CALM, Checkpoint.load(tmp_path / "a.npz"))
    assert without_seconds(another.run(["a"])["a"]) == without_seconds(expected_row)
    continued = another.checkpoint("a").arrays
    assert {name: array.tobytes() for name, array in continued.items()} == {
        name: array.tobytes() for name, array in expected.arrays.items()
    }


def test_lanes_equal_single_trials_to_rounding(alone, data):
    configs = {"calm": CALM, "other": OTHER}
    pool = LanePool(data, capacity=2)
    for lane_id, config in configs.items():
        pool.attach(lane_id, config)
    rows = pool.run(list(configs))
    for lane_id, config in configs.items():
        row, state = alone(config)[0]
        assert rows[lane_id].lanes == 2
        for name in ("train_loss", "test_loss", "step_loss_max", "step_loss_last"):
            expected = pytest.approx(getattr(row, name), rel=LANE_TOLERANCE)
            assert getattr(rows[lane_id], name) == expected, name
        assert_close(
            pool.checkpoint(lane_id).arrays.values(),
            state.arrays.values(),
            LANE_TOLERANCE,
        )


def test_a_trial_equals_sgd_in_float64(alone, by_hand):
    for (row, state), (losses, params) in zip(alone(CALM), by_hand, strict=True):
        told = [row.step_loss_first, row.step_loss_max, row.step_loss_last]
        np.testing.assert_allclose(
            told, [losses[0], losses.max(), losses[-1]], rtol=ROUNDING
        )
        assert_close(
            [state.arrays[name] for name in state.arrays if "params" in name],
            leaves(params),
            ROUNDING,
        )


def test_training_gives_the_recorded_losses(alone):
    for (row, _), losses in zip(alone(CALM), LOSSES, strict=True):
        np.testing.assert_allclose(
            (row.train_loss, row.test_loss), losses, rtol=ROUNDING
        )


def test_an_evaluation_counts_exactly(alone, data):
    row, state = alone(CALM)[0]
    (w1, b1, w2, b2) = [
        array.astype(np.float64)
        for name, array in state.arrays.items()
        if "params" in name
    ]
    for split, images, labels, count in [
        ("train", data.train_images, data.train_labels, RIGHT[0]),
        ("test", data.test_images, data.test_labels, RIGHT[1]),
    ]:
        logits, _ = logits_of(((w1, b1), (w2, b2)), images / 255)
        assert (logits.argmax(1) == labels).sum() == count
        assert getattr(row, f"{split}_accuracy") == count / len(labels)
        assert getattr(row, f"{split}_loss") == pytest.approx(
            cross_entropies(logits, labels).mean(), rel=ROUNDING
        )


@pytest.mark.parametrize("learning_rate", [1e6, 1e38])
def test_a_far_too_large_rate_diverges_at_the_same_step(alone, data, learning_rate):
    """From the second step after the change on, the loss is lost, so the first window
    of 128 images begins at step one.

    The labels are noise: with the true ones even these rates learn.
    """
    noisy = replace(CALM, label_noise=TRAIN)
    (_, calm), _ = alone(noisy)
    pool = LanePool(data)
    pool.attach("a", replace(noisy, learning_rate=learning_rate), calm)
    rows = [pool.run(["a"])["a"] for _ in range(2)]
    assert [row.above_since for row in rows] == [STEPS + 1] * 2
    assert rows[1].diverged
    assert rows[1].finite == (learning_rate < 1e38)


def test_normal_parameters_are_the_same_bit_for_bit(data):
    digest = hashlib.sha256()
    for array in leaves(initial(architecture("mlp-6-3-tanh", data.spec), 4)):
        digest.update(array.astype("<f4").tobytes())
    assert (
        digest.hexdigest()
        == "18c7d5c3406f58bd45fb83f7b69868f3b026eba4e2f3aadd33d79c87a2a1e346"
    )


GLOROT = [
    (0.08350680768489838, 0.010850813239812851, 4.464845699609501),
    (-0.014561059884727001, -0.011677033267915249, -0.018027729604008374),
]
"""For each array of mlp-relu-glorot: its first two entries, and its dot product with
cos(0), cos(1), ..."""


def test_glorot_parameters_are_the_same_to_rounding(data):
    for array, expected in zip(
        leaves(initial(architecture("mlp-relu-glorot", data.spec), 4)),
        GLOROT,
        strict=True,
    ):
        entries = array.ravel().astype(np.float64)
        told = (*entries[:2], entries @ np.cos(np.arange(len(entries))))
        np.testing.assert_allclose(
            told, expected, rtol=0, atol=1e-6 * np.linalg.norm(entries)
        )
