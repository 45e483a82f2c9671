"""What a process measures on the device that JAX finds. `benchmarks/gpu.py` starts it.

    python -m benchmarks.sides.on_device which
    python -m benchmarks.sides.on_device lanes ARCHITECTURE DATASET LANES TURNS
    python -m benchmarks.sides.on_device numbers ARCHITECTURE DATASET LANES PRECISION

`which` says which device it is. `lanes` times epochs of a full pool, without Ray, and
reads the peak memory of the device. `numbers` returns the losses after an epoch. The
figures go to the file `figures.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from mnist_tune import TrialConfig
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings, make_pool

FIGURES = "figures.json"
RATES = (0.001, 0.004)
"""Rates that are calm in their first epoch. At 0.02, the convnet's first steps amplify
rounding to 2% of the loss."""


def which() -> dict[str, Any]:
    """Return the platform (gpu, cpu), kind and memory of the device."""
    import jax

    [device, *_] = jax.devices()
    named = {"platform": device.platform, "kind": device.device_kind}
    return named | {"memory_mib": memory_mib("bytes_limit")}


def lanes(architecture: str, dataset: str, count: str, turns: str) -> dict[str, Any]:
    """Return the seconds of an epoch of a full pool, and what it takes of the device.
    The first epoch compiles."""
    pool = make_pool(load_dataset(dataset), WorkerSettings("states"), int(count))
    lane_ids = [str(i) for i in range(int(count))]
    for i, lane_id in enumerate(lane_ids):
        pool.attach(
            lane_id,
            TrialConfig(
                architecture=architecture, learning_rate=RATES[0], seed=i, data_seed=i
            ),
        )
    start = time.perf_counter()
    pool.run(lane_ids)
    first_s = time.perf_counter() - start
    seconds = []
    for _ in range(int(turns)):
        start = time.perf_counter()
        rows = pool.run(lane_ids)
        seconds.append(time.perf_counter() - start)
    return {
        "first_epoch_s": first_s,
        "epoch_s": median(seconds),
        "trial_epochs_per_s": len(lane_ids) / median(seconds),
        "in_a_batch": rows["0"].lanes,  # fewer than all if memory ran out
        "peak_mib": memory_mib("peak_bytes_in_use"),
    }


def numbers(
    architecture: str, dataset: str, count: str, precision: str
) -> dict[str, float]:
    """Return the losses after an epoch at each of `RATES`, trained with 1 or 2 lanes,
    and with products of matrices of this precision: the default is TensorFloat32 on
    newer GPUs, and `highest` is float32."""
    import jax

    pool = make_pool(load_dataset(dataset), WorkerSettings("states"), int(count))
    rows: dict[str, Any] = {}
    with jax.default_matmul_precision(precision):
        for first in range(0, len(RATES), int(count)):
            together = [str(rate) for rate in RATES[first : first + int(count)]]
            for rate in together:
                pool.attach(
                    rate,
                    TrialConfig(architecture=architecture, learning_rate=float(rate)),
                )
            rows |= pool.run(together)
            for rate in together:
                pool.detach(rate)
    return {
        f"{name} at {rate}": getattr(row, name)
        for rate, row in rows.items()
        for name in ("train_loss", "test_loss")
    }


def memory_mib(name: str) -> float | None:
    """Return a value of the device's `memory_stats`; None on CPUs, which have none."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return stats[name] / 2**20 if stats and name in stats else None


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "which": which,
    "lanes": lanes,
    "numbers": numbers,
}

if __name__ == "__main__":
    Path(FIGURES).write_text(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
