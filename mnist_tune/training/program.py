"""Training as a pure function: initial state, one epoch as a `lax.scan`, evaluation.

Everything here works for one trial and, under `vmap`, for many: parameters, learning rate and momentum are
traced arguments, so a sweep over them compiles once per architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from mnist_tune.training.architectures import CLASSES, Architecture, architecture
from mnist_tune.training.networks import Params
from mnist_tune.trial import TrialConfig

EVALUATION_BLOCK = 256
"""Images a block of an evaluation; on a CPU activations of so many stay in cache (40% faster than 10,000)."""


class Hyperparameters(NamedTuple):
    """What may differ between trials of one compiled program; float32 scalars."""

    learning_rate: Any
    momentum: Any


class TrainState(NamedTuple):
    """Parameters and optax's state for them (momentum buffers, where there is momentum)."""

    params: Params
    optimizer: Any


@dataclass(frozen=True)
class Program:
    """What is compiled: everything of a trial that is not traced.

    Trials of one program differ in their learning rate, momentum, seeds and number of epochs only.
    """

    architecture: str
    momentum: bool
    nesterov: bool
    batch_size: int

    @classmethod
    def of(cls, config: TrialConfig) -> Program:
        return cls(config.architecture, config.momentum > 0, config.nesterov, config.batch_size)

    @property
    def model(self) -> Architecture:
        return architecture(self.architecture)

    def optimizer(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        """Plain SGD carries no momentum buffer: it would cost a pass over the parameters a step."""
        momentum = hyper.momentum if self.momentum else None
        return optax.sgd(hyper.learning_rate, momentum=momentum, nesterov=self.nesterov)

    def init(self, seed: int) -> TrainState:
        """The untrained state for that seed, as numpy float32 arrays."""
        params = self.model.init(seed)
        state = self.optimizer(Hyperparameters(0.0, 0.0)).init(params)
        initial: TrainState = jax.tree.map(np.asarray, TrainState(params, state))
        return initial

    def shapes(self) -> TrainState:
        """Shapes and types of a state's leaves; nothing is put on a device."""

        def draw() -> TrainState:
            params = self.model.draw(0)
            return TrainState(params, self.optimizer(Hyperparameters(0.0, 0.0)).init(params))

        found: TrainState = jax.eval_shape(draw)
        return found

    def train_epoch(
        self, state: TrainState, hyper: Hyperparameters, images: Array, labels: Array, order: Array
    ) -> tuple[TrainState, Array]:
        """One pass over the training set in the given order.

        Args:
            state: of one trial.
            hyper: its learning rate and momentum.
            images: uint8 [n, 784], resident on the device; scaled to [0, 1] in the step.
            labels: uint8 [n].
            order: int32 [n], the image index at each place of the epoch. A last batch may be partial.

        Returns:
            The new state and the float32 loss of each step before its update, [ceil(n / batch_size)].
        """

        def step(state: TrainState, index: Array) -> tuple[TrainState, Array]:
            x, y = scale(images[index]), labels[index]
            loss, gradient = jax.value_and_grad(lambda p: cross_entropy(self.model.apply(p, x), y).mean())(state.params)
            updates, optimizer = self.optimizer(hyper).update(gradient, state.optimizer)
            return TrainState(optax.apply_updates(state.params, updates), optimizer), loss

        full, rest = divmod(order.shape[0], self.batch_size)
        whole = order[: full * self.batch_size].reshape(full, self.batch_size)
        state, losses = jax.lax.scan(step, state, whole)
        if not rest:
            return state, losses
        state, last = step(state, order[full * self.batch_size :])
        return state, jnp.append(losses, last)

    def evaluate(self, params: Params, images: Array, labels: Array, first: Array, count: Array) -> tuple[Array, Array]:
        """Over a range of images: the sum of the cross-entropy (nats, float32), the number classified right (int32).

        Args:
            params: of one trial.
            images: uint8 [n, 784], all splits of the data set.
            labels: uint8 [n].
            first: int32, index of the range's first image.
            count: int32, its length. Both are traced: one compilation serves all splits.
        """
        size = min(EVALUATION_BLOCK, images.shape[0])

        def block(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            wanted = first + i * size
            start = jnp.minimum(wanted, images.shape[0] - size)  # as dynamic_slice does, to know what it returns
            index = start + jnp.arange(size, dtype=jnp.int32)
            inside = (index >= wanted) & (index < first + count)
            x = jax.lax.dynamic_slice_in_dim(images, start, size)
            y = jax.lax.dynamic_slice_in_dim(labels, start, size)
            logits = self.model.apply(params, scale(x))
            right = inside & (jnp.argmax(logits, axis=1).astype(y.dtype) == y)
            loss = jnp.where(inside, cross_entropy(logits, y), 0)
            return sums[0] + loss.sum(), sums[1] + right.sum(dtype=jnp.int32)

        blocks = (count + size - 1) // size
        sums: tuple[Array, Array] = jax.lax.fori_loop(0, blocks, block, (jnp.float32(0), jnp.int32(0)))
        return sums


def scale(images: Array) -> Array:
    """uint8 pixels to float32 in [0, 1]."""
    return images.astype(jnp.float32) / 255


def cross_entropy(logits: Array, labels: Array) -> Array:
    """`logsumexp(z) - z[label]` for each row of logits z [n, 10]; nats, [n]."""
    log_probabilities = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    return -jnp.sum(log_probabilities * jax.nn.one_hot(labels, CLASSES, dtype=logits.dtype), axis=1)
