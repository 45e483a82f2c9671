"""`run_sweep`, with the execution, and the most lanes, given on the command line. It
alone saves every trial's state in every epoch."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.sides.meter import Meter
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork, run_side
from mnist_tune import SweepOptions, run_sweep


def run(work: SweepWork, execution: Any, lanes: int | None = None) -> Outcome:
    options: dict[str, Any] = {
        "dataset": work.dataset,
        "output": Path("sweep"),
        "execution": execution,
        "lanes": lanes,
    }
    meter = Meter()
    sweep = run_sweep(
        "benchmark",
        work.configs(),
        SweepOptions(scheduler="fifo", quiet=True, train_evaluation="all", **options),
        [meter],
    )
    rows = sweep.epochs[["trial_id", "ended_at", "test_accuracy"]]
    return meter.outcome(Epoch(*row) for row in rows.itertuples(index=False))


if __name__ == "__main__":
    run_side(
        partial(
            run, execution=sys.argv[2], lanes=int(sys.argv[3]) if sys.argv[3:] else None
        )
    )
