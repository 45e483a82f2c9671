"""A sum over the images of a batch whose order is the same for one trial and for many under `vmap`.

XLA's CPU backend orders a reduction by its shape, so that a lane's sums, and from them all its numbers, would
depend in the last bit on its company; training at a large learning rate amplifies that to another regime.
Elementwise additions have no order to choose.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax


def batch_sum(x: Array, axis: int = 0) -> Array:
    """The sum over an axis, by halves: the error grows with the logarithm of its length."""
    while x.shape[axis] > 1:
        half, odd = divmod(x.shape[axis], 2)
        left, right = (lax.slice_in_dim(x, i * half, (i + 1) * half, axis=axis) for i in range(2))
        rest = lax.slice_in_dim(x, 2 * half, 2 * half + odd, axis=axis)
        x = left + right if not odd else jnp.concatenate([left + right, rest], axis)
    return lax.squeeze(x, (axis,))


def batch_mean(x: Array) -> Array:
    """The mean of a vector."""
    return batch_sum(x) * (1 / len(x))
