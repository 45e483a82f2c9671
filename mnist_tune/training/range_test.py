"""The learning-rate range test: train while the learning rate grows, and watch where the loss leaves (Smith 2015)."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import Data, Program, TrainState
from mnist_tune.training.range_suggestions import Ramp, RangeCurve, limit, smoothed

CHUNK = 50
"""Steps between two looks at the loss: a ramp ends soon after the loss has left."""


def range_curve(
    program: Program,
    state: TrainState,
    hyper: Hyperparameters,
    seed: int,
    data: Data,
    ramp: Ramp,
    train_count: int,
    guess: float = math.inf,
) -> RangeCurve:
    """Return the losses of a range test on a ramp of learning rates. It is a pure function: parameters, optimiser, keys
    and batch order stay. `seed` is that of the order of the `train_count` images, which goes on over epochs, and of
    what is random in a step; `guess` is as in `RangeCurve`, the other arguments are those of `Program.train_epoch`."""
    rates, orders = ramp.rates.astype(np.float32), _batches(seed, program.batch_size, len(ramp.rates), train_count)
    keys = np.stack([np.full(len(rates), seed), np.arange(len(rates))], 1).astype(np.uint32)
    losses = np.zeros(0, np.float32)
    fixed = {name: jnp.float32(value) for name, value in hyper.items()}
    for first in range(0, len(rates), CHUNK):
        part = slice(first, first + CHUNK)
        state, some = _steps(program, state, fixed, rates[part], keys[part], orders[part], data)
        losses = np.append(losses, np.asarray(some))
        smooth = smoothed(losses, ramp.smoothing)
        if not np.isfinite(smooth).all() or smooth[-1] > limit(smooth.min(), guess):
            break
    return RangeCurve(ramp, losses, guess)


def _batches(seed: int, batch_size: int, steps: int, count: int) -> np.ndarray:
    """Return the images of each step, int32 [steps, batch size]. The last batch of an epoch is left out if it is
    smaller. If there are fewer images than a batch, each step takes all of them, as in an epoch."""
    batch_size = min(batch_size, count)
    each = count // batch_size
    epochs = -(-steps // each)
    orders = [batch_order(seed, epoch, count)[: each * batch_size].reshape(each, -1) for epoch in range(epochs)]
    return np.concatenate(orders)[:steps]


@partial(jax.jit, static_argnums=0)
def _steps(
    program: Program, state: TrainState, hyper: Hyperparameters, rates: Array, keys: Array, orders: Array, data: Data
) -> tuple[TrainState, Array]:
    def step(state: TrainState, one: tuple[Array, Array, Array]) -> tuple[TrainState, Array]:
        rate, key, order = one
        state, loss = program.train_epoch(state, hyper | {"learning_rate": rate}, key, data, order)
        return state, loss[0]

    found: tuple[TrainState, Array] = jax.lax.scan(step, state, (rates, keys, orders))
    return found
