"""Does the ten-thousandth trial cost as much as the first, and what do 200,000 rows
cost?

    python benchmarks/scale.py
    python benchmarks/scale.py --parts rows

`trials` runs very many of the smallest trials: one epoch each of mlp-4-tanh on
mnist-5k, in processes. It prints the wall time per trial, also of the first and the
last tenth of them, by how much the driver's memory grows, what the sweep leaves on disk
and how long that takes to read.

`rows` makes up a sweep of as many trials with 20 epochs each, as a kill leaves it. It
measures what the journal and the tables take to read, and after how long and with how
much memory of the driver a resume has its first row, beside a new sweep. All of it
tells whether the targets are met.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import Memory, own_mib, run_python, start_python
from mnist_tune import UserError, cli, load_sweep

MANY_ROWS = ("-m", "benchmarks.sides.many_rows")
FORMATS = {
    "command_s": "{:.0f}",  # the whole process
    "trial_ms": "{:.1f}",  # per trial, between the first and the last result
    "first_ms": "{:.1f}",  # the same of the first tenth
    "last_ms": "{:.1f}",  # and of the last
    # the largest growth of the driver's resident memory since the first result
    "growth_mib": "{:.0f}",
    "files": "{:.0f}",
    "results_mb": "{:.1f}",
    "load_s": "{:.2f}",  # load_sweep
}
TARGETS = (
    Target("sweep", "growth_mib", "at most", 300),
    Target("sweep", "files", "at most", 20),
    Target("sweep", "results_mb", "at most", 40),
    Target("sweep", "load_s", "at most", 5),
)
ROW_FORMATS = {
    "us_row": "{:.1f}",  # read_journal, microseconds per row
    "bytes_row": "{:.0f}",  # its memory at its peak, per row
    "load_s": "{:.2f}",  # load_sweep, once the sweep has ended
    # load_sweep as the kill left it: the tables are made, and the curves labelled
    "killed_s": "{:.2f}",
    # a new sweep: from the start of its process to the first row
    "new_first_s": "{:.1f}",
    "first_s": "{:.1f}",  # the resume, likewise
    # the driver's memory until then: the resume's peak minus the new sweep's
    "more_mb": "{:.0f}",
}
ROW_TARGETS = (
    Target("read_journal", "us_row", "at most", 8),
    Target("read_journal", "bytes_row", "at most", 400),
    Target("load_sweep", "load_s", "at most", 3),
    Target("resume", "first_s", "at most", 10),
    Target("resume", "more_mb", "at most", 500),
)


@dataclass(frozen=True, kw_only=True)
class ScaleBenchmark(Benchmark):
    """Runs very many of the smallest trials, and prints what they cost and what they
    leave on disk."""

    parts: tuple[Literal["trials", "rows"], ...] = ("trials", "rows")
    """What to measure."""
    trials: int = 10_000
    """The number of trials."""
    epochs: int = 20
    """The rows that each made-up trial has."""
    rounds: int = 1
    """The number of sweeps."""


def scale(trials: int) -> Figures:
    with TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        memory = Memory(own_mib)
        command = [*MANY_ROWS, "new", str(trials), "1"]
        finished = run_python(command, folder, wait=memory.wait)
        start = time.perf_counter()
        sweep = load_sweep(folder / "new")
        load_s = time.perf_counter() - start
        paths = [path for path in (folder / "new").rglob("*") if path.is_file()]
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
    ended = np.sort(sweep.epochs["ended_at"].to_numpy())
    mib = [sample for at, sample in memory.samples if at >= ended[0]]
    tenths = np.array_split(ended, 10)
    return {
        "trial_ms": ms_per_trial(ended),
        "first_ms": ms_per_trial(tenths[0]),
        "last_ms": ms_per_trial(tenths[-1]),
        "command_s": finished.wall_s,
        "growth_mib": max(mib) - mib[0],
        "load_s": load_s,
        "files": len(paths),
        "results_mb": size_mb,
    }


def ms_per_trial(ended: np.ndarray) -> float:
    """Return the milliseconds between the ends of two trials, in the mean."""
    return 1000 * float(np.ptp(ended)) / len(ended)


def made_up(folder: Path, trials: int, epochs: int) -> Comparison:
    """Make up a sweep in a folder, and return the comparison that reads and resumes
    it."""
    run_python([*MANY_ROWS, "make", str(trials), str(epochs)], folder)

    def read(what: str) -> dict[str, float]:
        run_python([*MANY_ROWS, what], folder)
        *_, line = (folder / "said").read_text().splitlines()
        figures: dict[str, float] = json.loads(line)
        return figures

    def read_rows() -> Figures:
        spent = read("read_journal")
        count = trials * epochs
        us_row = 1e6 * spent["s"] / count
        bytes_row = 1e6 * spent["mb"] / count
        return {"us_row": us_row, "bytes_row": bytes_row}

    def load() -> Figures:
        ended = read("load_ended")
        killed = read("load_killed")
        return {"load_s": ended["s"], "killed_s": killed["s"]}

    def resume() -> Figures:
        new_s, new_mb = until_first_row(folder, "new", str(trials), str(epochs + 1))
        first_s, mb = until_first_row(folder, "sweep")
        return {"new_first_s": new_s, "first_s": first_s, "more_mb": mb - new_mb}

    return Comparison(
        title=f"{trials} trials of {epochs} made-up epochs",
        sides={"read_journal": read_rows, "load_sweep": load, "resume": resume},
        formats=ROW_FORMATS,
        targets=ROW_TARGETS,
    )


def until_first_row(folder: Path, name: str, *new: str) -> tuple[float, float]:
    """Resume the sweep of this name, or start a new one, and kill it after its first
    row. Return the seconds until then and the peak of its driver's resident memory in
    MB.

    Raises:
        UserError: it ended before.
    """
    journal = folder / name / "journal.jsonl"
    size = 0
    if journal.exists():
        size = journal.stat().st_size
    order = ["new", *new] if new else ["resume"]
    start = time.perf_counter()
    peak = 0.0
    child = start_python([*MANY_ROWS, *order], folder, own_group=True)
    try:
        while not journal.exists() or journal.stat().st_size <= size:
            if child.poll() is not None:
                output = (folder / "said").read_text()
                raise UserError(f"it ended before its first row:\n{output[-3000:]}")
            peak = max(peak, child.memory_info().rss / 1e6)
            time.sleep(0.05)
        return time.perf_counter() - start, peak
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(5)  # until Ray's processes have noticed
        shutil.rmtree(folder / "new", ignore_errors=True)


def main() -> None:
    config = cli.parse(ScaleBenchmark)
    comparisons = []
    if "trials" in config.parts:
        title = f"{config.trials} trials of one epoch"
        sides = {"sweep": partial(scale, config.trials)}
        comparisons.append(
            Comparison(title=title, sides=sides, formats=FORMATS, targets=TARGETS)
        )
    with TemporaryDirectory(prefix="scale-") as name:
        if "rows" in config.parts:
            comparisons.append(made_up(Path(name), config.trials, config.epochs))
        run(config, comparisons)


if __name__ == "__main__":
    cli.run(main)
