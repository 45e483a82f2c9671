"""The training loop of the original notebook, as in its Problem 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from benchmarks.sides.setting import Setting, floats


class Notebook:
    """A Python loop over jitted steps on NumPy batches. The evaluation is not
    jitted."""

    def __init__(self, setting: Setting) -> None:
        data = setting.data
        self._learning_rate = setting.config.learning_rate
        self._batch_size = setting.config.batch_size
        self._activation = getattr(jax.nn, setting.activation)
        self._params = setting.params
        self._train_set = floats(data.train_images), _one_hot(data.train_labels)
        self._test_set = floats(data.test_images), _one_hot(data.test_labels)
        self._batches = self._data_stream()
        self._update = jax.jit(self._step)

    def compile(self) -> None:
        images, labels = self._train_set
        params = self._params
        for size in (
            self._batch_size,
            self._batch_size,
            self._rest or self._batch_size,
        ):
            # compiles again once params are JAX arrays
            params = self._update(params, (images[:size], labels[:size]))
        jax.block_until_ready(params)
        self.evaluate()  # compiles each of its operations

    def train(self, epoch: int) -> None:
        for _ in range(self._num_batches):
            self._params = self._update(self._params, next(self._batches))
        jax.block_until_ready(self._params)

    def evaluate(self) -> tuple[float, float]:
        train_accuracy = self._accuracy(self._params, self._train_set)
        test_accuracy = self._accuracy(self._params, self._test_set)
        return float(train_accuracy), float(test_accuracy)

    @property
    def _rest(self) -> int:
        return len(self._train_set[0]) % self._batch_size

    @property
    def _num_batches(self) -> int:
        return len(self._train_set[0]) // self._batch_size + bool(self._rest)

    def _data_stream(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        images, labels = self._train_set
        rng = np.random.RandomState(0)
        while True:
            perm = rng.permutation(len(images))
            for i in range(self._num_batches):
                batch_idx = perm[i * self._batch_size : (i + 1) * self._batch_size]
                yield images[batch_idx], labels[batch_idx]

    def _predict(self, params: Any, inputs: Any) -> Array:
        activations = inputs
        for w, b in params[:-1]:
            outputs = jnp.dot(activations, w) + b
            activations = self._activation(outputs)
        final_w, final_b = params[-1]
        logits: Array = jnp.dot(activations, final_w) + final_b
        return logits - logsumexp(logits, axis=1, keepdims=True)

    def _loss(self, params: Any, batch: Any) -> Array:
        inputs, targets = batch
        return -jnp.mean(jnp.sum(self._predict(params, inputs) * targets, axis=1))

    def _step(self, params: Any, batch: Any) -> Any:
        grads = jax.grad(self._loss)(params, batch)
        return [
            (w - self._learning_rate * dw, b - self._learning_rate * db)
            for (w, b), (dw, db) in zip(params, grads, strict=True)
        ]

    def _accuracy(self, params: Any, batch: Any) -> Array:
        inputs, targets = batch
        target_class = jnp.argmax(targets, axis=1)
        predicted_class = jnp.argmax(self._predict(params, inputs), axis=1)
        return jnp.mean(predicted_class == target_class)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.array(labels[:, None] == np.arange(10), np.float32)
