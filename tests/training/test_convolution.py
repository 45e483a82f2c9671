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
    y = lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("HWCN", "HWIO", "HWCN")
    )
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
        return np.float32(
            rng.integers(-2, 3, size) if integers else rng.normal(size=size)
        )

    x, w = array(height, width, channels, batch), array(k, k, channels, filters)
    return (x, w, array(1, 1, 1, filters)), array(height - k, width - k, filters, batch)


def assert_close(got: Any, wanted: Any, tolerance: float = RELATIVE_TOLERANCE) -> None:
    """Every array to within `tolerance` of its largest entry."""
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * np.abs(w).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_block_equals_reference(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=False)
    wanted = value_and_gradients(reference_block, *inputs)
    assert_close(value_and_gradients(conv_relu_pool, *inputs), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_of_equal_inputs_the_first_gets_the_gradient(shape: tuple[int, ...]) -> None:
    inputs = draw(shape, integers=True)
    wanted = value_and_gradients(reference_block, *inputs)
    assert_close(value_and_gradients(conv_relu_pool, *inputs), wanted, tolerance=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_pass_through(bad: float) -> None:
    (x, w, b), cotangent = draw((6, 6, 1, 1, 1, 9), integers=False)
    for image, place in enumerate([(0, 0), (0, 5), (5, 0), (5, 5), (2, 3)]):
        x[(*place, 0, image)] = bad
    y, _ = value_and_gradients(conv_relu_pool, (x, w, b), cotangent)
    wanted, _ = value_and_gradients(reference_block, (x, w, b), cotangent)
    np.testing.assert_allclose(y, wanted, rtol=RELATIVE_TOLERANCE)
    if np.isnan(bad):
        assert np.isnan(y).sum(axis=(0, 1, 2)).tolist() == [1, 1, 1, 1, 4, 0, 0, 0, 0]


def convnet(
    seed: int, batch: int, shape: tuple[int, ...] = (13, 14)
) -> tuple[Any, Any, Any]:
    """Parameters, images and labels."""
    rng = np.random.default_rng(seed)
    params, channels = [], shape[2] if len(shape) == 3 else 1
    flat = (shape[0] - 10) * (shape[1] - 10) * 16
    for shape_of in (
        (5, 5, channels, 12),
        (5, 5, 12, 16),
        (flat, 120),
        (120, 84),
        (84, 10),
    ):
        bias_shape = (1,) * 3 + shape_of[-1:] if len(shape_of) == 4 else shape_of[-1:]
        weight = rng.normal(size=shape_of) / np.sqrt(np.prod(shape_of[:-1]))
        params.append(
            (jnp.float32(weight), jnp.float32(0.1 * rng.normal(size=bias_shape)))
        )
    return (
        tuple(params),
        jnp.float32(rng.random((batch, *shape))),
        jnp.int32(rng.integers(0, 10, batch)),
    )


def loss(logits: Any, params: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    """Cross-entropy, and the logits themselves."""
    z = logits(params, images)
    return -(
        jax.nn.log_softmax(z) * jax.nn.one_hot(labels, 10, dtype=z.dtype)
    ).sum() / z.shape[0], z


def gradient(logits: Any, argnums: int | tuple[int, ...] = 0) -> Any:
    return jax.value_and_grad(partial(loss, logits), argnums, has_aux=True)


@pytest.mark.parametrize(
    ("batch", "shape"),
    [pytest.param(20, (28, 28), marks=pytest.mark.numerical), (1, (11, 16, 3))],
)
def test_convnet_equals_reference(batch: int, shape: tuple[int, ...]) -> None:
    inputs = convnet(batch, batch, shape)
    wanted = jax.jit(gradient(convnet_logits_reference, (0, 1)))(*inputs)
    assert_close(jax.jit(gradient(convnet_logits, (0, 1)))(*inputs), wanted)


def lowered(logits: Any, platform: str, argnums: int | tuple[int, ...] = 0) -> str:
    trace = jax.jit(gradient(logits, argnums)).trace(*convnet(seed=0, batch=2))
    return str(trace.lower(lowering_platforms=(platform,)).as_text())


def test_each_platform_gets_its_own_program() -> None:
    on_cpu, on_gpu = (lowered(convnet_logits, platform) for platform in ("cpu", "cuda"))
    assert "stablehlo.convolution" not in on_cpu
    assert "stablehlo.convolution" in on_gpu
    assert "stablehlo.while" in on_cpu
    assert "stablehlo.while" not in on_gpu


def test_the_gradient_of_the_images_is_left_out_when_nobody_asks_for_it() -> None:
    without, with_it = (
        lowered(convnet_logits, "cpu", argnums) for argnums in (0, (0, 1))
    )
    assert (
        with_it.count("stablehlo.dot_general") - without.count("stablehlo.dot_general")
        == 1
    )
