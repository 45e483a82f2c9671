"""When the sharpness of lanes is measured, on which images, and how it is recorded. It
does not import JAX itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_tune.epoch_row import Measured

if TYPE_CHECKING:
    from mnist_tune.execution.device_data import DeviceData
    from mnist_tune.execution.executor import Executor
    from mnist_tune.execution.memory import Memory

UNTRAINED_IMAGES = 1_000
"""Images that an untrained network is measured on: λ is 1 to 3% off."""
TRAINED_IMAGES = 5_000
"""Images that a trained one is measured on: on 1,000, λ is a tenth too high, on these 1
to 4%."""
MOST_BATCHES = 100
"""Batches that batch sharpness is the mean of."""


@dataclass(frozen=True)
class SharpnessSettings:
    """How often sharpness is measured, and on how many training images."""

    every: int | None = None
    """Steps between measurements; None measures after each epoch. All trials are
    measured before training."""
    images: int | None = None
    """Images of each measurement; None takes `UNTRAINED_IMAGES` before training and
    `TRAINED_IMAGES` later."""

    def due(self, done: int, steps: int) -> list[int]:
        """Return the steps of an epoch, from 1 to `steps`, after which to measure a
        trial with `done` earlier steps."""
        if not self.every:
            return [steps]
        first = self.every - done % self.every
        return [*range(first, steps + 1, self.every)]

    def parts(self, first: int, last: int, steps: int) -> Iterator[tuple[int, int]]:
        """Divide the steps after `first` up to `last`, of an epoch's `steps`, into
        parts of few different lengths: each length compiles anew. An epoch's last step,
        whose batch may be smaller, is one by itself."""
        if last - first == steps:
            yield first, last
            return
        longest = self.every or 1
        lengths = (longest, math.isqrt(longest), 1)
        while first < last:
            remaining = min(last, steps - 1) - first
            fitting = (length for length in lengths if length <= remaining)
            end = first + next(fitting, 1)
            yield first, end
            first = end

    def images_at(self, step: int) -> int:
        if self.images:
            return self.images
        return TRAINED_IMAGES if step else UNTRAINED_IMAGES


def measure(
    executor: Executor,
    data: DeviceData,
    size: int,
    slots: Sequence[int],
    images: int,
    hyper: Mapping[str, Any],
) -> list[tuple[float, ...]]:
    """Return what is measured of each lane of a batch, the `Measured` without the
    steps, given their hyperparameters, [lanes] by name. Lanes whose residual is too
    large are measured again with more Lanczos steps."""
    from mnist_tune.training import curvature
    from mnist_tune.training.optimizers import ADAM

    probe = curvature.probe_of(data.train_count, images)

    def of_lanes(
        hyper: Mapping[str, Any], lanes: list[int], products: int
    ) -> list[Any]:
        inputs = {name: values[lanes] for name, values in hyper.items()}
        values, residuals = executor.measure(
            curvature.sharpness,
            size,
            [slots[lane] for lane in lanes],
            *data.of(probe),
            products,
            inputs=inputs,
        )
        return list(zip(values.tolist(), residuals.tolist(), strict=True))

    def converged(hyper: Mapping[str, Any]) -> list[Any]:
        measured = of_lanes(hyper, [*range(len(slots))], curvature.PRODUCTS)
        coarse = []
        for lane, (_, residual) in enumerate(measured):
            if residual > curvature.TOLERANCE:
                coarse.append(lane)
        if coarse:
            finer = of_lanes(hyper, coarse, curvature.MORE_PRODUCTS)
            for lane, values in zip(coarse, finer, strict=True):
                measured[lane] = values
        return measured

    batch_size = min(executor.program.batch_size, data.train_count)
    count = min(max(len(probe) // batch_size, 1), MOST_BATCHES)
    images_of_batches = curvature.probe_of(data.train_count)[: count * batch_size]
    batches = images_of_batches.reshape(-1, batch_size)
    of_loss = converged({})
    of_batches = executor.measure(
        curvature.batch_sharpness, size, slots, *data.of(batches)
    )
    preconditioned: list[tuple[float, ...]] = [()] * len(slots)
    if executor.program.step.optimizer in ADAM:
        preconditioned = converged(hyper)
    columns = zip(of_loss, of_batches.tolist(), preconditioned, strict=True)
    return [(*plain, along, *other) for plain, along, other in columns]


def sharpness_columns(measured: Sequence[Measured], before: Memory) -> dict[str, Any]:
    """Return the columns of an epoch's row, given its measurements in order and what
    was remembered of the epochs before. The first epoch's begin with that before
    training."""
    names = (
        "sharpness",
        "sharpness_residual",
        "batch_sharpness",
        "preconditioned_sharpness",
    )
    untrained = before.untrained_sharpness if before.epoch else measured[0][1]
    columns: dict[str, Any] = {"sharpness_steps": tuple(measured)}
    columns["untrained_sharpness"] = untrained
    later = [values for steps, *values in measured if steps]
    if later:
        columns |= zip(names, later[-1], strict=False)
    return columns
