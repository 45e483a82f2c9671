"""The losses that a network can be trained with. Each is a mean over labels; here are the terms of one label."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """`logsumexp(z) - z[label]` for each row of logits z [..., classes]; nats, [...]."""
    log_probabilities = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return -jnp.sum(log_probabilities * _one_hot(labels, logits), axis=-1)


def half_squared_error(logits: Array, labels: Array) -> Array:
    """`½ ‖f - onehot(label)‖²` for each row of outputs f [..., classes]; [...]."""
    return jnp.sum((logits - _one_hot(labels, logits)) ** 2, axis=-1) / 2


def _one_hot(labels: Array, logits: Array) -> Array:
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {"cross-entropy": cross_entropy, "mse": half_squared_error}
