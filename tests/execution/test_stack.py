"""How many lanes fit into a device's memory, and what an executor's calls do to the
states in its stack."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from mnist_tune.errors import UserError
from mnist_tune.execution.executor import Executor, Stack, lane_bytes
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig


def test_the_memory_of_a_lane(few_images):
    program = Program.of(TrialConfig(architecture="mlp-8-tanh"), few_images.spec)
    numbers = 784 * 8 + 8 + 8 * 10 + 10
    state = 4 * numbers
    assert lane_bytes([program], False) == 4 * state
    batch_sizes = [replace(program, batch_size=size) for size in (32, 64, 256, 512)]
    # their states share a stack
    assert lane_bytes([program, *batch_sizes], False) == 4 * state
    small = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    numbers_of_small = 784 * 4 + 4 + 4 * 10 + 10
    both = 4 * state + 4 * numbers_of_small
    assert lane_bytes([program, small], False) == both
    # one of them is measured at a time
    assert lane_bytes([program, small], measured=True) == both + 40 * state


@pytest.fixture
def executor(few_images):
    """An executor of three lanes, whose weights are those of three seeds."""
    program = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    executor = Executor(program, Stack(3))
    rate = {"learning_rate": np.float32(0.1)}
    for slot in range(3):
        executor.write(slot, program.init(slot, rate))
    return executor


def test_a_batch_trains_its_lanes_alone_each_by_its_own_values(executor, few_images):
    """Also a batch that is padded, and in any order of the slots."""
    data = jax.device_put((few_images.train_images, few_images.train_labels))
    states = [executor.read(slot) for slot in range(3)]
    keys = np.zeros((2, 2), np.uint32)
    orders = [np.arange(256, dtype=np.int32)] * 2
    hyper = {"learning_rate": np.float32([0.5, 0.0])}
    losses = executor.train(4, [2, 0], hyper, keys, [(data, orders, 0)])
    for slot in (0, 1):
        np.testing.assert_equal(executor.read(slot), states[slot])
    trained = executor.read(2)
    assert any((trained[name] != array).any() for name, array in states[2].items())
    assert losses.shape == (2, 2)
    assert losses[0, 1] < losses[0, 0]
    seconds = executor.take_seconds()
    assert min(seconds["compile_s"], seconds["train_s"]) > 0
    assert set(executor.take_seconds().values()) == {0.0}


def test_what_is_measured_belongs_to_the_slot(executor, few_images):
    data = jax.device_put((few_images.train_images, few_images.train_labels))
    index = np.array([0, 100, 0], np.int32)
    together = executor.measure(Program.evaluate, 4, [2, 0, 1], data, index)
    for place, slot in enumerate((2, 0, 1)):
        alone = executor.measure(Program.evaluate, 1, [slot], data, index)
        leaves = jax.tree.leaves(together), jax.tree.leaves(alone)
        for of_all, of_slot in zip(*leaves, strict=True):
            np.testing.assert_allclose(of_all[place], of_slot[0], rtol=1e-5)


def test_a_saved_state_goes_into_any_slot_and_one_that_does_not_fit_is_refused(
    executor,
):
    saved = executor.read(2)
    executor.restore(0, saved)
    np.testing.assert_equal(executor.read(0), saved)
    wide = {name: array.astype(np.float64) for name, array in saved.items()}
    line = "it holds float64; set JAX_ENABLE_X64 as it was"
    with pytest.raises(UserError, match=line):
        executor.restore(1, wide)
    of_another_network = saved | {"more": saved[min(saved)]}
    for wrong in ({}, of_another_network):
        with pytest.raises(UserError, match="a saved state does not fit mlp-4-tanh"):
            executor.restore(1, wrong)
