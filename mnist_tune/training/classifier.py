"""A network that classifies images or tokens, as a task."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError
from mnist_tune.training.refusals import check_same, check_tuple, kind_of, tried
from mnist_tune.training.task import Network, Task


def cross_entropy(logits: Array, labels: Array) -> Array:
    """`logsumexp(z) - z[label]` for each row of logits z [..., classes]; nats,
    [...]."""
    log_probabilities = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    of_labels = log_probabilities * _one_hot(labels, logits)
    return -jnp.sum(of_labels, axis=-1)


def half_squared_error(logits: Array, labels: Array) -> Array:
    """`½ ‖f - onehot(label)‖²` for each row of outputs f [..., classes]; [...]."""
    error = logits - _one_hot(labels, logits)
    return jnp.sum(error**2, axis=-1) / 2


def _one_hot(labels: Array, logits: Array) -> Array:
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "cross-entropy": cross_entropy,
    "mse": half_squared_error,
}
"""The losses that a network can be trained with: the terms of one label, whose mean
counts."""


@cache  # programs are told apart by their tasks
def classifier(network: Network, data: DataSpec, loss: str) -> Task:
    """Return the task of training a network on this data by one of `LOSSES`. A batch is
    images [n, *shape] as the data set holds them, and labels [n], or [n, T] of tokens,
    over whose positions an example's scores are means."""
    train_apply = network.train_apply

    def init(key: Any) -> tuple[Any, Any]:
        variables: tuple[Any, Any] = network.init(key)
        if train_apply is None:
            return variables, ()
        check_tuple("with train_apply, init", "params, state", variables)
        return variables

    def evaluated(params: Any, state: Any, images: Array) -> Any:
        logits = logits_of(network, data, params, state, images)
        _check_logits(network, "apply", logits, images, data)
        return logits

    def loss_of(
        params: Any, state: Any, batch: tuple[Array, Array], key: Array
    ) -> tuple[Array, Any]:
        images, labels = batch
        if train_apply is None:
            logits = evaluated(params, state, images)
        else:
            x = scale(images, data)
            call = f"train_apply on images {list(x.shape)}"
            outputs = tried(call, train_apply, params, state, x, key)
            check_tuple("train_apply", "logits, state", outputs)
            logits, new_state = outputs
            _check_logits(network, "train_apply", logits, x, data)
            what = "train_apply returned another state than it got"
            check_same(what, new_state, state)
            state = new_state
        logits = logits.astype(np.promote_types(logits.dtype, np.float32))
        return LOSSES[loss](logits, labels).mean(), state

    def score(
        params: Any, state: Any, batch: tuple[Array, Array], key: Array
    ) -> dict[str, Array]:
        images, labels = batch
        logits = evaluated(params, state, images).astype(jnp.float32)
        right = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
        losses = LOSSES[loss](logits, labels)
        if data.positions > 1:
            right = right.mean(axis=1, dtype=jnp.float32)
            losses = losses.mean(axis=1)
        return {"loss": losses, "accuracy": right}

    return Task(init, loss_of, score=score)


def logits_of(
    network: Network, data: DataSpec, params: Any, state: Any, images: Array
) -> Any:
    """Return what a network returns for images as the data set holds them."""
    x = scale(images, data)
    call = f"apply on images {list(x.shape)}"
    if network.train_apply:
        return tried(call, network.apply, params, state, x)
    return tried(call, network.apply, params, x)


def _check_logits(
    network: Network, name: str, logits: Any, x: Array, data: DataSpec
) -> None:
    if network.rebuild:
        name = "the module"
    of_example: tuple[int, ...] = (data.classes,)
    if data.positions > 1:
        of_example = (*data.shape, data.classes)
    shape = getattr(logits, "shape", None)
    if shape == (len(x), *of_example):
        return
    axes = ", ".join(map(str, ("n", *of_example)))
    raise UserError(
        f"{name} must return logits [{axes}], since {data.name} has "
        f"{data.classes} classes; for {len(x)} images it returned {kind_of(logits)}"
    )


def scale(images: Array, data: DataSpec) -> Array:
    """Return float32 images: divided by their type's maximum if they are whole numbers,
    then standardised if asked. Tokens are returned as int32."""
    if data.positions > 1:
        return images.astype(jnp.int32)
    x = images.astype(jnp.float32) / data.divisor
    if data.mean:
        # of the last axis, or of all values
        shape = (1,) * (images.ndim - 1) + (len(data.mean),)
        mean = jnp.array(data.mean, jnp.float32).reshape(shape)
        deviation = jnp.array(data.deviation, jnp.float32).reshape(shape)
        x = (x - mean) / deviation
    return x
