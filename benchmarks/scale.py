"""Does the ten-thousandth trial cost as much as the first?

    python benchmarks/scale.py

It runs very many of the smallest trials: one epoch each of mlp-4-tanh on mnist-5k, in processes. It prints the machine;
for each tenth of the trials, the wall time per trial and the driver's memory at the end; what the sweep left on disk,
how long that takes to read, and whether the targets are met.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from comparison import Benchmark, Comparison, Figures, Target, run
from mnist_tune import cli, load_sweep
from processes import run_python

FORMATS = {
    "command_s": "{:.0f}",  # the whole process
    "trial_ms": "{:.1f}",  # per trial, between the first and the last result
    "growth_mb": "{:.0f}",  # the largest growth of the driver's resident memory since the first result
    "files": "{:.0f}",
    "results_mb": "{:.1f}",
    "load_s": "{:.2f}",  # load_sweep
}
TARGETS = (
    Target("sweep", "growth_mb", "at most", 300),
    Target("sweep", "files", "at most", 20),
    Target("sweep", "results_mb", "at most", 40),
    Target("sweep", "load_s", "at most", 5),
)


@dataclass(frozen=True, kw_only=True)
class ScaleBenchmark(Benchmark):
    """Runs very many of the smallest trials, and prints what they cost and what they leave on disk."""

    trials: int = 10_000
    """The number of trials."""
    rounds: int = 1
    """The number of sweeps."""


def scale(trials: int) -> Figures:
    with TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        finished = run_python(["-m", "sides.many_trials", str(trials)], folder)
        start = time.perf_counter()
        sweep = load_sweep(folder / "sweep")
        load_s = time.perf_counter() - start
        memory = pd.read_csv(folder / "memory", sep=" ", names=["time", "mb"])
        files = [path for path in (folder / "sweep").rglob("*") if path.is_file()]
        ended = np.sort(sweep.epochs["ended_at"].to_numpy())
        reasons = ", ".join(f"{count} {reason}" for reason, count in sweep.trials["stop_reason"].value_counts().items())
        print(f"{len(sweep.trials)} trials: {reasons}")
        return {
            "command_s": finished.wall_s,
            "trial_ms": 1000 * float(ended[-1] - ended[0]) / max(len(ended) - 1, 1),
            "growth_mb": float(memory["mb"].max() - memory["mb"][memory["time"] >= ended[0]].iloc[0]),
            "files": float(len(files)),
            "results_mb": sum(path.stat().st_size for path in files) / 1e6,
            "load_s": load_s,
            **tenths(ended, memory),
        }


def tenths(ended: np.ndarray, memory: pd.DataFrame) -> dict[str, float]:
    """Print and return, for each tenth of the trials, the time per trial and the driver's memory at the end."""
    figures: dict[str, float] = {}
    for number, tenth in enumerate(np.array_split(ended, min(10, len(ended))), 1):
        trial_ms = 1000 * float(np.ptp(tenth)) / len(tenth)
        mb = float(np.interp(tenth[-1], memory["time"], memory["mb"]))
        print(f"until {tenth[-1] - ended[0]:5.0f} s: {trial_ms:5.1f} ms per trial, {mb:.0f} MB")
        figures |= {f"trial_ms_{number}": trial_ms, f"mb_{number}": mb}
    return figures


def main() -> None:
    config = cli.parse(ScaleBenchmark)
    sides: Mapping[str, Callable[[], Figures]] = {"sweep": lambda: scale(config.trials)}
    title = f"{config.trials} trials of one epoch"
    run(config, [Comparison(title=title, sides=sides, formats=FORMATS, pairs=[], ratio_figures=[], targets=TARGETS)])


if __name__ == "__main__":
    cli.run(main)
