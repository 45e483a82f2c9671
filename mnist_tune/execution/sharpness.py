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
        return (
            [*range(self.every - done % self.every, steps + 1, self.every)]
            if self.every
            else [steps]
        )

    def parts(self, first: int, last: int, steps: int) -> Iterator[tuple[int, int]]:
        """Divide the steps after `first` up to `last`, of an epoch's `steps`, into
        parts of few different lengths: each length compiles anew. An epoch's last step,
        whose batch may be smaller, is one by itself."""
        lengths = (self.every or 1, math.isqrt(self.every or 1), 1)
        while first < last:
            left = min(last, steps - 1) - first
            length = (
                last
                if last - first == steps
                else next((one for one in lengths if one <= left), 1)
            )
            yield first, first + length
            first += length

    def images_at(self, step: int) -> int:
        return self.images or (TRAINED_IMAGES if step else UNTRAINED_IMAGES)


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

    def of_lanes(
        hyper: Mapping[str, Any], lanes: list[int], products: int
    ) -> list[Any]:
        some, chosen = (
            {name: values[lanes] for name, values in hyper.items()},
            [slots[i] for i in lanes],
        )
        found = executor.measure(
            curvature.sharpness, size, chosen, *data.of(probe), products, inputs=some
        )
        return [
            (float(value), float(residual))
            for value, residual in zip(*found, strict=True)
        ]

    def converged(hyper: Mapping[str, Any]) -> list[Any]:
        found = of_lanes(hyper, [*range(len(slots))], curvature.PRODUCTS)
        again = [
            i for i, (_, residual) in enumerate(found) if residual > curvature.TOLERANCE
        ]
        if again:
            for i, better in zip(
                again, of_lanes(hyper, again, curvature.MORE_PRODUCTS), strict=True
            ):
                found[i] = better
        return found

    probe = curvature.probe_of(data.train_count, images)
    batch_size = min(executor.program.batch_size, data.train_count)
    count = min(max(len(probe) // batch_size, 1), MOST_BATCHES)
    batches = curvature.probe_of(data.train_count)[: count * batch_size].reshape(
        -1, batch_size
    )
    found = converged({})
    along = executor.measure(curvature.batch_sharpness, size, slots, *data.of(batches))
    adam = executor.program.step.optimizer in ADAM
    seen = converged(hyper) if adam else [()] * len(slots)
    return [
        (*plain, float(one), *more)
        for plain, one, more in zip(found, along, seen, strict=True)
    ]


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
