"""What a process measures on the device that JAX finds. `benchmarks/gpu.py` starts it.

    python -m benchmarks.sides.on_device which
    python -m benchmarks.sides.on_device loop notebook|ours ARCHITECTURE DATASET TURNS
    python -m benchmarks.sides.on_device lanes ARCHITECTURE DATASET LANES TURNS
    python -m benchmarks.sides.on_device numbers ARCHITECTURE DATASET LANES:PRECISION ...

`which` says which device it is. `loop` times epochs of the notebook's loop, or of ours. `lanes` times epochs of a full
pool, without Ray, and reads the peak memory of the device. `numbers` returns the losses after an epoch. The figures go
to the file `figures.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.epoch import timed  # sets the threads of the CPU, before anything imports JAX
from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting, Side
from mnist_tune import TrialConfig
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings, make_pool

FIGURES = "figures.json"
RATES = (0.001, 0.004)
"""Rates that are calm in their first epoch. At 0.02, the convnet's first steps amplify rounding to 2% of the loss."""
NUMBERS = ("train_loss", "test_loss")


def which() -> dict[str, Any]:
    """Return the platform (gpu, cpu), kind and number of the devices, the memory of one, and JAX's plugins."""
    import jax

    devices = jax.devices()
    plugins = {one.name: one.version for one in distributions() if one.name.startswith("jax-cuda")}
    named = {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}
    return named | {"memory_mib": memory_mib("bytes_limit"), "plugins": plugins}


def loop(side: str, architecture: str, dataset: str, turns: str) -> dict[str, Any]:
    """Return the seconds of an epoch, the median over the turns, and the accuracy after the last one."""
    sides: dict[str, type[Side]] = {"notebook": Notebook, "ours": Ours}
    turn = timed(sides[side](Setting(architecture, 0.1, 128, load_dataset(dataset))))
    found = [turn() for _ in range(int(turns))]
    seconds = ("compile_s", "train_s", "eval_s", "train_eval_s")
    medians = {name: median(one[name] or 0.0 for one in found) for name in seconds}
    return medians | {"test_accuracy": found[-1]["test_accuracy"], "peak_mib": memory_mib("peak_bytes_in_use")}


def lanes(architecture: str, dataset: str, count: str, turns: str) -> dict[str, Any]:
    """Return the seconds of an epoch of a full pool, and what it takes of the device. The first epoch compiles."""
    pool = make_pool(load_dataset(dataset), WorkerSettings("states"), int(count))
    lane_ids = [str(i) for i in range(int(count))]
    for i, lane_id in enumerate(lane_ids):
        pool.attach(lane_id, TrialConfig(architecture=architecture, learning_rate=RATES[0], seed=i, data_seed=i))
    start = time.perf_counter()
    pool.run(lane_ids)
    first_s, seconds = time.perf_counter() - start, []
    for _ in range(int(turns)):
        start = time.perf_counter()
        rows = pool.run(lane_ids)
        seconds.append(time.perf_counter() - start)
    return {
        "first_epoch_s": first_s,
        "epoch_s": median(seconds),
        "trial_epochs_per_s": len(lane_ids) / median(seconds),
        "in_a_batch": rows["0"]["lanes"],  # fewer than all if memory ran out
        "peak_mib": memory_mib("peak_bytes_in_use"),
    }


def numbers(architecture: str, dataset: str, *ways: str) -> dict[str, dict[str, float]]:
    """Return the losses after an epoch at each of `RATES`, trained in each of some ways.

    Args:
        architecture: of the trials.
        dataset: what they train on.
        ways: each the number of lanes, 1 or 2, and the precision of products of matrices: `1:default`. The default is
            TensorFloat32 on newer GPUs, and `highest` is float32.
    """
    return {way: _losses(architecture, dataset, *way.split(":")) for way in ways}


def _losses(architecture: str, dataset: str, count: str, precision: str) -> dict[str, float]:
    import jax

    pool = make_pool(load_dataset(dataset), WorkerSettings("states"), int(count))
    rows: dict[str, Any] = {}
    with jax.default_matmul_precision(precision):
        for first in range(0, len(RATES), int(count)):
            together = [str(rate) for rate in RATES[first : first + int(count)]]
            for rate in together:
                pool.attach(rate, TrialConfig(architecture=architecture, learning_rate=float(rate)))
            rows |= pool.run(together)
            for rate in together:
                pool.detach(rate)
    return {f"{name} at {rate}": row[name] for rate, row in rows.items() for name in NUMBERS}


def memory_mib(name: str) -> float | None:
    """Return a value of the device's `memory_stats`; None on CPUs, which have none."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return stats[name] / 2**20 if stats and name in stats else None


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"which": which, "loop": loop, "lanes": lanes, "numbers": numbers}

if __name__ == "__main__":
    Path(FIGURES).write_text(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
