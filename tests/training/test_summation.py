"""Sums over a batch: right, and of an order that `vmap` does not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_tune.lanes.executor import compiler_options
from mnist_tune.training.architectures import architecture
from mnist_tune.training.program import cross_entropy
from mnist_tune.training.summation import batch_mean, batch_sum

LANES = 4


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 128, 129])
@pytest.mark.parametrize("axis", [0, 1])
def test_batch_sum_is_the_sum_over_the_axis(count, axis):
    x = np.random.RandomState(count).randn(count, 5).astype(np.float32)
    got = batch_sum(jnp.asarray(x if axis == 0 else x.T), axis)
    np.testing.assert_allclose(got, x.astype(np.float64).sum(0), rtol=0, atol=2e-7 * np.abs(x).sum(0).max())
    np.testing.assert_allclose(batch_mean(jnp.asarray(x[:, 0])), x[:, 0].mean(dtype=np.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [4, 7, 20, 31, 32, 60, 96, 100, 128])
@pytest.mark.parametrize("name", ["mlp-16-tanh", "mlp-40-17-relu", "convnet"])
def test_loss_and_gradient_are_the_same_bit_for_bit_under_vmap(name, batch_size):
    rng, model = np.random.RandomState(batch_size), architecture(name)
    x = (rng.rand(batch_size, 784) * (rng.rand(batch_size, 784) < 0.2)).astype(np.float32)
    y = rng.randint(0, 10, batch_size).astype(np.uint8)
    lanes = [
        jax.tree.map(lambda w: w + 0.1 * rng.standard_normal(w.shape).astype(np.float32), model.init(0))
        for _ in range(LANES)
    ]
    function = jax.value_and_grad(lambda params, x, y: batch_mean(cross_entropy(model.apply(params, x), y)))
    alone = jax.jit(function).lower(lanes[0], x, y).compile(compiler_options())
    stack = jax.tree.map(lambda *w: np.stack(w), *lanes)
    together = jax.jit(jax.vmap(function, in_axes=(0, None, None))).lower(stack, x, y).compile(compiler_options())
    wanted = jax.tree.map(lambda *w: np.stack(w), *(alone(lane, x, y) for lane in lanes))
    jax.tree.map(np.testing.assert_array_equal, together(stack, x, y), wanted)
