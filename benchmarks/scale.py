"""Does the ten-thousandth trial cost as much as the first, and what do 200,000 rows cost?

    python benchmarks/scale.py
    python benchmarks/scale.py --parts rows

`trials` runs very many of the smallest trials: one epoch each of mlp-4-tanh on mnist-5k, in processes. For each tenth
of the trials it prints the wall time per trial and the driver's memory at the end; then what the sweep left on disk and
how long that takes to read.

`rows` makes up a sweep of as many trials with 20 epochs each, as a kill leaves it. It measures what the journal and the
tables take to read, and after how long and with how much memory of the driver a resume has its first row, beside a new
sweep. All of it tells whether the targets are met.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.processes import run_python, start_python
from mnist_tune import UserError, cli, load_sweep

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
ROW_FORMATS = {
    "us_row": "{:.1f}",  # read_journal, microseconds per row
    "bytes_row": "{:.0f}",  # its memory at its peak, per row
    "load_s": "{:.2f}",  # load_sweep, once the sweep has ended
    "killed_s": "{:.2f}",  # load_sweep as the kill left it: the tables are made, and the curves labelled
    "new_first_s": "{:.1f}",  # a new sweep: from the start of its process to the first row
    "first_s": "{:.1f}",  # the resume, likewise
    "more_mb": "{:.0f}",  # the driver's memory until then: the resume's peak minus the new sweep's
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
    """Runs very many of the smallest trials, and prints what they cost and what they leave on disk."""

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
        finished = run_python(["-m", "benchmarks.sides.many_trials", str(trials)], folder)
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


def made_up(folder: Path, trials: int, epochs: int) -> Comparison:
    """Make up a sweep in a folder, and return the comparison that reads and resumes it."""
    run_python(["-m", "benchmarks.sides.many_rows", "make", str(trials), str(epochs)], folder)
    nothing: dict[str, float | None] = dict.fromkeys(ROW_FORMATS)

    def read(what: str) -> dict[str, float]:
        run_python(["-m", "benchmarks.sides.many_rows", what], folder)
        found: dict[str, float] = json.loads((folder / "said").read_text().splitlines()[-1])
        return found

    def read_rows() -> Figures:
        found, count = read("read_journal"), trials * epochs
        return nothing | {"us_row": 1e6 * found["s"] / count, "bytes_row": 1e6 * found["mb"] / count}

    def load() -> Figures:
        return nothing | {"load_s": read("load_ended")["s"], "killed_s": read("load_killed")["s"]}

    def resume() -> Figures:
        new_s, new_mb = until_first_row(folder, "new", trials)
        first_s, mb = until_first_row(folder, "resume", trials)
        return nothing | {"new_first_s": new_s, "first_s": first_s, "more_mb": mb - new_mb}

    return Comparison(
        title=f"{trials} trials of {epochs} made-up epochs",
        sides={"read_journal": read_rows, "load_sweep": load, "resume": resume},
        formats=ROW_FORMATS,
        pairs=[],
        ratio_figures=[],
        targets=ROW_TARGETS,
    )


def until_first_row(folder: Path, what: str, trials: int) -> tuple[float, float]:
    """Start a sweep, or resume the made-up one, and kill it after its first row; return the seconds until then, and the
    peak of its driver's resident memory in MB.

    Raises:
        UserError: it ended before.
    """
    journal = folder / {"new": "new", "resume": "sweep"}[what] / "journal.jsonl"
    size, start, peak = journal.stat().st_size if journal.exists() else 0, time.perf_counter(), 0.0
    child = start_python(["-m", "benchmarks.sides.many_rows", what, str(trials)], folder, own_group=True)
    try:
        while not journal.exists() or journal.stat().st_size <= size:
            if child.poll() is not None:
                raise UserError(f"it ended before its first row:\n{(folder / 'said').read_text()[-3000:]}")
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
        sides: Mapping[str, Callable[[], Figures]] = {"sweep": lambda: scale(config.trials)}
        title = f"{config.trials} trials of one epoch"
        comparisons.append(
            Comparison(title=title, sides=sides, formats=FORMATS, pairs=[], ratio_figures=[], targets=TARGETS)
        )
    with TemporaryDirectory(prefix="scale-") as name:
        if "rows" in config.parts:
            comparisons.append(made_up(Path(name), config.trials, config.epochs))
        run(config, comparisons)


if __name__ == "__main__":
    cli.run(main)
