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
    state, order = program.init(3, hyper), batch_order(4, 0, data.train_count).copy()
    before = all_bytes((state, data.arrays))
    short = Ramp(1e-3, 100.0, 130, 0.9)
    first, again = (
        range_curve(
            program, state, hyper, 4, data.arrays, data.train_count, RangeCurve(short)
        )
        for _ in range(2)
    )
    assert all_bytes((state, data.arrays)) == before
    np.testing.assert_array_equal(first.losses, again.losses)
    np.testing.assert_array_equal(batch_order(4, 0, data.train_count), order)
    assert first.blew_up
    assert 0.05 < first.blow_up < 100


@pytest.mark.parametrize("course", [{}, {"schedule": "cosine", "warmup_steps": 100}])
def test_it_trains_as_an_epoch_does_at_a_constant_rate(mnist_5k, data, course):
    """With a ramp that hardly rises, the losses are those of an epoch at that rate."""
    found = _curve(
        replace(CONFIG, **course), mnist_5k, Ramp(0.1, 0.1000001, 62, 0.9)
    ).losses
    program = Program.of(CONFIG, mnist_5k.spec)
    hyper = {
        name: np.float32(value)
        for name, value in program.step.hyperparameters(CONFIG, 62).items()
    }
    hyper["learning_rate"] = np.float32(0.1)
    order, state = batch_order(4, 0, data.train_count), program.init(3, hyper)
    _, losses = jax.jit(program.train_epoch)(
        state, hyper, np.zeros(2, np.uint32), data.arrays, order
    )
    np.testing.assert_allclose(found, np.asarray(losses)[:62], rtol=1e-4)


def test_each_epoch_has_an_order_of_its_own_without_a_smaller_last_batch():
    found = _batches(4, 64, 130, 4000)
    assert found.shape == (130, 64)
    epochs = np.concatenate(
        [batch_order(4, epoch, 4000)[: 62 * 64] for epoch in range(3)]
    )
    np.testing.assert_array_equal(found.ravel(), epochs[: 130 * 64])


def test_with_fewer_images_than_a_batch_each_step_takes_all():
    found = _batches(4, 64, 3, 50)
    np.testing.assert_array_equal(
        found, [batch_order(4, epoch, 50) for epoch in range(3)]
    )


def test_a_name_that_is_registered_again_is_tested_anew(few_images):
    config = TrialConfig(architecture="linear", optimizer="mine", batch_size=64)

    def said(scale, speed):
        def linear(spec):
            return Network(
                lambda key: jnp.zeros((spec.size, spec.classes)),
                lambda w, x: scale * x.reshape(len(x), -1) @ w,
            )

        register("linear")(linear)
        register_optimizer("mine")(lambda rate: optax.sgd(speed * rate))
        return tuple(_curve(config, few_images, Ramp(0.01, 0.1, 9, 0.5)).losses)

    first, other, faster = said(1.0, 1.0), said(2.0, 1.0), said(1.0, 2.0)
    assert said(1.0, 1.0) == first
    assert other[0] == first[0] == faster[0]  # before the first step
    assert len({first[1], other[1], faster[1]}) == 3


@dataclass(frozen=True)
class MadeUp:
    """A program whose loss is a function of how many steps came before, the learning
    rate and the key."""

    loss: Callable[..., Any]
    batch_size: int = 2

    def train_epoch(self, state, hyper, key, data, order):
        return state + 1, self.loss(state, hyper["learning_rate"], key)[None]

    def losses(self, ramp, seed=4):
        return range_curve(
            self,
            jnp.float32(0),
            {},
            seed,
            (np.zeros(6), np.zeros(6)),
            6,
            RangeCurve(ramp),
        ).losses


def test_each_step_has_its_rate_and_a_key_of_its_own():
    ramp = Ramp(1.0, 50.0, 50, 0.9)
    made_up = MadeUp(
        lambda before, rate, key: (
            1e4 * key[0].astype(float) + 100 * key[1].astype(float) + rate
        )
    )
    np.testing.assert_allclose(
        made_up.losses(ramp), 4e4 + 100 * np.arange(50) + ramp.rates, atol=0.01
    )


@pytest.mark.parametrize(("last", "steps"), [(3.0, 150), (10.0, 100), (math.nan, 100)])
def test_a_ramp_ends_soon_after_the_loss_has_left_its_least(last, steps):
    """It falls from 100 to 1 and is `last` from step 60 on."""
    made_up = MadeUp(
        lambda before, rate, key: jnp.where(
            before < 60, jnp.maximum(1.0, 100.0 - 5 * before), last
        )
    )
    assert len(made_up.losses(Ramp(1e-3, 1.0, 150, 0.5))) == steps


@pytest.mark.parametrize(
    ("losses", "left_at"),
    [
        ([2.0, 1.0, 4.0], None),
        ([2.0, 1.0, 4.001], 2),
        ([2.0, 1.0, 3.9, 1.0, 3.9, 4.1], 5),
        ([math.nan, 1.0], 0),
        ([2.0, 1.0, math.inf], 2),
    ],
)
def test_it_ends_beyond_four_times_the_least_loss(losses, left_at):
    found = RangeCurve(Ramp(1.0, 1e3, len(losses) + 1, 0.0), np.array([*losses, 1.0]))
    assert found.blew_up == (left_at is not None)
    assert found.blow_up == found.rates[-1 if left_at is None else left_at]


@pytest.mark.parametrize(
    ("losses", "leaves"),
    [
        ([2.0, 1.0, 1.5], False),
        ([2.0, 1.0, 1.501], True),
        ([2.0, 1.8, 1.95], False),
        ([2.0, 1.799, 1.95], True),
    ],
)
def test_a_network_that_has_learned_ends_it_half_way_back_to_a_guess(losses, leaves):
    ramp = Ramp(1.0, 16.0, 4, 0.0)
    assert RangeCurve(ramp, np.array([*losses, 1.0]), guess=2.0).blew_up == leaves
    assert not RangeCurve(ramp, np.array([*losses, 1.0])).blew_up
