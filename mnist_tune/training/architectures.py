"""Architectures as `init` / `apply` pairs, each named by a short string.

A name is a registered kind and its arguments, joined by `-`: `mlp-1024-128-tanh`, `mlp-1024-128-relu-glorot`,
`stax-mlp`, `convnet`. New kinds are added with `register`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.errors import UserError
from mnist_tune.training.convolution import convnet_logits
from mnist_tune.training.summation import batch_sum
from mnist_tune.trial import closest

PIXELS, CLASSES = 784, 10

Params = tuple[tuple[Array, Array], ...]
"""`(weight, bias)` of each layer with parameters, first to last."""


@dataclass(frozen=True)
class Architecture:
    """A network: `init(seed)` gives numpy float32 parameters, `apply(params, images)` maps float32 images
    [n, 784] in [0, 1] to logits [n, 10]."""

    name: str
    init: Callable[[int], Any]
    apply: Callable[[Params, Array], Array]


_KINDS: dict[str, Callable[..., Architecture]] = {}


def register(kind: str) -> Callable[[Callable[..., Architecture]], Callable[..., Architecture]]:
    """Registers a factory: it is called with the full name and the parts of the name behind the kind."""

    def add(factory: Callable[..., Architecture]) -> Callable[..., Architecture]:
        _KINDS[kind] = factory
        return factory

    return add


@cache
def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        UserError: no registered kind begins the name, or its arguments are wrong.
    """
    for kind in sorted(_KINDS, key=len, reverse=True):
        if name == kind or name.startswith(kind + "-"):
            rest = name.removeprefix(kind).removeprefix("-")
            found = _KINDS[kind](name, *(rest.split("-") if rest else ()))
            # Trials that are compared start from the same parameters.
            return replace(found, init=lru_cache(maxsize=2)(found.init))
    examples = ["mlp-1024-128-tanh", *sorted(set(_KINDS) - {"mlp"})]
    raise UserError(f"unknown architecture {name!r}{closest(name, examples)}")


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu}


@register("mlp")
def _mlp(name: str, *parts: str) -> Architecture:
    glorot = parts[-1:] == ("glorot",)
    *widths, activation = parts[:-1] if glorot else parts or ("",)
    if activation not in ACTIVATIONS or not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise UserError(
            f"architecture {name!r} is not mlp-<widths>-<activation>[-glorot], such as mlp-1024-128-tanh "
            f"(activations: {', '.join(ACTIVATIONS)})"
        )
    sizes = [PIXELS, *map(int, widths), CLASSES]
    init = (lambda seed: _glorot_mlp(sizes, seed)) if glorot else (lambda seed: _normal_mlp(sizes, seed))
    return Architecture(name, init, lambda params, x: _apply_mlp(ACTIVATIONS[activation], params, x))


@register("stax-mlp")
def _stax_mlp(name: str, *parts: str) -> Architecture:
    """The notebook's Problem 2: Dense 1024, Relu, Dense 128, Relu, Dense 10."""
    if parts:
        raise UserError(f"architecture {name!r}: stax-mlp takes no arguments; mlp-<widths>-relu-glorot does")
    return _mlp(name, "1024", "128", "relu", "glorot")


@register("convnet")
def _convnet(name: str, *parts: str) -> Architecture:
    """The notebook's convnet: 5x5x12 valid, ReLU, 2x2 max-pool of stride 1, 5x5x16 valid, ReLU, the same pool,
    dense 120, 84, 10."""
    if parts:
        raise UserError(f"architecture {name!r}: convnet takes no arguments")
    return Architecture(name, _glorot_convnet, convnet_logits)


def _normal_mlp(sizes: list[int], seed: int) -> Any:
    """The notebook's `init_random_params`: `0.1 * RandomState(seed).randn`, weights then bias, layer by layer."""
    rng = np.random.RandomState(seed)
    return tuple(
        tuple((0.1 * rng.randn(*shape)).astype(np.float32) for shape in ((m, n), (n,))) for m, n in pairwise(sizes)
    )


def _glorot_mlp(sizes: list[int], seed: int) -> Any:
    # Positions among stax's layers: Flatten is 0, each Dense is followed by a Relu.
    shapes = [((m, n), (n,)) for m, n in pairwise(sizes)]
    return _stax_params({1 + 2 * i: shape for i, shape in enumerate(shapes)}, seed)


Shapes = dict[int, tuple[tuple[int, ...], tuple[int, ...]]]
"""Weight and bias shapes of the layers that have parameters, by their position in a `stax.serial`."""


def _glorot_convnet(seed: int) -> Any:
    dense: Shapes = {7: ((5184, 120), (120,)), 9: ((120, 84), (84,)), 11: ((84, CLASSES), (CLASSES,))}
    conv: Shapes = {0: ((5, 5, 1, 12), (1, 1, 1, 12)), 3: ((5, 5, 12, 16), (1, 1, 1, 16))}
    return _stax_params(conv | dense, seed)


def _stax_params(shapes: Shapes, seed: int) -> Any:
    """Parameters as `stax.serial(...)` draws them from `PRNGKey(seed)`: Glorot-normal weights, biases of
    standard deviation 0.01."""

    def draw(key: Array) -> Any:
        params = []
        for position in range(max(shapes) + 1):
            key, layer_key = jax.random.split(key)
            if position in shapes:
                weight_key, bias_key = jax.random.split(layer_key)
                weight_shape, bias_shape = shapes[position]
                weight = jax.nn.initializers.glorot_normal()(weight_key, weight_shape, jnp.float32)
                params.append((weight, jax.nn.initializers.normal(1e-2)(bias_key, bias_shape, jnp.float32)))
        return tuple(params)

    # The notebook's day had no partitionable threefry; its streams differ. The CPU draws the same numbers for all.
    with jax.threefry_partitionable(False), jax.default_device(jax.local_devices(backend="cpu")[0]):
        return jax.tree.map(np.asarray, jax.jit(draw)(jax.random.key(seed)))


def _apply_mlp(activation: Callable[[Array], Array], params: Params, x: Array) -> Array:
    for w, b in params[:-1]:
        x = activation(dense(x, w, b))
    return dense(x, *params[-1])


@jax.custom_vjp
def dense(x: Array, w: Array, b: Array) -> Array:
    """`x @ w + b` for x [n, m], w [m, k], b [k]."""
    return jnp.dot(x, w) + b[None, :]


def _dense_forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return dense(x, w, b), (x, w)


def _dense_backward(kept: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, w = kept
    # XLA's CPU product runs at half speed with a transposed left side; the barrier makes it copy x.T first.
    weight = jnp.dot(jax.lax.optimization_barrier(x.T), g)
    return jnp.dot(g, w.T), weight, batch_sum(g)


dense.defvjp(_dense_forward, _dense_backward)
