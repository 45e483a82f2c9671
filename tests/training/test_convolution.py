"""The convolution block against JAX's own convolution, ReLU and pool."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_tune.training.convolution import (
    conv_relu_pool,
    convnet_logits,
    convnet_logits_reference,
)

RELATIVE_TOLERANCE = 1e-5
# height, width, channels, k, filters, batch
SHAPES = [
    (28, 28, 1, 5, 12, 20),
    (23, 23, 12, 5, 16, 9),
    pytest.param((7, 9, 3, 3, 4, 1), marks=pytest.mark.portable),
    (6, 5, 2, 4, 3, 7),
    (8, 9, 1, 5, 3, 4),  # one channel, and one more column than a group of them holds
    (3, 2, 1, 1, 1, 2),
]


def reference_block(x: Any, w: Any, b: Any) -> Any:
    layout = ("HWCN", "HWIO", "HWCN")
    y = lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=layout)
    y = jax.nn.relu(y + b.reshape(1, 1, -1, 1))
    return lax.reduce_window(y, -jnp.inf, lax.max, (2, 2, 1, 1), (1, 1, 1, 1), "VALID")


@partial(jax.jit, static_argnums=0)
def value_and_gradients(block: Any, arguments: Any, cotangent: Any) -> tuple[Any, Any]:
    y, pull_back = jax.vjp(block, *arguments)
    return y, pull_back(cotangent)


def draw(shape: tuple[int, ...], integers: bool) -> tuple[Any, Any]:
    """Arguments and cotangent of a block; small integers tie often and add up without
    rounding."""
    height, width, channels, k, filters, batch = shape
    rng = np.random.default_rng(height * width)

    def array(*size: int) -> Any:
        if integers:
            return np.float32(rng.integers(-2, 3, size))
        return np.float32(rng.normal(size=size))

    x = array(height, width, channels, batch)
    w = array(k, k, channels, filters)
    b = array(1, 1, 1, filters)
    cotangent = array(height - k, width - k, filters, batch)
    return (x, w, b), cotangent


def assert_close(
    values: Any, expected: Any, tolerance: float = RELATIVE_TOLERANCE
) -> None:
    """Every array to within `tolerance` of its largest entry."""
    pairs = zip(jax.tree.leaves(values), jax.tree.leaves(expected), strict=True)
    for x, y in pairs:
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        largest = np.abs(y).max()
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("shape", SHAPES)
def test_block_equals_reference(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=False)
    reference = value_and_gradients(reference_block, *inputs)
    block = value_and_gradients(conv_relu_pool, *inputs)
    assert_close(block, reference)


@pytest.mark.parametrize("shape", SHAPES)
def test_of_equal_inputs_the_first_gets_the_gradient(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=True)
    reference = value_and_gradients(reference_block, *inputs)
    block = value_and_gradients(conv_relu_pool, *inputs)
    assert_close(block, reference, tolerance=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_pass_through(bad: float) -> None:
    inputs = draw((6, 6, 1, 1, 1, 9), integers=False)
    (x, _, _), _ = inputs
    places = [(0, 0), (0, 5), (5, 0), (5, 5), (2, 3)]
    for image, (row, column) in enumerate(places):
        x[row, column, 0, image] = bad
    y, _ = value_and_gradients(conv_relu_pool, *inputs)
    expected, _ = value_and_gradients(reference_block, *inputs)
    np.testing.assert_allclose(y, expected, rtol=RELATIVE_TOLERANCE)
    if np.isnan(bad):
        outputs = np.isnan(y).sum(axis=(0, 1, 2))
        assert outputs.tolist() == [1, 1, 1, 1, 4, 0, 0, 0, 0]


def convnet(
    seed: int, batch: int, shape: tuple[int, ...] = (13, 14)
) -> tuple[Any, Any, Any]:
    """Parameters, images and labels."""
    rng = np.random.default_rng(seed)
    channels = shape[2] if len(shape) == 3 else 1
    height, width = shape[:2]
    flat = (height - 10) * (width - 10) * 16
    layers = [
        ((5, 5, channels, 12), (1, 1, 1, 12)),
        ((5, 5, 12, 16), (1, 1, 1, 16)),
        ((flat, 120), (120,)),
        ((120, 84), (84,)),
        ((84, 10), (10,)),
    ]
    params = []
    for weight_shape, bias_shape in layers:
        inputs = np.prod(weight_shape[:-1])
        weight = rng.normal(size=weight_shape) / np.sqrt(inputs)
        bias = 0.1 * rng.normal(size=bias_shape)
        params.append((jnp.float32(weight), jnp.float32(bias)))
    images = rng.random((batch, *shape))
    labels = rng.integers(0, 10, batch)
    return tuple(params), jnp.float32(images), jnp.int32(labels)


def loss(logits: Any, params: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    """Cross-entropy, and the logits themselves."""
    z = logits(params, images)
    label_shares = jax.nn.one_hot(labels, 10, dtype=z.dtype)
    log_likelihoods = jax.nn.log_softmax(z) * label_shares
    return -log_likelihoods.sum() / len(z), z


def gradient(logits: Any, argnums: int | tuple[int, ...] = 0) -> Any:
    return jax.value_and_grad(partial(loss, logits), argnums, has_aux=True)


@pytest.mark.parametrize(
    ("batch", "shape"),
    [pytest.param(20, (28, 28), marks=pytest.mark.numerical), (1, (11, 16, 3))],
)
def test_convnet_equals_reference(batch: int, shape: tuple[int, ...]) -> None:
    inputs = convnet(batch, batch, shape)
    reference = jax.jit(gradient(convnet_logits_reference, (0, 1)))
    ours = jax.jit(gradient(convnet_logits, (0, 1)))
    assert_close(ours(*inputs), reference(*inputs))


def lowered(logits: Any, platform: str, argnums: int | tuple[int, ...] = 0) -> str:
    step = jax.jit(gradient(logits, argnums))
    trace = step.trace(*convnet(seed=0, batch=2))
    program = trace.lower(lowering_platforms=(platform,))
    return str(program.as_text())


def test_each_platform_gets_its_own_program() -> None:
    on_cpu = lowered(convnet_logits, "cpu")
    on_gpu = lowered(convnet_logits, "cuda")
    assert "stablehlo.convolution" not in on_cpu
    assert "stablehlo.convolution" in on_gpu
    assert "stablehlo.while" in on_cpu
    assert "stablehlo.while" not in on_gpu


def test_the_gradient_of_the_images_is_left_out_when_nobody_asks_for_it() -> None:
    product = "stablehlo.dot_general"
    without = lowered(convnet_logits, "cpu", 0).count(product)
    with_images = lowered(convnet_logits, "cpu", (0, 1)).count(product)
    assert with_images - without == 1
