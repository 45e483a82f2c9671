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
from mnist_tune.training.refusals import check_tuple, kind_of
from mnist_tune.training.task import Network, Task


def cross_entropy(logits: Array, labels: Array) -> Array:
    """`logsumexp(z) - z[label]` for each row of logits z [..., classes]; nats,
    [...]."""
    log_probabilities = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return -jnp.sum(log_probabilities * _one_hot(labels, logits), axis=-1)


def half_squared_error(logits: Array, labels: Array) -> Array:
    """`½ ‖f - onehot(label)‖²` for each row of outputs f [..., classes]; [...]."""
    return jnp.sum((logits - _one_hot(labels, logits)) ** 2, axis=-1) / 2


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
    is_of_tokens = data.positions > 1

    def init(key: Any) -> tuple[Any, Any]:
        variables: tuple[Any, Any] = network.init(key)
        if train_apply is None:
            return variables, ()
        check_tuple("with train_apply, init", "params, state", variables)
        return variables

    def checked(function: str, logits: Any, x: Array) -> Any:
        """Return logits in float32 or wider. Raises `UserError` if they are none."""
        each = (*data.shape, data.classes) if is_of_tokens else (data.classes,)
        if getattr(logits, "shape", None) != (len(x), *each):
            shape = ", ".join(map(str, ("n", *each)))
            raise UserError(
                f"{function} must return logits [{shape}], since {data.name} has "
                f"{data.classes} classes; "
                f"for {len(x)} images it returned {kind_of(logits)}"
            )
        return logits.astype(np.promote_types(logits.dtype, np.float32))

    def loss_of(
        params: Any, state: Any, batch: tuple[Array, Array], key: Array
    ) -> tuple[Array, Any]:
        x = scale(batch[0], data)
        if train_apply is None:
            logits = checked("apply", network.apply(params, x), x)
        else:
            outputs = train_apply(params, state, x, key)
            check_tuple("train_apply", "logits, state", outputs)
            logits, state = checked("train_apply", outputs[0], x), outputs[1]
        return LOSSES[loss](logits, batch[1]).mean(), state

    def score(
        params: Any, state: Any, batch: tuple[Array, Array], key: Array
    ) -> dict[str, Array]:
        x, labels = batch
        logits = checked("apply", logits_of(network, data, params, state, x), x)
        logits = logits.astype(jnp.float32)
        right = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
        losses = LOSSES[loss](logits, labels)
        if is_of_tokens:
            right, losses = right.mean(axis=1, dtype=jnp.float32), losses.mean(axis=1)
        return {"loss": losses, "accuracy": right}

    return Task(init, loss_of, score=score)


def logits_of(
    network: Network, data: DataSpec, params: Any, state: Any, images: Array
) -> Any:
    """Return what a network returns for images as the data set holds them."""
    variables = (params, state) if network.train_apply else (params,)
    return network.apply(*variables, scale(images, data))


def scale(images: Array, data: DataSpec) -> Array:
    """Return float32 images: divided by their type's maximum if they are whole numbers,
    then standardised if asked. Tokens are returned as int32."""
    if data.positions > 1:
        return images.astype(jnp.int32)
    x = images.astype(jnp.float32) / data.divisor
    if data.mean:
        shape = (1,) * (images.ndim - 1) + (len(data.mean),)
        mean, deviation = (
            jnp.array(values, jnp.float32).reshape(shape)
            for values in (data.mean, data.deviation)
        )
        x = (x - mean) / deviation
    return x
