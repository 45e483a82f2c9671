"""How fast is a sweep: as in Ray Tune's documentation, with mnist_tune, and without Ray?

    python benchmarks/sweep_throughput.py

Every side trains the same trials in a new process, with one thread per trial and an empty compilation cache. Start and
end of the process are timed, too. The sides take turns in every round. The benchmark prints the machine and, for each
architecture, medians over the rounds, the median, smallest and largest ratio within a round, and whether the targets
are met.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import PeakMemory, empty_cache, run_python
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork
from mnist_tune import UserError, cli
from mnist_tune.data.dataset import load_dataset
from mnist_tune.machine import usable_cpus
from mnist_tune.runtime.placement import LANES
from mnist_tune.training.architectures import kind_of
from mnist_tune.trial import closest

COMMANDS = {
    "tune": ("benchmarks.sides.documented_tune",),
    "process": ("benchmarks.sides.our_sweep", "process"),
    "lanes": ("benchmarks.sides.our_sweep", "lanes"),
    "floor": ("benchmarks.sides.one_process", "floor"),
    "notebook": ("benchmarks.sides.one_process", "notebook"),
}
"""Each side's module, and its arguments besides the work."""
CLIENTS = {"lanes": LANES["CPU"]}
"""Trials that run at a time on a core, if not one."""
CORES = {"floor": 1, "notebook": 1}
"""Cores that a side uses, if not all."""
TARGETS = (
    Target("process", "trial_epochs_per_s", "at least", 4.0, "tune"),
    Target("process", "peak_mib", "at most", 1.0, "tune"),
    Target("process", "driver_ms", "at most", 4.0),
)
FORMATS = {
    "wall_s": "{:.1f}",  # of the whole command
    "trial_epochs_per_s": "{:.2f}",  # over the whole command
    "after_start_per_s": "{:.2f}",  # from the end of the first epoch to the end of the last
    "steady_per_s": "{:.2f}",  # once as many trials have reported as run at a time
    "fill": "{:.0%}",  # mean share of the lanes that trained in the same batch
    "peak_mib": "{:.0f}",  # peak memory of the process and all its descendants; shared memory counts once
    "driver_ms": "{:.2f}",  # CPU milliseconds of the driver per result
    "orchestration": "{:.1%}",  # share of the cores' time, after the first epoch, not spent training or evaluating
    "test_accuracy": "{:.4f}",  # mean over all results
}


@dataclass(frozen=True, kw_only=True)
class ThroughputBenchmark(Benchmark):
    """Compares whole sweeps: Ray Tune as documented, mnist_tune, and the same trials one after another without Ray."""

    architectures: tuple[str, ...] = ("mlp-16-tanh",)
    """Architectures to sweep; each has its own table."""
    trials: int = 32
    """Trials in a sweep, at learning rates from 0.001 to 0.5, log-spaced."""
    epochs: int = 5
    """Epochs in a trial."""
    compare: tuple[str, ...] = ("tune", "process", "lanes", "floor")
    """Sides to run: tune (default settings, one actor per trial), process and lanes (mnist_tune), floor (one process,
    no Ray), notebook (the notebook's loop in one process)."""
    dataset: str = "mnist"
    """mnist, or mnist-5k for a quick look."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.compare:
            raise UserError(f"--compare needs at least one side; known are {', '.join(COMMANDS)}")
        for side in self.compare:
            if side not in COMMANDS:
                raise UserError(f"--compare: there is no side {side!r}{closest(side, COMMANDS)}")


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
        folder, memory = Path(name), PeakMemory()
        command = ["-m", module, json.dumps(asdict(work)), *options]
        finished = run_python(command, folder, variables(folder), memory.wait)
        return figures(side, finished.wall_s, memory.mib, Outcome.read(folder))


def variables(folder: Path) -> dict[str, str]:
    """Return the variables that all sides get: one thread, the same data, no compiled programs, a new Ray cluster."""
    return {"PJRT_NPROC": "1", "RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"} | empty_cache(folder)


def figures(side: str, wall_s: float, peak_mib: float, outcome: Outcome) -> Figures:
    cores = CORES.get(side, usable_cpus())
    epochs = sorted(outcome.epochs, key=lambda epoch: epoch.ended_at)
    span = epochs[-1].ended_at - epochs[0].ended_at
    driver = outcome.driver
    driver_ms = 1000 * driver.cpu_s / driver.results if driver else None
    return {
        "wall_s": wall_s,
        "trial_epochs_per_s": len(epochs) / wall_s,
        "after_start_per_s": (len(epochs) - 1) / span,
        "steady_per_s": steady_rate(epochs, cores * CLIENTS.get(side, 1)),
        "fill": sum(epoch.fill for epoch in epochs) / len(epochs),
        "peak_mib": peak_mib,
        "driver_ms": driver_ms,
        "orchestration": 1 - sum(epoch.busy_s for epoch in epochs[1:]) / (cores * span),
        "test_accuracy": sum(epoch.test_accuracy for epoch in epochs) / len(epochs),
    }


def steady_rate(epochs: Sequence[Epoch], at_a_time: int) -> float | None:
    """Return the trial-epochs per second after `at_a_time` trials have reported; None if there are none."""
    started: dict[str, float] = {}
    for epoch in epochs:
        started.setdefault(epoch.trial, epoch.ended_at)
    begin = sorted(started.values())[min(at_a_time, len(started)) - 1]
    later = [epoch for epoch in epochs if epoch.ended_at > begin]
    return len(later) / (epochs[-1].ended_at - begin) if later else None


def main() -> None:
    config = cli.parse(ThroughputBenchmark)
    for name in config.architectures:
        kind_of(name)  # refuses an unknown name before the first sweep
    load_dataset(config.dataset)  # fetched before the clock starts
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
