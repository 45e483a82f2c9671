"""`run_sweep`, with the execution, and the most lanes, given on the command line. It alone saves every trial's state in
every epoch."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.sides.sweep_work import Driver, Epoch, Outcome, SweepWork, run_side
from mnist_tune import SweepOptions, run_sweep


class Meter(tune.Callback):  # type: ignore[misc]
    """The CPU seconds of the driver at its first and at its last result."""

    results, first, last = 0, 0.0, 0.0

    def on_trial_result(self, **_: Any) -> None:
        self.results += 1
        self.last = time.process_time()
        self.first = self.first or self.last


def run(work: SweepWork, execution: Any, lanes: int | None = None) -> Outcome:
    options: dict[str, Any] = {"dataset": work.dataset, "output": Path("sweep"), "execution": execution, "lanes": lanes}
    meter = Meter()
    sweep = run_sweep("benchmark", work.configs(), SweepOptions(scheduler="fifo", quiet=True, **options), [meter])
    epochs = [
        Epoch(row["train_s"] + row["eval_s"], row["ended_at"], row["test_accuracy"], row["trial_id"], row["fill"])
        for row in sweep.epochs.to_dict("records")
    ]
    return Outcome(epochs, Driver(meter.last - meter.first, meter.results))


if __name__ == "__main__":
    run_side(partial(run, execution=sys.argv[2], lanes=int(sys.argv[3]) if sys.argv[3:] else None))
