"""What does a row cost the driver, beside bare Ray Tune?

    python benchmarks/rows.py
    python benchmarks/rows.py --trials 64 --epochs 1000

Trials whose epochs cost nothing report one row after the other. For each side: CPU milliseconds a row of the driver and
the processes that it starts, but for Ray's own, and by how much the driver's memory grows a row. `regimes` is the
default scheduler, `fifo` stops nothing, `tune` is Ray Tune with a trainable as small as it allows, without its files of
results. The sides take turns.
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
from benchmarks.sides.instant_rows import MEMORY
from benchmarks.sides.sweep_work import Outcome, SweepWork
from mnist_tune import cli
from mnist_tune.data.dataset import load_dataset

FORMATS = {"driver_ms": "{:.2f}", "bytes": "{:.0f}"}  # a row
TARGETS = (Target("regimes", "driver_ms", "at most", 1.5, "tune"), Target("regimes", "bytes", "at most", 600))


@dataclass(frozen=True, kw_only=True)
class RowsBenchmark(Benchmark):
    """Measures what a row costs the driver."""

    trials: tuple[int, ...] = (8,)
    """Trials that run at a time."""
    epochs: int = 2000
    """Rows of each trial."""
    compare: tuple[str, ...] = ("tune", "regimes", "fifo")
    """Sides to run."""


def comparisons(config: RowsBenchmark) -> Iterator[Comparison]:
    for trials in config.trials:
        work = SweepWork("mlp-4-tanh", trials, config.epochs, "mnist-5k")
        sides = {side: partial(measure, side, work) for side in config.compare}
        pairs = [(side, "tune") for side in config.compare if side != "tune" and "tune" in config.compare]
        yield Comparison(
            title=f"{trials} trials x {config.epochs} rows",
            sides=sides,
            formats=FORMATS,
            pairs=pairs,
            ratio_figures=("driver_ms",),
            targets=TARGETS,
        )


def measure(side: str, work: SweepWork) -> Figures:
    with TemporaryDirectory(prefix="rows-") as name:
        folder = Path(name)
        run_python(["-m", "benchmarks.sides.instant_rows", json.dumps(asdict(work)), side], folder)
        driver = Outcome.read(folder).driver
        assert driver is not None
        return {"driver_ms": 1000 * driver.cpu_s / driver.results, "bytes": json.loads((folder / MEMORY).read_text())}


def main() -> None:
    config = cli.parse(RowsBenchmark)
    load_dataset("mnist-5k")  # fetched before the clock starts
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
