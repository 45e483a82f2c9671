"""Initial parameters, drawn as in the notebook, and the forward passes of the networks
in JAX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.example_libraries import stax

from mnist_tune.data_spec import DataSpec
from mnist_tune.training.convolution import Params
from mnist_tune.training.convolution import convnet_logits as convnet_logits


@lru_cache(maxsize=4)  # trials that are compared start from the same parameters
def initial(made: Any, seed: int) -> Any:
    """Return what `init` of a task or a network returns for a seed, as NumPy arrays."""
    # The CPU draws, so that every device starts from the same numbers.
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu):
        variables = made.init(jax.random.key(seed))
        return jax.tree.map(np.asarray, variables)


def seed_of(key: Array) -> int:
    """Return the seed of a key, from which the notebook's networks are drawn by NumPy.
    While the key is traced, only shapes are asked for, and any seed will do: JAX must
    not start on a device for them."""
    if isinstance(key, jax.core.Tracer):
        return 0
    return int(jax.random.key_data(key)[-1])


def normal_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw as the notebook's `init_random_params`: `0.1 * RandomState(seed).randn`,
    weights then bias of each layer."""
    rng = np.random.RandomState(seed)
    layers = []
    for m, n in pairwise(sizes):
        weight = 0.1 * rng.randn(m, n)
        bias = 0.1 * rng.randn(n)
        layers.append((weight.astype(np.float32), bias.astype(np.float32)))
    return tuple(layers)


def glorot_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw the weights and biases of an MLP with these layer sizes, as `stax.Dense`
    does."""
    layers = [stax.Flatten]
    for size in sizes[1:]:
        layers += [stax.Dense(size), stax.Relu]
    # the last layer is linear
    return _drawn(layers[:-1], sizes[:1], seed)


def he_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw the weights of an MLP without biases: `RandomState(seed).randn` with
    variance 2 / fan-in, in the last layer 1 / fan-in (He et al. 2015, arXiv
    1502.01852)."""
    rng = np.random.RandomState(seed)
    # A ReLU, which all layers but the last one have, halves the variance.
    gains = [2] * (len(sizes) - 2) + [1]
    layers = []
    for (m, n), gain in zip(pairwise(sizes), gains, strict=True):
        scale = np.sqrt(gain / m)
        weight = rng.randn(m, n) * scale
        layers.append((weight.astype(np.float32),))
    return tuple(layers)


def he0_mlp(sizes: Sequence[int], seed: int) -> Any:
    """Draw as `he_mlp`, but with a last layer of zeros: the untrained outputs are 0."""
    *layers, (last,) = he_mlp(sizes, seed)
    zeros = np.zeros_like(last)
    return (*layers, (zeros,))


def glorot_convnet(data: DataSpec, seed: int) -> Any:
    """Draw the parameters of the notebook's convnet for images of this shape, as stax
    does."""
    pool = stax.MaxPool((2, 2))
    layers = []
    for filters in (12, 16):
        layers += [stax.Conv(filters, (5, 5)), stax.Relu, pool]
    layers.append(stax.Flatten)
    for units in (120, 84):
        layers += [stax.Dense(units), stax.Relu]
    layers.append(stax.Dense(data.classes))
    # images without an axis of channels have one channel
    shape = (*data.shape, 1)[:3]
    return _drawn(layers, shape, seed)


def _drawn(layers: Sequence[Any], shape: Sequence[int], seed: int) -> Any:
    init, _ = stax.serial(*layers)
    # JAX's random streams were other ones before partitionable threefry, which is newer
    # than the notebook.
    with jax.threefry_partitionable(False):
        draw = jax.jit(lambda key: init(key, (-1, *shape))[1])
        params = draw(jax.random.key(seed))
    return tuple(layer for layer in params if layer)


def apply_mlp(activation: str, params: Params, x: Array) -> Array:
    """Return the logits [n, classes] of images x [n, ...]: dense layers, with the
    activation between them. A layer is (weight, bias), or (weight,) alone."""
    activate = getattr(jax.nn, activation)
    x = x.reshape(len(x), -1)
    for layer in params[:-1]:
        x = activate(_layer(x, *layer))
    return _layer(x, *params[-1])


def _layer(x: Array, w: Array, b: Array | None = None) -> Array:
    if b is None:
        b = jnp.zeros(w.shape[1], w.dtype)
    return dense(x, w, b)


LARGE = 2**17
"""From so many weights on, a layer has a gradient of its own. Both layers of
784-1024-128 do: if one of them has it alone, a step takes 2% longer."""


def dense(x: Array, w: Array, b: Array) -> Array:
    """Return `x @ w + b` for x [n, m], w [m, k], b [k]."""
    if w.size < LARGE:
        return jnp.dot(x, w) + b[None, :]
    return _large_dense(x, w, b)


@jax.custom_vjp
def _large_dense(x: Array, w: Array, b: Array) -> Array:
    return jnp.dot(x, w) + b[None, :]


def _forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return _large_dense(x, w, b), (x, w)


def _backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, w = residuals
    # XLA's product of a transposed matrix is slower on some CPUs: on an EPYC of family
    # 26, a step of 784-1024-128-10 takes 3.2 ms, and 2.8 ms if XLA copies x.T first, for
    # which the barrier is. On a Xeon that makes no difference. With few weights, the
    # copy costs 10 to 30% on both.
    weight = jnp.dot(jax.lax.optimization_barrier(x.T), g)
    return jnp.dot(g, w.T), weight, g.sum(0)


_large_dense.defvjp(_forward, _backward)
