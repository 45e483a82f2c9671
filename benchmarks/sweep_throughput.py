"""How fast is a sweep, with mnist_tune and as in Ray Tune's documentation?

    python benchmarks/sweep_throughput.py

Every side trains the same trials in a new process, with one thread per trial and an
empty compilation cache. Start and end of the process are timed, too. The sides take
turns in every round. The benchmark prints the machine and, for each architecture,
medians over the rounds, the median, smallest and largest ratio within a round, and
whether the targets are met.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import Memory, empty_cache, run_python, tree_mib
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork
from mnist_tune import cli
from mnist_tune.data.dataset import load_dataset
from mnist_tune.machine import usable_cpus
from mnist_tune.runtime.placement import LANES
from mnist_tune.training.architectures import kind_of

COMMANDS = {
    "tune": ("benchmarks.sides.documented_tune",),
    "process": ("benchmarks.sides.our_sweep", "process"),
    "lanes": ("benchmarks.sides.our_sweep", "lanes"),
}
"""Each side's module, and its arguments besides the work."""
CLIENTS = {"lanes": LANES["CPU"]}
"""Trials that run at a time on a core, if not one."""
TARGETS = (
    Target("process", "trial_epochs_per_s", "at least", 4.0, "tune"),
    Target("process", "peak_mib", "at most", 1.0, "tune"),
    Target("process", "driver_ms", "at most", 4.0),
)
FORMATS = {
    "wall_s": "{:.1f}",  # of the whole command
    "trial_epochs_per_s": "{:.2f}",  # over the whole command
    "steady_per_s": "{:.2f}",  # once as many trials have reported as run at a time
    # peak memory of the process and all its descendants; shared memory counts once
    "peak_mib": "{:.0f}",
    "driver_ms": "{:.2f}",  # CPU milliseconds of the driver per result
    "test_accuracy": "{:.4f}",  # mean over all results
}


@dataclass(frozen=True, kw_only=True)
class ThroughputBenchmark(Benchmark):
    """Compares whole sweeps: Ray Tune as documented, and mnist_tune in processes and as
    lanes."""

    architectures: tuple[str, ...] = ("mlp-16-tanh",)
    """Architectures to sweep; each has its own table."""
    trials: int = 32
    """Trials in a sweep, at learning rates from 0.001 to 0.5, log-spaced."""
    epochs: int = 5
    """Epochs in a trial."""
    compare: tuple[Literal["tune", "process", "lanes"], ...] = (
        "tune",
        "process",
        "lanes",
    )
    """Sides to run: tune (default settings, one actor per trial), process and lanes
    (mnist_tune)."""
    dataset: str = "mnist"
    """mnist, or mnist-5k for a quick look."""


def comparisons(config: ThroughputBenchmark) -> Iterator[Comparison]:
    for name in config.architectures:
        work = SweepWork(name, config.trials, config.epochs, config.dataset)
        yield Comparison(
            title=f"{name}: {work.trials} trials x {work.epochs} epochs of {work.dataset}",
            sides={side: partial(measure, side, work) for side in config.compare},
            formats=FORMATS,
            pairs=[("process", "tune"), ("lanes", "tune"), ("lanes", "process")],
            ratio_figures=("trial_epochs_per_s", "steady_per_s", "peak_mib"),
            targets=TARGETS,
        )


def measure(side: str, work: SweepWork) -> Figures:
    """Run one side in a process of its own."""
    module, *options = COMMANDS[side]
    with TemporaryDirectory(prefix="sweep_throughput-") as name:
        folder = Path(name)
        memory = Memory(tree_mib)
        command = ["-m", module, json.dumps(asdict(work)), *options]
        finished = run_python(command, folder, variables(folder), memory.wait)
        peak_mib = max(mib for _, mib in memory.samples)
        return figures(side, finished.wall_s, peak_mib, Outcome.read(folder))


def variables(folder: Path) -> dict[str, str]:
    """Return the variables that all sides get: one thread, the same data, no compiled
    programs, a new Ray cluster."""
    return {
        "PJRT_NPROC": "1",
        "RAY_ADDRESS": "local",
        "RAY_USAGE_STATS_ENABLED": "0",
    } | empty_cache(folder)


def figures(side: str, wall_s: float, peak_mib: float, outcome: Outcome) -> Figures:
    epochs = outcome.epochs
    at_a_time = usable_cpus() * CLIENTS.get(side, 1)
    accuracy = sum(epoch.test_accuracy for epoch in epochs) / len(epochs)
    return {
        "wall_s": wall_s,
        "trial_epochs_per_s": len(epochs) / wall_s,
        "steady_per_s": steady_rate(epochs, at_a_time),
        "peak_mib": peak_mib,
        "driver_ms": outcome.driver_ms,
        "test_accuracy": accuracy,
    }


def steady_rate(epochs: Sequence[Epoch], at_a_time: int) -> float | None:
    """Return the trial-epochs per second after `at_a_time` trials have reported; None
    if there are none."""
    started: dict[str, float] = {}
    for epoch in epochs:
        started.setdefault(epoch.trial, epoch.ended_at)
    begin = sorted(started.values())[min(at_a_time, len(started)) - 1]
    later = [epoch for epoch in epochs if epoch.ended_at > begin]
    if not later:
        return None
    return len(later) / (epochs[-1].ended_at - begin)


def main() -> None:
    config = cli.parse(ThroughputBenchmark)
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before the first sweep
    load_dataset(config.dataset)  # fetched before the clock starts
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
