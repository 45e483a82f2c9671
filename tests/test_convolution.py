"""The convolution block against JAX's own convolution, ReLU and pool."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_tune.convolution import conv_relu_pool, convnet_logits, convnet_logits_cpu, convnet_logits_reference

RELATIVE_TOLERANCE = 1e-5
# height, width, channels, k, filters, batch
SHAPES = [(28, 28, 1, 5, 12, 20), (23, 23, 12, 5, 16, 12), (7, 9, 3, 3, 4, 1), (6, 5, 2, 4, 3, 7), (3, 2, 1, 1, 1, 2)]


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def reference_block(x: Any, w: Any, b: Any) -> Any:
    y = lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("HWCN", "HWIO", "HWCN"))
    y = jax.nn.relu(y + b.reshape(1, 1, -1, 1))
    return lax.reduce_window(y, -jnp.inf, lax.max, (2, 2, 1, 1), (1, 1, 1, 1), "VALID")


@partial(jax.jit, static_argnums=0)
def value_and_gradients(block: Any, arguments: Any, cotangent: Any) -> tuple[Any, Any]:
    y, pull_back = jax.vjp(block, *arguments)
    return y, pull_back(cotangent)


def draw(shape: tuple[int, ...], integers: bool) -> tuple[Any, Any]:
    """Arguments and cotangent of a block; small integers tie often and add up without rounding."""
    height, width, channels, k, filters, batch = shape
    rng = np.random.default_rng(height * width)
    one = partial(rng.integers, -2, 3) if integers else lambda size: rng.normal(size=size)
    shapes = (height, width, channels, batch), (k, k, channels, filters), (1, 1, 1, filters)
    *arguments, cotangent = (one(size=s).astype(np.float32) for s in (*shapes, (height - k, width - k, *shape[4:])))
    return tuple(arguments), cotangent


def assert_close(got: Any, wanted: Any, tolerance: float = RELATIVE_TOLERANCE) -> None:
    """Every array to within `tolerance` of its largest entry."""
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * float(jnp.abs(w).max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_block_equals_reference(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=False)
    wanted = value_and_gradients(reference_block, *inputs)
    assert_close(value_and_gradients(conv_relu_pool, *inputs), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_ties_give_the_gradient_to_the_first(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=True)
    wanted = value_and_gradients(reference_block, *inputs)
    assert_close(value_and_gradients(conv_relu_pool, *inputs), wanted, tolerance=0)


@pytest.mark.parametrize("bias", [0.0, -1.0])
def test_no_gradient_where_relu_is_off(bias: float) -> None:
    x, w, b = jnp.ones((5, 5, 1, 2)), jnp.zeros((3, 3, 1, 2)), jnp.full((1, 1, 1, 2), bias)
    y, gradients = value_and_gradients(conv_relu_pool, (x, w, b), jnp.ones((2, 2, 2, 2)))
    for array in (y, *gradients):
        np.testing.assert_array_equal(array, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_pass_through(bad: float) -> None:
    (x, w, b), _ = draw((6, 6, 1, 1, 1, 9), integers=False)
    w = np.abs(w)
    for image, (row, column) in enumerate([(0, 0), (0, 5), (5, 0), (5, 5), (2, 3)]):
        x[row, column, 0, image] = bad
    y = conv_relu_pool(x, w, b)
    np.testing.assert_allclose(y, reference_block(x, w, b), rtol=RELATIVE_TOLERANCE)
    if np.isnan(bad):
        assert np.isnan(y).sum(axis=(0, 1, 2)).tolist() == [1, 1, 1, 1, 4, 0, 0, 0, 0]


def convnet(seed: int, batch: int) -> tuple[Any, Any, Any]:
    """Parameters, images and labels."""
    shapes = [(5, 5, 1, 12), (5, 5, 12, 16), (5184, 120), (120, 84), (84, 10)]
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=s) / np.sqrt(np.prod(s[:-1])) for s in shapes]
    biases = [0.1 * rng.normal(size=(1,) * (w.ndim - 1) * (w.ndim == 4) + w.shape[-1:]) for w in weights]
    params = tuple((jnp.float32(w), jnp.float32(b)) for w, b in zip(weights, biases, strict=True))
    return params, jnp.float32(rng.random((batch, 784))), jnp.int32(rng.integers(0, 10, batch))


def loss(logits: Any, params: Any, images: Any, labels: Any) -> Any:
    z = logits(params, images)
    return -(jax.nn.log_softmax(z) * jax.nn.one_hot(labels, 10, dtype=z.dtype)).sum() / z.shape[0]


@pytest.mark.parametrize("batch", [128, 96, 1])
def test_convnet_equals_reference(batch: int) -> None:
    inputs = convnet(seed=batch, batch=batch)
    assert_close(convnet_logits(*inputs[:2]), convnet_logits_reference(*inputs[:2]))
    got, wanted = (
        jax.jit(jax.grad(partial(loss, logits), argnums=(0, 1)))(*inputs)
        for logits in (convnet_logits, convnet_logits_reference)
    )
    assert_close(got, wanted)


def test_steps_in_a_scan_equal_reference() -> None:
    params, images, labels = convnet(seed=0, batch=24)

    def train(logits: Any) -> Any:
        def step(params: Any, index: Any) -> Any:
            value, g = jax.value_and_grad(partial(loss, logits))(params, images[index], labels[index])
            return jax.tree.map(lambda p, d: p - jnp.float32(0.1) * d, params, g), value

        return lax.scan(step, params, jnp.arange(24).reshape(3, 8))

    assert_close(jax.jit(train, static_argnums=0)(convnet_logits), train(convnet_logits_reference))


def test_lanes_under_vmap_equal_each_alone() -> None:
    lanes = [convnet(seed, batch=5) for seed in range(3)]
    gradient = jax.value_and_grad(partial(loss, convnet_logits))
    together = jax.jit(jax.vmap(gradient))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes))
    for i, lane in enumerate(lanes):
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), gradient(*lane))


def test_the_cpu_path_has_no_convolution_and_no_gradient_of_images() -> None:
    inputs = convnet(seed=0, batch=2)

    def program(argnums: int | tuple[int, ...], logits: Any) -> str:
        return jax.jit(jax.grad(partial(loss, logits), argnums)).lower(*inputs).as_text()

    assert "stablehlo.convolution" in program(0, convnet_logits_reference)
    assert "stablehlo.convolution" not in program(0, convnet_logits)
    products = [program(argnums, convnet_logits_cpu).count("stablehlo.dot_general") for argnums in (0, (0, 1))]
    assert products[1] - products[0] == 1
