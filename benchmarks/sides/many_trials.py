"""A sweep of very many of the smallest trials, and a record of its driver's memory.

    python -m benchmarks.sides.many_trials TRIALS

Each trial is one epoch of mlp-4-tanh on mnist-5k, at learning rates from 0.001 to 4, in processes. The sweep is written
to `sweep`. Once a second, a line with the Unix time and the resident MB is written to `memory`.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from mnist_tune import SweepOptions, TrialConfig, run_sweep
from mnist_tune.runtime.ray_session import stop_ray


def watch(path: Path) -> None:
    process = psutil.Process()
    with path.open("w", buffering=1) as file:
        while True:
            file.write(f"{time.time()} {process.memory_info().rss / 1e6}\n")
            time.sleep(1)


def main(trials: int) -> None:
    threading.Thread(target=watch, args=[Path("memory")], daemon=True).start()
    configs = [
        TrialConfig(architecture="mlp-4-tanh", learning_rate=float(rate), epochs=1)
        for rate in np.geomspace(1e-3, 4, trials)
    ]
    options = SweepOptions(dataset="mnist-5k", output=Path("sweep"), scheduler="fifo", execution="process", quiet=True)
    run_sweep("scale", configs, options)
    stop_ray()


if __name__ == "__main__":
    main(int(sys.argv[1]))
