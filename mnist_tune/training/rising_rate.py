"""The learning-rate range test: train while the learning rate grows, and watch where
the loss leaves (Smith 2015)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import Data, Program, TrainState

CHUNK = 50
"""Steps between two looks at the loss: a ramp ends soon after the loss has left."""

RISE = 4.0
"""A range test ends where its smoothed loss exceeds so many times its least: the factor
of fastai and Lightning."""

BEGUN = 0.9
"""A network has learned something once its smoothed loss is below this share of a
guess's. From then on a range test also ends half-way from the least loss back to a
guess's, as a dead network may stay there."""


@dataclass(frozen=True)
class Ramp:
    """The learning rates of a range test, in equal steps of ln η, and the smoothing of
    its losses. The default has a hundred steps a decade, so that the mean lags by a
    factor of 1.26, and covers the edges of SGD and of Adam."""

    first: float = 1e-5
    last: float = 100.0
    steps: int = 700
    smoothing: float = 0.9
    """What the mean keeps of itself in a step. It lags by 1 / (1 - smoothing) steps."""

    @property
    def rates(self) -> np.ndarray:
        """The learning rate of each step, [steps]."""
        shares = np.arange(self.steps) / self.steps
        rates: np.ndarray = self.first * (self.last / self.first) ** shares
        return rates


@dataclass(frozen=True)
class RangeCurve:
    """The losses of a range test, up to where it ended."""

    ramp: Ramp
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """The loss of each step before its update; they may end in infinity or NaN."""
    guess: float = math.inf
    """The loss of a constant guess; infinity if only the rise over the least loss
    counts."""
    of_task: bool = False
    """Whether it is a task's loss, which may have either sign and any scale."""

    @property
    def rates(self) -> np.ndarray:
        return self.ramp.rates[: len(self.losses)]

    @property
    def smooth(self) -> np.ndarray:
        """The exponential moving mean m of the losses, corrected for its start: `m_t /
        (1 - smoothing^t)`."""
        smoothing = self.ramp.smoothing
        mean = 0.0
        smooth = np.empty(len(self.losses))
        for t, loss in enumerate(self.losses, start=1):
            mean = smoothing * mean + (1 - smoothing) * float(loss)
            smooth[t - 1] = mean / (1 - smoothing**t)
        return smooth

    @property
    def limits(self) -> np.ndarray:
        """The smoothed loss above which the test ends, at each step. That of a task
        rises by `RISE` beyond that of the first steps, or returns half-way there after
        it fell by more than noise."""
        smooth = self.smooth
        finite = np.where(np.isfinite(smooth), smooth, np.inf)
        least = np.minimum.accumulate(finite)
        untrained = self.guess
        has_learned = least < BEGUN * untrained
        highest = RISE * least
        if self.of_task:
            # Its scale follows from its first steps: neither 0 nor a factor means
            # anything to a loss of either sign.
            begin = self.losses[:CHUNK]
            noise = float(begin.std())
            untrained = min(float(begin.mean()), self.guess)
            has_learned = untrained - least > SIGMAS * noise
            scale = max(abs(untrained), noise)
            highest = np.array(untrained + (RISE - 1) * scale)
        half_way = (least + untrained) / 2
        returned = np.where(has_learned, half_way, np.inf)
        limits: np.ndarray = np.minimum(highest, returned)
        return limits

    @property
    def blow_up(self) -> float:
        """The first rate at which the smoothed loss is above its limit, or not finite;
        the last rate if there is none."""
        # NaN is not below a limit, either
        above = np.flatnonzero(~(self.smooth <= self.limits))
        step = -1
        if len(above):
            step = above[0]
        return float(self.rates[step])

    @property
    def blew_up(self) -> bool:
        """Whether the loss left before the ramp's end."""
        return self.blow_up < self.rates[-1] or len(self.losses) < self.ramp.steps


def range_curve(
    program: Program,
    state: TrainState,
    hyper: Hyperparameters,
    seed: int,
    data: Data,
    train_count: int,
    curve: RangeCurve,
) -> RangeCurve:
    """Return a range test that has no losses so far with its losses. It is a pure
    function: parameters, optimiser, keys and batch order stay. `seed` is that of the
    order of the `train_count` images, which goes on over epochs, and of what is random
    in a step; the other arguments are those of `Program.train_epoch`."""
    rates = curve.ramp.rates.astype(np.float32)
    steps = len(rates)
    orders = _batches(seed, program.batch_size, steps, train_count)
    seeds, numbers = np.full(steps, seed), np.arange(steps)
    keys = np.stack([seeds, numbers], axis=1).astype(np.uint32)
    fixed = {name: jnp.float32(value) for name, value in hyper.items()}
    for first in range(0, steps, CHUNK):
        part = slice(first, first + CHUNK)
        ramp = rates[part], keys[part], orders[part]
        state, losses = _steps(program, state, fixed, *ramp, data)
        losses = np.append(curve.losses, np.asarray(losses))
        curve = replace(curve, losses=losses)
        has_diverged = not np.isfinite(losses).all()
        if has_diverged or curve.smooth[-1] > curve.limits[-1]:
            break
    return curve


def _batches(seed: int, batch_size: int, steps: int, count: int) -> np.ndarray:
    """Return the images of each step, int32 [steps, batch size]. The last batch of an
    epoch is left out if it is smaller. If there are fewer images than a batch, each
    step takes all of them, as in an epoch."""
    batch_size = min(batch_size, count)
    batches = count // batch_size
    epochs = -(-steps // batches)
    orders = []
    for epoch in range(epochs):
        order = batch_order(seed, epoch, count)[: batches * batch_size]
        orders.append(order.reshape(batches, -1))
    return np.concatenate(orders)[:steps]


@partial(jax.jit, static_argnums=0)
def _steps(
    program: Program,
    state: TrainState,
    hyper: Hyperparameters,
    rates: Array,
    keys: Array,
    orders: Array,
    data: Data,
) -> tuple[TrainState, Array]:
    def step(
        state: TrainState, at: tuple[Array, Array, Array]
    ) -> tuple[TrainState, Array]:
        rate, key, order = at
        hyper_now = hyper | {"learning_rate": rate}
        state, loss = program.train_epoch(state, hyper_now, key, data, order)
        return state, loss[0]

    trained: tuple[TrainState, Array] = jax.lax.scan(step, state, (rates, keys, orders))
    return trained
