"""The range test: a pure function, on losses whose answer is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import NO_KEY, hyper_of
from text_tables import numbers, rows

from mnist_tune.edge.range_run import _curve
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Program
from mnist_tune.training.rising_rate import Ramp, RangeCurve, _batches, range_curve
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

CONFIG = TrialConfig(
    architecture="mlp-8-tanh", momentum=0.5, batch_size=64, seed=3, data_seed=4
)


@pytest.fixture(scope="module")
def data(mnist_5k):
    return DeviceData.put(mnist_5k, 0, 0)


def all_bytes(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_it_leaves_everything_as_it_was(mnist_5k, data):
    program = Program.of(CONFIG, mnist_5k.spec)
    hyper = program.step.hyperparameters(CONFIG, 62)
    state = program.init(3, hyper)
    images = data.train_count
    order = batch_order(4, 0, images).copy()
    before = all_bytes((state, data.arrays))
    short = RangeCurve(Ramp(1e-3, 100.0, 130, 0.9))
    first = range_curve(program, state, hyper, 4, data.arrays, images, short)
    again = range_curve(program, state, hyper, 4, data.arrays, images, short)
    assert all_bytes((state, data.arrays)) == before
    np.testing.assert_array_equal(first.losses, again.losses)
    np.testing.assert_array_equal(batch_order(4, 0, images), order)
    assert first.blew_up
    assert 0.05 < first.blow_up < 100


@pytest.mark.parametrize("course", [{}, {"schedule": "cosine", "warmup_steps": 100}])
def test_it_trains_as_an_epoch_does_at_a_constant_rate(mnist_5k, data, course):
    """With a ramp that hardly rises, the losses are those of an epoch at that rate."""
    flat = Ramp(0.1, 0.1000001, 62, 0.9)
    curve = _curve(replace(CONFIG, **course), mnist_5k, flat)
    program = Program.of(CONFIG, mnist_5k.spec)
    hyper = hyper_of(program, CONFIG, 62)
    hyper["learning_rate"] = np.float32(0.1)
    order = batch_order(4, 0, data.train_count)
    state = program.init(3, hyper)
    train = jax.jit(program.train_epoch)
    _, losses = train(state, hyper, NO_KEY, data.arrays, order)
    np.testing.assert_allclose(curve.losses, np.asarray(losses)[:62], rtol=1e-4)


def test_each_epoch_has_an_order_of_its_own_without_a_smaller_last_batch():
    batches = _batches(4, 64, 130, 4000)
    assert batches.shape == (130, 64)
    whole = 62 * 64  # the images of an epoch's whole batches
    epochs = [batch_order(4, epoch, 4000)[:whole] for epoch in range(3)]
    expected = np.concatenate(epochs)[: 130 * 64]
    np.testing.assert_array_equal(batches.ravel(), expected)


def test_with_fewer_images_than_a_batch_each_step_takes_all():
    batches = _batches(4, 64, 3, 50)
    orders = [batch_order(4, epoch, 50) for epoch in range(3)]
    np.testing.assert_array_equal(batches, orders)


@pytest.fixture
def losses_of(few_images):
    """A function that registers a network of this scale and an optimiser of this speed,
    always by the same names, and returns the losses of their range test."""
    config = TrialConfig(architecture="linear", optimizer="mine", batch_size=64)
    ramp = Ramp(0.01, 0.1, 9, 0.5)

    def losses(scale, speed):
        def linear(spec):
            def init(key):
                return jnp.zeros((spec.size, spec.classes))

            def apply(weights, images):
                return scale * images.reshape(len(images), -1) @ weights

            return Network(init, apply)

        register("linear")(linear)
        register_optimizer("mine")(lambda rate: optax.sgd(speed * rate))
        return tuple(_curve(config, few_images, ramp).losses)

    return losses


def test_a_name_that_is_registered_again_is_tested_anew(losses_of):
    first = losses_of(scale=1.0, speed=1.0)
    scaled = losses_of(scale=2.0, speed=1.0)
    faster = losses_of(scale=1.0, speed=2.0)
    assert losses_of(scale=1.0, speed=1.0) == first
    # before the first step
    assert scaled[0] == first[0]
    assert faster[0] == first[0]
    assert len({first[1], scaled[1], faster[1]}) == 3


@dataclass(frozen=True)
class MadeUp:
    """A program whose loss is a function of how many steps came before, the learning
    rate and the key."""

    loss: Callable[..., Any]
    batch_size: int = 2

    def train_epoch(self, state, hyper, key, data, order):
        loss = self.loss(state, hyper["learning_rate"], key)
        return state + 1, loss[None]

    def losses(self, ramp, seed=4):
        data = (np.zeros(6), np.zeros(6))
        start = jnp.float32(0)
        curve = range_curve(self, start, {}, seed, data, 6, RangeCurve(ramp))
        return curve.losses


def rate_and_key(before, rate, key):
    seed, step = key.astype(float)
    return 1e4 * seed + 100 * step + rate


def test_each_step_has_its_rate_and_a_key_of_its_own():
    ramp = Ramp(1.0, 50.0, 50, 0.9)
    losses = MadeUp(rate_and_key).losses(ramp)
    expected = 4e4 + 100 * np.arange(50) + ramp.rates
    np.testing.assert_allclose(losses, expected, atol=0.01)


@pytest.mark.parametrize(("last", "steps"), [(3.0, 150), (10.0, 100), (math.nan, 100)])
def test_a_ramp_ends_soon_after_the_loss_has_left_its_least(last, steps):
    """It falls from 100 to 1 and is `last` from step 60 on."""

    def loss(before, rate, key):
        falling = jnp.maximum(1.0, 100.0 - 5 * before)
        return jnp.where(before < 60, falling, last)

    ramp = Ramp(1e-3, 1.0, 150, 0.5)
    assert len(MadeUp(loss).losses(ramp)) == steps


def followed_by_one(losses):
    """The losses of a range test, with one more of 1."""
    return np.array([*losses, 1.0])


LEFT_AT = """
    2.0 1.0 4.0              None
    2.0 1.0 4.001            2
    2.0 1.0 3.9 1.0 3.9 4.1  5
    nan 1.0                  0
    2.0 1.0 inf              2
"""


@pytest.mark.parametrize(("losses", "left_at"), rows(LEFT_AT))
def test_it_ends_beyond_four_times_the_least_loss(losses, left_at):
    losses = followed_by_one(numbers(losses))
    curve = RangeCurve(Ramp(1.0, 1e3, len(losses), 0.0), losses)
    assert curve.blew_up == (left_at is not None)
    last = -1 if left_at is None else left_at
    assert curve.blow_up == curve.rates[last]


LEAVES = """
    2.0 1.0 1.5     False
    2.0 1.0 1.501   True
    2.0 1.8 1.95    False
    2.0 1.799 1.95  True
"""


@pytest.mark.parametrize(("losses", "leaves"), rows(LEAVES))
def test_a_network_that_has_learned_ends_it_half_way_back_to_a_guess(losses, leaves):
    ramp = Ramp(1.0, 16.0, 4, 0.0)
    losses = followed_by_one(numbers(losses))
    assert RangeCurve(ramp, losses, guess=2.0).blew_up == leaves
    assert not RangeCurve(ramp, losses).blew_up
