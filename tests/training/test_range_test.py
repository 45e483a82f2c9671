"""The range test and the line search: pure functions, on losses whose answer is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnist_tune.edge.predictors import Bench, predict
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.network import Network
from mnist_tune.training.range_suggestions import OURS, RULES, Ramp
from mnist_tune.training.range_test import _batches, range_curve
from mnist_tune.trial import TrialConfig

CONFIG = TrialConfig(architecture="mlp-8-tanh", momentum=0.5, batch_size=64, seed=3, data_seed=4)


@pytest.fixture(scope="module")
def data(mnist_5k):
    return DeviceData.put(mnist_5k, 0, 0)


def all_bytes(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_it_leaves_everything_as_it_was(mnist_5k, data):
    bench = Bench(CONFIG, data, mnist_5k.spec)
    state, order = bench.state, batch_order(4, 0, data.train_count).copy()
    before = all_bytes((state, data.arrays))
    short = Ramp(1e-3, 100.0, 130, 0.9)
    first, again = (
        range_curve(bench.program, state, bench.hyper, 4, data.arrays, short, data.train_count) for _ in range(2)
    )
    assert all_bytes((state, data.arrays)) == before
    np.testing.assert_array_equal(first.losses, again.losses)
    np.testing.assert_array_equal(batch_order(4, 0, data.train_count), order)
    assert first.blew_up
    assert 0.05 < first.blow_up < 100


def test_it_trains_as_an_epoch_does(mnist_5k, data):
    """With a ramp that hardly rises, the losses are those of an epoch at that rate."""
    bench = Bench(CONFIG, data, mnist_5k.spec)
    found = bench.range_curve(Ramp(0.1, 0.1000001, 62, 0.9)).losses
    hyper = {name: np.float32(value) for name, value in (bench.hyper | {"learning_rate": 0.1}).items()}
    order = batch_order(4, 0, data.train_count)
    _, losses = jax.jit(bench.program.train_epoch)(bench.state, hyper, np.zeros(2, np.uint32), data.arrays, order)
    np.testing.assert_allclose(found, np.asarray(losses)[:62], rtol=1e-4)


def test_each_epoch_has_an_order_of_its_own_without_a_smaller_last_batch():
    found = _batches(4, 64, 130, 4000)
    assert found.shape == (130, 64)
    epochs = np.concatenate([batch_order(4, epoch, 4000)[: 62 * 64] for epoch in range(3)])
    np.testing.assert_array_equal(found.ravel(), epochs[: 130 * 64])


def test_with_fewer_images_than_a_batch_each_step_takes_all():
    found = _batches(4, 64, 3, 50)
    np.testing.assert_array_equal(found, [batch_order(4, epoch, 50) for epoch in range(3)])


def test_a_name_that_is_registered_again_is_tested_anew(few_images):
    data = DeviceData.put(few_images, 0, 0)
    config = TrialConfig(architecture="linear", optimizer="mine", batch_size=64)

    def said(scale, speed):
        def linear(spec):
            return Network(
                lambda key: jnp.zeros((spec.size, spec.classes)), lambda w, x: scale * x.reshape(len(x), -1) @ w
            )

        register("linear")(linear)
        register_optimizer("mine")(lambda rate: optax.sgd(speed * rate))
        bench = Bench(config, data, few_images.spec)
        return *bench.range_curve(Ramp(0.01, 0.1, 9, 0.5)).losses, bench.critical()

    first, other, faster = said(1.0, 1.0), said(2.0, 1.0), said(1.0, 2.0)
    assert said(1.0, 1.0) == first
    assert other[0] == first[0] == faster[0]  # before the first step
    for number in (1, -1):
        assert len({found[number] for found in (first, other, faster)}) == 3


@dataclass(frozen=True)
class MadeUp:
    """A program whose loss is a function of how many steps came before, the learning rate and the key."""

    loss: Callable[..., Any]
    batch_size: int = 2

    def train_epoch(self, state, hyper, key, data, order):
        return state + 1, self.loss(state, hyper["learning_rate"], key)[None]

    def losses(self, ramp, seed=4):
        return range_curve(self, jnp.float32(0), {}, seed, (np.zeros(6), np.zeros(6)), ramp, 6).losses


def test_each_step_has_its_rate_and_a_key_of_its_own():
    ramp = Ramp(1.0, 50.0, 50, 0.9)
    made_up = MadeUp(lambda before, rate, key: 1e4 * key[0].astype(float) + 100 * key[1].astype(float) + rate)
    np.testing.assert_allclose(made_up.losses(ramp), 4e4 + 100 * np.arange(50) + ramp.rates, atol=0.01)


@pytest.mark.parametrize(("last", "steps"), [(3.0, 150), (10.0, 100), (math.nan, 100)])
def test_a_ramp_ends_soon_after_the_loss_has_left_its_least(last, steps):
    """It falls from 100 to 1 and is `last` from step 60 on."""
    made_up = MadeUp(lambda before, rate, key: jnp.where(before < 60, jnp.maximum(1.0, 100.0 - 5 * before), last))
    assert len(made_up.losses(Ramp(1e-3, 1.0, 150, 0.5))) == steps


def test_predictors_agree_about_a_network(mnist_5k, data):
    found, _ = predict(CONFIG, data, mnist_5k.spec)
    assert set(RULES) < found.keys()
    assert all(rate is None or (0 < rate < math.inf) for rate in found.values())
    assert found["range test"] <= OURS.last
    assert 1 / 20 < found["forward-only bracket"] / found["range test"] < 20
    assert 1 / 20 < found["critical sharpness"] / found["range test"] < 20
    assert 1 / 40 < found["2/λ0"] / found["range test"] < 4


def test_predictors_look_at_a_constant_rate(mnist_5k, data):
    config = replace(CONFIG, schedule="cosine", warmup_steps=100)
    assert Bench(config, data, mnist_5k.spec).program == Bench(CONFIG, data, mnist_5k.spec).program


def test_line_searches_on_a_linear_network_find_twice_the_inverse_curvature(few_images):
    """Half the squared error is a quadratic along its gradient g: it is back where it was at 2 ‖g‖² / gᵀHg."""

    def linear(spec):
        return Network(
            lambda key: jax.random.normal(key, (spec.size, spec.classes)), lambda w, x: x.reshape(len(x), -1) @ w
        )

    register("linear")(linear)
    config = replace(CONFIG, architecture="linear", loss="mse", batch_size=4)
    bench = Bench(config, DeviceData.put(few_images, 0, 0), few_images.spec)
    weights = np.asarray(bench.state.params, np.float64)
    whole_blocks, batch = batch_order(0, 0, 1024)[:1000], batch_order(4, 0, 1024)[:4]
    for found, order in ((bench.bracket(), whole_blocks), (bench.critical(), batch)):
        x = few_images.train_images[order].reshape(len(order), -1) / 255
        gradient = x.T @ (x @ weights - np.eye(10)[few_images.train_labels[order]]) / len(order)
        curvature = ((x @ gradient) ** 2).sum() / len(order)
        assert found == pytest.approx(2 * (gradient**2).sum() / curvature, rel=0.022)
