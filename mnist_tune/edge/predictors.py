"""Predictors of the edge, seconds each: range tests with the rules in use today, line searches, and the sharpness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from mnist_tune.execution.device_data import DeviceData
from mnist_tune.regimes.divergence import guess_loss
from mnist_tune.regimes.measured_edge import CLASSICAL
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.curvature import MORE_PRODUCTS, PRODUCTS, TOLERANCE, probe_of, sharpness
from mnist_tune.training.optimizers import Hyperparameters, threshold
from mnist_tune.training.program import Data, Program, TrainState
from mnist_tune.training.range_suggestions import BLOW_UP, OURS, RULES, Ramp, RangeCurve, suggestion
from mnist_tune.training.range_test import range_curve
from mnist_tune.trial import TrialConfig

BRACKET, CRITICAL = "forward-only bracket", "critical sharpness"

PROBE = 2000
"""Training images that the bracket's gradient and loss are measured on."""
BLOCK = 500
"""Images that are differentiated at a time."""
SHARPNESS_PROBE = 1000
"""Training images that λ0 is measured on: within 3% of the whole set before training."""

DOUBLINGS = 40
"""The most doublings, and the most halvings, from the first rate."""

HALVINGS = 4
"""Bisections of ln η between the last rate that lowers the loss and the first that raises it: within 2.2%."""

Blocks = tuple[Any, Any]
"""Indices of images, [blocks, size], and the blocks' numbers."""


class Bench:
    """An untrained network with its optimiser and data, for predictors to look at. Its config is that of the trials
    whose edge is predicted, with the seed to look at; schedule and warm-up don't count."""

    def __init__(self, config: TrialConfig, data: DeviceData, spec: Any) -> None:
        self.config, self.data, self.spec = config, data, spec
        self.program = Program.of(replace(config, schedule="constant", warmup_steps=0), spec)
        self.hyper = self.program.step.hyperparameters(config, config.steps(data.train_count))
        self.state = self.program.init(config.seed, self.hyper)

    def range_curve(self, ramp: Ramp = OURS) -> RangeCurve:
        """Return the losses of a range test."""
        data, seed = self.data, self.config.data_seed
        guess = guess_loss(self.spec.label_counts, self.config.loss) if ramp == OURS else math.inf
        return range_curve(self.program, self.state, self.hyper, seed, data.arrays, ramp, data.train_count, guess)

    def suggestions(self) -> dict[str, float | None]:
        """Return what each rule in use today suggests, on the ramp of its library."""
        curves = {ramp: self.range_curve(ramp) for ramp in dict.fromkeys(ramp for ramp, _, _ in RULES.values())}
        return {name: suggestion(name, curves[ramp]) for name, (ramp, _, _) in RULES.items()}

    def bracket(self) -> float:
        """Return the critical learning rate of gradient descent on `PROBE` images."""
        count = min(PROBE, self.data.train_count)
        size = min(BLOCK, count)
        return self._critical(batch_order(0, 0, self.data.train_count)[: count // size * size].reshape(-1, size))

    def critical(self) -> float:
        """Return the critical learning rate along the optimiser's first update, on the batch that it follows from."""
        order = batch_order(self.config.data_seed, 0, self.data.train_count)
        return self._critical(order[: self.config.batch_size].reshape(1, -1))

    def classical(self) -> float:
        """Return the edge of a quadratic with the sharpness λ0 of the untrained network: the `threshold` of SGD over
        λ0, 2 / λ0 without momentum. NaN for other optimisers: what their steps amount to, λ0 does not say."""
        if self.config.optimizer != "sgd":
            return math.nan
        of, probe = (self.state.params, self.state.extra), probe_of(self.data.train_count, SHARPNESS_PROBE)
        for products in (PRODUCTS, MORE_PRODUCTS):
            found = _sharpness(self.program, *of, self.data.arrays, probe, products)
            if found.residual <= TOLERANCE:
                break
        return threshold("sgd", self.config.momentum, self.config.nesterov) / float(found.value)

    def _critical(self, images: np.ndarray) -> float:
        """Return the critical rate along the update by the mean loss over images, [blocks, size]."""
        blocks = images, np.arange(len(images), dtype=np.int32)
        program, state, data = self.program, self.state, self.data.arrays
        hyper = {name: jnp.float32(value) for name, value in self.hyper.items()} | {"learning_rate": jnp.float32(1)}
        loss, update = _update(program, state, hyper, blocks, data)
        return critical_rate(
            lambda rate: _loss_after(program, state, update, np.float32(rate), blocks, data), float(loss),
            self.config.learning_rate,
        )  # fmt: skip


def critical_rate(loss_after: Callable[[float], Any], loss: float, start: float) -> float:
    """Return the critical learning rate: the least η > 0 with L(θ + η Δ) > L(θ), where `loss_after(η)` is a forward
    pass and `loss` is L(θ). `2 / η` is the critical sharpness (Kalra et al. 2026, arXiv 2601.16979).

    From the first rate, `start`, η is doubled or halved until the loss after the step crosses the loss before it, then
    the crossing is bisected: nine passes, if the first rate is within a factor of 8. A loss that is not finite has
    risen. If no rate that was tried crosses it, the rate is infinity or 0.
    """

    def rises(rate: float) -> bool:
        return not float(loss_after(rate)) <= loss

    rate, above = start, rises(start)
    for _ in range(DOUBLINGS):
        following = rate / 2 if above else rate * 2
        if rises(following) != above:
            break
        rate = following
    else:
        return 0.0 if above else math.inf
    low, high = sorted((rate, following))
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    return math.sqrt(low * high)


PREDICTORS: Mapping[str, Callable[[Bench], float]] = {
    BLOW_UP: lambda bench: bench.range_curve().blow_up,
    BRACKET: Bench.bracket,
    CRITICAL: Bench.critical,
    CLASSICAL: Bench.classical,
}
"""What predicts the edge by name, apart from the rules of `RULES`."""


def predict(config: TrialConfig, data: DeviceData, spec: Any) -> tuple[dict[str, float | None], str]:
    """Return the learning rate that each predictor takes for the edge, None where it can't say; and what the network's
    own code raised last, which may happen at a large rate; "" if it did not."""
    bench, found, raised = Bench(config, data, spec), dict.fromkeys((*PREDICTORS, *RULES)), ""
    asked = [lambda name=name, one=one: {name: one(bench)} for name, one in PREDICTORS.items()]
    for one in (*asked, bench.suggestions):
        try:
            found |= one()
        except jax.errors.JaxRuntimeError as error:
            raised = last_line(error)
    return {name: rate if rate and rate > 0 and math.isfinite(rate) else None for name, rate in found.items()}, raised


def last_line(error: Exception) -> str:
    """Return what an error says in its last line: before that, XLA has the traceback of one's own code."""
    return str(error).strip().splitlines()[-1]


_sharpness = jax.jit(sharpness, static_argnums=(0, 5))


@partial(jax.jit, static_argnums=0)
def _update(program: Program, state: TrainState, hyper: Hyperparameters, blocks: Blocks, data: Data) -> Any:
    """Return the mean loss over blocks of images, and the optimiser's update for a learning rate of 1."""

    def add(sums: Any, one: tuple[Array, Array]) -> tuple[Any, None]:
        found = jax.value_and_grad(program.fixed_loss)(state.params, state.extra, data, *one)
        return jax.tree.map(jnp.add, sums, found), None

    zeros = jnp.float32(0), jax.tree.map(jnp.zeros_like, state.params)
    sums, _ = jax.lax.scan(add, zeros, blocks)
    loss, gradient = jax.tree.map(lambda x: x / len(blocks[0]), sums)
    update, _ = program.step.transformation(hyper).update(gradient, state.optimizer, state.params)
    return loss, update


@partial(jax.jit, static_argnums=0)
def _loss_after(program: Program, state: TrainState, update: Any, rate: Any, blocks: Blocks, data: Data) -> Any:
    """Return the mean loss over blocks of images after a step of this rate along an update."""
    step = jax.tree.map(lambda u: (rate * u).astype(u.dtype), update)
    params = optax.apply_updates(state.params, step)
    return jax.lax.map(lambda one: program.fixed_loss(params, state.extra, data, *one), blocks).mean()
