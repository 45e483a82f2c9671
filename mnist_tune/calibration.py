"""Whether lanes that train together beat lanes that train one after the other: measured, and remembered on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from filelock import FileLock

from mnist_tune.execution import Batch, Execution, Executor
from mnist_tune.training import Hyperparameters, Program

STEPS, REPEATS = 10, 3

MINIMUM_GAIN = 1.1
"""A batch must be so much faster than the loop to be chosen; less is within the measurement's noise."""


@dataclass(frozen=True)
class Calibration:
    """Seconds of a lane's training step by itself and in a full batch."""

    loop_s: float
    batch_s: float

    @property
    def gain(self) -> float:
        return self.loop_s / self.batch_s


def choose(program: Program, capacity: int, cache_dir: str | None) -> Execution:
    """The faster way to run a batch of lanes of this program on this device."""
    if capacity == 1:
        return "loop"
    batched = batched_execution()
    return batched if calibrate(program, capacity, cache_dir).gain >= MINIMUM_GAIN else "loop"


def batched_execution() -> Execution:
    """On a CPU only lanes that share their images gain; elsewhere none needs to."""
    return "shared" if jax.default_backend() == "cpu" else "vmap"


def calibrate(program: Program, capacity: int, cache_dir: str | None) -> Calibration:
    """Times a few steps each way, or reads what was measured before on this kind of device."""
    device = jax.devices()[0]
    key = f"{program} x {capacity} on {device.device_kind}, jax {jax.__version__}"
    if cache_dir is None:
        return _measure(program, capacity)
    file = Path(cache_dir) / "calibration.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):  # two servers would disturb each other's timing
        known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if key not in known:
            found = _measure(program, capacity)
            known[key] = {"loop_s": found.loop_s, "batch_s": found.batch_s}
            file.write_text(json.dumps(known, indent=1))
    return Calibration(**known[key])


def _measure(program: Program, capacity: int) -> Calibration:
    size = 1 << (capacity.bit_length() - 1)
    batched = batched_execution()
    executor = Executor(program, size, batched)
    for slot in range(size):
        executor.write(slot, program.init(0))
    one, all_ = Batch(("0",), 1), Batch(tuple(map(str, range(size))), size, shared=batched == "shared")
    loop_s = min(_seconds(executor, one) for _ in range(REPEATS))
    batch_s = min(_seconds(executor, all_) for _ in range(REPEATS)) / size
    return Calibration(loop_s / STEPS, batch_s / STEPS)


def _seconds(executor: Executor, batch: Batch) -> float:
    """Of `STEPS` steps of a batch on images made up; compiling is kept apart by the executor."""
    rng, count, lanes = np.random.RandomState(0), STEPS * executor.program.batch_size, len(batch.members)
    images = jax.device_put(rng.randint(0, 256, (count, 784)).astype(np.uint8))
    labels = jax.device_put(rng.randint(0, 10, count).astype(np.uint8))
    hyper = Hyperparameters(np.full(lanes, 0.01, np.float32), np.zeros(lanes, np.float32))
    orders = [np.arange(count, dtype=np.int32)] * lanes
    executor.take_seconds()
    executor.train(batch, range(lanes), hyper, orders, (images, labels))
    return executor.take_seconds()["train_s"]
