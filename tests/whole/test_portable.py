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

TRAIN = 300
TEST = 84
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
RIGHT_IN_TRAINING = 271
RIGHT_IN_TEST = 74
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
    noise = rng.randint(0, 96, (TRAIN + TEST, 784))
    images = (160 * patterns[labels] + noise).astype(np.uint8)
    labels = labels.astype(np.uint8)
    training = images[:TRAIN], labels[:TRAIN]
    test = images[TRAIN:], labels[TRAIN:]
    return Dataset("made-up", *training, *test)


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
    params = initial(architecture(CALM.architecture, data.spec), CALM.seed)
    trial = SGD(params, 16, CALM.learning_rate, CALM.momentum)
    epochs = []
    for epoch in range(2):
        order = batch_order(CALM.data_seed, epoch, TRAIN)
        losses = trial.epoch(data.train_images, data.train_labels, order)
        epochs.append((losses, trial.copy()))
    return epochs


def without_seconds(row):
    times = ("_s", "ended_at")
    return {
        name: value for name, value in vars(row).items() if not name.endswith(times)
    }


def params_of(state):
    """The arrays of a state that are parameters."""
    return [array for name, array in state.arrays.items() if "params" in name]


def assert_close(arrays, expected, tolerance):
    for array, other in zip(arrays, expected, strict=True):
        largest = np.abs(other).max()
        np.testing.assert_allclose(array, other, rtol=0, atol=tolerance * largest)


def bytes_of(state):
    return {name: array.tobytes() for name, array in state.arrays.items()}


def test_a_restored_trial_continues_bit_for_bit(alone, data, tmp_path):
    (_, saved), (expected_row, expected) = alone(CALM)
    path = tmp_path / "a.npz"
    saved.save(path)
    batch_orders.forget()  # as in another process
    another = LanePool(data)
    another.attach("a", CALM, Checkpoint.load(path))
    row = another.run(["a"])["a"]
    assert without_seconds(row) == without_seconds(expected_row)
    assert bytes_of(another.checkpoint("a")) == bytes_of(expected)


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
        arrays = pool.checkpoint(lane_id).arrays.values()
        assert_close(arrays, state.arrays.values(), LANE_TOLERANCE)


def test_a_trial_equals_sgd_in_float64(alone, by_hand):
    for (row, state), (losses, params) in zip(alone(CALM), by_hand, strict=True):
        reported = [row.step_loss_first, row.step_loss_max, row.step_loss_last]
        expected = [losses[0], losses.max(), losses[-1]]
        np.testing.assert_allclose(reported, expected, rtol=ROUNDING)
        assert_close(params_of(state), leaves(params), ROUNDING)


def test_training_gives_the_recorded_losses(alone):
    for (row, _), losses in zip(alone(CALM), LOSSES, strict=True):
        reported = (row.train_loss, row.test_loss)
        np.testing.assert_allclose(reported, losses, rtol=ROUNDING)


def test_an_evaluation_counts_exactly(alone, data):
    row, state = alone(CALM)[0]
    w1, b1, w2, b2 = [array.astype(np.float64) for array in params_of(state)]
    params = ((w1, b1), (w2, b2))

    logits, _ = logits_of(params, data.train_images / 255)
    right = (logits.argmax(1) == data.train_labels).sum()
    assert right == RIGHT_IN_TRAINING
    assert row.train_accuracy == RIGHT_IN_TRAINING / TRAIN
    loss = cross_entropies(logits, data.train_labels).mean()
    assert row.train_loss == pytest.approx(loss, rel=ROUNDING)

    logits, _ = logits_of(params, data.test_images / 255)
    right = (logits.argmax(1) == data.test_labels).sum()
    assert right == RIGHT_IN_TEST
    assert row.test_accuracy == RIGHT_IN_TEST / TEST
    loss = cross_entropies(logits, data.test_labels).mean()
    assert row.test_loss == pytest.approx(loss, rel=ROUNDING)


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
    params = initial(architecture("mlp-6-3-tanh", data.spec), 4)
    for array in leaves(params):
        digest.update(array.astype("<f4").tobytes())
    expected = "18c7d5c3406f58bd45fb83f7b69868f3b026eba4e2f3aadd33d79c87a2a1e346"
    assert digest.hexdigest() == expected


GLOROT = [
    (0.08350680768489838, 0.010850813239812851, 4.464845699609501),
    (-0.014561059884727001, -0.011677033267915249, -0.018027729604008374),
]
"""For each array of mlp-relu-glorot: its first two entries, and its dot product with
cos(0), cos(1), ..."""


def test_glorot_parameters_are_the_same_to_rounding(data):
    params = initial(architecture("mlp-relu-glorot", data.spec), 4)
    for array, expected in zip(leaves(params), GLOROT, strict=True):
        entries = array.ravel().astype(np.float64)
        product = entries @ np.cos(np.arange(len(entries)))
        tolerance = 1e-6 * np.linalg.norm(entries)
        np.testing.assert_allclose(
            (*entries[:2], product), expected, rtol=0, atol=tolerance
        )
