"""What does a row cost the driver, beside bare Ray Tune?

    python benchmarks/rows.py
    python benchmarks/rows.py --trials 64 --epochs 1000

Trials whose epochs cost nothing report one row after the other. For each side: CPU
milliseconds a row of the driver and the processes that it starts, but for Ray's own,
and by how much the driver's memory grows a row. `regimes` is the default scheduler,
`fifo` stops nothing, `tune` is Ray Tune with a trainable as small as it allows, without
its files of results. The sides take turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import run_python
from benchmarks.sides.sweep_work import Outcome, SweepWork
from mnist_tune import cli
from mnist_tune.data.dataset import load_dataset

SIDES = ("tune", "regimes", "fifo")
FORMATS = {"driver_ms": "{:.2f}", "bytes": "{:.0f}"}  # a row
TARGETS = (
    Target("regimes", "driver_ms", "at most", 1.5, "tune"),
    Target("regimes", "bytes", "at most", 600),
)


@dataclass(frozen=True, kw_only=True)
class RowsBenchmark(Benchmark):
    """Measures what a row costs the driver."""

    trials: tuple[int, ...] = (8,)
    """Trials that run at a time."""
    epochs: int = 2000
    """Rows of each trial."""


def comparisons(config: RowsBenchmark) -> Iterator[Comparison]:
    for trials in config.trials:
        work = SweepWork("mlp-4-tanh", trials, config.epochs, "mnist-5k")
        yield Comparison(
            title=f"{trials} trials x {config.epochs} rows",
            sides={side: partial(measure, side, work) for side in SIDES},
            formats=FORMATS,
            pairs=[("regimes", "tune"), ("fifo", "tune")],
            ratio_figures=("driver_ms",),
            targets=TARGETS,
        )


def measure(side: str, work: SweepWork) -> Figures:
    with TemporaryDirectory(prefix="rows-") as name:
        folder = Path(name)
        work_text = json.dumps(asdict(work))
        run_python(["-m", "benchmarks.sides.instant_rows", work_text, side], folder)
        outcome = Outcome.read(folder)
        return {"driver_ms": outcome.driver_ms, "bytes": outcome.driver_bytes}


def main() -> None:
    config = cli.parse(RowsBenchmark)
    load_dataset("mnist-5k")  # fetched before the clock starts
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
