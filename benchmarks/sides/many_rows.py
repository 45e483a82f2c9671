"""A sweep with very many rows, made up, and what it costs to read and to resume it.

    python -m benchmarks.sides.many_rows make TRIALS EPOCHS
    python -m benchmarks.sides.many_rows read_journal|load_killed|load_ended
    python -m benchmarks.sides.many_rows new TRIALS EPOCHS
    python -m benchmarks.sides.many_rows resume

`make` writes the folder `sweep`, as a kill leaves it: each trial has EPOCHS rows, and
nine in ten have one epoch to go. A copy of it, which has ended, is in `ended`.
`read_journal` and `load_sweep` of both print the seconds that they took, and the MB at
their peak, as JSON. `resume` resumes `sweep`, and `new` trains a sweep in the folder
`new`, of mlp-4-tanh on mnist-5k, in processes.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides.instant_rows import made_up_row
from mnist_tune import SweepOptions, TrialConfig, load_sweep, resume_sweep, run_sweep
from mnist_tune.epoch_row import EpochRow
from mnist_tune.judged import judge
from mnist_tune.results.journal import read_journal
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import stop_ray
from mnist_tune.tuning.opening import open_sweep


def options(folder: str) -> SweepOptions:
    return SweepOptions(
        dataset="mnist-5k", output=Path(folder), execution="process", quiet=True
    )


def configs(trials: int, epochs: int) -> list[TrialConfig]:
    rates = np.geomspace(1e-3, 4, trials)
    return [
        TrialConfig(
            architecture="mlp-4-tanh",
            learning_rate=float(rate),
            epochs=epochs,
            holdout=0,
        )
        for rate in rates
    ]


def make(trials: int, epochs: int) -> None:
    named = {f"{i:05d}": config for i, config in enumerate(configs(trials, epochs + 1))}
    writer = open_sweep("scale", options("sweep"), lambda *_: named).writer
    for number, (trial_id, config) in enumerate(named.items()):
        for epoch in range(1, epochs + 1):
            values = made_up_row(config.learning_rate, epoch)
            # nothing optional
            columns = {name: x for name, x in values.items() if x == x}
            writer.epoch(trial_id, EpochRow.of(columns), False)
        if number % 10 == 0:
            writer.end(trial_id, "slow")
    shutil.copytree("sweep", "ended")
    SweepWriter(Path("ended"), writer.meta, judge, resume=True).finish(ended="now")


def measured(read: Callable[[Path], Any], sweep: str) -> None:
    """Read a sweep, and print the time and the memory that it took at its peak."""
    empty = Path("empty")
    empty.mkdir(exist_ok=True)
    (empty / "journal.jsonl").touch()
    read_journal(empty)  # imports what it needs
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_mb("VmRSS")
    start = time.perf_counter()
    content = read(Path(sweep))
    spent = time.perf_counter() - start
    print(json.dumps({"s": spent, "mb": memory_mb("VmHWM") - before}))
    del content


def memory_mb(name: str) -> float:
    """Return a value of this process from `/proc`, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            _, kib, *_ = line.split()
            return int(kib) * 1024 / 1e6
    raise KeyError(name)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    if what == "make":
        make(*map(int, numbers))
    elif what == "new":
        run_sweep("scale", configs(*map(int, numbers)), options("new"))
        stop_ray()
    elif what == "resume":
        resume_sweep("sweep", quiet=True)
        stop_ray()
    else:
        measured(
            read_journal if what == "read_journal" else load_sweep,
            "ended" if what == "load_ended" else "sweep",
        )
