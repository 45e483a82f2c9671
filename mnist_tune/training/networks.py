"""Initial parameters, drawn as in the notebook, and the forward passes of the networks in JAX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.data_spec import DataSpec
from mnist_tune.training.convolution import Params
from mnist_tune.training.convolution import convnet_logits as convnet_logits
from mnist_tune.training.network import Network


@lru_cache(maxsize=4)  # trials that are compared start from the same parameters
def initial(network: Network, seed: int) -> Any:
    """Return what a network's `init` returns for a seed, as NumPy arrays."""
    # The CPU draws, so that every device starts from the same numbers.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        if not network.seeded:
            return jax.tree.map(np.asarray, network.init(jax.random.key(seed)))
        # JAX's random streams were other ones before partitionable threefry, which is newer than the notebook.
        with jax.threefry_partitionable(False):
            return jax.tree.map(np.asarray, network.init(seed))


def normal_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw as the notebook's `init_random_params`: `0.1 * RandomState(seed).randn`, weights then bias of each layer."""
    rng = np.random.RandomState(seed)
    return tuple(
        tuple((0.1 * rng.randn(*shape)).astype(np.float32) for shape in ((m, n), (n,))) for m, n in pairwise(sizes)
    )


def glorot_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw the weights and biases of an MLP with these layer sizes, as `stax.Dense` does."""
    # The keys are positions among stax's layers: Flatten is 0, and each Dense is followed by a Relu.
    shapes = [((m, n), (n,)) for m, n in pairwise(sizes)]
    return _stax_params({1 + 2 * i: shape for i, shape in enumerate(shapes)}, seed)


def he_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw the weights of an MLP without biases: `RandomState(seed).randn` with variance 2 / fan-in, in the last layer
    1 / fan-in (He et al. 2015, arXiv 1502.01852)."""
    rng, last = np.random.RandomState(seed), len(sizes) - 2
    return tuple(
        ((rng.randn(m, n) * np.sqrt((1 if i == last else 2) / m)).astype(np.float32),)
        for i, (m, n) in enumerate(pairwise(sizes))
    )


def he0_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw as `he_mlp`, but with a last layer of zeros: the untrained outputs are 0."""
    *layers, (last,) = he_mlp(sizes, seed)
    return (*layers, (np.zeros_like(last),))


Shapes = dict[int, tuple[tuple[int, ...], tuple[int, ...]]]
"""Weight and bias shapes of the layers that have parameters, by their position in a `stax.serial`."""


def glorot_convnet(data: DataSpec, seed: int) -> Any:
    """Draw the parameters of the notebook's convnet for images of this shape, as stax does."""
    height, width, channels = (*data.shape, 1)[:3]
    flat = (height - 10) * (width - 10) * 16  # two valid convolutions of 5 x 5, two pools of 2 x 2 and stride 1
    dense: Shapes = {7: ((flat, 120), (120,)), 9: ((120, 84), (84,)), 11: ((84, data.classes), (data.classes,))}
    conv: Shapes = {0: ((5, 5, channels, 12), (1, 1, 1, 12)), 3: ((5, 5, 12, 16), (1, 1, 1, 16))}
    return _stax_params(conv | dense, seed)


def _stax_params(shapes: Shapes, seed: int) -> Any:
    """Draw as `stax.serial(...)` from `PRNGKey(seed)`: Glorot-normal weights, biases of standard deviation 0.01, or of
    1e-6 in convolutions."""

    def draw(key: Array) -> Any:
        params = []
        for position in range(max(shapes) + 1):
            key, layer_key = jax.random.split(key)
            if position in shapes:
                weight_key, bias_key = jax.random.split(layer_key)
                weight_shape, bias_shape = shapes[position]
                weight = jax.nn.initializers.glorot_normal()(weight_key, weight_shape, jnp.float32)
                deviation = 1e-6 if len(weight_shape) == 4 else 1e-2
                params.append((weight, jax.nn.initializers.normal(deviation)(bias_key, bias_shape, jnp.float32)))
        return tuple(params)

    return jax.jit(draw)(jax.random.key(seed))


def apply_mlp(activation: str, params: Params, x: Array) -> Array:
    """Return the logits [n, classes] of images x [n, ...]: dense layers, with the activation between them.

    A layer is (weight, bias), or (weight,) alone.
    """
    x = x.reshape(len(x), -1)
    for layer in params[:-1]:
        x = getattr(jax.nn, activation)(_layer(x, *layer))
    return _layer(x, *params[-1])


def _layer(x: Array, w: Array, b: Array | None = None) -> Array:
    return dense(x, w, jnp.zeros(w.shape[1], w.dtype) if b is None else b)


@jax.custom_vjp
def dense(x: Array, w: Array, b: Array) -> Array:
    """Return `x @ w + b` for x [n, m], w [m, k], b [k]."""
    return jnp.dot(x, w) + b[None, :]


def _dense_forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return dense(x, w, b), (x, w)


def _dense_backward(kept: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, w = kept
    # XLA's CPU product runs at half speed if its left side is transposed. The barrier makes XLA copy x.T first.
    weight = jnp.dot(jax.lax.optimization_barrier(x.T), g)
    return jnp.dot(g, w.T), weight, g.sum(0)


dense.defvjp(_dense_forward, _dense_backward)
