"""A sweep with very many rows, made up, and what it costs to read and to resume it.

    python -m benchmarks.sides.many_rows make TRIALS EPOCHS
    python -m benchmarks.sides.many_rows read_journal|load_killed|load_ended
    python -m benchmarks.sides.many_rows new|resume TRIALS

`make` writes the folder `sweep`, as a kill leaves it: each trial has EPOCHS rows, and nine in ten have one epoch to go.
A copy of it, which has ended, is in `ended`. `read_journal` and `load_sweep` of both print the seconds that they took,
and the MB at their peak, as JSON. `resume` resumes `sweep`, and `new` starts a sweep of as many trials in the folder
`new`. (mlp-4-tanh on mnist-5k, in processes.)
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnist_tune import SweepOptions, TrialConfig, load_sweep, resume_sweep, run_sweep
from mnist_tune.results.journal import read_journal
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import stop_ray
from mnist_tune.tuning.opening import open_sweep


def options(folder: str) -> SweepOptions:
    return SweepOptions(dataset="mnist-5k", output=Path(folder), execution="process", quiet=True)


def configs(trials: int, epochs: int) -> list[TrialConfig]:
    rates = np.geomspace(1e-3, 4, trials)
    return [TrialConfig(architecture="mlp-4-tanh", learning_rate=float(rate), epochs=epochs) for rate in rates]


def row(config: TrialConfig, epoch: int, error: float) -> dict[str, Any]:
    """A made-up row, with all values that a trial reports. The largest rates diverge."""
    lost = config.learning_rate > 3 and epoch == config.epochs - 1
    loss, accuracy = (math.nan, 0.1) if lost else (2 * error, 1 - error)
    return {
        "epoch": epoch,
        "step": 32 * epoch,
        "learning_rate": config.learning_rate,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "test_loss": loss * 1.02,
        "test_accuracy": accuracy * 0.99,
        "validation_loss": None,
        "validation_accuracy": None,
        "step_loss_first": loss * 1.1,
        "step_loss_max": loss * 1.3,
        "step_loss_last": loss * 0.9,
        "window_loss_max": loss * 1.2,
        "finite": not lost,
        "diverged": lost,
        "above_since": None,
        "guessing_since": None,
        "untrained_loss": 2.3412,
        "compile_s": 0.0,
        "train_s": 0.0123456,
        "eval_s": 0.0034567,
        "batch_s": 0.0158023,
        "wait_s": 0.0012345,
        "lanes": 1,
        "fill": 1.0,
        "node": "a-node",
        "device": "cpu",
        "ended_at": 1764150000.123456 + epoch,
    }


def make(trials: int, epochs: int) -> None:
    named = {f"{i:05d}": config for i, config in enumerate(configs(trials, epochs + 1))}
    writer = open_sweep("scale", options("sweep"), lambda known: named).writer
    errors = np.random.default_rng(0).uniform(0.2, 0.8, trials)
    for number, (trial_id, config) in enumerate(named.items()):
        for epoch in range(1, epochs + 1):
            writer.epoch(trial_id, row(config, epoch, float(errors[number]) * epoch**-0.4), False)
        if number % 10 == 0:
            writer.end(trial_id, "slow")
    shutil.copytree("sweep", "ended")
    SweepWriter(Path("ended"), writer.meta, resume=True).finish(ended="now")


def measured(read: Callable[[Path], Any], sweep: str) -> None:
    """Read a sweep, and print the time and the memory that it took at its peak."""
    empty = Path("empty")
    empty.mkdir(exist_ok=True)
    (empty / "journal.jsonl").touch()
    read_journal(empty)  # imports what it needs
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = memory_mb("VmRSS"), time.perf_counter()
    found = read(Path(sweep))
    spent = time.perf_counter() - start
    print(json.dumps({"s": spent, "mb": memory_mb("VmHWM") - before}))
    del found


def memory_mb(name: str) -> float:
    """Return a value of this process from `/proc`, in MB."""
    [line] = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    if what == "make":
        make(*map(int, numbers))
    elif what == "new":
        run_sweep("scale", configs(int(numbers[0]), 21), options("new"))
        stop_ray()
    elif what == "resume":
        resume_sweep("sweep", quiet=True)
        stop_ray()
    else:
        measured(read_journal if what == "read_journal" else load_sweep, "ended" if what == "load_ended" else "sweep")
