"""Whether lanes that train together beat lanes that train one after the other: measured, and remembered on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from filelock import FileLock

from mnist_tune.lanes.batches import Batch, Execution
from mnist_tune.lanes.executor import Executor
from mnist_tune.training.program import Hyperparameters, Program

STEPS, REPEATS = 4, 3

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
    if cache_dir is None:
        return _measure(program, capacity)
    file, device = Path(cache_dir) / MEMORY, jax.devices()[0].device_kind
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):  # two servers would disturb each other's timing
        found = recall(program, capacity, cache_dir, device)
        if found is None:
            found = _measure(program, capacity)
            known = json.loads(file.read_text()) if file.exists() else {}
            known[_key(program, capacity, device)] = asdict(found)
            file.write_text(json.dumps(known, indent=1))
    return found


MEMORY = "calibration.json"


def recall(program: Program, capacity: int, cache_dir: str, device: str = "cpu") -> Calibration | None:
    """What was measured before on that kind of device; starts no backend."""
    try:
        known: dict[str, Any] = json.loads((Path(cache_dir) / MEMORY).read_text())
        return Calibration(**known[_key(program, capacity, device)])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(program: Program, capacity: int, device: str) -> str:
    return f"{program} x {capacity} on {device}, jax {jax.__version__}"


def calibrate_in_background(programs: Collection[Program], capacity: int, cache_dir: str) -> subprocess.Popen[bytes]:
    """A process that measures what is not known yet, single-threaded on the CPU, as the trials will be."""
    asked = json.dumps({"programs": [asdict(p) for p in programs], "capacity": capacity, "cache_dir": cache_dir})
    environment = os.environ | {"PJRT_NPROC": "1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.Popen([sys.executable, "-m", "mnist_tune.lanes.calibration", asked], env=environment)


def _measure(program: Program, capacity: int) -> Calibration:
    size = 1 << (capacity.bit_length() - 1)
    batched = batched_execution()
    executor = Executor(program, size, batched)  # its state, all zeros, takes as long as any other
    one, all_ = Batch(("0",), 1), Batch(tuple(map(str, range(size))), size, shared=batched == "shared")
    # In turns, the fastest of each: what else the machine does meanwhile must not favour one of them.
    timed = [(_seconds(executor, one), _seconds(executor, all_) / size) for _ in range(REPEATS)]
    loop_s, batch_s = (min(times) for times in zip(*timed, strict=True))
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


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    for fields in request["programs"]:
        calibrate(Program(**fields), request["capacity"], request["cache_dir"])
