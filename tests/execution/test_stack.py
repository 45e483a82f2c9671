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
    state = 4 * (784 * 8 + 8 + 8 * 10 + 10)
    assert lane_bytes([program], False) == 4 * state
    others = [replace(program, batch_size=size) for size in (32, 64, 256, 512)]
    # their states share a stack
    assert lane_bytes([program, *others], False) == 4 * state
    small = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    both = 4 * state + 4 * (784 * 4 + 4 + 4 * 10 + 10)
    assert lane_bytes([program, small], False) == both
    # one of them is measured at a time
    assert lane_bytes([program, small], measured=True) == both + 40 * state


@pytest.fixture
def executor(few_images):
    """An executor of three lanes, whose weights are those of three seeds."""
    program = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    made = Executor(program, Stack(3))
    for slot in range(3):
        made.write(slot, program.init(slot, {"learning_rate": np.float32(0.1)}))
    return made


def test_a_batch_trains_its_lanes_alone_each_by_its_own_values(executor, few_images):
    """Also a batch that is padded, and in any order of the slots."""
    data = jax.device_put((few_images.train_images, few_images.train_labels))
    before = [executor.read(slot) for slot in range(3)]
    keys, orders = np.zeros((2, 2), np.uint32), [np.arange(256, dtype=np.int32)] * 2
    hyper = {"learning_rate": np.float32([0.5, 0.0])}
    losses = executor.train(4, [2, 0], hyper, keys, [(data, orders, 0)])
    after = [executor.read(slot) for slot in range(3)]
    changed = [
        any((old[name] != new[name]).any() for name in old)
        for old, new in zip(before, after, strict=True)
    ]
    assert changed == [False, False, True]
    assert losses.shape == (2, 2)
    assert losses[0, 1] < losses[0, 0]
    seconds = executor.take_seconds()
    assert min(seconds["compile_s"], seconds["train_s"]) > 0
    assert set(executor.take_seconds().values()) == {0.0}


def test_what_is_measured_belongs_to_the_slot(executor, few_images):
    data = jax.device_put((few_images.train_images, few_images.train_labels))
    index = np.array([0, 100], np.int32)
    together = executor.measure(Program.evaluate, 4, [2, 0, 1], data, index)
    for place, slot in enumerate((2, 0, 1)):
        alone = executor.measure(Program.evaluate, 1, [slot], data, index)
        for one, other in zip(
            jax.tree.leaves(together), jax.tree.leaves(alone), strict=True
        ):
            np.testing.assert_allclose(one[place], other[0], rtol=1e-5)


def test_a_saved_state_goes_into_any_slot_and_one_that_does_not_fit_is_refused(
    executor,
):
    saved = executor.read(2)
    executor.restore(0, saved)
    np.testing.assert_equal(executor.read(0), saved)
    wide = {name: array.astype(np.float64) for name, array in saved.items()}
    with pytest.raises(
        UserError, match="it holds float64; set JAX_ENABLE_X64 as it was"
    ):
        executor.restore(1, wide)
    for wrong in ({}, saved | {"more": saved[min(saved)]}):
        with pytest.raises(UserError, match="a saved state does not fit mlp-4-tanh"):
            executor.restore(1, wrong)
